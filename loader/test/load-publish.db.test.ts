import { setTimeout as delay } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { describeEachServer, type TestSchema, type TestServer } from '../../test/servers.ts';
import { csv, LoaderFolder } from './run-loader.ts';

const names = (count: number) =>
  csv(
    ['id', 'name'],
    Array.from({ length: count }, (_, index) => [index + 1, `name ${index + 1}`]),
  );

/** The statement as SHOW CREATE TABLE prints it, its counter included. */
async function definition(schema: TestSchema, table: string): Promise<unknown> {
  return (await schema.query(`SHOW CREATE TABLE ${table}`))[0]?.['Create Table'];
}

/** Settles when so many sessions wait for a metadata lock in the schema. */
async function waitForWaiters(server: TestServer, schema: TestSchema, count: number): Promise<void> {
  for (let tries = 0; tries < 200; tries++) {
    const waiting = await server.query(
      "SELECT id FROM information_schema.processlist WHERE db = ? AND state LIKE 'Waiting for table%'",
      [schema.name],
    );
    if (waiting.length >= count) return;
    await delay(50);
  }
  throw new Error(`fewer than ${count} sessions came to wait for the table`);
}

describeEachServer('publishing', (server) => {
  test('takes swap, direct or delta by what the table allows, and says which', async () => {
    const schema = await server.createSchema();
    await schema.script(`CREATE TABLE plain (id INT PRIMARY KEY, name VARCHAR(20)); CREATE TABLE filled LIKE plain; INSERT INTO filled VALUES (9, 'x');
      CREATE TABLE parent (id INT PRIMARY KEY, name VARCHAR(20)); CREATE TABLE referring (id INT PRIMARY KEY, FOREIGN KEY (id) REFERENCES parent (id));
      CREATE TABLE triggered LIKE plain; CREATE TRIGGER fired BEFORE INSERT ON triggered FOR EACH ROW SET NEW.name = NEW.name;
      CREATE TABLE checked (id INT PRIMARY KEY, name VARCHAR(20), CHECK (id > 0));
      CREATE TABLE parted (id INT PRIMARY KEY, name VARCHAR(20)) PARTITION BY HASH (id) PARTITIONS 2`);
    const tables = {
      plain: 'swap',
      filled: 'delta',
      parent: 'direct',
      triggered: 'direct',
      checked: 'direct',
      parted: 'direct',
    };
    const entries = Object.keys(tables).map((table) => ({ table, source: 'n.csv' }));
    const folder = new LoaderFolder(schema, entries, { 'n.csv': names(3) });
    const loaded = await folder.load();
    expect(Object.fromEntries(loaded.map(({ table, publish }) => [table, publish]))).toEqual(tables);
    for (const table of Object.keys(tables))
      expect(await schema.query(`SELECT COUNT(*) AS count FROM ${table} WHERE id < 4`)).toEqual([{ count: 3 }]);
    expect(await schema.query('SHOW TRIGGERS')).toHaveLength(1);
  });

  test('refuses a mode that the setting asks for and the table does not allow, and publishes nothing', async () => {
    const schema = await server.createSchema();
    await schema.script(`CREATE TABLE filled (id INT PRIMARY KEY, name VARCHAR(20)); INSERT INTO filled VALUES (9, 'x');
      CREATE TABLE triggered (id INT PRIMARY KEY, name VARCHAR(20)); CREATE TRIGGER fired BEFORE INSERT ON triggered FOR EACH ROW SET NEW.name = NEW.name`);
    const cases = [
      ['filled', 'swap', 'the table is not empty'],
      ['filled', 'direct', 'the table is not empty'],
      ['triggered', 'swap', 'it has triggers'],
    ] as const;
    for (const [table, publish, why] of cases) {
      const folder = new LoaderFolder(schema, [{ table, source: 'n.csv', publish }], { 'n.csv': names(3) });
      const { summary } = await folder.refuse(3, 'LOAD_PUBLISH_REFUSED');
      expect(summary.error?.message).toContain(why);
    }
    expect(await schema.query('SELECT * FROM triggered')).toEqual([]);
  });

  test('a swapped table is defined exactly as before, its counter included', async () => {
    const schema = await server.createSchema();
    const own = server.flavour === 'mysql' ? ', KEY expression ((lower(name))), KEY hidden (price) INVISIBLE' : '';
    await schema.script(`CREATE TABLE t (id BIGINT UNSIGNED NOT NULL AUTO_INCREMENT COMMENT 'it''s, KEY \`x\` (y)', name VARCHAR(40) NOT NULL, note TEXT, body LONGTEXT,
      price DECIMAL(8,2) NOT NULL DEFAULT 1.5, doubled DECIMAL(10,2) AS (price * 2) STORED, spot POINT NOT NULL,
      PRIMARY KEY (id), UNIQUE KEY \`by\`\`name\` (name, price), KEY prefix (note(10)), KEY down (price DESC, name), FULLTEXT KEY words (note), FULLTEXT KEY more (body, note),
      SPATIAL KEY spot (spot)${own}) COMMENT='a table; AUTO_INCREMENT=5' AUTO_INCREMENT=1000 ROW_FORMAT=DYNAMIC`);
    const before = await definition(schema, 't');
    const folder = new LoaderFolder(schema, [{ table: 't', source: 't.csv' }], {
      't.csv': csv(
        ['id', 'name', 'note', 'price', 'spot'],
        [
          [1, 'a', 'some words', '1.00', 'POINT(1 2)'],
          [2, 'b', null, '2.00', 'POINT(3 4)'],
        ],
      ),
    });
    expect(await folder.load()).toMatchObject([{ inserted: 2, publish: 'swap' }]);
    expect(await definition(schema, 't')).toBe(before);
    await schema.query("INSERT INTO t (name, spot) VALUES ('c', ST_GeomFromText('POINT(0 0)'))");
    expect(await schema.query("SELECT id, doubled FROM t WHERE name IN ('b', 'c') ORDER BY id")).toEqual([
      { id: 2, doubled: '4.00' },
      { id: 1000, doubled: '3.00' },
    ]);
    expect(await folder.load()).toMatchObject([{ unchanged: 2, publish: null }]);
  });

  test('a table whose rows are matched by another unique key than the primary key is filled like any other', async () => {
    const schema = await server.createSchema();
    await schema.script(`CREATE TABLE t (id INT NOT NULL AUTO_INCREMENT PRIMARY KEY, code VARCHAR(9) NOT NULL UNIQUE, name VARCHAR(9));
      CREATE TABLE keyless (code VARCHAR(9) NOT NULL, name VARCHAR(9), UNIQUE KEY code (code))`);
    const folder = new LoaderFolder(
      schema,
      ['t', 'keyless'].map((table) => ({ table, source: 't.csv', key: ['code'] })),
      { 't.csv': 'code,name\na,x\nb,y\na,x\n' },
    );
    expect(await folder.load()).toMatchObject([
      // Its counter numbers the rows in the order of the source, which two streams do not keep.
      { publish: 'direct', inserted: 2, unchanged: 1 },
      { publish: 'swap', inserted: 2, unchanged: 1 },
    ]);
    expect(await folder.load()).toMatchObject([{ unchanged: 3 }, { unchanged: 3 }]);
  });

  test('rows that other sessions write during a swap are never lost', async () => {
    const schema = await server.createSchema();
    await schema.script('CREATE TABLE t (id INT PRIMARY KEY, name VARCHAR(20), stock INT NOT NULL DEFAULT 0)');
    const folder = new LoaderFolder(schema, [{ table: 't', source: 'n.csv' }], { 'n.csv': names(3) });
    await using early = await schema.connect();
    await using late = await schema.connect();
    await early.beginTransaction();
    await early.query("INSERT INTO t VALUES (2, 'theirs', 5), (100, 'early', 1)");
    const { ended } = folder.start();
    await waitForWaiters(server, schema, 1);
    const inserted = late.query("INSERT INTO t VALUES (101, 'late', 2)");
    await waitForWaiters(server, schema, 2);
    await early.commit();
    await inserted;
    const run = await ended;
    if (server.flavour === 'mysql') {
      expect(run).toMatchObject({ exit: 1, summary: { error: { code: 'LOAD_TABLE_CHANGED' } } });
      expect(await schema.query('SELECT id FROM t ORDER BY id')).toEqual([{ id: 2 }, { id: 100 }, { id: 101 }]);
      await folder.load();
    } else {
      expect(run).toMatchObject({ exit: 0, summary: { tables: [{ publish: 'swap', inserted: 3 }] } });
    }
    expect((await schema.query('SELECT id, name, stock FROM t ORDER BY id')).map((row) => Object.values(row))).toEqual([
      [1, 'name 1', 0],
      [2, 'name 2', 5],
      [3, 'name 3', 0],
      [100, 'early', 1],
      [101, 'late', 2],
    ]);
    expect(await folder.load()).toMatchObject([{ unchanged: 3, publish: null }]);
  });

  test('a definition that changes during a swap is not lost', async () => {
    const schema = await server.createSchema();
    await schema.script('CREATE TABLE t (id INT PRIMARY KEY, name VARCHAR(20))');
    const folder = new LoaderFolder(schema, [{ table: 't', source: 'n.csv' }], { 'n.csv': names(60_000) });
    const { ended } = folder.start();
    for (let staged = false; !staged; ) {
      staged = (await schema.query("SHOW TABLES LIKE 'tableset\\_stage%'")).length > 0;
      await delay(5);
    }
    await schema.query('ALTER TABLE t ADD COLUMN extra INT');
    expect(await ended).toMatchObject({ exit: 1, summary: { error: { code: 'LOAD_TABLE_CHANGED' } } });
    expect(await schema.query("SHOW COLUMNS FROM t LIKE 'extra'")).toHaveLength(1);
    expect(await folder.load()).toMatchObject([{ inserted: 60_000, publish: 'swap' }]);
  });

  test('what a run that died left behind is removed, and rows that are nowhere else are not', async () => {
    const schema = await server.createSchema();
    await schema.script('CREATE TABLE t (id INT PRIMARY KEY, name VARCHAR(20))');
    const folder = new LoaderFolder(schema, [{ table: 't', source: 'n.csv' }], { 'n.csv': names(3) });
    await folder.load();
    // sha256('t') begins with these digits: the names that the loader gives its tables.
    const [stage, old] = ['tableset_stage_e3b98a4da31a127d', 'tableset_stage_old_e3b98a4da31a127d'];
    await schema.script(
      `CREATE TABLE ${stage} LIKE t; INSERT INTO ${stage} VALUES (7, 'half'); CREATE TABLE ${old} LIKE t; INSERT INTO ${old} VALUES (8, 'late')`,
    );
    expect(await folder.load()).toMatchObject([{ unchanged: 3 }]);
    expect(await schema.query('SELECT id FROM t ORDER BY id')).toEqual([{ id: 1 }, { id: 2 }, { id: 3 }, { id: 8 }]);
    expect(await schema.query("SHOW TABLES LIKE 'tableset\\_stage%'")).toEqual([]);
    await schema.script(`CREATE TABLE ${old} LIKE t; INSERT INTO ${old} VALUES (1, 'another')`);
    const { summary } = await folder.refuse(1, 'LOAD_TABLE_CHANGED');
    expect(summary.error?.hint).toContain(old);
    await schema.query(`DROP TABLE ${old}`);
  });

  test('a reader sees a table as it was or as it is, and never half of it', async () => {
    const schema = await server.createSchema();
    const rows = 20_000;
    await schema.script(`CREATE TABLE swapped (id INT PRIMARY KEY, name VARCHAR(20)); CREATE TABLE direct LIKE swapped; CREATE TABLE delta LIKE swapped;
      INSERT INTO delta VALUES (1, 'before'), (2, 'before')`);
    const folder = new LoaderFolder(
      schema,
      [
        { table: 'swapped', source: 'n.csv' },
        { table: 'direct', source: 'n.csv', publish: 'direct' },
        { table: 'delta', source: 'n.csv' },
      ],
      { 'n.csv': names(rows) },
    );
    await using reader = await schema.connect();
    let running = true;
    const seen = new Set<string>();
    const reading = (async () => {
      while (running) {
        for (const table of ['swapped', 'direct', 'delta']) {
          const [[counts]] = await reader.query<never[]>(
            `SELECT COUNT(*) AS count, COUNT(CASE WHEN name = 'before' THEN 1 END) AS before_load FROM ${table}`,
          );
          seen.add(`${table} ${JSON.stringify(Object.values(counts ?? {}))}`);
        }
        await delay(2);
      }
    })();
    await folder.load();
    running = false;
    await reading;
    const possible = [
      ...['swapped', 'direct'].flatMap((table) => [`${table} [0,0]`, `${table} [${rows},0]`]),
      'delta [2,2]',
      `delta [${rows},0]`,
    ];
    expect([...seen].filter((state) => !possible.includes(state))).toEqual([]);
    expect(seen).toContain('swapped [0,0]');
  });
});
