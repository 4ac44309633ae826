import { setTimeout as delay } from 'node:timers/promises';
import type { AppError } from '@tableset/common/errors.ts';
import type { Output } from '@tableset/common/output/output.ts';
import type { StateDatabase } from '../contracts.ts';
import { serviceError } from '../errors.ts';
import { asAppError, runError } from '../run-error.ts';
import type { RunError, RunObserver, RunRecord, RunResult } from '../run-types.ts';
import type { RunHandle } from '../runner.ts';
import type { Cluster, PodFacts } from './cluster.ts';
import { endLease, readWorker, type WorkerRow } from './worker-rows.ts';

export interface JobRunParts {
  readonly database: StateDatabase;
  readonly cluster: Cluster;
  readonly output: Output;
  readonly run: RunRecord;
  /** Name of the run's Job. */
  readonly worker: string;
  readonly observer: RunObserver;
  /** What precedes the following: making the Job. A result ends the run there. */
  readonly begin: () => Promise<RunResult | null>;
  readonly pace?: Partial<Pace>;
}

/** Milliseconds. */
export interface Pace {
  /** How often the run's row is read: there the worker says how it goes. */
  readonly row: number;
  /** How often the Job is looked at, for what a worker cannot say: that it does not start, or has died. */
  readonly job: number;
  /** How long a pod may take to start. */
  readonly start: number;
  /** How long the pod of a Job that is being deleted is waited for. */
  readonly removal: number;
}

const standardPace: Pace = { row: 500, job: 3_000, start: 300_000, removal: 120_000 };

/**
 * Follows the Job of one run to its end. The worker itself says in the run's row how it goes and how it ended, so that a result outlives its pod and the
 * Job; Kubernetes is asked for what a worker cannot say.
 */
export class JobRun implements RunHandle {
  readonly result: Promise<RunResult>;
  readonly #parts: JobRunParts;
  readonly #pace: Pace;
  #released = false;
  /** When the worker is ended by force, on the clock of `performance.now`. */
  #stopAt: number | null = null;
  #removedAt: number | null = null;
  #started = false;
  #progressAt = '';
  #complaint = '';
  #waitsFor = '';
  #wake = new AbortController();
  readonly #since = performance.now();

  constructor(parts: JobRunParts) {
    this.#parts = parts;
    this.#pace = { ...standardPace, ...parts.pace };
    this.result = this.#follow();
  }

  stop(why: 'cancelled' | 'shutdown', graceMs: number): void {
    if (why === 'shutdown') {
      this.release();
      return;
    }
    this.#stopAt ??= performance.now() + graceMs;
    this.#wake.abort();
  }

  release(): void {
    this.#released = true;
    this.#wake.abort();
  }

  async #follow(): Promise<RunResult> {
    try {
      const ended = await this.#parts.begin();
      if (ended) return ended;
    } catch (error) {
      return failed(asAppError(error));
    }
    for (let jobAt = Number.NEGATIVE_INFINITY; ; ) {
      if (this.#released) return await this.#letGo();
      try {
        const row = await this.#row();
        // Somebody else has it.
        if (row === null) return { state: 'released' };
        if (row.result) return await this.#withLog(this.#asStopped(row.result));
        this.#report(row);
        await this.#stopIfAsked(row);
        if (performance.now() - jobAt > this.#pace.job) {
          jobAt = performance.now();
          const result = await this.#look();
          if (result) return await this.#withLog(result);
        }
        this.#complaint = '';
      } catch (error) {
        this.#complain(asAppError(error));
      }
      await this.#pause();
    }
  }

