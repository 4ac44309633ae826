import { expect, test } from 'vitest';
import { describeEachServer } from '../../test/servers.ts';
import { ids, restore } from './archive-restore-kit.ts';
import { openShop, rowsOf } from './archive-shop.ts';

const all = ['--from', '0001-01-01'];
const restoreAll = ['--table', 'orders', ...all];
const small = { limits: { batchRows: 5, targetBatchSeconds: 60 } };

describeEachServer('a restore into a table that has changed', (server) => {
  test('fault 34: values come back into columns that have got more digits since, and are compared as what they are now', async () => {
    const shop = await openShop(server, { old: 10, fresh: 1, items: 1 });
    const { schema, folder } = shop;
    await schema.query('ALTER TABLE orders MODIFY created_at DATETIME NOT NULL');
    const exactly =
      'SELECT id, customer, total * 1 AS total, weight, note, CAST(created_at AS CHAR(19)) AS at FROM orders WHERE id <= 10 ORDER BY id';
    const before = await schema.query(exactly.replace('total * 1', 'CAST(total AS DECIMAL(16,4))'));
    await folder.archive();
    await schema.query(
      'ALTER TABLE orders MODIFY created_at DATETIME(6) NOT NULL, MODIFY total DECIMAL(16,4) NULL, MODIFY customer VARCHAR(200) NOT NULL',
    );
    expect(await restore(shop, '--where', 'id=3')).toMatchObject([{ restored: 1 }, { restored: 1 }]);
    expect(await restore(shop, ...all)).toMatchObject([{ restored: 9, unchanged: 1 }, { restored: 9 }]);
    expect(await schema.query(exactly.replace('total * 1', 'total'))).toEqual(before);
    expect(await restore(shop, ...all)).toMatchObject([{ unchanged: 10 }, { unchanged: 10 }]);
    await schema.query('UPDATE orders SET total = total + 0.0001 WHERE id = 4');
    const { summary } = await folder.refuse(3, 'RESTORE_CONFLICT', 'restore', restoreAll);
    expect(summary.error?.message).toContain('orders ["4"]');
    expect((await folder.run('verify', ['--drill'])).exit).toBe(0);
    // What the table no longer takes goes into one that is made of the archived types.
    await schema.script('DELETE FROM order_items; DELETE FROM orders; ALTER TABLE orders MODIFY total DECIMAL(10,0)');
    const narrow = await folder.refuse(3, 'ARCHIVE_VERIFY_FAILED', 'restore', restoreAll);
    expect(narrow.summary.error?.message).toContain('differs in total');
    expect(await restore(shop, ...all, '--into', 'looked_at')).toMatchObject([{ restored: 10 }]);
    expect(await schema.query("SHOW COLUMNS FROM looked_at LIKE 'total'")).toMatchObject([{ Type: 'decimal(12,2)' }]);
  });

  test('fault 36: a character set that has become narrower is refused, never a question mark', async () => {
    const shop = await openShop(server, { old: 5, fresh: 1 });
    const { schema, folder } = shop;
    await schema.query("UPDATE orders SET customer = 'Zoë 😀' WHERE id = 2");
    const before = await rowsOf(schema, 'orders', 'id <= 5');
    await folder.archive();
    await schema.query('ALTER TABLE orders MODIFY customer VARCHAR(40) CHARACTER SET latin1 NOT NULL');
    const { summary } = await folder.refuse(3, 'ARCHIVE_TABLE_UNSUITABLE', 'restore', restoreAll);
    expect(summary.error?.message).toContain('orders no longer takes an archived row as it was');
    expect(await ids(schema, 'orders')).toEqual([6]);
    expect(await schema.query('SELECT * FROM tableset_holds')).toEqual([]);
    expect(await restore(shop, '--where', 'id=3')).toMatchObject([{ restored: 1 }]);
    expect(await restore(shop, ...all, '--into', 'looked_at')).toMatchObject([{ restored: 5 }]);
    expect(await rowsOf(schema, 'looked_at')).toEqual(before);
  });

  test('fault 46: parents come back before their children, over three levels, whatever the order of their names', async () => {
    const shop = await openShop(server, { old: 12, fresh: 2, items: 2, ...small });
    const { schema, folder } = shop;
    await schema.script(`CREATE TABLE a_notes (id INT AUTO_INCREMENT PRIMARY KEY, item_id INT NOT NULL, body VARCHAR(20), FOREIGN KEY (item_id) REFERENCES order_items (id));
      INSERT INTO a_notes (item_id, body) SELECT id, CONCAT('note ', id) FROM order_items WHERE order_id % 2 = 1`);
    const entry = { table: 'orders', dateColumn: 'created_at', archiveAfterDays: 30, store: 'cold' };
    folder.configure({
      stores: { cold: { mysql: { name: shop.archive.name } } },
      archive: [{ ...entry, children: ['a_notes', 'order_items'] }],
      ...small,
    });
    const tables = ['orders', 'order_items', 'a_notes'];
    const before = await Promise.all(tables.map((table) => rowsOf(schema, table)));
    await folder.archive();
    expect(await ids(schema, 'orders')).toEqual([13, 14]);
    const one = await restore(shop, '--where', 'id=7');
    expect(one).toMatchObject([{ restored: 1 }, { restored: 2 }, { restored: 2 }]);
    await restore(shop, ...all);
    expect(await Promise.all(tables.map((table) => rowsOf(schema, table)))).toEqual(before);
    // A child that somebody deleted since comes back alone.
    await schema.query('DELETE FROM a_notes WHERE id = 1');
    expect(await restore(shop, ...all)).toMatchObject([{ restored: 0 }, { restored: 0 }, { restored: 1 }]);
    expect(await Promise.all(tables.map((table) => rowsOf(schema, table)))).toEqual(before);
  });

  test('rows whose parents in other tables are missing are all listed before any row is written', async () => {
    const shop = await openShop(server, { old: 20, fresh: 2, items: 1, ...small });
    const { schema, folder } = shop;
    await schema.script(`CREATE TABLE shops (region CHAR(2) NOT NULL, name VARCHAR(20) NOT NULL, PRIMARY KEY (region, name));
      INSERT INTO shops VALUES ('eu', 'Zoe'), ('us', 'Mia'); ALTER TABLE orders ADD COLUMN region CHAR(2) NULL, ADD COLUMN shop VARCHAR(20) NULL;
      UPDATE orders SET region = IF(id % 2, 'eu', 'us'), shop = IF(id % 2, 'zoe', 'Mia') WHERE id % 5 > 0;
      ALTER TABLE orders ADD FOREIGN KEY (region, shop) REFERENCES shops (region, name)`);
    const before = [await rowsOf(schema, 'orders'), await rowsOf(schema, 'order_items')];
    await folder.archive();
    await schema.script("UPDATE orders SET shop = NULL; DELETE FROM shops WHERE region = 'us'");
    for (const words of [[], ['--overwrite'], ['--dry-run']]) {
      const { summary } = await folder.refuse(3, 'RESTORE_CONFLICT', 'restore', [...restoreAll, ...words]);
      expect(summary.error?.message).toContain('rows that archived ones refer to are not there: orders ["');
      expect(summary.error?.message).toContain('orders ["18"] to shops');
      expect(summary.error?.message).not.toContain('["17"]');
      expect(summary.error?.hint).toContain('Bring back the row that it refers to');
      expect(summary.tables).toMatchObject([{ matched: 20, restored: 12, conflicts: 8 }, { restored: 20 }]);
    }
    expect(await ids(schema, 'orders')).toEqual([21, 22]);
    expect(await restore(shop, '--where', 'region=eu')).toMatchObject([{ restored: 8 }, { restored: 8 }]);
    await schema.query("INSERT INTO shops VALUES ('us', 'MIA')");
    await restore(shop, ...all);
    expect(await rowsOf(schema, 'orders', 'id <= 20')).toEqual(
      before[0]?.filter((row) => Number(row.split('|')[0]) <= 20),
    );
    expect(await rowsOf(schema, 'order_items')).toEqual(before[1]);
  });

  test('the counter of new keys is not lowered, and rises over what comes back', async () => {
    const shop = await openShop(server, { old: 10, fresh: 0 });
    const { schema, folder } = shop;
    await folder.archive();
    const insert = async () => {
      await schema.query("INSERT INTO orders (customer, created_at) VALUES ('new', UTC_TIMESTAMP(6))");
      return (await ids(schema, 'orders', "customer = 'new'")).at(-1);
    };
    expect(await insert()).toBe(11);
    await restore(shop, ...all);
    expect(await insert()).toBe(12);
    await schema.script('CREATE TABLE other LIKE orders');
    await restore(shop, ...all, '--into', 'other');
    await schema.query("INSERT INTO other (customer) VALUES ('new')");
    expect(await ids(schema, 'other', "customer = 'new'")).toEqual([11]);
  });

  test('overwriting changes no row of another table by a foreign key that follows, and takes no parent from a child', async () => {
    const shop = await openShop(server, { old: 5, fresh: 1 });
    const { schema, folder } = shop;
    await schema.script(
      "ALTER TABLE orders ADD COLUMN code VARCHAR(9) NULL UNIQUE; UPDATE orders SET code = CONCAT('c', id)",
    );
    await folder.archive();
    await schema.script(`CREATE TABLE labels (id INT PRIMARY KEY, code VARCHAR(9), FOREIGN KEY (code) REFERENCES orders (code) ON UPDATE CASCADE);
      INSERT INTO orders (id, customer, code, created_at) VALUES (3, 'new', 'n3', UTC_TIMESTAMP(6)), (4, 'new', 'c4', UTC_TIMESTAMP(6));
      INSERT INTO labels VALUES (1, 'n3'), (2, 'c4')`);
    const overwrite = (key: number) => ['--table', 'orders', '--where', `id=${key}`, '--overwrite'];
    const { summary } = await folder.refuse(3, 'RESTORE_CONFLICT', 'restore', overwrite(3));
    expect(summary.error?.message).toContain('orders ["3"] with labels');
    expect(await schema.query('SELECT code FROM labels ORDER BY id')).toEqual([{ code: 'n3' }, { code: 'c4' }]);
    // What refers to a value that stays is left alone.
    const run = await folder.run('restore', overwrite(4));
    expect(run).toMatchObject({ exit: 0, summary: { tables: [{ overwritten: 1 }] } });
    expect(run.stderr).toContain('rows were overwritten');
    expect(run.stderr).toContain('[\\"4\\"]');
    await schema.script(
      `DROP TABLE labels; CREATE TABLE labels (code VARCHAR(9), FOREIGN KEY (code) REFERENCES orders (code)); INSERT INTO labels VALUES ('n3')`,
    );
    await folder.refuse(3, 'RESTORE_CONFLICT', 'restore', overwrite(3));
    expect(await schema.query('SELECT customer FROM orders WHERE id = 3')).toEqual([{ customer: 'new' }]);
  });

  test('fault 47: triggers that the account does not see are taken for there, unless it is told to let them fire', async () => {
    const shop = await openShop(server, { old: 5, fresh: 1 });
    const { schema, archive, folder } = shop;
    await folder.archive();
    await schema.script(
      `CREATE TABLE mails (order_id BIGINT UNSIGNED); CREATE TRIGGER mails AFTER INSERT ON orders FOR EACH ROW INSERT INTO mails VALUES (NEW.id)`,
    );
    const other = await server.createSchema();
    for (const each of [schema.name, archive.name])
      await server.query(`GRANT SELECT, INSERT, UPDATE, DELETE ON ${each}.* TO ${other.user}@'%'`);
    const account = { DB_USER: other.user, DB_PASSWORD: other.password };
    const run = await folder.run('restore', restoreAll, account);
    expect(run).toMatchObject({ exit: 3, summary: { error: { code: 'ARCHIVE_TABLE_UNSUITABLE' } } });
    expect(run.summary.error?.message).toContain('orders may have triggers that the account does not see');
    expect(await schema.query('SELECT * FROM mails')).toEqual([]);
    const told = await folder.run('restore', [...restoreAll, '--allow-triggers'], account);
    expect(told).toMatchObject({ exit: 0, summary: { tables: [{ restored: 5 }] } });
    expect(await schema.query('SELECT COUNT(*) AS count FROM mails')).toEqual([{ count: 5 }]);
  });
});
