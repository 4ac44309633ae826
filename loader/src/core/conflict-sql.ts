import { quoteIdentifier, quoteTable } from '@tableset/common/database/quoting.ts';
import type { ForeignKeyDefinition, IndexDefinition } from '@tableset/common/database/table-definition.ts';
import {
  keysMatch,
  keyTable,
  type LoadTarget,
  operationColumn,
  operations,
  stageTable,
  targetTable,
} from './load-sql.ts';

/**
 * Staged rows to be written whose parent is missing: the key's columns, then those of the reference.
 * @param parent what is staged of the parent's table in the same run, where a missing parent may be about to come
 */
export function orphanRows(
  target: LoadTarget,
  reference: ForeignKeyDefinition,
  parent: LoadTarget | null,
  limit: number,
): string {
  const to = (alias: string) =>
    reference.columns
      .map(
        (name, part) =>
          `${alias}.${quoteIdentifier(reference.referencedColumns[part] ?? '')} = s.${quoteIdentifier(name)}`,
      )
      .join(' AND ');
  const absent = (alias: string) => `${alias}.${quoteIdentifier(reference.referencedColumns[0] ?? '')} IS NULL`;
  const present = reference.columns.map((name) => `s.${quoteIdentifier(name)} IS NOT NULL`);
  const staged = parent ? ` LEFT JOIN ${stageTable(parent)} q ON ${to('q')}` : '';
  return `${writtenRows(target, reference.columns)}
    LEFT JOIN ${quoteTable(reference.referencedSchema, reference.referencedTable)} p ON ${to('p')}${staged}
    WHERE ${isWritten} AND ${present.join(' AND ')} AND ${absent('p')}${parent ? ` AND ${absent('q')}` : ''} LIMIT ${limit}`;
}

/** Staged rows to be written whose values of a unique key another row of the table has. */
export function clashingRows(target: LoadTarget, index: IndexDefinition, limit: number): string {
  const columns = index.parts.flatMap((part) => (part.column === null ? [] : [part.column]));
  const same = columns.map((name) => `t.${quoteIdentifier(name)} = s.${quoteIdentifier(name)}`);
  return `${writtenRows(target, columns)} JOIN ${targetTable(target)} t ON ${same.join(' AND ')} AND NOT (${keysMatch(target, 't', 's')}) WHERE ${isWritten} LIMIT ${limit}`;
}

const isWritten = `k.${operationColumn} IN (${operations.insert}, ${operations.update})`;

function writtenRows(target: LoadTarget, columns: readonly string[]): string {
  const shown = [...new Set([...target.key, ...columns])].map((name) => `s.${quoteIdentifier(name)}`);
  return `SELECT ${shown.join(', ')} FROM ${keyTable(target)} k STRAIGHT_JOIN ${stageTable(target)} s ON ${keysMatch(target, 'k', 's')}`;
}
