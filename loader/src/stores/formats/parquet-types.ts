import { isUtf8 } from 'node:buffer';
import type { ColumnDefinition } from '@tableset/common/database/table-definition.ts';
import type { SchemaElement } from 'hyparquet';
import { type CellKind, cellBytesMax, cellKind, doubleText } from './cell-kind.ts';
import type { PageBuffer } from './parquet-pages.ts';

/** Reads and writes the cells of one column as values of Parquet. */
export interface ParquetCodec {
  /** Without name and repetition. */
  readonly element: Omit<SchemaElement, 'name' | 'repetition_type'>;
  /** For messages: what the column is in the file. */
  readonly type: string;
  /** Adds a value; false, and nothing added, if `decode` would not give back the very same cell. */
  encode(cell: Buffer, page: PageBuffer): boolean;
  /** The cell of a physical value. */
  decode(value: unknown): Buffer;
}

/** How a column stands in a Parquet file. JSON is only marked: its cells are text like any other. */
export function parquetCodec(type: string, column?: Pick<ColumnDefinition, 'json' | 'dataType'>): ParquetCodec {
  const kind = cellKind(type);
  switch (kind.kind) {
    case 'integer':
      return kind.bits === 64 ? longCodec(kind) : intCodec(kind);
    case 'decimal':
      return kind.precision > 38 ? textCodec('STRING', 'UTF8') : decimalCodec(kind.precision, kind.scale);
    case 'float':
    case 'double':
      return floatCodec(kind.kind === 'float');
    case 'date':
      return dateCodec();
    case 'time':
      return timestampCodec(kind.digits, kind.utc);
    case 'bytes':
      return bytesCodec();
    case 'text': {
      const json = column?.json || column?.dataType === 'json';
      return json ? textCodec('JSON', 'JSON') : textCodec('STRING', 'UTF8');
    }
    default:
      throw new Error(`unknown kind ${String(kind satisfies never)}`);
  }
}

const zero = 0x30;
const minus = 0x2d;
const wholeMax = 15;

/** The number of digits from start to end; NaN for anything else. */
function digitsOf(cell: Buffer, start: number, end: number): number {
  let value = 0;
  for (let at = start; at < end; at++) {
    const digit = (cell[at] ?? 0) - zero;
    if (!(digit >= 0 && digit <= 9)) return Number.NaN;
    value = value * 10 + digit;
  }
  return end > start ? value : Number.NaN;
}

/** True for a whole number as a server prints it: no zeros in front beyond the width, no -0. */
function isCanonicalWhole(cell: Buffer, width: number): boolean {
  const negative = cell[0] === minus;
  const digits = cell.length - (negative ? 1 : 0);
  if (digits < width || (negative && width > 1)) return false;
  return cell[negative ? 1 : 0] !== zero || (digits === width && !(negative && digits === 1));
}

/** The number of a canonical whole number: exact up to 15 digits, a bigint beyond; NaN for anything else. */
function wholeOf(cell: Buffer, width: number): number | bigint {
  if (cell.length > 20 || !isCanonicalWhole(cell, width)) return Number.NaN;
  const negative = cell[0] === minus;
  const start = negative ? 1 : 0;
  if (cell.length - start <= wholeMax) {
    const value = digitsOf(cell, start, cell.length);
    return negative ? -value : value;
  }
  const split = cell.length - 9;
  const [high, low] = [digitsOf(cell, start, split), digitsOf(cell, split, cell.length)];
  if (Number.isNaN(high) || Number.isNaN(low)) return Number.NaN;
  const value = BigInt(high) * 1_000_000_000n + BigInt(low);
  return negative ? -value : value;
}

function printed(value: number | bigint, width: number): Buffer {
  const text = String(value);
  return Buffer.from(width > 1 ? text.padStart(width, '0') : text, 'latin1');
}

type IntegerKind = CellKind & { kind: 'integer' };

function intCodec({ bits, signed, digits }: IntegerKind): ParquetCodec {
  const name = `${signed ? 'INT' : 'UINT'}_${bits}` as 'INT_8' | 'INT_16' | 'INT_32' | 'UINT_8' | 'UINT_16' | 'UINT_32'; // 64 bits go elsewhere
  const [low, high] = signed ? [-(2 ** (bits - 1)), 2 ** (bits - 1) - 1] : [0, 2 ** bits - 1];
  return {
    element: { type: 'INT32', converted_type: name },
    type: name,
    encode(cell, page) {
      const value = wholeOf(cell, digits);
      if (!(value >= low && value <= high)) return false;
      page.int32(Number(value));
      return true;
    },
    decode: (value) => printed(signed ? Number(value) : Number(value) >>> 0, digits),
  };
}

