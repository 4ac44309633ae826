import { expect, test } from 'vitest';
import { describeEachServer, type TestSchema, type TestServer } from '../../../../test/servers.ts';
import { serve } from '../../http-server.ts';
import { csv } from '../../run-loader.ts';
import { runIn, runRow, type Service, ServiceFolder, until } from '../run-service.ts';
import { FakeCluster } from './fake-cluster.ts';

const rows = csv(
  ['id', 'name'],
  [
    [1, 'apple'],
    [2, 'pear'],
  ],
);

interface Shop {
  readonly schema: TestSchema;
  readonly cluster: FakeCluster;
  readonly folder: ServiceFolder;
  ready(environment?: Readonly<Record<string, string>>): Promise<Service>;
}

/** A shop whose one table comes from `source`, and a cluster for its workers. */
async function shop(server: TestServer, source: string): Promise<Shop> {
  const schema = await server.createSchema();
  await schema.script('CREATE TABLE products (id INT PRIMARY KEY, name VARCHAR(40) NOT NULL)');
  const folder = new ServiceFolder(schema, { load: [{ table: 'products', source }] });
  folder.write('products.csv', rows);
  const cluster = await FakeCluster.start();
  cluster.environment = { ...schema.environment, CONFIG_FILE: `${folder.path}/config.yaml`, DB_WAIT_SECONDS: '5' };
  const ready = (environment = {}) => folder.ready({ ...cluster.serviceEnvironment(), ...environment });
  return { schema, cluster, folder, ready };
}

/** A source that answers when it is told to. */
async function gate() {
  const { promise, resolve } = Promise.withResolvers<void>();
  let asked = 0;
  const server = await serve((_request, response) => {
    asked++;
    void promise.then(() => response.writeHead(200, { 'content-length': Buffer.byteLength(rows) }).end(rows));
  });
  return { ...server, url: `${server.origin}/products.csv`, open: resolve, asked: () => asked };
}

