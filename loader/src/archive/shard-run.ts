import { createHash } from 'node:crypto';
import { delay } from '@tableset/common/database/connect.ts';
import type { Connection } from '@tableset/common/database/connection.ts';
import { finishRun } from '@tableset/common/database/ledger.ts';
import { StorePool } from '../catalogue/store-pool.ts';
import type { ArchiveTask } from '../config/archive-config.ts';
import { decideWaiting, type Waiting } from '../core/archive/shard-plan.ts';
import { loaderError } from '../errors.ts';
import { abandonInOtherStores } from './abandon-batch.ts';
import { CountsByTable } from './archive-counts.ts';
import { readBatches } from './batch-ledger.ts';
import { openBudget } from './deletion-budget.ts';
import type { EngineContext } from './engine.ts';
import { type PlannedSet, planArchive } from './plan-archive.ts';
import { type ArchiveOutcome, type ArchiveRequest, countKept, failed, openEngine } from './run-archive.ts';
import { runBatches } from './run-batches.ts';
import { joinWorkers } from './shard-join.ts';
import type { ShardLease } from './shard-lease.ts';
import { claimShard, finishShard, readProgress, type ShardClaim } from './shard-ledger.ts';
import { makePlan, prepareStores } from './shard-planning.ts';
import { openThrottle, type Reason, type Throttle } from './throttle.ts';

export type ShardRequest = ArchiveRequest & { readonly shards: number };

/** What a worker works with. */
interface Worker {
  readonly lease: ShardLease;
  readonly runId: string;
  readonly generation: string;
  readonly plannedAt: string;
  /** Null where another worker has made the plan. */
  readonly planned: readonly PlannedSet[] | null;
  readonly counts: CountsByTable;
}

/** How often a worker that found nothing to claim looks again. */
const lookMs = 500;

/**
 * One of several workers of a run: makes the plan of shards if it is the first, claims shards until all are done, and takes over those of workers that died. It ends well
 * when the whole plan is done, whoever did it.
 * @throws AppError LOCK_BUSY, ARCHIVE_UNFINISHED and what a run without shards throws, with `details.summary`
 */
export async function runShardWorker(connection: Connection, request: ShardRequest): Promise<ArchiveOutcome> {
  const settingsHash = hashOf(request.tasks);
  const counts = new CountsByTable();
  for (const { table, children } of request.tasks) counts.mention([table, ...children.map((child) => child.table)]);
  const worker = await joinWorkers(connection, request, settingsHash, async (joined): Promise<Worker> => {
    const { lease, runId } = joined;
    try {
      if (joined.plan) return { lease, runId, ...joined.plan, planned: null, counts };
      const { plan, planned } = await makePlan(joined, settingsHash, counts, request);
      return { lease, runId, ...plan, planned, counts };
    } catch (error) {
      await lease[Symbol.asyncDispose]();
      throw await failed(error, counts.all(), connection, runId);
    }
  });
  if (!worker) return { outcome: 'skipped', tables: [] };
  await using _lease = worker.lease;
  try {
    const ended = await workOff(worker, connection, request);
    if (ended) {
      throw loaderError('ARCHIVE_UNFINISHED', `the run ended before everything was archived: ${ended.reason}`, {
        details: ended.fields,
      });
    }
    await finishRun(connection, worker.runId, { outcome: 'done', counts: counts.all() });
    return { outcome: 'done', tables: counts.all() };
  } catch (error) {
    throw await failed(error, counts.all(), connection, worker.runId);
  }
}

/** Workers whose entries differ do not share a plan. */
function hashOf(tasks: readonly ArchiveTask[]): string {
  // Where an entry stands in its file makes no difference.
  const entries = tasks.map(({ position: _position, ...entry }) => entry);
  return createHash('sha256').update(JSON.stringify(entries)).digest('hex');
}

