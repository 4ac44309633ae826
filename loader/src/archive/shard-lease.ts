import type { Connection } from '@tableset/common/database/connection.ts';
import { ServerLock, workerLockName, workerLocksMax } from '@tableset/common/database/lock.ts';
import { assertClaimed, type ShardClaim } from './shard-ledger.ts';

/**
 * The lock of one worker, held by the connection that makes its writes: the lease on whatever shard it has claimed. It needs no clock: it is there exactly
 * as long as that connection, and whoever takes the schema's lock waits until it is gone.
 */
export class ShardLease extends ServerLock {
  readonly worker: number;
  /** The name of the schema's lock. */
  readonly schemaLock: string;
  #claim: ShardClaim | null = null;

  constructor(connection: Connection, schemaLock: string, worker: number) {
    super(connection, workerLockName(schemaLock, worker));
    this.worker = worker;
    this.schemaLock = schemaLock;
  }

  /** From now on every transaction that deletes must find the shard claimed under this token. */
  fenceBy(claim: ShardClaim): void {
    this.#claim = claim;
  }

  /** @throws AppError LOCK_LOST, ARCHIVE_BATCH_FENCED */
  override async assertHeld(): Promise<void> {
    await super.assertHeld();
    if (this.#claim) await assertClaimed(this.connection, this.#claim);
  }
}

/** The connections that hold the lock of a worker, by the number of that lock. */
export async function livingWorkers(connection: Connection, schemaLock: string): Promise<ReadonlyMap<number, number>> {
  const workers = Array.from({ length: workerLocksMax }, (_, index) => index + 1);
  const row = await connection.row(
    `SELECT ${workers.map((worker) => `IS_USED_LOCK(?) AS w${worker}`).join(', ')}`,
    workers.map((worker) => workerLockName(schemaLock, worker)),
  );
  const living = new Map<number, number>();
  for (const worker of workers) {
    const id = row?.[`w${worker}`];
    if (typeof id === 'string') living.set(worker, Number(id));
  }
  return living;
}

/**
 * Makes this connection one of the workers. Call it under the schema's lock, so that nobody else takes the same number.
 * @returns null if there are as many workers as there may be
 */
export async function takeLease(
  connection: Connection,
  schemaLock: string,
  living: ReadonlyMap<number, number>,
): Promise<ShardLease | null> {
  for (let worker = 1; worker <= workerLocksMax; worker++) {
    if (living.has(worker)) continue;
    const row = await connection.row('SELECT GET_LOCK(?, 0) AS got', [workerLockName(schemaLock, worker)]);
    if (row?.['got'] === '1') return new ShardLease(connection, schemaLock, worker);
  }
  return null;
}
