import { expect, test } from 'vitest';
import { describeEachServer, type TestSchema, type TestServer } from '../../../test/servers.ts';
import { serve } from '../http-server.ts';
import { csv } from '../run-loader.ts';
import { type Problem, runIn, runRow, ServiceFolder, until } from './run-service.ts';

const products = { table: 'products', source: 'products.csv' };

async function shop(server: TestServer): Promise<TestSchema> {
  const schema = await server.createSchema();
  await schema.script(
    'CREATE TABLE products (id INT PRIMARY KEY, name VARCHAR(40) NOT NULL); CREATE TABLE prices (id INT PRIMARY KEY, cents INT NOT NULL)',
  );
  return schema;
}

function shopFolder(schema: TestSchema): ServiceFolder {
  const folder = new ServiceFolder(schema, { load: [products, { table: 'prices', source: 'prices.csv' }] });
  folder.write(
    'products.csv',
    csv(
      ['id', 'name'],
      [
        [1, 'apple'],
        [2, 'pear'],
      ],
    ),
  );
  folder.write('prices.csv', csv(['id', 'cents'], [[1, 30]]));
  return folder;
}

/** A source that answers when it is told to, so that a run lasts as long as a test needs it. */
async function gate(content: string) {
  const { promise, resolve } = Promise.withResolvers<void>();
  const server = await serve((_request, response) => {
    void promise.then(() => response.writeHead(200, { 'content-length': Buffer.byteLength(content) }).end(content));
  });
  return { ...server, url: `${server.origin}/products.csv`, open: resolve };
}

