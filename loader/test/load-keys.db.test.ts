import { expect, test } from 'vitest';
import { describeEachServer } from '../../test/servers.ts';
import { csv, LoaderFolder } from './run-loader.ts';

describeEachServer('further unique keys', (server) => {
  test('rows can swap and rotate values of a unique key that allows NULL', async () => {
    const schema = await server.createSchema();
    await schema.script(`CREATE TABLE t (id INT PRIMARY KEY, code VARCHAR(9) NULL UNIQUE, area INT NOT NULL, place INT NULL, UNIQUE KEY spot (area, place));
      INSERT INTO t VALUES (1, 'a', 1, 1), (2, 'b', 1, 2), (3, 'c', 2, 1), (4, NULL, 2, NULL)`);
    const folder = new LoaderFolder(schema, [{ table: 't', source: 't.csv' }], {
      't.csv': csv(
        ['id', 'code', 'area', 'place'],
        [
          [1, 'b', 2, 1],
          [2, 'c', 1, 1],
          [3, 'a', 1, 2],
          [4, null, 2, null],
        ],
      ),
    });
    expect(await folder.load()).toMatchObject([{ updated: 3, unchanged: 1 }]);
    expect((await schema.query('SELECT * FROM t ORDER BY id')).map((row) => Object.values(row))).toEqual([
      [1, 'b', 2, 1],
      [2, 'c', 1, 1],
      [3, 'a', 1, 2],
      [4, null, 2, null],
    ]);
    expect(await folder.load()).toMatchObject([{ unchanged: 4, publish: null }]);
  });

  test('where no column of it allows NULL, swapped values are refused by name and nothing changes', async () => {
    const schema = await server.createSchema();
    await schema.script(
      "CREATE TABLE t (id INT PRIMARY KEY, code VARCHAR(9) NOT NULL, UNIQUE KEY by_code (code)); INSERT INTO t VALUES (1, 'a'), (2, 'b')",
    );
    const folder = new LoaderFolder(schema, [{ table: 't', source: 't.csv' }], { 't.csv': 'id,code\n1,b\n2,a\n3,c\n' });
    const { summary } = await folder.refuse(3, 'LOAD_UNIQUE_CONFLICT');
    expect(summary.error?.message).toContain('by_code');
    expect(await schema.query('SELECT id, code FROM t ORDER BY id')).toEqual([
      { id: 1, code: 'a' },
      { id: 2, code: 'b' },
    ]);
  });

  test('a value that a deleted or changed row gives up can be taken by a new one', async () => {
    const schema = await server.createSchema();
    await schema.script(
      "CREATE TABLE t (id INT PRIMARY KEY, code VARCHAR(9) NOT NULL UNIQUE); INSERT INTO t VALUES (1, 'a'), (2, 'b'), (3, 'c')",
    );
    const folder = new LoaderFolder(
      schema,
      [{ table: 't', source: 't.csv', mode: 'mirror', maxDeletes: { percent: 100 } }],
      { 't.csv': 'id,code\n2,z\n3,c\n8,a\n9,b\n' },
    );
    expect(await folder.load()).toMatchObject([{ deleted: 1, updated: 1, inserted: 2, unchanged: 1 }]);
  });

  test('two rows with one value are refused in each publish mode', async () => {
    const schema = await server.createSchema();
    await schema.script(`CREATE TABLE delta (id INT PRIMARY KEY, code VARCHAR(9) NOT NULL UNIQUE); INSERT INTO delta VALUES (9, 'x');
      CREATE TABLE direct (id INT PRIMARY KEY, code VARCHAR(9) NOT NULL UNIQUE); CREATE TABLE swap LIKE direct`);
    for (const table of ['delta', 'direct', 'swap']) {
      const folder = new LoaderFolder(schema, [{ table, source: 't.csv', publish: table }], {
        't.csv': 'id,code\n1,a\n2,b\n3,a\n',
      });
      await folder.refuse(3, 'LOAD_UNIQUE_CONFLICT');
      expect(await schema.query(`SELECT id FROM ${table} WHERE id <> 9`)).toEqual([]);
    }
  });
});

