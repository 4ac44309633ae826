import type { Condition } from '../../config/archive-config.ts';
import type { CanonicalRow } from './canonical.ts';
import type { ManifestColumn, ManifestTable } from './manifest.ts';
import { binaryColumns, cellsReader, compareValues, dataTypeOf } from './restore-filter.ts';

/** True if every row of a batch is past its retention: its newest date is before the cut-off, and it has one. */
export function isExpired(batch: { readonly newest: string | null }, cutoffUtc: string): boolean {
  // Both have the same form, in which texts compare as the moments do.
  return batch.newest !== null && batch.newest < cutoffUtc;
}

/**
 * What the server says of two texts of a column, where it has been asked; null where it has not, or cannot say.
 */
export type TextEquality = (column: ManifestColumn, cell: string, value: string) => boolean | null;

/** A column whose collation decides, and the texts that predicates compare it with. */
export interface AskedTexts {
  readonly column: ManifestColumn;
  readonly values: readonly string[];
}

/** Which texts of which columns predicates ask to be equal. */
export function askedTexts(
  predicates: readonly (readonly Condition[])[],
  table: Pick<ManifestTable, 'columns'>,
): readonly AskedTexts[] {
  const asked = new Map<ManifestColumn, Set<string>>();
  for (const condition of predicates.flat()) {
    const column = namedColumn(table, condition.column);
    if (!column?.collation || !(condition.operator === '=' || condition.operator === 'in')) continue;
    const values = asked.get(column) ?? new Set();
    asked.set(column, values);
    for (const value of valueTexts(condition)) values.add(value);
  }
  return Array.from(asked, ([column, values]) => ({ column, values: Array.from(values) }));
}

/**
 * Makes the test whether a hold's predicate may hold for an archived row. Where that cannot be known it says yes: a row too many is kept, none is
 * purged that is held.
 * @param sameText what the server says of texts that `askedTexts` names
 */
export function mayBeHeld(
  predicate: readonly Condition[],
  table: Pick<ManifestTable, 'columns'>,
  sameText: TextEquality = () => null,
): (row: CanonicalRow) => boolean {
  const tests = predicate.map((condition) => {
    const column = namedColumn(table, condition.column);
    // A column that the archived rows lack cannot speak against the hold.
    if (!column) return () => true;
    const read = cellsReader(table, [column.name]);
    return (row: CanonicalRow) => mayHoldFor(condition, column, read(row)[0] ?? null, sameText);
  });
  return (row) => tests.every((test) => test(row));
}

/** Servers compare the names of columns without case. */
function namedColumn(table: Pick<ManifestTable, 'columns'>, name: string): ManifestColumn | undefined {
  return table.columns.find((column) => column.name.toLowerCase() === name.toLowerCase());
}

function mayHoldFor(
  condition: Condition,
  column: ManifestColumn,
  cell: string | null,
  sameText: TextEquality,
): boolean {
  const { operator } = condition;
  if (operator === 'is null') return cell === null;
  if (operator === 'is not null') return cell !== null;
  if (cell === null) return false;
  const values = valueTexts(condition);
  switch (operator) {
    case '=':
    case 'in':
      return values.some((value) => mayEqual(column, cell, value, sameText));
    case '!=':
    case 'not in':
      return values.every((value) => mayDiffer(column, cell, value));
    case '<':
    case '<=':
    case '>':
    case '>=':
      return values.some((value) => mayCompare(operator, column, cell, value));
    default:
      return operator satisfies never;
  }
}

function valueTexts({ value }: Condition): readonly string[] {
  return (Array.isArray(value) ? value : [value]).map((each) =>
    typeof each === 'boolean' ? (each ? '1' : '0') : String(each),
  );
}

function mayEqual(column: ManifestColumn, cell: string, value: string, sameText: TextEquality): boolean {
  const order = compareValues(column, cell, value);
  if (order !== null) return order === 0;
  if (column.collation) return sameText(column, cell, value) ?? mayBeSameText(cell, value);
  const [binary] = binaryColumns({ columns: [column] });
  if (binary) {
    const digits = value.replace(/^0x/i, '').toUpperCase();
    return cell === digits || cell === hexOf(value);
  }
  if (dataTypeOf(column) === 'uuid') return bareUuid(cell) === bareUuid(value);
  // A number, date, time or address that is written in a way of its own is compared in some way of the server's.
  return true;
}

/** Texts that differ byte for byte may still be equal, and texts have no `<` that could be known here; both keep the row. */
function mayDiffer(column: ManifestColumn, cell: string, value: string): boolean {
  const order = compareValues(column, cell, value);
  if (order !== null) return order !== 0;
  const [binary] = binaryColumns({ columns: [column] });
  return binary || cell !== value;
}

function mayCompare(operator: '<' | '<=' | '>' | '>=', column: ManifestColumn, cell: string, value: string): boolean {
  const order = compareValues(column, cell, value);
  if (order === null) return true;
  return operator === '<' ? order < 0 : operator === '<=' ? order <= 0 : operator === '>' ? order > 0 : order >= 0;
}

/** Without the server: false only for printable ASCII that differs in more than case, and in more than letters that some language takes for one. */
function mayBeSameText(cell: string, value: string): boolean {
  const plain = /^[ -~]*$/;
  if (!plain.test(cell) || !plain.test(value)) return true;
  const folded = (text: string) => text.toLowerCase().replace(/[jy]/g, 'i').replace(/[uw]/g, 'v').trimEnd();
  return folded(cell) === folded(value);
}

function bareUuid(text: string): string {
  return text.replaceAll('-', '').toLowerCase();
}

function hexOf(text: string): string {
  return Buffer.from(text, 'utf8').toString('hex').toUpperCase();
}

const operators = new Set(['=', '!=', '<', '<=', '>', '>=', 'in', 'not in', 'is null', 'is not null']);

/** The conditions of a hold as `tableset_holds.predicate` has them; null if they cannot be understood. */
export function parsePredicate(text: string): readonly Condition[] | null {
  let parsed: unknown;
  try {
    parsed = JSON.parse(text);
  } catch {
    return null;
  }
  if (!Array.isArray(parsed) || parsed.length === 0 || !parsed.every(isCondition)) return null;
  return parsed;
}

function isCondition(value: unknown): value is Condition {
  if (typeof value !== 'object' || value === null) return false;
  const { column, operator, value: given } = value as Readonly<Record<string, unknown>>;
  if (typeof column !== 'string' || typeof operator !== 'string' || !operators.has(operator)) return false;
  if (operator.startsWith('is ')) return given === undefined;
  const scalar = (each: unknown) => ['string', 'number', 'boolean'].includes(typeof each);
  return operator.endsWith('in') ? Array.isArray(given) && given.length > 0 && given.every(scalar) : scalar(given);
}
