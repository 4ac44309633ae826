import { quoteIdentifier, quoteList, quoteTable } from '@tableset/common/database/quoting.ts';
import type { ColumnDefinition, TableDefinition } from '@tableset/common/database/table-definition.ts';
import { sameValue } from '../load-sql.ts';
import { isTextType } from '../values/column-codec.ts';
import type { ArchivedTable, ArchiveSet, ChildLink } from './archive-set.ts';
import { cellExpression, rowHashExpression } from './canonical.ts';
import { findColumn, type SqlPart } from './conditions.ts';
import { isKey } from './key-columns.ts';
import type { KeyRange, Selection } from './selection.ts';
import type { Aggregate } from './statistics.ts';

/*
 * The statements of a batch whose archive lies on the primary's own server. In every one of them `s` is the table, `a` its archive, `q` its parent and `p` the
 * archive of that. The id of the batch comes as a bigint: a text would be compared with BIGINT columns as a DOUBLE by some servers.
 */

/** The column of every archive table that says which batch a row came with, quoted. */
export const batchColumn = quoteIdentifier('tableset_batch');

/** The table, quoted with its schema. */
export function sourceTable(table: ArchivedTable): string {
  return quoteTable(table.definition.schema, table.definition.name);
}

/** Its archive, quoted with its schema. */
export function archiveTable(table: ArchivedTable, archiveSchema: string): string {
  return quoteTable(archiveSchema, table.archiveName);
}

/**
 * Copies the rows of a range that match, and locks them: what was read is what is there until the transaction ends.
 * @param rows how many there should be: without this limit the server would lock the first row behind the range too, which may be another batch's.
 *   If so many were copied, `copiedLast` tells whether they were all of them.
 */
export function copyRoot(
  set: ArchiveSet,
  archiveSchema: string,
  batch: bigint,
  selection: Selection,
  range: KeyRange,
  rows: number,
): SqlPart {
  const [root] = set.tables;
  const within = selection.within(range, 's');
  if (!Number.isSafeInteger(rows) || rows < 1) throw new RangeError(`a batch cannot have ${rows} rows`);
  return {
    sql: `${insertInto(root, archiveSchema)} SELECT ${columnsOf(root, 's')}, ? FROM ${sourceTable(root)} s${selection.indexHint} WHERE ${within.sql} LIMIT ${rows} FOR UPDATE`,
    values: [batch, ...within.values],
  };
}

/** One row if the last row of the range was copied. */
export function copiedLast(set: ArchiveSet, archiveSchema: string, batch: bigint, range: KeyRange): SqlPart {
  const [root] = set.tables;
  const last = isKey(
    root.key.map((name, place) => ({ column: columnOf(root, name), cell: range.last.key[place] ?? '' })),
    'a',
  );
  return {
    sql: `SELECT 1 AS ${quoteIdentifier('there')} FROM ${archiveTable(root, archiveSchema)} a WHERE ${last.sql} AND a.${batchColumn} = ?`,
    values: [...last.values, batch],
  };
}

/** Copies and locks those rows of a range that are not in the batch yet, because rows had come between the others since they were counted. */
export function copyRest(
  set: ArchiveSet,
  archiveSchema: string,
  batch: bigint,
  selection: Selection,
  range: KeyRange,
): SqlPart {
  const [root] = set.tables;
  const within = selection.within(range, 's');
  const same = root.key.map((name) => `a.${quoteIdentifier(name)} = s.${quoteIdentifier(name)}`);
  return {
    sql: `${insertInto(root, archiveSchema)} SELECT ${columnsOf(root, 's')}, ? FROM ${sourceTable(root)} s${selection.indexHint}
      WHERE ${within.sql} AND NOT EXISTS (SELECT 1 FROM ${archiveTable(root, archiveSchema)} a WHERE ${same.join(' AND ')} AND a.${batchColumn} = ?) FOR UPDATE`,
    values: [batch, ...within.values, batch],
  };
}

/** Which indexes the statements of a batch go by, as index hints: a server that reads a whole table instead locks all of it. */
export interface BatchHints {
  /** By archiveName, for the rows of a batch in an archive. */
  readonly batch: ReadonlyMap<string, string>;
  /** By archiveName, for the children of a parent. */
  readonly link: ReadonlyMap<string, string>;
  /** By archiveName, for the one row of an archive that has a key and a batch; of tables whose key is one integer. */
  readonly copy: ReadonlyMap<string, string>;
  /** No statement locks rows of another batch, so that several may be under way. */
  readonly parallel: boolean;
}

