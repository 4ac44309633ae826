import { hostname } from 'node:os';
import { expect, test } from 'vitest';
import { describeEachServer, type TestSchema, type TestServer } from '../../../../test/servers.ts';
import { csv } from '../../run-loader.ts';
import { ApiFolder } from '../api/api-kit.ts';
import { runIn, ServiceFolder, until } from '../run-service.ts';
import { isSigned, receiver } from './receiver.ts';

const secret = 'a secret of sixteen bytes and more';
const products = { table: 'products', source: 'products.csv' };
const prices = { table: 'prices', source: 'prices.csv' };

async function shop(server: TestServer): Promise<TestSchema> {
  const schema = await server.createSchema();
  await schema.script(
    'CREATE TABLE products (id INT PRIMARY KEY, name VARCHAR(40) NOT NULL); CREATE TABLE prices (id INT PRIMARY KEY, cents INT NOT NULL)',
  );
  return schema;
}

/** What each folder holds beside its configuration. */
function fill(folder: ServiceFolder, priceRows: readonly (readonly (string | number)[])[] = [[1, 30]]): void {
  folder.write('products.csv', csv(['id', 'name'], [[1, 'apple']]));
  folder.write('prices.csv', csv(['id', 'cents'], priceRows));
  folder.write('secret', `${secret}\n`);
}

function fileReceiver(folder: ServiceFolder, url: string) {
  return { url, secretFile: `${folder.path}/secret`, allowHttp: true, timeoutSeconds: 2 };
}

async function deliveries(schema: TestSchema) {
  return await schema.query('SELECT * FROM tableset_service_deliveries ORDER BY id');
}

