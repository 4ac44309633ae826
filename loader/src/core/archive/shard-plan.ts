import type { KeyPoint } from './selection.ts';

/*
 * How a table is cut into shards, and what a worker does when it comes. Each worker works on one shard after the other until the plan is done; the
 * shards of a worker that died are claimed by the others.
 */

/** The rows of one shard, in the order that batches are taken in; null: from the start, to the end. */
export interface ShardBounds {
  /** Exclusive. */
  readonly after: KeyPoint | null;
  /** Inclusive. */
  readonly last: KeyPoint | null;
}

/**
 * After how many rows each shard but the last one ends, counted from the end of the shard before: shards of a size, as many as there are rows for, and one
 * where there are none.
 */
export function shardSizes(rows: number, shards: number): readonly number[] {
  const count = Math.max(1, Math.min(shards, rows));
  const endOf = (shard: number) => Math.floor((shard * rows) / count);
  return Array.from({ length: count - 1 }, (_, shard) => endOf(shard + 1) - endOf(shard));
}

/** Shards between these ends, without a gap: rows that come in meanwhile belong to one of them too. */
export function shardBounds(ends: readonly KeyPoint[]): readonly ShardBounds[] {
  return [...ends, null].map((last, shard) => ({ after: ends[shard - 1] ?? null, last }));
}

/**
 * How many rows each shard may delete, so that together they never delete more than the run may: the rows that it has, and an equal part of what is left over.
 * @param allowed must cover all of the rows
 */
export function shareBudget(allowed: number, rows: readonly number[]): readonly number[] {
  const left = allowed - rows.reduce((sum, count) => sum + count, 0);
  if (left < 0) throw new RangeError(`${allowed} rows do not cover those of the shards`);
  return rows.map((count) => count + Math.floor(left / rows.length));
}

/** A point as `tableset_shards` has it. */
export function pointText(point: KeyPoint | null): string | null {
  return point === null ? null : JSON.stringify({ date: point.date, key: point.key });
}

/** Reads what `pointText` wrote. */
export function parsePoint(text: string | null): KeyPoint | null {
  if (text === null) return null;
  // Only this program writes it.
  const { date, key } = JSON.parse(text) as KeyPoint;
  return { date, key };
}

/** A plan of shards as a worker finds it, under the lock of the schema. */
export interface FoundPlan {
  readonly settingsHash: string;
  /** Connections of runs that made the plan or joined it. */
  readonly connections: readonly number[];
}

/** What a worker that has come does. */
export type Joining =
  /** Works on the shards of the plan beside the others. */
  | { readonly do: 'join' }
  /** Makes a new plan: nobody else works, so that whatever an older one says is over. */
  | { readonly do: 'plan' }
  /** Waits or ends: a connection works on something else. */
  | { readonly do: 'give-way'; readonly to: number };

/**
 * @param living connections that hold the lock of a worker
 * @param found the newest plan of the ledger; null if there is none
 */
export function decideJoining(living: readonly number[], found: FoundPlan | null, settingsHash: string): Joining {
  const [first] = living;
  if (first === undefined) return { do: 'plan' };
  const stranger = living.find((connection) => !found?.connections.includes(connection));
  if (stranger !== undefined) return { do: 'give-way', to: stranger };
  return found?.settingsHash === settingsHash ? { do: 'join' } : { do: 'give-way', to: first };
}

/** How far a plan is. */
export interface PlanProgress {
  readonly unfinished: number;
  /** Transactions that deleted, of all shards. */
  readonly batches: number;
}

/** What a worker that waits for the others knows. */
export interface Waiting {
  readonly batches: number;
  /** Since when that many. */
  readonly sinceMs: number;
}

/** Whoever holds a shard may be paused for half an hour by what throttles it. */
export const stalledMsMax = 60 * 60_000;

/** What a worker does that found no shard to claim: it waits as long as others get on, since it may have to take over from them. */
export function decideWaiting(
  progress: PlanProgress,
  waiting: Waiting | null,
  nowMs: number,
): { readonly do: 'end' } | { readonly do: 'wait'; readonly waiting: Waiting } | { readonly do: 'give-up' } {
  if (progress.unfinished === 0) return { do: 'end' };
  if (waiting?.batches !== progress.batches)
    return { do: 'wait', waiting: { batches: progress.batches, sinceMs: nowMs } };
  return nowMs - waiting.sinceMs >= stalledMsMax ? { do: 'give-up' } : { do: 'wait', waiting };
}
