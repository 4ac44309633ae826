import { connect } from '@tableset/common/database/connect.ts';
import { type Connection, explainDatabaseError } from '@tableset/common/database/connection.ts';
import { ensureLedger, finishRun, startRun } from '@tableset/common/database/ledger.ts';
import { acquireLock, type SchemaLock } from '@tableset/common/database/lock.ts';
import { quoteTable } from '@tableset/common/database/quoting.ts';
import { AppError } from '@tableset/common/errors.ts';
import type { Output } from '@tableset/common/output/output.ts';
import type { DatabaseSettings, LockSettings } from '@tableset/common/settings/database.ts';
import type { LoadConfig, LoadTable } from '../config/load-config.ts';
import { createSource, type SourceContext } from '../sources/source.ts';
import { openWebhooks } from '../webhooks/webhooks.ts';
import { type Delta, prepareDelta } from './delta.ts';
import { type DryRunTable, describeDelta } from './dry-run.ts';
import { changedTasks, type LoadTask, sourceHash, waitForTables } from './load-tasks.ts';
import { planSets } from './plan-sets.ts';
import { type Published, publishSet, type SetMember } from './publish.ts';
import { describeReject, type RejectCollector, recordRejects } from './reject-collector.ts';
import { loadBySwap } from './swap.ts';
import { dropLeftovers } from './swap-rename.ts';
import { type LoadContext, noCounts, type TableCounts, type TableLoad } from './table-load.ts';
import { definitionHash, recordTable, settingsHash } from './table-state.ts';

export interface LoadRequest {
  readonly config: LoadConfig;
  /** Tables of the configuration to load, in its order. */
  readonly tasks: readonly LoadTable[];
  readonly database: DatabaseSettings;
  readonly lock: LockSettings;
  readonly ifChanged: boolean;
  readonly dryRun: boolean;
  readonly trigger: string;
  readonly version: string;
  readonly sources: SourceContext;
  readonly output: Output;
  readonly signal: AbortSignal;
}

export interface LoadOutcome {
  readonly outcome: 'done' | 'skipped';
  readonly tables: readonly TableCounts[];
  /** What a dry run found, by table. */
  readonly changes?: readonly DryRunTable[];
}

/**
 * Loads the tables: finds what is to be done, takes the lock, publishes each set of linked tables whole or not at all, writes the ledger, and
 * tells the webhooks of changes after their commit.
 * @throws AppError with `details.summary`, the counts of the tables that were published before it.
 */
export async function runLoad(request: LoadRequest): Promise<LoadOutcome> {
  const { config, output, signal } = request;
  const webhooks = request.dryRun
    ? null
    : openWebhooks(config.webhooks, { warn: (message, fields) => output.event('warn', message, fields), guard: null });
  const tasks: LoadTask[] = [];
  for (const task of request.tasks) tasks.push({ task, source: await createSource(task, request.sources) });
  const localInfile = request.tasks.some((task) => task.localInfile !== 'off');
  const onWait = (reason: string) => output.event('info', 'waiting for the database', { reason });
  await using connection = await connect(request.database, { signal, localInfile, onWait });
  const open = request.ifChanged ? await changedTasks(tasks, connection, request) : tasks;
  if (open.length === 0) return { outcome: 'done', tables: tasks.map(({ task }) => noCounts(task.table)) };
  await waitForTables(open, connection, request);
  if (request.dryRun) return await dryRun(open, connection, request);
  const busy = { signal, onWait: (wait: object) => output.event('info', 'waiting for the lock', { ...wait }) };
  await using lock = await acquireLock(connection, request.lock, busy);
  if (!lock) return { outcome: 'skipped', tables: [] };
  // Others may have loaded while this run waited.
  const rest = request.ifChanged ? await changedTasks(open, connection, request) : open;
  const loaded = rest.length === 0 ? [] : await loadLocked(rest, lock, request);
  const changes = loaded.flatMap(({ counts, runId }) =>
    counts.inserted + counts.updated + counts.deleted > 0 ? [{ ...counts, runId, at: new Date().toISOString() }] : [],
  );
  await lock[Symbol.asyncDispose]();
  for (const warning of (await webhooks?.tell(changes, signal)) ?? [])
    output.event('warn', warning.message, { code: warning.code, ...warning.details });
  const byTable = new Map(loaded.map(({ counts }) => [counts.table, counts]));
  return { outcome: 'done', tables: tasks.map(({ task }) => byTable.get(task.table) ?? noCounts(task.table)) };
}

