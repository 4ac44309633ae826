import { quoteTable } from '@tableset/common/database/quoting.ts';
import { readTableDefinition } from '@tableset/common/database/read-table.ts';
import { commonError } from '@tableset/common/errors.ts';
import type { BatchState, LedgerBatch } from '../archive/batch-ledger.ts';
import type { ArchiveTask } from '../config/archive-config.ts';
import { allOf, conditionFault, conditionSql, type SqlPart } from '../core/archive/conditions.ts';
import { toUtc } from '../core/archive/cutoff.ts';
import { mayHold, type RowFilter, rowMatcher, valueMatcher } from '../core/archive/restore-filter.ts';
import type { ArchiveStore } from '../stores/store.ts';
import { batchName, batchTables } from '../verify/prove-batch.ts';
import type { ArchiveSession } from './archive-run.ts';
import { findBatches, isStillThere } from './find-batches.ts';
import type { StatusRequest } from './run-status.ts';

/** A batch that was asked for. */
export interface FoundBatch {
  readonly batch: string;
  readonly table: string;
  readonly store: string;
  readonly state: BatchState;
  readonly rows: number | null;
  readonly totalRows: number | null;
  readonly oldest: string | null;
  readonly newest: string | null;
  readonly firstKey: readonly string[] | null;
  readonly lastKey: readonly string[] | null;
  readonly archivedAt: string;
  readonly verifiedAt: string | null;
  /** Rows of the root in it that have the key; null where no key was asked for. */
  readonly found: number | null;
}

const latestMax = 10;
const foundMax = 1_000;
/** Where a batch's rows are, or will be, in a store. */
const presentStates: readonly BatchState[] = ['copying', 'copied', 'verified', 'deleted', 'purging'];

/**
 * Batches that the filter takes, newest first; for a key the stores are read, since the ledger knows ranges only.
 * @param asked false gives the latest few
 */
export async function lookUp(
  session: ArchiveSession,
  request: StatusRequest,
  asked: boolean,
): Promise<{ readonly batches: readonly FoundBatch[]; readonly more: boolean }> {
  const { filter, unverified, tasks, signal } = request;
  const byKey = filter.where.length > 0;
  const states: readonly BatchState[] = byKey || unverified ? ['deleted'] : presentStates;
  const question = { tables: tasks.map((task) => task.table), states, from: filter.from, to: filter.to, unverified };
  const batches: FoundBatch[] = [];
  for await (const batch of findBatches(session.connection, question, 'newest first')) {
    signal.throwIfAborted();
    const task = tasks.find((each) => each.table === batch.table);
    if (!task || !mayHold(batch, filter)) continue;
    const found = byKey ? await countThere(session, batch, filter, task) : null;
    if (found === 0) continue;
    if (batches.length >= (asked ? foundMax : latestMax)) return { batches, more: true };
    batches.push(foundBatch(batch, found));
  }
  return { batches, more: false };
}

/** None in a batch that is purged while it is looked into: status takes no lock. */
async function countThere(
  session: ArchiveSession,
  batch: LedgerBatch,
  filter: RowFilter,
  task: ArchiveTask,
): Promise<number> {
  try {
    return await countRows(await session.stores.get(batch.store), batch, filter, task);
  } catch (error) {
    if (await isStillThere(session.connection, batch)) throw error;
    return 0;
  }
}

async function countRows(
  store: ArchiveStore,
  batch: LedgerBatch,
  filter: RowFilter,
  task: ArchiveTask,
): Promise<number> {
  const [root] = batchTables(batch);
  if (!root) return 0;
  let found = 0;
  if (filter.from === null && filter.to === null && filter.where.every(({ column }) => root.key.includes(column))) {
    const tests = filter.where.map(({ column: name, value }) => {
      const column = root.columns.find((each) => each.name === name);
      const matches = column && valueMatcher(column, value);
      return matches ? (key: readonly string[]) => matches(key[root.key.indexOf(name)] ?? null) : () => false;
    });
    for await (const rows of store.hashes(batchName(batch), root)) {
      found += rows.filter(({ key }) => tests.every((test) => test(key))).length;
    }
    return found;
  }
  const matches = rowMatcher(root, filter, { column: task.dateColumn, toUtc: (text) => toUtc(task, text) });
  if (!matches) return 0;
  for await (const rows of store.rows(batchName(batch), root)) found += rows.filter(matches).length;
  return found;
}

function foundBatch(batch: LedgerBatch, found: number | null): FoundBatch {
  const { id, table, store, state, rowCount, totalRows, oldest, newest, firstKey, lastKey, createdAt, verifiedAt } =
    batch;
  return {
    batch: id,
    table,
    store,
    state,
    rows: rowCount,
    totalRows,
    oldest,
    newest,
    firstKey,
    lastKey,
    archivedAt: createdAt,
    verifiedAt,
    found,
  };
}

/**
 * How many rows with the key the primary has.
 * @throws AppError SETTING_INVALID if none of the tables has such a column, or it cannot have the value
 */
export async function onPrimary(
  session: ArchiveSession,
  { filter, tasks }: StatusRequest,
): Promise<readonly { readonly table: string; readonly rows: number }[]> {
  const { connection } = session;
  const counts: { table: string; rows: number }[] = [];
  let fault: string | null = null;
  for (const { table } of tasks) {
    const definition = await readTableDefinition(connection, connection.settings.name, table);
    if (!definition) continue;
    const conditions = filter.where.map(({ column, value }) => ({ column, operator: '=' as const, value }));
    fault = conditions.map((condition) => conditionFault(condition, definition)).find((each) => each !== null) ?? null;
    if (fault !== null) continue;
    const parts: SqlPart[] = conditions.map((condition) => conditionSql(condition, definition, 'r'));
    const { sql, values } = allOf(parts);
    const row = await connection.row(
      `SELECT COUNT(*) AS found FROM ${quoteTable(definition.schema, definition.name)} r WHERE ${sql}`,
      values,
    );
    counts.push({ table, rows: Number(row?.['found']) });
  }
  if (counts.length === 0 && fault !== null) throw commonError('SETTING_INVALID', `--key ${fault}`);
  return counts;
}
