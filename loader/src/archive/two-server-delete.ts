import { hash } from 'node:crypto';
import { delay } from '@tableset/common/database/connect.ts';
import type { Connection } from '@tableset/common/database/connection.ts';
import { classifyFault, serverErrno } from '@tableset/common/database/errno.ts';
import { attemptsFor, batchAttempts, rollBack } from '@tableset/common/database/transaction.ts';
import type { SqlPart } from '../core/archive/conditions.ts';
import {
  canListChildren,
  deleteListed,
  inKeyOrder,
  type KeyList,
  keyList,
  lockListedChildren,
  lockListedRoot,
} from '../core/archive/two-server-lists.ts';
import {
  addedChildren,
  changedChildren,
  changedRoots,
  deleteRows,
  type KeyRow,
  lockChildren,
  lockRoot,
} from '../core/archive/two-server-sql.ts';
import { loaderError } from '../errors.ts';
import { type BatchClaim, changeState, nameDateColumn, raiseWatermark } from './batch-ledger.ts';
import { type DefinitionGuard, explained } from './definition-guard.ts';
import type { EngineContext } from './engine.ts';
import type { BatchKeys } from './two-server-keys.ts';

/** How the deleting transaction ended. */
export type DeleteOutcome =
  | { readonly outcome: 'done'; readonly seconds: number }
  /** Rolled back; the numbers of the root rows that were not what was copied, by reason. Empty: nobody can say which. */
  | { readonly outcome: 'changed'; readonly roots: ReadonlyMap<number, VoidReason> }
  | { readonly outcome: 'unknown' };

export type VoidReason = 'gone' | 'changed' | 'held';

export interface DeleteRequest {
  readonly claim: BatchClaim;
  /** Of every table of the set. */
  readonly rows: readonly (readonly KeyRow[])[];
  readonly keys: BatchKeys;
  readonly guard: DefinitionGuard;
  readonly raiseWatermark: boolean;
  /** Called once with the rows of all tables before the first is deleted. */
  readonly spend: (rows: number) => void;
  /** Writes what is to be committed together with the deletion. */
  readonly beforeCommit: () => Promise<void>;
}

/**
 * Deletes a batch from the primary in one transaction of the lock's connection, after everything was compared again under locks.
 * @throws AppError LOCK_LOST, ARCHIVE_BATCH_FENCED, ARCHIVE_TABLE_CHANGED, ARCHIVE_COUNTS_DIFFER, ARCHIVE_TOO_MANY_DELETES; it is rolled back then
 */
export async function deleteBatch(context: EngineContext, request: DeleteRequest): Promise<DeleteOutcome> {
  const lists = listedKeys(context, request);
  if (lists) {
    const outcome = await attempt(context, request, lists);
    // Who changed is asked by way of the key tables, which say it row by row.
    if (outcome.outcome !== 'changed') return outcome;
  }
  for (const [index, rows] of request.rows.entries()) await request.keys.fill(index, rows);
  return await attempt(context, request, null);
}

/** The keys of each table as lists; null if some table's keys have to go by way of a temporary table. */
function listedKeys({ lock, set }: EngineContext, { rows }: DeleteRequest): readonly KeyList[] | null {
  const { maxAllowedPacketBytes } = lock.connection.server;
  const lists: KeyList[] = [];
  for (const [index, table] of set.tables.entries()) {
    const list = keyList(table, rows[index] ?? [], maxAllowedPacketBytes);
    if (list === null || (table.child && !canListChildren(set, table.child))) return null;
    lists.push(list);
  }
  return lists;
}

/** One transaction, again where the server gave it up; with lists of keys, or by way of the key tables. */
async function attempt(
  context: EngineContext,
  request: DeleteRequest,
  lists: readonly KeyList[] | null,
): Promise<DeleteOutcome> {
  const { connection } = context.lock;
  for (let attempts = 1; ; attempts++) {
    const started = performance.now();
    try {
      await connection.run('START TRANSACTION');
      const roots = await deleteInTransaction(context, request, lists);
      if (roots === null) {
        const committed = await commit(connection);
        return committed ? { outcome: 'done', seconds: (performance.now() - started) / 1000 } : { outcome: 'unknown' };
      }
      await rollBack(connection);
      return { outcome: 'changed', roots };
    } catch (error) {
      await rollBack(connection);
      if (connection.lost || attempts >= attemptsFor(error, batchAttempts))
        throw await explained(connection, context.set, error);
      context.output.event('warn', 'the batch was rolled back and is tried again', {
        attempt: attempts,
        errno: serverErrno(error),
      });
      // Spread, so that two who met once do not meet again.
      await delay(50 * 2 ** attempts + Math.random() * 50, context.signal);
    }
  }
}

