import { isRealDate } from '../values/calendar.ts';
import { isBinaryType } from '../values/column-codec.ts';
import { isSpatialType } from '../values/spatial.ts';
import type { CanonicalRow, Cell } from './canonical.ts';
import type { Manifest, ManifestColumn, ManifestTable } from './manifest.ts';

/** One `KEY=VALUE`. */
export interface KeyCondition {
  readonly column: string;
  readonly value: string;
}

/** What is asked of the root's rows; all of it must hold. */
export interface RowFilter {
  readonly where: readonly KeyCondition[];
  /** UTC, `YYYY-MM-DD HH:MM:SS.ffffff`, inclusive. */
  readonly from: string | null;
  /** The same, exclusive. */
  readonly to: string | null;
}

/** Splits `KEY=VALUE` at its first equals sign. */
export function parseCondition(word: string): KeyCondition {
  const equals = word.indexOf('=');
  return { column: word.slice(0, equals), value: word.slice(equals + 1) };
}

/** A date or a time of a date, in UTC, as `YYYY-MM-DD HH:MM:SS.ffffff`; null if it is neither. */
export function parseMoment(text: string): string | null {
  const match = /^(\d{4})-(\d\d)-(\d\d)(?:[T ](\d\d):(\d\d)(?::(\d\d)(?:\.(\d{1,6}))?)?Z?)?$/.exec(text);
  if (!match) return null;
  const [, year = '', month = '', day = '', hour = '00', minute = '00', second = '00', fraction = ''] = match;
  if (!isRealDate(Number(year), Number(month), Number(day))) return null;
  if (Number(hour) > 23 || Number(minute) > 59 || Number(second) > 59) return null;
  return `${year}-${month}-${day} ${hour}:${minute}:${second}.${fraction.padEnd(6, '0')}`;
}

/** DATA_TYPE of a column of a manifest, which has the whole COLUMN_TYPE. */
export function dataTypeOf(column: ManifestColumn): string {
  return /^\w+/.exec(column.type.toLowerCase())?.[0] ?? '';
}

/** Which cells of a table's rows are bytes rather than text. */
export function binaryColumns(table: Pick<ManifestTable, 'columns'>): readonly boolean[] {
  return table.columns.map((column) => {
    const type = dataTypeOf(column);
    return isBinaryType(type) || type === 'vector' || isSpatialType(type);
  });
}

/** A cell as keys are written: text, binary ones as upper-case hexadecimal digits. */
export function cellText(cell: Cell, binary: boolean): string | null {
  return cell === null ? null : binary ? cell.toString('hex').toUpperCase() : cell.toString('utf8');
}

/** Makes the function that gives the cells of some columns as text. Columns that are not there give null. */
export function cellsReader(
  table: Pick<ManifestTable, 'columns'>,
  columns: readonly string[],
): (row: CanonicalRow) => readonly (string | null)[] {
  const binary = binaryColumns(table);
  const places = columns.map((name) => table.columns.findIndex((column) => column.name === name));
  return (row) => places.map((place) => cellText(row[place] ?? null, binary[place] ?? false));
}

/** Makes the function that gives a row's key; no cell of a primary key is NULL. */
export function keyReader(table: Pick<ManifestTable, 'columns' | 'key'>): (row: CanonicalRow) => readonly string[] {
  const read = cellsReader(table, table.key);
  return (row) => read(row).map((cell) => cell ?? '');
}

const integers = new Set(['tinyint', 'smallint', 'mediumint', 'int', 'bigint', 'bit', 'year', 'decimal']);
const floats = new Set(['float', 'double']);
const moments = new Set(['date', 'datetime', 'timestamp']);

/**
 * Compares two values of a column in the server's order.
 * @returns null where that is not known: collated texts, and what is no value of the column
 */
export function compareValues(column: ManifestColumn, left: string, right: string): number | null {
  const type = dataTypeOf(column);
  if (integers.has(type)) return compareDecimals(left, right);
  if (floats.has(type)) {
    const [a, b] = [Number(left), Number(right)];
    return left.trim() === '' || right.trim() === '' || Number.isNaN(a) || Number.isNaN(b) ? null : Math.sign(a - b);
  }
  if (moments.has(type)) {
    const [a, b] = [normalMoment(left), normalMoment(right)];
    return a === null || b === null ? null : a < b ? -1 : a > b ? 1 : 0;
  }
  return null;
}

/** Null if one of them is no plain decimal number. */
export function compareDecimals(left: string, right: string): number | null {
  const [a, b] = [decimalParts(left), decimalParts(right)];
  if (!a || !b) return null;
  const digits = Math.max(a.fraction.length, b.fraction.length);
  const units = (parts: DecimalParts) => BigInt(parts.whole + parts.fraction.padEnd(digits, '0')) * parts.sign;
  const difference = units(a) - units(b);
  return difference < 0n ? -1 : difference > 0n ? 1 : 0;
}

