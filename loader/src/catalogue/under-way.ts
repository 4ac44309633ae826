import type { Connection } from '@tableset/common/database/connection.ts';
import { isMissingTable } from '@tableset/common/database/ledger.ts';
import { lockName } from '@tableset/common/database/lock.ts';
import type { BatchState } from '../archive/batch-ledger.ts';
import { livingWorkers } from '../archive/shard-lease.ts';
import { parsePoint } from '../core/archive/shard-plan.ts';

/** A batch that a run works on, or that the next one finishes or takes away. */
export interface UnfinishedBatch {
  readonly batch: string;
  readonly table: string;
  readonly store: string;
  readonly state: BatchState;
  readonly rows: number | null;
  readonly shard: number | null;
  readonly createdAt: string;
  readonly changedAt: string;
}

/** A shard of the newest plan; null keys are the ends of the table. */
export interface ShardStatus {
  readonly table: string;
  readonly shard: number;
  readonly state: 'open' | 'claimed' | 'done';
  /** Exclusive. */
  readonly after: readonly string[] | null;
  /** Inclusive. */
  readonly last: readonly string[] | null;
  /** Who has claimed it, or did so last. */
  readonly worker: number | null;
  /** False for a claim whose worker is dead: the next worker claims it. */
  readonly alive: boolean | null;
  /** Transactions that deleted. */
  readonly batches: number;
  readonly changedAt: string;
}

const unfinishedStates: readonly BatchState[] = ['copying', 'copied', 'verified', 'abandoned', 'purging'];
const unfinishedMax = 100;
const shardsMax = 1_000;

/** The oldest batches that are neither in the archive nor gone from it. */
export async function unfinishedBatches(
  connection: Connection,
  tables: readonly string[],
): Promise<readonly UnfinishedBatch[]> {
  if (tables.length === 0) return [];
  const list = (values: readonly string[]) => values.map(() => '?').join(',');
  const rows = await connection.rows(
    `SELECT CAST(id AS CHAR) AS batch, table_name, store, state, row_count, shard, created_at, changed_at FROM tableset_batches
     WHERE state IN (${list(unfinishedStates)}) AND table_name IN (${list(tables)}) ORDER BY tableset_batches.id LIMIT ${unfinishedMax}`,
    [...unfinishedStates, ...tables],
  );
  return rows.map((row) => ({
    batch: String(row['batch']),
    table: String(row['table_name']),
    store: String(row['store']),
    // Only the ledger's own module writes states.
    state: String(row['state']) as BatchState,
    rows: number(row['row_count']),
    shard: number(row['shard']),
    createdAt: String(row['created_at']),
    changedAt: String(row['changed_at']),
  }));
}

/** The shards of the newest plan; none where tables were never cut, or by an older version. */
export async function shardStatus(connection: Connection, tables: readonly string[]): Promise<readonly ShardStatus[]> {
  if (tables.length === 0) return [];
  try {
    const rows = await connection.rows(
      `SELECT table_name, shard, state, after_key, last_key, worker, CAST(connection_id AS CHAR) AS connection_id, batches, changed_at FROM tableset_shards
       WHERE generation = (SELECT MAX(generation) FROM tableset_shards) AND table_name IN (${tables.map(() => '?').join(',')})
       ORDER BY tableset_shards.id LIMIT ${shardsMax}`,
      tables,
    );
    const living = rows.length === 0 ? null : await livingWorkers(connection, lockName(connection));
    const key = (text: unknown) => parsePoint(text === null || text === undefined ? null : String(text))?.key ?? null;
    return rows.map((row) => {
      const worker = number(row['worker']);
      const claimed = row['state'] === 'claimed' && worker !== null;
      return {
        table: String(row['table_name']),
        shard: Number(row['shard']),
        // Only the ledger's own module writes states.
        state: String(row['state']) as ShardStatus['state'],
        after: key(row['after_key']),
        last: key(row['last_key']),
        worker,
        alive: claimed ? living?.get(worker) === number(row['connection_id']) : null,
        batches: Number(row['batches']),
        changedAt: String(row['changed_at']),
      };
    });
  } catch (error) {
    if (isMissingTable(error)) return [];
    throw error;
  }
}

function number(cell: unknown): number | null {
  return cell === null || cell === undefined ? null : Number(cell);
}
