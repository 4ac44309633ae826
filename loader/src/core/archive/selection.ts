import type { Row } from '@tableset/common/database/connection.ts';
import { quoteIdentifier, quoteTable } from '@tableset/common/database/quoting.ts';
import type { ColumnDefinition } from '@tableset/common/database/table-definition.ts';
import type { Condition } from '../../config/archive-config.ts';
import type { ArchiveSet } from './archive-set.ts';
import { cellExpression } from './canonical.ts';
import { allOf, conditionSql, findColumn, type SqlPart } from './conditions.ts';
import { type Cutoff, cutoffOf } from './cutoff.ts';
import { heldParts, keptParts } from './kept-rows.ts';
import { bound, isKey, keyCell, type OrderedCell } from './key-columns.ts';

/** A hold that is in force. */
export type Hold = {
  readonly id: string;
  /** UTC; null: until it is deleted. */
  readonly until: string | null;
  readonly reason: string;
  /** A child that it is about; the root where it is left out. */
  readonly table?: string;
} & ({ readonly key: readonly string[] } | { readonly predicate: readonly Condition[] });

/** A key's cells as `tableset_holds.key_text` has them, whose SHA-256 is `key_hash`. */
export function keyText(key: readonly string[]): string {
  return JSON.stringify(key);
}

/** A place in the order that batches are taken in. */
export interface KeyPoint {
  /** The date column's text where the order begins with it, else null. */
  readonly date: string | null;
  /** As the manifest writes them, binary ones as upper-case hexadecimal digits. */
  readonly key: readonly string[];
}

export interface KeyRange {
  /** Exclusive. */
  readonly after: KeyPoint | null;
  /** Inclusive. */
  readonly last: KeyPoint;
}

/** Which rows of a root table a run takes, and in which pieces. All of it is SQL; none of it locks or limits a locked read. */
export interface Selection {
  /** Goes along the date and the key by an index, else along the primary key. */
  readonly byDate: boolean;
  /** For after the table's name and alias: ` FORCE INDEX (…)`, so that a range is a scan of that index. */
  readonly indexHint: string;
  /** Older than the cut-off, where all conditions hold, not held, not excluded, and in the shard. */
  matches(alias: string): SqlPart;
  /** The rows of a range that match. */
  within(range: KeyRange, alias: string): SqlPart;
  /** A query for the end of the next batch: one row for `readRange`, or none at the end. */
  nextRange(after: KeyPoint | null, rows: number): SqlPart;
  readRange(after: KeyPoint | null, row: Row): { readonly range: KeyRange; readonly rows: number };
  /** A query for the place behind so many rows that match: one row for `readRange`, or none if there are not as many. It keeps none of them in memory. */
  cut(after: KeyPoint | null, rows: number): SqlPart;
  /**
   * A query with one row: how many rows date and conditions choose, but `held` (a hold keeps them) or `kept` (children of theirs are to stay) leaves. Null: in the whole table
   * or shard.
   */
  skippedCounts(range: KeyRange | null): SqlPart;
  /** A query with one row: null_dates, zero_dates, future_dates of the whole table. */
  undatedCounts(): SqlPart;
}

export interface SelectionOptions {
  readonly cutoff: Cutoff;
  readonly holds: readonly Hold[];
  readonly byDate: boolean;
  /** The index that begins with the date column, if there is one. */
  readonly dateIndex: string | null;
  readonly shard: { readonly after: KeyPoint | null; readonly last: KeyPoint | null } | null;
  /** Keys that a voided batch is made again without. */
  readonly excluded?: readonly (readonly string[])[];
}