/** @param archives the definitions of the archive tables, in the order of the set */
export function batchHints(set: ArchiveSet, archives: readonly TableDefinition[]): BatchHints {
  const batch = new Map<string, string>();
  const link = new Map<string, string>();
  const copy = new Map<string, string>();
  for (const [index, table] of set.tables.entries()) {
    const ofBatch = indexOn(archives[index], ['tableset_batch']);
    if (ofBatch !== null) batch.set(table.archiveName, ofBatch);
    const ofLink = table.child === null ? '' : indexOn(table.definition, table.child.columns);
    if (ofLink !== null) link.set(table.archiveName, ofLink);
    const ofCopy = hasNumber(table) ? indexOn(archives[index], [...table.key, 'tableset_batch']) : null;
    if (ofCopy !== null) copy.set(table.archiveName, ofCopy);
  }
  const parallel =
    batch.size === set.tables.length &&
    link.size === set.tables.length &&
    !set.tables.some((table) => dropsAnything(set, table));
  return { batch, link, copy, parallel };
}

/** A hint of the index that begins with these columns, in any order; null if there is none. */
function indexOn(definition: TableDefinition | undefined, columns: readonly string[]): string | null {
  const index = definition?.indexes.find(({ parts, type }) => {
    const leading = parts.slice(0, columns.length);
    return (
      type === 'BTREE' &&
      leading.every(({ column, prefix }) => prefix === null && columns.includes(column ?? '')) &&
      leading.length === columns.length
    );
  });
  return index ? ` FORCE INDEX (${quoteIdentifier(index.name)})` : null;
}

/**
 * Copies and locks the children of the parents that were copied with this batch. Children hang on the parent by the collation of the table, which its archive
 * need not have: they are found by way of the parent itself, unless integers say which it is.
 */
export function copyChildren(
  set: ArchiveSet,
  table: ArchivedTable,
  link: ChildLink,
  archiveSchema: string,
  batch: bigint,
  hints: BatchHints,
): SqlPart {
  const parent = parentOf(set, link);
  const parents = `${archiveTable(parent, archiveSchema)} p${hints.batch.get(parent.archiveName) ?? ''}`;
  const byArchive = link.parentColumns.every((name) =>
    integerTypes.has(findColumn(parent.definition, name)?.dataType ?? ''),
  );
  const byParent = ` STRAIGHT_JOIN ${sourceTable(parent)} q FORCE INDEX (PRIMARY) ON ${keyMatch(parent, 'q', 'p')}`;
  const children = `${sourceTable(table)} s${hints.link.get(table.archiveName) ?? ''}`;
  return {
    sql: `${insertInto(table, archiveSchema)} SELECT ${columnsOf(table, 's')}, ? FROM ${parents}${byArchive ? '' : byParent} STRAIGHT_JOIN ${children} ON ${linkMatch(link, 's', byArchive ? 'p' : 'q')} WHERE p.${batchColumn} = ? FOR UPDATE`,
    values: [batch, batch],
  };
}

function insertInto(table: ArchivedTable, archiveSchema: string): string {
  return `INSERT INTO ${archiveTable(table, archiveSchema)} (${quoteList(table.columns.map((column) => column.name))}, ${batchColumn})`;
}

function columnsOf(table: ArchivedTable, alias: string): string {
  return table.columns.map((column) => `${alias}.${quoteIdentifier(column.name)}`).join(', ');
}

/** How the rows of a batch are read from an archive, as `a`, without locks. */
export interface CopiedRows {
  readonly archive: string;
  readonly indexHint: string;
  readonly where: SqlPart;
}

/** Least and greatest key of a batch. */
export interface Edges {
  readonly first: readonly string[];
  readonly last: readonly string[];
}

/** Up to so many possible keys for each of a batch's rows, reading them in the order of the keys is a third faster than by the index of batches. */
const sparsenessMax = 4n;

/** @param rows in the batch */
export function copiedRows(
  table: ArchivedTable,
  archiveSchema: string,
  batch: bigint,
  edges: Edges | null,
  rows: number,
): CopiedRows {
  const archive = archiveTable(table, archiveSchema);
  const ofBatch = `a.${batchColumn} = ?`;
  const [name = ''] = table.key;
  const byBatch = { archive, indexHint: '', where: { sql: ofBatch, values: [batch] } };
  if (edges === null || !hasNumber(table)) return byBatch;
  const [first, last] = [BigInt(edges.first[0] ?? 0), BigInt(edges.last[0] ?? 0)];
  if (last - first >= sparsenessMax * BigInt(rows)) return byBatch;
  return {
    archive,
    indexHint: ' FORCE INDEX (PRIMARY)',
    where: { sql: `${ofBatch} AND a.${quoteIdentifier(name)} BETWEEN ? AND ?`, values: [batch, first, last] },
  };
}