/** @returns why it ended early, null if everything is done */
async function workOff(worker: Worker, connection: Connection, request: ShardRequest): Promise<Reason | null> {
  const { output, signal, config } = request;
  // Only now that nothing else can get in between: a restore that ended just before has put rows on hold.
  const planned =
    worker.planned ?? (await planArchive(connection, request.tasks, { nowUtc: worker.plannedAt, output }));
  await using stores = new StorePool(config.stores, connection, { output, signal });
  if (!worker.planned) await prepareStores(planned, stores, request);
  await using throttle = openThrottle({ limits: config.limits, connection, output, signal });
  let waiting: Waiting | null = null;
  for (;;) {
    signal.throwIfAborted();
    const claim = await claimShard(connection, worker.generation, worker.lease);
    if (claim) {
      output.event('info', 'shard claimed', { table: claim.table, shard: claim.shard, token: claim.token });
      const ended = await workShard(worker, claim, planned, stores, throttle, request);
      if (ended) return ended;
      waiting = null;
      continue;
    }
    const decision = decideWaiting(await readProgress(connection, worker.generation), waiting, Date.now());
    if (decision.do === 'end') return null;
    if (decision.do === 'give-up') return { reason: 'the other workers no longer get on', fields: {} };
    if (!waiting) output.event('info', 'waiting for the other workers');
    waiting = decision.waiting;
    const ended = await throttle.beforeBatch();
    if (ended) return ended;
    await delay(lookMs, signal);
  }
}

/** @returns why it ended before the shard was done: others claim it once this worker's lock is gone */
async function workShard(
  worker: Worker,
  claim: ShardClaim,
  planned: readonly PlannedSet[],
  stores: StorePool,
  throttle: Throttle,
  request: ShardRequest,
): Promise<Reason | null> {
  const { lease, counts } = worker;
  const { connection } = lease;
  const each = planned.find(({ set }) => set.task.table === claim.table);
  if (!each || (claim.byDate && each.dateIndex === null)) {
    throw loaderError(
      'ARCHIVE_TABLE_CHANGED',
      `${claim.table}: the table is no longer what it was when its shards were planned`,
    );
  }
  lease.fenceBy(claim);
  const budget = await shardBudget(connection, worker.generation, claim);
  const context: EngineContext = {
    set: each.set,
    selection: each.selection({ byDate: claim.byDate, shard: { after: claim.after, last: claim.last } }),
    cutoff: each.cutoff,
    lock: lease,
    store: await stores.get(each.set.task.store),
    runId: worker.runId,
    program: request.version,
    shard: claim.shard,
    // The workers are what is parallel; only this connection holds the lease.
    parallelBatches: 1,
    output: request.output,
    signal: request.signal,
    spend: (rows) => budget.spend(rows),
  };
  {
    await abandonInOtherStores(context, stores);
    await using engine = await openEngine(context, stores.settings(each.set.task.store));
    const ended = await runBatches({ context, engine, limits: request.config.limits, throttle, counts });
    if (ended) return ended;
  }
  // Once for each shard, whoever worked on it before.
  await countKept(each, context, counts);
  await finishShard(connection, claim);
  return null;
}

/** What is left of the shard's share of the deletion budget by those who had it before. */
async function shardBudget(connection: Connection, generation: string, claim: ShardClaim) {
  const { maxDeletes } = claim;
  if (maxDeletes === null) return await openBudget({ rows: null, percent: null }, async () => 0);
  let gone = 0;
  if (claim.token !== '1') {
    const before = await readBatches(connection, "table_name = ? AND shard = ? AND run_id >= ? AND state = 'deleted'", [
      claim.table,
      claim.shard,
      generation,
    ]);
    for (const { manifest } of before) for (const { rows, dropped } of manifest?.tables ?? []) gone += rows + dropped;
  }
  return await openBudget({ rows: Math.max(0, maxDeletes - gone), percent: null, share: true }, async () => 0);
}
