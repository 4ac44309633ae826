import { delay } from '@tableset/common/database/connect.ts';
import type { Connection } from '@tableset/common/database/connection.ts';
import { ensureLedger, startRun } from '@tableset/common/database/ledger.ts';
import { acquireLock, lockName, type SchemaLock, ServerLock } from '@tableset/common/database/lock.ts';
import { AppError, commonError } from '@tableset/common/errors.ts';
import { decideJoining } from '../core/archive/shard-plan.ts';
import type { ArchiveRequest } from './run-archive.ts';
import { livingWorkers, type ShardLease, takeLease } from './shard-lease.ts';
import { readPlan, type ShardPlan } from './shard-ledger.ts';

/** A worker as it begins. */
export interface JoinedWorker {
  readonly lease: ShardLease;
  readonly runId: string;
  /** The plan that it joined; null if it is to make one. */
  readonly plan: ShardPlan | null;
  /** The lock of the schema, which is still held. */
  readonly schema: SchemaLock;
}

/** One wait on the server for the gate; between them the deadline and the stop signal are looked at. */
const pollSeconds = 2;
/** How soon it is looked again whether those who work on something else have ended. */
const giveWayMs = 500;
/** Whoever takes the schema's lock for a moment to look at it, and lets go again, is not busy. */
const momentSeconds = 3;

/**
 * Makes this connection a worker: the schema's lock is held for as long as it takes to look who else works, to take the lock of a worker, and (in `begin`) to make the plan
 * if nobody has. Workers come through one after the other, so that none of them finds the schema locked by another of them.
 * @param begin what is to be done while the schema is locked
 * @returns null if something else holds the schema and `--on-busy` is `skip`
 * @throws AppError LOCK_BUSY
 */
export async function joinWorkers<T>(
  connection: Connection,
  request: ArchiveRequest,
  settingsHash: string,
  begin: (joined: JoinedWorker) => Promise<T>,
): Promise<T | null> {
  const { onBusy, lockWaitSeconds } = request.lock;
  const deadline = performance.now() + (onBusy === 'wait' ? lockWaitSeconds * 1000 : 0);
  for (;;) {
    try {
      return await joinOnce(connection, request, settingsHash, begin);
    } catch (error) {
      if (!(error instanceof GiveWay)) throw error;
      if (onBusy === 'skip') return null;
      if (performance.now() >= deadline) throw error.busy;
      await delay(giveWayMs, request.signal);
    }
  }
}

/** Somebody else is in the way; by no means a fault that a run ends with unless `--on-busy` says so. */
class GiveWay extends Error {
  readonly busy: AppError;

  constructor(busy: AppError) {
    super(busy.message);
    this.busy = busy;
  }
}

async function joinOnce<T>(
  connection: Connection,
  request: ArchiveRequest,
  settingsHash: string,
  begin: (joined: JoinedWorker) => Promise<T>,
): Promise<T> {
  const { output } = request;
  const name = lockName(connection);
  await using _gate = await passGate(connection, `${name}:workers`, request);
  const onWait = (wait: object) => output.event('info', 'waiting for the lock', { ...wait });
  await using schema = await lockForAMoment(connection, request, onWait);
  await ensureLedger(connection);
  const living = await livingWorkers(connection, name);
  const connections = Array.from(living.values());
  const plan = living.size === 0 ? null : await readPlan(connection);
  const joining = decideJoining(connections, plan, settingsHash);
  if (joining.do === 'give-way') throw new GiveWay(busyWith(connection, `connection ${joining.to}`));
  const lease = await takeLease(connection, name, living);
  if (!lease) throw new GiveWay(busyWith(connection, `${living.size} workers`));
  const run = { kind: 'archive', trigger: request.trigger, version: request.version };
  const runId = await startRun(connection, run, connections);
  return await begin({ lease, runId, plan, schema });
}

/** The schema's lock, beside living workers. */
async function lockForAMoment(
  connection: Connection,
  { lock, signal }: ArchiveRequest,
  onWait: (wait: object) => void,
): Promise<SchemaLock> {
  const settings = lock.onBusy === 'wait' ? lock : { onBusy: 'wait' as const, lockWaitSeconds: momentSeconds };
  try {
    const schema = await acquireLock(connection, settings, { signal, onWait, besideWorkers: true });
    if (schema) return schema;
  } catch (error) {
    if (error instanceof AppError && error.code === 'LOCK_BUSY') throw new GiveWay(error);
    throw error;
  }
  throw new RangeError('a lock that is waited for is never skipped');
}

/** Only workers pass it, one after the other; the first makes the plan meanwhile. */
async function passGate(
  connection: Connection,
  gate: string,
  { lock, signal }: ArchiveRequest,
): Promise<AsyncDisposable> {
  const deadline = performance.now() + lock.lockWaitSeconds * 1000;
  for (;;) {
    signal.throwIfAborted();
    const row = await connection.row('SELECT GET_LOCK(?, ?) AS got', [gate, pollSeconds]);
    if (row?.['got'] === '1') return new ServerLock(connection, gate);
    if (performance.now() >= deadline) throw new GiveWay(busyWith(connection, 'a worker that plans its shards'));
  }
}

function busyWith(connection: Connection, holder: string): AppError {
  return commonError('LOCK_BUSY', `schema ${connection.settings.name} is locked by ${holder}`, { details: { holder } });
}
