import { createHmac, timingSafeEqual } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import type { IncomingMessage } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { WebhookSettings } from '../src/config/schema.ts';
import { publicAddressGuard } from '../src/http/guarded-lookup.ts';
import type { TableChange } from '../src/webhooks/notice.ts';
import { openWebhooks, type WebhookContext } from '../src/webhooks/webhooks.ts';
import { serve, type TestHttpServer } from './http-server.ts';

let folder: string;
let stack: AsyncDisposableStack;
let warnings: string[];
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'webhooks-'));
  stack = new AsyncDisposableStack();
  warnings = [];
  await writeFile(join(folder, 'secret'), 'canary\n');
});
afterEach(async () => {
  await stack.disposeAsync();
  await rm(folder, { recursive: true });
});

interface Told {
  readonly body: string;
  readonly headers: IncomingMessage['headers'];
}

/** A receiver that keeps what it is told; `status` gives the answer to each request, counted from 1. */
async function receiver(status: (count: number) => number = () => 204): Promise<TestHttpServer & { told: Told[] }> {
  const told: Told[] = [];
  const server = stack.use(
    await serve((request, response, count) => {
      const parts: Buffer[] = [];
      request.on('data', (part: Buffer) => parts.push(part));
      request.on('end', () => {
        told.push({ body: Buffer.concat(parts).toString(), headers: request.headers });
        const code = status(count);
        if (code === 0) return;
        response
          .writeHead(code, code === 302 ? { location: '/elsewhere' } : { 'retry-after': '0' })
          .end('x'.repeat(10));
      });
    }),
  );
  return Object.assign(server, { told });
}

function change(table: string): TableChange {
  return { runId: 'run1', table, inserted: 1, updated: 2, deleted: 3, at: '2026-01-02T03:04:05.000Z' };
}

function open(url: string, more: Partial<WebhookSettings> = {}, context: Partial<WebhookContext> = {}) {
  const settings: WebhookSettings = {
    url: `${url}/path-canary`,
    secretFile: join(folder, 'secret'),
    allowHttp: true,
    timeoutSeconds: 1,
    attempts: 3,
    ...more,
  };
  return openWebhooks([settings], {
    warn: (message) => warnings.push(message),
    guard: null,
    timing: { retryDelayMs: 5 },
    ...context,
  });
}

const signal = () => AbortSignal.timeout(20_000);

test('a change is told once, signed over its time and its raw body', async () => {
  const server = await receiver();
  expect(
    await open(server.origin, {}, { timing: { now: () => 1_767_323_045_999 } }).tell([change('products')], signal()),
  ).toEqual([]);
  const [told] = server.told;
  expect(server.told).toHaveLength(1);
  expect(JSON.parse(told?.body ?? '')).toEqual({ id: 'run1:products', event: 'table.changed', ...change('products') });
  expect(told?.headers).toMatchObject({ 'content-type': 'application/json', 'tableset-event-id': 'run1:products' });
  const [, seconds = '', digest = ''] =
    /^t=(\d+),v1=([0-9a-f]{64})$/.exec(String(told?.headers['tableset-signature'])) ?? [];
  expect(seconds).toBe('1767323045');
  const expected = createHmac('sha256', 'canary').update(`${seconds}.${told?.body}`).digest();
  expect(timingSafeEqual(expected, Buffer.from(digest, 'hex'))).toBe(true);
  expect(warnings).toEqual(['a webhook is told over plain http']);
});

test('changes arrive in order, the next only after the one before was taken, and repetitions carry the same id and body', async () => {
  const server = await receiver((count) => (count === 1 || count === 2 ? 503 : 200));
  expect(await open(server.origin).tell([change('a'), change('b'), change('c')], signal())).toEqual([]);
  expect(server.told.map(({ headers }) => headers['tableset-event-id'])).toEqual([
    'run1:a',
    'run1:a',
    'run1:a',
    'run1:b',
    'run1:c',
  ]);
  expect(new Set(server.told.slice(0, 3).map(({ body }) => body)).size).toBe(1);
});

