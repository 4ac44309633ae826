import { setTimeout as delay } from 'node:timers/promises';
import { commonError } from '@tableset/common/errors.ts';
import type { Output, Progress } from '@tableset/common/output/output.ts';
import { redact } from '@tableset/common/output/redact.ts';
import { databaseSettings } from '@tableset/common/settings/database.ts';
import type { WorkSettings } from '../../settings-service.ts';
import { openRecords } from '../api/records.ts';
import { WatchedConfig } from '../config-file.ts';
import type { StateDatabase } from '../contracts.ts';
import { serviceError } from '../errors.ts';
import { executeTask } from '../execute-task.ts';
import { asAppError } from '../run-error.ts';
import { findRun } from '../run-registry.ts';
import type { RunProgress, RunRecord, RunResult, RunSpec } from '../run-types.ts';
import { openStateDatabase } from '../state-database.ts';
import { openTargets } from '../targets.ts';
import { readWorker, writeWorkerProgress, writeWorkerResult } from './worker-rows.ts';

export interface WorkRequest {
  readonly settings: WorkSettings;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly output: Output;
  /** SIGTERM: stop at the next safe point. */
  readonly signal: AbortSignal;
}

const beatMs = 1_000;
/** How long the row may take to name this worker: the service may be writing it just now. */
const namedMs = 20_000;
/** How long the result is tried to be written while the database is away. */
const resultMs = 600_000;

/**
 * Does one run of the service, in a pod of its own, and says in the run's row how it goes and how it ended; the service writes down the end.
 * @returns how it ended; `released` if the run was given to another meanwhile
 * @throws AppError SERVICE_WORKER_STALE if the run is not this worker's; DATABASE_… if the ledger cannot be reached
 */
export async function work({ settings, env, output, signal }: WorkRequest): Promise<RunResult> {
  const lifetime = new AbortController();
  await using database = openStateDatabase(() => databaseSettings(settings), lifetime.signal);
  const { run, worker } = await ownRun(database, settings, signal);
  output.event('info', 'run started', { run: run.id, task: run.task, attempt: run.attempt, worker });
  let result: RunResult;
  try {
    const spec = await specOf(run, database, { settings, env, output, signal });
    result = await execute(spec, worker, database, output, signal);
  } catch (error) {
    const { code, message, hint, exit } = asAppError(error);
    result = { state: 'failed', error: { code, message, hint, exit }, summary: null };
  }
  const fields = result.state === 'failed' ? { code: result.error.code, error: result.error.message } : {};
  output.event('info', 'run ended', { run: run.id, state: result.state, ...fields });
  if (result.state === 'released' || (await report(database, run.id, worker, result, output))) return result;
  output.event('warn', 'the run was given to another worker', { run: run.id });
  return { state: 'released' };
}

/** The run, once its row names this worker. Waits while the database is away, within DB_WAIT_SECONDS. */
async function ownRun(
  database: StateDatabase,
  { run: id, token, waitSeconds }: WorkSettings,
  signal: AbortSignal,
): Promise<{ readonly run: RunRecord; readonly worker: string }> {
  const startedAt = performance.now();
  const within = (ms: number) => performance.now() - startedAt < ms;
  const stale = (why: string) => serviceError('SERVICE_WORKER_STALE', `run ${id} with token ${token}: ${why}`);
  for (;;) {
    signal.throwIfAborted();
    try {
      const run = await database.use((connection) => findRun(connection, id));
      if (run === null) throw stale('there is no such run');
      if (run.state !== 'running') throw stale(`it is ${run.state}`);
      if (run.worker !== null) {
        const { worker } = run;
        if (!worker.endsWith(`-${id}-${token}`)) throw stale(`it is done by ${worker}`);
        const row = await database.use((connection) => readWorker(connection, id, worker));
        if (row === null || row.result !== null) throw stale('it has been done already');
        return { run, worker };
      }
      if (run.token !== token || !within(namedMs)) throw stale('it names no worker');
    } catch (error) {
      const { exit, code } = asAppError(error);
      if (exit !== 1 || code === 'STOPPED' || !within(waitSeconds * 1000)) throw error;
    }
    await delay(beatMs, undefined, { signal }).catch(() => {});
  }
}

