import { type Connection, connect, delay, explainDatabaseError } from '@tableset/common/database/connection.ts';
import {
  ensureLedger,
  finishRun,
  isMissingTable,
  readLedgerFormat,
  startRun,
} from '@tableset/common/database/ledger.ts';
import { acquireLock, type SchemaLock } from '@tableset/common/database/lock.ts';
import { quoteTable } from '@tableset/common/database/quoting.ts';
import { readTableDefinition } from '@tableset/common/database/read-table.ts';
import type { TableDefinition } from '@tableset/common/database/table-definition.ts';
import { AppError, commonError } from '@tableset/common/errors.ts';
import type { Output } from '@tableset/common/output/output.ts';
import type { DatabaseSettings, LockSettings } from '@tableset/common/settings/database.ts';
import type { LoadConfig, LoadTable } from '../config/load-config.ts';
import { loadOrder } from '../core/load-order.ts';
import { checkTable, loadKey, publishMode } from '../core/table-rules.ts';
import { loaderError } from '../errors.ts';
import { createSource, type Source, type SourceContext } from '../sources/source.ts';
import { openWebhooks } from '../webhooks/webhooks.ts';
import { type Delta, prepareDelta } from './delta.ts';
import { type DryRunTable, describeDelta } from './dry-run.ts';
import { type Published, publishSet, type SetMember } from './publish.ts';
import { describeReject, type RejectCollector, recordRejects } from './reject-collector.ts';
import { dropLeftovers, loadBySwap } from './swap.ts';
import type { LoadContext, TableCounts, TableLoad } from './table-load.ts';
import {
  definitionHash,
  isTableAsLoaded,
  readTableStates,
  recordTable,
  settingsHash,
  type TableState,
} from './table-state.ts';

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

interface Task {
  readonly task: LoadTable;
  readonly source: Source;
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
  const tasks: Task[] = [];
  for (const task of request.tasks) tasks.push({ task, source: await createSource(task, request.sources) });
  const localInfile = request.tasks.some((task) => task.localInfile !== 'off');
  const onWait = (reason: string) => output.event('info', 'waiting for the database', { reason });
  await using connection = await connect(request.database, { signal, localInfile, onWait });
  const open = request.ifChanged ? await changedTasks(tasks, connection, request) : tasks;
  if (open.length === 0) return { outcome: 'done', tables: tasks.map(({ task }) => untouched(task)) };
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
  return { outcome: 'done', tables: tasks.map(({ task }) => byTable.get(task.table) ?? untouched(task)) };
}

function untouched(task: LoadTable): TableCounts {
  return {
    table: task.table,
    read: 0,
    inserted: 0,
    updated: 0,
    deleted: 0,
    unchanged: 0,
    rejected: 0,
    held: 0,
    publish: null,
  };
}

/** The tasks whose source, settings, table definition or table are not as the ledger says they were. */
async function changedTasks(
  tasks: readonly Task[],
  connection: Connection,
  request: LoadRequest,
): Promise<readonly Task[]> {
  let states: ReadonlyMap<string, TableState>;
  try {
    states = await readTableStates(
      connection,
      tasks.map(({ task }) => task.table),
    );
  } catch (error) {
    if (isMissingTable(error)) return tasks;
    throw error;
  }
  const changed: Task[] = [];
  for (const each of tasks) {
    const state = states.get(each.task.table);
    const unchanged =
      state !== undefined &&
      state.settingsHash === settingsHash(each.task) &&
      state.sourceHash !== null &&
      state.sourceHash === (await fingerprint(each.source, request.signal)) &&
      (await isTableAsLoaded(connection, each.task.table, state));
    if (!unchanged) changed.push(each);
  }
  return changed;
}

async function fingerprint(source: Source, signal: AbortSignal): Promise<string | null> {
  const { kind, value } = await source.fingerprint(signal);
  return kind === 'none' ? null : `${kind}:${value}`;
}

/** Waits, without the lock that a migration would need, for tables that do not exist yet. */
async function waitForTables(tasks: readonly Task[], connection: Connection, request: LoadRequest): Promise<void> {
  const names = tasks.map(({ task }) => task.table);
  const deadline = Date.now() + request.database.waitSeconds * 1000;
  for (let told = false; ; told = true) {
    const rows = await connection.rows(
      `SELECT TABLE_NAME AS name FROM information_schema.TABLES WHERE TABLE_SCHEMA = ? AND TABLE_NAME IN (${names.map(() => '?').join(',')})`,
      [request.database.name, ...names],
    );
    const found = new Set(rows.map((row) => String(row['name']).toLowerCase()));
    const missing = names.filter((name) => !found.has(name.toLowerCase()));
    if (missing.length === 0) return;
    if (Date.now() >= deadline) {
      throw loaderError(
        'LOAD_TABLE_MISSING',
        `schema ${request.database.name} has no table ${missing.join(', ')}${request.database.waitSeconds > 0 ? ` after ${request.database.waitSeconds} s` : ''}`,
      );
    }
    if (!told) request.output.event('info', 'waiting for tables', { missing });
    await delay(500, request.signal);
  }
}

