import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { describeEachServer, type TestSchema } from '../../../../test/servers.ts';
import { archiveServer } from '../../archive-two-server-kit.ts';
import { type S3Server, s3IsMissing, startS3Server } from '../../stores/s3-server.ts';
import { type Answer, runIn } from '../run-service.ts';
import { type Api, ApiFolder, orderEntry, orderShop } from './api-kit.ts';

const kinds = ['same server', 'mysql', 'parquet', 'jsonl', 'sqlite', 's3'] as const;
type Kind = (typeof kinds)[number];

interface Page {
  readonly table: string;
  readonly columns: readonly { readonly name: string; readonly type: string; readonly encoding: string }[];
  readonly items: readonly { readonly batch: string; readonly values: Readonly<Record<string, string | null>> }[];
  readonly next: string | null;
}

const pageOf = (answer: Answer): Page => {
  if (answer.status !== 200) throw new Error(`${answer.status}: ${JSON.stringify(answer.body)}`);
  return answer.body as Page;
};
const idsOf = (page: Page) => page.items.map(({ values }) => values['id']);

describeEachServer('archived rows by the API', (server) => {
  const other = archiveServer(server);
  let s3: S3Server;
  beforeAll(async () => {
    if (!s3IsMissing) s3 = await startS3Server();
  });
  afterAll(async () => await s3?.[Symbol.asyncDispose]());

  async function storeOf(kind: Kind, folder: ApiFolder, archive: TestSchema): Promise<unknown> {
    switch (kind) {
      case 'same server':
        return { mysql: { name: archive.name } };
      case 'mysql': {
        const far = await other.createSchema();
        const { DB_HOST: host, DB_PORT: port } = far.environment;
        folder.folder.write('password', far.password);
        const login = { host, port: Number(port), user: far.user, passwordFile: 'password', name: far.name };
        return { mysql: { ...login, acceptNotDurable: true } };
      }
      case 'parquet':
        return { filesystem: { path: 'cold' } };
      case 'jsonl':
        return { filesystem: { path: 'cold', format: 'jsonl', compression: 'gzip' } };
      case 'sqlite':
        return { sqlite: { path: 'cold.sqlite' } };
      case 's3':
        return { s3: { bucket: await s3.createBucket(), prefix: 'archive', ...s3.settings() } };
      default:
        return kind satisfies never;
    }
  }

  /** A shop whose old orders are archived in batches of two. */
  async function archived(kind: Kind = 'same server', entry: object = orderEntry) {
    const { schema, archive } = await orderShop(server);
    const folder = new ApiFolder(schema, { archive: [entry], stores: { cold: { mysql: { name: archive.name } } } });
    mkdirSync(join(folder.folder.path, 'cold'));
    folder.folder.configure({
      archive: [entry],
      stores: { cold: await storeOf(kind, folder, archive) },
      limits: { batchRows: 2, targetBatchSeconds: 60 },
    });
    const api = await folder.ready();
    await done(schema, await api.request('operator', 'POST', '/api/v1/runs', { task: 'archive' }));
    return { schema, archive, folder, api };
  }

  async function done(schema: TestSchema, answer: Answer): Promise<Record<string, unknown>> {
    if (answer.status !== 202) throw new Error(`${answer.status}: ${JSON.stringify(answer.body)}`);
    const row = await runIn(schema, (answer.body as { run: { id: string } }).run.id, 'done', 'failed');
    expect(row).toMatchObject({ state: 'done', error: null });
    return JSON.parse(String(row['summary'])) as Record<string, unknown>;
  }

  const get = async (api: Api, query: string, table = 'orders') =>
    pageOf(await api.get('all-reader', `/api/v1/archive/${table}${query}`));

  for (const kind of kinds) {
    const run = kind === 's3' && s3IsMissing ? test.skip : test;
    run(`are given page by page, every value as it was, from the store ${kind}`, async () => {
      const { api } = await archived(kind);
      const whole = await get(api, '');
      expect(whole.next).toBeNull();
      expect(whole.items.map(({ values }) => values)).toEqual([
        { id: '1', status: 'paid', total: '10.50', note: null, photo: '00FF', created_at: '2020-01-01 00:00:00.000' },
        {
          id: '2',
          status: 'open',
          total: '9.99',
          note: 'née Ω 🍏',
          photo: null,
          created_at: '2020-01-02 00:00:00.000',
        },
        { id: '3', status: 'paid', total: '100.00', note: '', photo: '', created_at: '2020-01-03 00:00:00.000' },
        { id: '10', status: 'paid', total: '7.00', note: 'a"b', photo: null, created_at: '2020-01-04 00:00:00.000' },
      ]);
      expect(new Set(whole.items.map(({ batch }) => batch)).size).toBe(2);
      expect(whole.columns.map(({ name, encoding }) => `${name} ${encoding}`)).toEqual([
        ...['id text', 'status text', 'total text', 'note text', 'photo hex', 'created_at text'],
      ]);
      // Whatever the size of a page, the rows are the same, each once and in the same order.
      for (const limit of [1, 2, 3]) {
        const rows: unknown[] = [];
        let cursor = '';
        for (let pages = 0; pages < 10; pages++) {
          const page = await get(api, `?limit=${limit}${cursor}`);
          expect(page.items.length).toBeLessThanOrEqual(limit);
          rows.push(...page.items);
          if (page.next === null) break;
          cursor = `&cursor=${page.next}`;
        }
        expect(rows, `pages of ${limit}`).toEqual(whole.items);
      }
      const items = await get(api, '?order_id=eq:1', 'order_items');
      expect(items.items.map(({ values }) => values)).toEqual([
        { order_id: '1', line: '1', product: 'apple' },
        { order_id: '1', line: '2', product: 'pear' },
      ]);
    });
  }

  test('are filtered by the type of the column, and refuse what it cannot be compared with', async () => {
    const { api } = await archived();
    const cases: readonly (readonly [string, readonly string[]])[] = [
      ['status=eq:paid', ['1', '3', '10']],
      ['status=eq:PAID', []],
      ['status=ne:paid', ['2']],
      ['status=in:open,void', ['2']],
      ['total=gt:9.99', ['1', '3']],
      ['total=gte:9.990', ['1', '2', '3']],
      ['total=lt:10', ['2', '10']],
      ['id=gt:2', ['3', '10']],
      ['id=gte:2&id=lt:10', ['2', '3']],
      ['id=in:1,10,99', ['1', '10']],
      ['created_at=lte:2020-01-02', ['1', '2']],
      ['created_at=eq:2020-01-03T00:00:00', ['3']],
      ['note=null:true', ['1']],
      ['note=null:false', ['2', '3', '10']],
      ['note=ne:x', ['2', '3', '10']],
      ['note=eq:', ['3']],
      ['photo=eq:00ff', ['1']],
      ['status=eq:paid&total=gt:50', ['3']],
      ['where.status=eq:open', ['2']],
      [`note=eq:${encodeURIComponent("x' OR '1'='1")}`, []],
    ];
    for (const [query, expected] of cases) expect(idsOf(await get(api, `?${query}`)), query).toEqual(expected);
    const faults: readonly (readonly [string, string])[] = [
      ['nothing=eq:1', 'nothing'],
      ['status=paid', 'status'],
      ['status=like:p%25', 'status'],
      ['status=gt:a', 'status'],
      ['id=eq:one', 'id'],
      ['total=gt:', 'total'],
      ['created_at=lt:yesterday', 'created_at'],
      ['photo=eq:xyz', 'photo'],
      ['note=null:maybe', 'note'],
      ['limit=0', 'limit'],
      ['limit=201', 'limit'],
      ['cursor=abc', 'cursor'],
      [`cursor=${Buffer.from('{"b":"1 OR 1=1","k":null}').toString('base64url')}`, 'cursor'],
      [`cursor=${Buffer.from('{"b":"0","k":null,"x":1}').toString('base64url')}`, 'cursor'],
      [`target=record:1' OR 1`, 'target'],
    ];
    for (const [query, place] of faults) {
      const answer = await api.get('admin', `/api/v1/archive/orders?${query}`);
      expect(answer, query).toMatchObject({
        status: 400,
        body: { code: 'SERVICE_REQUEST_INVALID', errors: [{ path: place }] },
      });
    }
    const [{ batch = '' } = {}] = (await get(api, '?limit=1')).items;
    const wide = Buffer.from(JSON.stringify({ b: batch, k: ['1', '2', '3'] })).toString('base64url');
    expect((await api.get('admin', `/api/v1/archive/orders?cursor=${wide}`)).status).toBe(400);
  });

  test('are those of batches whose rows have gone from the table, and go with their batch', async () => {
    const { schema, api } = await archived();
    const [first, second] = await schema.query("SELECT id FROM tableset_batches WHERE state = 'deleted' ORDER BY id");
    for (const state of ['copying', 'copied', 'verified', 'abandoned', 'purging', 'purged']) {
      await schema.query('UPDATE tableset_batches SET state = ? WHERE id = ?', [state, first?.['id']]);
      expect(idsOf(await get(api, '')), state).toEqual(['3', '10']);
    }
    await schema.query("UPDATE tableset_batches SET state = 'purged' WHERE id = ?", [second?.['id']]);
    expect(await get(api, '')).toMatchObject({ items: [], next: null });
  });

  test('are for the role of their table, of all tables, or admin', async () => {
    const { api } = await archived();
    const status = async (client: Parameters<Api['get']>[0], table: string) =>
      (await api.get(client, `/api/v1/archive/${table}`)).status;
    expect(await status('orders-reader', 'orders')).toBe(200);
    expect(await status('orders-reader', 'order_items')).toBe(403);
    expect(await status('all-reader', 'order_items')).toBe(200);
    expect(await status('admin', 'order_items')).toBe(200);
    expect(await status('operator', 'orders')).toBe(403);
    expect(await status('viewer', 'orders')).toBe(403);
  });

  test('section H: a name that is no table of the configuration leads nowhere', async () => {
    const { api } = await archived();
    const names = [
      'products',
      'ORDERS',
      'orders ',
      'orders`',
      'orders; DROP TABLE orders',
      "orders' OR '1'='1",
      'mysql.user',
      '../orders',
      '..%2F..%2Fetc%2Fpasswd',
      '%2e%2e',
      'orders%00',
      'orders/../order_items',
      'ｏrders',
      'order\u200Bs',
      '__proto__',
      'constructor',
      'tableset_runs',
      'x'.repeat(64),
    ];
    for (const name of names) {
      const path = name.includes('%') ? name : encodeURIComponent(name);
      for (const [method, suffix] of [
        ['GET', ''],
        ['POST', '/1'],
      ] as const) {
        const answer = await api.request('admin', method, `/api/v1/archive/${path}${suffix}`);
        expect(answer.status, `${method} ${name}`).toBe(404);
      }
    }
    expect((await api.get('admin', `/api/v1/archive/${'x'.repeat(65)}`)).status).toBe(400);
    expect((await api.get('admin', `/api/v1/archive/${'x'.repeat(600)}`)).status).toBe(400);
    // The role is compared with the very name that is looked for.
    expect((await api.get('orders-reader', '/api/v1/archive/orders%00')).status).toBe(403);
    expect((await api.get('orders-reader', '/api/v1/archive/ORDERS')).status).toBe(403);
    expect(idsOf(await get(api, ''))).toHaveLength(4);
  });
});