/**
 * Deletes exactly the rows that the archive has under this batch with every column the same, byte by byte. It goes by the index of batches: a DELETE
 * locks what it reads of the archive, and a range of keys could have rows of another batch in it.
 */
export function deleteCopied(table: ArchivedTable, archiveSchema: string, batch: bigint, hints: BatchHints): SqlPart {
  return {
    sql: `DELETE s FROM ${archiveTable(table, archiveSchema)} a${hints.batch.get(table.archiveName) ?? ''} STRAIGHT_JOIN ${sourceTable(table)} s ON ${sameRow(table)} WHERE a.${batchColumn} = ?`,
    values: [batch],
  };
}

/** True for tables whose key is one integer. */
function hasNumber(table: ArchivedTable): boolean {
  return table.key.length === 1 && integerTypes.has(columnOf(table, table.key[0] ?? '').dataType);
}

/** A query for how many rows the table has between the edges of a batch, both included, as `rows`: where there are no others, `deleteBetween` may delete them. */
export function rowsBetween(table: ArchivedTable, { first, last }: Edges): SqlPart {
  const [name = ''] = table.key;
  return {
    sql: `SELECT COUNT(*) AS ${quoteIdentifier('rows')} FROM ${sourceTable(table)} s FORCE INDEX (PRIMARY) WHERE s.${quoteIdentifier(name)} BETWEEN ? AND ?`,
    values: [BigInt(first[0] ?? ''), BigInt(last[0] ?? '')],
  };
}

/**
 * Deletes the same rows as `deleteCopied`, of a table with no others between the edges: the servers delete what they read first on the way, where they would
 * keep a list of what they read second. The last row goes by itself, since a server looks at the row behind a range before it knows the range to be at
 * its end: that is to be one of ours, which nobody else has locked.
 * @param copyHint of `BatchHints.copy`
 */
export function deleteBetween(
  table: ArchivedTable,
  archiveSchema: string,
  batch: bigint,
  { first, last }: Edges,
  copyHint: string,
): readonly SqlPart[] {
  const key = `s.${quoteIdentifier(table.key[0] ?? '')}`;
  const copies = `${archiveTable(table, archiveSchema)} a${copyHint} ON ${sameRow(table)} AND a.${batchColumn} = ?`;
  const part = (range: string, values: readonly bigint[]): SqlPart => ({
    sql: `DELETE s FROM ${sourceTable(table)} s FORCE INDEX (PRIMARY) STRAIGHT_JOIN ${copies} WHERE ${range}`,
    values: [batch, ...values],
  });
  const [from, to] = [BigInt(first[0] ?? ''), BigInt(last[0] ?? '')];
  return [...(from < to ? [part(`${key} >= ? AND ${key} < ?`, [from, to])] : []), part(`${key} = ?`, [to])];
}

/** That `s` is the row that `a` is a copy of, and every column still the same, byte by byte. */
function sameRow(table: ArchivedTable): string {
  const same = table.columns
    .filter((column) => !isComparedByKey(table, column))
    .map((column) => sameValue(column, 's', 'a'));
  return [keyMatch(table, 's', 'a'), ...same].join(' AND ');
}

/** Bytes of a row's hash in the text that a digest is made of. */
const hashBytes = 65;

/** Whether the text of so many hashes is one that a server with this max_allowed_packet makes in one go. */
export function fitsDigest(rows: number, packetBytes: number): boolean {
  return rows > 0 && (rows + 1) * hashBytes < packetBytes;
}

/**
 * What the manifest says of a batch's rows, in one pass over the archive, under names that begin with `tableset_`: `rows`, `hashed` (those whose text fits
 * into a packet), `sha256` of their hashes as `batchDigest` makes it, `oldest`, `newest`, `now` (UTC), and the aggregates that are asked for.
 * @param aggregates SQL over the unqualified columns, each with its name
 * @param digest whether `fitsDigest` the hashes, also into group_concat_max_len; `sha256` is NULL otherwise
 */
