import { expect, test } from 'vitest';
import { describeEachServer, type TestSchema } from '../../test/servers.ts';
import { csv, LoaderFolder } from './run-loader.ts';

const tables = `CREATE TABLE orders (id INT PRIMARY KEY, created_at DATETIME(6) NULL, status VARCHAR(9), previous_id INT NULL, FOREIGN KEY (previous_id) REFERENCES orders (id));
  CREATE TABLE items (id INT PRIMARY KEY, order_id INT NOT NULL, FOREIGN KEY (order_id) REFERENCES orders (id));
  CREATE TABLE remarks (id INT PRIMARY KEY, item_id INT NULL, FOREIGN KEY (item_id) REFERENCES items (id))`;
const names = ['orders', 'items', 'remarks'];
const entries = (mode: string) =>
  names.map((table) => ({
    table,
    source: `${table}.csv`,
    mode,
    ...(mode === 'mirror' ? { maxDeletes: { percent: 100 } } : {}),
  }));
const orders = [
  [1, '2023-12-31 23:59:59.999999', 'old', null],
  [2, '2024-01-01 00:00:00.000000', 'new', null],
  [3, null, 'undated', null],
  [4, '2025-01-01 00:00:00.000000', 'after 1', 1],
  [5, '2025-01-01 00:00:00.000000', 'after 4', 4],
] as const;
const files = {
  'orders.csv': csv(['id', 'created_at', 'status', 'previous_id'], orders),
  'items.csv': 'id,order_id\n11,1\n12,2\n13,1\n14,3\n',
  'remarks.csv': 'id,item_id\n21,11\n22,12\n23,\n',
};

/** What archiving rows of orders older than 2024 leaves in the ledger. */
async function archive(schema: TestSchema): Promise<void> {
  await schema.query(
    "INSERT INTO tableset_tables (table_name, date_column, archived_before) VALUES ('orders', 'created_at', '2024-01-01') ON DUPLICATE KEY UPDATE date_column = 'created_at', archived_before = '2024-01-01'",
  );
}

const ids = async (schema: TestSchema, table: string) =>
  (await schema.query(`SELECT id FROM ${table} ORDER BY id`)).map((row) => row['id']);

describeEachServer('rows that were archived', (server) => {
  for (const mode of ['upsert', 'insert', 'mirror'] as const) {
    test(`do not come back in mode ${mode}, nor does what refers to them`, async () => {
      const schema = await server.createSchema();
      await schema.script(tables);
      const folder = new LoaderFolder(schema, entries(mode), files);
      // All of them, then the archive takes what is older than 2024 and what refers to it.
      await folder.load();
      await schema.script(
        'DELETE FROM remarks WHERE id = 21; DELETE FROM items WHERE order_id = 1; DELETE FROM orders WHERE id = 5; DELETE FROM orders WHERE id = 4; DELETE FROM orders WHERE id = 1',
      );
      await archive(schema);
      expect(await folder.load()).toMatchObject([
        { table: 'orders', read: 5, held: 3, unchanged: 2, inserted: 0, deleted: 0 },
        { table: 'items', read: 4, held: 2, unchanged: 2, inserted: 0, deleted: 0 },
        { table: 'remarks', read: 3, held: 1, unchanged: 2, inserted: 0, deleted: 0 },
      ]);
      expect([await ids(schema, 'orders'), await ids(schema, 'items'), await ids(schema, 'remarks')]).toEqual([
        [2, 3],
        [12, 14],
        [22, 23],
      ]);
    });
  }

  test('do not come back into tables that have become empty', async () => {
    const schema = await server.createSchema();
    await schema.script(tables);
    const folder = new LoaderFolder(schema, entries('upsert'), files);
    await folder.load();
    await schema.script(
      'DELETE FROM remarks; DELETE FROM items; DELETE FROM orders WHERE id = 5; DELETE FROM orders WHERE id = 4; DELETE FROM orders',
    );
    await archive(schema);
    expect(await folder.load()).toMatchObject([
      { read: 5, held: 3, inserted: 2, publish: 'delta' },
      { read: 4, held: 2, inserted: 2, publish: 'delta' },
      { read: 3, held: 1, inserted: 2, publish: 'delta' },
    ]);
  });

  test('leave rows that are still there to be updated, however old', async () => {
    const schema = await server.createSchema();
    await schema.script(tables);
    const folder = new LoaderFolder(schema, entries('upsert'), files);
    await folder.load();
    await archive(schema);
    const changed = orders.map(([id, at, , previous]) => [id, at, 'changed', previous]);
    folder.write({ 'orders.csv': csv(['id', 'created_at', 'status', 'previous_id'], changed) });
    expect(await folder.load()).toMatchObject([{ updated: 5, held: 0 }, { unchanged: 4 }, { unchanged: 3 }]);
    expect(await folder.load(['--dry-run'])).toMatchObject([{ unchanged: 5, held: 0 }, {}, {}]);
  });

  test('are counted by a dry run as they are by the load', async () => {
    const schema = await server.createSchema();
    await schema.script(tables);
    const folder = new LoaderFolder(schema, entries('upsert'), files);
    await folder.load();
    await schema.script(
      'DELETE FROM remarks; DELETE FROM items; DELETE FROM orders WHERE id = 5; DELETE FROM orders WHERE id = 4; DELETE FROM orders WHERE id = 1',
    );
    await archive(schema);
    expect(await folder.load(['--dry-run'])).toMatchObject([
      { held: 3 },
      { held: 2, inserted: 2 },
      { held: 1, inserted: 2 },
    ]);
    expect(await ids(schema, 'items')).toEqual([]);
  });

  test('are told by their date, so a source without it is refused by name', async () => {
    const schema = await server.createSchema();
    await schema.script(tables);
    const folder = new LoaderFolder(schema, [{ table: 'orders', source: 'orders.csv' }], files);
    await folder.load();
    await archive(schema);
    folder.write({ 'orders.csv': 'id,status\n1,x\n' });
    const { summary } = await folder.refuse(3, 'LOAD_TABLE_UNSUITABLE');
    expect(summary.error?.message).toContain('created_at');
  });

  test('do not get into the way of a load whose source no longer has them', async () => {
    const schema = await server.createSchema();
    await schema.script(tables);
    const rows = Array.from({ length: 6000 }, (_, index) => [index + 100, '2025-01-01 00:00:00.000000', 'x', null]);
    const folder = new LoaderFolder(schema, entries('upsert').slice(0, 2), {
      'orders.csv': csv(['id', 'created_at', 'status', 'previous_id'], rows),
      'items.csv': 'id,order_id\n1,100\n',
    });
    await folder.load();
    await archive(schema);
    folder.write({ 'items.csv': 'id,order_id\n1,100\n2,101\n' });
    expect(await folder.load()).toMatchObject([{ unchanged: 6000 }, { inserted: 1, unchanged: 1 }]);
  });
});
