import { quoteIdentifier, quoteList, quoteString, quoteTable } from '@tableset/common/database/quoting.ts';
import type { ColumnDefinition } from '@tableset/common/database/table-definition.ts';
import { stagedColumn } from '../staged-column.ts';
import type { ArchivedTable, ArchiveSet, ChildLink } from './archive-set.ts';
import { cellExpression, isBinaryColumn, rowHashExpression } from './canonical.ts';
import type { SqlPart } from './conditions.ts';
import { holdsTypedValue, jsonColumns } from './json-values.ts';
import type { KeyRange, Selection } from './selection.ts';

/*
 * The statements on the primary of a batch that goes to another server or to files. The rows of a batch are known by their keys, which lie in
 * temporary tables, one for each table of the set: `k` there, `t` the table itself, `p` its parent. Every join goes from the
 * keys to the table, so that exactly the rows of the list are locked and deleted, whatever the optimizer thinks of it.
 */

/** A row of a batch as the primary knows it. */
export interface KeyRow {
  /** As the manifest writes it: binary cells as hexadecimal digits. */
  readonly key: readonly string[];
  /** As `rowHash` gives it. */
  readonly hash: string;
  /** Number of the root row that it hangs on; null where only the store was asked. */
  readonly root: number | null;
  /** False for rows that are deleted without a copy, by explicit choice. */
  readonly kept: boolean;
}

const rootColumn = 'tableset_root';
const keptColumn = 'tableset_kept';
const hashColumn = 'tableset_hash';

/** The temporary table of the keys of one table of the set, quoted. */
export function batchKeys(index: number): string {
  return quoteIdentifier(`tableset_batch_keys_${index}`);
}

function sourceOf(table: ArchivedTable): string {
  return quoteTable(table.definition.schema, table.definition.name);
}

export function keyColumns(table: ArchivedTable): readonly ColumnDefinition[] {
  // A key's columns are among the table's.
  return table.key.map((name) => table.columns.find((column) => column.name === name) as ColumnDefinition);
}

/** Temporary, so that it is not replicated and goes with its session; it belongs outside of transactions. */
export function createBatchKeys(table: ArchivedTable, index: number): string {
  const { definition } = table;
  const columns = keyColumns(table).map((column) => stagedColumn(definition, column));
  const charset =
    definition.collation === null
      ? ''
      : ` DEFAULT CHARACTER SET ${definition.collation.split('_')[0]} COLLATE ${definition.collation}`;
  return `CREATE TEMPORARY TABLE ${batchKeys(index)} (${columns.join(', ')}, ${rootColumn} INT UNSIGNED NULL, ${keptColumn} TINYINT NOT NULL, ${hashColumn} BINARY(32) NOT NULL,
    PRIMARY KEY (${quoteList(table.key)})) ENGINE=InnoDB${charset}`;
}

export function clearBatchKeys(index: number): string {
  return `TRUNCATE TABLE ${batchKeys(index)}`;
}

export function dropBatchKeys(index: number): string {
  return `DROP TEMPORARY TABLE IF EXISTS ${batchKeys(index)}`;
}

/** INSERTs of the keys, each of about so many bytes at most. */
export function* fillBatchKeys(
  table: ArchivedTable,
  index: number,
  rows: readonly KeyRow[],
  bytesMax: number,
): Generator<string> {
  const literals = keyColumns(table).map((column) => literalOf(column));
  const head = `INSERT INTO ${batchKeys(index)} VALUES `;
  let values: string[] = [];
  let length = 0;
  for (const { key, hash, root, kept } of rows) {
    const cells = key.map((cell, part) => literals[part]?.(cell) ?? 'NULL');
    const value = `(${cells.join(',')},${root ?? 'NULL'},${kept ? 1 : 0},x'${hash}')`;
    // Three bytes a character at most: identifiers and text of keys are in the basic plane or escaped in pairs.
    const bytes = value.length * 3;
    if (values.length > 0 && length + bytes > bytesMax) {
      yield head + values.join(',');
      values = [];
      length = 0;
    }
    values.push(value);
    length += bytes;
  }
  if (values.length > 0) yield head + values.join(',');
}

function literalOf(column: ColumnDefinition): (cell: string) => string {
  if (isBinaryColumn(column)) return (cell) => (cell === '' ? "''" : `x'${cell}'`);
  if (column.dataType === 'bit') return (cell) => `CAST(${quoteString(cell)} AS UNSIGNED)`;
  return quoteString;
}

