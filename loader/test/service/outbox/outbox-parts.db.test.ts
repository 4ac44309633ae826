import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { ensureLedger, finishRun, startRun } from '@tableset/common/database/ledger.ts';
import { createOutput } from '@tableset/common/output/output.ts';
import { expect, onTestFinished, test } from 'vitest';
import { describeEachServer, type TestSchema } from '../../../../test/servers.ts';
import type { ConfigFile } from '../../../src/service/contracts.ts';
import { alone } from '../../../src/service/leadership.ts';
import { claimDelivery, dueHeads, endTry } from '../../../src/service/outbox/delivery-rows.ts';
import { type OutboxParts, openOutbox } from '../../../src/service/outbox/outbox.ts';
import { findReceiver, insertReceiver, urlPlace } from '../../../src/service/outbox/receiver-rows.ts';
import { outboxTables } from '../../../src/service/outbox/tables.ts';
import { writeEnd } from '../../../src/service/run-end.ts';
import { claimRun, findRun } from '../../../src/service/run-registry.ts';
import type { RunRecord, RunResult } from '../../../src/service/run-types.ts';
import { keyIdOf, parseKeyring } from '../../../src/service/security/keyring.ts';
import type { ConnectionPool } from '../../../src/service/state-database.ts';
import { ensureTables } from '../../../src/service/tables.ts';
import type { ServiceSettings } from '../../../src/settings-service.ts';
import { keyLine } from '../api/api-kit.ts';
import { until } from '../run-service.ts';
import { serviceSettings } from '../service-settings.ts';
import { stateDatabase } from '../state-database.ts';
import { type Receiver, receiver } from './receiver.ts';

const output = createOutput({ program: 'test', level: 'error', json: true, report: false, terminal: false });

interface Scene extends AsyncDisposable {
  readonly database: ConnectionPool;
  readonly folder: string;
  /** A run of another database than the ledger's, so that its summary is what counts, claimed. */
  run(): Promise<RunRecord>;
  open(settings?: Partial<ServiceSettings>, more?: Partial<OutboxParts>): ReturnType<typeof openOutbox>;
}

async function scene(schema: TestSchema, hooks: Receiver | null): Promise<Scene> {
  const database = await stateDatabase(schema);
  await database.use((connection) => ensureTables(connection, outboxTables));
  const folder = mkdtempSync(join(tmpdir(), 'outbox-'));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  writeFileSync(join(folder, 'secret'), 'a secret of the file');
  const file = hooks && {
    url: hooks.origin,
    secretFile: join(folder, 'secret'),
    allowHttp: true,
    timeoutSeconds: 2,
    attempts: 1,
  };
  // Nothing else of it is read here.
  const configFile = { current: { config: { webhooks: file ? [file] : [] } } } as unknown as ConfigFile;
  return {
    database,
    folder,
    async run() {
      await schema.query(
        "INSERT INTO tableset_service_runs (task, target, database_key, options, `trigger`, requested_by, request_hash, state, attempt, attempts_max, token, created_at, not_before) VALUES ('load', 'file', 'elsewhere:3306/shop', '{}', 'api', 'ada', '', 'queued', 0, 3, 0, UTC_TIMESTAMP(6), UTC_TIMESTAMP(6))",
      );
      const [row] = await schema.query('SELECT MAX(id) AS id FROM tableset_service_runs');
      return await database.use(async (connection) => {
        const queued = await findRun(connection, String(row?.['id']));
        const claimed = queued && (await claimRun(connection, queued, 'me'));
        if (!claimed) throw new Error('it cannot be claimed');
        return claimed;
      });
    },
    open(settings = {}, more = {}) {
      const given = serviceSettings({ webhookRetrySeconds: 0, ...settings });
      return openOutbox({ settings: given, database, configFile, leadership: alone('me'), output, ...more });
    },
    [Symbol.asyncDispose]: () => database[Symbol.asyncDispose](),
  };
}

function done(...tables: readonly string[]): RunResult {
  const counts = tables.map((table) => ({ table, read: 1, inserted: 1, updated: 0, deleted: 0, unchanged: 0 }));
  return { state: 'done', summary: { outcome: 'done', seconds: 1, tables: counts } };
}

