import { once } from 'node:events';
import { createServer, type ServerResponse } from 'node:http';
import { setTimeout as delay } from 'node:timers/promises';
import { expect, onTestFinished, test } from 'vitest';
import { describeEachServer, type TestSchema, type TestServer } from '../../test/servers.ts';
import { openFaultProxy } from './archive-two-server-proxy.ts';
import { csv, LoaderFolder } from './run-loader.ts';

const rows = (count: number, name: string) =>
  csv(
    ['id', 'name'],
    Array.from({ length: count }, (_, index) => [index + 1, `${name} ${index + 1}`]),
  );

/** A source that sends its first half and then waits until it is told to go on. */
async function stallingSource(content: string): Promise<{ url: string; stalled: Promise<void>; goOn(): void }> {
  const half = content.length >>> 1;
  const waiting: ServerResponse[] = [];
  let open = false;
  let reached: () => void = () => {};
  const stalled = new Promise<void>((resolve) => {
    reached = resolve;
  });
  const http = createServer((_request, response) => {
    response.writeHead(200, { 'content-length': Buffer.byteLength(content), etag: '"one"' });
    response.write(content.slice(0, half));
    if (open) response.end(content.slice(half));
    else waiting.push(response);
    reached();
  });
  http.listen(0, '127.0.0.1');
  await once(http, 'listening');
  onTestFinished(() => {
    http.closeAllConnections();
    http.close();
  });
  const address = http.address();
  const port = typeof address === 'object' && address ? address.port : 0;
  return {
    url: `http://127.0.0.1:${port}/n.csv`,
    stalled,
    goOn: () => {
      open = true;
      for (const response of waiting) response.end(content.slice(half));
    },
  };
}

/** The loader's sessions in the schema. */
async function sessions(server: TestServer, schema: TestSchema, where = 'TRUE'): Promise<readonly string[]> {
  const found = await server.query(
    `SELECT id FROM information_schema.processlist WHERE db = ? AND user = ? AND ${where} ORDER BY id`,
    [schema.name, schema.user],
  );
  return found.map((row) => String(row['id'] ?? row['ID']));
}

async function until<T>(look: () => Promise<readonly T[]>): Promise<readonly T[]> {
  for (let tries = 0; tries < 300; tries++) {
    const found = await look();
    if (found.length > 0) return found;
    await delay(30);
  }
  throw new Error('waited in vain');
}

