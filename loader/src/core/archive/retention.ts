import type { Condition } from '../../config/archive-config.ts';
import type { CanonicalRow } from './canonical.ts';
import type { ManifestColumn, ManifestTable } from './manifest.ts';
import { cellsReader, compareValues } from './restore-filter.ts';

/** True if every row of a batch is past its retention: its newest date is before the cut-off, and it has one. */
export function isExpired(batch: { readonly newest: string | null }, cutoffUtc: string): boolean {
  // Both have the same form, in which texts compare as the moments do.
  return batch.newest !== null && batch.newest < cutoffUtc;
}

/**
 * Makes the test whether a hold's predicate may hold for an archived row. It goes by the row alone, without the server's collations, so where
 * they could decide it says yes: a row too many is kept, none is purged that is held.
 */
export function mayBeHeld(
  predicate: readonly Condition[],
  table: Pick<ManifestTable, 'columns'>,
): (row: CanonicalRow) => boolean {
  const tests = predicate.map((condition) => {
    const column = table.columns.find((each) => each.name === condition.column);
    // A column that the archived rows lack cannot speak against the hold.
    if (!column) return () => true;
    const read = cellsReader(table, [condition.column]);
    return (row: CanonicalRow) => mayHoldFor(condition, column, read(row)[0] ?? null);
  });
  return (row) => tests.every((test) => test(row));
}

function mayHoldFor(condition: Condition, column: ManifestColumn, cell: string | null): boolean {
  const { operator } = condition;
  if (operator === 'is null') return cell === null;
  if (operator === 'is not null') return cell !== null;
  if (cell === null) return false;
  const values = (Array.isArray(condition.value) ? condition.value : [condition.value]).map(valueText);
  switch (operator) {
    case '=':
    case 'in':
      return values.some((value) => mayEqual(column, cell, value));
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

function valueText(value: unknown): string {
  return typeof value === 'boolean' ? (value ? '1' : '0') : String(value);
}

function mayEqual(column: ManifestColumn, cell: string, value: string): boolean {
  const order = compareValues(column, cell, value);
  if (order !== null) return order === 0;
  return isNumberOrDate(column, cell) || folded(cell) === folded(value) || folded(cell) === folded(hexOf(value));
}

function mayDiffer(column: ManifestColumn, cell: string, value: string): boolean {
  const order = compareValues(column, cell, value);
  return order === null ? cell !== value : order !== 0;
}

function mayCompare(operator: '<' | '<=' | '>' | '>=', column: ManifestColumn, cell: string, value: string): boolean {
  const order = compareValues(column, cell, value);
  if (order === null) return true;
  return operator === '<' ? order < 0 : operator === '<=' ? order <= 0 : operator === '>' ? order > 0 : order >= 0;
}

/** A value that cannot be read as one of the column's is compared in some way of the server's own. */
function isNumberOrDate(column: ManifestColumn, cell: string): boolean {
  return compareValues(column, cell, cell) !== null;
}

/** At least as coarse as the servers' collations are for the letters that people write. */
function folded(text: string): string {
  return text.normalize('NFKD').replace(/\p{M}/gu, '').toUpperCase().toLowerCase().trimEnd();
}

function hexOf(text: string): string {
  return Buffer.from(text, 'utf8').toString('hex');
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
