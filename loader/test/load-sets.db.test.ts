import { expect, test } from 'vitest';
import { describeEachServer, type TestSchema } from '../../test/servers.ts';
import { csv, LoaderFolder } from './run-loader.ts';

const linked = `CREATE TABLE categories (id INT PRIMARY KEY, name VARCHAR(20) NOT NULL UNIQUE);
  CREATE TABLE products (id INT PRIMARY KEY, category_id INT NOT NULL, name VARCHAR(20), FOREIGN KEY (category_id) REFERENCES categories (id));
  CREATE TABLE notes (id INT PRIMARY KEY, product_id INT NULL, FOREIGN KEY (product_id) REFERENCES products (id))`;
// Children first: the order is worked out, not taken.
const entries = (mode: string, more: Readonly<Record<string, unknown>> = {}) =>
  ['notes', 'products', 'categories'].map((table) => ({ table, source: `${table}.csv`, mode, ...more }));
const first = {
  'categories.csv': 'id,name\n1,a\n2,b\n3,c\n',
  'products.csv': 'id,category_id,name\n1,1,p1\n2,2,p2\n3,3,p3\n',
  'notes.csv': 'id,product_id\n1,1\n2,3\n3,\n',
};

async function contents(schema: TestSchema): Promise<unknown> {
  const tables = ['categories', 'products', 'notes'];
  return await Promise.all(
    tables.map(async (table) =>
      (await schema.query(`SELECT * FROM ${table} ORDER BY id`)).map((row) => Object.values(row).join()),
    ),
  );
}

describeEachServer('tables linked by foreign keys', (server) => {
  test('are loaded parents first, and mirrored children first', async () => {
    const schema = await server.createSchema();
    await schema.script(linked);
    const folder = new LoaderFolder(schema, entries('mirror', { maxDeletes: { percent: 100 } }), first);
    expect(await folder.load()).toMatchObject([
      { table: 'notes', inserted: 3, publish: 'direct' },
      { table: 'products', inserted: 3, publish: 'direct' },
      { table: 'categories', inserted: 3, publish: 'direct' },
    ]);
    folder.write({
      'categories.csv': 'id,name\n1,a\n4,d\n',
      'products.csv': 'id,category_id,name\n1,1,p1\n4,4,p4\n',
      'notes.csv': 'id,product_id\n2,4\n',
    });
    expect(await folder.load()).toMatchObject([
      { deleted: 2, updated: 1 },
      { deleted: 2, inserted: 1 },
      { deleted: 2, inserted: 1 },
    ]);
    expect(await contents(schema)).toEqual([['1,a', '4,d'], ['1,1,p1', '4,4,p4'], ['2,4']]);
    expect(await folder.load()).toMatchObject([{ publish: null }, { publish: null }, { publish: null }]);
  });

  test('a parent can go when its children move to another one in the same load', async () => {
    const schema = await server.createSchema();
    await schema.script(linked);
    const folder = new LoaderFolder(schema, entries('mirror', { maxDeletes: { percent: 100 } }), first);
    await folder.load();
    folder.write({
      'categories.csv': 'id,name\n1,a\n9,z\n',
      'products.csv': 'id,category_id,name\n1,1,p1\n2,9,p2\n3,9,p3\n',
    });
    expect(await folder.load()).toMatchObject([
      { publish: null },
      { updated: 2, deleted: 0 },
      { inserted: 1, deleted: 2 },
    ]);
    expect(await contents(schema)).toEqual([
      ['1,a', '9,z'],
      ['1,1,p1', '2,9,p2', '3,9,p3'],
      ['1,1', '2,3', '3,'],
    ]);
  });

  for (const filled of [false, true]) {
    test(`a bad row in a child leaves the parents as they were, ${filled ? 'with rows' : 'empty'}`, async () => {
      const schema = await server.createSchema();
      await schema.script(linked);
      const folder = new LoaderFolder(schema, entries('upsert'), first);
      if (filled) await folder.load();
      const before = await contents(schema);
      folder.write({
        'categories.csv': 'id,name\n1,changed\n2,b\n3,c\n5,new\n',
        'notes.csv': 'id,product_id\n1,1\nx,3\n',
      });
      await folder.refuse(3, 'LOAD_REJECTED');
      expect(await contents(schema)).toEqual(before);
      folder.write({ 'notes.csv': 'id,product_id\n1,1\n7,77\n' });
      folder.write({ 'products.csv': 'id,category_id,name\n1,1,p1\n' });
      const { summary } = await folder.refuse(3, 'LOAD_FOREIGN_KEY');
      expect(summary).toMatchObject({ tables: [] });
      expect(await contents(schema)).toEqual(before);
    });
  }

  test('a set that fails leaves the sets before it published, and says so', async () => {
    const schema = await server.createSchema();
    await schema.script(`${linked}; CREATE TABLE alone (id INT PRIMARY KEY)`);
    const folder = new LoaderFolder(schema, [{ table: 'alone', source: 'a.csv' }, ...entries('upsert')], {
      ...first,
      'a.csv': 'id\n1\n',
      'notes.csv': 'id,product_id\n1,88\n',
    });
    const { summary } = await folder.refuse(3, 'LOAD_FOREIGN_KEY');
    expect(summary.tables).toMatchObject([{ table: 'alone', inserted: 1 }]);
    expect(await contents(schema)).toEqual([[], [], []]);
  });

  test('deleting a parent that another table still refers to is refused', async () => {
    const schema = await server.createSchema();
    await schema.script(linked);
    const folder = new LoaderFolder(schema, entries('mirror', { maxDeletes: { percent: 100 } }), first);
    await folder.load();
    const before = await contents(schema);
    folder.write({ 'categories.csv': 'id,name\n1,a\n' });
    const { summary } = await folder.refuse(3, 'LOAD_FOREIGN_KEY', ['--table', 'categories']);
    expect(summary.error?.message).toContain('categories');
    expect(await contents(schema)).toEqual(before);
  });

  test('mirroring a parent whose children would be deleted or changed with it is refused', async () => {
    const schema = await server.createSchema();
    for (const rule of ['CASCADE', 'SET NULL']) {
      await schema.script(`DROP TABLE IF EXISTS child, parent; CREATE TABLE parent (id INT PRIMARY KEY);
        CREATE TABLE child (id INT PRIMARY KEY, parent_id INT, FOREIGN KEY (parent_id) REFERENCES parent (id) ON DELETE ${rule})`);
      const folder = new LoaderFolder(schema, [{ table: 'parent', source: 'p.csv', mode: 'mirror' }], {
        'p.csv': 'id\n1\n',
      });
      const { summary } = await folder.refuse(3, 'LOAD_TABLE_UNSUITABLE');
      expect(summary.error?.message).toContain(rule);
      folder.configure([{ table: 'parent', source: 'p.csv' }]);
      expect(await folder.load()).toMatchObject([{ inserted: 1 }]);
    }
  });

  test('tables that refer to each other in a circle are refused by name', async () => {
    const schema = await server.createSchema();
    await schema.script(`CREATE TABLE hen (id INT PRIMARY KEY, egg_id INT); CREATE TABLE egg (id INT PRIMARY KEY, hen_id INT, FOREIGN KEY (hen_id) REFERENCES hen (id));
      ALTER TABLE hen ADD FOREIGN KEY (egg_id) REFERENCES egg (id)`);
    const folder = new LoaderFolder(
      schema,
      ['hen', 'egg'].map((table) => ({ table, source: `${table}.csv` })),
      { 'hen.csv': 'id,egg_id\n1,1\n', 'egg.csv': 'id,hen_id\n1,1\n' },
    );
    const { summary } = await folder.refuse(3, 'LOAD_FOREIGN_KEY_CYCLE');
    expect(summary.error?.message).toMatch(/hen → egg|egg → hen/);
  });
});

