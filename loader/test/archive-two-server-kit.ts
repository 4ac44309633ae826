import { connect } from '@tableset/common/database/connect.ts';
import type { Connection } from '@tableset/common/database/connection.ts';
import { ensureLedger, startRun } from '@tableset/common/database/ledger.ts';
import { acquireLock } from '@tableset/common/database/lock.ts';
import { readTableDefinition } from '@tableset/common/database/read-table.ts';
import type { Output } from '@tableset/common/output/output.ts';
import type { DatabaseSettings } from '@tableset/common/settings/database.ts';
import { afterAll, beforeAll, expect, inject } from 'vitest';
import { type Flavour, type TestSchema, TestServer } from '../../test/servers.ts';
import type { BatchEngine, BatchResult, EngineContext } from '../src/archive/engine.ts';
import { openTwoServerEngine } from '../src/archive/two-server.ts';
import type { ArchiveTask, StoreSettings } from '../src/config/archive-config.ts';
import type { ArchivedTable, ArchiveSet } from '../src/core/archive/archive-set.ts';
import { createSelection, type Hold, type KeyPoint } from '../src/core/archive/selection.ts';
import { openStore } from '../src/stores/open-store.ts';
import type { ArchiveStore } from '../src/stores/store.ts';

/** The server that the archive of a suite lies on: of the other kind where there is one. Its address is known within tests. */
export function archiveServer(primary: TestServer): TestServer {
  const servers = inject('servers');
  const other: Flavour = primary.flavour === 'mysql' ? 'mariadb' : 'mysql';
  const flavour = servers[other].state === 'missing' ? primary.flavour : other;
  const server = new TestServer(flavour, true, servers[flavour]);
  beforeAll(() => server.open());
  afterAll(() => server.close());
  return server;
}

export function settingsOf({ environment }: Pick<TestSchema, 'environment'>): DatabaseSettings {
  const text = (name: string) => environment[name] ?? '';
  return {
    host: text('DB_HOST'),
    port: Number(text('DB_PORT')),
    user: text('DB_USER'),
    password: text('DB_PASSWORD'),
    name: text('DB_NAME'),
    tls: 'disable',
    tlsCaFile: undefined,
    waitSeconds: 3,
    singleWriter: false,
  };
}

export function storeSettings(archive: TestSchema): StoreSettings & { readonly kind: 'mysql' } {
  const { name, ...server } = settingsOf(archive);
  return { name: 'cold', position: 'test', kind: 'mysql', server, schema: name, acceptNotDurable: true };
}

/** Output that keeps what it was told. */
export function recordingOutput(): Output & { readonly events: string[] } {
  const events: string[] = [];
  return {
    events,
    terminal: false,
    json: true,
    event: (level, message, fields) => void events.push(`${level} ${message} ${JSON.stringify(fields ?? {})}`),
    progress: () => {},
    finish: () => {},
  };
}

export function taskOf(table: string, more: Partial<ArchiveTask> = {}): ArchiveTask {
  return {
    table,
    dateColumn: 'created_at',
    dateType: 'date',
    dateZone: 'UTC',
    archiveAfterDays: 90,
    deleteAfterDays: null,
    enabled: true,
    store: 'cold',
    archiveTable: null,
    children: [],
    where: [],
    evolve: 'refuse',
    deleteDelaySeconds: 0,
    allowDeleteTriggers: false,
    position: 'test',
    ...more,
  };
}

export async function archivedTable(connection: Connection, name: string): Promise<ArchivedTable> {
  const definition = await readTableDefinition(connection, connection.settings.name, name);
  if (!definition) throw new Error(`no table ${name}`);
  const key =
    definition.indexes.find((index) => index.name === 'PRIMARY')?.parts.map((part) => part.column ?? '') ?? [];
  return { definition, columns: definition.columns, key, archiveName: name, fingerprint: 'test', child: null };
}

export interface Bench extends AsyncDisposable {
  readonly context: EngineContext;
  readonly output: Output & { readonly events: string[] };
  readonly engine: BatchEngine;
  readonly store: ArchiveStore;
}

export interface BenchOptions {
  readonly task?: Partial<ArchiveTask>;
  /** Child tables, each of which refers to the one before it by these columns. */
  readonly children?: readonly { readonly table: string; readonly column: string; readonly settings?: object }[];
  readonly signal?: AbortSignal;
  readonly spend?: (rows: number) => void;
  /** In force when the run began. */
  readonly holds?: readonly Hold[];
  /** Instead of the archive's schema. */
  readonly store?: StoreSettings;
  /** Stands in for the store that was opened. */
  readonly wrap?: (store: ArchiveStore) => ArchiveStore;
}

