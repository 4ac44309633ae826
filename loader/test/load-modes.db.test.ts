import { setTimeout as delay } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { describeEachServer } from '../../test/servers.ts';
import { csv, LoaderFolder } from './run-loader.ts';

const untouched = { inserted: 0, updated: 0, deleted: 0, rejected: 0, held: 0, publish: null };

describeEachServer('modes of loading', (server) => {
  const products = `CREATE TABLE products (id INT PRIMARY KEY, name VARCHAR(40) NOT NULL, price DECIMAL(8,2) NULL,
    touched TIMESTAMP(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6) ON UPDATE CURRENT_TIMESTAMP(6));
    INSERT INTO products (id, name, price) VALUES (1, 'one', 1.00), (2, 'two', NULL), (9, 'mine', 9)`;
  const changed = csv(
    ['id', 'name', 'price'],
    [
      [1, 'one', '1.00'],
      [2, 'two', '2.00'],
      [3, 'three', null],
    ],
  );
  const rows = async (schema: { query(sql: string): Promise<Readonly<Record<string, unknown>>[]> }) =>
    (await schema.query('SELECT id, name, price FROM products ORDER BY id')).map((row) => Object.values(row));

  for (const [mode, counts, expected] of [
    ['upsert', { inserted: 1, updated: 1, deleted: 0, unchanged: 1 }, { two: '2.00', mine: true }],
    ['insert', { inserted: 1, updated: 0, deleted: 0, unchanged: 2 }, { two: null, mine: true }],
    ['mirror', { inserted: 1, updated: 1, deleted: 1, unchanged: 1 }, { two: '2.00', mine: false }],
  ] as const) {
    test(`${mode} does what its name says, and a second run writes nothing`, async () => {
      const schema = await server.createSchema();
      await schema.script(products);
      const guard = mode === 'mirror' ? { maxDeletes: { rows: 1 } } : {};
      const folder = new LoaderFolder(schema, [{ table: 'products', source: 'p.csv', mode, ...guard }], {
        'p.csv': changed,
      });
      const base = { table: 'products', read: 3, rejected: 0, held: 0 };
      expect(await folder.load()).toEqual([{ ...base, ...counts, publish: 'delta' }]);
      expect(await rows(schema)).toEqual([
        [1, 'one', '1.00'],
        [2, 'two', expected.two],
        [3, 'three', null],
        ...(expected.mine ? [[9, 'mine', '9.00']] : []),
      ]);
      const versions = await schema.query('SELECT id, touched FROM products ORDER BY id');
      await delay(5);
      expect(await folder.load()).toEqual([{ ...base, ...untouched, unchanged: 3 }]);
      expect(await schema.query('SELECT id, touched FROM products ORDER BY id')).toEqual(versions);
    });
  }

  test('an unchanged row is not even touched when others in its table are', async () => {
    const schema = await server.createSchema();
    await schema.script(products);
    const before = await schema.query('SELECT touched FROM products WHERE id IN (1, 9) ORDER BY id');
    await delay(5);
    const folder = new LoaderFolder(schema, [{ table: 'products', source: 'p.csv' }], { 'p.csv': changed });
    await folder.load();
    expect(await schema.query('SELECT touched FROM products WHERE id IN (1, 9) ORDER BY id')).toEqual(before);
  });

  test('values that the server calls equal and that differ in their bytes are written, and then converge', async () => {
    const schema = await server.createSchema();
    await schema.script(`CREATE TABLE v (id INT PRIMARY KEY, name VARCHAR(20) COLLATE utf8mb4_unicode_ci, t TEXT COLLATE utf8mb4_general_ci,
      j JSON, d DOUBLE, f FLOAT, e ENUM('a','b') COLLATE utf8mb4_bin, touched TIMESTAMP(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6) ON UPDATE CURRENT_TIMESTAMP(6));
      INSERT INTO v (id, name) VALUES (1, 'a'), (2, 'a'), (3, 'ü'); INSERT INTO v (id, t) VALUES (4, 'x'), (5, ''); INSERT INTO v (id, j) VALUES (6, '1');
      INSERT INTO v (id, d) VALUES (7, 0), (8, 0.1); INSERT INTO v (id, f) VALUES (9, 16777216), (10, 16777216), (11, 0.1), (12, 1)`);
    const row = (id: number, column: string, value: string | null) => [
      id,
      ...['name', 't', 'j', 'd', 'f'].map((name) => (name === column ? value : null)),
    ];
    const folder = new LoaderFolder(schema, [{ table: 'v', source: 'v.csv' }], {
      'v.csv': csv(
        ['id', 'name', 't', 'j', 'd', 'f'],
        [
          row(1, 'name', 'A'),
          row(2, 'name', 'a '),
          row(3, 'name', 'u\u0308'),
          row(4, 't', 'x  '),
          row(5, 't', null),
          row(6, 'j', '1.0'),
          row(7, 'd', '-0'),
          row(8, 'd', '0.10000000000000002'),
          row(9, 'f', '16777218'),
          row(10, 'f', '16777217'),
          row(11, 'f', '0.100000001'),
          row(12, 'f', '-0'),
        ],
      ),
    });
    await schema.script('CREATE TABLE zero (d DOUBLE); INSERT INTO zero VALUES (-1e-300)');
    await schema.script('UPDATE zero SET d = d * 1e-300');
    // MariaDB stores negative zero as zero since 11.8.9 and its like, so that row 7 is there already.
    const [zero] = await schema.query('SELECT CAST(d AS CHAR) AS text FROM zero');
    const kept = zero?.['text'] === '-0' ? 1 : 0;
    // 16777217 and 0.100000001 are the FLOATs that are there already: 16777216 and 0.1's nearest neighbour.
    const [counts] = await folder.load();
    expect(counts).toMatchObject({ read: 12, inserted: 0, updated: 9 + kept, unchanged: 3 - kept });
    const [stored] = await schema.query(
      `SELECT HEX((SELECT name FROM v WHERE id = 2)) AS padded, HEX((SELECT name FROM v WHERE id = 3)) AS composed, HEX((SELECT t FROM v WHERE id = 4)) AS spaces,
       (SELECT t FROM v WHERE id = 5) AS nothing, CAST((SELECT j FROM v WHERE id = 6) AS CHAR) AS json, CAST((SELECT d FROM v WHERE id = 7) AS CHAR) AS zero,
       CAST((SELECT f FROM v WHERE id = 9) + 0e0 AS CHAR) AS odd`,
    );
    expect(stored).toMatchObject({
      padded: '6120',
      composed: '75CC88',
      spaces: '782020',
      nothing: null,
      json: '1.0',
      zero: zero?.['text'],
    });
    expect(Number(stored?.['odd'])).toBe(16777218);
    expect(await folder.load()).toMatchObject([{ ...untouched, read: 12, unchanged: 12 }]);
  });

  test('a column that the source does not feed keeps its value, and a new row gets its default', async () => {
    const schema = await server.createSchema();
    await schema.script(`CREATE TABLE t (id INT PRIMARY KEY, name VARCHAR(9), stock INT NOT NULL DEFAULT 7, twice INT AS (id * 2) STORED);
      INSERT INTO t (id, name, stock) VALUES (1, 'a', 1), (2, 'b', 2)`);
    const folder = new LoaderFolder(schema, [{ table: 't', source: 't.csv' }], { 't.csv': 'id,name\n1,z\n2,b\n3,c\n' });
    await folder.load();
    expect(await schema.query('SELECT id, name, stock, twice FROM t')).toEqual([
      { id: 1, name: 'z', stock: 1, twice: 2 },
      { id: 2, name: 'b', stock: 2, twice: 4 },
      { id: 3, name: 'c', stock: 7, twice: 6 },
    ]);
  });

  test('the same row twice counts as unchanged, in each publish mode', async () => {
    const schema = await server.createSchema();
    await schema.script(`CREATE TABLE delta (id INT PRIMARY KEY, name VARCHAR(9)); INSERT INTO delta VALUES (9, 'x');
      CREATE TABLE direct (id INT PRIMARY KEY, name VARCHAR(9)); CREATE TABLE swap LIKE direct`);
    const tables = ['delta', 'direct', 'swap'] as const;
    const folder = new LoaderFolder(
      schema,
      tables.map((table) => ({ table, source: 't.csv', publish: table })),
      { 't.csv': 'id,name\n1,a\n2,b\n1,a\n3,\n3,\n1,a\n' },
    );
    expect(await folder.load()).toMatchObject(
      tables.map((table) => ({ table, publish: table, read: 6, inserted: 3, unchanged: 3 })),
    );
    expect(await folder.load(['--table', 'delta'])).toMatchObject([{ read: 6, unchanged: 6, publish: null }]);
  });

  test('the same key with different rows is refused in each publish mode, with the line, and nothing is published', async () => {
    const schema = await server.createSchema();
    await schema.script(`CREATE TABLE delta (id INT PRIMARY KEY, name VARCHAR(9)); INSERT INTO delta VALUES (9, 'x');
      CREATE TABLE direct (id INT PRIMARY KEY, name VARCHAR(9)); CREATE TABLE swap LIKE direct`);
    for (const table of ['delta', 'direct', 'swap']) {
      const folder = new LoaderFolder(schema, [{ table, source: 't.csv', publish: table }], {
        't.csv': 'id,name\n1,a\n2,b\n1,c\n',
      });
      const { summary } = await folder.refuse(3, 'LOAD_DUPLICATE_KEY');
      expect(summary.error?.message).toMatch(/t\.csv:4 /);
      expect(await schema.query(`SELECT id FROM ${table} WHERE id <> 9`)).toEqual([]);
      expect(await schema.query('SELECT outcome, error_code FROM tableset_runs ORDER BY id DESC LIMIT 1')).toEqual([
        { outcome: 'failed', error_code: 'LOAD_DUPLICATE_KEY' },
      ]);
    }
  });
});

