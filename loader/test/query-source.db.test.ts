import { type AddressInfo, connect, createServer } from 'node:net';
import { setTimeout as wait } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { describeEachServer, type TestSchema } from '../../test/servers.ts';
import type { OtherDatabase } from '../src/config/schema.ts';
import { createSource, type RecordSource } from '../src/sources/source.ts';
import { testContext } from './sources/read-source.ts';

type Rows = (string | Buffer | null)[][];

async function querySource(
  schema: TestSchema,
  query: string,
  more: Partial<OtherDatabase> = {},
): Promise<RecordSource> {
  const { environment } = schema;
  const other: OtherDatabase = {
    host: environment['DB_HOST'] ?? '',
    port: Number(environment['DB_PORT']),
    user: schema.user,
    passwordEnv: 'OTHER_PASSWORD',
    name: schema.name,
    tls: 'disable',
    ...more,
  };
  const source = await createSource(
    {
      source: { kind: 'query', query, from: 'other' },
      compression: 'auto',
      maxDecompressedBytes: 1,
      maxDecompressionRatio: 1,
    },
    testContext('/nowhere', { databases: { other }, env: { OTHER_PASSWORD: schema.password, WRONG: 'wrong' } }),
  );
  if (source.kind !== 'records') throw new Error('the source gives files');
  return source;
}

async function all(
  source: RecordSource,
  signal = AbortSignal.timeout(30_000),
): Promise<{ columns: readonly { name: string; binary: boolean }[]; rows: Rows }> {
  await using set = await source.open(signal);
  const rows: Rows = [];
  for await (const batch of set.rows) for (const row of batch) rows.push([...row]);
  return { columns: set.columns, rows };
}

