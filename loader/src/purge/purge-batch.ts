import { delay } from '@tableset/common/database/connect.ts';
import { classifyFault, serverErrno } from '@tableset/common/database/errno.ts';
import { quoteIdentifier, quoteTable } from '@tableset/common/database/quoting.ts';
import { type BatchClaim, changeState, type LedgerBatch, takeOver } from '../archive/batch-ledger.ts';
import { settleBatch } from '../archive/settle.ts';
import type { LockedSession } from '../catalogue/archive-run.ts';
import type { ArchiveStore } from '../stores/store.ts';
import { batchName, batchTables } from '../verify/prove-batch.ts';

/** A transaction of more rows than this would be long; such a batch goes piece by piece. */
const transactionRowsMax = 50_000;
const deadlockAttemptsMax = 5;
const lockWaitAttemptsMax = 2;

/**
 * Takes an expired batch out of its store. Where the archive lies on the primary's server that is one transaction together with the ledger's row; else
 * the ledger first says that it is going, so that whoever finds it half gone knows why, and the next run finishes it.
 * @throws AppError ARCHIVE_BATCH_FENCED, STORE_UNAVAILABLE
 */
export async function purgeBatch(batch: LedgerBatch, session: LockedSession): Promise<void> {
  const store = await session.stores.get(batch.store);
  const settings = session.stores.settings(batch.store);
  const oneServer = settings.kind === 'mysql' && 'sameServer' in store && store.sameServer === true;
  if (oneServer && (batch.totalRows ?? Number.POSITIVE_INFINITY) <= transactionRowsMax) {
    await purgeAtOnce(batch, settings.schema, session);
    return;
  }
  await session.lock.assertHeld();
  await changeState(session.connection, batch, 'deleted', 'purging');
  await finish(batch, batch, store, session);
}

/** Finishes the purge of a batch that a killed run has begun. */
export async function finishPurge(batch: LedgerBatch, session: LockedSession): Promise<void> {
  await session.lock.assertHeld();
  const claim = await takeOver(session.connection, batch.id);
  await finish(batch, claim, await session.stores.get(batch.store), session);
}

async function finish(
  batch: LedgerBatch,
  claim: BatchClaim,
  store: ArchiveStore,
  session: LockedSession,
): Promise<void> {
  await store.remove(batchName(batch), batchTables(batch));
  await changeState(session.connection, claim, 'purging', 'purged');
}

async function purgeAtOnce(batch: LedgerBatch, schema: string, session: LockedSession): Promise<void> {
  const { connection, request } = session;
  for (let attempt = 1; ; attempt++) {
    try {
      await transaction(batch, schema, session);
      return;
    } catch (error) {
      const fault = classifyFault(error);
      const attemptsMax = fault === 'deadlock' ? deadlockAttemptsMax : fault === 'lock-wait' ? lockWaitAttemptsMax : 1;
      if (attempt >= attemptsMax || connection.lost) throw error;
      request.output.event('warn', 'purging a batch is tried again', {
        batch: batch.id,
        attempt,
        errno: serverErrno(error),
      });
      await delay(100 * 2 ** attempt, request.signal);
    }
  }
}

async function transaction(batch: LedgerBatch, schema: string, session: LockedSession): Promise<void> {
  const { connection } = session;
  try {
    await connection.run('START TRANSACTION');
    await session.lock.assertHeld();
    await changeState(connection, batch, 'deleted', 'purged');
    for (const { archiveName } of batchTables(batch).toReversed()) {
      await connection.run(
        `DELETE FROM ${quoteTable(schema, archiveName)} WHERE ${quoteIdentifier('tableset_batch')} = ?`,
        [BigInt(batch.id)],
      );
    }
    await connection.run(`DELETE FROM ${quoteTable(schema, 'tableset_manifests')} WHERE batch = ?`, [BigInt(batch.id)]);
  } catch (error) {
    // The first error is the one to report; a connection that cannot roll back is rolled back by the server.
    if (!connection.lost)
      await connection.uninterrupted(() => connection.run('ROLLBACK')).catch(() => connection.destroy());
    throw error;
  }
  await commit(batch, session);
}

/** @throws what COMMIT threw, also if the ledger shows that it happened: the lock went with the connection. */
async function commit(batch: LedgerBatch, session: LockedSession): Promise<void> {
  const { connection, request } = session;
  try {
    await connection.uninterrupted(() => connection.run('COMMIT'));
  } catch (error) {
    if (connection.lost) {
      const state = await settleBatch(connection, batch, request);
      request.output.event('warn', 'the connection was lost while a batch was purged', { batch: batch.id, state });
    } else await connection.uninterrupted(() => connection.run('ROLLBACK')).catch(() => connection.destroy());
    throw error;
  }
}