const orderColumns =
  'id @ NOT NULL, customer VARCHAR(40) NOT NULL, total DECIMAL(12,2) NULL, weight DOUBLE NULL, note TEXT NULL, created_at DATETIME(6) NULL';
const itemColumns = 'id INT NOT NULL, order_id @ NOT NULL, product VARCHAR(20) NOT NULL';
const noteColumns = 'id INT NOT NULL, item_id INT NOT NULL, body VARBINARY(20) NULL';

/** Orders with the keys from 1 on, the first `old` of them to go; items of each, and notes of some items. */
export async function fillShop(
  schema: TestSchema,
  { old = 100, fresh = 20, idType = 'BIGINT UNSIGNED' } = {},
): Promise<void> {
  // A key that is no integer goes by way of tables of keys.
  await schema.script(`
    CREATE TABLE orders (${orderColumns.replace('@', idType)}, PRIMARY KEY (id));
    CREATE TABLE items (${itemColumns.replace('@', idType)}, PRIMARY KEY (id), FOREIGN KEY (order_id) REFERENCES orders (id));
    CREATE TABLE notes (${noteColumns}, PRIMARY KEY (id), FOREIGN KEY (item_id) REFERENCES items (id));
    INSERT INTO orders WITH RECURSIVE d AS (SELECT 0 AS i UNION ALL SELECT i + 1 FROM d WHERE i < 99),
        n AS (SELECT a.i * 100 + b.i + 1 AS i FROM d a JOIN d b WHERE a.i * 100 + b.i < ${old + fresh})
      SELECT i, CONCAT('customer ', i % 13), i / 7, i / 3, IF(i % 5 = 0, NULL, CONCAT('Grüße ', CONVERT(X'F09F9880' USING utf8mb4), i, '\\t\\n\\\\')),
        IF(i <= ${old}, '2019-01-01' + INTERVAL i MINUTE, '2021-01-01 12:00:00') FROM n;
    INSERT INTO items SELECT id * 10 + 1, id, 'first' FROM orders;
    INSERT INTO items SELECT id * 10 + 2, id, 'second' FROM orders WHERE id % 2 = 0;
    INSERT INTO notes SELECT id * 10, id, UNHEX(CONCAT('00FF', LPAD(HEX(id), 8, '0'))) FROM items WHERE id % 3 = 0`);
}

export const shopChildren = [
  { table: 'items', column: 'order_id' },
  { table: 'notes', column: 'item_id' },
];

/** SQL of a row as text that tells every two rows apart. */
const shopRows: Readonly<Record<string, string>> = {
  orders:
    "id, HEX(customer), IFNULL(total, '~'), IFNULL(CAST(weight AS CHAR), '~'), IFNULL(HEX(note), '~'), IFNULL(created_at, '~')",
  items: 'id, order_id, product',
  notes: "id, item_id, IFNULL(HEX(body), '~')",
};

/** All rows of a shop's tables, sorted. */
export async function shopText(
  schema: TestSchema,
  where = 'TRUE',
): Promise<Readonly<Record<string, readonly string[]>>> {
  const found: Record<string, readonly string[]> = {};
  for (const [table, columns] of Object.entries(shopRows)) {
    const rows = await schema.query(`SELECT CONCAT_WS('|', ${columns}) AS line FROM ${table} WHERE ${where}`);
    found[table] = rows.map((row) => String(row['line'])).toSorted();
  }
  return found;
}

/** The primary and what readers see of the archive, together. */
export async function shopTogether(schema: TestSchema, archive: TestSchema) {
  const ids = await deletedBatches(schema);
  const tables = await archive.query(
    "SELECT 1 FROM information_schema.tables WHERE table_schema = DATABASE() AND table_name = 'notes'",
  );
  const here = await shopText(schema);
  if (tables.length === 0) return here;
  const there = await shopText(archive, `tableset_batch IN (${ids.join(',') || '0'})`);
  return Object.fromEntries(
    Object.keys(here).map((table) => [table, [...(here[table] ?? []), ...(there[table] ?? [])].toSorted()]),
  );
}

async function deletedBatches(schema: TestSchema): Promise<readonly string[]> {
  const rows = await schema
    .query("SELECT CAST(id AS CHAR) AS id FROM tableset_batches WHERE state = 'deleted'")
    .catch(() => []);
  return rows.map((row) => String(row['id']));
}

