import type { Output } from '@tableset/common/output/output.ts';
import type { RunEndHook, StateDatabase } from './contracts.ts';
import { serviceError } from './errors.ts';
import { runError } from './run-error.ts';
import { endRun, requeueRun } from './run-registry.ts';
import type { RunRecord, RunResult } from './run-types.ts';

export interface EndParts {
  readonly database: StateDatabase;
  readonly endHooks: readonly RunEndHook[];
  readonly runRetrySeconds: number;
  readonly output: Output;
}

/** What became of a run whose worker has ended. */
export interface WrittenEnd {
  readonly kind: 'queued' | 'ended';
  readonly run: RunRecord;
}

/** Longest pause between two tries. */
const pauseSecondsMax = 3600;

/**
 * Writes down how a try ended: the run ends for good, or goes back into the queue. May be called again if it fails.
 * @returns null if the run is not ours any more, or was let go of
 */
export async function writeEnd(parts: EndParts, run: RunRecord, result: RunResult): Promise<WrittenEnd | null> {
  if (result.state === 'released') return null;
  const pauseSeconds = retryPause(parts, run, result);
  if (result.state === 'stopped')
    return await requeue(parts, run, result, { afterSeconds: 0, countsAsTry: false, error: null });
  if (result.state === 'failed' && pauseSeconds !== null)
    return await requeue(parts, run, result, { afterSeconds: pauseSeconds, countsAsTry: true, error: result.error });
  return await end(parts, run, result);
}

/** The result of a run that was stopped because it took too long; one that was done all the same is done. */
export function timedOut(result: RunResult, runTimeoutSeconds: number): RunResult {
  if (result.state === 'done' || result.state === 'released') return result;
  const summary = result.state === 'stopped' ? null : result.summary;
  const error = serviceError('SERVICE_RUN_TIMEOUT', `the run took longer than ${runTimeoutSeconds} s`);
  return { state: 'failed', error: runError(error), summary };
}

/** Seconds until the next try; null: there is none. */
function retryPause({ runRetrySeconds }: EndParts, run: RunRecord, result: RunResult): number | null {
  if (result.state !== 'failed' || (result.error.exit !== 1 && result.error.exit !== 75)) return null;
  if (run.attempt >= run.attemptsMax) return null;
  return Math.min(runRetrySeconds * 2 ** (run.attempt - 1), pauseSecondsMax);
}

async function requeue(
  { database, endHooks, output }: EndParts,
  run: RunRecord,
  result: RunResult,
  again: Parameters<typeof requeueRun>[2],
): Promise<WrittenEnd | null> {
  const requeued = await database.transaction(async (connection) => {
    const written = await requeueRun(connection, run, again);
    // What this try has changed stands, whatever becomes of the next.
    if (written) for (const hook of endHooks) await hook(connection, written, result);
    return written;
  });
  if (!requeued) return null;
  const { error, afterSeconds } = again;
  const fields = { run: run.id, attempt: run.attempt };
  if (error === null) output.event('info', 'run stopped and goes back into the queue', fields);
  else {
    const { code, message } = error;
    output.event('warn', 'run failed and is tried again', { ...fields, code, error: message, afterSeconds });
  }
  return { kind: 'queued', run: requeued };
}

async function end(
  { database, endHooks, output }: EndParts,
  run: RunRecord,
  result: Extract<RunResult, { readonly state: 'done' | 'failed' | 'cancelled' }>,
): Promise<WrittenEnd | null> {
  const { state, summary } = result;
  const error = result.state === 'done' ? null : result.error;
  const ended = await database.transaction(async (connection) => {
    const written = await endRun(connection, run, { state, summary, error, logTail: result.logTail ?? null });
    if (written) for (const hook of endHooks) await hook(connection, written, result);
    return written;
  });
  if (!ended) {
    output.event('warn', 'another replica has taken a run over', { run: run.id });
    return null;
  }
  const { id, task } = run;
  const fields = { run: id, task, outcome: summary?.outcome ?? state, seconds: summary?.seconds ?? null };
  if (result.state === 'cancelled') output.event('info', 'run cancelled', fields);
  else if (error) {
    const { code, message, hint } = error;
    output.event('error', 'run failed', { ...fields, code, error: message, hint });
  } else output.event('info', 'run ended', { ...fields, tables: summary?.tables ?? [] });
  return { kind: 'ended', run: ended };
}
