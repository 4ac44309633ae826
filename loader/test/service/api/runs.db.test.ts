import { expect, test } from 'vitest';
import { describeEachServer } from '../../../../test/servers.ts';
import type { RunView } from '../../../src/service/http/run-view.ts';
import { serve } from '../../http-server.ts';
import { csv } from '../../run-loader.ts';
import { type Answer, runIn, until } from '../run-service.ts';
import { type Api, ApiFolder, allEnded } from './api-kit.ts';

const runOf = (answer: Answer) => (answer.body as { run: RunView }).run;
const listOf = (answer: Answer) => answer.body as { items: Record<string, unknown>[]; next: string | null };

describeEachServer('runs by the API', (server) => {
  async function start(source = 'products.csv') {
    const schema = await server.createSchema();
    await schema.script('CREATE TABLE products (id INT PRIMARY KEY, name VARCHAR(40) NOT NULL)');
    const folder = new ApiFolder(schema, { load: [{ table: 'products', source }] });
    folder.folder.write('products.csv', csv(['id', 'name'], [[1, 'apple']]));
    return { schema, folder, api: await folder.ready() };
  }

  const begin = async (api: Api, body: object = { task: 'load' }, headers: Record<string, string> = {}) =>
    await api.request('operator', 'POST', '/api/v1/runs', body, headers);

  test('are started once for each idempotency key, listed in pages, and shown with what they said', async () => {
    const { schema, folder, api } = await start();
    const first = await begin(
      api,
      { task: 'load', tables: ['products'], options: { ifChanged: true } },
      { 'idempotency-key': 'one' },
    );
    expect(first).toMatchObject({
      status: 202,
      body: { known: false, run: { task: 'load', trigger: 'api', requestedBy: 'operator', target: 'file' } },
    });
    const same = await begin(api, {
      task: 'load',
      tables: ['products'],
      options: { ifChanged: true },
      idempotencyKey: 'one',
    });
    expect(same).toMatchObject({ status: 200, body: { known: true, run: { id: runOf(first).id } } });
    expect((await begin(api, { task: 'load' }, { 'idempotency-key': 'one' })).status).toBe(422);
    // Another client's key is another key.
    const other = await api.request('admin', 'POST', '/api/v1/runs', { task: 'load' }, { 'idempotency-key': 'one' });
    expect(other.status).toBe(202);
    await runIn(schema, runOf(other).id, 'done');
    folder.folder.write('products.csv', csv(['id', 'name'], [['x', 'apple']]));
    const bad = runOf(await begin(api)).id;
    await runIn(schema, bad, 'failed');
    const shown = runOf(await api.get('viewer', `/api/v1/runs/${bad}`));
    expect(shown).toMatchObject({ state: 'failed', attempt: 1, error: { code: 'LOAD_REJECTED' } });
    expect(shown.error?.message).toContain('products');
    expect(shown.error?.remedy).not.toBe('');

    const all = listOf(await api.get('viewer', '/api/v1/runs'));
    expect(all.items.map(({ id }) => id)).toEqual([bad, runOf(other).id, runOf(first).id]);
    expect(all.next).toBeNull();
    const pages: unknown[] = [];
    for (let before = '', page = 0; page < 5; page++) {
      const { items, next } = listOf(await api.get('viewer', `/api/v1/runs?limit=2${before}`));
      pages.push(...items.map(({ id }) => id));
      if (next === null) break;
      before = `&before=${next}`;
    }
    expect(pages).toEqual(all.items.map(({ id }) => id));
    const ids = async (query: string) =>
      listOf(await api.get('viewer', `/api/v1/runs?${query}`)).items.map(({ id }) => id);
    expect(await ids('state=failed')).toEqual([bad]);
    expect(await ids('task=archive')).toEqual([]);
    expect(await ids('trigger=api&task=load&state=done')).toEqual([runOf(other).id, runOf(first).id]);
    expect((await api.get('viewer', '/api/v1/runs/999999')).status).toBe(404);
  });

  test('are retried when they have ended, and a retry is a run of its own', async () => {
    const { schema, folder, api } = await start();
    folder.folder.write('products.csv', csv(['id', 'name'], [['x', 'apple']]));
    const bad = runOf(await begin(api)).id;
    await runIn(schema, bad, 'failed');
    folder.folder.write('products.csv', csv(['id', 'name'], [[1, 'apple']]));
    const headers = { 'idempotency-key': 'again' };
    const retried = await api.request('operator', 'POST', `/api/v1/runs/${bad}/retry`, undefined, headers);
    expect(retried).toMatchObject({
      status: 202,
      body: { run: { trigger: 'retry', retryOf: bad, requestedBy: 'operator' } },
    });
    const known = await api.request('operator', 'POST', `/api/v1/runs/${bad}/retry`, undefined, headers);
    expect(known).toMatchObject({ status: 200, body: { known: true, run: { id: runOf(retried).id } } });
    await runIn(schema, runOf(retried).id, 'done');
    expect(await schema.query('SELECT id FROM products')).toHaveLength(1);
    expect((await api.request('operator', 'POST', '/api/v1/runs/999999/retry')).status).toBe(404);
  });

  test('are cancelled, waiting ones at once and running ones at a safe point; what waits or runs is not retried', async () => {
    const { promise, resolve } = Promise.withResolvers<void>();
    await using source = await serve((_request, response) => {
      void promise.then(() => response.end(csv(['id', 'name'], [[1, 'apple']])));
    });
    const { schema, api } = await start(`${source.origin}/products.csv`);
    const running = runOf(await begin(api)).id;
    await runIn(schema, running, 'running');
    const waiting = runOf(await begin(api)).id;
    for (const id of [running, waiting])
      expect(await api.request('operator', 'POST', `/api/v1/runs/${id}/retry`)).toMatchObject({
        status: 409,
        body: { code: 'SERVICE_CONFLICT' },
      });
    const cancel = async (id: string) => await api.request('operator', 'POST', `/api/v1/runs/${id}/cancel`);
    expect(await cancel(waiting)).toMatchObject({ status: 202, body: { run: { state: 'cancelled' } } });
    expect((await cancel(running)).status).toBe(202);
    await runIn(schema, running, 'cancelled');
    resolve();
    expect(await schema.query('SELECT id FROM products')).toEqual([]);
    expect(await cancel(running)).toMatchObject({ status: 409, body: { code: 'SERVICE_CONFLICT' } });
    expect((await cancel('999999')).status).toBe(404);
  });

  test('leave a trail of who did what, which admins read in pages', async () => {
    const { schema, api } = await start();
    const run = runOf(await begin(api)).id;
    await runIn(schema, run, 'done');
    await api.request('admin', 'POST', `/api/v1/runs/${run}/retry`);
    await until('it is written', async () => listOf(await api.get('admin', '/api/v1/audit')).items.length >= 4);
    const all = listOf(await api.get('admin', '/api/v1/audit'));
    expect(all.items.map(({ actor, action }) => `${actor} ${action}`)).toEqual([
      ...['admin run.retry', 'admin token.issue', 'operator run.trigger', 'operator token.issue'],
    ]);
    expect(all.items[2]).toMatchObject({
      subject: `run ${run}`,
      details: { task: 'load', target: 'file', trigger: 'api' },
    });
    const one = listOf(await api.get('admin', '/api/v1/audit?limit=1&action=token.issue'));
    expect(one.items).toMatchObject([{ actor: 'admin' }]);
    const next = listOf(await api.get('admin', `/api/v1/audit?limit=1&action=token.issue&before=${one.next}`));
    expect(next).toMatchObject({ items: [{ actor: 'operator' }], next: null });
    expect(listOf(await api.get('admin', '/api/v1/audit?actor=operator')).items).toHaveLength(2);
    await allEnded(schema);
  });
});
