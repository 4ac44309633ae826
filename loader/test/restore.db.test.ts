import { expect, test } from 'vitest';
import { describeEachServer } from '../../test/servers.ts';
import { ids, restore } from './archive-restore-kit.ts';
import { batches, insertOrders, openShop, rowsOf } from './archive-shop.ts';

const small = { limits: { batchRows: 20, targetBatchSeconds: 60 } };

describeEachServer('restore', (server) => {
  test('puts a row back with its children, byte for byte, and writes nothing the second time', async () => {
    const shop = await openShop(server, { old: 60, fresh: 5, items: 2, ...small });
    const { schema, folder } = shop;
    const before = [await rowsOf(schema, 'orders', 'id = 42'), await rowsOf(schema, 'order_items', 'order_id = 42')];
    await folder.archive();
    expect(await ids(schema, 'orders')).toEqual([61, 62, 63, 64, 65]);
    expect(await restore(shop, '--where', 'id=42')).toMatchObject([
      { table: 'orders', matched: 1, restored: 1, unchanged: 0 },
      { table: 'order_items', matched: 2, restored: 2, unchanged: 0 },
    ]);
    const after = [await rowsOf(schema, 'orders', 'id = 42'), await rowsOf(schema, 'order_items', 'order_id = 42')];
    expect(after).toEqual(before);
    expect(await ids(schema, 'orders')).toEqual([42, 61, 62, 63, 64, 65]);
    const holds = await schema.query('SELECT * FROM tableset_holds');
    expect(holds).toMatchObject([{ table_name: 'orders', key_text: '["42"]', reason: 'restored', until: null }]);
    expect(await restore(shop, '--where', 'id=042')).toMatchObject([
      { table: 'orders', restored: 0, unchanged: 1 },
      { table: 'order_items', restored: 0, unchanged: 2 },
    ]);
    expect(await schema.query('SELECT * FROM tableset_holds')).toEqual(holds);
    // Held, so that the next run leaves it where it is.
    expect(await folder.archive()).toMatchObject([{ table: 'orders', archived: 0, skipped: { held: 1 } }, {}]);
    expect(await ids(schema, 'orders')).toEqual([42, 61, 62, 63, 64, 65]);
  });

  test('of everything is the archive undone, and a batch whose row was restored is not archived again', async () => {
    const shop = await openShop(server, { old: 70, fresh: 5, items: 2, ...small });
    const { schema, folder } = shop;
    const before = [await rowsOf(schema, 'orders'), await rowsOf(schema, 'order_items')];
    await folder.archive();
    expect((await batches(schema)).filter(({ state }) => state === 'deleted').length).toBeGreaterThan(2);
    expect(await restore(shop, '--from', '2000-01-01')).toMatchObject([
      { table: 'orders', matched: 70, restored: 70 },
      { table: 'order_items', matched: 140, restored: 140 },
    ]);
    expect([await rowsOf(schema, 'orders'), await rowsOf(schema, 'order_items')]).toEqual(before);
    expect(await schema.query('SELECT COUNT(*) AS count FROM tableset_holds')).toEqual([{ count: 70 }]);
    expect(await folder.archive()).toMatchObject([{ archived: 0, skipped: { held: 70 } }, {}]);
    expect([await rowsOf(schema, 'orders'), await rowsOf(schema, 'order_items')]).toEqual(before);
  });

  test('takes the rows of a period, its start included and its end not, or those of one batch', async () => {
    const shop = await openShop(server, { old: 0, fresh: 2, ...small });
    const { schema, folder } = shop;
    await insertOrders(schema, 11, 50, "TIMESTAMP('2024-03-01') + INTERVAL (i - 21) * 6 HOUR");
    await schema.query("UPDATE orders SET created_at = '2024-02-29 23:59:59.999999' WHERE id = 20");
    await schema.query("UPDATE orders SET created_at = '2024-03-02 23:59:59.999999' WHERE id = 28");
    await folder.archive();
    expect(await restore(shop, '--from', '2024-03-01', '--to', '2024-03-03')).toMatchObject([{ restored: 8 }]);
    expect(await ids(schema, 'orders', 'id > 10')).toEqual([21, 22, 23, 24, 25, 26, 27, 28]);
    const [, , last] = (await batches(schema)).filter(({ state }) => state === 'deleted');
    const [second] = (await batches(schema)).filter(({ state, row_count }) => state === 'deleted' && row_count === 20);
    expect(last).toBeUndefined();
    const restored = await restore(shop, '--batch', String(second?.['id']));
    expect(restored).toMatchObject([{ matched: 20 }]);
    expect(restored[0]?.restored).toBeGreaterThan(0);
  });

  test('asks for all of several conditions, and says when there is no such row, column, batch or value', async () => {
    const shop = await openShop(server, { old: 30, fresh: 2 });
    const { schema, folder } = shop;
    await folder.archive();
    expect(await restore(shop, '--where', 'customer=customer 4', '--where', 'id=17')).toMatchObject([{ restored: 1 }]);
    expect(await ids(schema, 'orders', 'id < 31')).toEqual([17]);
    for (const words of [
      ['--where', 'id=17', '--where', 'customer=x'],
      ['--batch', '4711'],
      ['--where', 'id=4711'],
      ['--where', 'id=x'],
    ]) {
      await folder.refuse(3, 'RESTORE_NOT_FOUND', 'restore', ['--table', 'orders', ...words]);
    }
    const { summary } = await folder.refuse(3, 'RESTORE_NOT_FOUND', 'restore', [
      '--table',
      'orders',
      '--where',
      'idd=1',
    ]);
    expect(summary.error?.hint).toContain('no column idd');
    await folder.refuse(2, 'SETTING_MISSING', 'restore', ['--table', 'orders']);
    await folder.refuse(2, 'SETTING_INVALID', 'restore', ['--table', 'orders', '--from', '2024-02-30']);
    await folder.refuse(2, 'SETTING_INVALID', 'restore', ['--table', 'ordres', '--where', 'id=1']);
    expect(await ids(schema, 'orders', 'id < 31')).toEqual([17]);
  });

  test('lists rows that differ and writes none of the others, unless it is told to overwrite', async () => {
    const shop = await openShop(server, { old: 30, fresh: 2, items: 1 });
    const { schema, folder } = shop;
    const before = [await rowsOf(schema, 'orders'), await rowsOf(schema, 'order_items')];
    await folder.archive();
    await schema.query(
      "INSERT INTO orders (id, customer, created_at) VALUES (7, 'another', UTC_TIMESTAMP(6)), (9, 'third', UTC_TIMESTAMP(6))",
    );
    const all = ['--table', 'orders', '--from', '2000-01-01'];
    const refused = await folder.refuse(3, 'RESTORE_CONFLICT', 'restore', all);
    expect(refused.summary.error?.message).toContain('orders ["7"]; orders ["9"]');
    expect(refused.summary.tables).toMatchObject([{ matched: 30, restored: 28, conflicts: 2 }, { restored: 30 }]);
    await folder.refuse(3, 'RESTORE_CONFLICT', 'restore', [...all, '--dry-run']);
    expect(await ids(schema, 'orders', 'id < 31')).toEqual([7, 9]);
    expect(await schema.query('SELECT * FROM tableset_holds')).toEqual([]);
    expect(await restore(shop, '--from', '2000-01-01', '--overwrite', '--dry-run')).toMatchObject([
      { overwritten: 2 },
      {},
    ]);
    expect(await ids(schema, 'orders', 'id < 31')).toEqual([7, 9]);
    expect(await restore(shop, '--from', '2000-01-01', '--overwrite')).toMatchObject([
      { matched: 30, restored: 30, overwritten: 2, conflicts: 0 },
      { restored: 30 },
    ]);
    expect([await rowsOf(schema, 'orders'), await rowsOf(schema, 'order_items')]).toEqual(before);
  });

  test('never overwrites another row that holds a unique value, and refuses rows whose parent is gone', async () => {
    const shop = await openShop(server, { old: 10, fresh: 2 });
    const { schema, folder } = shop;
    await schema.script(`ALTER TABLE orders ADD COLUMN code VARCHAR(9) NULL UNIQUE, ADD COLUMN shop INT NULL; UPDATE orders SET code = CONCAT('c', id);
      CREATE TABLE shops (id INT PRIMARY KEY); INSERT INTO shops VALUES (1); UPDATE orders SET shop = 1;
      ALTER TABLE orders ADD FOREIGN KEY (shop) REFERENCES shops (id)`);
    await folder.archive();
    await schema.query("UPDATE orders SET code = 'c3' WHERE id = 11");
    for (const words of [[], ['--overwrite']]) {
      const { summary } = await folder.refuse(3, 'RESTORE_CONFLICT', 'restore', [
        '--table',
        'orders',
        '--where',
        'id=3',
        ...words,
      ]);
      expect(summary.error?.message).toContain('orders ["11"] by code');
    }
    await schema.script('UPDATE orders SET shop = NULL; DELETE FROM shops');
    const { summary } = await folder.refuse(3, 'RESTORE_CONFLICT', 'restore', ['--table', 'orders', '--where', 'id=4']);
    expect(summary.error?.hint).toContain('Bring back the row that it refers to');
    expect(await ids(schema, 'orders')).toEqual([11, 12]);
    expect(await schema.query('SELECT * FROM tableset_holds')).toEqual([]);
  });

  test('goes into another table, which is made if it is not there, without children and holds', async () => {
    const shop = await openShop(server, { old: 10, fresh: 2, items: 1 });
    const { schema, folder } = shop;
    const before = await rowsOf(schema, 'orders', 'id <= 10');
    await folder.archive();
    const into = ['--from', '2000-01-01', '--into', 'looked_at'];
    expect(await restore(shop, ...into, '--dry-run')).toMatchObject([{ table: 'orders', restored: 10 }]);
    expect(await schema.query("SHOW TABLES LIKE 'looked\\_at'")).toEqual([]);
    expect(await restore(shop, ...into)).toMatchObject([{ table: 'orders', restored: 10 }]);
    expect(await rowsOf(schema, 'looked_at')).toEqual(before);
    expect(await restore(shop, ...into)).toMatchObject([{ restored: 0, unchanged: 10 }]);
    expect(await schema.query('SELECT * FROM tableset_holds')).toEqual([]);
    expect(await ids(schema, 'orders')).toEqual([11, 12]);
    await folder.refuse(2, 'SETTING_INVALID', 'restore', [
      '--table',
      'orders',
      '--where',
      'id=1',
      '--into',
      'tableset_runs',
    ]);
  });

  test('fault 33: of a key that was archived twice it takes the newest version, or that of the batch that is named', async () => {
    const shop = await openShop(server, { old: 10, fresh: 2, items: 1 });
    const { schema, folder } = shop;
    const first = await rowsOf(schema, 'orders', 'id = 5');
    await folder.archive();
    await schema.script(`INSERT INTO orders (id, customer, created_at) VALUES (5, 'second life', UTC_TIMESTAMP(6) - INTERVAL 100 DAY);
      INSERT INTO order_items (order_id, product) VALUES (5, 'second item')`);
    const second = await rowsOf(schema, 'orders', 'id = 5');
    await folder.archive();
    const [oldest] = (await batches(schema)).filter(({ state }) => state === 'deleted');
    expect(await restore(shop, '--where', 'id=5')).toMatchObject([
      { matched: 2, restored: 1, skipped: { superseded: 1 } },
      { matched: 1, restored: 1 },
    ]);
    expect(await rowsOf(schema, 'orders', 'id = 5')).toEqual(second);
    expect(await schema.query('SELECT product FROM order_items WHERE order_id = 5')).toEqual([
      { product: 'second item' },
    ]);
    const named = ['--table', 'orders', '--where', 'id=5', '--batch', String(oldest?.['id'])];
    await folder.refuse(3, 'RESTORE_CONFLICT', 'restore', named);
    await restore(shop, '--where', 'id=5', '--batch', String(oldest?.['id']), '--overwrite');
    expect(await rowsOf(schema, 'orders', 'id = 5')).toEqual(first);
  });
});
