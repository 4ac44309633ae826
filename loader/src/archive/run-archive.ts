import { connect } from '@tableset/common/database/connect.ts';
import { type Connection, explainDatabaseError } from '@tableset/common/database/connection.ts';
import { ensureLedger, finishRun, startRun } from '@tableset/common/database/ledger.ts';
import { acquireLock, type SchemaLock } from '@tableset/common/database/lock.ts';
import { AppError } from '@tableset/common/errors.ts';
import type { Output } from '@tableset/common/output/output.ts';
import type { DatabaseSettings, LockSettings } from '@tableset/common/settings/database.ts';
import { StorePool } from '../catalogue/store-pool.ts';
import type { ArchiveConfig, ArchiveTask, StoreSettings } from '../config/archive-config.ts';
import { sourceTable } from '../core/archive/one-server-sql.ts';
import { loaderError } from '../errors.ts';
import { waitForTables } from '../load/load-tasks.ts';
import type { ArchiveStore } from '../stores/store.ts';
import { abandonInOtherStores } from './abandon-batch.ts';
import { type ArchiveCounts, CountsByTable } from './archive-counts.ts';
import type { PlannedTable, WouldArchive } from './archive-dry-run.ts';
import { checkRights } from './check-rights.ts';
import { type DeletionBudget, openBudget } from './deletion-budget.ts';
import type { BatchEngine, EngineContext } from './engine.ts';
import { type PlannedSet, planArchive } from './plan-archive.ts';
import { runBatches } from './run-batches.ts';
import { openThrottle, type Reason } from './throttle.ts';

export interface ArchiveRequest {
  readonly config: ArchiveConfig;
  /** Entries of the configuration to archive, in its order, disabled ones left out. */
  readonly tasks: readonly ArchiveTask[];
  readonly database: DatabaseSettings;
  readonly lock: LockSettings;
  readonly dryRun: boolean;
  /** How many shards tables are cut into if this worker is the first; without it the run works alone. */
  readonly shards?: number | null;
  /**
   * The conditions of each task name one row by its whole key, whatever its age: it is looked for by the key, and loads are not told that all rows of its age
   * have gone.
   */
  readonly byKey?: boolean;
  readonly trigger: string;
  readonly version: string;
  readonly output: Output;
  readonly signal: AbortSignal;
}

export interface ArchiveOutcome {
  readonly outcome: 'done' | 'skipped';
  readonly tables: readonly ArchiveCounts[];
  /** What a dry run found; there are no `tables` then, since nothing was done. */
  readonly dryRun?: DryRun;
}

export interface DryRun {
  readonly tables: readonly WouldArchive[];
  readonly plan: readonly PlannedTable[];
  /** Statements that grant what the account lacks for a run. */
  readonly missingGrants: readonly string[];
  /** Why a run would be refused; null if it would not. */
  readonly refusal: AppError | null;
}

/**
 * Archives the tables: plans and prepares all of them before the first row is copied, then works them off batch by batch under the schema's lock,
 * and writes the ledger.
 * @throws AppError with `details.summary`, the counts of what was archived before it; ARCHIVE_UNFINISHED at a limit of time.
 */
export async function runArchive(request: ArchiveRequest): Promise<ArchiveOutcome> {
  const { output, signal, tasks } = request;
  if (tasks.length === 0) return { outcome: 'done', tables: [] };
  const onWait = (reason: string) => output.event('info', 'waiting for the database', { reason });
  await using connection = await connect(request.database, { signal, onWait, invalidDates: true });
  const names = tasks.flatMap((task) => [task.table, ...task.children.map((child) => child.table)]);
  await waitForTables(
    [...new Set(names)].map((table) => ({ task: { table } })),
    connection,
    request,
  );
  if (request.dryRun) {
    const { dryRunArchive } = await import('./archive-dry-run.ts');
    return await dryRunArchive(connection, request);
  }
  if (request.shards) {
    const { runShardWorker } = await import('./shard-run.ts');
    return await runShardWorker(connection, { ...request, shards: request.shards });
  }
  const busy = { signal, onWait: (wait: object) => output.event('info', 'waiting for the lock', { ...wait }) };
  await using lock = await acquireLock(connection, request.lock, busy);
  if (!lock) return { outcome: 'skipped', tables: [] };
  return { outcome: 'done', tables: await archiveLocked(lock, request) };
}

async function archiveLocked(lock: SchemaLock, request: ArchiveRequest): Promise<readonly ArchiveCounts[]> {
  const { connection } = lock;
  await ensureLedger(connection);
  const runId = await startRun(connection, { kind: 'archive', trigger: request.trigger, version: request.version });
  const counts = new CountsByTable();
  try {
    const ended = await archiveAll(lock, runId, counts, request);
    if (ended) {
      throw loaderError('ARCHIVE_UNFINISHED', `the run ended before everything was archived: ${ended.reason}`, {
        details: ended.fields,
      });
    }
    await finishRun(connection, runId, { outcome: 'done', counts: counts.all() });
    return counts.all();
  } catch (error) {
    throw await failed(error, counts.all(), connection, runId);
  }
}

