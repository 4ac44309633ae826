import { createHash } from 'node:crypto';
import { delay } from '@tableset/common/database/connect.ts';
import type { Connection } from '@tableset/common/database/connection.ts';
import { classifyFault, serverErrno } from '@tableset/common/database/errno.ts';
import type { SchemaLock } from '@tableset/common/database/lock.ts';
import type { ColumnDefinition, ForeignKeyDefinition } from '@tableset/common/database/table-definition.ts';
import {
  clearUniques,
  deletableChildren,
  insertableChildren,
  type LoadTarget,
  markInserted,
  publishDeletes,
  publishInserts,
  publishUpdates,
  targetTable,
} from '../core/load-sql.ts';
import { furtherUniqueColumns } from '../core/table-rules.ts';
import { loaderError } from '../errors.ts';
import type { Delta } from './delta.ts';
import { duplicateCheck } from './duplicates.ts';
import {
  type LoadContext,
  noCounts,
  type PassResult,
  readSource,
  type TableCounts,
  type TableLoad,
} from './table-load.ts';
import { TableWriter } from './table-writer.ts';

/** One table of a set that is published together. */
export interface SetMember {
  readonly load: TableLoad;
  /** Null for mode direct, and where the source is empty and nothing is to be done. */
  readonly delta: Delta | null;
}

export interface Published {
  readonly counts: TableCounts;
  /** Null only if the source was empty. */
  readonly pass: PassResult | null;
  /** Rows in the table afterwards. */
  readonly rowCount: number | null;
}

const attemptsMax = 5;

/**
 * Publishes a set of tables linked by foreign keys in one READ COMMITTED transaction on the lock's connection: deletes children first,
 * then updates and inserts parents first, then the ledger. All or nothing.
 * @param members parents before children
 * @param record writes the ledger's rows inside the same transaction
 */
export async function publishSet(
  members: readonly SetMember[],
  lock: SchemaLock,
  context: LoadContext,
  record: (published: readonly Published[]) => Promise<void>,
): Promise<readonly Published[]> {
  for (const member of members) checkSize(member);
  for (let attempt = 1; ; attempt++) {
    try {
      return await publishOnce(members, lock, context, record);
    } catch (error) {
      const fault = classifyFault(error);
      if ((fault !== 'deadlock' && fault !== 'lock-wait') || attempt === attemptsMax || context.connection.lost)
        throw error;
      context.output.event('warn', 'publishing is tried again', { attempt, errno: serverErrno(error) });
      await delay(100 * 2 ** attempt, context.signal);
    }
  }
}

function checkSize({ load, delta }: SetMember): void {
  if (!delta) return;
  const writes = delta.inserts + delta.updates + delta.deletes;
  if (writes > load.task.maxPublishRows) {
    throw loaderError(
      'LOAD_PUBLISH_TOO_LARGE',
      `${load.task.table}: ${writes} rows would be written in one transaction; maxPublishRows is ${load.task.maxPublishRows}`,
    );
  }
}

async function publishOnce(
  members: readonly SetMember[],
  lock: SchemaLock,
  context: LoadContext,
  record: (published: readonly Published[]) => Promise<void>,
): Promise<readonly Published[]> {
  const { connection } = context;
  await connection.run('START TRANSACTION');
  try {
    await lock.assertHeld();
    const deleted = new Map<SetMember, number>();
    for (const member of members.toReversed()) deleted.set(member, await deleteRows(member, connection));
    const published: Published[] = [];
    for (const member of members) {
      published.push(
        member.load.mode === 'direct'
          ? await fillEmpty(member.load, context)
          : await writeDelta(member, deleted.get(member) ?? 0, connection),
      );
    }
    await record(published);
    await connection.run('COMMIT');
    return published;
  } catch (error) {
    // The first error is the one to report; a connection that cannot roll back is rolled back by the server.
    if (!connection.lost)
      await connection.uninterrupted(() => connection.run('ROLLBACK')).catch(() => connection.destroy());
    throw error;
  }
}

async function deleteRows({ load, delta }: SetMember, connection: Connection): Promise<number> {
  if (!delta || delta.deletes === 0) return 0;
  const { target } = delta.pass;
  try {
    let deleted = 0;
    for (const reference of selfReferences(target)) {
      // Rows that nothing refers to go first, until none of those is left.
      for (let wave = 1; wave > 0; deleted += wave)
        wave = (await connection.run(deletableChildren(target, reference))).affectedRows;
    }
    return deleted + (await connection.run(publishDeletes(target))).affectedRows;
  } catch (error) {
    throw explained(error, load, 'deleting rows that the source no longer has');
  }
}

function selfReferences(target: LoadTarget): readonly ForeignKeyDefinition[] {
  const { schema, name } = target.definition;
  return target.definition.foreignKeys.filter((key) => key.referencedSchema === schema && key.referencedTable === name);
}

async function writeDelta({ load, delta }: SetMember, deleted: number, connection: Connection): Promise<Published> {
  if (!delta) return { counts: noCounts(load.task.table), pass: null, rowCount: null };
  const { pass } = delta;
  const updated = delta.updates === 0 ? 0 : await updateRows(load, delta, connection);
  const inserted = delta.inserts === 0 ? 0 : await insertRows(load, delta, connection);
  const unchanged = pass.read - pass.rejected - delta.held - inserted - updated;
  const counts = {
    table: load.task.table,
    read: pass.read,
    inserted,
    updated,
    deleted,
    unchanged,
    rejected: pass.rejected,
    held: delta.held,
  };
  const publish = inserted + updated + deleted > 0 ? 'delta' : null;
  const rowCount = delta.rowsBefore === null ? null : delta.rowsBefore + inserted - deleted;
  return { counts: { ...counts, publish }, pass, rowCount };
}

