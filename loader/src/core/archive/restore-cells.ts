import type { ColumnDefinition } from '@tableset/common/database/table-definition.ts';
import type { Cell } from './canonical.ts';

const moments = new Set(['datetime', 'timestamp', 'time']);

/** True if values of the column are printed in another way when its type gets more or fewer digits. */
export function printsDigits(column: ColumnDefinition): boolean {
  return column.dataType === 'decimal' || column.dataType === 'date' || moments.has(column.dataType);
}

/**
 * The cell as its column prints the same value today: with as many digits behind the point as a DECIMAL or a time has now, a date with
 * or without its midnight. What would lose something stays as it is, and is then found to differ when it is read back.
 */
export function adaptCell(column: ColumnDefinition, cell: Cell): Cell {
  if (cell === null) return null;
  const text = cell.toString('latin1');
  const adapted = adaptText(column, text);
  return adapted === text ? cell : Buffer.from(adapted, 'latin1');
}

function adaptText(column: ColumnDefinition, text: string): string {
  const { dataType } = column;
  if (dataType === 'decimal') return /^-?\d+(?:\.\d+)?$/.test(text) ? withDigits(text, column.numericScale ?? 0) : text;
  if (dataType === 'date') return text.replace(/^(\d{4}-\d\d-\d\d) 00:00:00(?:\.0+)?$/, '$1');
  if (!moments.has(dataType)) return text;
  const whole = dataType === 'time' ? text : text.replace(/^\d{4}-\d\d-\d\d$/, '$& 00:00:00');
  return /\d\d:\d\d:\d\d(?:\.\d+)?$/.test(whole) ? withDigits(whole, column.datetimePrecision ?? 0) : text;
}

/** The same number with so many digits behind its point, unless some that are not zero would have to go. */
function withDigits(text: string, digits: number): string {
  const point = text.indexOf('.');
  const whole = point < 0 ? text : text.slice(0, point);
  const fraction = point < 0 ? '' : text.slice(point + 1);
  if (/[1-9]/.test(fraction.slice(digits))) return text;
  const kept = fraction.slice(0, digits).padEnd(digits, '0');
  return kept === '' ? whole : `${whole}.${kept}`;
}
