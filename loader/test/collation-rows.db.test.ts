import { hash } from 'node:crypto';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { describeEachServer, type TestServer } from '../../test/servers.ts';
import { ids, purge, restore } from './archive-restore-kit.ts';
import { insertOrders, openShop, type Shop } from './archive-shop.ts';
import { ArchiveFolder, archiveSchema, sameServer } from './run-archive.ts';

const entry = { archiveAfterDays: 30, deleteAfterDays: 365 };
const old = 'UTC_TIMESTAMP(6) - INTERVAL 400 DAY + INTERVAL i MINUTE';

/** The collation that a table has if nobody chooses one. */
const plainCollation = (server: TestServer) =>
  server.flavour === 'mariadb' ? 'utf8mb4_uca1400_ai_ci' : 'utf8mb4_0900_ai_ci';

async function holdWhere({ schema }: Pick<Shop, 'schema'>, ...conditions: readonly object[]): Promise<void> {
  await schema.query(
    "INSERT INTO tableset_holds (table_name, predicate, reason, created_at) VALUES ('orders', ?, 'lawsuit', UTC_TIMESTAMP(6))",
    [JSON.stringify(conditions)],
  );
}

async function holdKey({ schema }: Pick<Shop, 'schema'>, table: string, key: string): Promise<void> {
  const text = JSON.stringify([key]);
  await schema.query(
    "INSERT INTO tableset_holds (table_name, key_hash, key_text, reason, created_at) VALUES (?, ?, ?, 'lawsuit', UTC_TIMESTAMP(6))",
    [table, hash('sha256', text, 'buffer'), text],
  );
}

/** Orders 1 and 2 in a batch each, past their retention; the customer of the first is Malmø. */
async function malmoShop(server: TestServer, store: 'server' | 'parquet'): Promise<Shop> {
  const shop = await openShop(server, { old: 0, fresh: 0 });
  const { schema, archive, folder } = shop;
  await schema.query(`ALTER TABLE orders CONVERT TO CHARACTER SET utf8mb4 COLLATE ${plainCollation(server)}`);
  await insertOrders(schema, 1, 2, old);
  await schema.query("UPDATE orders SET customer = IF(id = 1, 'Malmø', 'Łund')");
  mkdirSync(join(folder.path, 'cold'));
  const cold = store === 'server' ? { mysql: { name: archive.name } } : { filesystem: { path: 'cold' } };
  folder.configure({
    stores: { cold },
    archive: [{ table: 'orders', dateColumn: 'created_at', store: 'cold', ...entry }],
    limits: { batchRows: 1, targetBatchSeconds: 60 },
  });
  return shop;
}

/** Parents whose keys are texts, and children that write them in a way of their own; each batch has two parents. */
async function keyedShop(server: TestServer, collation: string): Promise<Pick<Shop, 'schema' | 'archive' | 'folder'>> {
  const schema = await server.createSchema();
  const archive = await archiveSchema(server, schema);
  await schema.script(`
    CREATE TABLE orders (code VARCHAR(20) PRIMARY KEY, created_at DATETIME(6) NOT NULL) CHARACTER SET utf8mb4 COLLATE ${collation};
    CREATE TABLE order_items (id INT PRIMARY KEY, code VARCHAR(20) NOT NULL, FOREIGN KEY (code) REFERENCES orders (code)) CHARACTER SET utf8mb4 COLLATE ${collation}`);
  const folder = new ArchiveFolder(
    schema,
    sameServer(archive, [{ table: 'orders', children: ['order_items'], ...entry }], {
      batchRows: 100,
      targetBatchSeconds: 60,
    }),
  );
  return { schema, archive, folder };
}