/** @returns null if everything was deleted, else the root rows that void the batch */
async function deleteInTransaction(
  context: EngineContext,
  request: DeleteRequest,
  lists: readonly KeyList[] | null,
): Promise<ReadonlyMap<number, VoidReason> | null> {
  const { lock, set, cutoff } = context;
  const { connection } = lock;
  await lock.assertHeld();
  // First of all writes: whoever was fenced off deletes nothing.
  await changeState(connection, request.claim, 'verified', 'deleted');
  if (lists) {
    if (!(await listsAsCopied(context, request, lists))) return new Map();
  } else if (!(await allAsCopied(context, request))) return await findChanged(context);
  // The locks have touched every table, so that no DDL gets in before the transaction ends.
  await request.guard.check(connection);
  request.spend(request.rows.reduce((sum, rows) => sum + rows.length, 0));
  // Deepest first, so that no foreign key is in the way.
  for (const [index, table] of [...set.tables.entries()].toReversed()) {
    const expected = request.rows[index]?.length ?? 0;
    if (expected === 0) continue;
    const list = lists?.[index];
    const { affectedRows } = await connection.run(
      list ? deleteListed(table, list, connection.server.flavour) : deleteRows(index, table),
    );
    if (affectedRows === expected) continue;
    throw loaderError(
      'ARCHIVE_COUNTS_DIFFER',
      `${table.definition.name}: ${expected} rows were locked and ${affectedRows} could be deleted; the batch was rolled back`,
      { details: { table: table.definition.name, batch: request.claim.id, locked: expected, deleted: affectedRows } },
    );
  }
  await request.guard.confirm(connection);
  if (request.raiseWatermark) {
    await (context.keepWatermark ? nameDateColumn(connection, set.task) : raiseWatermark(connection, set.task, cutoff));
  }
  await request.beforeCommit();
  return null;
}

/** Locks the rows, roots first, and compares their digests with those of what was copied, those that go without a copy included. */
async function listsAsCopied(
  { lock, set, selection }: EngineContext,
  { rows }: DeleteRequest,
  lists: readonly KeyList[],
): Promise<boolean> {
  for (const [index, table] of set.tables.entries()) {
    const expected = rows[index] ?? [];
    let query: SqlPart;
    if (table.child === null) query = lockListedRoot(table, selection, lists[index] ?? noKeys);
    else {
      // No parents, no children.
      if (rows[table.child.parent]?.length === 0) continue;
      query = { sql: lockListedChildren(table, table.child, lists[table.child.parent] ?? noKeys), values: [] };
    }
    const row = await lock.connection.row(query.sql, query.values);
    if (Number(row?.['found']) !== expected.length || row?.['differing'] !== '0') return false;
    if (expected.length > 0 && row['digest'] !== digestOf(inKeyOrder(table, expected))) return false;
  }
  return true;
}

const noKeys: KeyList = { points: [], runs: [] };

/** As the server makes it of the rows that it has locked. */
function digestOf(rows: readonly KeyRow[]): string {
  return hash('sha256', rows.map((row) => row.hash).join(''));
}

/** Locks the rows, roots first, and compares them one by one with what was copied. */
async function allAsCopied({ lock, set, selection }: EngineContext, { rows }: DeleteRequest): Promise<boolean> {
  for (const [index, table] of set.tables.entries()) {
    const expected = rows[index]?.length ?? 0;
    if (table.child === null) {
      const { sql, values } = lockRoot(table, selection);
      const row = await lock.connection.row(sql, values);
      if (Number(row?.['found']) !== expected || row?.['differing'] !== '0') return false;
    } else {
      const row = await lock.connection.row(lockChildren(set, index, table, table.child));
      const [found, known] = [Number(row?.['found']), Number(row?.['known'])];
      if (found !== expected || known !== expected || row?.['differing'] !== '0') return false;
    }
  }
  return true;
}

async function findChanged({ lock, set, selection }: EngineContext): Promise<ReadonlyMap<number, VoidReason>> {
  const roots = new Map<number, VoidReason>();
  for (const [index, table] of set.tables.entries()) {
    if (table.child === null) {
      const { sql, values } = changedRoots(table, selection);
      for (const row of await lock.connection.rows(sql, values)) {
        // The statement gives these three.
        if (row['root'] !== null) roots.set(Number(row['root']), String(row['reason']) as VoidReason);
      }
      continue;
    }
    for (const sql of [addedChildren(set, index, table, table.child), changedChildren(index, table)]) {
      for (const row of await lock.connection.rows(sql)) {
        if (row['root'] !== null && !roots.has(Number(row['root']))) roots.set(Number(row['root']), 'changed');
      }
    }
  }
  return roots;
}

/** @returns false if nobody can say whether it was committed */
async function commit(connection: Connection): Promise<boolean> {
  try {
    await connection.uninterrupted(() => connection.run('COMMIT'));
    return true;
  } catch (error) {
    // Rolled back by the server, which says so.
    if (!connection.lost && classifyFault(error) === 'deadlock') throw error;
    return false;
  }
}
