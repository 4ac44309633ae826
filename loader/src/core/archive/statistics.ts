import { quoteIdentifier } from '@tableset/common/database/quoting.ts';
import type { ColumnDefinition } from '@tableset/common/database/table-definition.ts';
import { type CanonicalRow, cellExpression } from './canonical.ts';
import type { ColumnStatistics } from './manifest.ts';

/*
 * Statistics of a batch's columns, worked out by a server's aggregates or from canonical rows with the same result. Integers and decimals have
 * all figures, exactly; the mean has four digits more than its column, rounded half away from zero. FLOAT and DOUBLE have least and
 * greatest alone, since their sum depends on the order of adding, and so have dates and times. Others are counted.
 */

type Kind = 'number' | 'float' | 'date' | 'time' | 'counted';

const integers = new Set(['tinyint', 'smallint', 'mediumint', 'int', 'bigint']);
const dates = new Set(['date', 'datetime', 'timestamp', 'year']);

/** SUM() of a decimal has 65 digits at most; beyond this precision a large batch could overflow it. */
const summedPrecisionMax = 55;
const meanDigits = 4n;

function kindOf({ dataType }: ColumnDefinition): Kind {
  if (integers.has(dataType) || dataType === 'decimal') return 'number';
  if (dataType === 'float' || dataType === 'double') return 'float';
  if (dates.has(dataType)) return 'date';
  return dataType === 'time' ? 'time' : 'counted';
}

function scaleOf(column: ColumnDefinition): number {
  return column.dataType === 'decimal' ? (column.numericScale ?? 0) : 0;
}

function hasSum(column: ColumnDefinition): boolean {
  return column.dataType !== 'decimal' || (column.numericPrecision ?? 65) <= summedPrecisionMax;
}

/** An aggregate of a query, and the name that it has there. */
export interface Aggregate {
  readonly name: string;
  readonly sql: string;
}

/**
 * SQL aggregates over the columns, under names that `readStatistics` knows: for a query over a batch's rows.
 * @param alias of the table, unquoted; empty for none
 */
export function statisticsAggregates(columns: readonly ColumnDefinition[], alias = ''): readonly Aggregate[] {
  return columns.flatMap((column, index) => {
    const name = `${alias === '' ? '' : `${alias}.`}${quoteIdentifier(column.name)}`;
    const cell = cellExpression(column, alias);
    const kind = kindOf(column);
    const aggregate = (fact: string, sql: string): Aggregate => ({ name: `tableset_${fact}_${index}`, sql });
    return [
      aggregate('count', `COUNT(${name})`),
      ...(kind === 'counted' ? [] : [aggregate('min', `MIN(${cell})`), aggregate('max', `MAX(${cell})`)]),
      ...(kind === 'number' && hasSum(column) ? [aggregate('sum', `SUM(${name})`)] : []),
    ];
  });
}

/** The statistics of a row of these aggregates, which has the number of rows too, as `tableset_rows`. */
export function readStatistics(
  columns: readonly ColumnDefinition[],
  row: Readonly<Record<string, string | Buffer | null>>,
): Readonly<Record<string, ColumnStatistics>> {
  const entries = columns.map((column, index) => {
    const text = (name: string) => {
      const value = row[`tableset_${name}_${index}`];
      return value === null || value === undefined ? null : String(value);
    };
    const count = Number(text('count'));
    const scaled = (name: string) => {
      const value = text(name);
      return value === null ? null : scaledInteger(value);
    };
    const facts = { count, nulls: Number(row['tableset_rows']) - count, kind: kindOf(column) };
    return [
      column.name,
      facts.kind === 'number'
        ? ofNumbers(column, facts, scaled('min'), scaled('max'), scaled('sum'))
        : ofTexts(facts, text('min'), text('max')),
    ] as const;
  });
  return Object.fromEntries(entries);
}

/** Adds up canonical rows one by one. */
export interface Statistics {
  add(row: CanonicalRow): void;
  result(): Readonly<Record<string, ColumnStatistics>>;
}

/** Statistics of canonical rows: one cell for each of the columns, in their order. */
export function createStatistics(columns: readonly ColumnDefinition[]): Statistics {
  const collectors = columns.map((column) => collectorOf(column));
  let rows = 0;
  return {
    add(row) {
      rows += 1;
      for (let index = 0; index < collectors.length; index++) {
        const cell = row[index];
        if (cell) collectors[index]?.add(cell);
      }
    },
    result: () =>
      Object.fromEntries(columns.map(({ name }, index) => [name, (collectors[index] as Collector).result(rows)])),
  };
}

interface Collector {
  add(cell: Buffer): void;
  result(rows: number): ColumnStatistics;
}

function collectorOf(column: ColumnDefinition): Collector {
  const kind = kindOf(column);
  if (kind === 'number') return new NumberCollector(column);
  if (kind === 'counted') return new OrderedCollector(kind, null);
  return new OrderedCollector(kind, kind === 'date' ? Buffer.compare : kind === 'time' ? compareTimes : compareFloats);
}

/** Numbers of up to this many characters fit into a double exactly, sign and point included. */
const plainLength = 15;
/** Half of 2^53, so that adding one more number stays exact. */
const partialMax = 2 ** 52;