/** Makes the selection of a set's root. @throws RangeError if a column is not there, which the plan has checked */
export function createSelection(set: ArchiveSet, options: SelectionOptions): Selection {
  const [root] = set.tables;
  const { definition } = root;
  const byDate = options.byDate && options.dateIndex !== null;
  const table = quoteTable(definition.schema, definition.name);
  const dateColumn = namedColumn(set, set.task.dateColumn);
  const key = root.key.map((name) => namedColumn(set, name));
  const order = byDate ? [dateColumn, ...key.filter((column) => column !== dateColumn)] : key;
  const indexHint = ` FORCE INDEX (${quoteIdentifier((byDate ? options.dateIndex : null) ?? 'PRIMARY')})`;

  const cellsOf = (point: KeyPoint): readonly OrderedCell[] =>
    order.map((column) => {
      const place = key.indexOf(column);
      return { column, cell: (place < 0 ? point.date : point.key[place]) ?? '' };
    });
  const between = (after: KeyPoint | null, last: KeyPoint | null, alias: string): readonly SqlPart[] => [
    ...(after === null ? [] : [bound(cellsOf(after), 'after', alias)]),
    ...(last === null ? [] : [bound(cellsOf(last), 'upto', alias)]),
  ];
  const { shard } = options;
  const chosen = (alias: string): readonly SqlPart[] => [
    ...between(shard?.after ?? null, shard?.last ?? null, alias),
    ...dated(set, dateColumn, options.cutoff, alias),
    ...set.task.where.map((condition) => conditionSql(condition, definition, alias)),
  ];
  const held = (alias: string) => heldParts(set, options.holds, alias);
  const kept = (alias: string) => keptParts(set, alias);
  const excluded = (alias: string) =>
    (options.excluded ?? []).map((cells) =>
      not(
        isKey(
          key.map((column, place) => ({ column, cell: cells[place] ?? '' })),
          alias,
        ),
      ),
    );
  const matching = (alias: string) => [
    ...chosen(alias),
    ...held(alias).map(not),
    ...kept(alias).map(not),
    ...excluded(alias),
  ];

  const names = (direction: string, alias: string) =>
    order.map((column) => `${alias}.${quoteIdentifier(column.name)}${direction}`).join(', ');
  const pointCells = (alias: string) =>
    [
      ...key.map((column, place) => `${cellExpression(column, alias)} AS tableset_key_${place}`),
      ...(byDate ? [`${alias}.${quoteIdentifier(dateColumn.name)} AS tableset_date`] : []),
    ].join(', ');

  return {
    byDate,
    indexHint,
    matches: (alias) => allOf(matching(alias)),
    within: (range, alias) => allOf([...between(range.after, range.last, alias), ...matching(alias)]),
    nextRange(after, rows) {
      const where = allOf([...between(after, null, 'r'), ...matching('r')]);
      return {
        sql: `SELECT ${pointCells('d')}, COUNT(*) OVER () AS tableset_rows
          FROM (SELECT ${names('', 'r')} FROM ${table} r${indexHint} WHERE ${where.sql} ORDER BY ${names('', 'r')} LIMIT ${limit(rows)}) d
          ORDER BY ${names(' DESC', 'd')} LIMIT 1`,
        values: where.values,
      };
    },
    cut(after, rows) {
      const where = allOf([...between(after, null, 'r'), ...matching('r')]);
      return {
        sql: `SELECT ${pointCells('r')}, ${limit(rows)} AS tableset_rows FROM ${table} r${indexHint} WHERE ${where.sql}
          ORDER BY ${names('', 'r')} LIMIT 1 OFFSET ${limit(rows) - 1}`,
        values: where.values,
      };
    },
    readRange(after, row) {
      const last = {
        date: byDate ? keyCell(row['tableset_date']) : null,
        key: key.map((_column, place) => keyCell(row[`tableset_key_${place}`])),
      };
      return { range: { after: after ?? shard?.after ?? null, last }, rows: Number(row['tableset_rows']) };
    },
    skippedCounts(range) {
      const inRange = range === null ? [] : between(range.after, range.last, 'r');
      const count = (reason: string, keeping: readonly SqlPart[], others: readonly SqlPart[]): SqlPart => {
        if (keeping.length === 0) return { sql: `0 AS ${reason}`, values: [] };
        const any = keeping.map(({ sql }) => sql).join(' OR ');
        const where = allOf([
          ...inRange,
          ...chosen('r'),
          ...others.map(not),
          { sql: `(${any})`, values: keeping.flatMap(({ values }) => values) },
        ]);
        return {
          sql: `(SELECT COUNT(*) FROM ${table} r${indexHint} WHERE ${where.sql}) AS ${reason}`,
          values: where.values,
        };
      };
      const parts = [
        count('held', held('r'), []),
        ...(kept('r').length > 0 ? [count('kept', kept('r'), held('r'))] : []),
      ];
      return { sql: `SELECT ${parts.map(({ sql }) => sql).join(', ')}`, values: parts.flatMap(({ values }) => values) };
    },
    undatedCounts: () => undated(set, dateColumn, options, table),
  };
}