/** Records how the run ended as far as the connection still allows it, and adds to the error what had been archived before. */
export async function failed(
  error: unknown,
  counts: readonly ArchiveCounts[],
  connection: Connection,
  runId: string,
): Promise<unknown> {
  const known = error instanceof AppError ? error : explainDatabaseError(error);
  if (!connection.lost) {
    const outcome =
      known?.code === 'STOPPED' ? 'stopped' : known?.code === 'ARCHIVE_UNFINISHED' ? 'unfinished' : 'failed';
    // The first error is the one to report.
    await connection
      .uninterrupted(() => finishRun(connection, runId, { outcome, counts, error: known }))
      .catch(() => undefined);
  }
  return known
    ? new AppError(known.code, { exit: known.exit, cause: '', remedy: known.hint }, known.message, {
        cause: known.cause ?? known,
        details: { ...known.details, summary: { tables: counts } },
      })
    : error;
}

/** @returns why it ended early, null if everything is done */
async function archiveAll(
  lock: SchemaLock,
  runId: string,
  counts: CountsByTable,
  request: ArchiveRequest,
): Promise<Reason | null> {
  const { connection } = lock;
  const { output, signal, config, byKey = false } = request;
  const nowUtc = String((await connection.row('SELECT UTC_TIMESTAMP(6) AS now'))?.['now']);
  // One row is soon rolled back; somebody waits for it.
  if (!byKey) await checkRights(connection, request);
  const planned = await planArchive(connection, request.tasks, { nowUtc, output, byKey });
  for (const { set } of planned) counts.mention(set.tables.map(({ definition }) => definition.name));
  await using stores = new StorePool(config.stores, connection, { output, signal });
  for (const { set } of planned) {
    const store = await stores.get(set.task.store);
    const done = await store.prepare(set.tables, set.task.evolve);
    for (const sentence of done) output.event('info', 'store prepared', { store: set.task.store, done: sentence });
  }
  const budget = await checkedBudget(planned, connection, request);
  await using throttle = openThrottle({ limits: config.limits, connection, output, signal });
  for (const each of planned) {
    const context: EngineContext = {
      set: each.set,
      selection: each.selection(),
      cutoff: each.cutoff,
      lock,
      store: await stores.get(each.set.task.store),
      runId,
      program: request.version,
      shard: null,
      // A pause is one only if nothing is under way meanwhile.
      parallelBatches: config.limits.niceRatio > 0 ? 1 : config.limits.parallelBatches,
      keepWatermark: byKey,
      output,
      signal,
      spend: (rows) => budget.spend(rows),
    };
    if (!context.keepWatermark) await abandonInOtherStores(context, stores);
    await using engine = await openEngine(context, stores.settings(each.set.task.store));
    const ended = await runBatches({ context, engine, limits: config.limits, throttle, counts });
    await countKept(each, context, counts);
    if (ended) return ended;
  }
  return null;
}

/** True if rows that date and conditions choose may stay for a hold, or for children of theirs that are to stay. */
export function staysBehind({ set, holds }: Pick<PlannedSet, 'set' | 'holds'>): boolean {
  return holds.length > 0 || set.tables.some(({ child }) => child?.settings.leftOut === 'keep');
}

/** Rows that would have been archived but for what keeps them. */
export async function countKept(each: PlannedSet, context: EngineContext, counts: CountsByTable): Promise<void> {
  if (!staysBehind(each)) return;
  const { sql, values } = context.selection.skippedCounts(null);
  const row = await context.lock.connection.row(sql, values);
  for (const [reason, rows] of Object.entries(row ?? {}))
    counts.skip(each.set.tables[0].definition.name, reason, Number(rows));
}

/** One transaction a batch where the archive lies on the primary's own server and nothing is to be waited for in between. */
export async function openEngine(context: EngineContext, settings: StoreSettings): Promise<BatchEngine> {
  const { store, set } = context;
  if (settings.kind === 'mysql' && isSameServer(store) && set.task.deleteDelaySeconds === 0) {
    const { openOneServerEngine } = await import('./one-server.ts');
    return await openOneServerEngine(context, settings.schema);
  }
  const { openTwoServerEngine } = await import('./two-server.ts');
  return await openTwoServerEngine(context);
}

function isSameServer(store: ArchiveStore): boolean {
  return 'sameServer' in store && store.sameServer === true;
}

/** The run's deletion budget; a run whose root rows alone exceed it is refused before anything is copied. */
export async function checkedBudget(
  planned: readonly PlannedSet[],
  connection: Connection,
  { config }: ArchiveRequest,
): Promise<DeletionBudget> {
  const count = async (sql: string, values: Parameters<Connection['row']>[1] = []) =>
    Number((await connection.row(sql, values))?.['count']);
  const budget = await openBudget(config.limits.maxDeletes, async () => {
    let rows = 0;
    const tables = new Set(planned.flatMap(({ set }) => set.tables.map(sourceTable)));
    for (const table of tables) rows += await count(`SELECT COUNT(*) AS count FROM ${table}`);
    return rows;
  });
  let least = 0;
  for (const { set, selection } of planned) {
    if (budget.remaining === null) break;
    const { indexHint, matches } = selection();
    const { sql, values } = matches('r');
    // No more is counted than is needed to know.
    const enough = budget.remaining - least + 1;
    least += await count(
      `SELECT COUNT(*) AS count FROM (SELECT 1 FROM ${sourceTable(set.tables[0])} r${indexHint} WHERE ${sql} LIMIT ${enough}) found`,
      values,
    );
    if (least <= budget.remaining) continue;
    budget.spend(least);
  }
  return budget;
}