describeEachServer('a dry run', (server) => {
  test('counts exactly what a load then does, samples the keys, and writes nothing', async () => {
    const schema = await server.createSchema();
    await schema.script(`CREATE TABLE t (id INT PRIMARY KEY, name VARCHAR(9)); INSERT INTO t VALUES (1, 'a'), (2, 'b'), (3, 'c'), (4, 'd');
      CREATE TABLE fresh (id INT PRIMARY KEY)`);
    const folder = new LoaderFolder(
      schema,
      [
        { table: 't', source: 't.csv', mode: 'mirror', maxDeletes: { rows: 1 } },
        { table: 'fresh', source: 'f.csv' },
      ],
      { 't.csv': 'id,name\n1,a\n2,B\n3,\n7,x\n', 'f.csv': 'id\n1\n2\n' },
    );
    const position = async () => (await schema.query('SHOW TABLES')).length;
    const tables = await position();
    const { exit, summary } = await folder.run(['--dry-run']);
    expect(exit).toBe(0);
    expect(summary).toMatchObject({
      dryRun: true,
      tables: [
        { table: 't', read: 4, inserted: 1, updated: 2, deleted: 1, unchanged: 1 },
        { table: 'fresh', read: 2, inserted: 2 },
      ],
      changes: [
        { table: 't', inserted: ['id=7'], updated: ['id=2', 'id=3'], deleted: ['id=4'] },
        { table: 'fresh', inserted: ['id=1', 'id=2'] },
      ],
    });
    expect(await position()).toBe(tables);
    expect(await schema.query('SELECT id FROM fresh')).toEqual([]);
    const counts = ({ table, inserted, updated, deleted, unchanged }: Readonly<Record<string, unknown>>) => ({
      table,
      inserted,
      updated,
      deleted,
      unchanged,
    });
    expect((await folder.load()).map((each) => counts({ ...each }))).toEqual(
      (summary.tables ?? []).map((each) => counts({ ...each })),
    );
  });
});