function not({ sql, values }: SqlPart): SqlPart {
  return { sql: `(${sql}) IS NOT TRUE`, values };
}

/** LIMIT takes no placeholder that is text, so the number is checked and written. */
function limit(rows: number): number {
  if (!Number.isSafeInteger(rows) || rows < 1) throw new RangeError(`a batch cannot have ${rows} rows`);
  return rows;
}

function namedColumn(set: ArchiveSet, name: string): ColumnDefinition {
  const { definition } = set.tables[0];
  const column = findColumn(definition, name);
  if (!column) throw new RangeError(`${definition.name} has no column ${name}`);
  return column;
}

function dateLiteral(set: ArchiveSet, column: ColumnDefinition, value: string): SqlPart {
  if (set.task.dateType !== 'date') return { sql: '?', values: [BigInt(value)] };
  // A DATE is older once its whole day is, so the time of the cut-off's day does not count.
  return { sql: '?', values: [column.dataType === 'date' ? value.slice(0, 10) : value] };
}

/** Rows with a real date before the cut-off; NULL is never less. */
function dated(set: ArchiveSet, column: ColumnDefinition, cutoff: Cutoff, alias: string): readonly SqlPart[] {
  const name = `${alias}.${quoteIdentifier(column.name)}`;
  const literal = dateLiteral(set, column, cutoff.value);
  const older = { sql: `${name} < ${literal.sql}`, values: literal.values };
  if (set.task.dateType !== 'date') return [{ sql: `${name} > 0`, values: [] }, older];
  const zero = { sql: `${name} > ${zeroDate(column)}`, values: [] };
  // A TIMESTAMP is zero or a date; the others may have a month or a day of zero.
  if (column.dataType === 'timestamp') return [zero, older];
  return [zero, older, { sql: `MONTH(${name}) > 0 AND DAYOFMONTH(${name}) > 0`, values: [] }];
}

function zeroDate(column: ColumnDefinition): string {
  return column.dataType === 'date' ? "'0000-00-00'" : "'0000-00-00 00:00:00'";
}

function undated(
  set: ArchiveSet,
  column: ColumnDefinition,
  options: Pick<SelectionOptions, 'cutoff' | 'dateIndex'>,
  table: string,
): SqlPart {
  const name = `r.${quoteIdentifier(column.name)}`;
  const now = cutoffOf(set.task, -set.task.archiveAfterDays, options.cutoff.utc, column);
  const literal = dateLiteral(set, column, now.value);
  // The servers answer IS NULL with the zero dates of a NOT NULL column.
  const isNull = column.nullable || column.generated ? `${name} IS NULL` : 'FALSE';
  const isZero =
    set.task.dateType !== 'date'
      ? `${name} <= 0`
      : column.dataType === 'timestamp'
        ? `${name} = ${zeroDate(column)}`
        : `(${name} = ${zeroDate(column)} OR MONTH(${name}) = 0 OR DAYOFMONTH(${name}) = 0)`;
  const counts = [
    ['null_dates', isNull],
    ['zero_dates', isZero],
    ['future_dates', `${name} > ${literal.sql}`],
  ];
  const values = literal.values;
  if (options.dateIndex === null) {
    const sums = counts.map(([reason, sql]) => `COUNT(CASE WHEN ${sql} THEN 1 END) AS ${reason}`);
    return { sql: `SELECT ${sums.join(', ')} FROM ${table} r`, values };
  }
  // Each by a range of the index, so that a large table is not read for a warning.
  const ranges = counts.map(([reason, sql]) => `(SELECT COUNT(*) FROM ${table} r WHERE ${sql}) AS ${reason}`);
  return { sql: `SELECT ${ranges.join(', ')}`, values };
}
