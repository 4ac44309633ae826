import { connect } from '@tableset/common/database/connect.ts';
import { type Connection, explainDatabaseError } from '@tableset/common/database/connection.ts';
import { ensureLedger, finishRun, startRun } from '@tableset/common/database/ledger.ts';
import { acquireLock, type SchemaLock } from '@tableset/common/database/lock.ts';
import { AppError } from '@tableset/common/errors.ts';
import type { Output } from '@tableset/common/output/output.ts';
import type { DatabaseSettings, LockSettings } from '@tableset/common/settings/database.ts';
import type { ArchiveTask } from '../config/archive-config.ts';
import type { LoadConfig } from '../config/load-config.ts';
import { StorePool } from './store-pool.ts';

/** What restore, purge, verify and status are asked with. */
export interface SessionRequest {
  readonly config: LoadConfig;
  /** Tables of `archive:` to work on. */
  readonly tasks: readonly ArchiveTask[];
  readonly database: DatabaseSettings;
  readonly version: string;
  readonly output: Output;
  readonly signal: AbortSignal;
}

/** What those of them are asked with that write. */
export interface RunRequest extends SessionRequest {
  readonly lock: LockSettings;
  readonly trigger: string;
}

/** What they work with. */
export interface ArchiveSession {
  readonly connection: Connection;
  readonly stores: StorePool;
  readonly request: SessionRequest;
}

export interface LockedSession extends ArchiveSession {
  /** Its connection makes every write on the primary. */
  readonly lock: SchemaLock;
  readonly runId: string;
}

/** Works without the lock, for what writes nothing. */
export async function withSession<T>(
  request: SessionRequest,
  body: (session: ArchiveSession) => Promise<T>,
): Promise<T> {
  await using connection = await openConnection(request);
  await using stores = new StorePool(request.config.stores, connection, request);
  return await body({ connection, stores, request });
}

/**
 * Works under the lock of the schema, as a run of the ledger.
 * @param counts what is known of the tables so far, for the ledger and for an error's summary
 * @returns null if another run holds the lock and `--on-busy` is `skip`
 * @throws AppError with `details.summary`
 */
export async function withLockedRun<T>(
  request: RunRequest,
  kind: string,
  counts: () => unknown,
  body: (session: LockedSession) => Promise<T>,
): Promise<T | null> {
  const { signal, output, trigger, version } = request;
  await using connection = await openConnection(request);
  const onWait = (wait: object) => output.event('info', 'waiting for the lock', { ...wait });
  await using lock = await acquireLock(connection, request.lock, { signal, onWait });
  if (!lock) return null;
  await ensureLedger(connection);
  const runId = await startRun(connection, { kind, trigger, version });
  try {
    await using stores = new StorePool(request.config.stores, connection, request);
    const result = await body({ connection, stores, request, lock, runId });
    await finishRun(connection, runId, { outcome: 'done', counts: counts() });
    return result;
  } catch (error) {
    throw await failed(error, counts(), connection, runId);
  }
}

async function openConnection({ database, signal, output }: SessionRequest): Promise<Connection> {
  const onWait = (reason: string) => output.event('info', 'waiting for the database', { reason });
  return await connect(database, { signal, onWait, invalidDates: true });
}

/** Records how the run ended as far as the connection still allows it, and adds to the error what had been done before. */
async function failed(error: unknown, counts: unknown, connection: Connection, runId: string): Promise<unknown> {
  const known = error instanceof AppError ? error : explainDatabaseError(error);
  if (!connection.lost) {
    try {
      await connection.uninterrupted(async () => {
        await connection.run('ROLLBACK');
        const outcome =
          known?.code === 'STOPPED' ? 'stopped' : known?.code === 'ARCHIVE_UNFINISHED' ? 'unfinished' : 'failed';
        await finishRun(connection, runId, { outcome, counts, error: known });
      });
    } catch {
      // The first error is the one to report.
    }
  }
  return known ? withSummary(known, counts) : error;
}

/** The same error with the tables' counts for the summary. */
export function withSummary(error: AppError, counts: unknown): AppError {
  const { code, exit, hint, message, cause, details } = error;
  return new AppError(code, { exit, cause: '', remedy: hint }, message, {
    cause: cause ?? error,
    details: { summary: { tables: counts }, ...details },
  });
}

/** Now by the primary's clock: UTC, `YYYY-MM-DD HH:MM:SS.ffffff`. */
export async function primaryNow(connection: Connection): Promise<string> {
  return String((await connection.row('SELECT UTC_TIMESTAMP(6) AS now'))?.['now']);
}
