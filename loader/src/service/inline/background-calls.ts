import { AppError, commonError } from '@tableset/common/errors.ts';
import type { ExitCode } from '@tableset/common/exit-codes.ts';
import type { BackgroundCalls } from '../contracts.ts';
import { serviceError } from '../errors.ts';
import type { PlainError } from './messages.ts';
import { WorkerThread } from './worker-thread.ts';

/** The thread goes after this long without a call. */
const idleMs = 60_000;
const callsMax = 64;

interface Waiting {
  resolve(value: unknown): void;
  reject(error: unknown): void;
}

/** One thread for all calls, made at the first one. */
export function openBackgroundCalls(): BackgroundCalls & AsyncDisposable {
  const waiting = new Map<number, Waiting>();
  let thread: WorkerThread | null = null;
  let idleTimer: NodeJS.Timeout | null = null;
  let lastId = 0;

  const current = (): WorkerThread => {
    if (thread !== null && !thread.dead) return thread;
    const made = new WorkerThread();
    made.listen(
      (message) => {
        if (message.type === 'answer') waiting.get(message.id)?.resolve(message.value);
        else if (message.type === 'failure') waiting.get(message.id)?.reject(appError(message.error));
      },
      (error) => {
        if (thread === made) thread = null;
        const reason = error?.message ?? 'without a word';
        for (const each of waiting.values())
          each.reject(serviceError('SERVICE_WORKER_DIED', `the thread of the call ended: ${reason}`, { cause: error }));
      },
    );
    thread = made;
    return made;
  };
  const settle = (id: number) => {
    waiting.delete(id);
    if (waiting.size > 0) return;
    if (idleTimer) clearTimeout(idleTimer);
    idleTimer = setTimeout(() => void thread?.end(), idleMs).unref();
  };

  return {
    async call<T>(name: string, argument: unknown, signal?: AbortSignal): Promise<T> {
      signal?.throwIfAborted();
      if (waiting.size >= callsMax) throw serviceError('SERVICE_QUEUE_FULL', `${callsMax} such requests wait already`);
      if (idleTimer) clearTimeout(idleTimer);
      const id = ++lastId;
      const { promise, resolve, reject } = Promise.withResolvers<unknown>();
      waiting.set(id, { resolve, reject });
      const on = current();
      const onAbort = () => {
        on.say({ type: 'abort', id });
        reject(signal?.reason ?? commonError('STOPPED', 'nobody waits for it'));
      };
      signal?.addEventListener('abort', onAbort, { once: true });
      try {
        on.say({ type: 'call', id, name, argument });
        // The function of that name returns this.
        return (await promise) as T;
      } finally {
        signal?.removeEventListener('abort', onAbort);
        settle(id);
      }
    },
    async [Symbol.asyncDispose]() {
      if (idleTimer) clearTimeout(idleTimer);
      await thread?.end();
    },
  };
}

function appError({ code, exit, message, hint, details }: PlainError): AppError {
  // The exit code was one before it crossed the threads.
  return new AppError(code, { exit: exit as ExitCode, cause: '', remedy: hint }, message, { hint, details });
}