  async #row(): Promise<WorkerRow | null> {
    const { database, run, worker } = this.#parts;
    return await database.use((connection) => readWorker(connection, run.id, worker));
  }

  async #letGo(): Promise<RunResult> {
    const { database, run } = this.#parts;
    // Without it the next leader only waits until the lease is over.
    await database.use((connection) => endLease(connection, run)).catch(() => {});
    return { state: 'released' };
  }

  #report({ progress }: WorkerRow): void {
    if (progress === null || progress.at === this.#progressAt) return;
    this.#progressAt = progress.at;
    this.#parts.observer.progress(progress);
  }

  /** A worker sees by itself that somebody has cancelled its run; whoever does not, and one that takes too long, is ended from outside. */
  async #stopIfAsked({ cancelRequested }: WorkerRow): Promise<void> {
    if (this.#stopAt === null || this.#removedAt !== null) return;
    if (cancelRequested && this.#started && performance.now() < this.#stopAt) return;
    await this.#parts.cluster.removeJob(this.#parts.worker);
    this.#removedAt = performance.now();
  }

  /** What Kubernetes says; null while there is nothing that the worker would not say itself. */
  async #look(): Promise<RunResult | null> {
    const { cluster, worker, observer } = this.#parts;
    const job = await cluster.job(worker);
    const pod = job === null ? null : await cluster.pod(worker);
    const late = this.#removedAt !== null && performance.now() - this.#removedAt > this.#pace.removal;
    if (job === null || job.ended !== null || late) {
      // It may have said so in the meantime.
      const row = await this.#row();
      if (row === null) return { state: 'released' };
      if (row.result) return this.#asStopped(row.result);
      if (this.#stopAt !== null) return cancelled();
      return {
        state: 'failed',
        error: saidError(pod) ?? runError(death(worker, job?.reason ?? null, pod)),
        summary: null,
      };
    }
    if (pod?.started) {
      this.#started = true;
      return null;
    }
    if (this.#stopAt !== null) return null;
    if (pod?.waitsFor && pod.waitsFor !== this.#waitsFor) {
      this.#waitsFor = pod.waitsFor;
      observer.event('info', 'the worker does not run yet', { worker, reason: pod.waitsFor });
    }
    if (performance.now() - this.#since < this.#pace.start) return null;
    await cluster.removeJob(worker);
    const seconds = Math.round(this.#pace.start / 1000);
    const reason = pod?.waitsFor ?? job.reason ?? 'there is no pod yet';
    return failed(
      serviceError('SERVICE_WORKER_NOT_STARTED', `Job ${worker} did not start within ${seconds} s: ${reason}`),
    );
  }

  /** A worker that was ended from outside says that it was stopped; it is for us to say why. */
  #asStopped(result: RunResult): RunResult {
    return result.state === 'stopped' && this.#stopAt !== null ? cancelled() : result;
  }

  async #withLog(result: RunResult): Promise<RunResult> {
    if (result.state === 'stopped' || result.state === 'released') return result;
    const { cluster, worker } = this.#parts;
    try {
      const pod = await cluster.pod(worker);
      const logTail = pod === null ? '' : await cluster.logTail(pod.name);
      return logTail === '' ? result : { ...result, logTail };
    } catch {
      // The result stands without it.
      return result;
    }
  }

  /** Once for each cause: what is asked again and again fails again and again. */
  #complain({ code, message }: AppError): void {
    if (this.#complaint === code) return;
    this.#complaint = code;
    this.#parts.output.event('warn', 'a worker cannot be followed', {
      run: this.#parts.run.id,
      worker: this.#parts.worker,
      code,
      error: message,
    });
  }

  async #pause(): Promise<void> {
    await delay(this.#pace.row, undefined, { signal: this.#wake.signal }).catch(() => {});
    if (this.#wake.signal.aborted) this.#wake = new AbortController();
  }
}

function failed(error: AppError): RunResult {
  return { state: 'failed', error: runError(error), summary: null };
}

function cancelled(): RunResult {
  const error = serviceError('SERVICE_RUN_CANCELLED', 'cancelled; its worker was stopped');
  return { state: 'cancelled', error: runError(error), summary: null };
}

/** A worker that could not reach the ledger still leaves its error in the termination log. */
function saidError(pod: PodFacts | null): RunError | null {
  if (pod?.message == null || pod.exit === null) return null;
  try {
    const { error } = JSON.parse(pod.message) as { readonly error?: Readonly<Record<string, unknown>> };
    const { code, message, hint } = error ?? {};
    if (typeof code !== 'string') return null;
    return { code, message: String(message ?? ''), hint: String(hint ?? ''), exit: pod.exit };
  } catch {
    return null;
  }
}

/** What Kubernetes says of a worker that ended without a word of its own. */
function death(worker: string, jobReason: string | null, pod: PodFacts | null): AppError {
  const said = pod?.message ?? '';
  const parts = [
    jobReason ?? (pod === null ? 'its Job is gone' : ''),
    pod?.reason ?? '',
    pod?.exit === null || pod?.exit === undefined ? '' : `exit ${pod.exit}`,
    said.slice(0, 1_000),
  ];
  const why = parts.filter((part) => part !== '').join('; ');
  return serviceError('SERVICE_WORKER_DIED', `Job ${worker} ended without a result: ${why}`);
}
