import { request as httpRequest } from 'node:http';
import { connect } from 'node:net';
import { expect, test } from 'vitest';
import { describeEachServer } from '../../../../test/servers.ts';
import { serviceErrors } from '../../../src/service/errors.ts';
import { csv } from '../../run-loader.ts';
import type { Answer, Problem, Service } from '../run-service.ts';
import { type Api, ApiFolder, allEnded, type ClientId, clientRoles, orderEntry, orderShop } from './api-kit.ts';

interface OpenApi {
  readonly paths: Readonly<
    Record<string, Readonly<Record<string, { readonly 'x-access': string; readonly responses: object }>>>
  >;
}

/** What each route asks for, written down by hand: a route that asks for less fails here. */
const expectedAccess: Readonly<Record<string, string>> = {
  'POST /api/v1/auth/token': 'public',
  'GET /api/v1/config/archival': 'viewer',
  'POST /api/v1/config/archival': 'admin',
  'GET /api/v1/config/archival/{id}': 'viewer',
  'PUT /api/v1/config/archival/{id}': 'admin',
  'DELETE /api/v1/config/archival/{id}': 'admin',
  'GET /api/v1/archive/{table}': 'table',
  'POST /api/v1/archive/{table}/{key}': 'operator',
  'GET /api/v1/runs': 'viewer',
  'GET /api/v1/runs/{id}': 'viewer',
  'POST /api/v1/runs': 'operator',
  'POST /api/v1/runs/{id}/retry': 'operator',
  'POST /api/v1/runs/{id}/cancel': 'operator',
  'GET /api/v1/audit': 'admin',
  'GET /api/v1/webhooks': 'admin',
  'POST /api/v1/webhooks': 'admin',
  'DELETE /api/v1/webhooks/{id}': 'admin',
  'GET /api/v1/webhooks/deliveries': 'viewer',
  'POST /api/v1/webhooks/deliveries/{id}/replay': 'operator',
  'POST /api/v1/webhooks/deliveries/replay': 'operator',
  'POST /trigger': 'trigger',
};

/** Who gets through, by the table `orders`; written down by hand as well. */
const admitted: Readonly<Record<string, readonly ClientId[]>> = {
  viewer: ['viewer', 'operator', 'admin', 'many'],
  operator: ['operator', 'admin'],
  admin: ['admin'],
  trigger: ['operator', 'admin'],
  table: ['admin', 'orders-reader', 'all-reader', 'many'],
};

function expectProblem(answer: Answer, status: number, what: string): void {
  expect(answer.status, what).toBe(status);
  expect(answer.headers.get('content-type'), what).toContain('application/problem+json');
  const problem = answer.body as Problem;
  expect(problem, what).toMatchObject({ status, type: `urn:tableset:error:${problem.code}` });
  expect(Object.keys(serviceErrors), what).toContain(problem.code);
  expect(problem.remedy, what).not.toBe('');
  expect(answer.headers.get('x-content-type-options') ?? 'nosniff', what).toBe('nosniff');
}

/** A request as it stands, for what a well-behaved client never sends. */
async function raw(service: Service, text: string): Promise<string> {
  const { hostname, port } = new URL(service.origin);
  const socket = connect(Number(port), hostname);
  socket.write(text.replaceAll('\n', '\r\n'));
  let answer = '';
  for await (const chunk of socket.setEncoding('utf8')) answer += chunk;
  return answer;
}