test('a receiver hears of its own tables alone', async () => {
  const server = await receiver();
  await open(server.origin, { tables: ['b'] }).tell([change('a'), change('b')], signal());
  expect(server.told.map(({ headers }) => headers['tableset-event-id'])).toEqual(['run1:b']);
});

describe('a receiver that fails', () => {
  test.each([
    ['with a fault of its own', 500, 3, 'it answered 500, 3 times'],
    ['by having too much to do', 429, 3, 'it answered 429, 3 times'],
    ['by refusing', 400, 2, 'it answered 400'],
    ['by a redirect, which is not followed', 302, 2, 'a redirect, which is not followed'],
    ['by silence', 0, 3, 'no answer within 100 ms'],
  ])('%s: a coded warning, and the tries are bounded', async (_name, status, requests, reason) => {
    const server = await receiver(() => status);
    const failed = await open(server.origin, { timeoutSeconds: status === 0 ? 0.1 : 1 }).tell(
      [change('a'), change('b')],
      signal(),
    );
    expect(failed[0]).toMatchObject({ code: 'WEBHOOK_FAILED', exit: 0, message: expect.stringContaining(reason) });
    // A refusal of one notice says nothing of the next; a receiver that is down is not waited for again.
    expect(failed).toHaveLength(requests === 2 ? 2 : 1);
    expect(server.requests).toHaveLength(requests);
    expect(JSON.stringify([failed.map(String), failed])).not.toContain('canary');
  });

  test('does not keep the others from being told', async () => {
    const bad = await receiver(() => 500);
    const good = await receiver();
    const settings = [bad, good].map(({ origin }) => ({
      url: origin,
      secretFile: join(folder, 'secret'),
      allowHttp: true,
      timeoutSeconds: 1,
      attempts: 2,
    }));
    const failed = await openWebhooks(settings, { warn: () => {}, guard: null, timing: { retryDelayMs: 5 } }).tell(
      [change('a')],
      signal(),
    );
    expect(failed).toHaveLength(1);
    expect(good.told).toHaveLength(1);
  });

  test('by not being there: the code says how', async () => {
    const server = await receiver();
    await server[Symbol.asyncDispose]();
    const failed = await open(server.origin).tell([change('a')], signal());
    expect(failed[0]?.message).toContain('ECONNREFUSED');
    expect(failed[0]?.message).toContain('3 times');
  });
});

test('a stop ends the telling without an error of its own', async () => {
  const server = await receiver(() => 503);
  const stop = new AbortController();
  setTimeout(() => stop.abort(new Error('stop')), 50);
  const failed = await open(
    server.origin,
    { attempts: 20 },
    { timing: { retryDelayMs: 60_000, retryDelayMsMax: 60_000 } },
  ).tell([change('a')], stop.signal);
  expect(failed[0]?.message).toContain('stopped');
});

test('an address that came in through an API is refused if it is not public', async () => {
  const server = await receiver();
  for (const url of [server.origin, server.origin.replace('127.0.0.1', 'localhost')]) {
    const failed = await open(url, {}, { guard: publicAddressGuard() }).tell([change('a')], signal());
    expect(failed[0]).toMatchObject({ code: 'WEBHOOK_ADDRESS_REFUSED' });
  }
  expect(server.requests).toHaveLength(0);
  expect(
    await open(server.origin, {}, { guard: publicAddressGuard(['127.0.0.1']) }).tell([change('a')], signal()),
  ).toEqual([]);
});

test.each([
  ['is missing', null],
  ['is empty', ''],
])('a secret that %s ends the run before it starts', async (_name, content) => {
  await rm(join(folder, 'secret'));
  if (content !== null) await writeFile(join(folder, 'secret'), content);
  expect(() => open('https://host.example')).toThrow(expect.objectContaining({ exit: 2 }));
});
