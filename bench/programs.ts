import { existsSync } from 'node:fs';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { capture, timed } from './process.ts';
import { type BenchServer, schemaName } from './servers.ts';

export const root = join(import.meta.dirname, '..');

/** The Node that everything is measured on. */
export const node = process.execPath;

/** Builds both programs as the images have them. */
export async function buildPrograms(): Promise<void> {
  await capture(node, [join(root, 'tools', 'build.ts')]);
}

/** The bundled program as the image starts it: Node and its main file. */
export function bundle(workspace: 'loader' | 'migrator'): string {
  const path = join(root, workspace, 'dist', 'main.mjs');
  if (!existsSync(path)) throw new Error(`${path} is missing`);
  return path;
}

/** How both programs are told which database. */
export function databaseEnv(server: BenchServer, schema = schemaName): Readonly<Record<string, string>> {
  return {
    DB_HOST: server.host,
    DB_PORT: String(server.port),
    DB_USER: 'root',
    DB_PASSWORD: server.password,
    DB_NAME: schema,
  };
}

export interface TableSummary {
  readonly read: number;
  readonly inserted: number;
  readonly updated: number;
  readonly deleted: number;
  readonly unchanged: number;
  readonly publish: string | null;
}

export interface LoaderRun {
  readonly seconds: number;
  readonly table: TableSummary;
  /** Peak of the resident memory, if it was asked for. */
  readonly peakMiB: number | null;
}

export interface LoaderTask {
  readonly source: string;
  /** Lines of the table's settings beside its name and source. */
  readonly settings?: readonly string[];
  readonly args?: readonly string[];
  readonly measureMemory?: boolean;
}

/** Runs the bundled loader on one table, `products`. */
export async function runLoader(server: BenchServer, task: LoaderTask): Promise<LoaderRun> {
  const lines = ['load:', '  - table: products', `    source: ${task.source}`];
  const config = [...lines, ...(task.settings ?? []).map((line) => `    ${line}`), ''].join('\n');
  const { stdout, ...run } = await runLoaderVerb(server, 'load', config, task);
  // The bench itself fixed the format with --json.
  const summary = JSON.parse(stdout) as { tables: TableSummary[] };
  const [table] = summary.tables;
  if (!table) throw new Error(`the loader's summary has no table: ${stdout}`);
  return { ...run, table };
}

/**
 * Runs one verb of the bundled loader with a configuration.
 * @returns its summary as it printed it, and its peak of resident memory if that was asked for
 */
export async function runLoaderVerb(
  server: BenchServer,
  verb: 'load' | 'archive' | 'purge',
  config: string,
  options: Pick<LoaderTask, 'args' | 'measureMemory'> = {},
): Promise<{ readonly seconds: number; readonly stdout: string; readonly peakMiB: number | null }> {
  const folder = await mkdtemp(join(tmpdir(), 'tableset-bench-'));
  try {
    const path = join(folder, 'config.yaml');
    await writeFile(path, config);
    const peakFile = join(folder, 'peak');
    const preload = options.measureMemory ? [`--import=${join(import.meta.dirname, 'peak-memory.mjs')}`] : [];
    const args = [...preload, bundle('loader'), verb, '--config', path, '--json', ...(options.args ?? [])];
    const { seconds, stdout } = await timed(node, args, { ...databaseEnv(server), BENCH_PEAK_FILE: peakFile });
    const peakMiB = options.measureMemory ? Number(await readFile(peakFile, 'utf8')) : null;
    return { seconds, stdout, peakMiB };
  } finally {
    await rm(folder, { recursive: true });
  }
}
