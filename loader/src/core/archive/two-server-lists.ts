import { quoteIdentifier, quoteTable } from '@tableset/common/database/quoting.ts';
import type { ArchivedTable, ArchiveSet, ChildLink } from './archive-set.ts';
import { isBinaryColumn, rowHashExpression } from './canonical.ts';
import type { SqlPart } from './conditions.ts';
import type { Selection } from './selection.ts';
import { type KeyRow, keyColumns } from './two-server-sql.ts';

/*
 * The statements of the deleting transaction where a table's keys can stand in them: quicker than by way of temporary tables, which need not be
 * filled then.
 */

/** Keys of one column as they stand in a statement. */
export interface KeyList {
  readonly points: readonly string[];
  /** First and last of whole numbers that follow each other without a gap: no other key lies between them. */
  readonly runs: readonly (readonly [first: string, last: string])[];
}

/** How many ranges a statement may list: either server makes one of each point, in memory that it limits. */
const rangesMax = 10_000;
/** Fewer keys than this are no run. */
const runMin = 8;
/** What a row takes in the digest that the server makes, and about what its key takes in a statement. */
const rowBytes = 65;

const integerTypes = new Set(['tinyint', 'smallint', 'mediumint', 'int', 'bigint']);
const binaryTypes = new Set(['binary', 'varbinary']);

/**
 * The keys of these rows, which both servers read as points and ranges of the primary key. Null where that is not known of the key: more than one
 * column, other types, or too many of them.
 * @param bytesMax what the server takes as a packet
 */
export function keyList(table: ArchivedTable, rows: readonly KeyRow[], bytesMax: number): KeyList | null {
  const [column, ...others] = keyColumns(table);
  if (rows.length === 0) return { points: [], runs: [] };
  if (!column || others.length > 0 || rows.length * rowBytes > bytesMax / 2) return null;
  const list = integerTypes.has(column.dataType)
    ? listedNumbers(rows)
    : binaryTypes.has(column.dataType)
      ? { points: rows.map(({ key }) => `x'${key[0] ?? ''}'`), runs: [] }
      : null;
  if (list === null || list.points.length + list.runs.length > rangesMax) return null;
  const bytes = list.points.reduce((sum, point) => sum + point.length + 1, list.runs.length * 2 * rowBytes);
  return bytes > bytesMax / 2 ? null : list;
}

function listedNumbers(rows: readonly KeyRow[]): KeyList {
  // Only digits get into the statement.
  const numbers = rows.map(({ key }) => BigInt(key[0] ?? '')).sort((a, b) => (a < b ? -1 : a > b ? 1 : 0));
  const points: string[] = [];
  const runs: [string, string][] = [];
  for (let start = 0; start < numbers.length; ) {
    let end = start;
    while (numbers[end + 1] === (numbers[end] as bigint) + 1n) end++; // in bounds
    const length = end - start + 1;
    if (length >= runMin) {
      // A server looks at the row behind a range before it knows the range to be at its end: that is to be one of ours, which nobody else has locked.
      runs.push([String(numbers[start]), String(numbers[end - 1])]);
      points.push(String(numbers[end]));
    } else for (let at = start; at <= end; at++) points.push(String(numbers[at]));
    start = end + 1;
  }
  return { points, runs };
}

/** The rows in the order that the server gives their keys in; rows that were read from the primary are so already. */
export function inKeyOrder(table: ArchivedTable, rows: readonly KeyRow[]): readonly KeyRow[] {
  const [column] = keyColumns(table);
  const whole = column !== undefined && !isBinaryColumn(column);
  const place = ({ key: [cell = ''] }: KeyRow) => (whole ? BigInt(cell) : cell);
  const keyed = rows.map((row) => ({ row, at: place(row) }));
  keyed.sort((a, b) => (a.at < b.at ? -1 : a.at > b.at ? 1 : 0));
  return keyed.map(({ row }) => row);
}

/** SQL that is true for the keys of a list alone. */
function isListed(column: string, { points, runs }: KeyList): string {
  const parts = runs.map(([first, last]) => `${column} BETWEEN ${first} AND ${last}`);
  if (points.length > 0) parts.push(`${column} IN (${points.join(',')})`);
  return parts.length === 0 ? 'FALSE' : `(${parts.join(' OR ')})`;
}

function sourceOf({ definition }: ArchivedTable): string {
  return quoteTable(definition.schema, definition.name);
}

function keyName(table: ArchivedTable): string {
  return quoteIdentifier(table.key[0] ?? '');
}

/** SHA-256 of the rows' hashes one behind the other in the order of their keys; it needs a group_concat_max_len of 64 bytes a row. */
function digestOf(table: ArchivedTable): string {
  const hash = rowHashExpression(table.columns, 't');
  return `SHA2(GROUP_CONCAT(${hash} ORDER BY t.${keyName(table)} SEPARATOR ''), 256)`;
}

/** Locks the root rows of a list: `found` of them, `differing` that are not to go any more, and the `digest` of all. */
export function lockListedRoot(table: ArchivedTable, selection: Selection, list: KeyList): SqlPart {
  const { sql, values } = selection.matches('t');
  return {
    sql: `SELECT COUNT(*) AS found, COALESCE(SUM(NOT IFNULL((${sql}), 0)), 0) AS differing, ${digestOf(table)} AS digest
      FROM ${sourceOf(table)} t FORCE INDEX (PRIMARY) WHERE ${isListed(`t.${keyName(table)}`, list)} FOR UPDATE`,
    values,
  };
}

/** True if children refer to their parent's key, so that a list of parents finds them. */
export function canListChildren(set: ArchiveSet, link: ChildLink): boolean {
  return link.columns.length === 1 && link.parentColumns[0] === set.tables[link.parent]?.key[0];
}

/** Locks all children that the parents of a list have now, in the same way. */
export function lockListedChildren(table: ArchivedTable, link: ChildLink, parents: KeyList): string {
  const column = link.columns[0] ?? '';
  const index = table.definition.indexes.find(({ parts, type }) => parts[0]?.column === column && type === 'BTREE');
  const hint = index ? ` FORCE INDEX (${quoteIdentifier(index.name)})` : '';
  return `SELECT COUNT(*) AS found, 0 AS differing, ${digestOf(table)} AS digest FROM ${sourceOf(table)} t${hint}
    WHERE ${isListed(`t.${quoteIdentifier(column)}`, parents)} FOR UPDATE`;
}

/**
 * Deletes the rows of a list, by the primary key: MySQL takes a hint for that in a DELETE from one table alone, MariaDB in one that names what it
 * joins. Of a table whose rows are nearly all in the list either would read the whole otherwise, and wait for locks on rows that are none of the batch.
 */
export function deleteListed(table: ArchivedTable, list: KeyList, flavour: 'mysql' | 'mariadb'): string {
  if (flavour === 'mariadb')
    return `DELETE t FROM ${sourceOf(table)} t FORCE INDEX (PRIMARY) WHERE ${isListed(`t.${keyName(table)}`, list)}`;
  const name = quoteIdentifier(table.definition.name);
  // A name must not end the hint.
  const hint = name.includes('*/') ? '' : ` /*+ INDEX(${name} PRIMARY) */`;
  return `DELETE${hint} FROM ${sourceOf(table)} WHERE ${isListed(keyName(table), list)}`;
}