describeEachServer('a table that refers to itself', (server) => {
  const tree = `CREATE TABLE tree (id INT PRIMARY KEY, parent_id INT NULL, guardian_id INT NULL, FOREIGN KEY (parent_id) REFERENCES tree (id),
    FOREIGN KEY (guardian_id) REFERENCES tree (id))`;
  const rows = async (schema: TestSchema) =>
    (await schema.query('SELECT * FROM tree ORDER BY id')).map((row) => Object.values(row));

  test('is loaded in whatever order its rows are, and mirrored leaves first', async () => {
    const schema = await server.createSchema();
    await schema.script(tree);
    const folder = new LoaderFolder(
      schema,
      [{ table: 'tree', source: 't.csv', mode: 'mirror', maxDeletes: { percent: 100 } }],
      {
        't.csv': 'id,parent_id,guardian_id\n1,3,\n2,1,4\n3,5,5\n4,4,2\n5,,\n',
      },
    );
    // 2 and 4 wait for each other: that takes a NULL first, which is not done by itself.
    await folder.refuse(3, 'LOAD_FOREIGN_KEY');
    expect(await rows(schema)).toEqual([]);
    folder.write({ 't.csv': 'id,parent_id,guardian_id\n1,3,\n2,1,4\n3,5,5\n4,4,\n5,,\n' });
    expect(await folder.load()).toMatchObject([{ inserted: 5, publish: 'delta' }]);
    folder.write({ 't.csv': 'id,parent_id,guardian_id\n5,,\n' });
    expect(await folder.load()).toMatchObject([{ deleted: 4, unchanged: 1 }]);
    expect(await rows(schema)).toEqual([[5, null, null]]);
  });

  test('rows can move below new rows, and away from rows that go', async () => {
    const schema = await server.createSchema();
    await schema.script(`${tree}; INSERT INTO tree VALUES (1, NULL, NULL), (2, 1, 1), (3, 2, NULL)`);
    const folder = new LoaderFolder(
      schema,
      [{ table: 'tree', source: 't.csv', mode: 'mirror', maxDeletes: { percent: 100 } }],
      {
        't.csv': csv(
          ['id', 'parent_id', 'guardian_id'],
          [
            [1, null, null],
            [3, 9, 9],
            [9, 1, null],
          ],
        ),
      },
    );
    expect(await folder.load()).toMatchObject([{ inserted: 1, updated: 1, deleted: 1, unchanged: 1 }]);
    expect(await rows(schema)).toEqual([
      [1, null, null],
      [3, 9, 9],
      [9, 1, null],
    ]);
  });
});