describeEachServer('the service', (server) => {
  test('loads by trigger, and tells of it on /status, /metrics and in the ledger', async () => {
    const schema = await shop(server);
    const service = await shopFolder(schema).ready();
    const id = await service.trigger({ task: 'load', tables: ['products'] });
    const row = await runIn(schema, id, 'done');
    expect(row).toMatchObject({ task: 'load', attempt: 1, trigger: 'trigger', requested_by: 'anonymous', error: null });
    expect(JSON.parse(String(row['summary']))).toMatchObject({
      outcome: 'done',
      tables: [{ table: 'products', read: 2, inserted: 2 }],
    });
    expect(await schema.query('SELECT id, name FROM products ORDER BY id')).toHaveLength(2);
    expect(await schema.query('SELECT id FROM prices')).toHaveLength(0);
    expect(await schema.query("SELECT kind, `trigger` FROM tableset_runs WHERE outcome = 'done'")).toEqual([
      { kind: 'load', trigger: 'service' },
    ]);
    await until('the status knows', async () => (await service.status()).runs?.['done'] === 1);
    const status = await service.status();
    expect(status).toMatchObject({ ready: true, reasons: [], queue: { waiting: 0, size: 128 } });
    expect(status.tables).toMatchObject([{ table: 'products', rows: 2 }]);
    expect(status.tasks.find(({ task }) => task === 'load')).toMatchObject({ failuresSinceSuccess: 0 });
    const metrics = String((await service.get('/metrics')).body);
    expect(metrics).toContain('tableset_rows_total{task="load",table="products",outcome="inserted"} 2');
    expect(metrics).toMatch(/tableset_freshness_seconds\{table="products"\} \d/);
    service.kill('SIGTERM');
    expect(await service.ended).toBe(0);
  });

  test('fault 51: a hundred triggers with one idempotency key are one run', async () => {
    const schema = await shop(server);
    const service = await shopFolder(schema).ready({ RATE_LIMIT_PER_MINUTE: '100000' });
    const answers = await Promise.all(
      Array.from({ length: 100 }, () => service.post('/trigger', { task: 'load', idempotencyKey: 'deploy-7' })),
    );
    const ids = new Set(answers.map(({ body }) => (body as { run: { id: string } }).run.id));
    expect(ids.size).toBe(1);
    expect(answers.filter(({ status }) => status === 202)).toHaveLength(1);
    expect(answers.filter(({ status }) => status === 200)).toHaveLength(99);
    await runIn(schema, Array.from(ids)[0] ?? '', 'done');
    expect(await schema.query('SELECT id FROM tableset_service_runs')).toHaveLength(1);
    expect(await schema.query("SELECT id FROM tableset_runs WHERE kind = 'load'")).toHaveLength(1);
    const other = await service.post(
      '/trigger',
      { task: 'load', tables: ['prices'] },
      { 'idempotency-key': 'deploy-7' },
    );
    expect(other.status).toBe(422);
    expect(other.body).toMatchObject({ code: 'SERVICE_IDEMPOTENCY_REUSED' } satisfies Partial<Problem>);
  });

  test('answers 429 with Retry-After when the queue is full, and does all that it took one after the other', async () => {
    const schema = await shop(server);
    await using source = await gate(csv(['id', 'name'], [[1, 'apple']]));
    const folder = new ServiceFolder(schema, { load: [{ ...products, source: source.url }] });
    const service = await folder.ready({ QUEUE_SIZE: '2' });
    const first = await service.trigger({ task: 'load' });
    await runIn(schema, first, 'running');
    const waiting = [
      await service.trigger({ task: 'load', idempotencyKey: 'known' }),
      await service.trigger({ task: 'load' }),
    ];
    const refused = await service.post('/trigger', { task: 'load' });
    expect(refused.status).toBe(429);
    expect(refused.headers.get('retry-after')).toMatch(/^\d+$/);
    expect(refused.headers.get('content-type')).toContain('application/problem+json');
    expect(refused.body).toMatchObject({ code: 'SERVICE_QUEUE_FULL', status: 429 });
    // What is in the queue already takes no place in it.
    expect((await service.post('/trigger', { task: 'load', idempotencyKey: 'known' })).status).toBe(200);
    // One worker per database: the others wait.
    expect(await schema.query("SELECT id FROM tableset_service_runs WHERE state = 'running'")).toHaveLength(1);
    source.open();
    for (const id of [first, ...waiting]) await runIn(schema, id, 'done');
    const runs = await schema.query('SELECT started_at, finished_at FROM tableset_service_runs ORDER BY id');
    for (const [index, run] of runs.entries())
      if (index > 0) expect(String(run['started_at']) >= String(runs[index - 1]?.['finished_at'])).toBe(true);
  });

  test('marks what fails, goes on with the rest, and does it again when it is retried', async () => {
    const schema = await shop(server);
    const folder = shopFolder(schema);
    folder.write('products.csv', csv(['id', 'name'], [['x', 'apple']]));
    const service = await folder.ready();
    const bad = await service.trigger({ task: 'load', tables: ['products'] });
    const good = await service.trigger({ task: 'load', tables: ['prices'] });
    await runIn(schema, good, 'done');
    const row = await runIn(schema, bad, 'failed');
    // No retry helps data that is refused.
    expect(row['attempt']).toBe(1);
    expect(JSON.parse(String(row['error']))).toMatchObject({ code: 'LOAD_REJECTED', exit: 3 });
    await until('the status knows', async () => (await service.status()).lastErrors.length > 0);
    const [error] = (await service.status()).lastErrors;
    expect(error).toMatchObject({ run: bad, task: 'load', code: 'LOAD_REJECTED' });
    expect(error?.remedy).not.toBe('');

    folder.write('products.csv', csv(['id', 'name'], [[1, 'apple']]));
    const retried = await folder.run(['retry', '--failed']);
    expect(retried).toMatchObject({ exit: 0, summary: { outcome: 'done', runs: [{ retryOf: bad }] } });
    const again = String((retried.summary['runs'] as { run: string }[])[0]?.run);
    expect(await runIn(schema, again, 'done')).toMatchObject({ trigger: 'retry', retry_of: Number(bad) });
    expect(await folder.run(['retry', '--failed'])).toMatchObject({ exit: 0, summary: { runs: [] } });
    const actions = await schema.query('SELECT actor, action FROM tableset_service_audit ORDER BY id');
    expect(actions).toEqual([
      { actor: 'anonymous', action: 'run.trigger' },
      { actor: 'anonymous', action: 'run.trigger' },
      { actor: 'cli', action: 'run.retry' },
    ]);
  });

  test('tries a passing fault again until the tries are used up', async () => {
    const schema = await shop(server);
    const folder = new ServiceFolder(schema, { load: [products, { table: 'later', source: 'products.csv' }] });
    folder.write('products.csv', csv(['id', 'name'], [[1, 'apple']]));
    // A table that is not there yet is worth another try.
    const service = await folder.ready({ RUN_ATTEMPTS: '2', DB_WAIT_SECONDS: '1' });
    const row = await runIn(schema, await service.trigger({ task: 'load', tables: ['later'] }), 'failed');
    expect(row['attempt']).toBe(2);
    expect(JSON.parse(String(row['error']))).toMatchObject({ code: 'LOAD_TABLE_MISSING', exit: 1 });
    expect(service.log).toContain('run failed and is tried again');
  });

  test('stops a run that somebody cancelled', async () => {
    const schema = await shop(server);
    await using source = await gate(csv(['id', 'name'], [[1, 'apple']]));
    const service = await new ServiceFolder(schema, { load: [{ ...products, source: source.url }] }).ready();
    const id = await service.trigger({ task: 'load' });
    await runIn(schema, id, 'running');
    await schema.query('UPDATE tableset_service_runs SET cancel_requested_at = UTC_TIMESTAMP(6) WHERE id = ?', [id]);
    const row = await runIn(schema, id, 'cancelled');
    expect(JSON.parse(String(row['error']))).toMatchObject({ code: 'SERVICE_RUN_CANCELLED' });
    expect(await schema.query('SELECT id FROM products')).toHaveLength(0);
  });

  test('stops a run that takes longer than it may', async () => {
    const schema = await shop(server);
    await using source = await gate('');
    const folder = new ServiceFolder(schema, { load: [{ ...products, source: source.url }] });
    const service = await folder.ready({ RUN_TIMEOUT_SECONDS: '1' });
    const row = await runIn(schema, await service.trigger({ task: 'load' }), 'failed');
    expect(JSON.parse(String(row['error']))).toMatchObject({ code: 'SERVICE_RUN_TIMEOUT' });
  });

  test('on SIGTERM takes no more orders and lets what runs end', async () => {
    const schema = await shop(server);
    await using source = await gate(csv(['id', 'name'], [[1, 'apple']]));
    const service = await new ServiceFolder(schema, { load: [{ ...products, source: source.url }] }).ready();
    const id = await service.trigger({ task: 'load' });
    const waiting = await service.trigger({ task: 'load' });
    await runIn(schema, id, 'running');
    service.kill('SIGTERM');
    await until('it is not ready', async () => (await service.get('/ready')).status === 503);
    const refused = await service.post('/trigger', { task: 'load' });
    expect(refused).toMatchObject({ status: 503, body: { code: 'SERVICE_SHUTTING_DOWN' } });
    expect((await service.get('/health')).status).toBe(200);
    source.open();
    expect(await service.ended).toBe(0);
    expect((await runRow(schema, id))['state']).toBe('done');
    expect((await runRow(schema, waiting))['state']).toBe('queued');
  });

  test('past the deadline stops at a safe point with exit 143, and the next start does the run', async () => {
    const schema = await shop(server);
    await using source = await gate(csv(['id', 'name'], [[1, 'apple']]));
    const folder = new ServiceFolder(schema, { load: [{ ...products, source: source.url }] });
    const service = await folder.ready({ SHUTDOWN_SECONDS: '0' });
    const id = await service.trigger({ task: 'load' });
    await runIn(schema, id, 'running');
    service.kill('SIGTERM');
    expect(await service.ended).toBe(143);
    expect(await runRow(schema, id)).toMatchObject({ state: 'queued', attempt: 0, owner: null });
    expect(await schema.query('SELECT id FROM products')).toHaveLength(0);
    source.open();
    await folder.ready();
    expect(await runIn(schema, id, 'done')).toMatchObject({ attempt: 1 });
    expect(await schema.query('SELECT id FROM products')).toHaveLength(1);
  });

  test('a run whose process was killed is done again, once, by the next one', async () => {
    const schema = await shop(server);
    await using source = await gate(csv(['id', 'name'], [[1, 'apple']]));
    const folder = new ServiceFolder(schema, { load: [{ ...products, source: source.url }] });
    const service = await folder.ready();
    const id = await service.trigger({ task: 'load' });
    const { token } = await runIn(schema, id, 'running');
    await schema.query(
      'UPDATE tableset_service_runs SET lease_until = UTC_TIMESTAMP(6) + INTERVAL 1 HOUR WHERE id = ?',
      [id],
    );
    service.kill('SIGKILL');
    await service.ended;
    source.open();
    const next = await folder.ready();
    // While the lease holds, the run may live somewhere: one of another database, which is looked at after it, is done first.
    await schema.query(
      "INSERT INTO tableset_service_runs (task, target, database_key, options, `trigger`, requested_by, request_hash, state, attempt, attempts_max, token, created_at, not_before) VALUES ('load', 'file', 'elsewhere', '{}', 'api', 'test', '', 'queued', 0, 1, 0, UTC_TIMESTAMP(6), UTC_TIMESTAMP(6))",
    );
    await runIn(schema, String(Number(id) + 1), 'done');
    expect(await runRow(schema, id)).toMatchObject({ state: 'running', token });
    await schema.query(
      'UPDATE tableset_service_runs SET lease_until = UTC_TIMESTAMP(6) - INTERVAL 1 SECOND WHERE id = ?',
      [id],
    );
    expect(await runIn(schema, id, 'done')).toMatchObject({ attempt: 2 });
    expect(next.log).toContain('a run was left behind and is done again');
    expect(await schema.query("SELECT id FROM tableset_runs WHERE outcome = 'done'")).toHaveLength(2);
  });

  test('takes up a changed configuration, and keeps the old one where the new one is bad', async () => {
    const schema = await shop(server);
    const folder = shopFolder(schema);
    folder.configure({ load: [products] });
    const service = await folder.ready({ CONFIG_POLL_SECONDS: '1' });
    expect((await service.post('/trigger', { task: 'load', tables: ['prices'] })).status).toBe(400);

    folder.configure({ load: [{ table: 'products' }] });
    await until('the fault is told', async () => (await service.status()).config.problem !== null);
    expect((await service.status()).config.problem).toMatchObject({ code: 'CONFIG_INVALID' });
    expect(String((await service.get('/metrics')).body)).toContain('tableset_config_valid 0');
    await runIn(schema, await service.trigger({ task: 'load', tables: ['products'] }), 'done');

    folder.configure({ load: [products, { table: 'prices', source: 'prices.csv' }] });
    service.kill('SIGHUP');
    await until('the fault is gone', async () => (await service.status()).config.problem === null);
    await runIn(schema, await service.trigger({ task: 'load', tables: ['prices'] }), 'done');

    folder.configure({ load: [products], database: { host: 'elsewhere' } });
    await until('the fault is told', async () => (await service.status()).config.problem !== null);
    expect((await service.status()).config.problem).toMatchObject({ code: 'SERVICE_RESTART_NEEDED' });
  });

  test('archives, verifies, restores and purges by trigger', async () => {
    const schema = await shop(server);
    await schema.script(
      "CREATE TABLE orders (id INT PRIMARY KEY, created_at DATETIME NOT NULL) ENGINE=InnoDB; INSERT INTO orders VALUES (1, '2020-01-01'), (2, '2020-01-02'), (3, UTC_TIMESTAMP())",
    );
    const archive = await server.createSchema();
    await server.query(`GRANT ALL PRIVILEGES ON ${archive.name}.* TO ${schema.user}@'%'`);
    const entry = {
      table: 'orders',
      dateColumn: 'created_at',
      archiveAfterDays: 30,
      deleteAfterDays: 36500,
      store: 'cold',
    };
    const folder = new ServiceFolder(schema, { stores: { cold: { mysql: { name: archive.name } } }, archive: [entry] });
    const service = await folder.ready();
    const done = async (body: Record<string, unknown>) => {
      const row = await runIn(schema, await service.trigger(body), 'done', 'failed');
      expect(row).toMatchObject({ state: 'done', error: null });
      return JSON.parse(String(row['summary']));
    };
    expect(await done({ task: 'archive' })).toMatchObject({ tables: [{ table: 'orders', archived: 2, deleted: 2 }] });
    expect(await schema.query('SELECT id FROM orders')).toHaveLength(1);
    expect(await done({ task: 'verify' })).toMatchObject({ outcome: 'done' });
    expect(await done({ task: 'verify', options: { drill: true } })).toMatchObject({ drill: true });
    await done({ task: 'restore', tables: ['orders'], options: { where: ['id=2'] } });
    expect(await schema.query('SELECT id FROM orders')).toHaveLength(2);
    expect(await done({ task: 'purge' })).toMatchObject({ outcome: 'done' });
    await until('the drill is told', async () => (await service.status()).lastVerifiedRestoreAt !== null);
    expect((await service.post('/trigger', { task: 'restore', tables: ['orders'] })).status).toBe(400);
    expect((await service.post('/trigger', { task: 'load' })).status).toBe(400);
  });
});
