import type { RunObserver, RunRecord, RunResult, RunSpec } from './run-types.ts';

/** Does runs, off this process's event loop: adapters are `inline/thread-runner.ts` and `job/job-runner.ts`. */
export interface Runner extends AsyncDisposable {
  readonly kind: 'inline' | 'job';
  /** A run on this database is on its way: what takes time to start may be started now. */
  prepare?(databaseKey: string): void;
  /** Begins a run that this replica has claimed. */
  start(spec: RunSpec, observer: RunObserver): RunHandle;
  /**
   * Finds the worker of a run that another replica had claimed and left behind. Null: there is none any more, so that the run is to be done again.
   * The token has been raised already; a worker of an older token that still writes is to be stopped first.
   */
  adopt(run: RunRecord, observer: RunObserver): Promise<RunHandle | null>;
}

export interface RunHandle {
  /** Never rejects: what goes wrong is a failed result with a documented code. */
  readonly result: Promise<RunResult>;
  /**
   * Asks for a stop at the next safe point; the result is then `cancelled` or `stopped`, unless the run ended before.
   * After `graceMs` the worker is ended by force, which is as safe as a crash.
   */
  stop(why: 'cancelled' | 'shutdown', graceMs: number): void;
  /** Lets go of it without stopping it: a Job goes on, to be adopted by the next leader, and the result is `released`. Inline the same as a stop. */
  release(): void;
}
