import type { Fields, Level, Output, Progress } from '@tableset/common/output/output.ts';
import type { StateDatabase } from './contracts.ts';
import { writeProgress } from './run-registry.ts';
import type { RunObserver, RunRecord, RunResult } from './run-types.ts';
import type { RunHandle } from './runner.ts';

const progressWriteMs = 2_000;

/** A run that works on this replica. */
export interface Active {
  run: RunRecord;
  readonly handle: RunHandle | null;
  worker: string | null;
  progressAt: number;
  renewedAt: number;
  stopping: boolean;
  /** Set where the end is decided by us rather than by the worker. */
  timedOut: boolean;
  timer: NodeJS.Timeout | null;
  settled: Promise<void>;
}

/** What is known of a run before its worker has begun. */
export function openActive(run: RunRecord): Active {
  return {
    run,
    handle: null,
    worker: run.worker,
    progressAt: 0,
    renewedAt: performance.now(),
    stopping: false,
    timedOut: false,
    timer: null,
    settled: Promise.resolve(),
  };
}

export interface ActiveParts {
  readonly output: Output;
  readonly database: StateDatabase;
  readonly tell: (kind: 'started' | 'progress') => void;
  /** Has the queue looked at now. */
  readonly wake: () => void;
}

/** Keeps what is known of a run up to date with what its worker says. */
export function observe(active: Active, { output, database, tell, wake }: ActiveParts): RunObserver {
  return {
    started: (worker) => {
      active.worker = worker;
      active.run = { ...active.run, worker };
      // So that a replica which takes over knows which Job it is.
      active.renewedAt = Number.NEGATIVE_INFINITY;
      if (worker !== null) wake();
      output.event('info', 'run started', { run: active.run.id, task: active.run.task, attempt: active.run.attempt });
      tell('started');
    },
    progress: (progress: Progress) => {
      active.run = { ...active.run, progress: { ...progress, at: new Date().toISOString() } };
      tell('progress');
      const now = performance.now();
      if (now - active.progressAt < progressWriteMs || active.run.progress === null) return;
      active.progressAt = now;
      const { run } = active;
      const written = run.progress;
      // Other replicas show it; a lost one is followed by the next.
      if (written) database.use((connection) => writeProgress(connection, run, written)).catch(() => {});
    },
    event: (level: Level, message: string, fields: Fields) =>
      output.event(level, message, { run: active.run.id, ...fields }),
  };
}

/** An observer for a worker that may begin to talk before it is known to whom. */
export function laterObserver(): { readonly observer: RunObserver; readonly become: (own: RunObserver) => void } {
  let to: RunObserver | null = null;
  return {
    observer: {
      started: (worker) => to?.started(worker),
      progress: (progress) => to?.progress(progress),
      event: (...event) => to?.event(...event),
    },
    become: (own) => {
      to = own;
    },
  };
}

/** A run that has ended before it began. */
export function endedAtOnce(result: RunResult): RunHandle {
  return { result: Promise.resolve(result), stop: () => {}, release: () => {} };
}
