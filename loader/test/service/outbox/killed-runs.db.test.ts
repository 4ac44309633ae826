import { expect, test } from 'vitest';
import { describeEachServer, type TestSchema, type TestServer } from '../../../../test/servers.ts';
import { serve } from '../../http-server.ts';
import { csv } from '../../run-loader.ts';
import { runIn, ServiceFolder, until } from '../run-service.ts';
import { type Receiver, receiver } from './receiver.ts';

const products = { table: 'products', source: 'products.csv' };
const prices = csv(['id', 'cents'], [[1, 30]]);

interface Shop {
  readonly schema: TestSchema;
  readonly hooks: Receiver;
  readonly folder: ServiceFolder;
}

async function shop(server: TestServer, sections: Readonly<Record<string, unknown>>): Promise<Shop> {
  const schema = await server.createSchema();
  await schema.script(
    'CREATE TABLE products (id INT PRIMARY KEY, name VARCHAR(40) NOT NULL); CREATE TABLE prices (id INT PRIMARY KEY, cents INT NOT NULL)',
  );
  const hooks = await receiver();
  const folder = new ServiceFolder(schema, {});
  folder.write('products.csv', csv(['id', 'name'], [[1, 'apple']]));
  folder.write('secret', 'a secret of sixteen bytes and more');
  const webhook = { url: hooks.origin, secretFile: `${folder.path}/secret`, allowHttp: true, timeoutSeconds: 2 };
  folder.configure({ ...sections, webhooks: [webhook] });
  return { schema, hooks, folder };
}

/** A source that answers when it is told to. */
async function gate(content: string) {
  const { promise, resolve } = Promise.withResolvers<void>();
  let asked = 0;
  const server = await serve((_request, response) => {
    asked++;
    void promise.then(() => response.writeHead(200, { 'content-length': Buffer.byteLength(content) }).end(content));
  });
  return { ...server, url: `${server.origin}/source.csv`, open: resolve, asked: () => asked };
}

/** Has the next service find the lease of every run over, and waits until what it tells has been told. */
async function takenOver({ schema, hooks, folder }: Shop, id: string, state: string, attempts: string) {
  await schema.query('UPDATE tableset_service_runs SET lease_until = UTC_TIMESTAMP(6) - INTERVAL 1 SECOND');
  await folder.ready({ RUN_ATTEMPTS: attempts });
  await runIn(schema, id, state);
  await until('nothing waits', async () => {
    const waiting = await schema.query("SELECT id FROM tableset_service_deliveries WHERE state = 'waiting'");
    return waiting.length === 0;
  });
  return hooks.told.map(({ body }) => JSON.parse(body));
}

/** Threads of the schema that wait for another's lock on a table. */
async function waiting(schema: TestSchema): Promise<readonly string[]> {
  const threads = await schema.query('SHOW PROCESSLIST');
  return threads
    .filter(({ db, State: state }) => db === schema.name && state === 'Waiting for table metadata lock')
    .map(({ Id: id }) => String(id));
}

/** What a run that was killed leaves behind goes with the next one; here there is none. */
async function sweep({ schema }: Shop): Promise<void> {
  const tables = await schema.query("SHOW TABLES LIKE 'tableset\\_stage\\_%'");
  for (const table of tables.flatMap((row) => Object.values(row))) await schema.script(`DROP TABLE ${String(table)}`);
}