/** How many cells stand before the facts of a row: one a column, then its hash, and for a row that no archive could give back the place of the column, from 1. */
export interface RowFacts {
  readonly hash: number;
  readonly unfit: number;
  readonly root: number;
  readonly kept: number;
  readonly place: number;
}

/** Where the facts of a row stand behind its cells. */
export function rowFacts(table: ArchivedTable): RowFacts {
  const first = table.columns.length;
  return { hash: first, unfit: first + 1, root: first + 2, kept: first + 3, place: first + 4 };
}

function selected(table: ArchivedTable): string {
  const cells = table.columns.map((column) => cellExpression(column, 't'));
  return `${cells.join(', ')}, ${rowHashExpression(table.columns, 't')}, ${unfit(table.columns)}`;
}

/** An ENUM's value that is no member prints as an empty text, which would come back as an error or as a member. */
function unfit(columns: readonly ColumnDefinition[]): string {
  const documents = jsonColumns(columns);
  const cases = columns.flatMap((column, index) => {
    const then = ` THEN ${index + 1}`;
    if (column.dataType === 'enum') return `WHEN t.${quoteIdentifier(column.name)} + 0 = 0${then}`;
    return documents.includes(column) ? `WHEN ${holdsTypedValue(column, 't')}${then}` : [];
  });
  return cases.length === 0 ? '0' : `CASE ${cases.join(' ')} ELSE 0 END`;
}

/** The rows of a range that match, in the order of their keys, without locks. */
export function readRoot(table: ArchivedTable, selection: Selection, range: KeyRange): SqlPart {
  const within = selection.within(range, 't');
  return {
    sql: `SELECT ${selected(table)} FROM ${sourceOf(table)} t${selection.indexHint} WHERE ${within.sql} ORDER BY ${keyOf(table, 't')}`,
    values: within.values,
  };
}

/** The children of the parents whose keys are in the parent's table, in the order of their own keys, with the facts of `rowFacts`. */
export function readChildren(set: ArchiveSet, table: ArchivedTable, link: ChildLink): SqlPart {
  const { when, resolutionSeconds, dateColumn } = link.settings;
  const values: (string | number)[] = [];
  let kept = `k.${keptColumn}`;
  if (when) {
    const column = `p.${quoteIdentifier(when.column)}`;
    const bounds = [
      ...(when.atMost === undefined ? [] : ([['<=', when.atMost]] as const)),
      ...(when.atLeast === undefined ? [] : ([['>=', when.atLeast]] as const)),
    ];
    for (const [operator, bound] of bounds) {
      kept += ` AND (${column} ${operator} ?) IS TRUE`;
      values.push(bound);
    }
  }
  let place = '1';
  if (resolutionSeconds !== null && dateColumn !== null) {
    const date = `t.${quoteIdentifier(dateColumn)}`;
    const links = link.columns.map((name) => `t.${quoteIdentifier(name)}`).join(', ');
    // Rows without a date all stay.
    place = `IF(${date} IS NULL, 1, ROW_NUMBER() OVER (PARTITION BY ${links}, FLOOR(${secondsOf(table, dateColumn)} / ?) ORDER BY ${date}, ${keyOf(table, 't')}))`;
    values.push(resolutionSeconds);
  }
  return {
    sql: `SELECT ${selected(table)}, k.${rootColumn}, ${kept}, ${place} FROM ${fromParents(set, table, link, when !== null)} ORDER BY ${keyOf(table, 't')}`,
    values,
  };
}

function secondsOf(table: ArchivedTable, dateColumn: string): string {
  const column = table.columns.find((each) => each.name === dateColumn);
  const name = `t.${quoteIdentifier(dateColumn)}`;
  return column && /int$/.test(column.dataType) ? name : `TIMESTAMPDIFF(SECOND, '1970-01-01', ${name})`;
}

function keyOf(table: ArchivedTable, alias: string): string {
  return table.key.map((name) => `${alias}.${quoteIdentifier(name)}`).join(', ');
}

