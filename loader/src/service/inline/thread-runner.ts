import { serviceError } from '../errors.ts';
import { runError } from '../run-error.ts';
import type { RunObserver, RunResult, RunSpec } from '../run-types.ts';
import type { RunHandle, Runner } from '../runner.ts';
import { WorkerThread } from './worker-thread.ts';

/** A thread that has nothing to do is kept this long for the next run. */
const idleMs = 60_000;
/** A thread is replaced after so many runs, so that nothing adds up in it. */
const runsMax = 200;

interface Slot {
  readonly thread: WorkerThread;
  runs: number;
  idleTimer: NodeJS.Timeout | null;
}

/**
 * Does runs in threads of this process: one at a time in each, and one thread for each database that is worked on, so that the main thread stays free
 * to answer. What a thread that dies had open, the server rolls back, as after the crash of a process.
 */
export function openThreadRunner(): Runner {
  const idle = new Map<string, Slot>();
  const busy = new Set<WorkerThread>();
  let closed = false;

  const take = (key: string): Slot => {
    const slot = idle.get(key);
    idle.delete(key);
    if (slot?.idleTimer) clearTimeout(slot.idleTimer);
    return slot && !slot.thread.dead ? slot : { thread: new WorkerThread(), runs: 0, idleTimer: null };
  };
  const keep = (key: string, slot: Slot) => {
    slot.thread.listen(
      () => {},
      () => {
        if (idle.get(key) === slot) idle.delete(key);
      },
    );
    slot.idleTimer = setTimeout(() => {
      idle.delete(key);
      void slot.thread.end();
    }, idleMs).unref();
    idle.set(key, slot);
  };
  const giveBack = (key: string, slot: Slot) => {
    busy.delete(slot.thread);
    if (slot.thread.dead) return;
    if (closed || slot.runs >= runsMax || idle.has(key)) void slot.thread.end();
    else keep(key, slot);
  };

  return {
    kind: 'inline',
    prepare(key) {
      if (!closed && !idle.has(key)) keep(key, { thread: new WorkerThread(), runs: 0, idleTimer: null });
    },
    start(spec, observer) {
      const key = spec.run.databaseKey;
      const slot = take(key);
      slot.runs++;
      busy.add(slot.thread);
      return runIn(slot.thread, spec, observer, () => giveBack(key, slot));
    },
    // Its thread went with its process.
    adopt: async () => null,
    async [Symbol.asyncDispose]() {
      closed = true;
      const slots = Array.from(idle.values());
      idle.clear();
      for (const { idleTimer } of slots) if (idleTimer) clearTimeout(idleTimer);
      await Promise.all([...slots.map(({ thread }) => thread.end()), ...Array.from(busy, (thread) => thread.end())]);
    },
  };
}

/** One run in a thread that does nothing else. */
export function runIn(thread: WorkerThread, spec: RunSpec, observer: RunObserver, onEnd: () => void): RunHandle {
  const { promise, resolve } = Promise.withResolvers<RunResult>();
  let stopped: 'cancelled' | 'shutdown' | null = null;
  let force: NodeJS.Timeout | null = null;
  const finish = (result: RunResult) => {
    if (force) clearTimeout(force);
    onEnd();
    resolve(result);
  };
  thread.listen(
    (message) => {
      if (message.type === 'started') observer.started(null);
      else if (message.type === 'progress') observer.progress(message.progress);
      else if (message.type === 'event') observer.event(message.level, message.message, message.fields);
      else if (message.type === 'result') finish(message.result);
    },
    (error) => finish(endOfThread(stopped, error)),
  );
  thread.say({ type: 'run', spec });
  const stop: RunHandle['stop'] = (why, graceMs) => {
    stopped ??= why;
    thread.say({ type: 'stop', why: stopped });
    force ??= setTimeout(() => void thread.end(), graceMs);
  };
  return { result: promise, stop, release: () => stop('shutdown', 10_000) };
}

/** A thread that ended without a result: because we ended it, or by itself. */
function endOfThread(stopped: 'cancelled' | 'shutdown' | null, error: Error | null): RunResult {
  if (stopped === 'shutdown') return { state: 'stopped' };
  if (stopped === 'cancelled') {
    const cancelled = serviceError('SERVICE_RUN_CANCELLED', 'cancelled; the worker was ended by force');
    return { state: 'cancelled', error: runError(cancelled), summary: null };
  }
  const reason = error === null ? 'without a word' : error.message;
  return {
    state: 'failed',
    error: runError(serviceError('SERVICE_WORKER_DIED', `the worker ended: ${reason}`, { cause: error })),
    summary: null,
  };
}