/**
 * Updates in one statement; where further unique keys clash because rows swap values, in two: their nullable columns become NULL
 * first, then everything gets its value.
 */
async function updateRows(load: TableLoad, delta: Delta, connection: Connection): Promise<number> {
  const { target } = delta.pass;
  const further = furtherUniqueColumns(load.definition, load.key);
  const clashing = target.columns.filter((column) => further.includes(column.name));
  try {
    if (clashing.length === 0) return (await connection.run(publishUpdates(target))).affectedRows;
    await connection.run('SAVEPOINT tableset_update');
    try {
      return (await connection.run(publishUpdates(target))).affectedRows;
    } catch (error) {
      if (classifyFault(error) !== 'duplicate-key') throw error;
      await connection.run('ROLLBACK TO SAVEPOINT tableset_update');
      return await updateInTwoSteps(target, clashing, delta, connection, error);
    }
  } catch (error) {
    throw explained(error, load, 'updating rows');
  }
}

async function updateInTwoSteps(
  target: LoadTarget,
  clashing: readonly ColumnDefinition[],
  delta: Delta,
  connection: Connection,
  first: unknown,
): Promise<number> {
  const nullable = clashing.filter((column) => column.nullable);
  if (nullable.length === 0) throw first;
  await connection.run(clearUniques(target, nullable));
  await connection.run(publishUpdates(target));
  // Rows that both steps touched would be counted twice; every key that differs was written.
  return delta.updates;
}

async function insertRows(load: TableLoad, delta: Delta, connection: Connection): Promise<number> {
  const { target } = delta.pass;
  try {
    let inserted = 0;
    const references = selfReferences(target).filter((key) =>
      key.columns.every((name) => target.columns.some((column) => column.name === name)),
    );
    if (references.length > 0) {
      // Rows whose parent is there go first, level by level.
      for (let wave = 1; wave > 0; inserted += wave) {
        wave = (await connection.run(insertableChildren(target, references))).affectedRows;
        if (wave > 0) await connection.run(markInserted(target));
      }
    }
    return inserted + (await connection.run(publishInserts(target))).affectedRows;
  } catch (error) {
    throw explained(error, load, 'inserting rows');
  }
}

/** Fills an empty table straight from the source, inside the transaction. */
async function fillEmpty(load: TableLoad, context: LoadContext): Promise<Published> {
  const { connection } = context;
  let writer: TableWriter | null = null;
  const pass = await readSource(load, context, `load ${load.task.table}`, {
    begin: async (target, _plan, onReject) => {
      if (await connection.row(`SELECT 1 AS taken FROM ${targetTable(target)} LIMIT 1`)) {
        throw loaderError(
          'LOAD_TABLE_CHANGED',
          `${load.task.table} was empty and no longer is: something else writes to it`,
        );
      }
      writer = new TableWriter({
        connection,
        table: targetTable(target),
        name: load.task.table,
        localInfile: load.localInfile,
        inTransaction: true,
        onReject,
        onDuplicate: duplicateCheck(connection, target, targetTable(target)),
      });
    },
    write: async (chunk) => {
      await writer?.write(chunk);
      chunk.release();
      if ((writer?.written ?? 0) > load.task.maxPublishRows) {
        throw loaderError(
          'LOAD_PUBLISH_TOO_LARGE',
          `${load.task.table}: more than ${load.task.maxPublishRows} rows (maxPublishRows) in one transaction`,
        );
      }
    },
  });
  if (!pass) return { counts: noCounts(load.task.table), pass: null, rowCount: 0 };
  // The writer exists, since the source had a first file; its type does not say so inside the callbacks.
  const { written, duplicates } = writer as unknown as TableWriter;
  const counts = {
    table: load.task.table,
    read: pass.read,
    inserted: written,
    updated: 0,
    deleted: 0,
    unchanged: duplicates,
    rejected: pass.rejected,
    held: 0,
  };
  return { counts: { ...counts, publish: 'direct' }, pass, rowCount: written };
}

/** Errors that the table's own constraints cause, by name. */
function explained(error: unknown, load: TableLoad, doing: string): unknown {
  const { table } = load.task;
  const errno = serverErrno(error);
  const said = error instanceof Error ? error.message : String(error);
  if (classifyFault(error) === 'duplicate-key')
    return loaderError('LOAD_UNIQUE_CONFLICT', `${table}: ${doing}: ${said}`, { cause: error });
  if (errno === 1452 || errno === 1216)
    return loaderError('LOAD_FOREIGN_KEY', `${table}: ${doing}: ${said}`, { cause: error });
  if (errno === 1451 || errno === 1217)
    return loaderError('LOAD_FOREIGN_KEY', `${table}: ${doing}: ${said}`, {
      cause: error,
      hint: 'Rows of another table still refer to rows that the source no longer has.',
    });
  if (errno === 3819 || errno === 4025)
    return loaderError('LOAD_CHECK_FAILED', `${table}: ${doing}: ${said}`, { cause: error });
  return error;
}

/** SHA-256 as 64 hexadecimal digits. */
export function sha256(text: string): string {
  return createHash('sha256').update(text).digest('hex');
}
