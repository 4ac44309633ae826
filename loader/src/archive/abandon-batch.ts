import type { Connection } from '@tableset/common/database/connection.ts';
import type { StorePool } from '../catalogue/store-pool.ts';
import type { ArchiveSet } from '../core/archive/archive-set.ts';
import type { ArchiveStore } from '../stores/store.ts';
import { changeState, type LedgerBatch, readUnfinished, takeOver } from './batch-ledger.ts';
import type { EngineContext } from './engine.ts';

/** Takes a batch that an earlier run left out of its store again. Nothing of it was deleted from the primary, so its copy is of no use. */
export async function abandonBatch(
  connection: Connection,
  set: ArchiveSet,
  store: ArchiveStore,
  batch: LedgerBatch,
): Promise<void> {
  const claim = await takeOver(connection, batch.id);
  const tables =
    batch.manifest?.tables ??
    set.tables.map(({ definition, archiveName }) => ({ table: definition.name, archiveName }));
  if (batch.state !== 'abandoned') await changeState(connection, claim, batch.state, 'abandoned');
  await store.remove({ id: batch.id, rootTable: set.task.table }, tables);
  await changeState(connection, claim, 'abandoned', 'removed');
}

/**
 * Takes away what earlier runs left unfinished in other stores than the table's entry names by now. A store that is not configured any more, or not to be
 * reached, is only told of: the rows are all still in the table, and archived to the store of today.
 */
export async function abandonInOtherStores(context: EngineContext, stores: StorePool): Promise<void> {
  const { set, store, shard, lock, output, signal } = context;
  const left = await readUnfinished(lock.connection, set.task.table, { isNot: store.name }, shard);
  for (const name of new Set(left.map((batch) => batch.store))) {
    const batches = left.filter((batch) => batch.store === name);
    try {
      const other = await stores.get(name);
      for (const batch of batches) await abandonBatch(lock.connection, set, other, batch);
    } catch (error) {
      if (signal.aborted || lock.connection.lost) throw error;
      output.event('warn', 'unfinished batches stay in a store that the table was archived to before', {
        table: set.task.table,
        store: name,
        batches: batches.map(({ id }) => id),
        reason: error instanceof Error ? error.message : String(error),
      });
    }
  }
}
