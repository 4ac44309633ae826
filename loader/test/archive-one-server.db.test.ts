import { expect, onTestFinished, test } from 'vitest';
import { describeEachServer } from '../../test/servers.ts';
import {
  batches,
  digestOf,
  expectConserved,
  insertOrders,
  longAgo,
  openShop,
  rowsOf,
  visibleRows,
  waitForStatement,
} from './archive-shop.ts';
import { sameServer } from './run-archive.ts';

describeEachServer('archiving to the same server', (server) => {
  test('moves the rows past their age batch by batch, and leaves the others as they are', async () => {
    const shop = await openShop(server, { old: 250, fresh: 30, limits: { batchRows: 100 } });
    const before = { orders: await rowsOf(shop.schema, 'orders') };
    const staying = await rowsOf(shop.schema, 'orders', 'id > 250');
    expect(await shop.folder.archive()).toEqual([
      { table: 'orders', matched: 250, archived: 250, verified: 250, deleted: 250, skipped: {} },
    ]);
    await expectConserved(shop, before);
    expect(await rowsOf(shop.schema, 'orders')).toEqual(staying);
    expect((await visibleRows(shop, 'orders')).length).toBe(250);
  });

  test('the ledger and the archive hold the same manifest, whose figures are those of the rows', async () => {
    const shop = await openShop(server, { old: 120, fresh: 3, limits: { batchRows: 100 } });
    await shop.folder.archive();
    const ledger = await batches(shop.schema);
    expect(ledger).toMatchObject([
      { state: 'deleted', token: '1', row_count: 100, total_rows: 100 },
      { state: 'deleted', token: '1', row_count: 20, total_rows: 20 },
    ]);
    const kept = await shop.archive.query(
      'SELECT CAST(batch AS CHAR) AS id, root_table, manifest FROM tableset_manifests ORDER BY batch',
    );
    expect(kept).toEqual(ledger.map(({ id, manifest }) => ({ id, root_table: 'orders', manifest })));
    for (const { id, manifest, first_key, last_key, oldest, newest, cutoff } of ledger) {
      const told = JSON.parse(String(manifest));
      const rows = await shop.archive.query(
        'SELECT CAST(id AS CHAR) AS id, customer, CAST(total AS CHAR) AS total, CAST(weight * 1e0 AS CHAR) AS weight, note, CAST(created_at AS CHAR) AS created_at FROM orders WHERE tableset_batch = ?',
        [id],
      );
      // Drivers give NULL and text alone here.
      const cells = rows.map((row) => Object.values(row) as (string | null)[]);
      const keys = rows.map((row) => Number(row['id'])).toSorted((a, b) => a - b);
      const dates = rows.map((row) => String(row['created_at'])).toSorted();
      expect(told).toMatchObject({ batch: id, cutoff, tables: [{ table: 'orders', rows: rows.length, key: ['id'] }] });
      expect(told.tables[0].sha256).toBe(digestOf(cells));
      expect(told.tables[0].keys).toEqual({ first: [String(keys[0])], last: [String(keys.at(-1))] });
      expect(told.tables[0].dates).toEqual({ oldest: dates[0], newest: dates.at(-1) });
      expect([first_key, last_key]).toEqual([`["${keys[0]}"]`, `["${keys.at(-1)}"]`]);
      expect([oldest, newest]).toEqual([dates[0], dates.at(-1)]);
    }
  });

  test('a second run finds nothing and changes nothing', async () => {
    const shop = await openShop(server, { old: 50 });
    await shop.folder.archive();
    const after = async () => [
      await batches(shop.schema),
      await rowsOf(shop.schema, 'orders'),
      await rowsOf(shop.archive, 'orders'),
      await rowsOf(shop.archive, 'tableset_manifests'),
      await rowsOf(shop.schema, 'tableset_tables'),
    ];
    const once = await after();
    expect(await shop.folder.archive()).toEqual([
      { table: 'orders', matched: 0, archived: 0, verified: 0, deleted: 0, skipped: {} },
    ]);
    expect(await after()).toEqual(once);
    expect(await shop.schema.query('SELECT kind, outcome FROM tableset_runs ORDER BY id')).toEqual([
      { kind: 'archive', outcome: 'done' },
      { kind: 'archive', outcome: 'done' },
    ]);
  });

  test('fault 46: children go along with their parents, out before them', async () => {
    const shop = await openShop(server, { old: 90, fresh: 10, items: 3, limits: { batchRows: 40 } });
    const before = {
      orders: await rowsOf(shop.schema, 'orders'),
      order_items: await rowsOf(shop.schema, 'order_items'),
    };
    expect(await shop.folder.archive()).toEqual([
      { table: 'orders', matched: 90, archived: 90, verified: 90, deleted: 90, skipped: {} },
      { table: 'order_items', matched: 270, archived: 270, verified: 270, deleted: 270, skipped: {} },
    ]);
    await expectConserved(shop, before);
    expect(await rowsOf(shop.schema, 'order_items', 'order_id <= 90')).toEqual([]);
    const [first] = await batches(shop.schema);
    expect(first).toMatchObject({ row_count: 40, total_rows: 160 });
    expect(JSON.parse(String(first?.['manifest'])).tables).toMatchObject([
      { table: 'orders', rows: 40 },
      { table: 'order_items', rows: 120, dates: null },
    ]);
  });

  test('a dry run counts exactly, shows keys, dates and samples, and writes nothing', async () => {
    const shop = await openShop(server, { old: 60, items: 2 });
    const run = await shop.folder.run('archive', ['--dry-run']);
    expect(run).toMatchObject({ exit: 0, summary: { outcome: 'done', dryRun: true } });
    expect(run.summary.tables).toMatchObject([
      { table: 'orders', matched: 60, wouldArchive: 60, skipped: {} },
      { table: 'order_items', matched: 120, wouldArchive: 120, skipped: {} },
    ]);
    // What was not done is not called done.
    expect(JSON.stringify(run.summary)).not.toMatch(/"(archived|verified|deleted)"/);
    const [orders, items] = run.summary['plan'] as { keys: unknown; sample: unknown[]; dates: unknown }[];
    expect(orders?.keys).toEqual({ first: ['1'], last: ['60'] });
    expect(orders?.sample.slice(0, 3)).toEqual([['1'], ['2'], ['3']]);
    expect(items?.dates).toBeNull();
    expect(await shop.schema.query("SHOW TABLES LIKE 'tableset%'")).toEqual([]);
    expect(await shop.archive.query('SHOW TABLES')).toEqual([]);
    expect((await shop.folder.archive())[0]?.archived).toBe(60);
  });

  test('fault 28: rows with NULL, zero and future dates are never taken', async () => {
    const shop = await openShop(server, { old: 5, fresh: 0 });
    await insertOrders(shop.schema, 101, 103, 'NULL');
    await insertOrders(shop.schema, 104, 105, 'UTC_TIMESTAMP(6) + INTERVAL i DAY');
    const zero = await shop.schema.connect();
    await zero.query("SET sql_mode = ''");
    await zero.query("UPDATE orders SET created_at = '0000-00-00 00:00:00' WHERE id = 101");
    await zero.end();
    const run = await shop.folder.run();
    expect(run).toMatchObject({ exit: 0, summary: { tables: [{ matched: 5, deleted: 5 }] } });
    expect(run.stderr).toMatch(/"level":"warn".*dates?/);
    expect((await shop.schema.query('SELECT id FROM orders ORDER BY id')).map((row) => row['id'])).toEqual([
      101, 102, 103, 104, 105,
    ]);
  });

  test("fault 25: the cut-off comes from the primary's clock, the same for every batch, and is stored", async () => {
    const shop = await openShop(server, { old: 30, limits: { batchRows: 10 } });
    const [before] = await shop.schema.query('SELECT UTC_TIMESTAMP(6) - INTERVAL 30 DAY AS at');
    await shop.folder.archive();
    const [after] = await shop.schema.query('SELECT UTC_TIMESTAMP(6) - INTERVAL 30 DAY AS at');
    const cutoffs = new Set((await batches(shop.schema)).map(({ cutoff }) => String(cutoff)));
    expect(cutoffs.size).toBe(1);
    const [cutoff] = cutoffs;
    expect(String(before?.['at']) <= String(cutoff) && String(cutoff) <= String(after?.['at'])).toBe(true);
    expect(await shop.schema.query('SELECT table_name, date_column, archived_before FROM tableset_tables')).toEqual([
      { table_name: 'orders', date_column: 'created_at', archived_before: cutoff },
    ]);
  });

  test('fault 27: a row dated exactly at the cut-off stays, one a microsecond older goes', async () => {
    const shop = await openShop(server, { old: 3, fresh: 0 });
    await shop.folder.archive();
    await insertOrders(shop.schema, 100, 100, longAgo);
    const holder = await shop.schema.connect();
    onTestFinished(() => holder.destroy());
    await holder.beginTransaction();
    await holder.query('SELECT * FROM tableset_batches FOR UPDATE');
    const { ended } = shop.folder.start();
    // The run knows its cut-off by now, and says it in this statement.
    await waitForStatement(server, shop.schema, /^INSERT INTO tableset_batches/);
    const statements = (await server.query('SHOW FULL PROCESSLIST')).map((row) => String(row['Info']));
    const opening = statements.find(
      (sql) => sql.startsWith('INSERT INTO tableset_batches') && sql.includes("'orders'"),
    );
    const [cutoff] = opening?.match(/\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{6}/) ?? [];
    for (const [id, microseconds] of [
      [51, -1],
      [52, 0],
      [53, 1],
    ])
      await shop.schema.query(
        "INSERT INTO orders (id, customer, created_at) VALUES (?, 'edge', ? + INTERVAL ? MICROSECOND)",
        [id, cutoff, microseconds],
      );
    await holder.rollback();
    expect(await ended).toMatchObject({ exit: 0, summary: { tables: [{ archived: 2 }] } });
    expect(await shop.schema.query('SELECT id FROM orders ORDER BY id')).toEqual([{ id: 52 }, { id: 53 }]);
    expect(await shop.archive.query('SELECT id FROM orders WHERE id > 50 ORDER BY id')).toEqual([
      { id: 51 },
      { id: 100 },
    ]);
  });

  test('fault 53: a ledger of a format that is not known is refused', async () => {
    const shop = await openShop(server, { old: 3 });
    await shop.folder.archive();
    await shop.schema.query("ALTER TABLE tableset_runs COMMENT = 'Tableset ledger, format 99'");
    await insertOrders(shop.schema, 100, 101, longAgo);
    await shop.folder.refuse(3, 'LEDGER_FORMAT');
    expect(await rowsOf(shop.schema, 'orders', 'id >= 100')).toHaveLength(2);
  });

  test('a later load does not bring archived rows back, nor their children', async () => {
    const shop = await openShop(server, { old: 5, fresh: 2, items: 1 });
    const csv = async (table: string, columns: string) =>
      [columns, ...(await rowsOf(shop.schema, table)).map((row) => row.replaceAll('~', '').replaceAll('|', ','))].join(
        '\n',
      );
    shop.folder.write('orders.csv', await csv('orders', 'id,customer,total,weight,note,created_at'));
    shop.folder.write('items.csv', await csv('order_items', 'id,order_id,product'));
    const sections = JSON.parse(await shop.folder.read('config.yaml'));
    shop.folder.configure({
      ...sections,
      load: [
        { table: 'orders', source: 'orders.csv' },
        { table: 'order_items', source: 'items.csv' },
      ],
    });
    await shop.folder.archive();
    const run = await shop.folder.run('load');
    expect(run).toMatchObject({
      exit: 0,
      summary: {
        tables: [
          { table: 'orders', read: 7, inserted: 0, held: 5, unchanged: 2 },
          { table: 'order_items', read: 7, inserted: 0, held: 5, unchanged: 2 },
        ],
      },
    });
    expect(await rowsOf(shop.schema, 'orders')).toHaveLength(2);
  });

  test('fault 33: a key that was deleted and used again is archived once more, and both rows stay', async () => {
    const shop = await openShop(server, { old: 3, fresh: 0 });
    await shop.folder.archive();
    await insertOrders(shop.schema, 2, 2, 'UTC_TIMESTAMP(6) - INTERVAL 200 DAY');
    await shop.folder.archive();
    expect(await shop.archive.query('SELECT id FROM orders ORDER BY id')).toEqual([
      { id: 1 },
      { id: 2 },
      { id: 2 },
      { id: 3 },
    ]);
    expect(await shop.schema.query('SELECT id FROM orders')).toEqual([]);
  });

  test('fault 33: a row that came back exactly as it was archived is archived once more', async () => {
    const shop = await openShop(server, { old: 3, fresh: 0 });
    await shop.schema.query('CREATE TABLE twin AS SELECT * FROM orders');
    await shop.folder.archive();
    await shop.schema.query('INSERT INTO orders SELECT * FROM twin');
    expect(await shop.folder.archive()).toMatchObject([{ archived: 3, deleted: 3 }]);
    expect(await shop.archive.query('SELECT COUNT(*) AS count FROM orders')).toEqual([{ count: 6 }]);
  });

  test('values keep every bit: those that are equal by collation or print alike too', async () => {
    const schema = await server.createSchema();
    const shop = await openShop(server, { old: 0, fresh: 0 });
    await schema.drop();
    await shop.schema.script(`CREATE TABLE v (id VARBINARY(8) NOT NULL PRIMARY KEY, name VARCHAR(20) COLLATE utf8mb4_general_ci, d DOUBLE, f FLOAT, j JSON, bits BIT(9),
      bin BINARY(4), blob_ BLOB, big DECIMAL(65,30), t TIME(6), y YEAR, e ENUM('a','b'), s SET('x','y'), g GEOMETRY, n BIGINT, double_n BIGINT AS (n * 2), at DATE NOT NULL);
      INSERT INTO v (id, name, d, f, j, bits, bin, blob_, big, t, y, e, s, g, n, at) VALUES
      (X'00', 'a ', -0.0, 16777217, '{"b": 1, "a": 1.0}', b'100000001', X'00', X'00FF00', '12345678901234567890123456789012345.123456789012345678901234567891', '-838:59:59', 2000, 'b', 'x,y', ST_GeomFromText('POINT(1 2)'), 9007199254740993, '2001-01-01'),
      (X'0000', 'A', 1e-300, 0.1, 'null', b'1', X'2000', '', 0, '00:00:00.000001', 1901, NULL, '', NULL, NULL, '2001-01-01'),
      (X'FF', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, '2001-01-01')`);
    shop.folder.configure(sameServer(shop.archive, [{ table: 'v', dateColumn: 'at' }]));
    const hex = async (of: typeof shop.schema) =>
      await of.query(
        `SELECT HEX(id) AS id, HEX(name) AS name, HEX(d * 1e0) AS d0, CAST(d * 1e0 AS CHAR) AS d, CAST(f * 1e0 AS CHAR) AS f, HEX(CAST(j AS CHAR)) AS j, bits + 0 AS bits, HEX(bin) AS bin, HEX(blob_) AS b,
         CAST(big AS CHAR) AS big, CAST(t AS CHAR) AS t, y, e, s, HEX(g) AS g, CAST(n AS CHAR) AS n, CAST(double_n AS CHAR) AS dn FROM v ORDER BY v.id`,
      );
    const before = await hex(shop.schema);
    expect(await shop.folder.archive()).toMatchObject([{ table: 'v', archived: 3, deleted: 3 }]);
    expect(await hex(shop.archive)).toEqual(before);
  });

  test('fault 45: composite keys are gone along without a gap or a repeat', async () => {
    const shop = await openShop(server, { old: 0, fresh: 0 });
    const rows = Array.from(
      { length: 300 },
      (_, index) => `(${index % 7}, 'K${index % 11}', ${index}, '2001-01-0${1 + (index % 5)}')`,
    );
    await shop.schema.script(
      `CREATE TABLE \`select\` (a INT, b VARCHAR(9) COLLATE utf8mb4_general_ci, c INT, at DATE, PRIMARY KEY (b, a, c)); INSERT INTO \`select\` VALUES ${rows.join()}`,
    );
    shop.folder.configure(sameServer(shop.archive, [{ table: 'select', dateColumn: 'at' }], { batchRows: 17 }));
    expect(await shop.folder.archive()).toMatchObject([{ matched: 300, deleted: 300 }]);
    expect(await shop.schema.query('SELECT * FROM `select`')).toEqual([]);
    expect(
      await shop.archive.query('SELECT COUNT(*) AS count, COUNT(DISTINCT a, b, c) AS keys_ FROM `select`'),
    ).toEqual([{ count: 300, keys_: 300 }]);
  });

  test('a table that is not there is waited for, then exit 1', async () => {
    const shop = await openShop(server, { old: 1 });
    shop.folder.configure(sameServer(shop.archive, [{ table: 'nothing' }]));
    const run = await shop.folder.run('archive', [], { DB_WAIT_SECONDS: '1' });
    expect(run).toMatchObject({ exit: 1, summary: { error: { code: 'LOAD_TABLE_MISSING' } } });
  });

  test('--table chooses, and a name that is not there is refused with the nearest', async () => {
    const shop = await openShop(server, { old: 2 });
    expect(await shop.folder.archive(['--table', 'orders'])).toMatchObject([{ table: 'orders', archived: 2 }]);
    const run = await shop.folder.refuse(2, 'SETTING_INVALID', 'archive', ['--table', 'order']);
    expect(run.summary.error?.message).toContain('did you mean orders?');
  });
});