describeEachServer('--if-changed', (server) => {
  test('does nothing while source, settings and table are as they were, and loads when any of them changes', async () => {
    const schema = await server.createSchema();
    await schema.script("CREATE TABLE t (id INT PRIMARY KEY, name VARCHAR(9)) COMMENT 'first'");
    const folder = new LoaderFolder(schema, [{ table: 't', source: 't.csv' }], { 't.csv': 'id,name\n1,a\n2,b\n' });
    const load = async () => (await folder.load(['--if-changed']))[0];
    const nothing = { ...untouched, read: 0, unchanged: 0 };
    expect(await load()).toMatchObject({ inserted: 2 });
    const runs = await schema.query('SELECT COUNT(*) AS runs FROM tableset_runs');
    expect(await load()).toMatchObject(nothing);
    expect(await schema.query('SELECT COUNT(*) AS runs FROM tableset_runs')).toEqual(runs);
    folder.write({ 't.csv': 'id,name\n1,a\n2,c\n' });
    expect(await load()).toMatchObject({ read: 2, updated: 1 });
    folder.configure([{ table: 't', source: 't.csv', columns: { name: { trim: true } } }]);
    expect(await load()).toMatchObject({ read: 2, unchanged: 2 });
    expect(await load()).toMatchObject(nothing);
    await schema.query('ALTER TABLE t ADD COLUMN extra INT NULL');
    expect(await load()).toMatchObject({ read: 2, unchanged: 2 });
    await schema.query('TRUNCATE TABLE t');
    expect(await load()).toMatchObject({ read: 2, inserted: 2 });
    await schema.query('DELETE FROM t');
    expect(await load()).toMatchObject({ read: 2, inserted: 2 });
    expect(await load()).toMatchObject(nothing);
    // CREATE_TIME has whole seconds.
    await delay(1100);
    await schema.script(
      'CREATE TABLE other LIKE t; DROP TABLE t; RENAME TABLE other TO t; INSERT INTO t (id, name) VALUES (5, "e")',
    );
    expect(await load()).toMatchObject({ read: 2, inserted: 2 });
    expect(await load()).toMatchObject(nothing);
  });
});
