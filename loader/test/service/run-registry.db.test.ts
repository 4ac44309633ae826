import { setTimeout as delay } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { describeEachServer, type TestSchema, type TestServer } from '../../../test/servers.ts';
import { audit } from '../../src/service/audit.ts';
import type { RunEndHook, RunRequest, Targets } from '../../src/service/contracts.ts';
import { openRunQueue } from '../../src/service/run-queue.ts';
import {
  claimRun,
  endRun,
  findRun,
  openRegistry,
  openRuns,
  pruneHistory,
  renewLease,
  requeueRun,
  takeOverRun,
  writeProgress,
} from '../../src/service/run-registry.ts';
import type { RunRecord } from '../../src/service/run-types.ts';
import { openStateDatabase } from '../../src/service/state-database.ts';
import { coreTables, ensureTables } from '../../src/service/tables.ts';
import { stateDatabase } from './state-database.ts';

const by = { name: 'ada', roles: new Set(['operator'] as const) };
const load: RunRequest = {
  task: 'load',
  target: { kind: 'file' },
  tables: null,
  options: {},
  trigger: 'api',
  by,
  idempotencyKey: null,
};
const tables = { load: ['products'], archive: [], purge: [], restore: [], verify: [] };

async function scene(schema: TestSchema, endHooks: readonly RunEndHook[] = []) {
  const database = await stateDatabase(schema);
  const targets = { describe: async () => ({ databaseKey: 'here', tables }) } as unknown as Targets;
  const nobody = { closed: false, running: [], prepare: () => {}, queued: () => {}, ended: () => {}, wake: () => {} };
  const queue = openRunQueue({ database, targets, dispatcher: nobody, audit, endHooks, queueSize: 10, runAttempts: 3 });
  const order = async (request: Partial<RunRequest> = {}): Promise<RunRecord> => {
    const enqueued = await queue.enqueue({ ...load, ...request });
    if (enqueued.outcome !== 'queued') throw new Error(`it is ${enqueued.outcome}`);
    return enqueued.run;
  };
  const claimed = async (owner: string, request: Partial<RunRequest> = {}): Promise<RunRecord> => {
    const queued = await order(request);
    const run = await database.use((connection) => claimRun(connection, queued, owner));
    if (!run) throw new Error('it was not claimed');
    return run;
  };
  return { database, queue, order, claimed, [Symbol.asyncDispose]: () => database[Symbol.asyncDispose]() };
}

const error = { code: 'SERVICE_RUN_LOST', message: 'm', hint: 'h', exit: 1 };
const end = {
  state: 'done',
  summary: { outcome: 'done', seconds: 1, tables: [] },
  error: null,
  logTail: null,
} as const;
const loseLease = 'UPDATE tableset_service_runs SET lease_until = UTC_TIMESTAMP(6) - INTERVAL 1 SECOND';

