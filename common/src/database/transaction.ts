import { delay } from './connect.ts';
import type { Connection } from './connection.ts';
import { classifyFault, serverErrno } from './errno.ts';

/** How often a transaction is tried at most that the server gave up, by why it did; anything else is tried once. */
export interface Attempts {
  /** The server rolled back everything at once: to try again costs little. */
  readonly deadlock: number;
  /** Every attempt holds what it has locked while it waits. */
  readonly lockWait: number;
  /** A statement was killed or ran out of its time. */
  readonly interrupted: number;
}

const publishing: Attempts = { deadlock: 5, lockWait: 2, interrupted: 1 };

/** For batches of an archive, which are small and many. */
export const batchAttempts: Attempts = { deadlock: 8, lockWait: 3, interrupted: 2 };

/** How often a transaction that failed like this may be tried in all. */
export function attemptsFor(error: unknown, attempts: Attempts): number {
  switch (classifyFault(error)) {
    case 'deadlock':
      return attempts.deadlock;
    case 'lock-wait':
      return attempts.lockWait;
    case 'interrupted':
      return attempts.interrupted;
    default:
      return 1;
  }
}

/**
 * Rolls back, which 1205 and the like leave undone: they undo the one statement alone. It never throws, since the first error is the one to
 * report; a connection that cannot roll back is broken off, and the server rolls back then.
 */
export async function rollBack(connection: Connection): Promise<void> {
  if (connection.lost) return;
  await connection.uninterrupted(() => connection.run('ROLLBACK')).catch(() => connection.destroy());
}

/**
 * Plays a whole transaction again where the server gave it up, a bounded number of times.
 * @param once one attempt, which rolls back before it throws
 * @param onAgain told before each further attempt
 */
export async function replayed<T>(
  connection: Connection,
  signal: AbortSignal,
  once: () => Promise<T>,
  onAgain: (facts: { readonly attempt: number; readonly errno: number | null }) => void,
): Promise<T> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await once();
    } catch (error) {
      if (attempt >= attemptsFor(error, publishing) || connection.lost) throw error;
      onAgain({ attempt, errno: serverErrno(error) });
      await delay(100 * 2 ** attempt, signal);
    }
  }
}
