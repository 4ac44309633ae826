import { expect, test } from 'vitest';
import { describeEachServer, type TestSchema } from '../../test/servers.ts';
import { once } from './archive-two-server-hooks.ts';
import {
  archiveAll,
  archiveServer,
  expectTidy,
  fillShop,
  openBench,
  shopChildren,
  shopText,
  shopTogether,
  sums,
} from './archive-two-server-kit.ts';

/** Which rows go between two servers, and what tables they go from. */
describeEachServer('rows and tables between two servers', (server) => {
  const other = archiveServer(server);
  const schemas = async () => [await server.createSchema(), await other.createSchema()] as const;
  const orders = async (schema: TestSchema, columns: string, rows: string, keys = 'PRIMARY KEY (id)') =>
    await schema.script(
      `CREATE TABLE orders (id INT NOT NULL, ${columns}, ${keys}); INSERT INTO orders VALUES ${rows}`,
    );

  test('faults 27 and 28: strictly before the cut-off to the microsecond, and never without a real date', async () => {
    const [schema, archive] = await schemas();
    await schema.script(`SET sql_mode = '';
      CREATE TABLE orders (id INT NOT NULL PRIMARY KEY, created_at DATETIME(6) NULL);
      INSERT INTO orders VALUES (1, '2019-12-31 23:59:59.999999'), (2, '2020-01-01 00:00:00.000000'), (3, '2020-01-01 00:00:00.000001'),
        (4, NULL), (5, '0000-00-00 00:00:00'), (6, '2019-00-10 00:00:00'), (7, '9999-12-31 23:59:59.999999'), (8, '1970-01-01 00:00:00'); SET sql_mode = DEFAULT`);
    await using bench = await openBench(schema, archive);
    expect(sums(await archiveAll(bench, 3), 'orders')).toEqual({ archived: 2, skipped: {}, matched: 2 });
    expect((await archive.query('SELECT id FROM orders ORDER BY id')).map((row) => row['id'])).toEqual([1, 8]);
    expect(await schema.query('SELECT COUNT(*) AS n FROM orders')).toEqual([{ n: 6 }]);
  });

  test('fault 38: generated columns are stored as values, invisible ones go along', async () => {
    const [schema, archive] = await schemas();
    await schema.script(`CREATE TABLE orders (id INT NOT NULL PRIMARY KEY, price DECIMAL(8,2) NOT NULL, hidden VARCHAR(20) NULL INVISIBLE,
        twice DECIMAL(9,2) ${server.flavour === 'mysql' ? 'GENERATED ALWAYS AS (price * 2) STORED' : 'AS (price * 2) PERSISTENT'}, lower_case VARCHAR(20) AS (LOWER(hidden)) VIRTUAL, created_at DATETIME NOT NULL);
      INSERT INTO orders (id, price, hidden, created_at) VALUES (1, 1.25, 'Ä', '2019-01-01'), (2, 3.5, NULL, '2019-01-01')`);
    await using bench = await openBench(schema, archive);
    expect(sums(await archiveAll(bench, 10), 'orders').archived).toBe(2);
    expect(await archive.query('SELECT id, price, hidden, twice, lower_case FROM orders ORDER BY id')).toEqual([
      { id: 1, price: '1.25', hidden: 'Ä', twice: '2.50', lower_case: 'ä' },
      { id: 2, price: '3.50', hidden: null, twice: '7.00', lower_case: null },
    ]);
    expect(await schema.query('SELECT * FROM orders')).toEqual([]);
  });

  test('fault 46: children that restrict go before their parents, level by level', async () => {
    const [schema, archive] = await schemas();
    await fillShop(schema, { old: 40 });
    const before = await shopText(schema);
    await using bench = await openBench(schema, archive, { children: shopChildren });
    expect(sums(await archiveAll(bench, 15), 'orders')).toEqual({ archived: 40, skipped: {}, matched: 40 });
    expect(await shopTogether(schema, archive)).toEqual(before);
    await expectTidy(schema, archive);
  });

  test('fault 46: a child that nobody archives along holds its parent, and the batch is rolled back', async () => {
    const [schema, archive] = await schemas();
    await fillShop(schema, { old: 10 });
    const before = await shopText(schema);
    {
      // The plan refuses this; here the table came after it.
      await using bench = await openBench(schema, archive, { children: shopChildren.slice(0, 1) });
      await expect(archiveAll(bench, 10)).rejects.toMatchObject({ errno: 1451 });
    }
    expect(await shopText(schema)).toEqual(before);
  });

  test('fault 47: a delete trigger that refuses rolls the batch back', async () => {
    const [schema, archive] = await schemas();
    await fillShop(schema, { old: 10 });
    const before = await shopText(schema);
    await schema.query(
      "CREATE TRIGGER keeps BEFORE DELETE ON orders FOR EACH ROW BEGIN IF OLD.id = 4 THEN SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'kept'; END IF; END",
    );
    {
      await using bench = await openBench(schema, archive, { children: shopChildren });
      await expect(archiveAll(bench, 10)).rejects.toMatchObject({ message: expect.stringContaining('kept') });
    }
    expect(await shopText(schema)).toEqual(before);
    await schema.query('DROP TRIGGER keeps');
    await using bench = await openBench(schema, archive, { children: shopChildren });
    await archiveAll(bench, 10);
    expect(await shopTogether(schema, archive)).toEqual(before);
    await expectTidy(schema, archive);
  });

  test('fault 47: a delete trigger that deletes rows of the batch itself is noticed, and the batch is rolled back', async () => {
    const [schema, archive] = await schemas();
    await fillShop(schema, { old: 10 });
    const before = await shopText(schema);
    await schema.query(
      'CREATE TRIGGER more AFTER DELETE ON notes FOR EACH ROW DELETE FROM items WHERE id = OLD.item_id',
    );
    await using bench = await openBench(schema, archive, { children: shopChildren });
    await expect(archiveAll(bench, 10)).rejects.toMatchObject({ code: 'ARCHIVE_COUNTS_DIFFER' });
    expect(await shopText(schema)).toEqual(before);
  });

  test('fault 48: a partitioned table is archived over the borders of its partitions', async () => {
    const [schema, archive] = await schemas();
    await orders(
      schema,
      'created_at DATETIME NOT NULL',
      Array.from({ length: 60 }, (_, index) => `(${index + 1}, '201${(index % 8) + 1}-06-01')`).join(),
      'PRIMARY KEY (id, created_at)) PARTITION BY RANGE (YEAR(created_at)) (PARTITION a VALUES LESS THAN (2014), PARTITION b VALUES LESS THAN (2017), PARTITION c VALUES LESS THAN MAXVALUE',
    );
    await using bench = await openBench(schema, archive);
    expect(sums(await archiveAll(bench, 7), 'orders')).toEqual({ archived: 60, skipped: {}, matched: 60 });
    expect(await archive.query('SELECT COUNT(*) AS n, COUNT(DISTINCT id) AS ids FROM orders')).toEqual([
      { n: 60, ids: 60 },
    ]);
  });

  test.each([
    ['a column is added', 'ALTER TABLE orders ADD extra INT NULL'],
    ['a column is dropped', 'ALTER TABLE orders DROP COLUMN weight'],
    ['a column is given another type', 'ALTER TABLE orders MODIFY customer VARCHAR(60) NOT NULL'],
    ['a child is changed', 'ALTER TABLE items ADD extra INT NULL'],
    ['a delete trigger is made', 'CREATE TRIGGER t BEFORE DELETE ON orders FOR EACH ROW SET @x = 1'],
    [
      'a table begins to refer to it',
      'CREATE TABLE more (id BIGINT UNSIGNED PRIMARY KEY, FOREIGN KEY (id) REFERENCES orders (id) ON DELETE CASCADE)',
    ],
  ])('fault 35: between copy and delete %s: nothing of the batch is deleted', async (_, change) => {
    const [schema, archive] = await schemas();
    await fillShop(schema, { old: 10 });
    const wrap = once('seal', 'after', 1, () => schema.query(change));
    await using bench = await openBench(schema, archive, { children: shopChildren, wrap });
    await expect(archiveAll(bench, 10)).rejects.toMatchObject({ code: 'ARCHIVE_TABLE_CHANGED', exit: 1 });
    expect(await schema.query('SELECT COUNT(*) AS n FROM orders')).toEqual([{ n: 30 }]);
    expect(await schema.query('SELECT COUNT(*) AS n FROM items')).toEqual([{ n: 45 }]);
  });
});
