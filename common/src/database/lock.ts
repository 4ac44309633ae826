import { createHash } from 'node:crypto';
import { type AppError, commonError } from '../errors.ts';
import type { LockSettings } from '../settings/database.ts';
import { delay } from './connect.ts';
import type { Connection, Value } from './connection.ts';
import { keepAlive } from './keep-alive.ts';
import { quoteString } from './quoting.ts';

/**
 * The lock's name: a hash of the schema's name, because the servers limit lock names to 64 characters and compare them without
 * case, while schemas may differ by case alone. Where the server folds the case of schemas, so does the name.
 */
export function lockName(connection: Connection): string {
  const { name } = connection.settings;
  const folded = connection.server.lowerCaseTableNames === 0 ? name : name.toLowerCase();
  return `tableset:${createHash('sha256').update(folded).digest('hex').slice(0, 40)}`;
}

/** The most workers that a schema's lock can have; who takes the lock asks for every one of them. */
export const workerLocksMax = 64;

/** The lock of a worker, numbered from 1. Whoever takes the schema's lock waits until all of them are free. */
export function workerLockName(name: string, worker: number): string {
  return `${name}:${worker}`;
}

/** What a publishing transaction needs: the connection that makes its writes, and the proof that nobody else may. */
export interface PublishingLock {
  readonly connection: Connection;
  /**
   * Proves on the server that nobody else may publish; call it first in every publishing transaction.
   * @throws AppError LOCK_LOST
   */
  assertHeld(): Promise<void>;
}

/** One wait on the server; between them the deadline and the stop signal are looked at. */
const pollSeconds = 2;

/** A lock of the server, held by the session that took it for as long as that lives. */
export class ServerLock implements PublishingLock, AsyncDisposable {
  readonly name: string;
  readonly connection: Connection;
  readonly #heartbeat: Disposable;

  constructor(connection: Connection, name: string) {
    this.connection = connection;
    this.name = name;
    this.#heartbeat = keepAlive(connection);
  }

  async assertHeld(): Promise<void> {
    await this.assertFact('IS_USED_LOCK(?) = CONNECTION_ID()', [this.name]);
  }

  /** @throws AppError LOCK_LOST unless the server says that this is true */
  protected async assertFact(sql: string, values: readonly Value[]): Promise<void> {
    if (!this.connection.lost) {
      const row = await this.connection.row(`SELECT ${sql} AS held`, values);
      if (row?.['held'] === '1') return;
    }
    throw commonError('LOCK_LOST', `the lock of schema ${this.connection.settings.name} is no longer held`);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#heartbeat[Symbol.dispose]();
    if (this.connection.lost || this.connection.busy) return;
    await this.connection.run('DO RELEASE_LOCK(?)', [this.name]).catch(() => this.connection.destroy());
  }
}

/**
 * The one lock of a schema. The connection that holds it makes every publishing write itself, or one that holds the lock of a worker, so that a
 * killed client's orphaned statement still locks the schema until it ends, and nothing is ever left to unlock by hand.
 */
export type SchemaLock = ServerLock;

/** The lock of one worker: a further connection that makes publishing writes for the holder of the schema's lock. */
export class WorkerLock extends ServerLock {
  readonly #schema: SchemaLock;

  constructor(connection: Connection, name: string, schema: SchemaLock) {
    super(connection, name);
    this.#schema = schema;
  }

  override async assertHeld(): Promise<void> {
    await this.assertFact('IS_USED_LOCK(?) = CONNECTION_ID() AND IS_USED_LOCK(?) = ?', [
      this.name,
      this.#schema.name,
      this.#schema.connection.id,
    ]);
  }
}

/**
 * Takes the lock of a worker on another connection of the run that holds the schema's lock.
 * @param worker from 1 to workerLocksMax
 * @throws AppError LOCK_LOST if the schema's lock is gone, LOCK_BUSY if the worker's is taken
 */
