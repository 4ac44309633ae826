import { mkdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { type Content, tableContent } from './archive-content.ts';
import { archiveBefore, cacheFolder, makeSource, tableSql } from './data.ts';
import { loadByClient } from './peers/client.ts';
import { runLoaderVerb } from './programs.ts';
import { type BenchServer, schemaName } from './servers.ts';

/** Schema of archive tables, on the primary and on the archive's server. */
export const archiveSchema = 'archive';
export const isOld = `created_at < '${archiveBefore}'`;
const isYoung = `created_at >= '${archiveBefore}'`;

/** A primary, where its archives go, and what is in them when all is done. */
export interface Archiving {
  readonly server: BenchServer;
  /** Of the same kind; null if nothing that was chosen needs it. */
  readonly archiveServer: BenchServer | null;
  /** Rows that are old, half of the table. */
  readonly rows: number;
  /** CSV file of the table. */
  readonly source: string;
  readonly old: Content;
  readonly young: Content;
  /** Folder for files, made anew before each run. */
  readonly folder: string;
}

/** Where the loader puts its files. */
export function parquetFolder({ folder }: Pick<Archiving, 'folder'>): string {
  return join(folder, 'parquet');
}

export type Destination = 'same server' | 'other server' | 'files';

/** Loads the table once, to know what every run is to make of it. */
export async function startArchiving(
  server: BenchServer,
  archiveServer: BenchServer | null,
  rows: number,
): Promise<Archiving> {
  const source = await makeSource(rows * 2, 'dated');
  const folder = join(cacheFolder, 'archive', server.flavour);
  const empty: Content = { rows: 0, digest: '0' };
  const archiving = { server, archiveServer, rows, source, folder, old: empty, young: empty };
  await loadAfresh(archiving);
  const old = await tableContent(server, 'products', isOld);
  const young = await tableContent(server, 'products', isYoung);
  if (old.rows !== rows || young.rows !== rows) throw new Error(`${old.rows} rows are old and ${young.rows} young`);
  return { ...archiving, old, young };
}

/** The whole table again, no ledger, empty archives, and servers that have nothing left to clean up. */
export async function loadAfresh({ server, archiveServer, source, folder }: Archiving): Promise<void> {
  const anew = (name: string) => [`DROP DATABASE IF EXISTS ${name}`, `CREATE DATABASE ${name}`];
  await server.ask(...anew(schemaName), `USE ${schemaName}`, tableSql, ...anew(archiveSchema));
  await archiveServer?.ask(...anew(archiveSchema));
  await rm(folder, { recursive: true, force: true });
  await mkdir(parquetFolder({ folder }), { recursive: true });
  await loadByClient(server, source);
  for (const each of [server, archiveServer]) if (each) await settle(each);
}

/** Waits until the server has purged old row versions, so that none works on what the last run left to it. */
async function settle(server: BenchServer): Promise<void> {
  const deadline = performance.now() + 600_000;
  const sql = "SELECT COUNT AS length FROM information_schema.INNODB_METRICS WHERE NAME = 'trx_rseg_history_len'";
  while (Number((await server.ask(sql))?.['length']) > 100) {
    if (performance.now() > deadline) throw new Error(`${server.flavour} has not purged its row versions in time`);
    await delay(200);
  }
}

/**
 * Archives all old rows by the bundled loader.
 * @throws Error unless the summary says that exactly those were archived, verified and deleted
 */
export async function archiveByLoader(
  archiving: Archiving,
  to: Destination,
  options: {
    readonly limits?: Readonly<Record<string, unknown>>;
    readonly measureMemory?: boolean;
    /** With deleteAfterDays, so that batches are made by date and not by key. */
    readonly retention?: boolean;
  } = {},
): Promise<{ readonly seconds: number; readonly peakMiB: number | null }> {
  const { server, rows } = archiving;
  const config = await configuration(archiving, to, options.retention ?? false, options.limits);
  const { stdout, ...run } = await runLoaderVerb(server, 'archive', config, options);
  expectSummary(stdout, { matched: rows, archived: rows, verified: rows, deleted: rows });
  return run;
}

/**
 * Purges everything that was archived, by the bundled loader.
 * @throws Error unless the summary says that exactly that was purged
 */
export async function purgeByLoader(
  archiving: Archiving,
  to: Destination,
  measureMemory = false,
): Promise<{ readonly seconds: number; readonly peakMiB: number | null }> {
  const { server, rows } = archiving;
  const config = await configuration(archiving, to, true);
  const { stdout, ...run } = await runLoaderVerb(server, 'purge', config, { measureMemory });
  expectSummary(stdout, { matched: rows, purged: rows });
  return run;
}

function expectSummary(stdout: string, expected: Readonly<Record<string, number>>): void {
  // The bench itself fixed the format with --json.
  const summary = JSON.parse(stdout) as { outcome: string; tables: readonly Readonly<Record<string, unknown>>[] };
  const [table] = summary.tables;
  const asExpected = Object.entries(expected).every(([name, count]) => table?.[name] === count);
  if (summary.outcome === 'done' && asExpected) return;
  throw new Error(`${stdout} instead of ${JSON.stringify(expected)}`);
}

/** @throws Error unless the archive has every old row as it was, and the table all others */
export async function expectArchived({ server, old, young }: Archiving, archived: Content): Promise<void> {
  expectContent('the archive', archived, old);
  expectContent('the table', await tableContent(server, 'products'), young);
}

export function expectContent(name: string, found: Content, expected: Content): void {
  if (found.rows === expected.rows && found.digest === expected.digest) return;
  throw new Error(`${name} is not what it should be: ${found.rows} rows of ${expected.rows}, or other values`);
}

/** JSON, which is YAML too. */
async function configuration(
  { archiveServer, folder }: Archiving,
  to: Destination,
  retention: boolean,
  limits?: Readonly<Record<string, unknown>>,
): Promise<string> {
  // The cut-off is of the server's clock, and lies in the gap between old and young rows.
  const days = Math.floor((Date.now() - Date.parse(archiveBefore)) / 86_400_000);
  const entry = { table: 'products', dateColumn: 'created_at', archiveAfterDays: days };
  const config = {
    archive: [{ ...entry, ...(retention ? { deleteAfterDays: days } : {}), store: 'cold' }],
    stores: { cold: await store(archiveServer, folder, to) },
    ...(limits === undefined ? {} : { limits }),
  };
  return JSON.stringify(config);
}

async function store(archiveServer: BenchServer | null, folder: string, to: Destination): Promise<unknown> {
  if (to === 'same server') return { mysql: { name: archiveSchema } };
  if (to === 'files')
    return { filesystem: { path: parquetFolder({ folder }), format: 'parquet', compression: 'zstd' } };
  if (archiveServer === null) throw new Error('there is no second server');
  const passwordFile = join(folder, 'password');
  await writeFile(passwordFile, archiveServer.password, { mode: 0o600 });
  const { host, port } = archiveServer;
  return { mysql: { host, port, user: 'root', passwordFile, name: archiveSchema } };
}
