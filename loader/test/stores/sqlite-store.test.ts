import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmod, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { afterEach, beforeEach, expect, test } from 'vitest';
import type { StoreSettings } from '../../src/config/archive-config.ts';
import type { Manifest, ManifestTable } from '../../src/core/archive/manifest.ts';
import { assertDurable } from '../../src/stores/sqlite-file.ts';
import { openSqliteStore } from '../../src/stores/sqlite-store.ts';
import { archive, newBatch, type Sample } from './contract.ts';
import { collect, columnOf, inBatches, manifestOf, manifestTableOf, rowOf, tableOf } from './tables.ts';

const columns = [
  columnOf('id', 'bigint'),
  columnOf('big', 'bigint unsigned'),
  columnOf('small', 'int unsigned'),
  columnOf('price', 'decimal(65,30)'),
  columnOf('weight', 'double'),
  columnOf('body', 'blob'),
  columnOf('at', 'datetime(6)'),
  columnOf('flag', 'bit(1)'),
  columnOf('bits', 'bit(64)'),
  columnOf('note', 'text'),
];
const orders = tableOf('orders', columns);
const exact = rowOf(
  '-9223372036854775808',
  '18446744073709551615',
  '4294967295',
  `${'9'.repeat(35)}.${'9'.repeat(30)}`,
  '-0',
  Buffer.of(0, 255),
  '0000-00-00 00:00:00.000000',
  '1',
  '18446744073709551615',
  'a\0b',
);
const sample: Sample = { table: orders, rows: [exact, rowOf('9223372036854775807', ...Array(9).fill(null))] };

let folder: string;
let path: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'sqlite-'));
  path = join(folder, 'archive.db');
});
afterEach(() => rm(folder, { recursive: true }));

const settings = (file = path): StoreSettings & { readonly kind: 'sqlite' } => ({
  kind: 'sqlite',
  name: 'cold',
  position: 'test',
  path: file,
});
const open = (file?: string) => openSqliteStore(settings(file), { signal: AbortSignal.timeout(20_000) });
const query = (sql: string) => {
  using database = new DatabaseSync(path);
  return database
    .prepare(sql)
    .all()
    .map((row) => ({ ...row }));
};

test('an archive is a plain table with exact values, the batch in its key', async () => {
  await using store = open();
  const batch = newBatch();
  await archive(store, batch, [sample]);
  expect(
    query(`SELECT CAST(id AS TEXT) AS id, big, small, price, typeof(weight) AS real, body, at, flag, bits, length(CAST(note AS BLOB)) AS length,
      CAST(tableset_batch AS TEXT) AS batch FROM orders WHERE big IS NOT NULL`),
  ).toEqual([
    {
      id: '-9223372036854775808',
      big: '18446744073709551615',
      small: 4294967295,
      price: `${'9'.repeat(35)}.${'9'.repeat(30)}`,
      real: 'real',
      body: new Uint8Array([0, 255]),
      at: '0000-00-00 00:00:00.000000',
      flag: 1,
      bits: '18446744073709551615',
      length: 3,
      batch: batch.id,
    },
  ]);
  expect(query("SELECT name, type, pk FROM pragma_table_info('orders') WHERE pk > 0 OR name = 'weight'")).toEqual([
    { name: 'id', type: 'INTEGER', pk: 1 },
    { name: 'weight', type: 'ANY', pk: 0 },
    { name: 'tableset_batch', type: 'INTEGER', pk: 2 },
  ]);
  expect(query('SELECT root_table FROM tableset_manifests')).toEqual([{ root_table: 'orders' }]);
});

test('nothing is in the file before the seal, and then all of it', async () => {
  await using store = open();
  await store.prepare([orders], 'refuse');
  const batch = newBatch();
  await store.write(batch, orders, inBatches(sample.rows));
  expect(query('SELECT small FROM orders')).toEqual([]);
  const described = manifestTableOf(orders, sample.rows, null);
  await expect(store.seal(batch, manifestOf(batch.id, [{ ...described, rows: 3 }]))).rejects.toMatchObject({
    code: 'ARCHIVE_VERIFY_FAILED',
    message: expect.stringContaining('2 rows of orders were written, the manifest says 3'),
  });
  expect(query('SELECT small FROM orders')).toEqual([]);
  await store.seal(batch, manifestOf(batch.id, [described]));
  expect(query('SELECT small FROM orders').length).toBe(2);
});

