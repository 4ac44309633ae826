import { connect } from '@tableset/common/database/connect.ts';
import { expect, test } from 'vitest';
import { describeEachServer, type TestServer } from '../../test/servers.ts';
import { planArchive } from '../src/archive/plan-archive.ts';
import type { ArchiveChild } from '../src/config/archive-config.ts';
import { expectConserved, rowsOf } from './archive-shop.ts';
import { recordingOutput, settingsOf, taskOf } from './archive-two-server-kit.ts';
import { ArchiveFolder, archiveSchema, sameServer } from './run-archive.ts';

const caseless = 'CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci NOT NULL';
const exact = 'CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL';
const batch = 'tableset_batch BIGINT UNSIGNED NOT NULL';

/** A table `orders` and its children `items` with rows past their age, and what its archive is to be before the first run. */
async function open(server: TestServer, sql: string, archiveSql: string, entry: Readonly<Record<string, unknown>>) {
  const schema = await server.createSchema();
  const archive = await archiveSchema(server, schema);
  await schema.script(sql);
  if (archiveSql !== '') await archive.script(archiveSql);
  const before = { orders: await rowsOf(schema, 'orders'), items: await rowsOf(schema, 'items') };
  const folder = new ArchiveFolder(schema, sameServer(archive, [{ table: 'orders', ...entry }]));
  return { schema, archive, folder, before };
}