async function specOf(
  run: RunRecord,
  database: StateDatabase,
  { settings, env, output }: WorkRequest,
): Promise<RunSpec> {
  const path = settings.config;
  using configFile = await WatchedConfig.open({ path, pollSeconds: 86_400, output, env, accept: () => {} });
  const records = openRecords(database, settings, configFile, output);
  const { temporaryDirectory } = settings;
  const targets = openTargets({
    configFile,
    databaseSettings: () => databaseSettings(settings),
    records,
    temporaryDirectory,
  });
  return await targets.spec(run);
}

/** Executes the run, and meanwhile says how it goes and hears whether it is to stop. */
async function execute(
  spec: RunSpec,
  worker: string,
  database: StateDatabase,
  output: Output,
  signal: AbortSignal,
): Promise<RunResult> {
  const { id } = spec.run;
  const stop = new AbortController();
  let why: 'cancelled' | 'shutdown' | 'lost' = 'shutdown';
  const end = (reason: typeof why) => {
    if (stop.signal.aborted) return;
    why = reason;
    stop.abort(commonError('STOPPED', `the run was stopped: ${reason}`));
  };
  const onSignal = () => end('shutdown');
  signal.addEventListener('abort', onSignal, { once: true });
  if (signal.aborted) onSignal();
  const latest: { progress: RunProgress | null } = { progress: null };
  const ended = new AbortController();
  const beating = beat(database, id, worker, latest, end, ended.signal);
  const watched: Output = {
    ...output,
    event: (...event) => output.event(...event),
    progress(progress: Progress) {
      latest.progress = { ...progress, at: new Date().toISOString() };
      output.progress(progress);
    },
  };
  const result = await executeTask(spec, watched, stop.signal, () => (why === 'cancelled' ? 'cancelled' : 'shutdown'));
  ended.abort();
  await beating;
  signal.removeEventListener('abort', onSignal);
  // Another worker does the run now, and what this one did not finish.
  const lost = stop.signal.aborted && (why as string) === 'lost';
  return lost ? { state: 'released' } : result;
}

async function beat(
  database: StateDatabase,
  id: string,
  worker: string,
  latest: { progress: RunProgress | null },
  end: (why: 'cancelled' | 'lost') => void,
  ended: AbortSignal,
): Promise<void> {
  while (!ended.aborted) {
    await delay(beatMs, undefined, { signal: ended }).catch(() => {});
    if (ended.aborted) return;
    const { progress } = latest;
    latest.progress = null;
    try {
      await database.use(async (connection) => {
        if (progress !== null) await writeWorkerProgress(connection, id, worker, progress);
        const row = await readWorker(connection, id, worker);
        if (row === null) end('lost');
        else if (row.cancelRequested) end('cancelled');
      });
    } catch {
      // The next beat says it; without the database the run itself does not come far either.
    }
  }
}

/** @returns false if the run is no longer this worker's */
async function report(
  database: StateDatabase,
  id: string,
  worker: string,
  result: RunResult,
  output: Output,
): Promise<boolean> {
  // What an error quotes may hold a secret.
  const text = redact(JSON.stringify(result));
  const startedAt = performance.now();
  for (let attempt = 0; ; attempt++) {
    try {
      return await database.use((connection) => writeWorkerResult(connection, id, worker, text));
    } catch (error) {
      const { code, message } = asAppError(error);
      output.event('error', 'the end of a run could not be written', { run: id, code, error: message });
      if (performance.now() - startedAt > resultMs) throw error;
      await delay(Math.min(500 * 2 ** attempt, 10_000));
    }
  }
}