test('a batch can be read and taken away while the next one is written', async () => {
  await using store = open();
  const [first, second] = [newBatch(), newBatch()];
  const manifest = await archive(store, first, [sample]);
  async function* rows() {
    yield sample.rows.slice(0, 1);
    expect(await collect(store.rows(first, manifest.tables[0] as ManifestTable))).toEqual(sample.rows); // the one written
    await store.remove(first, manifest.tables);
    yield sample.rows.slice(1);
  }
  await store.write(second, orders, rows());
  await store.seal(second, manifestOf(second.id, [manifestTableOf(orders, sample.rows, null)]));
  expect(query('SELECT count(*) AS n FROM orders')).toEqual([{ n: 2 }]);
  expect(await store.manifest(first)).toBeNull();
});

test('fault 23: it writes with synchronous FULL or stricter whatever the file was set to, and refuses what cannot', async () => {
  {
    using database = new DatabaseSync(path);
    database.exec('PRAGMA journal_mode = WAL; PRAGMA synchronous = OFF');
    assertDurable(database, 'cold');
    const [synchronous] = Object.values(database.prepare('PRAGMA synchronous').get() ?? {});
    expect(synchronous).toBeGreaterThanOrEqual(2);
    expect(database.prepare('PRAGMA journal_mode').get()).toMatchObject({ journal_mode: 'delete' });
    // In a transaction SQLite leaves the setting as it is.
    database.exec('PRAGMA synchronous = NORMAL; BEGIN');
    expect(() => assertDurable(database, 'cold')).toThrow();
    database.exec('ROLLBACK');
  }
  // A database in memory has no journal that would survive anything.
  expect(() => open(':memory:')).toThrow(expect.objectContaining({ code: 'ARCHIVE_STORE_UNSUITABLE', exit: 3 }));
  {
    await using store = open();
    await archive(store, newBatch(), [sample]);
  }
});

