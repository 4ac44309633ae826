import { connect } from '@tableset/common/database/connect.ts';
import { expect, test } from 'vitest';
import { describeEachServer, type TestSchema } from '../../test/servers.ts';
import type { Selection } from '../src/core/archive/selection.ts';
import { deleteListed, type KeyList, keyList, lockListedRoot } from '../src/core/archive/two-server-lists.ts';
import {
  archiveAll,
  archivedTable,
  archiveServer,
  expectTidy,
  fillShop,
  openBench,
  settingsOf,
  shopChildren,
  shopText,
  shopTogether,
  sums,
} from './archive-two-server-kit.ts';

const manifests = async (schema: TestSchema, table: string, order: string) =>
  (await schema.query(`SELECT manifest FROM ${table} ORDER BY ${order}`)).map((row) =>
    JSON.parse(String(row['manifest'])),
  );

describeEachServer('archiving to another server', (server) => {
  const other = archiveServer(server);

  test('moves what matches, with children and their children, and counts it', async () => {
    const [schema, archive] = [await server.createSchema(), await other.createSchema()];
    await fillShop(schema);
    const before = await shopText(schema);
    await using bench = await openBench(schema, archive, { children: shopChildren });
    const results = await archiveAll(bench, 30);
    expect(sums(results, 'orders')).toEqual({ archived: 100, skipped: {}, matched: 100 });
    expect(sums(results, 'items').archived).toBe(150);
    expect(await schema.query('SELECT COUNT(*) AS n FROM orders')).toEqual([{ n: 20 }]);
    expect(await shopTogether(schema, archive)).toEqual(before);
    await expectTidy(schema, archive);
    const ledger = await manifests(schema, 'tableset_batches', 'id');
    expect(ledger).toHaveLength(4);
    expect(await manifests(archive, 'tableset_manifests', 'batch')).toEqual(ledger);
    expect(ledger[0].tables[0]).toMatchObject({
      table: 'orders',
      rows: 30,
      keys: { first: ['1'], last: ['30'] },
      dates: { oldest: '2019-01-01 00:01:00.000000', newest: '2019-01-01 00:30:00.000000' },
      statistics: { id: { count: 30, nulls: 0, min: '1', max: '30', sum: '465', mean: '15.5000' } },
    });
    const [watermark] = await schema.query('SELECT archived_before FROM tableset_tables');
    expect(watermark?.['archived_before']).toBe('2020-01-01 00:00:00.000000');
    // A second run finds nothing.
    expect(await archiveAll(bench, 30)).toEqual([]);
  });

  test('leaves out of the archive what settings of a child say, and deletes it all the same', async () => {
    const [schema, archive] = [await server.createSchema(), await other.createSchema()];
    await fillShop(schema, { old: 20, fresh: 2 });
    await schema.query('ALTER TABLE items ADD happened_at DATETIME NULL');
    await schema.query("UPDATE items SET happened_at = '2019-01-01' + INTERVAL (id % 10) SECOND");
    const children = [
      { table: 'items', column: 'order_id', settings: { resolutionSeconds: 300, dateColumn: 'happened_at' } },
      { table: 'notes', column: 'item_id', settings: { when: { column: 'id', atMost: 100 } } },
    ];
    await using bench = await openBench(schema, archive, { children });
    const results = await archiveAll(bench, 8);
    // Of two items of an order a second apart the first one stays.
    expect(sums(results, 'items')).toEqual({ archived: 20, skipped: { dropped: 10 }, matched: 30 });
    expect(await archive.query('SELECT COUNT(*) AS n FROM items WHERE id % 10 = 2')).toEqual([{ n: 0 }]);
    const notes = sums(results, 'notes');
    expect(await archive.query('SELECT COUNT(*) AS n FROM notes')).toEqual([{ n: notes.archived }]);
    expect(await archive.query('SELECT COUNT(*) AS n FROM notes WHERE item_id > 100')).toEqual([{ n: 0 }]);
    expect(await schema.query('SELECT COUNT(*) AS n FROM items')).toEqual([{ n: 3 }]);
  });

  test.each([
    [
      'composite and collated',
      'region CHAR(2) NOT NULL, code VARCHAR(20) COLLATE utf8mb4_bin NOT NULL',
      'region, code',
      "ELT(i % 3 + 1, 'de', 'DE', 'fr'), CONCAT('k ', i, '''\\\\')",
    ],
    ['UUID of 16 bytes', 'id BINARY(16) NOT NULL', 'id', 'UNHEX(LEFT(SHA2(i, 256), 32))'],
    ['reserved word, unsigned', '`select` INT UNSIGNED NOT NULL', '`select`', '4294967295 - i'],
    [
      'date and number',
      'day DATE NOT NULL, n DECIMAL(65,0) NOT NULL',
      'day, n',
      "'2019-02-01' + INTERVAL i DAY, CONCAT('9', LPAD(i, 64, '7'))",
    ],
  ])('fault 45: a key that is %s leaves no gap and repeats nothing', async (_, columns, key, values) => {
    const [schema, archive] = [await server.createSchema(), await other.createSchema()];
    await schema.script(`CREATE TABLE orders (${columns}, v INT NOT NULL, created_at DATETIME NOT NULL, PRIMARY KEY (${key}));
      INSERT INTO orders WITH RECURSIVE n AS (SELECT 1 AS i UNION ALL SELECT i + 1 FROM n WHERE i < 90) SELECT ${values}, i, '2019-01-01' FROM n`);
    await using bench = await openBench(schema, archive);
    expect(sums(await archiveAll(bench, 7), 'orders')).toEqual({ archived: 90, skipped: {}, matched: 90 });
    expect(await schema.query('SELECT * FROM orders')).toEqual([]);
    expect(await archive.query('SELECT COUNT(DISTINCT v) AS n, COUNT(*) AS c FROM orders')).toEqual([{ n: 90, c: 90 }]);
  });

  test('fault 33: a key that is deleted and used again has both versions in the archive', async () => {
    const [schema, archive] = [await server.createSchema(), await other.createSchema()];
    await fillShop(schema, { old: 3, fresh: 0 });
    await using bench = await openBench(schema, archive, { children: shopChildren });
    await archiveAll(bench, 10);
    await schema.query("INSERT INTO orders (id, customer, created_at) VALUES (2, 'again', '2019-05-05')");
    expect(sums(await archiveAll(bench, 10), 'orders').archived).toBe(1);
    expect(await archive.query('SELECT customer FROM orders WHERE id = 2 ORDER BY tableset_batch')).toEqual([
      { customer: 'customer 2' },
      { customer: 'again' },
    ]);
  });

  test('lists of keys are read as points and ranges of the primary key', async () => {
    const schema = await server.createSchema();
    await fillShop(schema, { old: 3000, fresh: 100 });
    await using connection = await connect(settingsOf(schema));
    if (server.flavour === 'mariadb') await connection.run('SET in_predicate_conversion_threshold = 0');
    const table = await archivedTable(connection, 'orders');
    const selection = { matches: () => ({ sql: 'note IS NULL', values: [] }) } as unknown as Selection; // the one part that is asked for
    const lists = [1, 2].map((step) => {
      const keys = Array.from({ length: 3000 / step }, (_, index) => String(index * step + 1));
      const rows = keys.map((key) => ({ key: [key], hash: '', root: 0, kept: true }));
      // They are not too many.
      return keyList(table, rows, connection.server.maxAllowedPacketBytes) as KeyList;
    });
    expect(lists.map(({ points, runs }) => [points.length, runs.length])).toEqual([
      [1, 1],
      [1500, 0],
    ]);
    for (const list of lists) {
      for (const sql of [lockListedRoot(table, selection, list).sql, deleteListed(table, list, server.flavour)]) {
        const traditional = server.flavour === 'mysql' ? 'FORMAT=TRADITIONAL ' : '';
        const plan = await connection.row(`EXPLAIN ${traditional}${sql}`);
        expect(plan, sql.slice(0, 60)).toMatchObject({ type: 'range', key: 'PRIMARY' });
      }
    }
  });

  test('an ENUM that is no member is refused by its key, and nothing is deleted', async () => {
    const [schema, archive] = [await server.createSchema(), await other.createSchema()];
    await schema.script(`CREATE TABLE orders (id INT NOT NULL PRIMARY KEY, e ENUM('a', 'b') NOT NULL, created_at DATETIME NOT NULL);
      INSERT INTO orders VALUES (1, 'a', '2019-01-01'); SET sql_mode = ''; INSERT INTO orders VALUES (2, 'zzz', '2019-01-01'); SET sql_mode = DEFAULT`);
    await using bench = await openBench(schema, archive);
    await expect(archiveAll(bench, 10)).rejects.toMatchObject({
      code: 'ARCHIVE_VALUE_REFUSED',
      message: expect.stringContaining('["2"]'),
    });
    expect(await schema.query('SELECT COUNT(*) AS n FROM orders')).toEqual([{ n: 2 }]);
  });
});