describeEachServer('keys of every kind', (server) => {
  const uuid = (digit: string) => `0x${digit.repeat(32)}`;
  const kinds = [
    {
      what: 'composite',
      columns: '`a` INT NOT NULL, `b` VARCHAR(9) NOT NULL, PRIMARY KEY (b, a)',
      rows: [
        [1, 'x'],
        [1, 'y'],
        [2, 'x'],
      ],
    },
    { what: 'BINARY(16)', columns: '`a` BINARY(16) PRIMARY KEY', rows: [[uuid('1')], [uuid('f')], [uuid('0')]] },
    {
      what: 'unsigned beyond 2^63',
      columns: '`a` BIGINT UNSIGNED PRIMARY KEY',
      rows: [['18446744073709551615'], ['9223372036854775808'], ['0']],
    },
    {
      what: 'DECIMAL(65,30)',
      columns: '`a` DECIMAL(65,30) PRIMARY KEY',
      rows: [[`${'9'.repeat(35)}.${'9'.repeat(30)}`], [`0.${'0'.repeat(29)}1`], ['-1.5']],
    },
    {
      what: 'DATETIME(6)',
      columns: '`a` DATETIME(6) PRIMARY KEY',
      rows: [['2024-01-01 00:00:00.000001'], ['9999-12-31 23:59:59.999999'], ['2024-01-01 00:00:00.000002']],
    },
    { what: 'ENUM', columns: "`a` ENUM('b','a','c,d') PRIMARY KEY", rows: [['a'], ['c,d'], ['b']] },
    {
      what: 'case-sensitive',
      columns: '`a` VARCHAR(9) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin PRIMARY KEY',
      rows: [['a'], ['A'], ['ä']],
    },
    { what: 'latin1', columns: '`a` VARCHAR(9) CHARACTER SET latin1 PRIMARY KEY', rows: [['ä'], ['ß'], ['€']] },
  ] as const;
  for (const { what, columns, rows } of kinds) {
    test(`${what}: rows are inserted, found again, changed and deleted`, async () => {
      const schema = await server.createSchema();
      await schema.script(`CREATE TABLE t (${columns}, v INT)`);
      const header = ['a', ...(rows[0].length > 1 ? ['b'] : []), 'v'];
      const file = (values: readonly number[]) =>
        csv(
          header,
          values.map((value, index) => [...(rows[index] ?? []), value]),
        );
      const folder = new LoaderFolder(
        schema,
        [{ table: 't', source: 't.csv', mode: 'mirror', maxDeletes: { percent: 100 } }],
        {
          't.csv': file([1, 2, 3]),
        },
      );
      expect(await folder.load()).toMatchObject([{ inserted: 3 }]);
      expect(await folder.load()).toMatchObject([{ unchanged: 3, publish: null }]);
      folder.write({ 't.csv': file([1, 5]) });
      expect(await folder.load()).toMatchObject([{ unchanged: 1, updated: 1, deleted: 1 }]);
      expect(await schema.query('SELECT v FROM t ORDER BY v')).toEqual([{ v: 1 }, { v: 5 }]);
    });
  }

  test('names of tables and columns may be anything that the server allows', async () => {
    const schema = await server.createSchema();
    await schema.script(
      "CREATE TABLE `select``from` (`order` INT NOT NULL, `a``b, c` VARCHAR(20) NOT NULL DEFAULT 'x) NOT NULL', `größe ()` ENUM('a NOT NULL','it''s,','COMMENT ''x''') NULL COMMENT 'NOT NULL', PRIMARY KEY (`order`, `a``b, c`))",
    );
    const folder = new LoaderFolder(
      schema,
      [{ table: 'select`from', source: 't.csv', mode: 'mirror', maxDeletes: { percent: 100 } }],
      {
        't.csv': csv(
          ['order', 'a`b, c', 'größe ()'],
          [
            [1, 'x', 'a NOT NULL'],
            [1, 'y', "it's,"],
            [2, 'x', "COMMENT 'x'"],
          ],
        ),
      },
    );
    expect(await folder.load()).toMatchObject([{ inserted: 3, publish: 'swap' }]);
    folder.write({
      't.csv': csv(
        ['order', 'a`b, c', 'größe ()'],
        [
          [1, 'x', "COMMENT 'x'"],
          [1, 'y', "it's,"],
          [3, 'z', null],
        ],
      ),
    });
    expect(await folder.load()).toMatchObject([{ inserted: 1, updated: 1, deleted: 1, unchanged: 1 }]);
    expect(await folder.load()).toMatchObject([{ unchanged: 3, publish: null }]);
  });

  for (const count of [100, 6000]) {
    test(`keys that differ in case and are equal to the server are one key, with ${count} rows`, async () => {
      const schema = await server.createSchema();
      await schema.script('CREATE TABLE t (code VARCHAR(20) COLLATE utf8mb4_general_ci PRIMARY KEY, v INT)');
      const rows = Array.from({ length: count }, (_, index): [string, number] => [`key${index}`, index]);
      const folder = new LoaderFolder(schema, [{ table: 't', source: 't.csv' }], { 't.csv': csv(['code', 'v'], rows) });
      await folder.load();
      folder.write({ 't.csv': csv(['code', 'v'], [...rows.slice(1), ['KEY0', 0]]) });
      expect(await folder.load()).toMatchObject([{ updated: 1, unchanged: count - 1 }]);
      expect(await schema.query("SELECT code FROM t WHERE code = 'key0'")).toEqual([{ code: 'KEY0' }]);
      folder.write({ 't.csv': csv(['code', 'v'], [...rows.slice(1), ['KEY0', 0], ['Key0', 0]]) });
      await folder.refuse(3, 'LOAD_DUPLICATE_KEY');
      expect(await schema.query("SELECT code FROM t WHERE code = 'key0'")).toEqual([{ code: 'KEY0' }]);
    });
  }

  test('a table without a usable key is refused by name', async () => {
    const schema = await server.createSchema();
    await schema.script(`CREATE TABLE keyless (a INT, b INT); CREATE TABLE nullable (a INT, b INT, UNIQUE KEY (a));
      CREATE TABLE prefixed (a VARCHAR(99) NOT NULL, b INT, UNIQUE KEY (a(10))); CREATE TABLE inexact (a FLOAT PRIMARY KEY, b INT)`);
    const cases = [
      ['keyless', null, 'no primary key'],
      ['keyless', ['a'], 'no unique key'],
      ['nullable', ['a'], 'allows NULL'],
      ['prefixed', ['a'], 'no unique key'],
      ['inexact', null, 'does not compare exactly'],
    ] as const;
    for (const [table, key, why] of cases) {
      const folder = new LoaderFolder(schema, [{ table, source: 't.csv', ...(key ? { key } : {}) }], {
        't.csv': 'a,b\n1,1\n',
      });
      const { summary } = await folder.refuse(3, 'LOAD_KEY_UNSUITABLE');
      expect(summary.error?.message).toContain(why);
    }
  });

  test('a key that the source does not feed is refused by name', async () => {
    const schema = await server.createSchema();
    await schema.script('CREATE TABLE t (id INT NOT NULL AUTO_INCREMENT PRIMARY KEY, v INT)');
    const folder = new LoaderFolder(schema, [{ table: 't', source: 't.csv' }], { 't.csv': 'v\n1\n' });
    await folder.refuse(3, 'LOAD_KEY_UNSUITABLE');
  });

  test('key 0 of an AUTO_INCREMENT column stays 0, in each publish mode', async () => {
    const schema = await server.createSchema();
    await schema.script(`CREATE TABLE delta (id INT NOT NULL AUTO_INCREMENT PRIMARY KEY, v INT); INSERT INTO delta VALUES (9, 9);
      CREATE TABLE direct (id INT NOT NULL AUTO_INCREMENT PRIMARY KEY, v INT); CREATE TABLE swap LIKE direct`);
    const tables = ['delta', 'direct', 'swap'];
    const folder = new LoaderFolder(
      schema,
      tables.map((table) => ({ table, source: 't.csv', publish: table })),
      {
        't.csv': 'id,v\n0,0\n1,1\n',
      },
    );
    await folder.load();
    for (const table of tables)
      expect(await schema.query(`SELECT id FROM ${table} WHERE id < 9 ORDER BY id`)).toEqual([{ id: 0 }, { id: 1 }]);
  });
});
