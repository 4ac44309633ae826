import { isBinaryType } from '../../core/values/column-codec.ts';
import { isIntegerType } from '../../core/values/integer.ts';
import { isSpatialType } from '../../core/values/spatial.ts';

/** What the canonical cells of a column are, worked out from COLUMN_TYPE alone, since a manifest says no more of a column. */
export type CellKind =
  | {
      readonly kind: 'integer';
      readonly bits: 8 | 16 | 32 | 64;
      readonly signed: boolean;
      /** Least number of digits, zeros in front, as ZEROFILL and YEAR have it; 1 for others. */
      readonly digits: number;
    }
  | { readonly kind: 'decimal'; readonly precision: number; readonly scale: number }
  | { readonly kind: 'float' | 'double' | 'date' | 'text' | 'bytes' }
  /** DATETIME and TIMESTAMP with so many digits of fractional seconds; `utc` for TIMESTAMP, which is a moment and no wall clock. */
  | { readonly kind: 'time'; readonly digits: number; readonly utc: boolean };

const integerBits: Readonly<Record<string, 8 | 16 | 32 | 64>> = {
  tinyint: 8,
  smallint: 16,
  mediumint: 32,
  int: 32,
  bigint: 64,
};

/** @param type COLUMN_TYPE, such as `int unsigned` or `enum('a','b')` */
export function cellKind(type: string): CellKind {
  const dataType = /^\w+/.exec(type)?.[0].toLowerCase() ?? '';
  const [first, second] = (/^\w+\((\d+)(?:,(\d+))?\)/.exec(type)?.slice(1, 3) ?? []).map(Number);
  const zerofill = / zerofill\b/.test(type);
  if (isBinaryType(dataType) || isSpatialType(dataType) || dataType === 'vector') return { kind: 'bytes' };
  if (isIntegerType(dataType)) {
    const signed = !/ unsigned\b/.test(type) && !zerofill;
    return { kind: 'integer', bits: integerBits[dataType] ?? 64, signed, digits: zerofill ? (first ?? 1) : 1 };
  }
  switch (dataType) {
    case 'bit':
      return { kind: 'integer', bits: 64, signed: false, digits: 1 };
    case 'year':
      return { kind: 'integer', bits: 32, signed: true, digits: first === 2 ? 2 : 4 };
    case 'decimal':
      // The zeros in front are part of the text.
      return zerofill ? { kind: 'text' } : { kind: 'decimal', precision: first ?? 10, scale: second ?? 0 };
    case 'float':
    case 'double':
    case 'date':
      return { kind: dataType };
    case 'datetime':
    case 'timestamp':
      return { kind: 'time', digits: first ?? 0, utc: dataType === 'timestamp' };
    default:
      return { kind: 'text' };
  }
}

/**
 * The text of a DOUBLE as MySQL and MariaDB print it: the shortest digits that name it, as JavaScript has them, but with an exponent
 * from 1e15 on and only below 1e-15 (`my_gcvt` with MAX_DECPT_FOR_F_FORMAT = 15, in both servers' strings/dtoa).
 */
export function doubleText(value: number): string {
  const size = Math.abs(value);
  if (value === 0) return Object.is(value, -0) ? '-0' : '0';
  if (size >= 1e-6 && size < 1e15) return String(value);
  const [mantissa = '', exponent = ''] = value.toExponential().split('e');
  const sign = value < 0 ? '-' : '';
  const digits = mantissa.replace(/[-.]/g, '');
  // The point stands before this digit.
  const point = Number(exponent) + 1;
  if (point >= -14 && point <= 0) return `${sign}0.${'0'.repeat(-point)}${digits}`;
  if (point > 0 && digits.length > point) return `${sign}${digits.slice(0, point)}.${digits.slice(point)}`;
  return `${mantissa}e${Number(exponent)}`;
}

/** Largest cell that files take; a page and a line have to be in memory as a whole. */
export const cellBytesMax = 128 << 20;
