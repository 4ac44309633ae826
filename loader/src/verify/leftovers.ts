import type { Connection } from '@tableset/common/database/connection.ts';
import type { LockedSession } from '../catalogue/archive-run.ts';
import type { ArchiveTask } from '../config/archive-config.ts';

/** Something in a store that no batch of the ledger accounts for: another primary's, or what a fault left behind. */
export interface Leftover {
  readonly store: string;
  readonly table: string;
  readonly batch: string;
  /** The batch's state in the ledger, which says that nothing should be there; null: the ledger does not know the batch. */
  readonly state: string | null;
}

const idsPerQuery = 500;
const leftoversMax = 1_000;

/** Looks through the stores of these tables, and those that their batches lie in. Nothing is removed: the ledger may be that of a restored backup. */
export async function findLeftovers(
  session: LockedSession,
  tasks: readonly ArchiveTask[],
): Promise<readonly Leftover[]> {
  const leftovers: Leftover[] = [];
  for (const task of tasks) {
    const rows = await session.connection.rows('SELECT DISTINCT store FROM tableset_batches WHERE table_name = ?', [
      task.table,
    ]);
    for (const name of new Set([task.store, ...rows.map((row) => String(row['store']))])) {
      const store = await session.stores.get(name);
      let ids: string[] = [];
      const look = async () => {
        const found = await unaccounted(session.connection, ids);
        leftovers.push(...found.map((each) => ({ store: name, table: task.table, ...each })));
        ids = [];
      };
      for await (const id of store.batches(task.table)) {
        ids.push(id);
        if (ids.length >= idsPerQuery) await look();
        if (leftovers.length >= leftoversMax) return leftovers;
      }
      await look();
    }
  }
  return leftovers;
}

async function unaccounted(
  connection: Connection,
  ids: readonly string[],
): Promise<readonly { readonly batch: string; readonly state: string | null }[]> {
  if (ids.length === 0) return [];
  const rows = await connection.rows(
    `SELECT CAST(id AS CHAR) AS id, state FROM tableset_batches WHERE id IN (${ids.map(() => '?').join(',')})`,
    ids,
  );
  const states = new Map(rows.map((row) => [String(row['id']), String(row['state'])]));
  return ids.flatMap((batch) => {
    const state = states.get(batch) ?? null;
    return state === null || state === 'removed' || state === 'purged' ? [{ batch, state }] : [];
  });
}
