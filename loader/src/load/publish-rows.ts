import type { Connection } from '@tableset/common/database/connection.ts';
import { classifyFault } from '@tableset/common/database/errno.ts';
import type { ColumnDefinition, ForeignKeyDefinition } from '@tableset/common/database/table-definition.ts';
import { AppError } from '@tableset/common/errors.ts';
import {
  blankJson,
  clearUniques,
  deletableChildren,
  forgetReferences,
  insertableChildren,
  type LoadTarget,
  markInserted,
  publishDeletes,
  publishInserts,
  publishUpdates,
} from '../core/load-sql.ts';
import { furtherUniqueColumns } from '../core/table-rules.ts';
import type { Delta } from './delta.ts';
import { explainConflict } from './explain-conflict.ts';
import type { TableLoad } from './table-load.ts';

/**
 * Deletes the rows that the source no longer has, inside the caller's transaction.
 * @returns how many
 * @throws AppError LOAD_FOREIGN_KEY if other rows still refer to them
 */
export async function deleteRows(delta: Delta, connection: Connection): Promise<number> {
  if (delta.deletes === 0) return 0;
  const { target } = delta.pass;
  try {
    let deleted = 0;
    const references = selfReferences(target);
    if (references.length > 0) {
      // Rows that nothing refers to go first, until none of those is left.
      for (let wave = 1; wave > 0; deleted += wave)
        wave = (await connection.run(deletableChildren(target, references))).affectedRows;
      const forget = deleted < delta.deletes ? forgetReferences(target, references) : null;
      if (forget !== null) await connection.run(forget);
    }
    return deleted + (await connection.run(publishDeletes(target))).affectedRows;
  } catch (error) {
    throw await explainConflict(error, target, connection, 'deleting rows that the source no longer has');
  }
}

/**
 * Updates and inserts, inside the caller's transaction. Updates come first, since they may free unique values that new rows take; where rows
 * are moved below new rows of their own table, the new ones do.
 */
export async function writeRows(
  load: TableLoad,
  delta: Delta,
  connection: Connection,
): Promise<{ readonly updated: number; readonly inserted: number }> {
  if (delta.updates === 0 || delta.inserts === 0 || selfReferences(delta.pass.target).length === 0) {
    const updated = await updateRows(load, delta, connection);
    return { updated, inserted: await insertRows(delta, connection) };
  }
  await connection.run('SAVEPOINT tableset_rows');
  try {
    const updated = await updateRows(load, delta, connection);
    return { updated, inserted: await insertRows(delta, connection) };
  } catch (error) {
    if (!(error instanceof AppError && error.code === 'LOAD_FOREIGN_KEY')) throw error;
    await connection.run('ROLLBACK TO SAVEPOINT tableset_rows');
    const inserted = await insertRows(delta, connection);
    return { inserted, updated: await updateRows(load, delta, connection) };
  }
}

/**
 * Updates in one statement; where further unique keys clash because rows swap values, in two: their nullable columns become NULL
 * first, then everything gets its value.
 */
async function updateRows(load: TableLoad, delta: Delta, connection: Connection): Promise<number> {
  if (delta.updates === 0) return 0;
  const { target } = delta.pass;
  const further = furtherUniqueColumns(load.definition, load.key);
  const clashing = target.columns.filter((column) => further.includes(column.name));
  // MySQL takes documents that it calls equal, such as 1 and 1.0, for unchanged and writes nothing.
  const documents = target.columns.filter((column) => column.dataType === 'json');
  try {
    if (documents.length > 0) await connection.run(blankJson(target, documents));
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
    throw await explainConflict(error, target, connection, 'updating rows');
  }
}

async function updateInTwoSteps(
  target: LoadTarget,
  clashing: readonly ColumnDefinition[],
  delta: Delta,
  connection: Connection,
  first: unknown,
): Promise<number> {
  if (!clashing.some((column) => column.nullable)) throw first;
  await connection.run(clearUniques(target, clashing));
  await connection.run(publishUpdates(target));
  // Rows that both steps touched would be counted twice; every key that differs was written.
  return delta.updates;
}

async function insertRows(delta: Delta, connection: Connection): Promise<number> {
  if (delta.inserts === 0) return 0;
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
    throw await explainConflict(error, target, connection, 'inserting rows');
  }
}

function selfReferences(target: LoadTarget): readonly ForeignKeyDefinition[] {
  const { schema, name } = target.definition;
  return target.definition.foreignKeys.filter((key) => key.referencedSchema === schema && key.referencedTable === name);
}
