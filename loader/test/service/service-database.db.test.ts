import { connect, createServer, type Server, type Socket } from 'node:net';
import { expect, test } from 'vitest';
import { describeEachServer, type TestSchema } from '../../../test/servers.ts';
import { csv } from '../run-loader.ts';
import { runIn, ServiceFolder, until } from './run-service.ts';

/** A way to the database that can be closed and opened again. */
class Way implements AsyncDisposable {
  readonly #schema: TestSchema;
  readonly #sockets = new Set<Socket>();
  #server: Server | null = null;
  port = 0;

  constructor(schema: TestSchema) {
    this.#schema = schema;
  }

  async open(): Promise<void> {
    const { DB_HOST: host = '', DB_PORT: port } = this.#schema.environment;
    const server = createServer((client) => {
      const upstream = connect(Number(port), host);
      for (const [from, to] of [
        [client, upstream],
        [upstream, client],
      ] as const) {
        this.#sockets.add(from);
        from.on('error', () => {});
        from.on('close', () => {
          this.#sockets.delete(from);
          to.destroy();
        });
        from.pipe(to);
      }
    });
    await new Promise<void>((resolve) => server.listen(this.port, '127.0.0.1', resolve));
    const address = server.address();
    if (typeof address === 'object' && address !== null) this.port = address.port;
    this.#server = server;
  }

  async close(): Promise<void> {
    const server = this.#server;
    this.#server = null;
    for (const socket of this.#sockets) socket.destroy();
    if (server) await new Promise((resolve) => server.close(resolve));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}

describeEachServer('a service whose database is away', (server) => {
  test('lives, says that it is not ready, and begins as soon as the database is there', async () => {
    const schema = await server.createSchema();
    await schema.script('CREATE TABLE products (id INT PRIMARY KEY)');
    await using way = new Way(schema);
    await way.open();
    await way.close();
    const folder = new ServiceFolder(schema, { load: [{ table: 'products', source: 'products.csv' }] });
    folder.write('products.csv', csv(['id'], [[1]]));
    const service = await folder.start({ DB_HOST: '127.0.0.1', DB_PORT: String(way.port) });
    expect((await service.get('/health')).status).toBe(200);
    const ready = await service.get('/ready');
    expect(ready).toMatchObject({ status: 503, body: { reasons: ['the database cannot be reached'] } });
    expect(await service.post('/trigger', { task: 'load' })).toMatchObject({
      status: 503,
      body: { code: 'DATABASE_UNREACHABLE' },
    });
    expect(await service.status()).toMatchObject({ ready: false, runs: null, database: { reachable: false } });
    expect(String((await service.get('/metrics')).body)).toContain('tableset_database_reachable 0');

    await way.open();
    await until('it is ready', async () => (await service.get('/ready')).status === 200);
    await runIn(schema, await service.trigger({ task: 'load' }), 'done');

    await way.close();
    await until('it is not ready', async () => (await service.get('/ready')).status === 503);
    expect((await service.get('/health')).status).toBe(200);
    // It looks for work once a second.
    await until('it has looked for work in vain', async () => service.log.includes('the queue cannot be read'));
    await way.open();
    await until('it is ready again', async () => (await service.get('/ready')).status === 200);
    const id = await service.trigger({ task: 'load' });
    await runIn(schema, id, 'done');
    // The log says it once, not at each poll.
    expect(service.log.match(/the queue cannot be read/g)).toHaveLength(1);
    expect(service.log).toContain('the database is back');
    service.kill('SIGTERM');
    expect(await service.ended).toBe(0);
  });

  test('a run that loses its database is tried again when it is back, and ends once', async () => {
    const schema = await server.createSchema();
    await schema.script('CREATE TABLE products (id INT PRIMARY KEY)');
    await using way = new Way(schema);
    await way.open();
    const folder = new ServiceFolder(schema, { load: [{ table: 'products', source: 'products.csv' }] });
    folder.write('products.csv', csv(['id'], [[1]]));
    // RUN_MODE is the other way to start it.
    const environment = { DB_HOST: '127.0.0.1', DB_PORT: String(way.port), RUN_MODE: 'service' };
    const service = await folder.start(environment, []);
    await until('it is ready', async () => (await service.get('/ready')).status === 200);
    // The run waits for the table's rows to be free.
    const holder = await schema.connect();
    await holder.query('LOCK TABLES products WRITE');
    const id = await service.trigger({ task: 'load' });
    await until('the run is at work', () => service.log.includes('run started'));
    await runIn(schema, id, 'running');
    await way.close();
    await until('the loss is told', () => service.log.includes('the end of a run could not be written'));
    await holder.end();
    await way.open();
    const row = await runIn(schema, id, 'done');
    expect(Number(row['attempt'])).toBe(2);
    expect(await schema.query('SELECT id FROM products')).toHaveLength(1);
  });
});
