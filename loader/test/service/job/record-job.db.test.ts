import { expect, test } from 'vitest';
import { describeEachServer } from '../../../../test/servers.ts';
import { ApiFolder, orderShop } from '../api/api-kit.ts';
import { runIn, runRow } from '../run-service.ts';
import { FakeCluster } from './fake-cluster.ts';

describeEachServer('a worker Job of an archival record', (server) => {
  /** A service with the API and workers on, and a record whose databases are both elsewhere, each with a password of its own. */
  async function start(keysOfWorkers: boolean) {
    const home = await server.createSchema();
    await home.script('CREATE TABLE products (id INT PRIMARY KEY)');
    const folder = new ApiFolder(home, { load: [{ table: 'products', source: 'products.csv' }] });
    const cluster = await FakeCluster.start();
    const { ENCRYPTION_KEY_FILE: keys = '' } = folder.environment();
    cluster.environment = {
      ...home.environment,
      CONFIG_FILE: `${folder.folder.path}/config.yaml`,
      DB_WAIT_SECONDS: '5',
      ...(keysOfWorkers ? { ENCRYPTION_KEY_FILE: keys } : {}),
    };
    const api = await folder.ready({ ...cluster.serviceEnvironment(), RUN_ATTEMPTS: '1' });
    const { schema, archive } = await orderShop(server);
    const { host, port } = server.address;
    const made = await api.request('admin', 'POST', '/api/v1/config/archival', {
      ...{ primary_db_host: host, primary_db_port: port, primary_db_name: schema.name },
      ...{ primary_db_user: schema.user, primary_db_password: schema.password },
      ...{ archival_db_host: host, archival_db_port: port, archival_db_name: archive.name },
      ...{ archival_db_user: archive.user, archival_db_password: archive.password },
      ...{ table_name: 'orders', date_column: 'created_at', archival_days: 30, deletion_days: 36_500 },
      children: ['order_items'],
    });
    expect(made.status).toBe(201);
    const { id: record } = made.body as { id: string };
    const order = { task: 'archive', target: `record:${record}` };
    const started = await api.request('operator', 'POST', '/api/v1/runs', order);
    expect(started.status).toBe(202);
    const { id } = (started.body as { run: { id: string } }).run;
    return { home, folder, cluster, api, schema, archive, record, id };
  }

  test('archives by what the record says, and no secret of it is in the Job, its log, the run or the service’s log', async () => {
    const { home, folder, cluster, api, schema, archive, record, id } = await start(true);
    const row = await runIn(home, id, 'done', 'failed');
    expect(row).toMatchObject({ state: 'done', error: null, target: `record:${record}` });
    expect(JSON.parse(String(row['summary']))).toMatchObject({
      tables: [
        { table: 'orders', archived: 4, deleted: 4 },
        { table: 'order_items', archived: 3, deleted: 3 },
      ],
    });
    expect(await schema.query('SELECT id FROM orders ORDER BY id')).toEqual([{ id: 11 }, { id: 12 }]);
    expect(await archive.query('SELECT id FROM orders')).toHaveLength(4);
    expect(cluster.made).toHaveLength(1);
    const job = JSON.stringify(cluster.made[0]);
    expect(job).toContain(`"args":["work","--run","${id}","--token","1"]`);
    const { environment } = schema;
    for (const word of [schema.name, archive.name, schema.user, 'order_items', environment['DB_PORT'] ?? ''])
      expect(job, word).not.toContain(word);
    const shown = JSON.stringify([
      job,
      await runRow(home, id),
      await api.get('admin', `/api/v1/runs/${id}`),
      await api.get('admin', '/api/v1/audit'),
      (await api.service.get('/status')).body,
      (await api.service.get('/metrics')).body,
      Array.from(cluster.jobs.values(), ({ log }) => log),
      api.service.log,
    ]);
    const keys = folder.encryptionKeys.map((line) => line.split(':')[1] ?? line);
    for (const secret of [schema.password, archive.password, home.password, folder.signingKey, ...keys])
      expect(shown.includes(secret), secret).toBe(false);
  });

  test('without the key that the passwords are sealed with fails by a code, and touches nothing', async () => {
    const { home, schema, id } = await start(false);
    const row = await runIn(home, id, 'done', 'failed');
    expect(row).toMatchObject({ state: 'failed' });
    expect(JSON.parse(String(row['error']))).toMatchObject({ code: 'SERVICE_ENCRYPTION_OFF' });
    expect(await schema.query('SELECT id FROM orders')).toHaveLength(6);
  });
});
