import { expect, test } from 'vitest';
import { describeEachServer, type TestSchema, type TestServer } from '../../../../test/servers.ts';
import { type Answer, type Problem, runIn, until } from '../run-service.ts';
import { type Api, ApiFolder, keyLine, orderShop } from './api-kit.ts';

const path = '/api/v1/config/archival';

/** A record whose databases are both named, with passwords. */
function recordOf(server: TestServer, schema: TestSchema, archive: TestSchema) {
  const { host, port } = server.address;
  return {
    primary_db_host: host,
    primary_db_port: port,
    primary_db_name: schema.name,
    primary_db_user: schema.user,
    primary_db_password: schema.password,
    archival_db_host: host,
    archival_db_port: port,
    archival_db_name: archive.name,
    archival_db_user: archive.user,
    archival_db_password: archive.password,
    table_name: 'orders',
    date_column: 'created_at',
    archival_days: 30,
    deletion_days: 36_500,
    children: ['order_items'],
  };
}

const bodyOf = (answer: Answer) => answer.body as Record<string, unknown>;
const etag = (version: number) => ({ 'if-match': `"${version}"` });

describeEachServer('archival records', (server) => {
  async function start(more: Readonly<Record<string, string>> = {}) {
    const home = await server.createSchema();
    await home.script('CREATE TABLE products (id INT PRIMARY KEY)');
    const folder = new ApiFolder(home, {
      load: [{ table: 'products', source: 'products.csv' }],
      stores: { files: { filesystem: { path: 'archive' } } },
    });
    folder.folder.write('archive/.keep', '');
    return { home, folder, api: await folder.ready(more) };
  }

  const create = async (api: Api, record: object) => await api.request('admin', 'POST', path, record);

  test('are made, read, replaced and deleted by version, with passwords sealed and never returned', async () => {
    const { home, folder, api } = await start();
    const { schema, archive } = await orderShop(server);
    const record = recordOf(server, schema, archive);
    const made = await create(api, record);
    expect(made.status).toBe(201);
    expect(made.headers.get('etag')).toBe('"1"');
    const id = String(bodyOf(made)['id']);
    expect(made.headers.get('location')).toBe(`${path}/${id}`);
    const { primary_db_password: _, archival_db_password: __, ...shown } = record;
    expect(bodyOf(made)).toMatchObject({
      ...shown,
      primary_db_password_set: true,
      archival_db_password_set: true,
      password_key_ids: ['2026-01'],
      enabled: true,
      created_by: 'admin',
    });
    expect((await api.get('viewer', `${path}/${id}`)).body).toEqual(made.body);
    expect(bodyOf(await api.get('viewer', path))).toEqual({ items: [made.body], next: null });

    // Without a password the old one stays; without If-Match, or with an old one, nothing is changed.
    const { primary_db_password: ___, archival_db_password: ____, ...rest } = record;
    const put = (body: object, headers: Record<string, string> = {}) =>
      api.request('admin', 'PUT', `${path}/${id}`, body, headers);
    expect(await put(rest)).toMatchObject({ status: 428, body: { code: 'SERVICE_PRECONDITION_REQUIRED' } });
    expect(await put(rest, { 'if-match': 'W/"1"' })).toMatchObject({ status: 400 });
    const changed = await put({ ...rest, archival_days: 60 }, etag(1));
    expect(changed).toMatchObject({ status: 200, body: { archival_days: 60, version: '2' } });
    expect(changed.headers.get('etag')).toBe('"2"');
    expect(await put(rest, etag(1))).toMatchObject({ status: 412, body: { code: 'SERVICE_PRECONDITION_FAILED' } });
    expect(bodyOf(changed)).toMatchObject({ primary_db_password_set: true, archival_db_password_set: true });
    // What GET gave can be sent back, less what only the service writes.
    const { items } = (await api.get('admin', path)).body as { items: Record<string, unknown>[] };
    const own = /^(?:id|version|created_|updated_|password_key_ids|.*_password_set)/;
    const back = Object.fromEntries(Object.entries(items[0] ?? {}).filter(([key]) => !own.test(key)));
    expect(await put(back, { 'if-match': '*' })).toMatchObject({
      status: 200,
      body: { version: '3', archival_days: 60 },
    });

    // Whoever changes the server cannot have the stored password sent there.
    for (const [key, value] of [
      ['primary_db_host', 'db.example'],
      ['primary_db_port', 3999],
      ['primary_db_user', 'root'],
      ['primary_db_tls', 'require'],
    ] as const) {
      const body = { ...rest, [key]: value };
      const answer = await put(body, etag(3));
      expect(answer.status, key).toBe(400);
    }
    expect(await put({ ...rest, primary_db_user: 'root' }, etag(3))).toMatchObject({
      body: { code: 'SERVICE_REQUEST_INVALID', errors: [{ path: 'primary_db_password' }] },
    });

    const [row] = await home.query('SELECT * FROM tableset_service_archival');
    const audit = await home.query("SELECT * FROM tableset_service_audit WHERE action LIKE 'archival.%' ORDER BY id");
    expect(audit).toMatchObject([
      { actor: 'admin', action: 'archival.create', subject: `archival ${id}` },
      { actor: 'admin', action: 'archival.update', subject: `archival ${id}` },
      { actor: 'admin', action: 'archival.update', subject: `archival ${id}` },
    ]);
    expect(JSON.parse(String(audit[1]?.['details']))).toMatchObject({ changed: ['archival_days'] });
    expect(JSON.parse(String(audit[2]?.['details']))).toMatchObject({ changed: [] });
    const everywhere = JSON.stringify([row, audit, made.body, changed.body, items]) + api.service.log;
    for (const secret of [schema.password, archive.password, ...folder.encryptionKeys])
      expect(everywhere).not.toContain(secret);
    expect(String(row?.['primary_password'])).toMatch(/^v1:2026-01:/);

    expect((await api.request('admin', 'DELETE', `${path}/${id}`, undefined, etag(2))).status).toBe(412);
    expect((await api.request('admin', 'DELETE', `${path}/${id}`)).status).toBe(428);
    expect((await api.request('admin', 'DELETE', `${path}/${id}`, undefined, etag(3))).status).toBe(204);
    for (const method of ['GET', 'DELETE'])
      expect((await api.request('admin', method, `${path}/${id}`, undefined, { 'if-match': '*' })).status).toBe(404);
  });

  test('are run as they stand, by the API and with passwords deciphered, and their archive can be read', async () => {
    const { home, api } = await start();
    const { schema, archive } = await orderShop(server);
    const id = String(bodyOf(await create(api, recordOf(server, schema, archive)))['id']);
    const order = { task: 'archive', target: `record:${id}` };
    const started = await api.request('operator', 'POST', '/api/v1/runs', order);
    expect(started).toMatchObject({
      status: 202,
      body: { run: { target: `record:${id}`, trigger: 'api', requestedBy: 'operator' } },
    });
    const run = (started.body as { run: { id: string } }).run.id;
    const row = await runIn(home, run, 'done', 'failed');
    expect(row).toMatchObject({ state: 'done', error: null });
    expect(await schema.query('SELECT id FROM orders ORDER BY id')).toEqual([{ id: 11 }, { id: 12 }]);
    expect(await archive.query('SELECT id FROM orders ORDER BY id')).toHaveLength(4);
    const page = await api.get('orders-reader', '/api/v1/archive/orders?status=eq:paid');
    expect((page.body as { items: { values: { id: string } }[] }).items.map(({ values }) => values.id)).toEqual([
      '1',
      '3',
      '10',
    ]);

    // A record that is not enabled is archived by nobody, and its archive can be read all the same.
    const { primary_db_password: _, archival_db_password: __, ...rest } = recordOf(server, schema, archive);
    await api.request('admin', 'PUT', `${path}/${id}`, { ...rest, enabled: false }, { 'if-match': '*' });
    expect(await api.request('operator', 'POST', '/api/v1/runs', order)).toMatchObject({ status: 400 });
    expect((await api.get('orders-reader', '/api/v1/archive/orders')).status).toBe(200);
  });

  test('section H: a password is in no answer, log line, figure or row, also where the server refuses it', async () => {
    const { home, api } = await start();
    const { schema, archive } = await orderShop(server);
    const canary = 'canary-of-a-record-4711';
    const wrong = {
      ...recordOf(server, schema, archive),
      primary_db_password: canary,
      archival_db_password: `${canary}-2`,
    };
    const id = String(bodyOf(await create(api, wrong))['id']);
    const answers: unknown[] = [];
    for (const task of ['archive', 'verify']) {
      const answer = await api.request('operator', 'POST', '/api/v1/runs', { task, target: `record:${id}` });
      const run = (answer.body as { run: { id: string } }).run.id;
      const row = await runIn(home, run, 'done', 'failed');
      expect(JSON.parse(String(row['error']))).toMatchObject({ code: 'DATABASE_ACCESS_DENIED' });
      answers.push(row, (await api.get('admin', `/api/v1/runs/${run}`)).body);
    }
    const page = await api.get('admin', '/api/v1/archive/orders');
    expect(page).toMatchObject({ status: 503, body: { code: 'DATABASE_ACCESS_DENIED' } });
    // Refused before it is stored.
    await create(api, { ...wrong, archival_days: -1, primary_db_password: `${canary}-3` });
    answers.push(page.body, (await api.get('admin', '/api/v1/audit')).body);
    for (const each of ['/status', '/metrics', '/openapi.json', '/docs'])
      answers.push((await api.service.get(each)).body);
    for (const table of ['runs', 'audit', 'archival'])
      answers.push(await home.query(`SELECT * FROM tableset_service_${table}`));
    expect(JSON.stringify(answers) + api.service.log).not.toContain(canary);
  });

  test('are checked by the rules of the configuration file, fault by fault', async () => {
    const { home, api } = await start();
    const good = { table_name: 'orders', date_column: 'created_at', archival_days: 30, store: 'files' };
    const faults: readonly (readonly [Record<string, unknown>, string])[] = [
      [{ ...good, table_name: '' }, 'table_name'],
      [{ ...good, table_name: 'x'.repeat(65) }, 'table_name'],
      [{ ...good, archival_days: -1 }, 'archival_days'],
      [{ ...good, archival_days: '30' }, 'archival_days'],
      [{ ...good, deletion_days: 29 }, 'deletion_days'],
      [{ ...good, date_zone: 'Europe/Nowhere' }, 'date_zone'],
      [{ ...good, delete_delay: 'soon' }, 'delete_delay'],
      [{ ...good, children: ['items', 'items'] }, 'children[1]'],
      [{ ...good, where: [{ column: 'status', operator: 'in', value: 'paid' }] }, 'where[0].value'],
      [{ ...good, where: [{ column: 'status', operator: "= 1 OR '1'", value: 'paid' }] }, 'where.0.operator'],
      [{ ...good, store: 'nowhere' }, 'store'],
      [{ ...good, archival_db_name: 'shop' }, 'store'],
      [{ ...good, store: null }, 'store'],
      [{ ...good, primary_db_name: 'shop' }, 'primary_db_name'],
      [{ ...good, primary_db_host: 'db.example' }, 'primary_db_name'],
      [{ ...good, primary_db_password: 'secret-of-nobody' }, 'primary_db_password'],
      [{ ...good, primary_db_host: 'db.example/../x', primary_db_name: 'a', primary_db_user: 'b' }, 'primary_db_host'],
      [{ ...good, archive_table: 'tableset_runs' }, 'archive_table'],
      [{ ...good, surprise: true }, 'surprise'],
      [{ ...good, id: '7' }, 'id'],
      [{ ...good, primary_password: 'x' }, 'primary_password'],
    ];
    for (const [record, place] of faults) {
      const answer = await create(api, record);
      expect(answer.status, JSON.stringify(record)).toBe(400);
      const { code, errors = [] } = answer.body as Problem;
      expect(code).toBe('SERVICE_REQUEST_INVALID');
      expect(
        errors.map((each) => each.path),
        JSON.stringify(record),
      ).toContain(place);
    }
    expect(await home.query('SELECT id FROM tableset_service_archival')).toEqual([]);
    expect(api.service.log).not.toContain('secret-of-nobody');
    // The service's own database, and a store of the file: nothing has to be sealed.
    expect((await create(api, good)).status).toBe(201);
    expect(await create(api, { ...good, archival_days: 60 })).toMatchObject({
      status: 409,
      body: { code: 'SERVICE_CONFLICT' },
    });
  });

  test('section H: name hosts that the operator allows, and no address of this machine or of a metadata service', async () => {
    const { folder, api } = await start();
    const record = (host: string) => ({
      table_name: 'orders',
      date_column: 'created_at',
      archival_days: 30,
      store: 'files',
      primary_db_host: host,
      primary_db_name: 'shop',
      primary_db_user: 'app',
    });
    const refused = async (to: Api, host: string) => {
      const answer = await create(to, record(host));
      expect(answer, host).toMatchObject({ status: 400, body: { code: 'SERVICE_HOST_REFUSED' } });
    };
    for (const host of ['169.254.169.254', 'fd00:ec2::254', '100.100.100.200', 'no-such-host.invalid'])
      await refused(api, host);
    api.service.kill('SIGTERM');
    await api.service.ended;
    const strict = await folder.ready({ ARCHIVAL_ALLOWED_HOSTS: '*.shop.example,10.1.2.3' });
    for (const host of ['192.168.1.1', 'shop.example', 'evil-shop.example', 'a.shop.example.evil'])
      await refused(strict, host);
    expect((await create(strict, record('10.1.2.3'))).status).toBe(201);
    expect((await create(strict, record('db.SHOP.example'))).status).toBe(201);
  });

  test('section H: passwords are sealed anew when a key comes, open nowhere else, and fail closed without their key', async () => {
    const { home, folder, api } = await start();
    const { schema, archive } = await orderShop(server);
    const id = String(bodyOf(await create(api, recordOf(server, schema, archive)))['id']);
    const sealed = async () =>
      (
        await home.query(
          'SELECT primary_password AS p, archival_password AS a FROM tableset_service_archival WHERE id = ?',
          [id],
        )
      )[0];
    const first = await sealed();
    const next = keyLine('2026-02');
    folder.folder.write('encryption.keys', `# the newest first\n${next}\n${folder.encryptionKeys.join('\n')}\n`);
    await until('it is sealed with the new key', async () => /^v1:2026-02:/.test(String((await sealed())?.['p'])));
    const second = await sealed();
    expect(String(second?.['a'])).toMatch(/^v1:2026-02:/);
    expect(bodyOf(await api.get('viewer', `${path}/${id}`))).toMatchObject({
      version: '1',
      password_key_ids: ['2026-02'],
    });
    // The old key may go now.
    folder.folder.write('encryption.keys', `${next}\n`);
    const start2 = async () => {
      const answer = await api.request('operator', 'POST', '/api/v1/runs', { task: 'verify', target: `record:${id}` });
      return await runIn(home, (answer.body as { run: { id: string } }).run.id, 'done', 'failed');
    };
    expect(await start2()).toMatchObject({ state: 'done' });

    // A sealed password that was copied to another place or put back from before opens nothing.
    for (const [column, text] of [
      ['primary_password', second?.['a']],
      ['primary_password', first?.['p']],
      ['primary_password', `${String(second?.['p']).slice(0, -6)}AAAAA=`],
    ] as const) {
      await home.query(`UPDATE tableset_service_archival SET ${column} = ? WHERE id = ?`, [text, id]);
      await until('the old key is gone', async () => {
        const row = await start2();
        return /SERVICE_SECRET_UNREADABLE/.test(String(row['error']));
      });
    }
  });
});