class NumberCollector implements Collector {
  readonly #column: ColumnDefinition;
  #count = 0;
  #sum = 0n;
  #partial = 0;
  #min: number | bigint | null = null;
  #max: number | bigint | null = null;

  constructor(column: ColumnDefinition) {
    this.#column = column;
  }

  add(cell: Buffer): void {
    this.#count += 1;
    const value = cell.length <= plainLength ? plainInteger(cell) : scaledInteger(cell.toString('latin1'));
    // Numbers and bigints compare with each other by value.
    if (this.#min === null || value < this.#min) this.#min = value;
    if (this.#max === null || value > this.#max) this.#max = value;
    if (typeof value === 'bigint') this.#sum += value;
    else {
      this.#partial += value;
      if (this.#partial > partialMax || this.#partial < -partialMax) this.#flush();
    }
  }

  #flush(): void {
    this.#sum += BigInt(this.#partial);
    this.#partial = 0;
  }

  result(rows: number): ColumnStatistics {
    this.#flush();
    const facts = { count: this.#count, nulls: rows - this.#count };
    const exact = (value: number | bigint | null) => (value === null ? null : BigInt(value));
    const sum = this.#count > 0 && hasSum(this.#column) ? this.#sum : null;
    return ofNumbers(this.#column, facts, exact(this.#min), exact(this.#max), sum);
  }
}

class OrderedCollector implements Collector {
  readonly #kind: Kind;
  readonly #compare: ((a: Buffer, b: Buffer) => number) | null;
  #count = 0;
  #min: Buffer | null = null;
  #max: Buffer | null = null;

  constructor(kind: Kind, compare: ((a: Buffer, b: Buffer) => number) | null) {
    this.#kind = kind;
    this.#compare = compare;
  }

  add(cell: Buffer): void {
    this.#count += 1;
    if (this.#compare === null) return;
    // Copies: a cell is part of a packet that is used again.
    if (this.#min === null || this.#compare(cell, this.#min) < 0) this.#min = Buffer.from(cell);
    if (this.#max === null || this.#compare(cell, this.#max) > 0) this.#max = Buffer.from(cell);
  }

  result(rows: number): ColumnStatistics {
    const facts = { count: this.#count, nulls: rows - this.#count, kind: this.#kind };
    return ofTexts(facts, this.#min?.toString('latin1') ?? null, this.#max?.toString('latin1') ?? null);
  }
}

function ofTexts(
  { count, nulls, kind }: { readonly count: number; readonly nulls: number; readonly kind: Kind },
  min: string | null,
  max: string | null,
): ColumnStatistics {
  // Which of the two zeros is the less is nobody's to say.
  const plain = (text: string | null) => (kind === 'float' && text === '-0' ? '0' : text);
  return { count, nulls, min: plain(min), max: plain(max), sum: null, mean: null };
}

function ofNumbers(
  column: ColumnDefinition,
  { count, nulls }: { readonly count: number; readonly nulls: number },
  min: bigint | null,
  max: bigint | null,
  sum: bigint | null,
): ColumnStatistics {
  const scale = scaleOf(column);
  const text = (value: bigint | null) => (value === null ? null : decimalText(value, scale));
  const mean =
    sum === null || count === 0 ? null : decimalText(rounded(sum * 10n ** meanDigits, BigInt(count)), scale + 4);
  return { count, nulls, min: text(min), max: text(max), sum: text(sum), mean };
}

/** A quotient rounded half away from zero. */
function rounded(dividend: bigint, divisor: bigint): bigint {
  const doubled = (dividend < 0n ? -dividend : dividend) * 2n + divisor;
  const quotient = doubled / (2n * divisor);
  return dividend < 0n ? -quotient : quotient;
}

/** The digits of a number as a server prints it, without its point. */
function scaledInteger(text: string): bigint {
  return BigInt(text.replace('.', ''));
}

const minus = 0x2d;
const point = 0x2e;

/** The same of a short one. */
function plainInteger(cell: Buffer): number {
  let value = 0;
  const negative = cell[0] === minus;
  for (let index = negative ? 1 : 0; index < cell.length; index++) {
    const byte = cell[index] as number; // in bounds
    if (byte !== point) value = value * 10 + byte - 0x30;
  }
  return negative ? -value : value;
}

function decimalText(value: bigint, scale: number): string {
  const digits = (value < 0n ? -value : value).toString().padStart(scale + 1, '0');
  const text = scale === 0 ? digits : `${digits.slice(0, -scale)}.${digits.slice(-scale)}`;
  return value < 0n ? `-${text}` : text;
}

function compareFloats(a: Buffer, b: Buffer): number {
  return Number(a.toString('latin1')) - Number(b.toString('latin1'));
}

/** `-838:59:59.000000` in microseconds. */
function compareTimes(a: Buffer, b: Buffer): number {
  return microseconds(a.toString('latin1')) - microseconds(b.toString('latin1'));
}

function microseconds(text: string): number {
  const [hours = '', minutes = '', seconds = ''] = text.replace('-', '').split(':');
  const value = Math.round((Number(hours) * 3600 + Number(minutes) * 60 + Number(seconds)) * 1e6);
  return text.startsWith('-') ? -value : value;
}