function longCodec({ signed, digits }: IntegerKind): ParquetCodec {
  const name = signed ? 'INT_64' : 'UINT_64';
  const [low, high] = signed ? [-(2n ** 63n), 2n ** 63n - 1n] : [0n, 2n ** 64n - 1n];
  return {
    element: { type: 'INT64', converted_type: name },
    type: name,
    encode(cell, page) {
      const value = wholeOf(cell, digits);
      if (!(value >= low && value <= high)) return false;
      page.int64(value);
      return true;
    },
    decode: (value) => printed(signed ? integer(value) : BigInt.asUintN(64, integer(value)), digits),
  };
}

function integer(value: unknown): bigint {
  if (typeof value === 'bigint') return value;
  throw new Error('a 64-bit integer was expected');
}

function decimalCodec(precision: number, scale: number): ParquetCodec {
  const annotation = {
    converted_type: 'DECIMAL',
    logical_type: { type: 'DECIMAL', precision, scale },
    precision,
    scale,
  } as const;
  const type = `DECIMAL(${precision},${scale})`;
  if (precision <= 18) {
    const [physical, bits] = precision <= 9 ? (['INT32', 32] as const) : (['INT64', 64] as const);
    return {
      element: { type: physical, ...annotation },
      type,
      encode(cell, page) {
        const value = unscaledOf(cell, precision, scale);
        if (Number.isNaN(value)) return false;
        if (bits === 32) page.int32(Number(value));
        else page.int64(value);
        return true;
      },
      decode: (value) => decimalText(BigInt(value as number | bigint), scale), // by its physical type
    };
  }
  // As many bytes as the largest number of this precision needs.
  const bytes = Math.ceil(((10n ** BigInt(precision)).toString(2).length + 1) / 8);
  return {
    element: { type: 'FIXED_LEN_BYTE_ARRAY', type_length: bytes, ...annotation },
    type,
    encode(cell, page) {
      const value = unscaledOf(cell, precision, scale);
      if (Number.isNaN(value)) return false;
      const hex = BigInt.asUintN(bytes * 8, BigInt(value))
        .toString(16)
        .padStart(bytes * 2, '0');
      page.fixed(Buffer.from(hex, 'hex'));
      return true;
    },
    decode: (value) => decimalText(BigInt.asIntN(bytes * 8, BigInt(`0x${raw(value).toString('hex')}`)), scale),
  };
}

/** The digits of a decimal without its point; NaN for what no server prints. */
function unscaledOf(cell: Buffer, precision: number, scale: number): number | bigint {
  const start = cell[0] === minus ? 1 : 0;
  const end = scale === 0 ? cell.length : cell.length - scale - 1;
  const [whole, fraction] = [end - start, cell.length - end - 1];
  if (whole < 1 || (scale > 0 && cell[end] !== 0x2e) || (whole > 1 && cell[start] === zero)) return Number.NaN;
  // A zero before the point is printed also where the precision leaves no room for it.
  if (whole + scale > precision && !(whole === 1 && cell[start] === zero)) return Number.NaN;
  if (whole + scale <= wholeMax) {
    const value =
      digitsOf(cell, start, end) * 10 ** scale + (scale === 0 ? 0 : digitsOf(cell, end + 1, end + 1 + fraction));
    if (start === 0) return value;
    return value === 0 ? Number.NaN : -value;
  }
  const text = cell.toString('latin1');
  if (!/^-?\d+(\.\d+)?$/.test(text)) return Number.NaN;
  const value = BigInt(text.replace('.', ''));
  return start === 1 && value === 0n ? Number.NaN : value;
}

function decimalText(unscaled: bigint, scale: number): Buffer {
  const negative = unscaled < 0n;
  const digits = (negative ? -unscaled : unscaled).toString().padStart(scale + 1, '0');
  const point = digits.length - scale;
  const fraction = scale === 0 ? '' : `.${digits.slice(point)}`;
  return Buffer.from(`${negative ? '-' : ''}${digits.slice(0, point)}${fraction}`, 'latin1');
}

function floatCodec(single: boolean): ParquetCodec {
  const type = single ? 'FLOAT' : 'DOUBLE';
  return {
    element: { type },
    type,
    encode(cell, page) {
      const text = cell.toString('latin1');
      const value = Number(text);
      if (!Number.isFinite(value) || doubleText(value) !== text) return false;
      if (single && Math.fround(value) !== value) return false;
      if (single) page.float(value);
      else page.double(value);
      return true;
    },
    decode: (value) => Buffer.from(doubleText(Number(value)), 'latin1'),
  };
}

const dayMs = 86_400_000;