describeEachServer('worker Jobs', (server) => {
  test('do a run from the fixed template alone, and leave its summary and the end of their log in the ledger', async () => {
    const { schema, cluster, ready } = await shop(server, 'products.csv');
    const service = await ready();
    const body = { task: 'load', tables: ['products'], options: { ifChanged: true }, idempotencyKey: 'canary-4711' };
    const id = await service.trigger(body);
    const row = await runIn(schema, id, 'done');
    expect(row).toMatchObject({ attempt: 1, worker: `loads-run-${id}-1`, error: null });
    expect(JSON.parse(String(row['summary']))).toMatchObject({
      outcome: 'done',
      tables: [{ table: 'products', read: 2, inserted: 2 }],
    });
    expect(String(row['log_tail'])).toContain('run ended');
    expect(await schema.query('SELECT id FROM products')).toHaveLength(2);
    expect(cluster.made).toHaveLength(1);
    const spec = JSON.stringify(cluster.made[0]);
    expect(spec).toContain(`"args":["work","--run","${id}","--token","1"]`);
    // Neither what the caller said nor a secret.
    for (const word of ['products', 'ifChanged', 'canary-4711', schema.password]) expect(spec).not.toContain(word);
    expect(String(row['log_tail'])).not.toContain(schema.password);
  });

  test('that refuse their data fail the run with the code, once', async () => {
    const { schema, cluster, folder, ready } = await shop(server, 'products.csv');
    folder.write('products.csv', 'id,name\n1,apple\nx,pear\n');
    const service = await ready();
    const row = await runIn(schema, await service.trigger({ task: 'load' }), 'failed');
    expect(JSON.parse(String(row['error']))).toMatchObject({ code: 'LOAD_REJECTED', exit: 3 });
    expect(JSON.parse(String(row['summary']))).toMatchObject({ outcome: 'failed' });
    expect(row['attempt']).toBe(1);
    expect(cluster.made).toHaveLength(1);
    expect(await schema.query('SELECT id FROM products')).toEqual([]);
  });

  test('that die without a word are followed by another, while tries are left', async () => {
    await using source = await gate();
    const { schema, cluster, ready } = await shop(server, source.url);
    const service = await ready();
    const id = await service.trigger({ task: 'load' });
    await until('the worker asks for its source', () => source.asked() === 1);
    cluster.jobs.get(`loads-run-${id}-1`)?.child?.kill('SIGKILL');
    await until('the next worker asks', () => source.asked() === 2);
    const between = await runRow(schema, id);
    expect(JSON.parse(String(between['error']))).toMatchObject({ code: 'SERVICE_WORKER_DIED', exit: 1 });
    source.open();
    expect(await runIn(schema, id, 'done')).toMatchObject({ attempt: 2 });
    expect(cluster.made).toHaveLength(2);
    expect(await schema.query('SELECT id FROM products')).toHaveLength(2);
  });

  test('stop at a safe point when their run is cancelled', async () => {
    await using source = await gate();
    const { schema, cluster, ready } = await shop(server, source.url);
    const service = await ready();
    const id = await service.trigger({ task: 'load' });
    await until('the worker asks for its source', () => source.asked() === 1);
    await schema.query('UPDATE tableset_service_runs SET cancel_requested_at = UTC_TIMESTAMP(6) WHERE id = ?', [id]);
    const row = await runIn(schema, id, 'cancelled');
    expect(JSON.parse(String(row['error']))).toMatchObject({ code: 'SERVICE_RUN_CANCELLED' });
    const job = cluster.jobs.get(`loads-run-${id}-1`);
    await until('its pod has ended', () => job?.ended === true);
    expect(job?.exit).toBe(143);
    // By itself: its Job and log are still there to look at.
    expect(cluster.requests).not.toContain('DELETE jobs');
    expect(await schema.query('SELECT id FROM products')).toEqual([]);
  });

  test('that take too long are deleted, and the run has failed', async () => {
    await using source = await gate();
    const { schema, cluster, ready } = await shop(server, source.url);
    const service = await ready({ RUN_TIMEOUT_SECONDS: '3' });
    const row = await runIn(schema, await service.trigger({ task: 'load' }), 'failed');
    expect(JSON.parse(String(row['error']))).toMatchObject({ code: 'SERVICE_RUN_TIMEOUT' });
    expect(cluster.requests).toContain('DELETE jobs');
    await until('its Job is gone', () => cluster.jobs.size === 0);
  });

  test('go on when the leader is killed, and are adopted by the next: no run is lost or done twice', async () => {
    await using source = await gate();
    const { schema, cluster, ready } = await shop(server, source.url);
    const first = await ready({ LEASE_NAME: 'loads', POD_NAME: 'loads-1' });
    const id = await first.trigger({ task: 'load' });
    const waiting = await first.trigger({ task: 'load' });
    await until('the worker asks for its source', () => source.asked() === 1);
    await until('the first leads', async () => (await first.status()).leader?.holder === 'loads-1');
    const second = await ready({ LEASE_NAME: 'loads', POD_NAME: 'loads-2' });
    first.kill();
    await first.ended;
    source.open();
    // What a quarter of a minute would bring: the lease of the first runs out.
    for (const { spec } of cluster.leases.values()) if (spec) spec.leaseDurationSeconds = 1;
    // What half a minute would bring.
    await schema.query('UPDATE tableset_service_runs SET lease_until = UTC_TIMESTAMP(6) WHERE lease_until IS NOT NULL');
    const row = await runIn(schema, id, 'done');
    expect(row).toMatchObject({ attempt: 1, worker: `loads-run-${id}-1` });
    expect(String(row['owner'])).toMatch(/^loads-2\//);
    await runIn(schema, waiting, 'done');
    expect(cluster.made.map(({ metadata }) => metadata?.name)).toEqual([`loads-run-${id}-1`, `loads-run-${waiting}-1`]);
    expect(await schema.query("SELECT id FROM tableset_runs WHERE kind = 'load'")).toHaveLength(2);
    expect(second.log).toContain('a run was adopted');
  }, 120_000);

  test('go on when the service is restarted, which does not wait for them', async () => {
    await using source = await gate();
    const { schema, cluster, ready } = await shop(server, source.url);
    const first = await ready();
    const id = await first.trigger({ task: 'load' });
    await until('the worker asks for its source', () => source.asked() === 1);
    const stoppedAt = performance.now();
    first.kill('SIGTERM');
    expect(await first.ended).toBe(0);
    expect(performance.now() - stoppedAt).toBeLessThan(10_000);
    expect(await runRow(schema, id)).toMatchObject({ state: 'running', attempt: 1 });
    source.open();
    await until('the worker has ended meanwhile', () => cluster.jobs.get(`loads-run-${id}-1`)?.ended === true);
    // Its result outlives the Job.
    cluster.jobs.clear();
    await ready();
    expect(await runIn(schema, id, 'done')).toMatchObject({ attempt: 1 });
    expect(cluster.made).toHaveLength(1);
  }, 60_000);

  test('whose run was given to another change nothing', async () => {
    const { schema, cluster, folder, ready } = await shop(server, 'products.csv');
    const service = await ready();
    const id = await service.trigger({ task: 'load' });
    const before = await runIn(schema, id, 'done');
    service.kill('SIGTERM');
    await service.ended;
    await schema.query('DELETE FROM products');
    for (const token of ['1', '7']) {
      const stale = await folder.run(['work', '--run', id, '--token', token]);
      expect(stale).toMatchObject({ exit: 3, summary: { error: { code: 'SERVICE_WORKER_STALE' } } });
    }
    const given = "UPDATE tableset_service_runs SET state = 'running', worker = ?, worker_result = NULL WHERE id = ?";
    await schema.query(given, [`loads-run-${id}-2`, id]);
    const older = await folder.run(['work', '--run', id, '--token', '1']);
    expect(older).toMatchObject({ exit: 3, summary: { error: { code: 'SERVICE_WORKER_STALE' } } });
    expect(await schema.query('SELECT id FROM products')).toEqual([]);
    expect(await runRow(schema, id)).toMatchObject({ token: before['token'], summary: before['summary'] });
    expect(cluster.made).toHaveLength(1);
    expect((await folder.run(['work', '--run', '1 OR 1', '--token', '1'])).exit).toBe(2);
  });

  test('that the API server refuses fail the run with its words; one that is away is asked again', async () => {
    const { schema, cluster, ready } = await shop(server, 'products.csv');
    const service = await ready();
    cluster.refusals.set('POST jobs', 403);
    const refused = await runIn(schema, await service.trigger({ task: 'load' }), 'failed');
    expect(JSON.parse(String(refused['error']))).toMatchObject({
      code: 'SERVICE_CLUSTER_REFUSED',
      message: expect.stringContaining('is forbidden'),
    });
    cluster.refusals.set('POST jobs', 503);
    const id = await service.trigger({ task: 'load' });
    const asked = () => cluster.requests.filter((request) => request === 'POST jobs').length;
    await until('it was asked again', () => asked() >= 3);
    cluster.refusals.clear();
    expect(await runIn(schema, id, 'done')).toMatchObject({ attempt: 1 });
    expect(cluster.made).toHaveLength(1);
  });
});