export async function takeWorkerLock(schema: SchemaLock, connection: Connection, worker: number): Promise<WorkerLock> {
  if (!Number.isInteger(worker) || worker < 1 || worker > workerLocksMax)
    throw new RangeError(`there is no worker ${worker}`);
  const name = workerLockName(schema.name, worker);
  const row = await connection.row('SELECT GET_LOCK(?, 0) AS got', [name]);
  if (row?.['got'] !== '1') throw commonError('LOCK_BUSY', `the lock of worker ${worker} is taken`);
  const lock = new WorkerLock(connection, name, schema);
  // Whoever took the schema's lock before this one has seen this worker's lock as free.
  await lock.assertHeld();
  return lock;
}

export interface LockWait {
  readonly holder: string;
  readonly remainingSeconds: number;
}

export interface LockOptions {
  readonly signal?: AbortSignal;
  readonly onWait?: (wait: LockWait) => void;
  /** The locks of workers keep nobody out: whoever wants to be one of them holds the schema's lock for a moment beside them. */
  readonly besideWorkers?: boolean;
}

/**
 * Takes the lock of the connection's schema.
 * @returns the lock, or null if another run holds it and `onBusy` is `skip`.
 * @throws AppError LOCK_BUSY naming the holder (after the deadline with `wait`), LOCK_NOT_CLUSTER_SAFE where GET_LOCK excludes nobody.
 */
export async function acquireLock(
  connection: Connection,
  settings: LockSettings,
  options: LockOptions = {},
): Promise<SchemaLock | null> {
  const { clusterHazard } = connection.server;
  if (clusterHazard !== null && !connection.settings.singleWriter) {
    throw commonError(
      'LOCK_NOT_CLUSTER_SAFE',
      `the server runs ${clusterHazard}, where GET_LOCK holds on one node only`,
    );
  }
  const name = lockName(connection);
  const deadline = performance.now() + (settings.onBusy === 'wait' ? settings.lockWaitSeconds * 1000 : 0);
  for (let told = 0; ; ) {
    options.signal?.throwIfAborted();
    const remainingMs = deadline - performance.now();
    const seconds = Math.min(pollSeconds, Math.max(0, Math.ceil(remainingMs / 1000)));
    // The first try never waits, so that what is said of the holder comes at once.
    const row = await connection.row(`SELECT GET_LOCK(?, ?) AS got, ${workersBusy(name)} AS busy`, [
      name,
      told === 0 ? 0 : seconds,
    ]);
    const got = row?.['got'] === '1';
    const worker = got && !options.besideWorkers && row['busy'] !== '0' ? Number(row['busy']) : null;
    if (got && worker === null) return new ServerLock(connection, name);
    if (worker !== null) await connection.run('DO RELEASE_LOCK(?)', [name]);
    // A wait that was killed ends without an error on MariaDB.
    options.signal?.throwIfAborted();
    if (row?.['got'] !== '0' && worker === null)
      throw commonError('DATABASE_BUSY', `GET_LOCK failed on ${connection.settings.host} (no memory, or killed)`);
    const holder = await lockHolder(connection, worker === null ? name : workerLockName(name, worker));
    if (settings.onBusy === 'skip') return null;
    if (settings.onBusy === 'fail' || performance.now() >= deadline) throw busy(connection, holder, settings);
    if (told === 0 || performance.now() - told > 10_000) {
      options.onWait?.({ holder, remainingSeconds: Math.round(remainingMs / 1000) });
      told = performance.now();
    }
    if (worker !== null) await delay(workerPollMs, options.signal);
  }
}

/** A worker's lock is not waited for by GET_LOCK, so that the schema's lock is never held meanwhile. */
const workerPollMs = 200;

/** SQL that gives the number of the first worker whose lock is taken, or 0. It stands behind GET_LOCK and is worked out after it. */
function workersBusy(name: string): string {
  const workers = Array.from({ length: workerLocksMax }, (_, index) => index + 1);
  return `CASE ${workers.map((worker) => `WHEN NOT IS_FREE_LOCK(${quoteString(workerLockName(name, worker))}) THEN ${worker}`).join(' ')} ELSE 0 END`;
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
  // Not by information_schema: there MySQL fails (3854) as soon as any session's statement has an emoji in it.
  const process = (await connection.rows('SHOW PROCESSLIST')).find((row) => row['Id'] === id);
  return process ? `${process['User']}@${process['Host']} (connection ${id})` : `connection ${id}`;
}