describeEachServer('webhooks of a run that was killed', (server) => {
  for (const [attempts, state] of [
    ['1', 'failed'],
    ['3', 'done'],
  ] as const) {
    test(`tell of what it had published, once, with ${attempts} tries`, async () => {
      await using source = await gate(prices);
      const the = await shop(server, { load: [products, { table: 'prices', source: source.url }] });
      const { schema, folder } = the;
      const first = await folder.ready({ RUN_ATTEMPTS: attempts });
      const id = await first.trigger({ task: 'load' });
      await until('products is published', async () => (await schema.query('SELECT id FROM products')).length === 1);
      await until('the next source is asked', () => source.asked() > 0);
      first.kill('SIGKILL');
      await first.ended;
      expect(await schema.query('SELECT finished_at FROM tableset_runs')).toEqual([{ finished_at: null }]);
      source.open();
      const told = await takenOver(the, id, state, attempts);
      expect(told.map(({ table, event, inserted, run }) => ({ table, event, inserted, run }))).toEqual([
        { table: 'products', event: 'table.changed', inserted: 1, run: id },
        ...(state === 'done' ? [{ table: 'prices', event: 'table.changed', inserted: 1, run: id }] : []),
      ]);
      await sweep(the);
    });
  }

  test('tell nothing where it had published nothing', async () => {
    await using source = await gate(prices);
    const the = await shop(server, { load: [{ table: 'prices', source: source.url }] });
    const first = await the.folder.ready({ RUN_ATTEMPTS: '1' });
    const id = await first.trigger({ task: 'load' });
    await until('the source is asked', () => source.asked() > 0);
    first.kill('SIGKILL');
    await first.ended;
    source.open();
    expect(await takenOver(the, id, 'failed', '1')).toEqual([]);
    expect(await the.schema.query('SELECT id FROM prices')).toEqual([]);
    await sweep(the);
  });

  test('tell of a table that was swapped in and not yet written down, and not of one that was about to be', async () => {
    await using source = await gate(prices);
    const the = await shop(server, { load: [{ table: 'prices', source: source.url, publish: 'swap' }] });
    const { schema, folder } = the;
    for (const made of [true, false]) {
      await schema.script('DELETE FROM prices');
      // A swap is known by CREATE_TIME, which has whole seconds.
      const older =
        "SELECT 1 FROM information_schema.TABLES WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = 'prices' AND CREATE_TIME < NOW(0)";
      await until('the table is a second old', async () => (await schema.query(older)).length > 0);
      const first = await folder.ready({ RUN_ATTEMPTS: '1' });
      const id = await first.trigger({ task: 'load' });
      await until('the source is asked', () => source.asked() > 0);
      // Whoever writes the ledger's row of a table waits, or the swap itself.
      await using blocker = await schema.connect();
      await blocker.query(made ? 'LOCK TABLES tableset_tables WRITE' : 'START TRANSACTION');
      if (!made) await blocker.query('SELECT * FROM prices');
      source.open();
      const rows = made ? 1 : 0;
      const isThere = async () => (await schema.query('SELECT id FROM prices')).length === rows;
      // The service reads the ledger too, and waits then.
      await until(
        'it waits for the blocker',
        async () => (await waiting(schema)).length > 0 && (!made || (await isThere())),
      );
      first.kill('SIGKILL');
      await first.ended;
      // The server notices nothing while it waits, and would make the swap in the end.
      if (!made) for (const thread of await waiting(schema)) await server.query(`KILL ${thread}`);
      await blocker.query(made ? 'UNLOCK TABLES' : 'ROLLBACK');
      await blocker.end();
      // Of the first run alone, now and after the second.
      expect(await takenOver(the, id, 'failed', '1')).toMatchObject([{ id: '1:prices', inserted: 1 }]);
      expect(await isThere()).toBe(true);
      await sweep(the);
    }
  });

  test('tell of the batches that had gone from the table', async () => {
    const archive = await server.createSchema();
    const entry = { table: 'orders', dateColumn: 'created_at', archiveAfterDays: 30, store: 'cold' };
    const the = await shop(server, {
      archive: [entry],
      stores: { cold: { mysql: { name: archive.name } } },
      limits: { batchRows: 2, parallelBatches: 1 },
    });
    const { schema, folder } = the;
    await server.query(`GRANT ALL PRIVILEGES ON ${archive.name}.* TO ${schema.user}@'%'`);
    await schema.script(`CREATE TABLE orders (id INT PRIMARY KEY, created_at DATETIME NOT NULL, KEY (created_at)) ENGINE=InnoDB;
      INSERT INTO orders VALUES (1, '2020-01-01'), (2, '2020-01-02'), (3, '2020-01-03'), (4, '2020-01-04'), (5, UTC_TIMESTAMP())`);
    await using blocker = await schema.connect();
    await blocker.query('START TRANSACTION');
    await blocker.query('SELECT * FROM orders WHERE id = 4 FOR UPDATE');
    const first = await folder.ready({ RUN_ATTEMPTS: '2' });
    const id = await first.trigger({ task: 'archive' });
    await until('a batch has gone', async () => (await schema.query('SELECT id FROM orders')).length === 3);
    first.kill('SIGKILL');
    await first.ended;
    await blocker.query('ROLLBACK');
    await blocker.end();
    const told = await takenOver(the, id, 'done', '2');
    // Each row once: by the run that was killed, or by the next one.
    expect(told).toMatchObject([
      { event: 'table.archived', table: 'orders', deleted: 2, runId: '1' },
      { event: 'table.archived', table: 'orders', deleted: 2, runId: '2' },
    ]);
  });
});
