import { expect, test } from 'vitest';
import { describeEachServer, type TestSchema } from '../../../../test/servers.ts';
import { archiveServer } from '../../archive-two-server-kit.ts';
import { csv, LoaderFolder } from '../../run-loader.ts';
import { type Answer, runIn } from '../run-service.ts';
import { type Api, ApiFolder, orderEntry, orderShop } from './api-kit.ts';

describeEachServer('archiving one row by the API', (server) => {
  const other = archiveServer(server);

  async function start(
    store: (archive: TestSchema) => Promise<unknown> = async ({ name }) => ({ mysql: { name } }),
    more: object = {},
    environment: Record<string, string> = {},
  ) {
    const { schema, archive } = await orderShop(server);
    const folder = new ApiFolder(schema, {
      archive: [orderEntry],
      stores: { cold: await store(archive) },
      // Shut all day but for a minute that is over or to come: for one row nobody waits for the night.
      limits: { window: `${minute(2)}-${minute(3)} UTC` },
      ...more,
    });
    return { schema, archive, folder, api: await folder.ready(environment) };
  }

  function minute(ahead: number): string {
    return new Date(Date.now() + ahead * 3_600_000).toISOString().slice(11, 16);
  }

  const archive = async (api: Api, key: string, headers: Record<string, string> = {}, table = 'orders') =>
    await api.request('operator', 'POST', `/api/v1/archive/${table}/${encodeURIComponent(key)}`, undefined, headers);

  const ended = async (schema: TestSchema, answer: Answer) => {
    expect(answer.status).toBe(202);
    return await runIn(schema, (answer.body as { run: { id: string } }).run.id, 'done', 'failed');
  };

  test('takes the row with its children whatever its age, and nothing else', async () => {
    const { schema, archive: cold, api } = await start();
    const answer = await archive(api, '11', { 'idempotency-key': 'order-11-done' });
    expect(answer.body).toMatchObject({
      run: { task: 'archive', trigger: 'event', options: { key: ['11'] }, requestedBy: 'operator' },
    });
    const row = await ended(schema, answer);
    expect(row).toMatchObject({ state: 'done', error: null, trigger: 'event' });
    expect(JSON.parse(String(row['summary']))).toMatchObject({
      tables: [
        { table: 'orders', matched: 1, archived: 1, deleted: 1 },
        { table: 'order_items', matched: 1, archived: 1, deleted: 1 },
      ],
    });
    // Rows that are old enough for the schedule stay for the schedule.
    expect((await schema.query('SELECT id FROM orders ORDER BY id')).map(({ id }) => id)).toEqual([1, 2, 3, 10, 12]);
    expect(await schema.query('SELECT order_id FROM order_items WHERE order_id = 11')).toEqual([]);
    expect(await cold.query('SELECT id FROM orders')).toEqual([{ id: 11 }]);
    // Once is once, whoever asks again.
    expect(await archive(api, '11', { 'idempotency-key': 'order-11-done' })).toMatchObject({
      status: 200,
      body: { known: true },
    });
    expect(await archive(api, '12', { 'idempotency-key': 'order-11-done' })).toMatchObject({ status: 422 });
    const again = await ended(schema, await archive(api, '11'));
    expect(JSON.parse(String(again['summary']))).toMatchObject({ tables: [{ table: 'orders', matched: 0 }, {}] });
    const page = await api.get('orders-reader', '/api/v1/archive/orders');
    expect(page.body).toMatchObject({ items: [{ values: { id: '11' } }], next: null });
  });

  test('a later load does not bring the row back, nor its children, though it takes what is new', async () => {
    const { schema, api } = await start();
    expect(await ended(schema, await archive(api, '11'))).toMatchObject({ state: 'done', error: null });
    const now = new Date().toISOString().slice(0, 19).replace('T', ' ');
    const folder = new LoaderFolder(
      schema,
      [
        { table: 'orders', source: 'orders.csv' },
        { table: 'order_items', source: 'items.csv' },
      ],
      {
        'orders.csv': csv(
          ['id', 'status', 'total', 'created_at'],
          [
            [11, 'void', '0.00', now],
            [13, 'paid', '1.00', now],
          ],
        ),
        'items.csv': csv(
          ['order_id', 'line', 'product'],
          [
            [11, 1, 'fig'],
            [13, 1, 'date'],
          ],
        ),
      },
    );
    for (const inserted of [1, 0]) {
      expect(await folder.load()).toMatchObject([
        { table: 'orders', inserted, held: 1 },
        { table: 'order_items', inserted, held: 1 },
      ]);
      expect(await schema.query('SELECT id FROM orders WHERE id > 10 ORDER BY id')).toEqual([{ id: 12 }, { id: 13 }]);
    }
    // Nor into a table that is empty, where a load compares nothing otherwise.
    await schema.script('DELETE FROM order_items; DELETE FROM orders');
    expect(await folder.load()).toMatchObject([
      { table: 'orders', inserted: 1, held: 1 },
      { table: 'order_items', inserted: 1, held: 1 },
    ]);
  });

  for (const far of [false, true]) {
    test(`does not tell loads that all rows of its age have gone, ${far ? 'two servers' : 'one server'}`, async () => {
      const cold = far ? await other.createSchema() : null;
      const { DB_HOST: host, DB_PORT: port } = cold?.environment ?? {};
      const login = { host, port: Number(port), user: cold?.user, passwordEnv: 'FAR_PASSWORD', name: cold?.name };
      const mysql = cold ? { ...login, acceptNotDurable: true } : null;
      const { schema, api } = await start(
        async ({ name }) => ({ mysql: mysql ?? { name } }),
        {},
        { FAR_PASSWORD: cold?.password ?? '' },
      );
      expect(await ended(schema, await archive(api, '12'))).toMatchObject({ state: 'done', error: null });
      expect(await schema.query('SELECT id FROM orders WHERE id = 12')).toEqual([]);
      expect(await schema.query("SELECT archived_before FROM tableset_tables WHERE table_name = 'orders'")).toEqual([
        { archived_before: null },
      ]);
    });
  }

  test('names rows by keys of several columns and of bytes, and refuses a key that cannot be one', async () => {
    const { schema, archive: cold } = await orderShop(server);
    await schema.script(`CREATE TABLE events (tenant VARCHAR(20) NOT NULL, id BINARY(2) NOT NULL, at DATE NOT NULL, PRIMARY KEY (tenant, id)) ENGINE=InnoDB;
      INSERT INTO events VALUES ('a,b', X'00FF', UTC_DATE()), ('a,b', X'0100', UTC_DATE()), ('c', X'00FF', UTC_DATE())`);
    const folder = new ApiFolder(schema, {
      archive: [
        { table: 'events', dateColumn: 'at', archiveAfterDays: 30, store: 'cold' },
        { ...orderEntry, enabled: false },
      ],
      stores: { cold: { mysql: { name: cold.name } } },
    });
    const api = await folder.ready();
    const row = await ended(schema, await archive(api, JSON.stringify(['a,b', '00ff']), {}, 'events'));
    expect(row).toMatchObject({ state: 'done', error: null });
    expect(await schema.query('SELECT tenant, HEX(id) AS id FROM events ORDER BY 1, 2')).toEqual([
      { tenant: 'a,b', id: '0100' },
      { tenant: 'c', id: '00FF' },
    ]);
    for (const key of ['a', '["a","00ff","x"]', '["a","not hex"]', "' OR 1=1 -- "]) {
      const failed = await ended(schema, await archive(api, key, {}, 'events'));
      expect(failed, key).toMatchObject({ state: 'failed', attempt: 1 });
      expect(JSON.parse(String(failed['error'])), key).toMatchObject({ code: 'SETTING_INVALID' });
    }
    for (const key of ['[', '[1]', '[]', '["a"']) expect((await archive(api, key, {}, 'events')).status, key).toBe(400);
    // A table that is not enabled is archived by nobody.
    expect((await archive(api, '1')).status).toBe(404);
    expect(await schema.query('SELECT id FROM orders')).toHaveLength(6);
    // And a run of the API cannot bring a key along.
    const smuggled = { task: 'archive', tables: ['events'], options: { key: ['c', '00ff'] } };
    expect((await api.request('admin', 'POST', '/api/v1/runs', smuggled)).status).toBe(400);
  });

  test('leaves a row on hold, and one that the conditions of the configuration leave out', async () => {
    const { schema, api } = await start(undefined, {
      archive: [{ ...orderEntry, where: [{ column: 'status', value: 'paid' }] }],
    });
    const open = await ended(schema, await archive(api, '2'));
    expect(JSON.parse(String(open['summary']))).toMatchObject({ tables: [{ matched: 0 }, {}] });
    await schema.query(
      `INSERT INTO tableset_holds (table_name, key_text, key_hash, reason, created_at) VALUES ('orders', '["3"]', UNHEX(SHA2('["3"]', 256)), 'case', UTC_TIMESTAMP(6))`,
    );
    const held = await ended(schema, await archive(api, '3'));
    expect(JSON.parse(String(held['summary']))).toMatchObject({
      tables: [{ matched: 1, archived: 0, skipped: { held: 1 } }, {}],
    });
    expect(await schema.query('SELECT id FROM orders')).toHaveLength(6);
  });
});