describeEachServer('the outbox of webhooks', (server) => {
  test('tells of what a run changed, signed, and of nothing else', async () => {
    const schema = await shop(server);
    const hooks = await receiver();
    const folder = new ServiceFolder(schema, {});
    folder.configure({ load: [products, prices], webhooks: [fileReceiver(folder, `${hooks.origin}/path-canary`)] });
    fill(folder);
    const service = await folder.ready();
    const id = await service.trigger({ task: 'load' });
    await until('both tables are told of', () => hooks.told.length === 2);
    expect(hooks.told.map(({ body }) => JSON.parse(body))).toMatchObject([
      { event: 'table.changed', table: 'products', inserted: 1, updated: 0, deleted: 0, run: id, target: 'file' },
      { event: 'table.changed', table: 'prices', inserted: 1 },
    ]);
    for (const told of hooks.told) expect(isSigned(told, secret)).toBe(true);
    // The same content again changes nothing, then one table alone.
    await runIn(schema, await service.trigger({ task: 'load' }), 'done');
    folder.write('prices.csv', csv(['id', 'cents'], [[1, 31]]));
    await service.trigger({ task: 'load' });
    await until('the change is told of', () => hooks.told.length >= 3);
    await until('nothing waits', async () => (await deliveries(schema)).every(({ state }) => state === 'told'));
    expect(hooks.told.slice(2).map(({ body }) => JSON.parse(body))).toMatchObject([{ table: 'prices', updated: 1 }]);
    expect(new Set(hooks.told.map((told) => told.id)).size).toBe(3);
    expect(service.log).not.toContain('path-canary');
    expect(service.log).not.toContain(secret);
  });

  test('tells of what was published before a run failed', async () => {
    const schema = await shop(server);
    const hooks = await receiver();
    const folder = new ServiceFolder(schema, {});
    folder.configure({ load: [products, prices], webhooks: [fileReceiver(folder, hooks.origin)] });
    fill(folder, [['one', 30]]);
    const service = await folder.ready({ DB_WAIT_SECONDS: '1' });
    await runIn(schema, await service.trigger({ task: 'load' }), 'failed');
    await until('it is told of', () => hooks.told.length > 0);
    await until('nothing waits', async () => (await deliveries(schema)).every(({ state }) => state === 'told'));
    expect(hooks.told.map(({ body }) => JSON.parse(body))).toMatchObject([{ table: 'products', inserted: 1 }]);
  });

  test('tries again, gives up in the sight of the API, and replays the same notice', async () => {
    const schema = await shop(server);
    const hooks = await receiver();
    hooks.answer(503);
    const api = new ApiFolder(schema, {});
    api.folder.configure({ load: [products], webhooks: [fileReceiver(api.folder, hooks.origin)] });
    fill(api.folder);
    const { service, ...rest } = await readyApi(api, { WEBHOOK_ATTEMPTS: '3', WEBHOOK_RETRY_SECONDS: '0' });
    await service.trigger({ task: 'load' }, await rest.bearer('operator'));
    await until('it is dead', async () => (await deliveries(schema))[0]?.['state'] === 'dead');
    expect(hooks.told).toHaveLength(3);
    const list = await rest.get('viewer', '/api/v1/webhooks/deliveries?state=dead');
    expect(list).toMatchObject({
      status: 200,
      body: {
        items: [{ table: 'products', state: 'dead', attempts: 3, reason: 'it answered 503; tried 3 times' }],
        next: null,
      },
    });
    const [{ id }] = (list.body as { items: [{ id: string }] }).items;
    hooks.answer(204);
    const replay = `/api/v1/webhooks/deliveries/${id}/replay`;
    expect(await rest.post('viewer', replay)).toMatchObject({ status: 403 });
    expect(await rest.post('operator', replay)).toMatchObject({
      status: 202,
      body: { delivery: { state: 'waiting' } },
    });
    await until('it is told', async () => (await deliveries(schema))[0]?.['state'] === 'told');
    expect(new Set(hooks.told.map((told) => `${told.id} ${told.body}`)).size).toBe(1);
    expect(await rest.post('operator', replay)).toMatchObject({ status: 409 });
    expect(await rest.post('operator', '/api/v1/webhooks/deliveries/999/replay')).toMatchObject({ status: 404 });
    expect(await schema.query("SELECT actor FROM tableset_service_audit WHERE action = 'webhook.replay'")).toEqual([
      { actor: 'operator' },
    ]);
  });

  test('dead letters are counted, and replayed all at once, by receiver or run, by the API and by loader retry', async () => {
    const schema = await shop(server);
    const hooks = await receiver();
    hooks.answer(410);
    const api = new ApiFolder(schema, {});
    api.folder.configure({ load: [products, prices], webhooks: [fileReceiver(api.folder, hooks.origin)] });
    fill(api.folder);
    const { service, ...rest } = await readyApi(api, {});
    const id = await service.trigger({ task: 'load' }, await rest.bearer('operator'));
    const dead = async () => (await deliveries(schema)).filter(({ state }) => state === 'dead').length;
    await until('both are dead', async () => (await dead()) === 2);
    await until('the metrics know', async () =>
      String((await service.get('/metrics')).body).includes('tableset_webhook_dead_letters 2'),
    );
    expect((await service.status()).webhooks).toEqual({ waiting: 0, dead: 2 });
    const replay = '/api/v1/webhooks/deliveries/replay';
    expect(await rest.post('viewer', replay, {})).toMatchObject({ status: 403 });
    for (const nobody of [{ receiver: 'api:7' }, { run: '999' }])
      expect(await rest.post('operator', replay, nobody)).toMatchObject({
        status: 202,
        body: { replayed: 0, left: 0 },
      });
    expect(await rest.post('operator', replay, { runs: id })).toMatchObject({ status: 400 });
    const [{ receiver: key } = {}] = await deliveries(schema);
    // Refused once more, then by the verb, and at last told.
    expect(await rest.post('operator', replay, { run: id, receiver: key })).toMatchObject({
      status: 202,
      body: { replayed: 2, left: 0 },
    });
    await until('both were told twice', async () => hooks.told.length === 4 && (await dead()) === 2);
    hooks.answer(204);
    expect(await api.folder.run(['retry', '--dead-letters'])).toMatchObject({
      exit: 0,
      summary: { replayed: 2, left: 0 },
    });
    await until('both are told', async () => (await deliveries(schema)).every(({ state }) => state === 'told'));
    expect(await api.folder.run(['retry', '--dead-letters'])).toMatchObject({ exit: 0, summary: { replayed: 0 } });
    expect((await api.folder.run(['retry', '--dead-letters', '1'])).exit).toBe(2);
    expect(new Set(hooks.told.map((told) => told.id)).size).toBe(2);
    const audits = await schema.query(
      "SELECT actor, subject FROM tableset_service_audit WHERE action = 'webhook.replay' ORDER BY id",
    );
    expect(audits).toEqual([
      { actor: 'operator', subject: 'deliveries' },
      { actor: 'cli', subject: 'deliveries' },
    ]);
  });

  test('tells again after a crash between the telling and the mark, with the same id', async () => {
    const schema = await shop(server);
    let kill = () => {};
    const hooks = await receiver(() => kill());
    const folder = new ServiceFolder(schema, {});
    folder.configure({ load: [products], webhooks: [fileReceiver(folder, hooks.origin)] });
    fill(folder);
    const first = await folder.ready();
    hooks.answer(0);
    kill = () => first.kill('SIGKILL');
    await first.trigger({ task: 'load' });
    await first.ended;
    expect(hooks.told).toHaveLength(1);
    const [row] = await deliveries(schema);
    expect(row).toMatchObject({ state: 'waiting', attempts: 1 });
    kill = () => {};
    hooks.answer(204);
    // As if the lease were over.
    await schema.query('UPDATE tableset_service_deliveries SET next_at = UTC_TIMESTAMP(6)');
    await folder.ready();
    await until('it is told', async () => (await deliveries(schema))[0]?.['state'] === 'told');
    expect(hooks.told).toHaveLength(2);
    expect(hooks.told[1]).toMatchObject({ id: hooks.told[0]?.id, body: hooks.told[0]?.body });
  });

  test('a receiver made by the API reaches public addresses and those the operator lists, and shows no secret', async () => {
    const schema = await shop(server);
    const hooks = await receiver();
    const api = new ApiFolder(schema, { load: [products] });
    fill(api.folder);
    const { service, ...rest } = await readyApi(api, { WEBHOOK_ALLOWED_HOSTS: '127.0.0.1', WEBHOOK_ATTEMPTS: '1' });
    const make = async (url: string) => await rest.post('admin', '/api/v1/webhooks', { url, secret });
    for (const url of [
      'http://example.com/',
      'https://10.0.0.1/',
      'https://[::1]/',
      'https://localhost/',
      'https://0x7f000002/',
      'https://169.254.169.254/latest/meta-data',
      'https://me:pass@example.com/',
      'ftp://example.com/',
      'nothing',
    ])
      expect([url, (await make(url)).status]).toEqual([url, 400]);
    expect(await rest.post('operator', '/api/v1/webhooks', { url: hooks.origin, secret })).toMatchObject({
      status: 403,
    });
    const made = await make(`${hooks.origin}/path-canary`);
    expect(made).toMatchObject({ status: 201, body: { id: '1', origin: hooks.origin, tables: null } });
    // A name of this machine: its address is not public, which shows when it is resolved.
    expect(await make(`https://${hostname()}.localdomain-that-is-not/`)).toMatchObject({ status: 201 });
    await service.trigger({ task: 'load' }, await rest.bearer('operator'));
    await until('all have ended', async () => {
      const rows = await deliveries(schema);
      return rows.length === 2 && rows.every(({ state }) => state !== 'waiting');
    });
    expect(await deliveries(schema)).toMatchObject([
      { receiver: 'api:1', state: 'told' },
      { receiver: 'api:2', state: 'dead' },
    ]);
    expect(hooks.told.every((told) => isSigned(told, secret))).toBe(true);
    const shown = JSON.stringify([
      await rest.get('admin', '/api/v1/webhooks'),
      await rest.get('viewer', '/api/v1/webhooks/deliveries'),
      await rest.get('admin', '/api/v1/audit'),
      await schema.query('SELECT * FROM tableset_service_webhooks'),
      service.log,
    ]);
    expect(shown).not.toContain('path-canary');
    expect(shown).not.toContain(secret);
    expect(await rest.request('admin', 'DELETE', '/api/v1/webhooks/1')).toMatchObject({ status: 204 });
    expect(await rest.request('admin', 'DELETE', '/api/v1/webhooks/1')).toMatchObject({ status: 404 });
    expect(await rest.get('admin', '/api/v1/webhooks')).toMatchObject({ body: { items: [{ id: '2' }], next: null } });
  });

  test('WEBHOOK_URL is told too, and does not go without a secret', async () => {
    const schema = await shop(server);
    const hooks = await receiver();
    const folder = new ServiceFolder(schema, { load: [products] });
    fill(folder);
    await expect(folder.start({ WEBHOOK_URL: hooks.origin })).rejects.toThrow('WEBHOOK_SECRET_FILE');
    const service = await folder.ready({ WEBHOOK_URL: hooks.origin, WEBHOOK_SECRET_FILE: `${folder.path}/secret` });
    await service.trigger({ task: 'load' });
    await until('it is told', () => hooks.told.length === 1);
    expect(hooks.told.every((told) => isSigned(told, secret))).toBe(true);
  });
});

/** A service with its API on; nobody may trigger without a token. */
async function readyApi(folder: ApiFolder, environment: Readonly<Record<string, string>>) {
  const api = await folder.ready(environment);
  const bearer = async (client: 'operator') => ({ authorization: `Bearer ${await api.token(client)}` });
  return {
    bearer,
    get: api.get.bind(api),
    request: api.request.bind(api),
    post: async (client: 'viewer' | 'operator' | 'admin', path: string, body?: unknown) =>
      await api.request(client, 'POST', path, body),
    service: Object.assign(api.service, {
      trigger: async (body: unknown, headers: Readonly<Record<string, string>> = {}) => {
        const answer = await api.service.post('/trigger', body, headers);
        if (answer.status !== 202) throw new Error(JSON.stringify(answer.body));
        return (answer.body as { run: { id: string } }).run.id;
      },
    }),
  };
}
