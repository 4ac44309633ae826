import { expect, test } from 'vitest';
import { describeEachServer, type TestSchema, type TestServer } from '../../test/servers.ts';
import { ArchiveFolder, archiveSchema, sameServer } from './run-archive.ts';
import { typeCases } from './type-values.ts';

async function open(server: TestServer, sql: string, entry: Readonly<Record<string, unknown>> = {}, limits = {}) {
  const schema = await server.createSchema();
  const archive = await archiveSchema(server, schema);
  await schema.script(sql);
  return {
    schema,
    archive,
    folder: new ArchiveFolder(schema, sameServer(archive, [{ table: 'orders', ...entry }], limits)),
  };
}

/** Every cell of `orders` byte for byte, in the order of the keys; floating-point numbers to their last digit. */
async function cells(schema: TestSchema, types: readonly string[]) {
  const list = types.map((type, index) => {
    const bytes = /^(?:FLOAT|DOUBLE)/i.test(type)
      ? `c${index} * 1e0`
      : /^JSON/i.test(type)
        ? `HEX(CAST(c${index} AS CHAR))`
        : /^(?:GEOMETRY|POINT|LINESTRING|POLYGON|MULTI)/i.test(type)
          ? `HEX(c${index})`
          : `HEX(CAST(c${index} AS BINARY))`;
    return `${bytes} AS c${index}`;
  });
  return await schema.query(`SELECT id, ${list.join(', ')} FROM orders ORDER BY id`);
}

const quoted = (text: string) => `'${text.replaceAll('\\', '\\\\').replaceAll("'", "''")}'`;