/** The store's batches are those that the ledger says were deleted, and none of them is on its way. */
export async function expectTidy(schema: TestSchema, archive: TestSchema): Promise<void> {
  const open = await schema.query("SELECT state FROM tableset_batches WHERE state NOT IN ('deleted', 'removed')");
  expect(open).toEqual([]);
  const ids = await deletedBatches(schema);
  const stored = new Set<string>();
  for (const table of ['orders', 'items', 'notes'])
    for (const row of await archive.query(`SELECT DISTINCT CAST(tableset_batch AS CHAR) AS id FROM ${table}`))
      stored.add(String(row['id']));
  expect([...stored].toSorted()).toEqual(ids.toSorted());
}

/** Everything that a run opens before its first batch: rows of `orders` before 2020 are to go. */
export async function openBench(schema: TestSchema, archive: TestSchema, options: BenchOptions = {}): Promise<Bench> {
  const signal = options.signal ?? new AbortController().signal;
  const output = recordingOutput();
  const connection = await connect(settingsOf(schema), { signal });
  try {
    // A session whose client is gone may hold it a moment longer.
    const lock = await acquireLock(connection, { onBusy: 'wait', lockWaitSeconds: 20 });
    if (!lock) throw new Error('the lock is held');
    await ensureLedger(connection);
    const runId = await startRun(connection, { kind: 'archive', trigger: 'cli', version: 'test' });
    const root = await archivedTable(connection, 'orders');
    const set: ArchiveSet = {
      task: taskOf('orders', options.task),
      tables: [root, ...(await childTables(connection, root, options))],
    };
    const settings = options.store ?? storeSettings(archive);
    const opened = await openStore(settings, { primary: connection, signal, warn: () => {} });
    const store = options.wrap?.(opened) ?? opened;
    await store.prepare(set.tables, set.task.evolve);
    const cutoff = { utc: '2020-01-01 00:00:00.000000', value: '2020-01-01 00:00:00.000000' };
    const selection = createSelection(set, {
      cutoff,
      holds: options.holds ?? [],
      byDate: false,
      dateIndex: null,
      shard: null,
    });
    const spend = options.spend ?? (() => {});
    const context: EngineContext = {
      set,
      selection,
      cutoff,
      lock,
      store,
      runId,
      program: 'test',
      shard: null,
      parallelBatches: 1,
      output,
      signal,
      spend,
    };
    const engine = await openTwoServerEngine(context);
    return {
      context,
      output,
      engine,
      store,
      async [Symbol.asyncDispose]() {
        await engine[Symbol.asyncDispose]();
        await opened[Symbol.asyncDispose]();
        await lock[Symbol.asyncDispose]();
        await connection[Symbol.asyncDispose]();
      },
    };
  } catch (error) {
    connection.destroy();
    throw error;
  }
}

async function childTables(
  connection: Connection,
  root: ArchivedTable,
  options: BenchOptions,
): Promise<ArchivedTable[]> {
  const tables: ArchivedTable[] = [];
  for (const [index, { table, column, settings }] of (options.children ?? []).entries()) {
    const child = {
      table,
      on: null,
      when: null,
      resolutionSeconds: null,
      dateColumn: null,
      leftOut: 'drop' as const,
      archiveTable: null,
      ...settings,
    };
    const parentColumns = (index === 0 ? root : tables[index - 1])?.key ?? [];
    tables.push({
      ...(await archivedTable(connection, table)),
      child: { settings: child, parent: index, columns: [column], parentColumns },
    });
  }
  return tables;
}

/** Archives everything, as a run does. */
export async function archiveAll(
  bench: Pick<Bench, 'context' | 'engine'>,
  rowsPerBatch: number,
): Promise<readonly BatchResult[]> {
  const { context, engine } = bench;
  const results = [...(await engine.recover())];
  for (let after: KeyPoint | null = null; ; ) {
    const next = context.selection.nextRange(after, rowsPerBatch);
    const row = await context.lock.connection.row(next.sql, next.values);
    if (!row) break;
    const { range, rows } = context.selection.readRange(after, row);
    results.push(...(await engine.archive(range, rows)));
    after = range.last;
  }
  return [...results, ...(await engine.drain())];
}

/** Sums of a table over results: matched as a summary gives it. */
export function sums(results: readonly BatchResult[], table: string) {
  const skipped: Record<string, number> = {};
  let archived = 0;
  for (const { tables } of results) {
    const counts = tables.find((each) => each.table === table);
    archived += counts?.archived ?? 0;
    for (const [reason, rows] of Object.entries(counts?.skipped ?? {})) skipped[reason] = (skipped[reason] ?? 0) + rows;
  }
  return { archived, skipped, matched: Object.values(skipped).reduce((sum, rows) => sum + rows, archived) };
}