/** Days since 1970 of `YYYY-MM-DD` at the start of a cell; NaN for what the calendar does not have. */
function daysOf(cell: Buffer): number {
  if (cell[4] !== minus || cell[7] !== minus) return Number.NaN;
  const [year, month, day] = [digitsOf(cell, 0, 4), digitsOf(cell, 5, 7), digitsOf(cell, 8, 10)];
  if (!(year >= 1 && month >= 1 && month <= 12 && day >= 1)) return Number.NaN;
  const leap = (year % 4 === 0 && year % 100 !== 0) || year % 400 === 0;
  if (day > (month === 2 ? (leap ? 29 : 28) : ((monthDays[month - 1] ?? 0) as number))) return Number.NaN;
  // Years that begin in March; days before the year 0000-03-01 are 719468 before 1970.
  const shifted = month <= 2 ? year - 1 : year;
  const dayOfYear = Math.floor((153 * (month > 2 ? month - 3 : month + 9) + 2) / 5) + day - 1;
  const era = Math.floor(shifted / 4) - Math.floor(shifted / 100) + Math.floor(shifted / 400);
  return shifted * 365 + era + dayOfYear - 719_468;
}

const monthDays = [31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];

function dayText(day: number): string {
  return new Date(day * dayMs).toISOString().slice(0, 10);
}

function dateCodec(): ParquetCodec {
  return {
    element: { type: 'INT32', converted_type: 'DATE', logical_type: { type: 'DATE' } },
    type: 'DATE',
    encode(cell, page) {
      const day = cell.length === 10 ? daysOf(cell) : Number.NaN;
      if (Number.isNaN(day)) return false;
      page.int32(day);
      return true;
    },
    decode: (value) => Buffer.from(dayText(Number(value)), 'latin1'),
  };
}

function timestampCodec(digits: number, utc: boolean): ParquetCodec {
  const length = digits === 0 ? 19 : 20 + digits;
  return {
    // The older annotation would call a wall clock a moment.
    element: {
      type: 'INT64',
      logical_type: { type: 'TIMESTAMP', isAdjustedToUTC: utc, unit: 'MICROS' },
      ...(utc ? { converted_type: 'TIMESTAMP_MICROS' as const } : {}),
    },
    type: 'TIMESTAMP',
    encode(cell, page) {
      if (cell.length !== length || cell[10] !== 0x20 || cell[13] !== 0x3a || cell[16] !== 0x3a) return false;
      const [hour, minute, second] = [digitsOf(cell, 11, 13), digitsOf(cell, 14, 16), digitsOf(cell, 17, 19)];
      if (!(hour <= 23 && minute <= 59 && second <= 59) || (digits > 0 && cell[19] !== 0x2e)) return false;
      const seconds = daysOf(cell) * 86_400 + hour * 3600 + minute * 60 + second;
      const micros = digits === 0 ? 0 : digitsOf(cell, 20, length) * 10 ** (6 - digits);
      if (Number.isNaN(seconds + micros)) return false;
      const exact = Math.abs(seconds) < 9e9;
      page.int64(exact ? seconds * 1e6 + micros : BigInt(seconds) * 1_000_000n + BigInt(micros));
      return true;
    },
    decode(value) {
      const micros = integer(value);
      const fraction = Number(((micros % 1_000_000n) + 1_000_000n) % 1_000_000n);
      const seconds = Number((micros - BigInt(fraction)) / 1_000_000n);
      const text = new Date(seconds * 1000).toISOString();
      const tail = digits === 0 ? '' : `.${String(fraction).padStart(6, '0').slice(0, digits)}`;
      return Buffer.from(`${text.slice(0, 10)} ${text.slice(11, 19)}${tail}`, 'latin1');
    },
  };
}

function textCodec(type: 'STRING' | 'JSON', converted: 'UTF8' | 'JSON'): ParquetCodec {
  return {
    element: { type: 'BYTE_ARRAY', converted_type: converted, logical_type: { type } },
    type,
    encode(cell, page) {
      if (cell.length > cellBytesMax || !isUtf8(cell)) return false;
      page.bytes(cell);
      return true;
    },
    decode: raw,
  };
}

function bytesCodec(): ParquetCodec {
  return {
    element: { type: 'BYTE_ARRAY' },
    type: 'BYTE_ARRAY',
    encode(cell, page) {
      if (cell.length > cellBytesMax) return false;
      page.bytes(cell);
      return true;
    },
    decode: raw,
  };
}

function raw(value: unknown): Buffer {
  if (value instanceof Uint8Array) return Buffer.from(value.buffer, value.byteOffset, value.length);
  throw new Error('bytes were expected');
}