describeEachServer('who may do what', (server) => {
  async function start(more: Readonly<Record<string, string>> = {}) {
    const { schema, archive } = await orderShop(server);
    await schema.script('CREATE TABLE products (id INT PRIMARY KEY)');
    const folder = new ApiFolder(schema, {
      load: [{ table: 'products', source: 'products.csv' }],
      archive: [orderEntry],
      stores: { cold: { mysql: { name: archive.name } } },
    });
    folder.folder.write('products.csv', csv(['id'], [[1]]));
    return { schema, folder, api: await folder.ready(more) };
  }

  test('section H: every route of the OpenAPI document, for every role and for none', async () => {
    const { schema, api } = await start();
    const document = (await api.service.get('/openapi.json')).body as OpenApi;
    const routes = Object.entries(document.paths).flatMap(([path, methods]) =>
      Object.entries(methods).map(([method, { 'x-access': access, responses }]) => ({
        method: method.toUpperCase(),
        path,
        access,
        responses,
      })),
    );
    const found = Object.fromEntries(routes.map(({ method, path, access }) => [`${method} ${path}`, access]));
    expect(Object.fromEntries(Object.entries(found).filter(([, access]) => access !== 'public'))).toEqual(
      Object.fromEntries(Object.entries(expectedAccess).filter(([, access]) => access !== 'public')),
    );
    for (const { method, path, access, responses } of routes) {
      const what = `${method} ${path}`;
      const url = path.replace('{id}', '999999').replace('{table}', 'orders').replace('{key}', '999');
      const body =
        method === 'GET' || method === 'DELETE' ? {} : { body: '{}', headers: { 'content-type': 'application/json' } };
      const nobody = await api.service.fetch(url, { method, ...body });
      if (access === 'public') {
        expect([401, 403], what).not.toContain(nobody.status);
        // Nothing under /api is open but the way to a token.
        expect(path.startsWith('/api/') && path !== '/api/v1/auth/token', what).toBe(false);
        continue;
      }
      expectProblem(nobody, 401, what);
      expect(nobody.headers.get('www-authenticate'), what).toBe('Bearer');
      expect(Object.keys(responses), what).toEqual(expect.arrayContaining(['401', '403', '429']));
      for (const client of Object.keys(clientRoles) as ClientId[]) {
        const answer = await api.request(client, method, url, method === 'GET' || method === 'DELETE' ? undefined : {});
        if (admitted[access]?.includes(client))
          expect([401, 403, 500], `${client}: ${what}`).not.toContain(answer.status);
        else expectProblem(answer, 403, `${client}: ${what}`);
      }
    }
    expect(routes.filter(({ path }) => path.startsWith('/api/')).length).toBeGreaterThanOrEqual(14);
    await allEnded(schema);
  });

  test('section H: an operator restores nothing, neither by a run nor by the retry of one', async () => {
    const { schema, api } = await start();
    const restore = { task: 'restore', tables: ['orders'], options: { where: ['id=1'] } };
    expectProblem(await api.request('operator', 'POST', '/api/v1/runs', restore), 403, 'restore');
    const started = await api.request('admin', 'POST', '/api/v1/runs', restore);
    expect(started.status).toBe(202);
    const { id } = (started.body as { run: { id: string } }).run;
    await schema.query("UPDATE tableset_service_runs SET state = 'failed' WHERE id = ?", [id]);
    expectProblem(await api.request('operator', 'POST', `/api/v1/runs/${id}/retry`), 403, 'retry');
    expect((await api.request('admin', 'POST', `/api/v1/runs/${id}/retry`)).status).toBe(202);
    await allEnded(schema);
  });

  test('section H: what a request says of itself in its headers changes nothing', async () => {
    const { api } = await start();
    const viewer = { authorization: `Bearer ${await api.token('viewer')}` };
    const tricks: readonly Readonly<Record<string, string>>[] = [
      { 'x-http-method-override': 'DELETE' },
      { 'x-original-url': '/health' },
      { 'x-rewrite-url': '/health' },
      { 'x-forwarded-for': '127.0.0.1' },
      { 'x-forwarded-user': 'admin', 'x-remote-user': 'admin', 'x-roles': 'admin' },
      { host: 'localhost', 'x-forwarded-host': 'localhost' },
      { 'content-type': 'application/json; charset=utf-7' },
    ];
    for (const trick of tricks) {
      const answer = await api.service.get('/api/v1/audit', { ...viewer, ...trick });
      expectProblem(answer, 403, JSON.stringify(trick));
    }
    for (const path of [
      '/api/v1/audit/',
      '//api/v1/audit',
      '/api/v1/./audit',
      '/API/v1/audit',
      '/health/../api/v1/audit',
      '/api%2Fv1%2Faudit',
    ]) {
      const answer = await raw(api.service, `GET ${path} HTTP/1.1\nHost: x\nConnection: close\n\n`);
      expect(answer, path).toMatch(/^HTTP\/1\.1 (?:400|401|404) /);
    }
    // Two tokens: the first counts and the other does not add to it.
    const two = await raw(
      api.service,
      `GET /api/v1/audit HTTP/1.1\nHost: x\nConnection: close\nAuthorization: ${viewer.authorization}\nAuthorization: Bearer ${await api.token('admin')}\n\n`,
    );
    expect(two).toMatch(/^HTTP\/1\.1 (?:400|403) /);
    // Two lengths, or a length and chunks, are how requests are smuggled past a proxy.
    for (const lengths of ['Content-Length: 2\nContent-Length: 3', 'Content-Length: 2\nTransfer-Encoding: chunked'])
      expect(await raw(api.service, `POST /trigger HTTP/1.1\nHost: x\n${lengths}\n\n{}`)).toMatch(/^HTTP\/1\.1 400 /);
  });

  test('section H: a body is JSON, of a size, and has nothing that the route does not know', async () => {
    const { schema, api } = await start();
    const authorization = `Bearer ${await api.token('admin')}`;
    const post = async (body: string, type: string | null, path = '/api/v1/runs') =>
      await new Promise<Answer>((resolve, reject) => {
        const headers = {
          authorization,
          ...(type === null ? {} : { 'content-type': type }),
          'content-length': Buffer.byteLength(body),
        };
        const sent = httpRequest(`${api.service.origin}${path}`, { method: 'POST', headers }, async (response) => {
          let text = '';
          for await (const chunk of response) text += chunk;
          const head = new Headers(Object.entries(response.headers).map(([name, value]) => [name, String(value)]));
          resolve({ status: response.statusCode ?? 0, headers: head, body: JSON.parse(text) });
        });
        // The server may answer and close before it has read all of it.
        sent.on('error', reject).end(body);
      });
    const good = JSON.stringify({ task: 'load' });
    expect((await post(good, 'application/json')).status).toBe(202);
    for (const type of [
      'text/plain',
      'application/x-www-form-urlencoded',
      'APPLICATION/X-WWW-FORM-URLENCODED',
      'multipart/form-data; boundary=x',
      'application/xml',
    ]) {
      expectProblem(await post(good, type), 415, type);
      expectProblem(await post(good, type, '/trigger'), 415, type);
    }
    expectProblem(
      await post('task=load', 'Application/x-www-form-urlencoded; charset=utf-8', '/trigger'),
      415,
      'a form',
    );
    for (const body of [
      '',
      '{',
      'null',
      '[]',
      '"load"',
      '{"task":"load","__proto__":{"target":"file"}}',
      '{"task":"load","constructor":{"prototype":{"admin":true}}}',
      '{"task":"load","tables":["products"],"tables2":[]}',
      '{"task":"drop"}',
      '{"task":["load"]}',
      '{"task":"load","tables":"products"}',
      '{"task":"load","tables":[]}',
      '{"task":"load","options":{"key":["1"]}}',
      '{"task":"load","target":"record:1; DROP TABLE products"}',
      `{"task":"load","idempotencyKey":"${'k'.repeat(201)}"}`,
      `${'['.repeat(10_000)}${']'.repeat(10_000)}`,
    ])
      expectProblem(await post(body, 'application/json'), 400, body.slice(0, 60));
    expectProblem(
      await post(JSON.stringify({ task: 'load', tables: ['x'.repeat(70_000)] }), 'application/json'),
      413,
      'large',
    );
    for (const table of [
      'products`',
      "products' OR '1",
      'mysql.user',
      '../products',
      'products\0',
      'Products',
      'ｐroducts',
      'tableset_runs',
    ])
      expectProblem(await post(JSON.stringify({ task: 'load', tables: [table] }), 'application/json'), 400, table);
    for (const id of [
      '0x1',
      '1e3',
      '-1',
      '1%20OR%201=1',
      '%00',
      "1'",
      '1;2',
      '99999999999999999999',
      '../1',
      '%2e%2e%2f1',
      '%E0%A4%A',
    ])
      expect((await api.get('viewer', `/api/v1/runs/${id}`)).status, id).toBeOneOf([400, 404]);
    for (const query of [
      'limit=0',
      'limit=1000',
      'limit=1&limit=2',
      'before=x',
      'state=any',
      'trigger=x',
      'order=id',
      'task[]=load',
    ])
      expectProblem(await api.get('viewer', `/api/v1/runs?${query}`), 400, query);
    expectProblem(await api.get('viewer', `/api/v1/archive/%E0%A4%A`), 400, 'a path that is no UTF-8');
    expectProblem(await api.get('viewer', `/api/v1/runs/${'1'.repeat(600)}`), 400, 'a part that is too long');
    expect(await schema.query('SELECT id FROM tableset_service_runs')).toHaveLength(1);
    await allEnded(schema);
  });

  test('behind a trusted proxy each of its clients is limited by itself, and nobody else is believed', async () => {
    const few = { RATE_LIMIT_PER_MINUTE: '5' };
    const ask = async (api: Api, forwarded: string) =>
      (await api.service.get('/api/v1/runs', { 'x-forwarded-for': forwarded })).status;
    for (const [proxies, believed] of [
      ['', false],
      ['10.0.0.0/8', false],
      ['127.0.0.0/8,::1', true],
    ] as const) {
      const { api } = await start({ ...few, ...(proxies === '' ? {} : { TRUSTED_PROXIES: proxies }) });
      for (let round = 0; round < 5; round++) expect(await ask(api, '203.0.113.1')).toBe(401);
      expect(await ask(api, '203.0.113.1')).toBe(429);
      // What stands further left is the client's own word.
      expect(await ask(api, '203.0.113.9, 203.0.113.1')).toBe(429);
      expect(await ask(api, '203.0.113.2')).toBe(believed ? 401 : 429);
    }
  });

  test('an address that asks too often waits, and the probes do not', async () => {
    const { api } = await start({ RATE_LIMIT_PER_MINUTE: '20' });
    const statuses: number[] = [];
    for (let round = 0; round < 30; round++) statuses.push((await api.service.get('/api/v1/runs')).status);
    expect(statuses.slice(0, 18)).toEqual(Array.from({ length: 18 }, () => 401));
    const limited = await api.service.get('/api/v1/runs');
    expectProblem(limited, 429, 'limited');
    expect(limited.body).toMatchObject({ code: 'SERVICE_RATE_LIMITED' });
    expect(Number(limited.headers.get('retry-after'))).toBeGreaterThan(0);
    expect((await api.service.get('/health')).status).toBe(200);
    expect((await api.service.get('/status')).status).toBe(200);
    expectProblem(await api.service.post('/trigger', { task: 'load' }), 429, 'trigger');
  });
});
