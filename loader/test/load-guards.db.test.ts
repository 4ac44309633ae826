import { expect, test } from 'vitest';
import { describeEachServer, type TestSchema } from '../../test/servers.ts';
import { csv, LoaderFolder } from './run-loader.ts';

const numbered = (count: number, name = 'n') =>
  csv(
    ['id', 'name'],
    Array.from({ length: count }, (_, index) => [index + 1, `${name}${index + 1}`]),
  );

async function count(schema: TestSchema, table = 't'): Promise<unknown> {
  return (await schema.query(`SELECT COUNT(*) AS count FROM ${table}`))[0]?.['count'];
}

async function lastRun(schema: TestSchema): Promise<unknown> {
  return (await schema.query('SELECT outcome, error_code FROM tableset_runs ORDER BY id DESC LIMIT 1'))[0];
}

describeEachServer('guards', (server) => {
  for (const rows of [3, 6000]) {
    test(`rejected rows are written to tableset_rejects with line, column and reason, into a table of ${rows} rows`, async () => {
      const schema = await server.createSchema();
      await schema.script('CREATE TABLE t (id INT PRIMARY KEY, name VARCHAR(9) NOT NULL, price DECIMAL(6,2) NULL)');
      const lines = Array.from({ length: rows }, (_, index) => `${index + 1},n${index + 1},1.00\n`);
      const folder = new LoaderFolder(schema, [{ table: 't', source: 't.csv', maxRejects: 2 }], {
        't.csv': `id,name,price\n${lines.join('')}`,
      });
      await folder.load();
      const bad = [
        'id,name,price',
        '1,changed,1.00',
        'x,n2,1.00',
        '3,n3,1.005',
        ...lines.slice(3).map((line) => line.trim()),
      ];
      folder.write({ 't.csv': `${bad.join('\n')}\n` });
      expect(await folder.load()).toMatchObject([{ read: rows, updated: 1, rejected: 2, unchanged: rows - 3 }]);
      const rejects = await schema.query(
        'SELECT j.table_name, j.file, CAST(j.line AS CHAR) AS line, j.column_name, j.reason, j.value, r.outcome FROM tableset_rejects j JOIN tableset_runs r ON r.id = j.run_id ORDER BY j.id',
      );
      expect(rejects).toMatchObject([
        { table_name: 't', line: '3', column_name: 'id', value: 'x', outcome: 'done' },
        { table_name: 't', line: '4', column_name: 'price', value: '1.005', outcome: 'done' },
      ]);
      expect(rejects[0]?.['file']).toMatch(/t\.csv$/);
      folder.write({
        't.csv': `id,name,price\n1,again,1.00\ny,a,1\nz,b,1\n2,ok,1\nw,c,1\n${lines.slice(2).join('')}`,
      });
      const { summary } = await folder.refuse(3, 'LOAD_REJECTED');
      expect(summary.error?.message).toContain('t.csv:6');
      expect(await schema.query('SELECT name FROM t WHERE id = 1')).toEqual([{ name: 'changed' }]);
      expect(await schema.query('SELECT CAST(line AS CHAR) AS line FROM tableset_rejects ORDER BY id')).toMatchObject(
        ['3', '4', '3', '4', '6'].map((line) => ({ line })),
      );
      expect(await lastRun(schema)).toEqual({ outcome: 'failed', error_code: 'LOAD_REJECTED' });
    });
  }

  test('a row that the server alone finds at fault is rejected like any other, in each publish mode', async () => {
    const schema = await server.createSchema();
    await schema.script(
      `CREATE TABLE direct (id INT PRIMARY KEY, name VARCHAR(9), CHECK (id <> 2)); CREATE TABLE delta LIKE direct; INSERT INTO delta VALUES (9, 'x')`,
    );
    const entry = (table: string, maxRejects: number) => [{ table, source: 't.csv', maxRejects }];
    const files = { 't.csv': numbered(4) };
    const folder = new LoaderFolder(schema, entry('direct', 1), files);
    expect(await folder.load()).toMatchObject([{ publish: 'direct', inserted: 3, rejected: 1 }]);
    expect(await schema.query('SELECT CAST(line AS CHAR) AS line FROM tableset_rejects')).toEqual([{ line: '3' }]);
    // The stage of a delta has no CHECK; the publishing transaction refuses the whole.
    folder.configure(entry('delta', 1));
    await folder.refuse(3, 'LOAD_CHECK_FAILED');
    expect(await count(schema, 'delta')).toBe(1);
  });

  test('a value that LOAD DATA would cut with nothing but a warning is refused as INSERT refuses it', async () => {
    const schema = await server.createSchema();
    // No value of the source is at fault; the server works out one that does not fit.
    await schema.script('CREATE TABLE t (id INT PRIMARY KEY, name VARCHAR(9), short VARCHAR(3) AS (name) STORED)');
    const folder = new LoaderFolder(schema, [{ table: 't', source: 't.csv', maxRejects: 1 }], {
      't.csv': 'id,name\n1,abc\n2,abcd\n3,ab\n',
    });
    expect(await folder.load()).toMatchObject([{ publish: 'swap', inserted: 2, rejected: 1 }]);
    expect(await schema.query('SELECT id, short FROM t ORDER BY id')).toEqual([
      { id: 1, short: 'abc' },
      { id: 3, short: 'ab' },
    ]);
  });

  test('mirror deletes nothing in a run that rejects rows, since their keys may be those that it misses', async () => {
    const schema = await server.createSchema();
    await schema.script('CREATE TABLE t (id INT PRIMARY KEY, name VARCHAR(9), price DECIMAL(6,2))');
    const folder = new LoaderFolder(
      schema,
      [{ table: 't', source: 't.csv', mode: 'mirror', maxRejects: 1, maxDeletes: { percent: 100 } }],
      { 't.csv': 'id,name,price\n1,a,1\n2,b,2\n3,c,3\n' },
    );
    await folder.load();
    folder.write({ 't.csv': 'id,name,price\n1,z,1\n2,b,oops\n' });
    expect(await folder.load()).toMatchObject([{ updated: 1, rejected: 1, deleted: 0 }]);
    expect(await count(schema)).toBe(3);
    folder.write({ 't.csv': 'id,name,price\n1,z,1\n2,b,2\n' });
    expect(await folder.load()).toMatchObject([{ deleted: 1, unchanged: 2 }]);
  });

  test('mirror stays within maxDeletes, in rows and in percent, and publishes nothing beyond', async () => {
    const schema = await server.createSchema();
    await schema.script('CREATE TABLE t (id INT PRIMARY KEY, name VARCHAR(9))');
    const entry = (maxDeletes: unknown) => [
      { table: 't', source: 't.csv', mode: 'mirror', ...(maxDeletes === null ? {} : { maxDeletes }) },
    ];
    const folder = new LoaderFolder(schema, entry(null), { 't.csv': numbered(20) });
    await folder.load();
    folder.write({ 't.csv': numbered(15, 'changed') });
    for (const [guard, why] of [
      [null, 'at most 20 %'],
      [{ rows: 4 }, 'at most 4 rows'],
      [{ percent: 24.9 }, 'at most 24.9 %'],
      [{ rows: 5, percent: 10 }, 'at most 10 %'],
      [{ rows: 4, percent: 100 }, 'at most 4 rows'],
    ] as const) {
      folder.configure(entry(guard));
      const { summary } = await folder.refuse(3, 'LOAD_TOO_MANY_DELETES');
      expect(summary.error?.message).toContain(`5 of 20 rows (25.0 %) would be deleted, ${why}`);
    }
    expect(await schema.query("SELECT COUNT(*) AS count FROM t WHERE name LIKE 'n%'")).toEqual([{ count: 20 }]);
    expect(await lastRun(schema)).toEqual({ outcome: 'failed', error_code: 'LOAD_TOO_MANY_DELETES' });
    folder.configure(entry({ rows: 5, percent: 25 }));
    expect(await folder.load()).toMatchObject([{ deleted: 5, updated: 15 }]);
  });

  for (const [what, name, content] of [
    ['of 0 bytes', 't.csv', ''],
    ['with a header only', 't.csv', 'id,name\n'],
    ['with an empty JSON list', 't.json', '[]'],
    ['of empty JSON lines', 't.jsonl', '\n'],
  ] as const) {
    test(`a source ${what} fails unless allowed, and only mirror within its guards may then empty the table`, async () => {
      const schema = await server.createSchema();
      await schema.script(
        "CREATE TABLE t (id INT PRIMARY KEY, name VARCHAR(9)); INSERT INTO t VALUES (1, 'a'), (2, 'b'); CREATE TABLE fresh LIKE t",
      );
      const folder = new LoaderFolder(schema, [], { [name]: content });
      for (const mode of ['upsert', 'mirror']) {
        folder.configure([{ table: 't', source: name, mode }]);
        await folder.refuse(3, 'LOAD_SOURCE_EMPTY');
      }
      folder.configure([{ table: 'fresh', source: name }]);
      await folder.refuse(3, 'LOAD_SOURCE_EMPTY');
      folder.configure([
        { table: 't', source: name, allowEmpty: true },
        { table: 'fresh', source: name, allowEmpty: true },
      ]);
      expect(await folder.load()).toMatchObject([
        { read: 0, deleted: 0, inserted: 0 },
        { read: 0, deleted: 0, inserted: 0 },
      ]);
      folder.configure([{ table: 't', source: name, mode: 'mirror', allowEmpty: true }]);
      await folder.refuse(3, 'LOAD_TOO_MANY_DELETES');
      expect(await count(schema)).toBe(2);
      folder.configure([{ table: 't', source: name, mode: 'mirror', allowEmpty: true, maxDeletes: { percent: 100 } }]);
      expect(await folder.load()).toMatchObject([{ read: 0, deleted: 2 }]);
      expect(await count(schema)).toBe(0);
    });
  }

  test('a transaction larger than maxPublishRows is refused before it starts', async () => {
    const schema = await server.createSchema();
    await schema.script('CREATE TABLE t (id INT PRIMARY KEY, name VARCHAR(9)); CREATE TABLE direct LIKE t');
    const folder = new LoaderFolder(schema, [{ table: 't', source: 't.csv' }], { 't.csv': numbered(10) });
    await folder.load();
    folder.write({ 't.csv': numbered(11, 'm') });
    folder.configure([{ table: 't', source: 't.csv', maxPublishRows: 10 }]);
    await folder.refuse(3, 'LOAD_PUBLISH_TOO_LARGE');
    folder.configure([{ table: 'direct', source: 't.csv', publish: 'direct', maxPublishRows: 10 }]);
    await folder.refuse(3, 'LOAD_PUBLISH_TOO_LARGE');
    expect(await count(schema, 'direct')).toBe(0);
    expect(await schema.query("SELECT COUNT(*) AS count FROM t WHERE name LIKE 'm%'")).toEqual([{ count: 0 }]);
    folder.configure([{ table: 't', source: 't.csv', maxPublishRows: 11 }]);
    expect(await folder.load()).toMatchObject([{ inserted: 1, updated: 10 }]);
  });

  for (const [what, content, code] of [
    ['a quote that is never closed', 'id,name\n1,a\n2,"b\n3,c\n', 'LOAD_SYNTAX'],
    ['a ragged line', 'id,name\n1,a\n2,b,c\n', 'LOAD_REJECTED'],
    ['an unknown header', 'id,nam\n1,a\n', 'LOAD_FIELD_UNKNOWN'],
    ['a header that names a field twice', 'id,name,name\n1,a,b\n', 'LOAD_HEADER_INVALID'],
    ['invalid UTF-8', Buffer.from('id,name\n1,a\n2,\xff\n', 'latin1'), 'LOAD_ENCODING'],
    ['UTF-16', Buffer.from('\ufeffid,name\n1,a\n', 'utf16le'), 'LOAD_ENCODING'],
  ] as const) {
    test(`a source with ${what} changes neither an empty table nor one with rows`, async () => {
      const schema = await server.createSchema();
      await schema.script(
        "CREATE TABLE hollow (id INT PRIMARY KEY, name VARCHAR(9)); CREATE TABLE filled LIKE hollow; INSERT INTO filled VALUES (1, 'mine')",
      );
      for (const table of ['hollow', 'filled']) {
        const folder = new LoaderFolder(schema, [{ table, source: 't.csv' }], { 't.csv': content });
        await folder.refuse(3, code);
      }
      expect(await schema.query('SELECT * FROM hollow')).toEqual([]);
      expect(await schema.query('SELECT * FROM filled')).toEqual([{ id: 1, name: 'mine' }]);
    });
  }
});