describeEachServer('other sessions in the way of publishing', (server) => {
  const waitsForLock = "info LIKE 'UPDATE %tableset_keys%'";

  test('a row lock is waited for and tried again; one that stays ends the run with exit 1', async () => {
    const held = async (releaseWhen: 'the first wait is over' | 'it has ended') => {
      const schema = await server.createSchema();
      await schema.script(
        "CREATE TABLE t (id INT PRIMARY KEY, name VARCHAR(20)); INSERT INTO t VALUES (1, 'x'), (2, 'y')",
      );
      const folder = new LoaderFolder(schema, [{ table: 't', source: 't.csv' }], { 't.csv': rows(2, 'n') });
      await using holder = await schema.connect();
      await holder.beginTransaction();
      await holder.query('SELECT * FROM t WHERE id = 2 FOR UPDATE');
      // The server's wait of 10 s for a lock is one of 2 s.
      const proxy = await openFaultProxy(server);
      proxy.rewrite('innodb_lock_wait_timeout=10', 'innodb_lock_wait_timeout=2');
      const { child, ended } = folder.start([], proxy.environment);
      let told = '';
      const waited = new Promise<void>((resolve) => {
        child.stderr?.on('data', (text: string) => {
          told += text;
          if (told.includes('"errno":1205')) resolve();
        });
      });
      await Promise.race([ended, releaseWhen === 'it has ended' ? ended : waited]);
      await holder.rollback();
      const names = async () => (await schema.query('SELECT name FROM t ORDER BY id')).map((row) => row['name']);
      return { run: await ended, after: await names(), folder, names };
    };
    const [short, long] = await Promise.all([held('the first wait is over'), held('it has ended')]);
    expect(short.run).toMatchObject({ exit: 0, summary: { tables: [{ updated: 2 }] } });
    expect(short.run.stderr).toMatch(/publishing is tried again.*|"errno":1205/);
    expect(long.run).toMatchObject({ exit: 1, summary: { error: { code: 'DATABASE_BUSY' } } });
    expect(long.after).toEqual(['x', 'y']);
    expect(await long.folder.load()).toMatchObject([{ updated: 2 }]);
    expect(await long.names()).toEqual(['n 1', 'n 2']);
  });

  test('a deadlock that the load loses is tried again', async () => {
    const schema = await server.createSchema();
    await schema.script(`CREATE TABLE t (id INT PRIMARY KEY, name VARCHAR(20)); INSERT INTO t VALUES (1, 'x'), (2, 'y');
      CREATE TABLE weight (id INT AUTO_INCREMENT PRIMARY KEY, name VARCHAR(20))`);
    const folder = new LoaderFolder(schema, [{ table: 't', source: 't.csv' }], { 't.csv': rows(2, 'n') });
    await using other = await schema.connect();
    await other.beginTransaction();
    // The server rolls back whichever has changed less.
    await other.query(`INSERT INTO weight (name) VALUES ${Array.from({ length: 500 }, () => "('x')").join()}`);
    await other.query("UPDATE t SET name = 'theirs' WHERE id = 2");
    const { ended } = folder.start();
    await until(() => sessions(server, schema, waitsForLock));
    await other.query("UPDATE t SET name = 'theirs' WHERE id = 1");
    await other.commit();
    const run = await ended;
    expect(run).toMatchObject({ exit: 0, summary: { tables: [{ updated: 2 }] } });
    expect(run.stderr).toContain('"errno":1213');
    expect(await schema.query('SELECT name FROM t ORDER BY id')).toEqual([{ name: 'n 1' }, { name: 'n 2' }]);
  });

  test('a connection that is killed while it publishes is exit 1, and the next run converges', async () => {
    const schema = await server.createSchema();
    await schema.script(
      "CREATE TABLE t (id INT PRIMARY KEY, name VARCHAR(20)); INSERT INTO t VALUES (1, 'x'), (2, 'y')",
    );
    const folder = new LoaderFolder(schema, [{ table: 't', source: 't.csv' }], { 't.csv': rows(3, 'n') });
    await using holder = await schema.connect();
    await holder.beginTransaction();
    await holder.query('SELECT * FROM t WHERE id = 2 FOR UPDATE');
    const { ended } = folder.start();
    const [id] = await until(() => sessions(server, schema, waitsForLock));
    await server.query(`KILL ${id}`);
    const run = await ended;
    expect(run).toMatchObject({ exit: 1, summary: { error: { code: 'DATABASE_LOST' } } });
    await holder.rollback();
    expect(await schema.query('SELECT name FROM t ORDER BY id')).toEqual([{ name: 'x' }, { name: 'y' }]);
    expect(await folder.load()).toMatchObject([{ updated: 2, inserted: 1 }]);
  });

  test('the rows and what the ledger says of them are committed together', async () => {
    const schema = await server.createSchema();
    await schema.script("CREATE TABLE t (id INT PRIMARY KEY, name VARCHAR(20)); INSERT INTO t VALUES (9, 'x')");
    const folder = new LoaderFolder(schema, [{ table: 't', source: 't.csv' }], { 't.csv': rows(2, 'n') });
    await folder.load();
    folder.write({ 't.csv': rows(3, 'm') });
    const before = await schema.query('SELECT * FROM t ORDER BY id');
    await using holder = await schema.connect();
    await holder.beginTransaction();
    await holder.query("SELECT * FROM tableset_tables WHERE table_name = 't' FOR UPDATE");
    const { ended } = folder.start();
    const [id] = await until(() => sessions(server, schema, "info LIKE 'INSERT INTO tableset_tables%'"));
    expect(await schema.query('SELECT * FROM t ORDER BY id')).toEqual(before);
    await server.query(`KILL ${id}`);
    expect(await ended).toMatchObject({ exit: 1 });
    await holder.rollback();
    expect(await schema.query('SELECT * FROM t ORDER BY id')).toEqual(before);
    expect(await folder.load(['--if-changed'])).toMatchObject([{ updated: 2, inserted: 1 }]);
  });

  test('a load that is stopped while it waits for a row lock ends with 143 and publishes nothing', async () => {
    const schema = await server.createSchema();
    await schema.script(
      "CREATE TABLE t (id INT PRIMARY KEY, name VARCHAR(20)); INSERT INTO t VALUES (1, 'x'), (2, 'y')",
    );
    const folder = new LoaderFolder(schema, [{ table: 't', source: 't.csv' }], { 't.csv': rows(3, 'n') });
    await using holder = await schema.connect();
    await holder.beginTransaction();
    await holder.query('SELECT * FROM t WHERE id = 2 FOR UPDATE');
    const { child, ended } = folder.start();
    await until(() => sessions(server, schema, waitsForLock));
    const stopped = performance.now();
    child.kill('SIGTERM');
    expect(await ended).toMatchObject({ exit: 143, summary: { outcome: 'stopped', error: { code: 'STOPPED' } } });
    expect(performance.now() - stopped).toBeLessThan(10_000);
    await holder.rollback();
    expect(await schema.query('SELECT name FROM t ORDER BY id')).toEqual([{ name: 'x' }, { name: 'y' }]);
    expect(await schema.query('SELECT outcome, error_code FROM tableset_runs')).toEqual([
      { outcome: 'stopped', error_code: 'STOPPED' },
    ]);
  });
});