/** Links that only differ by their types: `{type}` of the parent's key and of the child's column. */
const alike: readonly [name: string, parent: string, child: string, isForeignKey: boolean, words: RegExp][] = [
  [
    'ENUMs in another order',
    "ENUM('a','b','c')",
    "ENUM('c','a','b')",
    true,
    /e \(enum\('c','a','b'\).*id \(enum\('a','b','c'\)/,
  ],
  ['an ENUM with more members', "ENUM('a','b')", "ENUM('b','a','c')", true, /goes along by/],
  ['SETs in another order', "SET('a','b','c')", "SET('c','a','b')", true, /goes along by/],
  ['DECIMALs of another scale', 'DECIMAL(4,2)', 'DECIMAL(3,1)', true, /e \(decimal\(3,1\)\).*id \(decimal\(4,2\)\)/],
  ['YEAR and TINYINT', 'YEAR', 'TINYINT UNSIGNED', true, /goes along by/],
  ['a text and a number', 'BIGINT', 'VARCHAR(30)', false, /goes along by/],
  ['a number and a text', 'VARCHAR(30)', 'BIGINT', false, /goes along by/],
  [
    'texts of different collations',
    'VARCHAR(30) COLLATE utf8mb4_bin',
    'VARCHAR(30) COLLATE utf8mb4_general_ci',
    false,
    /COLLATE utf8mb4_general_ci.*COLLATE utf8mb4_bin/,
  ],
];

const child: ArchiveChild = {
  table: 'c',
  on: null,
  when: null,
  resolutionSeconds: null,
  dateColumn: null,
  leftOut: 'keep',
  archiveTable: null,
};

async function plan(server: TestServer, ddl: string, settings: ArchiveChild) {
  const schema = await server.createSchema();
  await schema.script(ddl);
  await using connection = await connect(settingsOf(schema));
  const task = taskOf('t', { dateColumn: 'd', archiveAfterDays: 30, children: [settings] });
  return await planArchive(connection, [task], { nowUtc: '2026-07-01 00:00:00.000000', output: recordingOutput() });
}

function linked(parent: string, column: string, isForeignKey: boolean): string {
  const key = isForeignKey ? ', FOREIGN KEY (e) REFERENCES t (id) ON DELETE CASCADE' : '';
  return `CREATE TABLE t (id ${parent} NOT NULL PRIMARY KEY, d DATETIME NOT NULL); CREATE TABLE c (id INT PRIMARY KEY, e ${column} NOT NULL, KEY (e)${key})`;
}

describeEachServer('the links of a set', (server) => {
  for (const [name, parent, column, isForeignKey, words] of alike) {
    test(`fault 46: a link between ${name} is refused`, async () => {
      const settings = isForeignKey ? child : { ...child, on: { e: 'id' } };
      await expect(plan(server, linked(parent, column, isForeignKey), settings)).rejects.toMatchObject({
        code: 'ARCHIVE_TABLE_UNSUITABLE',
        message: expect.stringMatching(words),
      });
    });
  }

  test('a link between a CHAR and a VARCHAR is refused where blanks at the end count', async () => {
    const collation = server.flavour === 'mysql' ? 'utf8mb4_0900_ai_ci' : 'utf8mb4_general_nopad_ci';
    const [parent, column] = [`VARCHAR(9) COLLATE ${collation}`, `CHAR(9) COLLATE ${collation}`];
    await expect(plan(server, linked(parent, column, true), child)).rejects.toMatchObject({
      code: 'ARCHIVE_TABLE_UNSUITABLE',
    });
    expect(await plan(server, linked(parent, parent, true), child)).toHaveLength(1);
  });

  test('links between columns of different length are fine, and between integers that no foreign key compares', async () => {
    const binary = ['BINARY(3)', 'VARBINARY(9)'] as const;
    const texts = ['CHAR(3) COLLATE utf8mb4_general_ci', 'VARCHAR(9) COLLATE utf8mb4_general_ci'] as const;
    for (const [parent, column] of [binary, texts])
      expect(await plan(server, linked(parent, column, true), child)).toHaveLength(1);
    expect(await plan(server, linked('BIGINT UNSIGNED', 'INT', false), { ...child, on: { e: 'id' } })).toHaveLength(1);
  });

  test('fault 46: a foreign key to what is not unique in the parent is refused', async () => {
    const free = server.flavour === 'mysql' ? 'SET SESSION restrict_fk_on_non_standard_key = OFF; ' : '';
    const ddl = `${free}CREATE TABLE t (id INT PRIMARY KEY, g INT NOT NULL, d DATETIME NOT NULL, KEY (g));
      CREATE TABLE c (id INT PRIMARY KEY, g INT NOT NULL, FOREIGN KEY (g) REFERENCES t (g) ON DELETE CASCADE)`;
    await expect(plan(server, ddl, child)).rejects.toMatchObject({
      code: 'ARCHIVE_TABLE_UNSUITABLE',
      message: expect.stringMatching(/not unique/),
    });
  });

  for (const [from, name] of [
    [caseless, 'the same character set'],
    ['CHARACTER SET latin1 COLLATE latin1_swedish_ci NOT NULL', 'another character set'],
  ] as const) {
    test(`fault 46: children are found as the table compares them, also where its archive compares exactly, in ${name}`, async () => {
      const { schema, archive, folder, before } = await open(
        server,
        `CREATE TABLE orders (id VARCHAR(20) ${from} PRIMARY KEY, created_at DATETIME NOT NULL);
         CREATE TABLE items (id VARCHAR(20) ${from} PRIMARY KEY, order_id VARCHAR(20) ${from}, FOREIGN KEY (order_id) REFERENCES orders (id) ON DELETE CASCADE);
         CREATE TABLE parts (id INT PRIMARY KEY, item_id VARCHAR(20) ${from}, FOREIGN KEY (item_id) REFERENCES items (id) ON DELETE CASCADE);
         INSERT INTO orders VALUES ('B1', '2019-01-01'), ('b2', '2019-01-01'), ('b3', UTC_TIMESTAMP());
         INSERT INTO items VALUES ('i1', 'b1'), ('I2', 'B1'), ('i3', 'B2'), ('i4', 'B3');
         INSERT INTO parts VALUES (1, 'I1'), (2, 'i2'), (3, 'I4')`,
        `CREATE TABLE orders (id VARCHAR(20) ${exact}, created_at DATETIME NOT NULL, ${batch}, PRIMARY KEY (id, tableset_batch), KEY (tableset_batch));
         CREATE TABLE items (id VARCHAR(20) ${exact}, order_id VARCHAR(20) ${exact}, ${batch}, PRIMARY KEY (id, tableset_batch), KEY (tableset_batch))`,
        { children: ['items', 'parts'] },
      );
      const parts = await rowsOf(schema, 'parts');
      expect(await folder.archive()).toMatchObject([{ archived: 2 }, { archived: 3 }, { archived: 2 }]);
      await expectConserved({ schema, archive }, { ...before, parts });
    });
  }

  test('fault 46: children are found as the table compares them on the way to files too', async () => {
    const schema = await server.createSchema();
    await schema.script(
      `CREATE TABLE orders (id VARCHAR(20) ${caseless} PRIMARY KEY, created_at DATETIME NOT NULL);
       CREATE TABLE items (id INT PRIMARY KEY, order_id VARCHAR(20) ${caseless}, FOREIGN KEY (order_id) REFERENCES orders (id) ON DELETE CASCADE);
       INSERT INTO orders VALUES ('B1', '2019-01-01'), ('b2', UTC_TIMESTAMP());
       INSERT INTO items VALUES (1, 'b1'), (2, 'B1'), (3, 'B2')`,
    );
    const folder = new ArchiveFolder(schema, {});
    folder.write('store/here', '');
    folder.configure({
      stores: { cold: { filesystem: { path: `${folder.path}/store` } } },
      archive: [
        { table: 'orders', children: ['items'], dateColumn: 'created_at', archiveAfterDays: 30, store: 'cold' },
      ],
    });
    expect(await folder.archive()).toMatchObject([{ archived: 1 }, { archived: 2 }]);
    expect(await schema.query('SELECT id FROM items')).toEqual([{ id: 3 }]);
  });

  test('children that hang on a unique text beside the key are found as the table compares it', async () => {
    const { schema, archive, folder, before } = await open(
      server,
      `CREATE TABLE orders (id INT PRIMARY KEY, code VARCHAR(20) ${caseless} UNIQUE, created_at DATETIME NOT NULL);
       CREATE TABLE items (id INT PRIMARY KEY, code VARCHAR(20) ${caseless}, FOREIGN KEY (code) REFERENCES orders (code) ON DELETE CASCADE);
       INSERT INTO orders VALUES (1, 'B1', '2019-01-01'), (2, 'B2', UTC_TIMESTAMP());
       INSERT INTO items VALUES (1, 'b1'), (2, 'B1'), (3, 'b2')`,
      `CREATE TABLE orders (id INT NOT NULL, code VARCHAR(20) ${exact}, created_at DATETIME NOT NULL, ${batch}, PRIMARY KEY (id, tableset_batch), KEY (tableset_batch))`,
      { children: ['items'] },
    );
    expect(await folder.archive()).toMatchObject([{ archived: 1 }, { archived: 2 }]);
    await expectConserved({ schema, archive }, before);
  });

  test('a child whose rows are partly left out is refused where the archives do not compare as the tables do', async () => {
    const { schema, archive, folder, before } = await open(
      server,
      `CREATE TABLE orders (id VARCHAR(20) ${caseless} PRIMARY KEY, total INT NOT NULL, created_at DATETIME NOT NULL);
       CREATE TABLE items (id INT PRIMARY KEY, order_id VARCHAR(20) ${caseless}, FOREIGN KEY (order_id) REFERENCES orders (id) ON DELETE CASCADE);
       INSERT INTO orders VALUES ('B1', 9, '2019-01-01');
       INSERT INTO items VALUES (1, 'b1'), (2, 'B1')`,
      `CREATE TABLE orders (id VARCHAR(20) ${exact}, total INT NOT NULL, created_at DATETIME NOT NULL, ${batch}, PRIMARY KEY (id, tableset_batch), KEY (tableset_batch))`,
      { children: [{ table: 'items', when: { column: 'total', atLeast: 5 }, leftOut: 'drop' }] },
    );
    const run = await folder.refuse(3, 'ARCHIVE_DRIFT');
    expect(run.summary.error?.message).toMatch(/orders\.id is compared by utf8mb4_bin/);
    await expectConserved({ schema, archive }, before);
    await archive.script(`ALTER TABLE orders MODIFY id VARCHAR(20) ${caseless}`);
    expect(await folder.archive()).toMatchObject([{ archived: 1 }, { archived: 2 }]);
    await expectConserved({ schema, archive }, before);
  });
});
