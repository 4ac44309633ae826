import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, expect, test } from 'vitest';
import * as z from 'zod/mini';
import { openRateLimit } from '../../src/service/api/rate-limit.ts';
import { apiRoutes } from '../../src/service/api/routes.ts';
import type { ServiceContext } from '../../src/service/contracts.ts';
import { coreRoutes } from '../../src/service/http/core-routes.ts';
import { openMetrics } from '../../src/service/http/metrics.ts';
import { type Route, route } from '../../src/service/http/route.ts';
import { createServer } from '../../src/service/http/server.ts';
import { outboxRoutes } from '../../src/service/outbox/routes.ts';
import { pageRoutes } from '../../src/service/page/routes.ts';
import { openAuthenticator } from '../../src/service/security/authenticator.ts';
import type { ServiceSettings } from '../../src/settings-service.ts';
import { serviceSettings } from './service-settings.ts';

const folders: string[] = [];
afterEach(() => {
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true, force: true });
});

const echo = route({
  method: 'POST',
  path: '/echo/:id',
  summary: 'Says what it was told.',
  tag: 'Test',
  access: 'public',
  params: z.strictObject({ id: z.string().check(z.regex(/^\d+$/)) }),
  body: z.strictObject({ name: z.string() }),
  responses: { 200: { description: 'That.' } },
  handle: async ({ params, body }) => ({ body: { ...params, ...body } }),
});
const broken = route({
  method: 'GET',
  path: '/broken',
  summary: 'Fails.',
  tag: 'Test',
  access: 'public',
  responses: { 200: { description: 'Never.' } },
  handle: async () => {
    throw new Error('the password is hunter2');
  },
});

/** The server over routes that need no database, without listening. */
async function server(routes: readonly Route[], settings: Partial<ServiceSettings> = {}) {
  const all: readonly Route[] = [...coreRoutes(openMetrics(), '1.2.3', () => all), ...routes];
  const events: string[] = [];
  const output = { event: (_level: string, message: string) => events.push(message) };
  const service = {
    output,
    queue: { closed: false, enqueue: async () => ({ outcome: 'closed' }), running: [] },
    database: { reachable: false },
    clientAddress: () => '192.0.2.1',
    tablesReady: () => false,
  } as unknown as ServiceContext;
  const authenticator = await openAuthenticator(serviceSettings(settings));
  const rateLimit = openRateLimit(600, Date.now);
  return { app: createServer({ routes: all, service, authenticator, rateLimit }), events };
}

const json = { 'content-type': 'application/json' };

test('answers what does not fit with a problem document that lists the faults', async () => {
  const { app } = await server([echo]);
  const answer = await app.inject({ method: 'POST', url: '/echo/7', headers: json, payload: { name: 5, extra: 1 } });
  expect(answer.statusCode).toBe(400);
  expect(answer.headers['content-type']).toContain('application/problem+json');
  const problem = answer.json();
  expect(problem).toMatchObject({
    status: 400,
    code: 'SERVICE_REQUEST_INVALID',
    type: 'urn:tableset:error:SERVICE_REQUEST_INVALID',
  });
  expect(problem.errors.map(({ path }: { path: string }) => path)).toContain('name');
  expect(problem.errors).toHaveLength(2);
  expect((await app.inject({ method: 'POST', url: '/echo/x', headers: json, payload: { name: 'a' } })).statusCode).toBe(
    400,
  );
  const good = await app.inject({ method: 'POST', url: '/echo/7', headers: json, payload: { name: 'a' } });
  expect(good.json()).toEqual({ id: '7', name: 'a' });
});

test.each([
  ['not JSON', json, '{', 400],
  ['nothing where JSON is announced', json, '', 400],
  ['text', { 'content-type': 'text/plain' }, '{"name":"a"}', 415],
  ['a form', { 'content-type': 'application/x-www-form-urlencoded' }, 'name=a', 415],
  ['a form with a charset', { 'content-type': 'application/x-www-form-urlencoded; charset=utf-8' }, 'name=a', 415],
  ['no type', {}, '{"name":"a"}', 415],
  ['a body beyond the limit', json, JSON.stringify({ name: 'a'.repeat(70_000) }), 413],
  ['a key that is no key', json, '{"name":"a","__proto__":{"x":1}}', 400],
])('refuses %s', async (_what, headers, payload, status) => {
  const { app } = await server([echo]);
  const answer = await app.inject({ method: 'POST', url: '/echo/7', headers, payload });
  expect(answer.statusCode).toBe(status);
  expect(answer.json()).toMatchObject({ status });
  expect(answer.headers['content-type']).toContain('application/problem+json');
});

test('tells of an internal error in the log alone', async () => {
  const { app, events } = await server([broken]);
  const answer = await app.inject({ method: 'GET', url: '/broken' });
  expect(answer.statusCode).toBe(500);
  expect(answer.json()).toMatchObject({ code: 'INTERNAL' });
  expect(answer.body).not.toContain('hunter2');
  expect(events).toEqual(['a request failed']);
});