describeEachServer('rows that are archived to the same server', (server) => {
  test('faults 39 to 42: every value of every type is in the archive byte for byte, and verify says so', async () => {
    // One type a table would be slow; of all in one each row has a value of each, over and over.
    const cases = typeCases(server.flavour).filter(({ values }) => values.length > 0);
    const types = cases.map(({ type }) => type);
    const { schema, archive, folder } = await open(
      server,
      `SET SESSION sql_mode = ''; CREATE TABLE orders (id INT NOT NULL PRIMARY KEY, created_at DATETIME NOT NULL, ${cases.map(({ type }, index) => `c${index} ${type} NULL`).join(', ')}) ROW_FORMAT=DYNAMIC CHARSET=utf8mb4 COLLATE=utf8mb4_bin`,
    );
    const most = Math.max(...cases.map(({ values }) => values.length));
    for (let row = 0; row < most; row++) {
      const values = cases.map(({ values: given }) => {
        const value = given[row % given.length] ?? '';
        return typeof value === 'string' ? quoted(value) : value[1];
      });
      await schema.query(`INSERT INTO orders VALUES (${row}, '2019-01-01', ${values.join(', ')})`);
    }
    await schema.query('INSERT INTO orders (id, created_at) VALUES (1000, ?)', ['2019-01-01']);
    const before = await cells(schema, types);
    expect(await folder.archive()).toMatchObject([{ archived: most + 1, deleted: most + 1 }]);
    expect(await cells(archive, types)).toEqual(before);
    expect((await folder.run('verify')).exit).toBe(0);
  });

  test('fault 38: generated columns are stored as values, invisible ones go along', async () => {
    const { schema, archive, folder } = await open(
      server,
      `CREATE TABLE orders (id INT NOT NULL PRIMARY KEY, price DECIMAL(8,2) NOT NULL, hidden VARCHAR(20) NULL INVISIBLE,
        twice DECIMAL(9,2) ${server.flavour === 'mysql' ? 'GENERATED ALWAYS AS (price * 2) STORED' : 'AS (price * 2) PERSISTENT'}, lower_case VARCHAR(20) AS (LOWER(hidden)) VIRTUAL, created_at DATETIME NOT NULL);
      INSERT INTO orders (id, price, hidden, created_at) VALUES (1, 1.25, 'Ä', '2019-01-01'), (2, 3.5, NULL, '2019-01-01')`,
    );
    expect(await folder.archive()).toMatchObject([{ archived: 2 }]);
    expect(await archive.query('SELECT id, price, hidden, twice, lower_case FROM orders ORDER BY id')).toEqual([
      { id: 1, price: '1.25', hidden: 'Ä', twice: '2.50', lower_case: 'ä' },
      { id: 2, price: '3.50', hidden: null, twice: '7.00', lower_case: null },
    ]);
    expect(await schema.query('SELECT id FROM orders')).toEqual([]);
  });

  test('fault 43: a value that is no member of its ENUM any more is archived as it is', async () => {
    const { schema, archive, folder } = await open(
      server,
      `SET SESSION sql_mode = ''; CREATE TABLE orders (id INT NOT NULL PRIMARY KEY, kind ENUM('a', 'b') NULL, flags SET('x', 'y') NULL, created_at DATETIME NOT NULL);
       INSERT INTO orders VALUES (1, 'nonsense', 'x,y', '2019-01-01'), (2, 'b', '', '2019-01-01')`,
    );
    const numbers = 'SELECT id, kind + 0 AS kind, flags + 0 AS flags FROM orders ORDER BY id';
    const before = await schema.query(numbers);
    expect(await folder.archive()).toMatchObject([{ archived: 2 }]);
    expect(await archive.query(numbers)).toEqual(before);
  });

  test('fault 46: children that restrict go before their parents, level by level', async () => {
    const { schema, archive, folder } = await open(
      server,
      `CREATE TABLE orders (id INT NOT NULL PRIMARY KEY, created_at DATETIME NOT NULL);
       CREATE TABLE items (id INT NOT NULL PRIMARY KEY, order_id INT NOT NULL, FOREIGN KEY (order_id) REFERENCES orders (id) ON DELETE RESTRICT);
       CREATE TABLE notes (id INT NOT NULL PRIMARY KEY, item_id INT NOT NULL, FOREIGN KEY (item_id) REFERENCES items (id) ON DELETE RESTRICT);
       INSERT INTO orders VALUES (1, '2019-01-01'), (2, '2019-01-02'), (3, UTC_TIMESTAMP());
       INSERT INTO items VALUES (11, 1), (12, 1), (13, 2), (14, 3);
       INSERT INTO notes VALUES (21, 11), (22, 13), (23, 14)`,
      { children: ['items', 'notes'] },
    );
    expect(await folder.archive()).toMatchObject([{ archived: 2 }, { archived: 3 }, { archived: 2 }]);
    for (const [table, ids] of Object.entries({ orders: [3], items: [14], notes: [23] }))
      expect(await schema.query(`SELECT id FROM ${table}`)).toEqual(ids.map((id) => ({ id })));
    expect(await archive.query('SELECT id FROM notes ORDER BY id')).toEqual([{ id: 21 }, { id: 22 }]);
  });

  test('fault 48: a partitioned table is archived over the borders of its partitions', async () => {
    const rows = Array.from({ length: 60 }, (_, index) => `(${index + 1}, '201${(index % 8) + 1}-06-01')`).join();
    const { schema, archive, folder } = await open(
      server,
      `CREATE TABLE orders (id INT NOT NULL, created_at DATETIME NOT NULL, PRIMARY KEY (id, created_at))
         PARTITION BY RANGE (YEAR(created_at)) (PARTITION a VALUES LESS THAN (2014), PARTITION b VALUES LESS THAN (2017), PARTITION c VALUES LESS THAN MAXVALUE);
       INSERT INTO orders VALUES ${rows}`,
      {},
      { batchRows: 7 },
    );
    expect(await folder.archive()).toMatchObject([{ archived: 60 }]);
    expect(await archive.query('SELECT COUNT(*) AS n, COUNT(DISTINCT id) AS ids FROM orders')).toEqual([
      { n: 60, ids: 60 },
    ]);
    expect(await schema.query('SELECT id FROM orders')).toEqual([]);
  });
});
