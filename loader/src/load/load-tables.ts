import { type Connection, explainDatabaseError } from '@tableset/common/database/connection.ts';
import { ensureLedger, finishRun, startRun } from '@tableset/common/database/ledger.ts';
import type { SchemaLock } from '@tableset/common/database/lock.ts';
import { quoteTable } from '@tableset/common/database/quoting.ts';
import { AppError } from '@tableset/common/errors.ts';
import { type Delta, prepareDelta } from './delta.ts';
import { type DryRunTable, describeDelta } from './dry-run.ts';
import type { LoadTask } from './load-tasks.ts';
import { planSets } from './plan-sets.ts';
import { type Published, publishSet, type SetMember } from './publish.ts';
import { recordCounts } from './record-counts.ts';
import { describeReject, type RejectCollector, recordRejects } from './reject-collector.ts';
import type { LoadOutcome, LoadRequest } from './run-load.ts';
import { loadBySwap } from './swap.ts';
import { dropLeftovers } from './swap-rename.ts';
import type { TableCounts } from './table-counts.ts';
import type { LoadContext, TableLoad } from './table-load.ts';
import { definitionHash, recordTable, settingsHash, sha256 } from './table-state.ts';
import { sourceHash } from './task-hash.ts';

/**
 * Loads the tables, each set of linked ones whole or not at all, and writes the ledger. Under the lock alone.
 * @throws AppError with `details.summary`, the counts of the tables that were published before it.
 */
export async function loadLocked(
  tasks: readonly LoadTask[],
  lock: SchemaLock,
  request: LoadRequest,
): Promise<readonly { counts: TableCounts; runId: string }[]> {
  const { connection } = lock;
  // Loading does with the first ledger, whatever of it the account may not upgrade.
  await ensureLedger(connection, 1);
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
      const published = await loadSet(set, lock, context, setLedger(set, counts, connection, runId, request));
      counts.push(...published.map((each) => each.counts));
      await writeRejects(context, runId);
    }
    const sources = await Promise.all(tasks.map(({ source }) => sourceHash(source, request.signal)));
    const settings = tasks.map(({ task }) => settingsHash(task));
    const hashes = { sourceHash: sha256(sources.join('\n')), settingsHash: sha256(settings.join('\n')) };
    await finishRun(connection, runId, { outcome: 'done', counts, ...hashes });
    return counts.map((each) => ({ counts: each, runId }));
  } catch (error) {
    const published = new Set(counts.map((each) => each.table));
    const others = tasks.map(({ task }) => task.table).filter((table) => !published.has(table));
    if (published.size > 0) {
      context.output.event('warn', 'tables before the fault were published, it and those after it were not', {
        published: [...published],
        notPublished: others,
      });
    }
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

/** How a set's part of the ledger is written. */
interface SetLedger {
  /** Inside the transaction that publishes the set, or right after the swap. */
  readonly record: (published: readonly Published[]) => Promise<void>;
  /** Right before a swap, which no transaction can hold. */
  readonly expectSwap: (counts: TableCounts) => Promise<void>;
}

/** @param before counts of the sets that are published already */
function setLedger(
  set: readonly TableLoad[],
  before: readonly TableCounts[],
  connection: Connection,
  runId: string,
  request: LoadRequest,
): SetLedger {
  // The one-shot tells its webhooks itself; the service does so for runs that died as well, by what they wrote down.
  const counting = request.trigger === 'service';
  return {
    async record(published) {
      await recordSet(set, published, connection, runId, request);
      const counts = published.map((each) => each.counts);
      if (counting && counts.some(({ publish }) => publish !== null))
        await recordCounts(connection, runId, [...before, ...counts]);
    },
    async expectSwap(counts) {
      const swapsTableOf = set[0]?.definition.createTime ?? null;
      if (counting) await recordCounts(connection, runId, [...before, { ...counts, swapsTableOf }]);
    },
  };
}

/** Loads one set of linked tables; a single table may be swapped in. */
async function loadSet(
  set: readonly TableLoad[],
  lock: SchemaLock,
  context: LoadContext,
  { record, expectSwap }: SetLedger,
): Promise<readonly Published[]> {
  const [only] = set;
  if (only && set.length === 1 && only.mode === 'swap') {
    const published = [await loadBySwap(only, lock, context, expectSwap)];
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
export async function dryRun(
  tasks: readonly LoadTask[],
  connection: Connection,
  request: LoadRequest,
): Promise<LoadOutcome> {
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
      changes.push(
        await describeDelta(
          load,
          delta,
          deltas.map((each) => each?.pass.target ?? null),
          context,
        ),
      );
    }
  }
  return { outcome: 'done', tables: changes.map((each) => each.counts), changes };
}
