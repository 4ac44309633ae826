import type { ColumnDefinition } from '@tableset/common/database/table-definition.ts';
import type { ByteSink } from '../encoding/byte-sink.ts';
import { hotKinds, type Problem, type ValueCodec } from './codec.ts';

const MINUS = 0x2d;
const PLUS = 0x2b;
const ZERO = 0x30;
const POINT = 0x2e;

/** Longer texts with an exponent are not looked at; the longest decimal has 65 digits. */
const TEXT_MAX = 400;
const exponentForm = /^([+-]?)(\d+\.?\d*|\.\d+)[eE]([+-]?\d+)$/;

/**
 * DECIMAL and NUMERIC, exact to 65 digits. Fraction digits beyond the scale are refused unless they are zeros: the server would
 * round them. Numbers with an exponent are written out.
 */
export function decimalCodec(column: ColumnDefinition): ValueCodec {
  const precision = column.numericPrecision ?? 10;
  const scale = column.numericScale ?? 0;
  const integerDigitsMax = precision - scale;

  const write = (bytes: Buffer, start: number, end: number, sink: ByteSink): Problem | null => {
    const parts = splitNumber(bytes, start, end);
    if (parts === null) return writeExponent(bytes, start, end, sink);
    let { integerStart, fractionEnd } = parts;
    const { integerEnd, fractionStart, negative } = parts;
    while (integerStart < integerEnd && bytes[integerStart] === ZERO) integerStart++;
    while (fractionEnd > fractionStart && bytes[fractionEnd - 1] === ZERO) fractionEnd--;
    if (integerEnd - integerStart > integerDigitsMax) return `is out of range for ${column.columnType}`;
    if (fractionEnd - fractionStart > scale)
      return `has more than the ${scale} fraction digits of ${column.columnType}`;
    const zero = integerStart === integerEnd && fractionStart === fractionEnd;
    if (negative && !zero && column.unsigned) return `is out of range for ${column.columnType}`;
    if (negative && !zero) sink.byte(MINUS);
    const least = column.zerofill ? integerDigitsMax : 1;
    for (let digits = integerEnd - integerStart; digits < least; digits++) sink.byte(ZERO);
    sink.copy(bytes, integerStart, integerEnd);
    if (scale === 0) return null;
    sink.byte(POINT);
    sink.copy(bytes, fractionStart, fractionEnd);
    for (let digits = fractionEnd - fractionStart; digits < scale; digits++) sink.byte(ZERO);
    return null;
  };
  const writeExponent = (bytes: Buffer, start: number, end: number, sink: ByteSink): Problem | null => {
    const text = end - start > TEXT_MAX ? '' : bytes.toString('latin1', start, end);
    const [, sign = '', mantissa = '', exponent = ''] = exponentForm.exec(text) ?? [];
    if (exponent === '') return 'is not a decimal number';
    const plain = withoutExponent(
      `${sign === '-' ? '-' : ''}${mantissa.replace(/^\./, '0.').replace(/\.$/, '')}e${exponent}`,
    );
    if (plain !== null) {
      const digits = Buffer.from(plain);
      return write(digits, 0, digits.length, sink);
    }
    return exponent.startsWith('-')
      ? `has more than the ${scale} fraction digits of ${column.columnType}`
      : `is out of range for ${column.columnType}`;
  };
  return {
    takesEmpty: false,
    ...(column.zerofill || integerDigitsMax === 0
      ? {}
      : { hot: { kind: hotKinds.decimal, limit: integerDigitsMax, flag: column.unsigned ? 0 : 1, scale } as const }),
    isCanonical: () => false,
    write,
  };
}

interface NumberParts {
  integerStart: number;
  integerEnd: number;
  fractionStart: number;
  fractionEnd: number;
  negative: boolean;
}

/** Finds sign, integer and fraction digits of `[+-]digits[.digits]`; one side of the point may be empty. Null if it is not of that form. */
function splitNumber(bytes: Buffer, start: number, end: number): NumberParts | null {
  let at = start;
  const negative = bytes[at] === MINUS;
  if (at < end && (negative || bytes[at] === PLUS)) at++;
  const integerStart = at;
  while (at < end && ((bytes[at] as number) - ZERO) >>> 0 <= 9) at++; // in bounds by the condition before
  const integerEnd = at;
  let fractionStart = at;
  if (at < end && bytes[at] === POINT) {
    fractionStart = ++at;
    while (at < end && ((bytes[at] as number) - ZERO) >>> 0 <= 9) at++; // in bounds by the condition before
  }
  if (at !== end || (integerStart === integerEnd && fractionStart === at)) return null;
  return { integerStart, integerEnd, fractionStart, fractionEnd: at, negative };
}

/**
 * Writes a JSON number without its exponent, exactly: `1.5e3` is `1500`. Null if its exponent is beyond ±400.
 * @param text a number as JSON writes it
 */
export function withoutExponent(text: string): string | null {
  const match = /^(-?)(\d+)(?:\.(\d+))?(?:[eE]([+-]?\d+))?$/.exec(text);
  if (match === null) return null;
  const [, sign = '', integer = '', fraction = '', exponentText = '0'] = match;
  const exponent = Number(exponentText);
  const digits = integer + fraction;
  if (/^0*$/.test(digits)) return '0';
  if (Math.abs(exponent) > 400) return null;
  const point = integer.length + exponent;
  if (point <= 0) return `${sign}0.${'0'.repeat(-point)}${digits}`;
  if (point >= digits.length) return `${sign}${digits}${'0'.repeat(point - digits.length)}`;
  return `${sign}${digits.slice(0, point)}.${digits.slice(point)}`;
}
