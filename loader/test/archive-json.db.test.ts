import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { describeEachServer, type TestSchema } from '../../test/servers.ts';
import { bytesOf, ids, restore } from './archive-restore-kit.ts';
import { ArchiveFolder, archiveSchema, sameServer } from './run-archive.ts';

const deep = (value: string, levels: number) => `${'JSON_ARRAY('.repeat(levels)}${value}${')'.repeat(levels)}`;

/** SQL of documents that hold what JSON has no form for, all of them in MySQL alone. */
const typed: Readonly<Record<string, string>> = {
  'a DECIMAL': "JSON_OBJECT('f', 1/8)",
  'a DECIMAL that is a whole number': "JSON_OBJECT('n', CAST(5 AS DECIMAL(5,0)))",
  'a DECIMAL by itself': 'CAST(1.5 AS JSON)',
  'a DECIMAL far down': deep("JSON_OBJECT('a b', 1.25)", 60),
  'a DATE': "JSON_ARRAY(1, JSON_OBJECT('x', JSON_ARRAY(CURDATE())))",
  'a TIME': "JSON_OBJECT('t', CAST('10:00:00' AS TIME))",
  'a DATETIME': "JSON_OBJECT('d', NOW())",
  bytes: "JSON_OBJECT('b', x'00ff')",
  bits: "JSON_OBJECT('b', b'101')",
};

const plain = [
  `'{"a": [1, 2.5, "x", null, true, -3, 18446744073709551615, 1e300, 0.1], "b": {"c": [[[[1.25, -0.0]]]]}}'`,
  "'1'",
  "'null'",
  "'[]'",
  "'{}'",
  'NULL',
  `'"2020-01-01"'`,
  "JSON_OBJECT('u', CAST(5 AS UNSIGNED), 'd', 1.5e0)",
];

describeEachServer('archived JSON', (server) => {
  async function open(store: 'server' | 'files', children = false) {
    const schema = await server.createSchema();
    const archive = await archiveSchema(server, schema);
    await schema.script(
      `CREATE TABLE orders (id INT PRIMARY KEY, created_at DATETIME NOT NULL, plain JSON NULL, doc JSON NULL);
      CREATE TABLE order_items (id INT PRIMARY KEY, order_id INT NOT NULL, doc JSON NULL, FOREIGN KEY (order_id) REFERENCES orders (id))`,
    );
    const entry = { table: 'orders', ...(children ? { children: ['order_items'] } : {}) };
    const sections = sameServer(archive, [entry]);
    const folder = new ArchiveFolder(schema, sections);
    if (!children) await schema.query('DROP TABLE order_items');
    if (store === 'files') {
      mkdirSync(join(folder.path, 'cold'));
      folder.configure({ ...sections, stores: { cold: { filesystem: { path: 'cold', format: 'jsonl' } } } });
    }
    return { schema, folder };
  }

  async function insert(schema: TestSchema, id: number, doc: string) {
    await schema.query(`INSERT INTO orders VALUES (${id}, '2001-01-01', '{"a": 1.5}', ${doc})`);
  }

  test.each(['server', 'files'] as const)(
    'whose text gives it back is archived to %s and restored as it was',
    async (store) => {
      const { schema, folder } = await open(store);
      for (const [index, doc] of plain.entries()) await insert(schema, index + 1, doc);
      const before = await bytesOf(schema, 'orders');
      await folder.archive();
      expect(await ids(schema, 'orders')).toEqual([]);
      expect(await restore({ folder }, '--from', '2000-01-01')).toMatchObject([{ restored: plain.length }]);
      expect(await bytesOf(schema, 'orders')).toEqual(before);
    },
  );

  if (server.flavour === 'mariadb') return;

  test.each(['server', 'files'] as const)(
    'with a value that its text does not give back is not archived to %s, and nothing is deleted',
    async (store) => {
      const { schema, folder } = await open(store);
      await insert(schema, 1, "'{}'");
      for (const [what, doc] of Object.entries(typed)) {
        await schema.query('DELETE FROM orders WHERE id > 1');
        await insert(schema, 7, doc);
        const { summary } = await folder.refuse(3, 'ARCHIVE_VALUE_REFUSED');
        expect(summary.error?.message, what).toMatch(/^orders: the row with key \["7"\] has a JSON document in doc /);
        expect(summary.error?.hint, what).toContain(
          'UPDATE `orders` SET `doc` = CAST(CAST(`doc` AS CHAR) AS JSON) WHERE',
        );
        expect(await ids(schema, 'orders'), what).toEqual([1, 7]);
      }
      // The remedy as it is told.
      await schema.query('UPDATE orders SET doc = CAST(CAST(doc AS CHAR) AS JSON) WHERE id = 7');
      await folder.archive();
      expect(await ids(schema, 'orders')).toEqual([]);
      expect(await restore({ folder }, '--from', '2000-01-01')).toMatchObject([{ restored: 2 }]);
    },
    120_000,
  );

  test.each(['server', 'files'] as const)(
    'of a child is looked at like that of its parent, archived to %s',
    async (store) => {
      const { schema, folder } = await open(store, true);
      await insert(schema, 1, "'{}'");
      await schema.query("INSERT INTO order_items VALUES (3, 1, JSON_ARRAY('2020-01-01', DATE '2020-01-01'))");
      const { summary } = await folder.refuse(3, 'ARCHIVE_VALUE_REFUSED');
      expect(summary.error?.message).toMatch(/^order_items: the row with key \["3"\] has a JSON document in doc /);
      expect([await ids(schema, 'orders'), await ids(schema, 'order_items')]).toEqual([[1], [3]]);
    },
  );
});
