import { connect, delay, sqlMode } from '@tableset/common/database/connect.ts';
import type { Connection } from '@tableset/common/database/connection.ts';
import { quoteIdentifier } from '@tableset/common/database/quoting.ts';
import type { Output } from '@tableset/common/output/output.ts';
import type { DatabaseSettings } from '@tableset/common/settings/database.ts';

/**
 * Opens the session of a run. The stop signal ends waiting for the server, but not the statements that run later:
 * the runner decides which of them may be stopped midway.
 */
export async function openSession(
  settings: DatabaseSettings,
  options: { readonly signal: AbortSignal; readonly output: Output; readonly lockTimeoutSeconds?: number },
): Promise<Connection> {
  const waiting = new AbortController();
  const stop = () => waiting.abort(options.signal.reason);
  options.signal.throwIfAborted();
  options.signal.addEventListener('abort', stop, { once: true });
  try {
    return await connect(settings, {
      signal: waiting.signal,
      ...(options.lockTimeoutSeconds === undefined ? {} : { lockWaitSeconds: options.lockTimeoutSeconds }),
      onWait: (reason) => options.output.event('info', 'waiting for the database', { reason }),
    });
  } finally {
    options.signal.removeEventListener('abort', stop);
  }
}

/**
 * Puts the session back to what every file starts with, whatever the one before it set. Literals compare in the
 * collation of the schema, as they would for a client that connects by default.
 */
export async function resetSession(connection: Connection, lockTimeoutSeconds: number): Promise<void> {
  await connection.run('UNLOCK TABLES');
  await connection.run(`USE ${quoteIdentifier(connection.settings.name)}`);
  await connection.run(
    `SET SESSION sql_mode='${sqlMode}', time_zone='+00:00', lock_wait_timeout=${lockTimeoutSeconds}, innodb_lock_wait_timeout=${lockTimeoutSeconds}, sql_auto_is_null=0, foreign_key_checks=1, unique_checks=1, sql_safe_updates=0, group_concat_max_len=DEFAULT, autocommit=1`,
  );
  await connection.run('SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED');
  await connection.run('SET NAMES utf8mb4');
  const collation = (await connection.row('SELECT @@collation_database AS collation'))?.['collation'];
  if (typeof collation === 'string' && /^utf8mb4_\w+$/.test(collation)) {
    await connection.run(`SET collation_connection=${collation}`);
  }
}

/**
 * Runs a statement that may be stopped midway. When the signal fires, a second session kills it; the promise settles
 * only after that session is done, because a late KILL QUERY would hit the next statement.
 */
export async function runKillable<T>(
  connection: Connection,
  signal: AbortSignal,
  statement: () => Promise<T>,
): Promise<T> {
  let killing: Promise<void> | null = null;
  const kill = () => {
    killing = killStatement(connection);
  };
  signal.addEventListener('abort', kill, { once: true });
  try {
    return await statement();
  } finally {
    signal.removeEventListener('abort', kill);
    if (killing !== null) {
      await killing;
      // A kill that found nothing running may be kept for the next statement: this one takes it.
      await connection.run('DO 0').catch(() => undefined);
    }
  }
}

async function killStatement(connection: Connection): Promise<void> {
  try {
    await using killer = await connect({ ...connection.settings, waitSeconds: 5 }, { withoutSchema: true });
    await killer.run(`KILL QUERY ${connection.id}`);
  } catch {
    // The statement then ends by itself, or with the process.
  }
}

export { delay };