describeEachServer('what collations call equal', (server) => {
  for (const store of ['server', 'parquet'] as const) {
    test(`a hold by a predicate keeps in ${store} what it keeps on the primary`, async () => {
      const shop = await malmoShop(server, store);
      const { schema, folder } = shop;
      await folder.archive();
      await holdWhere(shop, { column: 'customer', operator: '=', value: 'Malmo' });
      expect(await purge(shop)).toMatchObject([{ matched: 2, purged: 1, skipped: { held: 1 } }]);
      expect(await restore(shop, '--where', 'id=1')).toMatchObject([{ restored: 1 }]);
      await schema.query('DELETE FROM tableset_holds');
      await holdWhere(shop, { column: 'customer', operator: 'in', value: ['Lund', 'MALMÖ'] });
      expect(await purge(shop)).toMatchObject([{ matched: 1, purged: 0, skipped: { held: 1 } }]);
      await schema.query('DELETE FROM tableset_holds');
      await holdWhere(shop, { column: 'customer', operator: '=', value: 'Lund' });
      expect(await purge(shop)).toMatchObject([{ matched: 1, purged: 1 }]);
    });
  }

  test('a restore of a period takes the children along whose links are written otherwise, and no others', async () => {
    const shop = await keyedShop(server, plainCollation(server));
    const { schema, folder } = shop;
    await schema.script(`
      INSERT INTO orders VALUES ('Malmo', '2020-01-01'), ('Lodz', '2020-01-02'), ('aero', '2020-01-03'), ('Oslo', '2020-02-01'), ('Zaandam', '2020-02-02');
      INSERT INTO order_items VALUES (1, 'Malmø'), (2, 'Łodz'), (3, 'ærø'), (4, 'MALMO'), (5, 'Øslo'), (6, 'Zaandam')`);
    await folder.archive();
    expect(await ids(schema, 'order_items')).toEqual([]);
    expect(await restore(shop, '--from', '2020-01-01', '--to', '2020-02-01')).toMatchObject([
      { restored: 3 },
      { restored: 4 },
    ]);
    expect(await ids(schema, 'order_items')).toEqual([1, 2, 3, 4]);
    expect(await restore(shop, '--from', '2020-01-01', '--to', '2021-01-01')).toMatchObject([
      { restored: 2 },
      { restored: 2, unchanged: 4 },
    ]);
    expect(await ids(schema, 'order_items')).toEqual([1, 2, 3, 4, 5, 6]);
  });

  test('a restore never leaves a child behind without a word', async () => {
    const shop = await keyedShop(server, plainCollation(server));
    const { schema, folder } = shop;
    await schema.script(`
      INSERT INTO orders VALUES ('Malmo', '2020-01-01'), ('Oslo', '2020-02-01');
      INSERT INTO order_items VALUES (1, 'Malmø'), (2, 'Oslo')`);
    await folder.archive();
    const [batch] = await schema.query('SELECT CAST(id AS CHAR) AS id FROM tableset_batches');
    // As if the archive came from a server with other collations.
    await schema.query(
      `UPDATE tableset_batches SET manifest = REPLACE(manifest, '${plainCollation(server)}', 'utf8mb4_bin')`,
    );
    const { summary } = await folder.refuse(3, 'ARCHIVE_TABLE_UNSUITABLE', 'restore', [
      '--table',
      'orders',
      '--to',
      '2020-01-15',
    ]);
    expect(summary.error?.message).toContain('order_items that belongs to no parent');
    // All roots of the batch, so all of the batch.
    expect(await restore(shop, '--to', '2021-01-01', '--dry-run')).toMatchObject([{ restored: 2 }, { restored: 2 }]);
    expect(await restore(shop, '--batch', String(batch?.['id']))).toMatchObject([{ restored: 2 }, { restored: 2 }]);
  });

  test('a hold by a key that is written otherwise than the row is refused, and keeps the row once it is archived', async () => {
    const shop = await keyedShop(server, 'utf8mb4_general_ci');
    const { schema, archive, folder } = shop;
    await schema.query("INSERT INTO orders VALUES ('ACME-1', '2020-01-01'), ('old', '2020-01-02')");
    await folder.archive();
    await schema.query("INSERT INTO orders VALUES ('BETA-1', '2020-01-01'), ('th\u00e9', '2020-01-02')");
    for (const [written, right] of [
      ['beta-1', 'BETA-1'],
      ['the\u0301', 'th\u00e9'],
    ] as const) {
      await holdKey(shop, 'orders', written);
      const { summary } = await folder.refuse(3, 'HOLD_INVALID', 'archive');
      expect(summary.error?.message).toContain(`its key_text is to be written as ["${right}"]`);
      await schema.query('DELETE FROM tableset_holds');
      await holdKey(shop, 'orders', right);
      const dry = await folder.run('archive', ['--dry-run']);
      expect(dry.summary.tables).toMatchObject([{ skipped: { held: 1 } }, {}]);
      await schema.query('DELETE FROM tableset_holds');
    }
    await schema.query('DELETE FROM orders');
    await holdKey(shop, 'orders', 'acme-1');
    expect(await purge(shop)).toMatchObject([{ purged: 0, skipped: { held: 2 } }, {}]);
    expect(await archive.query('SELECT code FROM orders')).toHaveLength(2);
    await schema.query('DELETE FROM tableset_holds');
    await holdKey(shop, 'orders', 'acme-2');
    expect(await purge(shop)).toMatchObject([{ purged: 2 }, {}]);
  });

  test('a hold on a table of another spelling is refused, and one on a table that is not there is told', async () => {
    const shop = await malmoShop(server, 'server');
    const { schema, archive, folder } = shop;
    await folder.archive();
    await insertOrders(schema, 3, 3, old);
    await holdKey(shop, 'Orders', '1');
    for (const verb of ['archive', 'purge'] as const) {
      const { summary } = await folder.refuse(3, 'HOLD_INVALID', verb);
      expect(summary.error?.message).toContain('is on "Orders"; the table\'s name is orders');
    }
    expect(await ids(archive, 'orders')).toEqual([1, 2]);
    await schema.query("UPDATE tableset_holds SET table_name = 'order'");
    for (const verb of ['archive', 'purge'] as const) {
      const { exit, stderr } = await folder.run(verb);
      expect([exit, stderr]).toEqual([0, expect.stringContaining('a hold is on a table that is not there')]);
    }
  });
});