export function readBack(
  table: ArchivedTable,
  { archive, indexHint, where }: CopiedRows,
  dateColumn: string | null,
  aggregates: readonly Aggregate[],
  digest: boolean,
): SqlPart {
  const date = dateColumn === null ? null : quoteIdentifier(dateColumn);
  const facts: readonly Aggregate[] = [
    { name: 'tableset_now', sql: 'UTC_TIMESTAMP(6)' },
    { name: 'tableset_rows', sql: 'COUNT(*)' },
    ...(date === null ? [] : [{ name: 'tableset_oldest', sql: `MIN(${date})` }]),
    ...(date === null ? [] : [{ name: 'tableset_newest', sql: `MAX(${date})` }]),
    ...aggregates,
  ];
  // Named once: the servers compute a hash as often as it is named.
  const hashes = digest ? "GROUP_CONCAT(tableset_hash ORDER BY tableset_hash SEPARATOR '\n')" : 'COUNT(tableset_hash)';
  const told = digest
    ? [
        `COALESCE((LENGTH(tableset_hashes) + 1) DIV ${hashBytes}, 0) AS tableset_hashed`,
        "SHA2(CONCAT(tableset_hashes, '\n'), 256) AS tableset_sha256",
      ]
    : ['tableset_hashes AS tableset_hashed', 'NULL AS tableset_sha256'];
  const columns = table.columns.map((column) => `a.${quoteIdentifier(column.name)}`);
  return {
    sql: `SELECT ${[...facts.map(({ name }) => name), ...told].join(', ')}
      FROM (SELECT ${facts.map(({ name, sql }) => `${sql} AS ${name}`).join(', ')}, ${hashes} AS tableset_hashes
        FROM (SELECT ${columns.join(', ')}, ${rowHashExpression(table.columns, 'a')} AS tableset_hash FROM ${archive} a${indexHint} WHERE ${where.sql}) tableset_batch_rows) tableset_facts`,
    values: where.values,
  };
}

/** The hashes of a batch's rows as `tableset_hash`, for batches too large for `readBack`. */
export function readHashes(table: ArchivedTable, { archive, indexHint, where }: CopiedRows): SqlPart {
  return {
    sql: `SELECT ${rowHashExpression(table.columns, 'a')} AS tableset_hash FROM ${archive} a${indexHint} WHERE ${where.sql}`,
    values: where.values,
  };
}

/** Integers have one form alone, so that the key's comparison is enough. */
function isComparedByKey(table: ArchivedTable, column: ColumnDefinition): boolean {
  return table.key.includes(column.name) && integerTypes.has(column.dataType);
}

const integerTypes = new Set(['tinyint', 'smallint', 'mediumint', 'int', 'bigint']);

/**
 * Takes out of a batch's archive what the settings of a child leave out of it. Its rows are gone from the table by then, in the same
 * transaction, all of them proved by their copies, so nothing can be lost that was not meant.
 */
export function dropLeftOut(
  set: ArchiveSet,
  table: ArchivedTable,
  link: ChildLink,
  archiveSchema: string,
  batch: bigint,
): readonly SqlPart[] {
  const archive = archiveTable(table, archiveSchema);
  const parent = parentOf(set, link);
  const { settings } = link;
  const parts: SqlPart[] = [];
  const parents = `${archive} a LEFT JOIN ${archiveTable(parent, archiveSchema)} p ON ${linkMatch(link, 'a', 'p')} AND p.${batchColumn} = ?`;
  const parentGone = `p.${batchColumn} IS NULL`;
  if (settings.when && settings.leftOut === 'drop') {
    const column = `p.${quoteIdentifier(settings.when.column)}`;
    const bounds: [string, number][] = [];
    if (settings.when.atMost !== undefined) bounds.push([`${column} <= ?`, settings.when.atMost]);
    if (settings.when.atLeast !== undefined) bounds.push([`${column} >= ?`, settings.when.atLeast]);
    const qualifies = bounds.map(([sql]) => sql).join(' AND ');
    parts.push({
      sql: `DELETE a FROM ${parents} WHERE a.${batchColumn} = ? AND (${parentGone}${qualifies === '' ? '' : ` OR (${qualifies}) IS NOT TRUE`})`,
      values: [batch, batch, ...bounds.map(([, bound]) => bound)],
    });
  } else if (dropsAnything(set, parent)) {
    parts.push({
      sql: `DELETE a FROM ${parents} WHERE a.${batchColumn} = ? AND ${parentGone}`,
      values: [batch, batch],
    });
  }
  if (settings.resolutionSeconds !== null && settings.dateColumn !== null && settings.leftOut === 'drop') {
    parts.push(keepOnePerInterval(table, link, archive, settings.dateColumn, settings.resolutionSeconds, batch));
  }
  return parts;
}

