import { expect, test } from 'vitest';
import { describeEachServer, type TestSchema, type TestServer } from '../../../test/servers.ts';
import type { ConfigFile, RunQueue, RunRequest } from '../../src/service/contracts.ts';
import { alone } from '../../src/service/leadership.ts';
import { readSchedules, Scheduler } from '../../src/service/schedules.ts';
import { serviceSettings } from './service-settings.ts';
import { stateDatabase } from './state-database.ts';

const output = { terminal: false, json: false, event: () => {}, progress: () => {}, finish: () => {} };

/** A scheduler over a real ledger, with a clock that the test turns and a queue that only notes what it is given. */
async function scene(
  schema: TestSchema,
  options: { loadCron?: string; missedRunSeconds?: number; jitter?: number } = {},
) {
  const database = await stateDatabase(schema);
  const taken: RunRequest[] = [];
  const clock = { ms: 0, outcome: 'known' as 'known' | 'full' };
  // The configuration loads something and archives nothing.
  const config = { load: [{ table: 'products' }], archive: [] } as unknown as ConfigFile['current']['config'];
  const configFile = { current: { config }, problem: null, onChange: () => {} } as unknown as ConfigFile;
  const queue: Pick<RunQueue, 'enqueue'> = {
    enqueue: async (order) => {
      if (clock.outcome === 'full') return { outcome: 'full', retryAfterSeconds: 1 };
      taken.push(order);
      // What the run is, nobody here asks.
      return { outcome: 'queued', run: {} as never };
    },
  };
  const { loadCron = '0 * * * *', missedRunSeconds = 3600, jitter: jitterSeconds = 0 } = options;
  const start = () =>
    new Scheduler({
      schedules: readSchedules(serviceSettings({ loadCron, archiveCron: 'off', purgeCron: 'off' })),
      database,
      configFile,
      targets: { all: async () => [{ kind: 'file' }] } as never,
      queue,
      leadership: alone('test'),
      jitterSeconds,
      missedRunSeconds,
      now: () => clock.ms,
      output,
    });
  const at = (time: string) => {
    clock.ms = Date.parse(`2026-07-01T${time}Z`);
  };
  const keys = () => taken.map(({ idempotencyKey }) => idempotencyKey);
  return { start, at, keys, taken, clock, [Symbol.asyncDispose]: () => database[Symbol.asyncDispose]() };
}

describeEachServer('schedules', (server: TestServer) => {
  test('queue a run when it is due, once, under a key that is its time', async () => {
    await using the = await scene(await server.createSchema());
    using scheduler = the.start();
    the.at('00:30:00');
    await scheduler.look();
    expect(the.keys()).toEqual([]);
    the.at('01:00:00');
    await scheduler.look();
    await scheduler.look();
    the.at('01:59:59');
    await scheduler.look();
    expect(the.keys()).toEqual(['load:file:2026-07-01T01:00:00.000Z']);
    expect(the.taken[0]).toMatchObject({ trigger: 'schedule', task: 'load', tables: null });
    the.at('02:00:01');
    await scheduler.look();
    expect(the.keys()).toHaveLength(2);
  });

  test('make up for the last of the runs that were missed', async () => {
    await using the = await scene(await server.createSchema(), { missedRunSeconds: 7200 });
    the.at('00:30:00');
    using first = the.start();
    await first.look();
    the.at('05:10:00');
    using second = the.start();
    await second.look();
    await second.look();
    expect(the.keys()).toEqual(['load:file:2026-07-01T05:00:00.000Z']);
  });

  test('make up for none that is too old', async () => {
    await using the = await scene(await server.createSchema(), { missedRunSeconds: 1800 });
    the.at('00:30:00');
    using first = the.start();
    await first.look();
    the.at('05:45:00');
    using second = the.start();
    await second.look();
    expect(the.keys()).toEqual([]);
    the.at('06:00:00');
    await second.look();
    expect(the.keys()).toEqual(['load:file:2026-07-01T06:00:00.000Z']);
  });

  test('a new service does not make up for what was due before it was there', async () => {
    await using the = await scene(await server.createSchema());
    the.at('01:10:00');
    using scheduler = the.start();
    await scheduler.look();
    await scheduler.look();
    expect(the.keys()).toEqual([]);
  });

  test('a changed pattern begins when it is changed', async () => {
    const schema = await server.createSchema();
    await using before = await scene(schema);
    before.at('00:10:00');
    using old = before.start();
    await old.look();
    await using after = await scene(schema, { loadCron: '15 * * * *' });
    after.at('00:20:00');
    using changed = after.start();
    await changed.look();
    expect(after.keys()).toEqual([]);
    after.at('01:15:00');
    await changed.look();
    expect(after.keys()).toEqual(['load:file:2026-07-01T01:15:00.000Z']);
  });

  test('a full queue delays a run and does not lose it', async () => {
    await using the = await scene(await server.createSchema());
    using scheduler = the.start();
    the.at('00:30:00');
    await scheduler.look();
    the.at('01:00:00');
    the.clock.outcome = 'full';
    await scheduler.look();
    expect(the.keys()).toEqual([]);
    the.clock.outcome = 'known';
    the.at('01:03:00');
    await scheduler.look();
    expect(the.keys()).toEqual(['load:file:2026-07-01T01:00:00.000Z']);
  });

  test('leaves a run out while the one before it still waits', async () => {
    const schema = await server.createSchema();
    await using the = await scene(schema);
    using scheduler = the.start();
    the.at('00:30:00');
    await scheduler.look();
    await schema.query(
      "INSERT INTO tableset_service_runs (task, target, database_key, options, `trigger`, requested_by, request_hash, state, attempt, attempts_max, token, created_at, not_before) VALUES ('load', 'file', 'x', '{}', 'schedule', 'schedule', '', 'queued', 0, 1, 0, NOW(), NOW())",
    );
    the.at('01:00:00');
    await scheduler.look();
    await schema.query('DELETE FROM tableset_service_runs');
    await scheduler.look();
    expect(the.keys()).toEqual([]);
    the.at('02:00:00');
    await scheduler.look();
    expect(the.keys()).toEqual(['load:file:2026-07-01T02:00:00.000Z']);
  });

  test('jitter delays a run by the same amount on every replica, and within its bounds', async () => {
    const schema = await server.createSchema();
    await using the = await scene(schema, { jitter: 600 });
    the.at('00:30:00');
    using scheduler = the.start();
    await scheduler.look();
    const [told] = scheduler.list();
    const nextMs = Date.parse(told?.nextAt ?? '');
    expect(nextMs).toBeGreaterThanOrEqual(Date.parse('2026-07-01T01:00:00Z'));
    expect(nextMs).toBeLessThan(Date.parse('2026-07-01T01:10:00Z'));
    the.clock.ms = nextMs - 1;
    await scheduler.look();
    expect(the.keys()).toEqual([]);
    the.clock.ms = nextMs;
    await scheduler.look();
    expect(the.keys()).toEqual(['load:file:2026-07-01T01:00:00.000Z']);
  });
});