async function loadLocked(
  tasks: readonly LoadTask[],
  lock: SchemaLock,
  request: LoadRequest,
): Promise<readonly { counts: TableCounts; runId: string }[]> {
  const { connection } = lock;
  await ensureLedger(connection);
  await dropLeftovers(connection);
  const runId = await startRun(connection, { kind: 'load', trigger: request.trigger, version: request.version });
  const context: LoadContext = {
    connection,
    output: request.output,
    signal: request.signal,
    dryRun: false,
    rejects: new Map(),
  };
  const counts: TableCounts[] = [];
  try {
    for (const set of await planSets(tasks, context, request.database.name)) {
      const published = await loadSet(set, lock, context, (done) => recordSet(set, done, connection, runId, request));
      counts.push(...published.map((each) => each.counts));
      await writeRejects(context, runId);
    }
    await finishRun(connection, runId, { outcome: 'done', counts, settingsHash: null, sourceHash: null });
    return counts.map((each) => ({ counts: each, runId }));
  } catch (error) {
    throw await failed(error, counts, context, runId);
  }
}

async function writeRejects(context: LoadContext, runId: string): Promise<void> {
  for (const [table, collector] of context.rejects) {
    if (collector.count === 0) continue;
    await recordRejects(context.connection, runId, table, collector.kept);
    context.output.event('warn', 'rows were rejected', {
      table,
      rejected: collector.count,
      first: collector.kept.slice(0, 3).map(describeReject),
    });
  }
  context.rejects.clear();
}

/** Records how the run ended as far as the connection still allows it, and adds to the error what had been published before. */
async function failed(
  error: unknown,
  counts: readonly TableCounts[],
  context: LoadContext,
  runId: string,
): Promise<unknown> {
  const { connection } = context;
  const known = error instanceof AppError ? error : explainDatabaseError(error);
  if (!connection.lost) {
    try {
      await connection.uninterrupted(async () => {
        // A chunk that failed leaves its transaction open, which would take the ledger's rows with it.
        await connection.run('ROLLBACK');
        await writeRejects(context, runId);
        const outcome = known?.code === 'STOPPED' ? 'stopped' : 'failed';
        await finishRun(connection, runId, { outcome, counts, error: known });
      });
    } catch {
      // The first error is the one to report.
    }
  }
  return known
    ? new AppError(known.code, { exit: known.exit, cause: '', remedy: known.hint }, known.message, {
        cause: known.cause ?? known,
        details: { ...known.details, summary: { tables: counts } },
      })
    : error;
}

/** Loads one set of linked tables; a single table may be swapped in. */
async function loadSet(
  set: readonly TableLoad[],
  lock: SchemaLock,
  context: LoadContext,
  record: (published: readonly Published[]) => Promise<void>,
): Promise<readonly Published[]> {
  const [only] = set;
  if (only && set.length === 1 && only.mode === 'swap') {
    const published = [await loadBySwap(only, lock, context)];
    // The table is swapped in: what the ledger says of it follows in any case.
    await lock.connection.uninterrupted(() => record(published));
    return published;
  }
  const members: SetMember[] = [];
  for (const load of set)
    members.push({
      load,
      delta:
        load.mode === 'direct'
          ? null
          : await prepareDelta(
              load,
              context,
              members.map((member) => member.delta),
            ),
    });
  return await publishSet(members, lock, context, record);
}

async function recordSet(
  set: readonly TableLoad[],
  published: readonly Published[],
  connection: Connection,
  runId: string,
  request: LoadRequest,
): Promise<void> {
  for (const [index, { counts, rowCount }] of published.entries()) {
    const load = set[index];
    if (!load) continue;
    const { definition, source, task } = load;
    // A swapped table was made anew.
    const made =
      counts.publish === 'swap'
        ? await connection.row(
            'SELECT CREATE_TIME AS created FROM information_schema.TABLES WHERE TABLE_SCHEMA = ? AND TABLE_NAME = ?',
            [definition.schema, definition.name],
          )
        : null;
    await recordTable(connection, {
      table: task.table,
      source: source.describe(),
      sourceHash: await sourceHash(source, request.signal),
      settingsHash: settingsHash(task),
      definitionHash: definitionHash(definition.createStatement),
      createdAt: made ? String(made['created']) : definition.createTime,
      rowCount:
        rowCount ??
        Number(
          (await connection.row(`SELECT COUNT(*) AS count FROM ${quoteTable(definition.schema, definition.name)}`))?.[
            'count'
          ],
        ),
      runId,
    });
  }
}

/** Compares without the lock and without writing anything but temporary tables. */
async function dryRun(tasks: readonly LoadTask[], connection: Connection, request: LoadRequest): Promise<LoadOutcome> {
  const context: LoadContext = {
    connection,
    output: request.output,
    signal: request.signal,
    dryRun: true,
    rejects: new Map<string, RejectCollector>(),
  };
  const changes: DryRunTable[] = [];
  for (const set of await planSets(tasks, context, request.database.name)) {
    const deltas: (Delta | null)[] = [];
    for (const load of set) {
      const delta = await prepareDelta(load, context, deltas);
      deltas.push(delta);
      changes.push(await describeDelta(load, delta, context));
    }
  }
  return { outcome: 'done', tables: changes.map((each) => each.counts), changes };
}
