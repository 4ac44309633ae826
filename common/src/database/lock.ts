import { createHash } from 'node:crypto';
import { type AppError, commonError } from '../errors.ts';
import type { LockSettings } from '../settings/database.ts';
import type { Connection } from './connection.ts';

/**
 * The lock's name: a hash of the schema's name, because the servers limit lock names to 64 characters and compare them without
 * case, while schemas may differ by case alone. Where the server folds the case of schemas, so does the name.
 */
export function lockName(connection: Connection): string {
  const { name } = connection.settings;
  const folded = connection.server.lowerCaseTableNames === 0 ? name : name.toLowerCase();
  return `tableset:${createHash('sha256').update(folded).digest('hex').slice(0, 40)}`;
}

const heartbeatMs = 20_000;
/** One wait on the server; between them the deadline and the stop signal are looked at. */
const pollSeconds = 2;

/**
 * The one lock of a schema. The connection that holds it makes every publishing write itself, so that a killed client's
 * orphaned statement still holds the lock until it ends, and nothing is ever left to unlock by hand.
 */
export class SchemaLock implements AsyncDisposable {
  readonly name: string;
  readonly connection: Connection;
  readonly #heartbeat: NodeJS.Timeout;

  constructor(connection: Connection, name: string) {
    this.connection = connection;
    this.name = name;
    this.#heartbeat = setInterval(() => {
      // The session's wait_timeout is short, so that a dead node's lock goes soon; a living one says so.
      if (!connection.busy && !connection.lost) connection.run('DO 1').catch(() => connection.destroy());
    }, heartbeatMs);
    this.#heartbeat.unref();
  }

  /**
   * Proves on the server that this very session still holds the lock; call it first in every publishing transaction.
   * @throws AppError LOCK_LOST
   */
  async assertHeld(): Promise<void> {
    if (!this.connection.lost) {
      const row = await this.connection.row('SELECT IS_USED_LOCK(?) = CONNECTION_ID() AS held', [this.name]);
      if (row?.['held'] === '1') return;
    }
    throw commonError('LOCK_LOST', `the lock of schema ${this.connection.settings.name} is no longer held`);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    clearInterval(this.#heartbeat);
    if (this.connection.lost || this.connection.busy) return;
    await this.connection.run('DO RELEASE_LOCK(?)', [this.name]).catch(() => this.connection.destroy());
  }
}

export interface LockWait {
  readonly holder: string;
  readonly remainingSeconds: number;
}

/**
 * Takes the lock of the connection's schema.
 * @returns the lock, or null if another run holds it and `onBusy` is `skip`.
 * @throws AppError LOCK_BUSY naming the holder (after the deadline with `wait`), LOCK_NOT_CLUSTER_SAFE where GET_LOCK excludes nobody.
 */
export async function acquireLock(
  connection: Connection,
  settings: LockSettings,
  options: { readonly signal?: AbortSignal; readonly onWait?: (wait: LockWait) => void } = {},
): Promise<SchemaLock | null> {
  const { clusterHazard } = connection.server;
  if (clusterHazard !== null && !connection.settings.singleWriter) {
    throw commonError(
      'LOCK_NOT_CLUSTER_SAFE',
      `the server runs ${clusterHazard}, where GET_LOCK holds on one node only`,
    );
  }
  const name = lockName(connection);
  const deadline = Date.now() + (settings.onBusy === 'wait' ? settings.lockWaitSeconds * 1000 : 0);
  for (let told = 0; ; ) {
    options.signal?.throwIfAborted();
    const remainingMs = deadline - Date.now();
    const seconds = Math.min(pollSeconds, Math.max(0, Math.ceil(remainingMs / 1000)));
    // The first try never waits, so that what is said of the holder comes at once.
    const row = await connection.row('SELECT GET_LOCK(?, ?) AS got', [name, told === 0 ? 0 : seconds]);
    if (row?.['got'] === '1') return new SchemaLock(connection, name);
    // A wait that was killed ends without an error on MariaDB.
    options.signal?.throwIfAborted();
    if (row?.['got'] !== '0')
      throw commonError('DATABASE_BUSY', `GET_LOCK failed on ${connection.settings.host} (no memory, or killed)`);
    const holder = await lockHolder(connection, name);
    if (settings.onBusy === 'skip') return null;
    if (settings.onBusy === 'fail' || Date.now() >= deadline) throw busy(connection, holder, settings);
    if (told === 0 || Date.now() - told > 10_000) {
      options.onWait?.({ holder, remainingSeconds: Math.round(remainingMs / 1000) });
      told = Date.now();
    }
  }
}

function busy(connection: Connection, holder: string, settings: LockSettings): AppError {
  const waited = settings.onBusy === 'wait' ? ` after ${settings.lockWaitSeconds} s` : '';
  return commonError('LOCK_BUSY', `schema ${connection.settings.name} is locked by ${holder}${waited}`, {
    details: { holder },
  });
}

/** Who holds the lock, from the ledger if the holder has written its run there, else from the process list as far as the grants show it. */
async function lockHolder(connection: Connection, name: string): Promise<string> {
  const id = (await connection.row('SELECT IS_USED_LOCK(?) AS id', [name]))?.['id'];
  if (typeof id !== 'string') return 'a run that just ended';
  try {
    const run = await connection.row(
      'SELECT id, kind, host, started_at FROM tableset_runs WHERE connection_id = ? AND finished_at IS NULL ORDER BY id DESC LIMIT 1',
      [id],
    );
    if (run)
      return `${run['kind']} run ${run['id']} on ${run['host']} since ${run['started_at']} UTC (connection ${id})`;
  } catch {
    // The ledger may not be there yet; the process list then has to do.
  }
  const process = await connection.row(
    'SELECT USER AS user, HOST AS host, TIME AS seconds FROM information_schema.PROCESSLIST WHERE ID = ?',
    [id],
  );
  return process ? `${process['user']}@${process['host']} (connection ${id})` : `connection ${id}`;
}
