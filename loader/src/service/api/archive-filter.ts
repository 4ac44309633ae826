import type { CanonicalRow } from '../../core/archive/canonical.ts';
import type { ManifestColumn, ManifestTable } from '../../core/archive/manifest.ts';
import {
  cellsReader,
  compareDecimals,
  compareValues,
  dataTypeOf,
  valueMatcher,
} from '../../core/archive/restore-filter.ts';
import { serviceError } from '../errors.ts';

export const filterOperators = ['eq', 'ne', 'lt', 'lte', 'gt', 'gte', 'in', 'null'] as const;
export type FilterOperator = (typeof filterOperators)[number];

/** One `COLUMN=OPERATOR:VALUE`; all of them must hold. */
export interface ColumnFilter {
  readonly column: string;
  readonly operator: FilterOperator;
  /** One, or those of `in`; `null` has true or false. */
  readonly values: readonly string[];
}

const filtersMax = 20;
const valuesMax = 200;

/**
 * The filters of a query.
 * @throws AppError SERVICE_REQUEST_INVALID
 */
export function parseFilters(query: Readonly<Record<string, string | readonly string[]>>): readonly ColumnFilter[] {
  const filters = Object.entries(query).flatMap(([column, given]) =>
    (typeof given === 'string' ? [given] : given).map((text) => parseFilter(column, text)),
  );
  if (filters.length > filtersMax) throw invalid('query', `takes at most ${filtersMax} filters`);
  return filters;
}

function parseFilter(column: string, text: string): ColumnFilter {
  const colon = text.indexOf(':');
  const operator = filterOperators.find((each) => each === text.slice(0, colon));
  if (operator === undefined)
    throw invalid(column, `takes OPERATOR:VALUE, with one of ${filterOperators.join(', ')} before the colon`);
  const value = text.slice(colon + 1);
  const values = operator === 'in' ? value.split(',') : [value];
  if (values.length > valuesMax) throw invalid(column, `takes at most ${valuesMax} values`);
  if (operator === 'null' && value !== 'true' && value !== 'false')
    throw invalid(column, 'takes null:true or null:false');
  return { column, operator, values };
}

/**
 * Makes the test of a table's rows. NULL meets nothing but `null:true`, as in SQL. Texts are compared byte for byte, numbers and dates by what they mean.
 * @throws AppError SERVICE_REQUEST_INVALID for a value that the column cannot have, or an order that it does not have
 */
export function filterMatcher(table: ManifestTable, filters: readonly ColumnFilter[]): (row: CanonicalRow) => boolean {
  const tests = filters.map((filter) => {
    const column = table.columns.find(({ name }) => name === filter.column);
    // A column that came later was NULL in effect when these rows went.
    if (!column) return () => filter.operator === 'null' && filter.values[0] === 'true';
    const test = cellTest(column, filter);
    const read = cellsReader(table, [filter.column]);
    return (row: CanonicalRow) => test(read(row)[0] ?? null);
  });
  return (row) => tests.every((test) => test(row));
}

function cellTest(column: ManifestColumn, { operator, values }: ColumnFilter): (text: string | null) => boolean {
  const [value = ''] = values;
  if (operator === 'null') return (text) => (text === null) === (value === 'true');
  if (operator === 'eq' || operator === 'ne' || operator === 'in') {
    const tests = values.map((each) => valueMatcher(column, each) ?? notOf(column, each));
    const among = (text: string) => tests.some((test) => test(text));
    return (text) => text !== null && among(text) === (operator !== 'ne');
  }
  if (!hasOrder(column)) throw invalid(column.name, `is of the type ${column.type}, which takes eq, ne, in and null`);
  if (compareValues(column, value, value) === null) notOf(column, value);
  const holds = {
    lt: (order: number) => order < 0,
    lte: (order: number) => order <= 0,
    gt: (order: number) => order > 0,
    gte: (order: number) => order >= 0,
  }[operator];
  return (text) => {
    const order = text === null ? null : compareValues(column, text, value);
    return order !== null && holds(order);
  };
}

function hasOrder(column: ManifestColumn): boolean {
  return compareValues(column, '1', '1') !== null || compareValues(column, '2000-01-01', '2000-01-01') !== null;
}

function notOf(column: ManifestColumn, value: string): never {
  throw invalid(
    column.name,
    `${JSON.stringify(value.slice(0, 60))} is no value of a column of the type ${column.type}`,
  );
}

/** False only if the statistics show that no row of the table can meet the filters, so that it need not be read. */
export function mayMatch(table: ManifestTable, filters: readonly ColumnFilter[]): boolean {
  return filters.every(({ column: name, operator, values: [value = ''] }) => {
    const column = table.columns.find((each) => each.name === name);
    const statistics = table.statistics[name];
    if (!column) return operator === 'null' && value === 'true';
    if (!statistics) return true;
    if (operator === 'null') return value === 'true' ? statistics.nulls > 0 : statistics.count > 0;
    const { min, max } = statistics;
    if (min === null || max === null || operator === 'ne' || operator === 'in') return true;
    const least = compareValues(column, min, value);
    const greatest = compareValues(column, max, value);
    if (least === null || greatest === null) return true;
    if (operator === 'eq') return least <= 0 && greatest >= 0;
    if (operator === 'lt') return least < 0;
    if (operator === 'lte') return least <= 0;
    return operator === 'gt' ? greatest > 0 : greatest >= 0;
  });
}

const numbers = new Set(['tinyint', 'smallint', 'mediumint', 'int', 'bigint', 'bit', 'year', 'decimal']);

/** Compares keys of a table in an order that is the same for every store; numbers by their size, all else by its text. */
export function keyOrder(
  table: Pick<ManifestTable, 'columns' | 'key'>,
): (a: readonly string[], b: readonly string[]) => number {
  const orders = table.key.map((name) => {
    const column = table.columns.find((each) => each.name === name);
    const byText = (a: string, b: string) => (a < b ? -1 : a > b ? 1 : 0);
    if (!column || !numbers.has(dataTypeOf(column))) return byText;
    return (a: string, b: string) => compareDecimals(a, b) ?? byText(a, b);
  });
  return (a, b) => {
    for (const [place, order] of orders.entries()) {
      const difference = order(a[place] ?? '', b[place] ?? '');
      if (difference !== 0) return difference;
    }
    return 0;
  };
}

export function invalid(path: string, message: string) {
  return serviceError('SERVICE_REQUEST_INVALID', `the query does not fit: ${path} ${message}`, {
    details: { errors: [{ path, message }] },
  });
}
