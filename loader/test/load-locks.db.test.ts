import { createHash } from 'node:crypto';
import { createServer, connect as openSocket } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { expect, onTestFinished, test } from 'vitest';
import { describeEachServer, type TestSchema } from '../../test/servers.ts';
import { LoaderFolder } from './run-loader.ts';

const table = 'CREATE TABLE t (id INT PRIMARY KEY, name VARCHAR(9))';
const files = { 't.csv': 'id,name\n1,a\n2,b\n' };
const entries = [{ table: 't', source: 't.csv' }];

/** The lock's name is a contract with other versions and with the migrator. */
function lockName(schema: TestSchema): string {
  return `tableset:${createHash('sha256').update(schema.name).digest('hex').slice(0, 40)}`;
}

describeEachServer('the lock of a schema', (server) => {
  test('held by another run: fail ends with 75 and names the holder, skip with 0, wait with 75 after its deadline', async () => {
    const schema = await server.createSchema();
    await schema.script(table);
    const folder = new LoaderFolder(schema, entries, files);
    await using holder = await schema.connect();
    await holder.query('DO GET_LOCK(?, 0)', [lockName(schema)]);
    const failed = await folder.refuse(75, 'LOCK_BUSY');
    expect(failed.summary.error?.message).toContain(`(connection ${holder.threadId})`);
    expect((await folder.refuse(75, 'LOCK_BUSY', ['--on-busy', 'fail'])).exit).toBe(75);
    const skipped = await folder.run(['--on-busy', 'skip']);
    expect(skipped).toMatchObject({ exit: 0, summary: { outcome: 'skipped', tables: [] } });
    const waited = await folder.refuse(75, 'LOCK_BUSY', ['--on-busy', 'wait', '--lock-wait-seconds', '1']);
    expect(waited.summary.error?.message).toContain('after 1 s');
    expect(waited.stderr).toContain('waiting for the lock');
    expect(await schema.query('SELECT * FROM t')).toEqual([]);
  });

  test('wait gets its turn when the holder goes, and then loads', async () => {
    const schema = await server.createSchema();
    await schema.script(table);
    const folder = new LoaderFolder(schema, entries, files);
    const holder = await schema.connect();
    await holder.query('DO GET_LOCK(?, 0)', [lockName(schema)]);
    const { ended } = folder.start(['--on-busy', 'wait']);
    await delay(1000);
    holder.destroy();
    expect(await ended).toMatchObject({ exit: 0, summary: { outcome: 'done', tables: [{ inserted: 2 }] } });
  });

  test('five loads at once that wait all end with 0, and one of them writes', async () => {
    const schema = await server.createSchema();
    await schema.script(table);
    const folder = new LoaderFolder(schema, entries, files);
    const runs = await Promise.all(Array.from({ length: 5 }, () => folder.run(['--on-busy', 'wait', '--if-changed'])));
    expect(runs.map(({ exit }) => exit)).toEqual([0, 0, 0, 0, 0]);
    const inserted = runs.map(({ summary }) => summary.tables?.[0]?.inserted);
    expect(inserted.toSorted()).toEqual([0, 0, 0, 0, 2]);
    expect(await schema.query('SELECT COUNT(*) AS count FROM tableset_runs')).toEqual([{ count: 1 }]);
  });

  test('another schema is not held up', async () => {
    const [mine, other] = [await server.createSchema(), await server.createSchema()];
    await mine.script(table);
    await using holder = await other.connect();
    await holder.query('DO GET_LOCK(?, 0)', [lockName(other)]);
    await new LoaderFolder(mine, entries, files).load();
  });
});

describeEachServer('the ledger', (server) => {
  test('has a row of each run and the state of each table, which the view of freshness shows', async () => {
    const schema = await server.createSchema();
    await schema.script(table);
    const folder = new LoaderFolder(schema, entries, files);
    await folder.load(['--trigger', 'cron']);
    folder.write({ 't.csv': 'id,name\nx,a\n' });
    await folder.refuse(3, 'LOAD_REJECTED');
    const runs = await schema.query('SELECT * FROM tableset_runs ORDER BY id');
    expect(runs).toMatchObject([
      { kind: 'load', trigger: 'cron', outcome: 'done', error_code: null, error_message: null },
      { kind: 'load', trigger: 'cli', outcome: 'failed', error_code: 'LOAD_REJECTED' },
    ]);
    expect(JSON.parse(String(runs[0]?.['counts']))).toMatchObject([{ table: 't', inserted: 2 }]);
    expect(runs.every((run) => run['finished_at'] !== null)).toBe(true);
    const [fresh] = await schema.query('SELECT * FROM tableset_freshness');
    expect(fresh).toMatchObject({ table_name: 't', source: `${folder.path}/t.csv` });
    expect(Number(fresh?.['row_count'])).toBe(2);
    expect(Number(fresh?.['age_seconds'])).toBeLessThan(30);
  });

  test('of a newer format is refused, and nothing is written', async () => {
    const schema = await server.createSchema();
    await schema.script(table);
    const folder = new LoaderFolder(schema, entries, files);
    await folder.load();
    await schema.script("DELETE FROM t; ALTER TABLE tableset_runs COMMENT 'Tableset ledger, format 99'");
    const { summary } = await folder.refuse(3, 'LEDGER_FORMAT');
    expect(summary.error?.message).toContain('99');
    expect(await schema.query('SELECT * FROM t')).toEqual([]);
  });
});