interface DecimalParts {
  readonly sign: bigint;
  readonly whole: string;
  readonly fraction: string;
}

function decimalParts(text: string): DecimalParts | null {
  const match = /^([+-]?)(\d+)(?:\.(\d*))?$/.exec(text.trim());
  return match ? { sign: match[1] === '-' ? -1n : 1n, whole: match[2] ?? '0', fraction: match[3] ?? '' } : null;
}

/** Texts of this form compare as the moments do; zero dates come first, as on the server. */
function normalMoment(text: string): string | null {
  const match = /^(\d{4}-\d\d-\d\d)(?:[T ](\d\d:\d\d(?::\d\d)?)(?:\.(\d{1,6}))?Z?)?$/.exec(text.trim());
  if (!match) return null;
  const time = match[2] ?? '00:00:00';
  return `${match[1]} ${time.length === 5 ? `${time}:00` : time}.${(match[3] ?? '').padEnd(6, '0')}`;
}

/**
 * Makes the test whether a cell, as text, has a value that somebody wrote: numbers and dates by what they mean, binary strings by their
 * hexadecimal digits, texts byte for byte.
 * @returns null if the value is none that the column could have
 */
export function valueMatcher(column: ManifestColumn, value: string): ((text: string | null) => boolean) | null {
  const [binary] = binaryColumns({ columns: [column] });
  if (binary) {
    const digits = value.replace(/^0x/i, '').replaceAll('-', '').toUpperCase();
    return /^(?:[0-9A-F]{2})*$/.test(digits) ? (text) => text?.toUpperCase() === digits : null;
  }
  const type = dataTypeOf(column);
  if (!integers.has(type) && !floats.has(type) && !moments.has(type)) return (text) => text === value;
  if (compareValues(column, value, value) === null) return null;
  return (text) => text !== null && compareValues(column, text, value) === 0;
}

/** What the ledger says of a batch, as far as it tells which rows it can hold. */
export interface BatchOutline {
  readonly oldest: string | null;
  readonly newest: string | null;
  readonly manifest: Manifest | null;
}

/** False only if the batch cannot hold a row that the filter takes. */
export function mayHold(batch: BatchOutline, filter: RowFilter): boolean {
  if (filter.from !== null && batch.newest !== null && batch.newest < filter.from) return false;
  if (filter.to !== null && batch.oldest !== null && batch.oldest >= filter.to) return false;
  const root = batch.manifest?.tables[0];
  return root === undefined || filter.where.every((condition) => mayHoldValue(root, condition));
}

function mayHoldValue(root: ManifestTable, { column: name, value }: KeyCondition): boolean {
  const column = root.columns.find((each) => each.name === name);
  if (!column) return false;
  const within = (least: string | null | undefined, greatest: string | null | undefined) =>
    !(isAfter(column, least, value) || isAfter(column, value, greatest));
  const { keys } = root;
  // Of the key's columns the first alone is in order over the whole range.
  if (keys && root.key[0] === name && !within(keys.first[0], keys.last[0])) return false;
  const statistics = root.statistics[name];
  return !statistics || within(statistics.min, statistics.max);
}

function isAfter(column: ManifestColumn, left: string | null | undefined, right: string | null | undefined): boolean {
  if (left === null || left === undefined || right === null || right === undefined) return false;
  const order = compareValues(column, left, right);
  return order !== null && order > 0;
}

/** Where the root's date stands, and how its text becomes UTC. */
export interface DateReader {
  readonly column: string;
  readonly toUtc: (text: string) => string;
}

/**
 * Makes the test whether the filter takes a row of a root table.
 * @returns null if the table has not the columns, or they cannot have the values
 */
export function rowMatcher(
  table: ManifestTable,
  filter: RowFilter,
  date: DateReader,
): ((row: CanonicalRow) => boolean) | null {
  const tests: ((row: CanonicalRow) => boolean)[] = [];
  for (const { column: name, value } of filter.where) {
    const column = table.columns.find((each) => each.name === name);
    const matches = column ? valueMatcher(column, value) : null;
    if (!matches) return null;
    const read = cellsReader(table, [name]);
    tests.push((row) => matches(read(row)[0] ?? null));
  }
  const { from, to } = filter;
  if (from !== null || to !== null) {
    if (!table.columns.some((column) => column.name === date.column)) return null;
    const read = cellsReader(table, [date.column]);
    tests.push((row) => {
      const text = read(row)[0] ?? null;
      if (text === null) return false;
      const moment = date.toUtc(text);
      return (from === null || moment >= from) && (to === null || moment < to);
    });
  }
  return (row) => tests.every((test) => test(row));
}

/** True if the filter takes every row of a batch whatever they are. */
export function takesAll(filter: RowFilter): boolean {
  return filter.where.length === 0 && filter.from === null && filter.to === null;
}