describeEachServer('the registry of runs', (server: TestServer) => {
  test('of twenty who claim a run at once one gets it', async () => {
    await using the = await scene(await server.createSchema());
    const run = await the.order();
    const claims = await Promise.all(
      Array.from({ length: 20 }, (_, index) =>
        the.database.use((connection) => claimRun(connection, run, `r${index}`)),
      ),
    );
    expect(claims.filter((claim) => claim !== null)).toHaveLength(1);
    expect(await the.database.use((connection) => findRun(connection, run.id))).toMatchObject({
      state: 'running',
      attempt: 1,
    });
  });

  test('a stale token changes nothing', async () => {
    const schema = await server.createSchema();
    await using the = await scene(schema);
    const stale = await the.claimed('first');
    await the.database.use(async (connection) => {
      expect(await takeOverRun(connection, stale, 'second')).toBeNull();
      await schema.query(loseLease);
      const taken = await takeOverRun(connection, stale, 'second');
      expect(taken).toMatchObject({ owner: 'second', attempt: 1 });
      expect(await takeOverRun(connection, stale, 'third')).toBeNull();
      expect(await endRun(connection, stale, end)).toBeNull();
      expect(await requeueRun(connection, stale, { afterSeconds: 0, countsAsTry: true, error })).toBeNull();
      expect(await renewLease(connection, stale, 'job')).toBe(false);
      await writeProgress(connection, stale, {
        label: 'load',
        done: 1,
        total: 2,
        unit: 'rows',
        at: '2026-01-01T00:00:00Z',
      });
      expect(await findRun(connection, stale.id)).toEqual(taken);
      expect(taken && (await endRun(connection, taken, end))).toMatchObject({ state: 'done' });
      // An end is final.
      expect(taken && (await endRun(connection, taken, end))).toBeNull();
    });
  });

  test('a run that waits for another try is not due before its time, and one without a living owner is abandoned', async () => {
    const schema = await server.createSchema();
    await using the = await scene(schema);
    const run = await the.claimed('first');
    await the.database.use(async (connection) => {
      expect(await openRuns(connection, 10)).toMatchObject([{ run: { state: 'running' }, abandoned: false }]);
      await schema.query(loseLease);
      expect(await openRuns(connection, 10)).toMatchObject([{ abandoned: true }]);
      const again = await requeueRun(connection, run, { afterSeconds: 3600, countsAsTry: true, error });
      expect(again).toMatchObject({ state: 'queued', attempt: 1, error, owner: null });
      expect(await openRuns(connection, 10)).toMatchObject([
        { run: { state: 'queued' }, due: false, abandoned: false },
      ]);
      await schema.query('UPDATE tableset_service_runs SET not_before = UTC_TIMESTAMP(6)');
      expect(await openRuns(connection, 10)).toMatchObject([{ due: true }]);
      // A claim of what was queued under an older token is refused.
      expect(await claimRun(connection, run, 'first')).toBeNull();
    });
  });

  test('cancels what waits at once, asks what runs to stop, and leaves alone what has ended', async () => {
    const schema = await server.createSchema();
    const ends: string[] = [];
    await using the = await scene(schema, [
      async (_connection, run, result) => void ends.push(`${run.id} ${result.state}`),
    ]);
    const waiting = await the.order();
    expect(await the.queue.cancel(waiting.id, by)).toMatchObject({
      state: 'cancelled',
      error: { code: 'SERVICE_RUN_CANCELLED' },
    });
    expect(ends).toEqual([`${waiting.id} cancelled`]);
    const running = await the.claimed('first');
    const asked = await the.queue.cancel(running.id, by);
    expect(asked).toMatchObject({ state: 'running', token: running.token });
    expect(asked?.cancelRequestedAt).not.toBeNull();
    await the.database.use((connection) => endRun(connection, running, end));
    expect(await the.queue.cancel(running.id, by)).toBeNull();
    expect(await the.queue.cancel('999', by)).toBeNull();
    expect(
      await schema.query("SELECT subject FROM tableset_service_audit WHERE action = 'run.cancel' ORDER BY id"),
    ).toEqual([{ subject: `run ${waiting.id}` }, { subject: `run ${running.id}` }]);
  });

  test('an end and what is written along with it stand or fall together', async () => {
    const schema = await server.createSchema();
    await using the = await scene(schema, [
      async (connection) => {
        await connection.run(
          "INSERT INTO tableset_service_audit (at, actor, action, subject, details) VALUES (NOW(), 'hook', '', '', '{}')",
        );
        throw new Error('the hook fails');
      },
    ]);
    const run = await the.order();
    await expect(the.queue.cancel(run.id, by)).rejects.toThrow('the hook fails');
    expect(await the.database.use((connection) => findRun(connection, run.id))).toEqual(run);
    expect(await schema.query("SELECT id FROM tableset_service_audit WHERE actor = 'hook'")).toEqual([]);
  });

  test('retries only what has ended, with a run that names it', async () => {
    await using the = await scene(await server.createSchema());
    const run = await the.claimed('first', { tables: ['products'], options: { ifChanged: true } });
    expect(await the.queue.retry(run.id, by, null)).toBeNull();
    await the.database.use((connection) => endRun(connection, run, { ...end, state: 'failed', error }));
    const first = await the.queue.retry(run.id, by, 'once');
    expect(first).toMatchObject({
      outcome: 'queued',
      run: { retryOf: run.id, trigger: 'retry', tables: ['products'], options: { ifChanged: true }, attempt: 0 },
    });
    expect(await the.queue.retry(run.id, by, 'once')).toMatchObject({ outcome: 'known' });
    expect(await the.queue.retry('999', by, null)).toBeNull();
  });

  test('the same idempotency key of two askers stands for two runs', async () => {
    await using the = await scene(await server.createSchema());
    const mine = await the.order({ idempotencyKey: 'k' });
    const theirs = await the.order({ idempotencyKey: 'k', by: { name: 'bob', roles: new Set() } });
    expect(theirs.id).not.toBe(mine.id);
  });

  test('deletes ended runs and the audit trail past their time, and nothing else', async () => {
    const schema = await server.createSchema();
    await using the = await scene(schema);
    const old = await the.claimed('first');
    await the.database.use((connection) => endRun(connection, old, end));
    const recent = await the.claimed('first');
    await the.database.use((connection) => endRun(connection, recent, end));
    const open = await the.order();
    await schema.query('UPDATE tableset_service_runs SET finished_at = NOW() - INTERVAL 100 DAY WHERE id = ?', [
      old.id,
    ]);
    await schema.query('UPDATE tableset_service_runs SET created_at = NOW() - INTERVAL 100 DAY');
    await schema.query('UPDATE tableset_service_audit SET at = NOW() - INTERVAL 100 DAY WHERE subject = ?', [
      `run ${old.id}`,
    ]);
    expect(await the.database.use((connection) => pruneHistory(connection, 90))).toBe(2);
    const left = await openRegistry(the.database).list({ limit: 10 });
    expect(left.map(({ id }) => id)).toEqual([open.id, recent.id]);
  });

  test('an account that may not make tables needs none to be missing', async () => {
    const schema = await server.createSchema();
    await using the = await scene(schema);
    await server.query(`REVOKE ALL PRIVILEGES ON ${schema.name}.* FROM ${schema.user}@'%'`);
    await server.query(`GRANT SELECT, INSERT, UPDATE, DELETE ON ${schema.name}.* TO ${schema.user}@'%'`);
    // Sessions may keep the rights that they began with.
    await using narrow = openStateDatabase(() => settingsOf(schema), new AbortController().signal);
    await narrow.use((connection) => ensureTables(connection, coreTables));
    await schema.query('DROP TABLE tableset_service_audit');
    await expect(narrow.use((connection) => ensureTables(connection, coreTables))).rejects.toMatchObject({
      code: 'DATABASE_GRANT_MISSING',
    });
    expect(the.database.reachable).toBe(true);
  });

  test('lends a few connections, in turn, and throws away those that broke', async () => {
    const schema = await server.createSchema();
    await using the = await scene(schema);
    const ids = await Promise.all(
      Array.from({ length: 12 }, () =>
        the.database.use(async (connection) => {
          await delay(20);
          return connection.id;
        }),
      ),
    );
    expect(new Set(ids).size).toBeLessThanOrEqual(4);
    const killed = the.database.use(async (connection) => {
      await server.query(`KILL ${connection.id}`);
      await delay(50);
      await connection.run('DO 1');
    });
    await expect(killed).rejects.toMatchObject({ code: 'DATABASE_LOST' });
    expect(await the.database.use(async (connection) => connection.row('SELECT 1 AS one'))).toEqual({ one: '1' });
  });
});

function settingsOf({ environment, name, user, password }: TestSchema) {
  const { DB_HOST: host = '', DB_PORT: port } = environment;
  return {
    host,
    port: Number(port),
    user,
    password,
    name,
    tls: 'disable',
    tlsCaFile: undefined,
    waitSeconds: 5,
    singleWriter: false,
  } as const;
}
