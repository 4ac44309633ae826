import type { Connection } from '@tableset/common/database/connection.ts';
import { rollBack } from '@tableset/common/database/transaction.ts';
import {
  type FoundPlan,
  type PlanProgress,
  parsePoint,
  pointText,
  type ShardBounds,
} from '../core/archive/shard-plan.ts';
import { loaderError } from '../errors.ts';

/** A plan of shards: what the workers of one run share. */
export interface ShardPlan extends FoundPlan {
  /** The run that made it. */
  readonly generation: string;
  /** By the primary's clock, UTC: what the cut-offs of all workers count from. */
  readonly plannedAt: string;
}

/** A shard that is to be worked on. */
export interface PlannedShard extends ShardBounds {
  readonly table: string;
  readonly shard: number;
  readonly byDate: boolean;
  /** Null: no limit. */
  readonly maxDeletes: number | null;
}

/** A shard that this connection has claimed; the token fences off everybody else. */
export interface ShardClaim extends PlannedShard {
  readonly id: string;
  readonly token: string;
}

/** The newest plan; null if there is none. */
export async function readPlan(connection: Connection): Promise<ShardPlan | null> {
  const row = await connection.row(
    'SELECT CAST(generation AS CHAR) AS generation, settings_hash, planned_at FROM tableset_shards ORDER BY tableset_shards.id DESC LIMIT 1',
  );
  if (!row) return null;
  const generation = String(row['generation']);
  const runs = await connection.rows("SELECT connection_id FROM tableset_runs WHERE id >= ? AND kind = 'archive'", [
    generation,
  ]);
  return {
    generation,
    settingsHash: String(row['settings_hash']),
    plannedAt: String(row['planned_at']),
    connections: runs.map((run) => Number(run['connection_id'])),
  };
}

/** Puts a plan in the place of all older ones. Call it under the schema's lock, when no worker lives. */
export async function writePlan(
  connection: Connection,
  plan: Omit<ShardPlan, 'connections'>,
  shards: readonly PlannedShard[],
): Promise<void> {
  await connection.run('START TRANSACTION');
  try {
    await connection.run('DELETE FROM tableset_shards');
    for (const each of shards) {
      await connection.run(
        `INSERT INTO tableset_shards (generation, settings_hash, planned_at, table_name, shard, by_date, after_key, last_key, max_deletes, state, token, changed_at)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, 'open', 0, UTC_TIMESTAMP(6))`,
        [
          plan.generation,
          plan.settingsHash,
          plan.plannedAt,
          each.table,
          each.shard,
          each.byDate ? 1 : 0,
          pointText(each.after),
          pointText(each.last),
          each.maxDeletes,
        ],
      );
    }
    await connection.run('COMMIT');
  } catch (error) {
    await rollBack(connection);
    throw error;
  }
}

/**
 * Claims a shard that nobody has, or whose worker is dead: its lock is free, or another connection's. A shard whose row is locked is passed over; the last
 * transaction of a lost worker may still be under way there. Read in the order of the primary key: to be sorted, all of them would be locked.
 * @param lease the lock that this connection holds as long as it lives
 * @returns null if there is none now
 */
export async function claimShard(
  connection: Connection,
  generation: string,
  lease: { readonly worker: number; readonly schemaLock: string },
): Promise<ShardClaim | null> {
  await connection.run('START TRANSACTION');
  try {
    const row = await connection.row(
      `SELECT CAST(id AS CHAR) AS id, CAST(token AS CHAR) AS token, table_name, shard, by_date, after_key, last_key, max_deletes
       FROM tableset_shards FORCE INDEX (PRIMARY) WHERE generation = ?
         AND (state = 'open' OR (state = 'claimed' AND NOT (IS_USED_LOCK(CONCAT(?, ':', worker)) <=> connection_id)))
       ORDER BY tableset_shards.id LIMIT 1 FOR UPDATE SKIP LOCKED`,
      [generation, lease.schemaLock],
    );
    if (row) {
      await connection.run(
        "UPDATE tableset_shards SET state = 'claimed', token = token + 1, worker = ?, connection_id = CONNECTION_ID(), changed_at = UTC_TIMESTAMP(6) WHERE id = ?",
        [lease.worker, String(row['id'])],
      );
    }
    await connection.run('COMMIT');
    return row && { ...readShard(row), id: String(row['id']), token: String(BigInt(String(row['token'])) + 1n) };
  } catch (error) {
    await rollBack(connection);
    throw error;
  }
}

function readShard(row: NonNullable<Awaited<ReturnType<Connection['row']>>>): PlannedShard {
  const text = (name: string) => (row[name] === null || row[name] === undefined ? null : String(row[name]));
  const maxDeletes = text('max_deletes');
  return {
    table: String(row['table_name']),
    shard: Number(row['shard']),
    byDate: row['by_date'] === '1',
    after: parsePoint(text('after_key')),
    last: parsePoint(text('last_key')),
    maxDeletes: maxDeletes === null ? null : Number(maxDeletes),
  };
}

/**
 * The compare-and-set of the fence; a part of every transaction that deletes rows of the shard. It locks the shard's row, so that nobody claims the shard before
 * that transaction has ended.
 * @throws AppError ARCHIVE_BATCH_FENCED if the shard was claimed by somebody else; roll back then.
 */
export async function assertClaimed(connection: Connection, claim: ShardClaim): Promise<void> {
  await change(connection, claim, 'batches = batches + 1');
}

/** Says that nothing of the shard is left to be archived. @throws AppError ARCHIVE_BATCH_FENCED */
export async function finishShard(connection: Connection, claim: ShardClaim): Promise<void> {
  await change(connection, claim, "state = 'done'");
}

async function change(connection: Connection, claim: ShardClaim, assignment: string): Promise<void> {
  const { affectedRows } = await connection.run(
    `UPDATE tableset_shards SET ${assignment}, changed_at = UTC_TIMESTAMP(6) WHERE id = ? AND token = ? AND state = 'claimed'`,
    [claim.id, claim.token],
  );
  if (affectedRows === 1) return;
  throw loaderError(
    'ARCHIVE_BATCH_FENCED',
    `shard ${claim.shard} of ${claim.table} is no longer claimed under token ${claim.token}`,
  );
}

/** How far the plan is. */
export async function readProgress(connection: Connection, generation: string): Promise<PlanProgress> {
  const row = await connection.row(
    "SELECT COUNT(CASE WHEN state <> 'done' THEN 1 END) AS unfinished, SUM(batches) AS batches FROM tableset_shards WHERE generation = ?",
    [generation],
  );
  return { unfinished: Number(row?.['unfinished']), batches: Number(row?.['batches'] ?? 0) };
}
