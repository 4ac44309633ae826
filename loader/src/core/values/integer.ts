import type { ColumnDefinition } from '@tableset/common/database/table-definition.ts';
import type { ByteSink } from '../encoding/byte-sink.ts';
import { hotKinds, type Problem, type ValueCodec } from './codec.ts';

const MINUS = 0x2d;
const PLUS = 0x2b;
const ZERO = 0x30;

const bitsByType: Readonly<Record<string, bigint>> = {
  tinyint: 8n,
  smallint: 16n,
  mediumint: 24n,
  int: 32n,
  bigint: 64n,
};

/** True for the types that integerCodec serves. */
export function isIntegerType(dataType: string): boolean {
  return Object.hasOwn(bitsByType, dataType);
}

/**
 * Integers of every width. Digits with an optional sign; leading zeros and a plus are dropped. A fraction is refused even when
 * it is zero, as is an exponent: what looks like another type is not guessed at.
 */
export function integerCodec(column: ColumnDefinition): ValueCodec {
  const bits = bitsByType[column.dataType] ?? 64n;
  const least = column.unsigned ? 0n : -(2n ** (bits - 1n));
  const most = column.unsigned ? 2n ** bits - 1n : 2n ** (bits - 1n) - 1n;
  const mostText = most.toString();
  const safeDigits = mostText.length - 1;
  const padding = column.zerofill ? displayWidth(column) : 0;
  const range = `is out of range for ${column.columnType} (${least} to ${most})`;

  const write = (bytes: Buffer, start: number, end: number, sink: ByteSink): Problem | null => {
    let at = start;
    const negative = bytes[at] === MINUS;
    if (negative || bytes[at] === PLUS) at++;
    if (!allDigits(bytes, at, end)) return 'is not an integer';
    while (at < end - 1 && bytes[at] === ZERO) at++;
    const zero = end - at === 1 && bytes[at] === ZERO;
    if (end - at > safeDigits) {
      if (end - at > safeDigits + 1) return range;
      const value = BigInt(bytes.toString('latin1', at, end)) * (negative ? -1n : 1n);
      if (value < least || value > most) return range;
    } else if (negative && column.unsigned && !zero) return range;
    if (negative && !zero) sink.byte(MINUS);
    for (let digits = end - at; digits < padding; digits++) sink.byte(ZERO);
    sink.copy(bytes, at, end);
    return null;
  };
  return {
    takesEmpty: false,
    ...(padding === 0
      ? { hot: { kind: hotKinds.integer, limit: safeDigits, flag: column.unsigned ? 0 : 1, scale: 0 } as const }
      : {}),
    isCanonical: () => false,
    write,
  };
}

/** True if the range is not empty and holds ASCII digits alone. */
export function allDigits(bytes: Uint8Array, start: number, end: number): boolean {
  if (start >= end) return false;
  for (let i = start; i < end; i++) {
    if (((bytes[i] as number) - ZERO) >>> 0 > 9) return false; // in bounds by start and end
  }
  return true;
}

/** The width that ZEROFILL pads to, as the column's type says: `int(5) unsigned zerofill`. */
function displayWidth(column: ColumnDefinition): number {
  const width = /\((\d+)\)/.exec(column.columnType)?.[1];
  return width === undefined ? 0 : Number(width);
}