test('fault 20: a file that can grow no more keeps the batches it has, and nothing of the one that failed', async () => {
  // A limit on the size of files is as near to a full disk as a test gets without rights.
  const script = `
import { openSqliteStore } from ${JSON.stringify(join(import.meta.dirname, '../../src/stores/sqlite-store.ts'))};
    import { columnOf, manifestOf, manifestTableOf, tableOf } from ${JSON.stringify(join(import.meta.dirname, 'tables.ts'))};
    const [orders, items] = ['orders', 'items'].map((name) => tableOf(name, [columnOf('id', 'int'), columnOf('body', 'blob')]));
    const store = openSqliteStore(${JSON.stringify(settings())}, { signal: AbortSignal.timeout(9000) });
    await store.prepare([orders, items], 'refuse');
    const rows = Array.from({ length: 30 }, (_, at) => [Buffer.from(String(at)), crypto.getRandomValues(Buffer.alloc(10_000))]);
    // A row that fits where the others do not: none of the two tables may have anything of the batch.
    const root = [[Buffer.from('1'), null]];
    async function* batches(all) { yield all; }
    for (let id = 1; id < 9; id++) {
      const batch = { id: String(id), rootTable: 'orders' };
      try {
        await store.write(batch, orders, batches(root));
        await store.write(batch, items, batches(rows));
        await store.seal(batch, manifestOf(batch.id, [manifestTableOf(orders, root, null), manifestTableOf(items, rows, null)]));
      } catch (error) {
        console.log(JSON.stringify({ id, code: error.code, exit: error.exit, message: error.message }));
        break;
      }
    }`;
  const args = [
    '-c',
    'ulimit -f 1024; exec "$0" "$@"',
    process.execPath,
    '--input-type=module-typescript',
    '-e',
    script,
  ];
  const child = spawn('bash', args, {
    cwd: join(import.meta.dirname, '../..'),
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  let said = '';
  child.stdout.on('data', (part) => {
    said += part;
  });
  await once(child, 'close');
  const failed = JSON.parse(said);
  expect(failed).toEqual({
    id: expect.any(Number),
    code: 'STORE_UNAVAILABLE',
    exit: 1,
    message: expect.stringMatching(/store cold: batch \d cannot be (written|sealed): .* \(SQLite \d+\)/),
  });
  expect(failed.id).toBeGreaterThan(1);
  await using store = open();
  for (let id = 1; id < failed.id; id++) {
    const batch = { id: String(id), rootTable: 'orders' };
    const manifest = await store.manifest(batch);
    expect(await collect(store.rows(batch, manifest?.tables[1] as ManifestTable))).toHaveLength(30); // the second
  }
  for (const name of ['orders', 'items'])
    expect(query(`SELECT count(*) AS n FROM ${name} WHERE tableset_batch >= ${failed.id}`)).toEqual([{ n: 0 }]);
  expect(await store.manifest({ id: String(failed.id), rootTable: 'orders' })).toBeNull();
});

test('a file that may only be read is refused before anything is copied, and read all the same', async () => {
  const batch = newBatch();
  let manifest: Manifest;
  {
    await using store = open();
    manifest = await archive(store, batch, [sample]);
  }
  await chmod(path, 0o444);
  await chmod(folder, 0o555);
  // Root may do everything.
  const root = process.geteuid?.() === 0;
  if (root) process.seteuid?.(65534);
  try {
    await using store = open();
    await expect(store.prepare([orders], 'refuse')).rejects.toMatchObject({ code: 'STORE_UNAVAILABLE', exit: 1 });
    expect(await store.manifest(batch)).toEqual(manifest);
    expect(await collect(store.rows(batch, manifest.tables[0] as ManifestTable))).toEqual(sample.rows); // the one written
  } finally {
    if (root) process.seteuid?.(0);
    await chmod(folder, 0o700);
  }
});

test('values that SQLite would change are refused by key and column', async () => {
  await using store = open();
  await store.prepare([orders], 'refuse');
  for (const [place, text] of [
    [2, '007'],
    [4, '1.0'],
    [0, '9223372036854775808'],
  ] as const) {
    const row = [...exact];
    row[place] = Buffer.from(text);
    await expect(store.write(newBatch(), orders, inBatches([row]))).rejects.toMatchObject({
      code: 'ARCHIVE_VALUE_REFUSED',
      message: expect.stringContaining(`a value in ${columns[place]?.name} that SQLite could not give back`),
    });
  }
});

test('fault 34: a table that has changed is refused, or its archive grows columns', async () => {
  await using store = open();
  await store.prepare([orders], 'refuse');
  const wider = tableOf('orders', [...columns, columnOf('points', 'bigint unsigned'), columnOf('raw', 'blob')]);
  await expect(store.prepare([wider], 'refuse')).rejects.toMatchObject({
    code: 'ARCHIVE_DRIFT',
    exit: 3,
    hint: expect.stringContaining(
      'ALTER TABLE `orders` ADD COLUMN `points` TEXT; ALTER TABLE `orders` ADD COLUMN `raw` BLOB',
    ),
  });
  expect(await store.prepare([wider], 'add-columns')).toEqual(['added `points` TEXT, `raw` BLOB to orders']);
  expect(await store.prepare([wider], 'refuse')).toEqual([]);
  const retyped = tableOf('orders', [columnOf('id', 'bigint unsigned'), ...columns.slice(1)]);
  await expect(store.prepare([retyped], 'add-columns')).rejects.toMatchObject({
    code: 'ARCHIVE_DRIFT',
    message: expect.stringContaining('id is bigint unsigned, kept as TEXT, and in the archive INTEGER'),
  });
  await expect(store.prepare([tableOf('orders', columns, ['id', 'big'])], 'add-columns')).rejects.toMatchObject({
    code: 'ARCHIVE_DRIFT',
    message: expect.stringContaining("the archive's primary key is not (id, big, tableset_batch)"),
  });
});

test('names that SQLite would confuse are refused', async () => {
  await using store = open();
  await store.prepare([orders], 'refuse');
  const named = (name: string, column = 'id') => tableOf(name, [columnOf(column, 'int')]);
  for (const table of [named('ORDERS'), named('sqlite_x'), named('tableset_manifests'), named('x', 'Tableset_Batch')]) {
    await expect(store.prepare([table], 'refuse')).rejects.toMatchObject({ code: 'ARCHIVE_STORE_UNSUITABLE', exit: 3 });
  }
  const odd = tableOf('odd', [columnOf('rowid', 'int'), columnOf('_rowid_', 'int'), columnOf('select', 'int')]);
  const batch = newBatch('odd');
  const manifest = await archive(store, batch, [{ table: odd, rows: [rowOf('5', '6', '7'), rowOf('4', null, null)] }]);
  const back = await collect(store.rows(batch, manifest.tables[0] as ManifestTable)); // the one written
  expect(back).toEqual([rowOf('5', '6', '7'), rowOf('4', null, null)]);
});

test('a file that is none, is damaged, locked or nowhere says so', async () => {
  await writeFile(join(folder, 'text'), 'x'.repeat(5000));
  expect(() => open(join(folder, 'text'))).toThrow(expect.objectContaining({ code: 'ARCHIVE_VERIFY_FAILED' }));
  expect(() => open(join(folder, 'none', 'archive.db'))).toThrow(
    expect.objectContaining({ code: 'STORE_UNAVAILABLE', exit: 1 }),
  );
  await using store = open();
  await store.prepare([orders], 'refuse');
  using other = new DatabaseSync(path);
  other.exec('BEGIN EXCLUSIVE');
  await expect(store.remove(newBatch(), [])).rejects.toMatchObject({ code: 'STORE_UNAVAILABLE', exit: 1 });
  other.exec('ROLLBACK');
}, 20_000);
