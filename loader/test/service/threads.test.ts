import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { openBackgroundCalls } from '../../src/service/inline/background-calls.ts';
import { openThreadRunner, runIn } from '../../src/service/inline/thread-runner.ts';
import { WorkerThread } from '../../src/service/inline/worker-thread.ts';
import type { RunObserver, RunRecord, RunSpec } from '../../src/service/run-types.ts';

const folder = mkdtempSync(join(tmpdir(), 'threads-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
writeFileSync(join(folder, 'products.csv'), 'id,name\n1,apple\n');

const password = 'canary-of-a-password';

/** A load into a server that is not there, which waits for it. */
function spec(configText = 'load: [{table: products, source: products.csv}]', waitSeconds = 60): RunSpec {
  const run = { id: '1', task: 'load', target: { kind: 'file' }, databaseKey: 'x', tables: null, options: {} };
  const database = { host: '127.0.0.1', port: 1, user: 'nobody', password, name: 'nothing', waitSeconds };
  return {
    // What the thread reads of a run.
    run: run as unknown as RunRecord,
    configText,
    configPath: join(folder, 'config.yaml'),
    env: {},
    database: { ...database, tls: 'disable', tlsCaFile: undefined, singleWriter: false },
    lock: { onBusy: 'wait', lockWaitSeconds: 1 },
    temporaryDirectory: folder,
  };
}

/** Resolves when the run waits for its database. */
function observer(): RunObserver & { readonly waits: Promise<void> } {
  const { promise, resolve } = Promise.withResolvers<void>();
  const event = (_level: string, message: string) => {
    if (message === 'waiting for the database') resolve();
  };
  return { waits: promise, started: () => {}, progress: () => {}, event };
}

test('a run that is cancelled stops at a safe point', async () => {
  await using runner = openThreadRunner();
  const seen = observer();
  const handle = runner.start(spec(), seen);
  await seen.waits;
  handle.stop('cancelled', 60_000);
  const result = await handle.result;
  expect(result).toMatchObject({ state: 'cancelled', error: { code: 'SERVICE_RUN_CANCELLED' } });
});

test('a run that is stopped because the service ends is not a failed one', async () => {
  await using runner = openThreadRunner();
  const seen = observer();
  const handle = runner.start(spec(), seen);
  await seen.waits;
  handle.release();
  expect(await handle.result).toEqual({ state: 'stopped' });
});

test('a worker that does not stop is ended by force', async () => {
  await using runner = openThreadRunner();
  const handle = runner.start(spec(), observer());
  // Before it could hear of it.
  handle.stop('cancelled', 0);
  expect(await handle.result).toMatchObject({ state: 'cancelled', error: { code: 'SERVICE_RUN_CANCELLED' } });
});

test('a worker that dies fails its run with what another try may help', async () => {
  const thread = new WorkerThread();
  const seen = observer();
  let ended = 0;
  const handle = runIn(thread, spec(), seen, () => ended++);
  await seen.waits;
  // No message is null: the thread throws.
  thread.say(null as never);
  const result = await handle.result;
  expect(result).toMatchObject({ state: 'failed', error: { code: 'SERVICE_WORKER_DIED', exit: 1 } });
  expect(thread.dead).toBe(true);
  expect(ended).toBe(1);
});

test('a failed run tells its code and remedy, and no secret', async () => {
  await using runner = openThreadRunner();
  const seen: string[] = [];
  const handle = runner.start(spec(undefined, 0), {
    ...observer(),
    event: (...event) => seen.push(JSON.stringify(event)),
  });
  const result = await handle.result;
  expect(result).toMatchObject({ state: 'failed', error: { code: 'DATABASE_UNREACHABLE', exit: 1 } });
  expect(JSON.stringify([result, seen])).not.toContain(password);
  const invalid = await runner.start(spec('load: [{table: products}]'), observer()).result;
  expect(invalid).toMatchObject({ state: 'failed', error: { code: 'CONFIG_INVALID', exit: 2 } });
});

test('what a run quotes of a secret is blanked out', async () => {
  await using runner = openThreadRunner();
  // The message of an unknown key repeats the key.
  const result = await runner.start(spec(`load: [{${password}: 1}]`), observer()).result;
  expect(JSON.stringify(result)).toContain('[redacted]');
  expect(JSON.stringify(result)).not.toContain(password);
});

test('a call that does not exist fails, and the thread goes on', async () => {
  await using calls = openBackgroundCalls();
  await expect(calls.call('nothing', {})).rejects.toMatchObject({ code: 'INTERNAL' });
  await expect(calls.call('nothing', {})).rejects.toMatchObject({ code: 'INTERNAL' });
  await expect(calls.call('nothing', {}, AbortSignal.abort(new Error('enough')))).rejects.toThrow('enough');
});