/** True if settings drop rows of this table, or of one that it hangs on. What is to be kept keeps its root from being selected instead. */
export function dropsAnything(set: ArchiveSet, table: ArchivedTable): boolean {
  const { child } = table;
  if (child === null) return false;
  const { when, resolutionSeconds, leftOut } = child.settings;
  return (leftOut === 'drop' && (when ?? resolutionSeconds) !== null) || dropsAnything(set, parentOf(set, child));
}

/** Keeps the first row, by date and key, of each parent and interval; rows without a date all stay. */
function keepOnePerInterval(
  table: ArchivedTable,
  link: ChildLink,
  archive: string,
  dateColumn: string,
  seconds: number,
  batch: bigint,
): SqlPart {
  const date = quoteIdentifier(dateColumn);
  const interval = `FLOOR(${secondsOf(table, dateColumn)} / ?)`;
  const key = quoteList(table.key);
  const matches = table.key.map((name) => `k.${quoteIdentifier(name)} = a.${quoteIdentifier(name)}`);
  return {
    sql: `DELETE a FROM (SELECT ${key}, ROW_NUMBER() OVER (PARTITION BY ${quoteList(link.columns)}, ${interval} ORDER BY ${date}, ${key}) AS tableset_place
      FROM ${archive} WHERE ${batchColumn} = ? AND ${date} IS NOT NULL) k STRAIGHT_JOIN ${archive} a ON ${matches.join(' AND ')} AND a.${batchColumn} = ? WHERE k.tableset_place > 1`,
    values: [seconds, batch, batch],
  };
}

/** The seconds of a date column since 1970 on its own clock; an integer column holds them itself. */
function secondsOf(table: ArchivedTable, dateColumn: string): string {
  const column = table.columns.find((each) => each.name === dateColumn);
  const name = quoteIdentifier(dateColumn);
  return column && integerTypes.has(column.dataType) ? name : `TIMESTAMPDIFF(SECOND, '1970-01-01', ${name})`;
}

/** The least and the greatest key of a batch in its archive, with 0 and 1 as `tableset_edge`: two rows, or none. */
export function edgeKeys(table: ArchivedTable, archiveSchema: string, batch: bigint): SqlPart {
  const edge = (direction: '' | ' DESC', number: 0 | 1) => {
    const order = table.key.map((name) => `a.${quoteIdentifier(name)}${direction}`).join(', ');
    return `(SELECT ${number} AS tableset_edge, ${keyCells(table, 'a')} FROM ${archiveTable(table, archiveSchema)} a WHERE a.${batchColumn} = ? ORDER BY ${order} LIMIT 1)`;
  };
  return { sql: `${edge('', 0)} UNION ALL ${edge(' DESC', 1)}`, values: [batch, batch] };
}

/** The cells of a key under its columns' names. */
export function keyCells(table: ArchivedTable, alias: string): string {
  return table.key
    .map((name) => `${cellExpression(columnOf(table, name), alias)} AS ${quoteIdentifier(name)}`)
    .join(', ');
}

function columnOf(table: ArchivedTable, name: string): ColumnDefinition {
  const column = table.columns.find((each) => each.name === name);
  if (!column) throw new RangeError(`${table.definition.name} has no column ${name}`);
  return column;
}

function parentOf(set: ArchiveSet, link: ChildLink): ArchivedTable {
  const parent = set.tables[link.parent];
  if (!parent) throw new RangeError(`no table ${link.parent} in the set`);
  return parent;
}

/** A row's key in the table and in the archive, compared by the table's collation: its index is found by no other. */
function keyMatch(table: ArchivedTable, source: string, archive: string): string {
  return table.key
    .map((name) => {
      const { dataType, characterSet, collation } = columnOf(table, name);
      const kept = `${archive}.${quoteIdentifier(name)}`;
      const isText = isTextType(dataType) && characterSet !== null && collation !== null;
      const compared = isText ? `CONVERT(${kept} USING ${characterSet}) COLLATE ${collation}` : kept;
      return `${source}.${quoteIdentifier(name)} = ${compared}`;
    })
    .join(' AND ');
}

/** `child`.`order_id` = `parent`.`id` AND … */
export function linkMatch(link: ChildLink, child: string, parent: string): string {
  return link.columns
    .map(
      (name, index) =>
        `${child}.${quoteIdentifier(name)} = ${parent}.${quoteIdentifier(link.parentColumns[index] ?? '')}`,
    )
    .join(' AND ');
}