describeEachServer('a load that is broken off while it reads', (server) => {
  const content = rows(60_000, 'a name that takes up some room, so that chunks are written');
  for (const publish of ['swap', 'direct', 'delta'] as const) {
    const prepare = async () => {
      const schema = await server.createSchema();
      await schema.script('CREATE TABLE t (id INT PRIMARY KEY, name VARCHAR(80))');
      if (publish === 'delta') await schema.query("INSERT INTO t VALUES (1, 'mine')");
      const source = await stallingSource(content);
      return { schema, source, folder: new LoaderFolder(schema, [{ table: 't', source: source.url, publish }]) };
    };
    const untouched = async (schema: TestSchema) => {
      expect(await schema.query('SELECT * FROM t')).toEqual(publish === 'delta' ? [{ id: 1, name: 'mine' }] : []);
    };

    test(`by SIGTERM, for ${publish}: exit 143 within 10 s, nothing published, nothing left over`, async () => {
      const { schema, source, folder } = await prepare();
      const { child, ended } = folder.start();
      await source.stalled;
      // The first half is on its way into the server.
      await delay(700);
      const stopped = performance.now();
      child.kill('SIGTERM');
      expect(await ended).toMatchObject({ exit: 143, summary: { outcome: 'stopped' } });
      expect(performance.now() - stopped).toBeLessThan(10_000);
      await untouched(schema);
      expect(await schema.query("SHOW TABLES LIKE 'tableset\\_stage%'")).toEqual([]);
    });

    test(`by KILL of its connection, for ${publish}: exit 1, and the next run converges`, async () => {
      const { schema, source, folder } = await prepare();
      const { ended } = folder.start();
      await source.stalled;
      await delay(700);
      for (const id of await sessions(server, schema)) await server.query(`KILL ${id}`);
      await delay(100);
      source.goOn();
      expect(await ended).toMatchObject({ exit: 1, summary: { error: { code: 'DATABASE_LOST' } } });
      await untouched(schema);
      expect(await folder.load()).toMatchObject([{ publish, inserted: publish === 'delta' ? 59_999 : 60_000 }]);
    });
  }

  test('by SIGTERM while it waits for the lock: exit 143', async () => {
    const schema = await server.createSchema();
    await schema.script('CREATE TABLE t (id INT PRIMARY KEY, name VARCHAR(80))');
    const source = await stallingSource(content);
    const first = new LoaderFolder(schema, [{ table: 't', source: source.url }]).start();
    await source.stalled;
    const waiting = new LoaderFolder(schema, [{ table: 't', source: 't.csv' }], { 't.csv': rows(3, 'n') }).start([
      '--on-busy',
      'wait',
    ]);
    await until(() => sessions(server, schema, "info LIKE '%GET_LOCK%'"));
    waiting.child.kill('SIGTERM');
    expect(await waiting.ended).toMatchObject({ exit: 143, summary: { outcome: 'stopped' } });
    source.goOn();
    expect(await first.ended).toMatchObject({ exit: 0 });
  });
});
