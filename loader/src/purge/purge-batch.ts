import { quoteIdentifier, quoteTable } from '@tableset/common/database/quoting.ts';
import { replayed, rollBack } from '@tableset/common/database/transaction.ts';
import { AppError } from '@tableset/common/errors.ts';
import { type BatchClaim, changeState, type LedgerBatch, takeOver } from '../archive/batch-ledger.ts';
import { settleBatch } from '../archive/settle.ts';
import type { ArchiveSession, LockedSession } from '../catalogue/archive-run.ts';
import { batchesById } from '../catalogue/find-batches.ts';
import { loaderError } from '../errors.ts';
import type { ArchiveStore } from '../stores/store.ts';
import {
  batchName,
  batchTables,
  type Difference,
  proveBatch,
  proveManifest,
  verifyFailed,
} from '../verify/prove-batch.ts';

/** A transaction of more rows than this would be long; such a batch goes piece by piece. */
const transactionRowsMax = 50_000;

/**
 * What speaks against purging a batch: a store that does not have it as the ledger says, dates that do not agree, rows that nobody has
 * proved since they were written and that are not what was written.
 * @returns nothing if it may go
 */
export async function purgeObstacles(batch: LedgerBatch, session: ArchiveSession): Promise<readonly Difference[]> {
  const store = await session.stores.get(batch.store);
  const newest = batchTables(batch)[0]?.dates?.newest ?? null;
  if (newest !== batch.newest) {
    const what = `the ledger dates its newest row ${batch.newest}; the manifest ${newest}`;
    return [{ batch: batch.id, store: store.name, table: null, what }];
  }
  return batch.verifiedAt === null ? await proveBatch(store, batch) : await proveManifest(store, batch);
}

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

/**
 * Settles a batch whose purge a killed run had begun: one that is still whole is put back, so that retention, holds and budget are looked at again;
 * what has lost a part is finished.
 * @returns true if it was finished
 * @throws AppError STORE_UNAVAILABLE if the store is not the one that it was
 */
export async function settlePurge(batch: LedgerBatch, session: LockedSession): Promise<boolean> {
  const { connection, request } = session;
  const store = await session.stores.get(batch.store);
  await session.lock.assertHeld();
  const claim = await takeOver(connection, batch.id);
  const found = await store.manifest(batchName(batch)).catch((error) => {
    if (error instanceof AppError && error.code === 'ARCHIVE_VERIFY_FAILED') return null;
    throw error;
  });
  if (found !== null && (await proveBatch(store, batch)).length === 0) {
    await changeState(connection, claim, 'purging', 'deleted');
    request.output.event('info', 'a purge that had removed nothing was undone', {
      batch: batch.id,
      table: batch.table,
    });
    return false;
  }
  if (found === null) await assertSameStore(store, session);
  request.output.event('info', 'finishing a purge that was interrupted', { batch: batch.id, table: batch.table });
  await finish(batch, claim, store, session);
  return true;
}

/** The newest batches that a store is asked for. */
const probedBatches = 10;

/**
 * A volume that is not mounted looks like a store from which everything is gone already.
 * @throws AppError STORE_UNAVAILABLE if it has none of the batches that the ledger knows in it
 */
async function assertSameStore(store: ArchiveStore, { connection }: LockedSession): Promise<void> {
  const rows = await connection.rows(
    `SELECT CAST(id AS CHAR) AS id FROM tableset_batches WHERE state = 'deleted' AND store = ? ORDER BY tableset_batches.id DESC LIMIT ${probedBatches}`,
    [store.name],
  );
  const known = rows.map((row) => String(row['id']));
  for await (const batch of batchesById(connection, known, ['deleted']))
    if ((await store.manifest(batchName(batch))) !== null) return;
  if (known.length === 0) return;
  throw loaderError(
    'STORE_UNAVAILABLE',
    `store ${store.name} (${store.describe()}) has none of the batches that the ledger says are in it`,
    { hint: 'Mount the volume, or point the store at where it was; nothing was removed.' },
  );
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
  await replayed(
    connection,
    request.signal,
    () => transaction(batch, schema, session),
    (facts) => request.output.event('warn', 'purging a batch is tried again', { batch: batch.id, ...facts }),
  );
}

async function transaction(batch: LedgerBatch, schema: string, session: LockedSession): Promise<void> {
  const { connection } = session;
  try {
    await connection.run('START TRANSACTION');
    await session.lock.assertHeld();
    await changeState(connection, batch, 'deleted', 'purged');
    for (const { table, archiveName, rows } of batchTables(batch).toReversed()) {
      const { affectedRows } = await connection.run(
        `DELETE FROM ${quoteTable(schema, archiveName)} WHERE ${quoteIdentifier('tableset_batch')} = ?`,
        [BigInt(batch.id)],
      );
      if (affectedRows === rows) continue;
      const what = `has ${affectedRows} rows; the manifest says ${rows}`;
      throw verifyFailed(
        [{ batch: batch.id, store: batch.store, table, what }],
        'It was not purged; look at the store.',
      );
    }
    await connection.run(`DELETE FROM ${quoteTable(schema, 'tableset_manifests')} WHERE batch = ?`, [BigInt(batch.id)]);
  } catch (error) {
    await rollBack(connection);
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
    } else await rollBack(connection);
    throw error;
  }
}