describeEachServer('waiting for what is not there yet', (server) => {
  test('a table that does not exist is waited for, then exit 1; nothing is made', async () => {
    const schema = await server.createSchema();
    const folder = new LoaderFolder(schema, entries, files);
    const run = await folder.run([], { DB_WAIT_SECONDS: '1' });
    expect(run).toMatchObject({ exit: 1, summary: { error: { code: 'LOAD_TABLE_MISSING' } } });
    expect(run.summary.error?.message).toContain(`schema ${schema.name} has no table t`);
    expect(await schema.query('SHOW TABLES')).toEqual([]);
  });

  test('a table that appears during the wait is loaded', async () => {
    const schema = await server.createSchema();
    const { ended } = new LoaderFolder(schema, entries, files).start();
    await delay(1500);
    await schema.script(table);
    expect(await ended).toMatchObject({ exit: 0, summary: { tables: [{ inserted: 2 }] } });
  });

  test('a server that comes up late is waited for', async () => {
    const schema = await server.createSchema();
    await schema.script(table);
    const { host, port } = server.address;
    const proxy = createServer((client) => {
      const upstream = openSocket(port, host);
      client.pipe(upstream).pipe(client);
      for (const socket of [client, upstream]) socket.on('error', () => socket.destroy());
    });
    // Takes a free port, gives it back, and opens it only when the loader has met nobody there.
    const late = await new Promise<number>((resolve) => {
      proxy.listen(0, '127.0.0.1', () => {
        const address = proxy.address();
        proxy.close(() => resolve(typeof address === 'object' && address ? address.port : 0));
      });
    });
    onTestFinished(() => void proxy.close());
    const { ended } = new LoaderFolder(schema, entries, files).start([], {
      DB_HOST: '127.0.0.1',
      DB_PORT: String(late),
    });
    await delay(1200);
    proxy.listen(late, '127.0.0.1');
    const run = await ended;
    expect(run).toMatchObject({ exit: 0, summary: { tables: [{ inserted: 2 }] } });
    expect(run.stderr).toContain('waiting for the database');
    await new Promise((resolve) => proxy.close(resolve));
  });

  test('a host that does not exist is exit 1 after the wait, and a wrong password exit 2 at once', async () => {
    const schema = await server.createSchema();
    const folder = new LoaderFolder(schema, entries, files);
    const nowhere = await folder.run([], { DB_HOST: 'no-such-host.invalid', DB_WAIT_SECONDS: '1' });
    expect(nowhere).toMatchObject({ exit: 1, summary: { error: { code: 'DATABASE_UNREACHABLE' } } });
    expect(nowhere.summary.error?.message).toContain('no-such-host.invalid');
    const closed = await folder.run([], { DB_HOST: '127.0.0.1', DB_PORT: '1', DB_WAIT_SECONDS: '0' });
    expect(closed).toMatchObject({ exit: 1, summary: { error: { code: 'DATABASE_UNREACHABLE' } } });
    const refused = await folder.run([], { DB_PASSWORD: 'canary-in-no-log' });
    expect(refused).toMatchObject({ exit: 2, summary: { error: { code: 'DATABASE_ACCESS_DENIED' } } });
    expect(refused.summary.error?.message).toContain(schema.user);
    expect(JSON.stringify(refused)).not.toContain('canary-in-no-log');
    const unknown = await folder.run([], {
      DB_NAME: 'no_such_schema',
      DB_USER: 'root',
      DB_PASSWORD: server.address.password,
    });
    expect(unknown).toMatchObject({ exit: 2, summary: { error: { code: 'DATABASE_UNKNOWN' } } });
  });
});