async function rows(schema: TestSchema) {
  return await schema.query('SELECT table_name, state, attempts, reason FROM tableset_service_deliveries ORDER BY id');
}

describeEachServer('parts of the outbox', (server) => {
  test('a notice stands exactly if the end of its run does, and once', async () => {
    const schema = await server.createSchema();
    await using there = await scene(schema, await receiver());
    await using outbox = there.open();
    const run = await there.run();
    const write = there.database.transaction(async (connection) => {
      await outbox.hook(connection, run, done('a'));
      throw new Error('the end was not written');
    });
    await expect(write).rejects.toThrow('the end was not written');
    expect(await rows(schema)).toEqual([]);
    for (let time = 0; time < 2; time++)
      await there.database.transaction((connection) => outbox.hook(connection, run, done('a', 'b')));
    expect(await rows(schema)).toMatchObject([
      { table_name: 'a', state: 'waiting' },
      { table_name: 'b', state: 'waiting' },
    ]);
  });

  test('what a try changed is told of although the run goes back into the queue', async () => {
    const schema = await server.createSchema();
    const hooks = await receiver();
    await using there = await scene(schema, hooks);
    await using outbox = there.open();
    outbox.start();
    const run = await there.run();
    const { summary } = done('a') as Extract<RunResult, { state: 'done' }>;
    const error = { code: 'DATABASE_LOST', message: 'm', hint: 'h', exit: 1 };
    const parts = { database: there.database, endHooks: [outbox.hook], runRetrySeconds: 60, output };
    expect(await writeEnd(parts, run, { state: 'failed', error, summary })).toMatchObject({ kind: 'queued' });
    await until('it is told of', () => hooks.told.length === 1);
  });

  test('what a try had counted before it was cut off is told of at the end of the next, once', async () => {
    const schema = await server.createSchema();
    const hooks = await receiver();
    await using there = await scene(schema, hooks);
    await using outbox = there.open();
    outbox.start();
    const claimed = await there.run();
    const run = { ...claimed, databaseKey: there.database.key };
    const other = { table: 'b', inserted: 1, updated: 0, deleted: 0 };
    await there.database.use(async (connection) => {
      await ensureLedger(connection);
      for (const [kind, trigger, counts] of [
        ['load', 'service', [{ table: 'a', inserted: 2, updated: 0, deleted: 0 }]],
        ['load', 'service', [{ table: 'a', inserted: 0, updated: 0, deleted: 0 }]],
        ['load', 'cli', [other]],
        ['archive', 'service', [other]],
      ] as const) {
        const id = await startRun(connection, { kind, trigger, version: '1' });
        await finishRun(connection, id, { outcome: 'done', counts });
      }
    });
    for (let time = 0; time < 2; time++)
      await there.database.transaction((connection) => outbox.hook(connection, run, { state: 'stopped' }));
    await until('it is told of', () => hooks.told.length > 0);
    await until('nothing waits', async () => (await rows(schema)).every(({ state }) => state === 'told'));
    expect(hooks.told.map(({ id, body }) => [id, JSON.parse(body)])).toMatchObject([
      ['1:a', { table: 'a', inserted: 2 }],
    ]);
  });

  test('what a killed run archived, purged or restored is told of by what it left in the ledger', async () => {
    const schema = await server.createSchema();
    await using there = await scene(schema, await receiver());
    await using outbox = there.open();
    const claimed = await there.run();
    await there.database.use(async (connection) => {
      await ensureLedger(connection);
      const batch = async (id: number, state: string, tables: readonly object[], when = 'UTC_TIMESTAMP(6)') =>
        await connection.run(
          `INSERT INTO tableset_batches (id, run_id, table_name, store, state, token, cutoff, manifest, created_at, changed_at) VALUES (?, 1, 'orders', 'cold', ?, 1, UTC_TIMESTAMP(6), ?, ${when}, ${when})`,
          [id, state, JSON.stringify({ format: 99, tables })],
        );
      const hold =
        'INSERT INTO tableset_holds (table_name, reason, created_at, run_id) VALUES (?, ?, UTC_TIMESTAMP(6), ?)';
      await batch(1, 'deleted', [{ table: 'orders', rows: 100 }], 'UTC_TIMESTAMP(6) - INTERVAL 1 HOUR');
      for (const kind of ['archive', 'purge', 'restore', 'verify']) {
        const id = await startRun(connection, { kind, trigger: 'service', version: '1' });
        if (kind === 'archive') {
          await batch(2, 'deleted', [
            { table: 'orders', rows: 2 },
            { table: 'items', rows: 5 },
          ]);
          await batch(3, 'deleted', [
            { table: 'orders', rows: 3 },
            { table: 'items', rows: 0 },
          ]);
          await batch(4, 'verified', [{ table: 'orders', rows: 50 }]);
        }
        if (kind === 'purge') await batch(5, 'purged', [{ table: 'orders', rows: 7 }]);
        if (kind === 'restore')
          for (let row = 0; row < 2; row++) await connection.run(hold, ['orders', 'restored', id]);
      }
      // As the next run finds them; what it does itself is its own.
      const next = await startRun(connection, { kind: 'archive', trigger: 'service', version: '1' });
      await batch(6, 'deleted', [{ table: 'orders', rows: 60 }]);
      await finishRun(connection, next, { outcome: 'done', counts: [] });
    });
    for (const task of ['archive', 'purge', 'restore', 'verify'] as const) {
      const run = { ...claimed, task, databaseKey: there.database.key };
      for (let time = 0; time < 2; time++)
        await there.database.transaction((connection) => outbox.hook(connection, run, { state: 'stopped' }));
    }
    const told = await schema.query('SELECT body FROM tableset_service_deliveries ORDER BY id');
    expect(told.map(({ body }) => JSON.parse(String(body)))).toMatchObject([
      { id: '1:orders', event: 'table.archived', inserted: 0, updated: 0, deleted: 5 },
      { id: '1:items', event: 'table.archived', deleted: 5 },
      { id: '2:orders', event: 'table.purged', inserted: 0, updated: 0, deleted: 7 },
      { id: '3:orders', event: 'table.restored', inserted: 2, updated: 0, deleted: 0 },
    ]);
  });

  test('a purge that removed batches is told of', async () => {
    const schema = await server.createSchema();
    await using there = await scene(schema, await receiver());
    await using outbox = there.open();
    const run = { ...(await there.run()), task: 'purge' } as const;
    const tables = [{ table: 'orders', matched: 5, purged: 3, skipped: { held: 2 } }];
    const result: RunResult = { state: 'done', summary: { outcome: 'done', seconds: 1, tables } };
    await there.database.transaction((connection) => outbox.hook(connection, run, result));
    const [told] = await schema.query('SELECT body FROM tableset_service_deliveries');
    expect(JSON.parse(String(told?.['body']))).toMatchObject({ event: 'table.purged', table: 'orders', deleted: 3 });
  });

  test('one receiver is told in order, and two replicas that both think they lead tell each notice once', async () => {
    const schema = await server.createSchema();
    const hooks = await receiver((count) => hooks.answer(count <= 2 ? 503 : 204));
    await using there = await scene(schema, hooks);
    await using one = there.open();
    await using two = there.open();
    one.start();
    two.start();
    const run = await there.run();
    await there.database.transaction((connection) => one.hook(connection, run, done('a', 'b', 'c', 'd')));
    two.wake();
    await until('all are told', async () => (await rows(schema)).filter(({ state }) => state === 'told').length === 4);
    await delay(300);
    expect(hooks.told.map(({ body }) => JSON.parse(body).table)).toEqual(['a', 'a', 'a', 'b', 'c', 'd']);
  });

  test('a notice is claimed once, and whoever lost it changes nothing', async () => {
    const schema = await server.createSchema();
    await using there = await scene(schema, await receiver());
    await using outbox = there.open();
    const run = await there.run();
    await there.database.transaction((connection) => outbox.hook(connection, run, done('a')));
    await there.database.use(async (connection) => {
      const [head] = await dueHeads(connection);
      if (!head) throw new Error('nothing is due');
      const claimed = await claimDelivery(connection, head, 30);
      expect(claimed).toMatchObject({ attempts: 1 });
      expect(await claimDelivery(connection, head, 30)).toBe(null);
      expect(await dueHeads(connection)).toEqual([]);
      await endTry(connection, head, { outcome: 'dead', reason: 'late' });
      expect(await rows(schema)).toMatchObject([{ state: 'waiting', attempts: 1 }]);
    });
  });

  test('a refusal is a dead letter at once and keeps nothing else from being told', async () => {
    const schema = await server.createSchema();
    const hooks = await receiver((count) => hooks.answer(count === 1 ? 410 : 204));
    await using there = await scene(schema, hooks);
    await using outbox = there.open();
    outbox.start();
    const run = await there.run();
    await there.database.transaction((connection) => outbox.hook(connection, run, done('a', 'b')));
    await until('both have ended', async () => (await rows(schema)).every(({ state }) => state !== 'waiting'));
    expect(await rows(schema)).toMatchObject([
      { table_name: 'a', state: 'dead', attempts: 1, reason: 'it answered 410' },
      { table_name: 'b', state: 'told' },
    ]);
  });

  test('a try that a stop cuts off does not count', async () => {
    const schema = await server.createSchema();
    const hooks = await receiver();
    hooks.answer(0);
    await using there = await scene(schema, hooks);
    const outbox = there.open();
    outbox.start();
    const run = await there.run();
    await there.database.transaction((connection) => outbox.hook(connection, run, done('a')));
    await until('it is being told', () => hooks.told.length === 1);
    await outbox[Symbol.asyncDispose]();
    expect(await rows(schema)).toMatchObject([{ state: 'waiting', attempts: 0 }]);
  });

  test('a resolver that changes its mind leads nowhere: each try looks once, at every address, and goes to none that is not public', async () => {
    const schema = await server.createSchema();
    const hooks = await receiver();
    await using there = await scene(schema, null);
    const keys = keyLine('k1');
    writeFileSync(join(there.folder, 'keys'), keys);
    const url = new URL(hooks.origin.replace('127.0.0.1', 'rebinding.example').replace('http:', 'https:'));
    await there.database.use((connection) =>
      insertReceiver(
        connection,
        { url, secret: 's', tables: null, timeoutSeconds: 1, by: 'ada' },
        parseKeyring(keys, 'keys'),
      ),
    );
    const asked: string[] = [];
    // A public address first, as a check would want it, then this machine, alone and beside a public one.
    const answers = [['192.88.98.1'], ['127.0.0.1'], ['8.8.8.8', '::ffff:127.0.0.1'], []];
    const resolve = async (name: string) => {
      const addresses = answers[asked.push(name) - 1] ?? [];
      return addresses.map((address) => ({ address, family: address.includes(':') ? 6 : 4 }));
    };
    await using outbox = there.open({ encryptionKeyFile: join(there.folder, 'keys') }, { resolve });
    outbox.start();
    const run = await there.run();
    await there.database.transaction((connection) => outbox.hook(connection, run, done('a', 'b', 'c')));
    const after = async () => (await rows(schema)).filter(({ state }) => state === 'waiting').length === 0;
    await until('all have ended', after);
    expect(
      (await rows(schema)).map(({ state, reason }) => [state, String(reason).includes('not a public address')]),
    ).toEqual(Array.from({ length: 3 }, () => ['dead', true]));
    expect(asked).toEqual(Array.from({ length: 4 }, () => 'rebinding.example'));
    expect(hooks.told).toEqual([]);
  });

  test('what is stored is sealed anew with the newest key', async () => {
    const schema = await server.createSchema();
    await using there = await scene(schema, null);
    const [old, young] = [keyLine('old'), keyLine('young')];
    const file = join(there.folder, 'keys');
    const url = new URL('https://127.0.0.1:9/');
    const id = await there.database.use((connection) =>
      insertReceiver(
        connection,
        { url, secret: 's', tables: null, timeoutSeconds: 1, by: 'ada' },
        parseKeyring(old, 'keys'),
      ),
    );
    writeFileSync(file, `${young}\n${old}\n`);
    await using outbox = there.open({ encryptionKeyFile: file });
    outbox.start();
    const sealed = async () => await there.database.use((connection) => findReceiver(connection, id ?? ''));
    await until('it is sealed anew', async () => keyIdOf((await sealed())?.sealedUrl ?? '') === 'young');
    const { sealedUrl = '' } = (await sealed()) ?? {};
    expect(parseKeyring(young, 'keys').open(sealedUrl, urlPlace(id ?? ''))).toBe('https://127.0.0.1:9/');
  });
});