test('answers 404 with a problem document', async () => {
  const { app } = await server([]);
  const answer = await app.inject({ method: 'GET', url: '/nothing/here?token=abc' });
  expect(answer.statusCode).toBe(404);
  expect(answer.json()).toMatchObject({ code: 'SERVICE_NOT_FOUND', detail: 'there is no GET /nothing/here' });
});

test('says why it is not ready, and lives all the same', async () => {
  const { app } = await server([]);
  expect((await app.inject('/health')).json()).toEqual({ status: 'ok' });
  const ready = await app.inject('/ready');
  expect(ready.statusCode).toBe(503);
  expect(ready.json()).toEqual({ ready: false, reasons: ['the database cannot be reached'] });
});

test('asks for the trigger token where one is set, and compares it as a whole', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'service-'));
  folders.push(folder);
  const triggerTokenFile = join(folder, 'token');
  writeFileSync(triggerTokenFile, 'correct-horse-battery\n');
  const { app } = await server([], { triggerTokenFile });
  const post = async (authorization?: string) =>
    await app.inject({
      method: 'POST',
      url: '/trigger',
      headers: { ...json, ...(authorization === undefined ? {} : { authorization }) },
      payload: { task: 'load' },
    });
  const without = await post();
  expect(without.statusCode).toBe(401);
  expect(without.headers['www-authenticate']).toBe('Bearer');
  for (const wrong of [
    'Bearer correct-horse-batter',
    'Bearer correct-horse-battery2',
    'Basic correct-horse-battery',
    'Bearer',
    '',
  ])
    expect((await post(wrong)).statusCode).toBe(401);
  // It gets as far as the queue, which is closed here.
  expect((await post('Bearer correct-horse-battery')).json()).toMatchObject({ code: 'SERVICE_SHUTTING_DOWN' });
});

test('refuses a trigger token that is too short to be one', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'service-'));
  folders.push(folder);
  const triggerTokenFile = join(folder, 'token');
  writeFileSync(triggerTokenFile, 'short');
  await expect(server([], { triggerTokenFile })).rejects.toMatchObject({ code: 'SETTING_INVALID' });
});

test.each([
  [{ task: 'load', options: { drill: true } }, 'options.drill means nothing for load'],
  [{ task: 'restore', tables: ['a', 'b'], options: { batch: '1' } }, 'restore takes exactly one table'],
  [{ task: 'restore', tables: ['a'] }, 'restore takes what is to come back'],
  [{ task: 'rm -rf' }, 'task'],
  [{ task: 'load', idempotencyKey: 'with blanks' }, 'idempotencyKey'],
  [{ task: 'load', config: '/etc/passwd' }, 'config'],
])('refuses the trigger %j', async (payload, detail) => {
  const { app } = await server([]);
  const answer = await app.inject({ method: 'POST', url: '/trigger', headers: json, payload });
  expect(answer.statusCode).toBe(400);
  expect(answer.body).toContain(detail);
});

test('the OpenAPI document has every route with what it asks for, and the page lists them', async () => {
  const { app } = await server([...apiRoutes, ...outboxRoutes, ...pageRoutes]);
  const document = (await app.inject('/openapi.json')).json();
  expect(document.openapi).toBe('3.1.0');
  const listed = Object.entries(document.paths as Record<string, Record<string, { 'x-access': string }>>).flatMap(
    ([path, methods]) =>
      Object.entries(methods).map(([method, operation]) => `${method} ${path} ${operation['x-access']}`),
  );
  const all = [...coreRoutes(openMetrics(), '', () => []), ...apiRoutes, ...outboxRoutes, ...pageRoutes];
  const expected = all.map(
    ({ method, path, access }) => `${method.toLowerCase()} ${path.replaceAll(/:(\w+)/g, '{$1}')} ${access}`,
  );
  expect(listed.toSorted()).toEqual(expected.toSorted());
  const page = await app.inject('/docs');
  expect(page.headers['content-security-policy']).toContain("default-src 'none'");
  for (const { path } of all) expect(page.body).toContain(path);
});

test('docs/service.md lists every route with what it asks for', () => {
  const text = readFileSync(join(import.meta.dirname, '../../../docs/service.md'), 'utf8');
  const all: readonly Route[] = [
    ...coreRoutes(openMetrics(), '1.2.3', () => []),
    ...apiRoutes,
    ...outboxRoutes,
    ...pageRoutes,
  ];
  const rows = text.split('\n').filter((line) => line.startsWith('| `'));
  for (const { method, path, access } of all) {
    const name = path.replaceAll(/:(\w+)/g, '{$1}');
    const api = name.startsWith('/api/v1/');
    const row = rows.find(
      (line) =>
        line.includes(`\`${method} ${api ? name.slice('/api/v1'.length) : name}\``) ||
        (!api && line.includes(`, \`${name}\``)),
    );
    expect(row, `${method} ${name}`).toBeDefined();
    const asked = row?.split(' | ')[1] ?? '';
    if (api && access !== 'public') expect(asked, name).toContain(access === 'table' ? 'table:NAME' : access);
  }
  const listed = rows.filter((line) =>
    /^\| `(?:GET|POST|PUT|DELETE) \/(?!trigger|health|ready|status|metrics|docs|`)/.test(line),
  );
  expect(listed).toHaveLength(all.filter(({ path }) => path.startsWith('/api/')).length);
});