async function loadLocked(
  tasks: readonly Task[],
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
    for (const set of await planSets(tasks, context, request)) {
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

/** Reads the definitions, refuses what cannot be loaded, and groups linked tables. */
async function planSets(
  tasks: readonly Task[],
  context: LoadContext,
  request: LoadRequest,
): Promise<readonly (readonly TableLoad[])[]> {
  const { connection } = context;
  const schema = request.database.name;
  const byDefinition = new Map<TableDefinition, Task>();
  for (const each of tasks) {
    const definition = await readTableDefinition(connection, schema, each.task.table);
    if (!definition) throw loaderError('LOAD_TABLE_UNSUITABLE', `${each.task.table} is no base table`);
    checkTable(each.task, definition);
    byDefinition.set(definition, each);
  }
  const order = loadOrder([...byDefinition.keys()]);
  if (!order.ok)
    throw loaderError('LOAD_FOREIGN_KEY_CYCLE', `${order.cycle.join(' → ')} refer to each other in a circle`);
  const states =
    (await readLedgerFormat(connection)) === null
      ? new Map<string, TableState>()
      : await readTableStates(
          connection,
          tasks.map(({ task }) => task.table),
        );
  const sets: TableLoad[][] = [];
  let ordinal = 0;
  for (const definitions of order.sets) {
    const set: TableLoad[] = [];
    for (const definition of definitions) {
      const each = byDefinition.get(definition);
      if (each)
        set.push(
          await planTable(each, definition, ordinal++, definitions.length > 1, states.get(each.task.table), context),
        );
    }
    sets.push(set);
  }
  return sets;
}

async function planTable(
  { task, source }: Task,
  definition: TableDefinition,
  ordinal: number,
  linked: boolean,
  state: TableState | undefined,
  context: LoadContext,
): Promise<TableLoad> {
  const { connection } = context;
  const key = loadKey(task, definition);
  const table = quoteTable(definition.schema, definition.name);
  const empty = (await connection.row(`SELECT 1 AS taken FROM ${table} LIMIT 1`)) === null;
  const archived =
    state?.archivedBefore && state.dateColumn ? { dateColumn: state.dateColumn, before: state.archivedBefore } : null;
  const mode = publishMode(task, definition, { empty, dryRun: context.dryRun, archived: archived !== null, linked });
  if (task.localInfile === 'on' && !connection.server.localInfile) {
    throw commonError('SETTING_INVALID', `${task.table}: localInfile is on, and the server's local_infile is off`, {
      hint: 'Set localInfile to auto, or local_infile=ON on the server.',
    });
  }
  return {
    task,
    definition,
    key,
    source,
    mode,
    ordinal,
    archived,
    localInfile: task.localInfile !== 'off' && connection.server.localInfile,
    rowsBefore: empty ? 0 : await countRows(connection, definition, task.mode === 'mirror', state),
  };
}

/** Exact where a guard works in percent of it, else what the server estimates or the ledger remembers. */
async function countRows(
  connection: Connection,
  definition: TableDefinition,
  exact: boolean,
  state: TableState | undefined,
): Promise<number> {
  if (exact)
    return Number(
      (await connection.row(`SELECT COUNT(*) AS count FROM ${quoteTable(definition.schema, definition.name)}`))?.[
        'count'
      ],
    );
  if (connection.server.flavour === 'mysql') await connection.run('SET SESSION information_schema_stats_expiry = 0');
  const row = await connection.row(
    'SELECT TABLE_ROWS AS estimate FROM information_schema.TABLES WHERE TABLE_SCHEMA = ? AND TABLE_NAME = ?',
    [definition.schema, definition.name],
  );
  return Math.max(1, Number(row?.['estimate'] ?? 0), Number(state?.rowCount ?? 0));
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
              members.map((member) => member.delta?.pass.target ?? null),
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
      sourceHash: await fingerprint(source, request.signal),
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
async function dryRun(tasks: readonly Task[], connection: Connection, request: LoadRequest): Promise<LoadOutcome> {
  const context: LoadContext = {
    connection,
    output: request.output,
    signal: request.signal,
    dryRun: true,
    rejects: new Map<string, RejectCollector>(),
  };
  const changes: DryRunTable[] = [];
  for (const set of await planSets(tasks, context, request)) {
    const targets: (Delta | null)[] = [];
    for (const load of set) {
      const delta = await prepareDelta(
        load,
        context,
        targets.map((each) => each?.pass.target ?? null),
      );
      targets.push(delta);
      changes.push(await describeDelta(load, delta, context));
    }
  }
  return { outcome: 'done', tables: changes.map((each) => each.counts), changes };
}
