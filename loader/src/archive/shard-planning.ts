import type { Connection } from '@tableset/common/database/connection.ts';
import { StorePool } from '../catalogue/store-pool.ts';
import { sourceTable } from '../core/archive/one-server-sql.ts';
import type { KeyPoint } from '../core/archive/selection.ts';
import { type ShardBounds, shardBounds, shardSizes, shareBudget } from '../core/archive/shard-plan.ts';
import type { CountsByTable } from './archive-counts.ts';
import { chosenRows } from './archive-dry-run.ts';
import { checkRights } from './check-rights.ts';
import type { DeletionBudget } from './deletion-budget.ts';
import { type PlannedSet, planArchive } from './plan-archive.ts';
import { type ArchiveRequest, checkedBudget, openEngine } from './run-archive.ts';
import type { JoinedWorker } from './shard-join.ts';
import { type PlannedShard, type ShardPlan, writePlan } from './shard-ledger.ts';

/**
 * Makes the plan of a run while nobody else works: what earlier runs left is brought to an end, stores are prepared, and the tables are cut into shards by the rows that
 * they have. Until its last statement there is no plan at all.
 * @throws AppError ARCHIVE_TOO_MANY_DELETES before anything is copied, and what planning a run without shards throws
 */
export async function makePlan(
  { schema, runId }: Pick<JoinedWorker, 'schema' | 'runId'>,
  settingsHash: string,
  counts: CountsByTable,
  request: ArchiveRequest & { readonly shards: number },
): Promise<{ readonly plan: Omit<ShardPlan, 'connections'>; readonly planned: readonly PlannedSet[] }> {
  const { connection } = schema;
  const { output, signal, config } = request;
  const plannedAt = String((await connection.row('SELECT UTC_TIMESTAMP(6) AS now'))?.['now']);
  await checkRights(connection, request);
  const planned = await planArchive(connection, request.tasks, { nowUtc: plannedAt, output });
  await using stores = new StorePool(config.stores, connection, { output, signal });
  await prepareStores(planned, stores, request);
  const budget = await checkedBudget(planned, connection, request);
  for (const each of planned) {
    await using engine = await openEngine(
      {
        set: each.set,
        selection: each.selection(),
        cutoff: each.cutoff,
        lock: schema,
        store: await stores.get(each.set.task.store),
        runId,
        program: request.version,
        shard: null,
        parallelBatches: 1,
        output,
        signal,
        spend: (rows) => budget.spend(rows),
      },
      stores.settings(each.set.task.store),
    );
    counts.add(await engine.recover());
    counts.add(await engine.drain());
  }
  const shards: PlannedShard[] = [];
  for (const each of planned) shards.push(...(await cutTable(connection, each, request.shards)));
  const plan = { generation: runId, settingsHash, plannedAt };
  await writePlan(connection, plan, await withBudget(connection, planned, shards, budget));
  output.event('info', 'shards planned', { run: runId, shards: shards.length });
  return { plan, planned };
}

/** Makes ready what the tables are archived to; where the plan was made, everything is there already. */
export async function prepareStores(
  planned: readonly PlannedSet[],
  stores: StorePool,
  { output }: Pick<ArchiveRequest, 'output'>,
): Promise<void> {
  for (const { set } of planned) {
    const store = await stores.get(set.task.store);
    const done = await store.prepare(set.tables, set.task.evolve);
    for (const sentence of done) output.event('info', 'store prepared', { store: set.task.store, done: sentence });
  }
}

/** Shards with as many rows each as are there to be archived now: one count and one walk along the index, neither of which keeps rows in memory. */
async function cutTable(connection: Connection, each: PlannedSet, shards: number): Promise<readonly PlannedShard[]> {
  const selection = each.selection();
  const { sql, values } = selection.matches('r');
  const row = await connection.row(
    `SELECT COUNT(*) AS count FROM ${sourceTable(each.set.tables[0])} r${selection.indexHint} WHERE ${sql}`,
    values,
  );
  const ends: KeyPoint[] = [];
  for (const size of shardSizes(Number(row?.['count']), shards)) {
    const after = ends.at(-1) ?? null;
    const cut = selection.cut(after, size);
    const found = await connection.row(cut.sql, cut.values);
    // Rows may be gone since they were counted.
    if (!found) break;
    ends.push(selection.readRange(after, found).range.last);
  }
  return shardBounds(ends).map((bounds, shard) => ({
    ...bounds,
    table: each.set.task.table,
    shard,
    byDate: selection.byDate,
    maxDeletes: null,
  }));
}

/** The shards with what each of them may delete: exactly counted where the run has a limit, so that all of them together never go beyond it. */
async function withBudget(
  connection: Connection,
  planned: readonly PlannedSet[],
  shards: readonly PlannedShard[],
  budget: DeletionBudget,
): Promise<readonly PlannedShard[]> {
  if (budget.remaining === null) return shards;
  const rows: number[] = [];
  for (const shard of shards) {
    const each = planned.find(({ set }) => set.task.table === shard.table);
    rows.push(each ? await countAll(connection, each, shard) : 0);
  }
  const total = rows.reduce((sum, count) => sum + count, 0);
  if (total > budget.remaining) budget.spend(total);
  const shares = shareBudget(budget.remaining, rows);
  return shards.map((shard, index) => ({ ...shard, maxDeletes: shares[index] ?? 0 }));
}

/** The rows of a shard, with all that goes along. */
async function countAll(connection: Connection, { set, selection }: PlannedSet, bounds: ShardBounds): Promise<number> {
  const chosen = selection({ shard: bounds });
  let rows = 0;
  for (const place of set.tables.keys()) {
    const from = chosenRows(set, place, chosen.matches('t0'), chosen.indexHint);
    const row = await connection.row(`SELECT COUNT(*) AS count ${from.sql}`, from.values);
    rows += Number(row?.['count']);
  }
  return rows;
}