/** The keys of the parents, then their children; the parent itself only where its key does not say what children refer to. */
function fromParents(set: ArchiveSet, table: ArchivedTable, link: ChildLink, withParent: boolean): string {
  const parent = set.tables[link.parent];
  if (!parent) throw new RangeError(`no table ${link.parent} in the set`);
  const byKey = link.parentColumns.every((name) => parent.key.includes(name));
  const needed = withParent || !byKey;
  const alias = needed ? 'p' : 'k';
  const match = link.columns.map(
    (name, index) => `t.${quoteIdentifier(name)} = ${alias}.${quoteIdentifier(link.parentColumns[index] ?? '')}`,
  );
  const join = needed ? ` STRAIGHT_JOIN ${sourceOf(parent)} p ON ${sameKey(parent, 'k', 'p')}` : '';
  return `${batchKeys(link.parent)} k${join} STRAIGHT_JOIN ${sourceOf(table)} t ON ${match.join(' AND ')}`;
}

function sameKey(table: ArchivedTable, left: string, right: string): string {
  return table.key.map((name) => `${left}.${quoteIdentifier(name)} = ${right}.${quoteIdentifier(name)}`).join(' AND ');
}

/** True where a row is still what was copied; the hash of a row is never NULL here. */
function sameHash(table: ArchivedTable, keys: string): string {
  return `UNHEX(${rowHashExpression(table.columns, 't')}) <=> ${keys}.${hashColumn}`;
}

/** Locks the root rows of the list: `found` of them, and how many are not what was copied or are not to go any more. */
export function lockRoot(table: ArchivedTable, selection: Selection): SqlPart {
  const { sql, values } = selection.matches('t');
  return {
    sql: `SELECT COUNT(*) AS found, COALESCE(SUM(NOT (${sameHash(table, 'k')} AND IFNULL((${sql}), 0))), 0) AS differing
      FROM ${batchKeys(0)} k STRAIGHT_JOIN ${sourceOf(table)} t ON ${sameKey(table, 'k', 't')} FOR UPDATE`,
    values,
  };
}

/** Locks all children that the parents have now: `found` of them, those that are in the list as `known`, and those that differ from it. */
export function lockChildren(set: ArchiveSet, index: number, table: ArchivedTable, link: ChildLink): string {
  const known = `e.${quoteIdentifier(table.key[0] ?? '')} IS NOT NULL`;
  return `SELECT COUNT(*) AS found, COALESCE(SUM(${known}), 0) AS known, COALESCE(SUM(NOT (${sameHash(table, 'e')})), 0) AS differing
    FROM ${fromParents(set, table, link, false)} LEFT JOIN ${batchKeys(index)} e ON ${sameKey(table, 'e', 't')} FOR UPDATE`;
}

/** Root rows that void the batch, as `root` and `reason`: gone, changed, or (the same as before, but not to go) held. */
export function changedRoots(table: ArchivedTable, selection: Selection): SqlPart {
  const { sql, values } = selection.matches('t');
  const gone = `t.${quoteIdentifier(table.key[0] ?? '')} IS NULL`;
  const same = sameHash(table, 'k');
  return {
    sql: `SELECT k.${rootColumn} AS root, IF(${gone}, 'gone', IF(${same}, 'held', 'changed')) AS reason
      FROM ${batchKeys(0)} k LEFT JOIN ${sourceOf(table)} t ON ${sameKey(table, 'k', 't')}
      WHERE ${gone} OR NOT (${same}) OR NOT IFNULL((${sql}), 0)`,
    values,
  };
}

/** Root rows that void the batch because a child was added, as `root`. */
export function addedChildren(set: ArchiveSet, index: number, table: ArchivedTable, link: ChildLink): string {
  return `SELECT DISTINCT k.${rootColumn} AS root FROM ${fromParents(set, table, link, false)} LEFT JOIN ${batchKeys(index)} e ON ${sameKey(table, 'e', 't')}
    WHERE e.${quoteIdentifier(table.key[0] ?? '')} IS NULL`;
}

/** Root rows that void the batch because a child was changed, moved or deleted, as `root`. */
export function changedChildren(index: number, table: ArchivedTable): string {
  return `SELECT DISTINCT k.${rootColumn} AS root FROM ${batchKeys(index)} k LEFT JOIN ${sourceOf(table)} t ON ${sameKey(table, 'k', 't')}
    WHERE t.${quoteIdentifier(table.key[0] ?? '')} IS NULL OR NOT (${sameHash(table, 'k')})`;
}

/** Deletes the rows of the list. */
export function deleteRows(index: number, table: ArchivedTable): string {
  return `DELETE t FROM ${batchKeys(index)} k STRAIGHT_JOIN ${sourceOf(table)} t ON ${sameKey(table, 'k', 't')}`;
}