describeEachServer('a query as a source', (server) => {
  test('every type comes as the text that the server prints, bytes as bytes, and FLOAT with all its digits', async () => {
    const schema = await server.createSchema();
    await schema.script(`
      CREATE TABLE t (
        id BIGINT UNSIGNED PRIMARY KEY, f FLOAT, d DOUBLE, n DECIMAL(65,30), dt DATETIME(6), ts TIMESTAMP(3) NULL, tm TIME(6), y YEAR, da DATE,
        j JSON, v VARCHAR(100) CHARACTER SET utf8mb4, l VARCHAR(10) CHARACTER SET latin1, e ENUM('a','ü'), b VARBINARY(10), bl BLOB, bi BIT(12), g POINT, u CHAR(3) COLLATE utf8mb4_bin);
      SET time_zone='+00:00';
      INSERT INTO t VALUES (18446744073709551615, 16777216, 0.1, 12345678901234567890123456789012345.123456789012345678901234567890, '2025-03-30 02:30:00.000001',
        '2025-01-02 03:04:05.678', '-838:59:59', 2025, '2025-02-28', '{"a":[1,2]}', '😀é', 'ü', 'ü', X'00FF20', X'FFFE00', b'100000000001', POINT(1,2), 'x');
      INSERT INTO t (id) VALUES (0);
      INSERT INTO t (id, f) VALUES (1, 0.1), (2, 3.402823466e38), (3, 1.4e-45), (4, -16777217), (5, 1.17549435e-38), (6, 33554434.5);
    `);
    const { columns, rows } = await all(await querySource(schema, 'SELECT * FROM t;'));
    expect(columns.filter(({ binary }) => binary).map(({ name }) => name)).toEqual(['b', 'bl', 'bi', 'g']);
    const full = rows.find(([id]) => id === '18446744073709551615');
    expect(full?.slice(0, 9)).toEqual([
      '18446744073709551615',
      '16777216',
      '0.1',
      '12345678901234567890123456789012345.123456789012345678901234567890',
      '2025-03-30 02:30:00.000001',
      '2025-01-02 03:04:05.678',
      '-838:59:59.000000',
      '2025',
      '2025-02-28',
    ]);
    expect(JSON.parse(String(full?.[9]))).toEqual({ a: [1, 2] });
    expect(full?.slice(10, 16)).toEqual([
      '😀é',
      'ü',
      'ü',
      Buffer.from('00ff20', 'hex'),
      Buffer.from('fffe00', 'hex'),
      Buffer.from('0801', 'hex'),
    ]);
    expect(full?.[16]).toBeInstanceOf(Buffer);
    const none = rows.find(([id]) => id === '0');
    expect(none?.slice(1)).toEqual(Array(17).fill(null));
    const floats = await all(await querySource(schema, 'SELECT id, f FROM t WHERE f IS NOT NULL'));
    const exact = await schema.query('SELECT id, CAST(f AS DOUBLE) AS f FROM t WHERE f IS NOT NULL ORDER BY id');
    const byId = new Map(floats.rows.map(([id, f]) => [Number(id), Math.fround(Number(f))]));
    expect(byId).toEqual(new Map(exact.map((row) => [Number(row['id']), Number(row['f'])])));
    expect(floats.rows.map(([, f]) => f)).toContain('0.1');
    expect(floats.rows.map(([, f]) => f)).toContain('16777216');
  });

  test('rows stream in order, in bounded batches, whatever the time the reader takes', async () => {
    const schema = await server.createSchema();
    await schema.query('CREATE TABLE t (id INT PRIMARY KEY, v VARCHAR(200))');
    await schema.script(
      `INSERT INTO t SELECT 1 + a.n + 10*b.n + 100*c.n + 1000*d.n, REPEAT('x', 200) FROM ${['a', 'b', 'c', 'd'].map((name) => `(SELECT 0 n UNION SELECT 1 UNION SELECT 2 UNION SELECT 3 UNION SELECT 4 UNION SELECT 5 UNION SELECT 6 UNION SELECT 7 UNION SELECT 8 UNION SELECT 9) ${name}`).join(', ')}`,
    );
    await using set = await (
      await querySource(schema, 'WITH q AS (SELECT * FROM t) SELECT id, v FROM q ORDER BY id')
    ).open(AbortSignal.timeout(30_000));
    let next = 1;
    let longest = 0;
    for await (const batch of set.rows) {
      longest = Math.max(longest, batch.length);
      for (const [id] of batch) expect(Number(id)).toBe(next++);
      if (next < 3000) await wait(50);
    }
    expect(next).toBe(10_001);
    expect(longest).toBeLessThan(5_000);
  });

  test('a lost connection is an error and never the end of the rows', async () => {
    const schema = await server.createSchema();
    await schema.script(
      `CREATE TABLE t (id INT AUTO_INCREMENT PRIMARY KEY, v VARCHAR(1000)); INSERT INTO t (v) VALUES (REPEAT('x', 1000));`,
    );
    for (let doubling = 0; doubling < 15; doubling++) await schema.query('INSERT INTO t (v) SELECT v FROM t');
    for (const how of ['kill', 'cut']) {
      await using cutter = await startCutter(server.address);
      const source = await querySource(schema, 'SELECT * FROM t', { host: '127.0.0.1', port: cutter.port });
      await using set = await source.open(AbortSignal.timeout(30_000));
      let rows = 0;
      const run = async () => {
        for await (const batch of set.rows) {
          if (rows === 0) {
            if (how === 'cut') cutter.cut();
            else
              for (const { id } of await schema.query(
                `SELECT ID AS id FROM information_schema.PROCESSLIST WHERE USER = '${schema.user}'`,
              ))
                await schema.query(`KILL ${Number(id)}`);
          }
          rows += batch.length;
        }
      };
      await expect(run(), how).rejects.toMatchObject({ code: 'DATABASE_LOST', exit: 1 });
      expect(rows).toBeLessThan(32_768);
    }
  });

  test('a stop ends the rows with its reason', async () => {
    const schema = await server.createSchema();
    const stop = new AbortController();
    const reason = new Error('stop');
    setTimeout(() => stop.abort(reason), 300);
    await expect(all(await querySource(schema, 'SELECT SLEEP(20) AS s'), stop.signal)).rejects.toBe(reason);
    await expect(all(await querySource(schema, 'SELECT 1 AS s'), stop.signal)).rejects.toBe(reason);
  });

  test('the rows are those of one moment, and an early end closes the connection', async () => {
    const schema = await server.createSchema();
    await schema.script('CREATE TABLE t (id INT PRIMARY KEY); INSERT INTO t VALUES (1), (2);');
    {
      await using set = await (await querySource(schema, 'SELECT id FROM t')).open(AbortSignal.timeout(30_000));
      await schema.query('INSERT INTO t VALUES (3)');
      const rows: Rows = [];
      for await (const batch of set.rows) rows.push(...batch.map((row) => [...row]));
      expect(rows).toEqual([['1'], ['2']]);
    }
    await using set = await (await querySource(schema, 'SELECT id FROM t')).open(AbortSignal.timeout(30_000));
    for await (const _ of set.rows) break;
  });

  test.each([
    ['a change', 'UPDATE t SET id = 9'],
    ['a change behind a WITH', 'WITH q AS (SELECT 1 AS id) DELETE FROM t WHERE id IN (SELECT id FROM q)'],
    ['a change behind a comment', '/* SELECT */ DELETE FROM t'],
    ['an executable comment', '/*!50000 DELETE FROM t */'],
    ['two statements', 'SELECT 1 AS a; DELETE FROM t'],
    ['a function that writes', 'SELECT writes() AS a'],
    ['two columns of one name', 'SELECT 1 AS a, 2 AS a'],
    ['a column without a name', 'SELECT 1 AS ``'],
    ['a placeholder', 'SELECT ? AS a'],
    ['an unknown table', 'SELECT * FROM none'],
    ['a variable as the target', 'SELECT 1 INTO @a'],
    ['nothing', '  '],
  ])('%s is refused, and nothing is changed', async (_name, query) => {
    const schema = await server.createSchema();
    await schema.query('CREATE TABLE t (id INT PRIMARY KEY)');
    await schema.query('INSERT INTO t VALUES (1)');
    await schema.query('CREATE FUNCTION writes() RETURNS INT MODIFIES SQL DATA BEGIN DELETE FROM t; RETURN 1; END');
    const error = await all(await querySource(schema, query)).catch((caught: unknown) => caught);
    expect(error).toMatchObject({ code: 'LOAD_QUERY_REFUSED', message: expect.stringContaining('query on other') });
    expect(await schema.query('SELECT id FROM t')).toEqual([{ id: 1 }]);
  });

  test('what the server refuses is told with its words and the section of the database', async () => {
    const schema = await server.createSchema();
    const refused = await all(await querySource(schema, 'SELECT * FROM none')).catch((caught: unknown) => caught);
    expect(refused).toMatchObject({
      code: 'LOAD_QUERY_REFUSED',
      message: expect.stringMatching(/1146 .*none/),
      hint: expect.stringContaining(`databases.other: it asks ${schema.environment['DB_HOST']}`),
    });
    const unknown = await all(await querySource(schema, 'SELECT 1 AS a', { passwordEnv: 'WRONG' })).catch(
      (caught: unknown) => caught,
    );
    expect(unknown).toMatchObject({
      code: 'DATABASE_ACCESS_DENIED',
      hint: expect.stringContaining('under databases.other'),
    });
  });

  test('comments and brackets before the first word are passed over', async () => {
    const schema = await server.createSchema();
    for (const query of [
      '-- why\n# so\n/* SELECT */ SELECT 1 AS a',
      '(SELECT 1 AS a)',
      'WITH q AS (SELECT 1 AS a) SELECT * FROM q -- end',
    ]) {
      expect((await all(await querySource(schema, query))).rows).toEqual([['1']]);
    }
    expect((await all(await querySource(schema, 'SELECT CAST(1.5 AS FLOAT) AS `a``b` -- end'))).rows).toEqual([
      ['1.5'],
    ]);
  });

  test('a wrong password is told without being repeated', async () => {
    const schema = await server.createSchema();
    const source = await querySource({ ...schema, password: 'canary' }, 'SELECT 1 AS a');
    const error = await all(source).catch((caught: unknown) => caught);
    expect(error).toMatchObject({ code: 'DATABASE_ACCESS_DENIED' });
    expect(JSON.stringify([error, String(error)])).not.toContain('canary');
  });
});

/** Passes connections to the server on until it is told to cut them without a farewell. */
async function startCutter(target: {
  host: string;
  port: number;
}): Promise<AsyncDisposable & { port: number; cut(): void }> {
  const sockets = new Set<{ destroy(): unknown }>();
  const server = createServer((downstream) => {
    const upstream = connect(target.port, target.host);
    for (const [from, to] of [
      [downstream, upstream],
      [upstream, downstream],
    ] as const) {
      sockets.add(from);
      from.on('error', () => to.destroy()).on('close', () => to.destroy());
      from.pipe(to);
    }
  });
  const cut = () => {
    for (const socket of sockets) socket.destroy();
  };
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  // A server that listens on TCP has an address of this kind.
  const { port } = server.address() as AddressInfo;
  return {
    port,
    cut,
    [Symbol.asyncDispose]: async () => {
      cut();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
