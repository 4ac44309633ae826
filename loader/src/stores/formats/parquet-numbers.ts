import { type CellKind, doubleText } from './cell-kind.ts';
import type { CellSink } from './cell-sink.ts';
import { digitsOf, minus, type ParquetCodec, point, readInteger, zero } from './parquet-codec.ts';

const wholeMax = 15;

type IntegerKind = CellKind & { kind: 'integer' };

export function integerCodec(kind: IntegerKind): ParquetCodec {
  return kind.bits === 64 ? longCodec(kind) : intCodec(kind);
}

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
    print(page, sink) {
      printWhole(signed ? page.view.getInt32(page.at, true) : page.view.getUint32(page.at, true), digits, sink);
      page.at += 4;
    },
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
    print: (page, sink) => printWhole(readInteger(page, signed), digits, sink),
  };
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

function printWhole(value: number | bigint, width: number, sink: CellSink): void {
  if (typeof value === 'bigint') {
    sink.ascii(String(value).padStart(width, '0'));
    return;
  }
  if (value < 0) sink.byte(minus);
  sink.digits(Math.abs(value), width);
}

export function decimalCodec(precision: number, scale: number): ParquetCodec {
  const annotation = {
    converted_type: 'DECIMAL',
    logical_type: { type: 'DECIMAL', precision, scale },
    precision,
    scale,
  } as const;
  const type = `DECIMAL(${precision},${scale})`;
  if (precision > 18) return longDecimalCodec(annotation, type);
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
    print(page, sink) {
      if (bits === 64) {
        printDecimal(readInteger(page, true), scale, sink);
        return;
      }
      printDecimal(page.view.getInt32(page.at, true), scale, sink);
      page.at += 4;
    },
  };
}

function longDecimalCodec(
  annotation: ParquetCodec['element'] & { readonly precision: number; readonly scale: number },
  type: string,
): ParquetCodec {
  const { precision, scale } = annotation;
  // As many bytes as the largest number of this precision needs.
  const bytes = Math.ceil(((10n ** BigInt(precision)).toString(2).length + 1) / 8);
  return {
    element: { ...annotation, type: 'FIXED_LEN_BYTE_ARRAY', type_length: bytes },
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
    print(page, sink) {
      const { buffer, byteOffset } = page.bytes;
      const hex = Buffer.from(buffer, byteOffset + page.at, bytes).toString('hex');
      page.at += bytes;
      printDecimal(BigInt.asIntN(bytes * 8, BigInt(`0x${hex}`)), scale, sink);
    },
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

/** A decimal from its digits without the point. */
function printDecimal(unscaled: number | bigint, scale: number, sink: CellSink): void {
  if (unscaled < 0) sink.byte(minus);
  if (typeof unscaled === 'bigint') {
    const digits = (unscaled < 0n ? -unscaled : unscaled).toString().padStart(scale + 1, '0');
    const end = digits.length - scale;
    sink.ascii(scale === 0 ? digits : `${digits.slice(0, end)}.${digits.slice(end)}`);
    return;
  }
  const size = Math.abs(unscaled);
  const whole = Math.floor(size / 10 ** scale);
  sink.digits(whole, 1);
  if (scale === 0) return;
  sink.byte(point);
  sink.digits(size - whole * 10 ** scale, scale);
}

export function floatCodec(single: boolean): ParquetCodec {
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
    print(page, sink) {
      const { view, at } = page;
      sink.ascii(doubleText(single ? view.getFloat32(at, true) : view.getFloat64(at, true)));
      page.at += single ? 4 : 8;
    },
  };
}
