import type { ColumnDefinition } from '@tableset/common/database/table-definition.ts';
import type { ByteSink } from '../encoding/byte-sink.ts';
import type { Problem, ValueCodec } from './codec.ts';
import { allDigits } from './integer.ts';

const blobOctets: Readonly<Record<string, number>> = {
  tinyblob: 255,
  blob: 65_535,
  mediumblob: 16_777_215,
  longblob: 4_294_967_295,
};

/** The value of each hexadecimal digit's byte, 255 for other bytes. */
const hexValues = new Uint8Array(256).fill(255);
for (let digit = 0; digit < 16; digit++) {
  hexValues[digit.toString(16).charCodeAt(0)] = digit;
  hexValues[digit.toString(16).toUpperCase().charCodeAt(0)] = digit;
}

/** How the source text of a binary column is read. */
export type BinaryForm = 'prefixed-hex' | 'hex' | 'base64' | 'text' | 'uuid';

/**
 * BINARY, VARBINARY and the BLOB types, written as upper-case hex for UNHEX. Without a mapping the text must be `0x…`, since a
 * text such as `616263` could be meant in three ways. BINARY(n) takes exactly n bytes: the server would fill up with NUL bytes.
 */
export function binaryCodec(column: ColumnDefinition, form: BinaryForm): ValueCodec {
  const octetsMax = blobOctets[column.dataType] ?? column.characterOctetLength ?? 0;
  const fixed = column.dataType === 'binary';
  const fits = (count: number): Problem | null => {
    if (fixed && count !== octetsMax) return `has ${count} bytes, ${column.columnType} takes exactly ${octetsMax}`;
    return count > octetsMax ? `has ${count} bytes, ${column.columnType} takes ${octetsMax}` : null;
  };
  return {
    takesEmpty: true,
    isCanonical: () => false,
    write(bytes: Buffer, start: number, end: number, sink: ByteSink): Problem | null {
      const value = readBinary(bytes, start, end, form);
      if (typeof value === 'string') return value;
      const problem = fits(value.length);
      if (problem === null) sink.hex(value);
      return problem;
    },
  };
}

function readBinary(bytes: Buffer, start: number, end: number, form: BinaryForm): Buffer | Problem {
  switch (form) {
    case 'text':
      return bytes.subarray(start, end);
    case 'base64':
      return readBase64(bytes.toString('latin1', start, end));
    case 'uuid': {
      const text = bytes.toString('latin1', start, Math.min(end, start + 40)).replaceAll('-', '');
      return /^[0-9a-fA-F]{32}$/.test(text) ? Buffer.from(text, 'hex') : 'is not a UUID';
    }
    case 'hex':
      return readHex(bytes, hasPrefix(bytes, start, end) ? start + 2 : start, end);
    case 'prefixed-hex':
      if (end === start) return bytes.subarray(start, end);
      if (!hasPrefix(bytes, start, end))
        return 'is not 0x and hexadecimal digits; a mapping type (binary-hex, binary-base64, text) says how else to read it';
      return readHex(bytes, start + 2, end);
    default:
      return form satisfies never;
  }
}

function hasPrefix(bytes: Buffer, start: number, end: number): boolean {
  return end - start >= 2 && bytes[start] === 0x30 && (bytes[start + 1] === 0x78 || bytes[start + 1] === 0x58);
}

function readHex(bytes: Buffer, start: number, end: number): Buffer | Problem {
  if ((end - start) % 2 !== 0) return 'has an odd number of hexadecimal digits';
  const value = Buffer.allocUnsafe((end - start) / 2);
  for (let i = 0; i < value.length; i++) {
    const high = hexValues[bytes[start + 2 * i] as number] as number; // in bounds by the length
    const low = hexValues[bytes[start + 2 * i + 1] as number] as number; // in bounds by the length
    if ((high | low) > 15) return 'is not hexadecimal';
    value[i] = (high << 4) | low;
  }
  return value;
}

/** Standard base64 with its padding; what Buffer would skip silently is refused. */
function readBase64(text: string): Buffer | Problem {
  const value = Buffer.from(text, 'base64');
  return value.toString('base64') === text ? value : 'is not base64';
}

/** BIT(n): a decimal number, `0x…` or `b'…'`, written in decimal for CAST(… AS UNSIGNED). */
export function bitCodec(column: ColumnDefinition): ValueCodec {
  const bits = BigInt(column.numericPrecision ?? 1);
  return {
    takesEmpty: false,
    isCanonical: () => false,
    write(bytes: Buffer, start: number, end: number, sink: ByteSink): Problem | null {
      if (end - start > 80) return 'is not a number of bits';
      const text = bytes.toString('latin1', start, end);
      const binary = /^b'([01]+)'$/.exec(text)?.[1];
      let value: bigint;
      if (binary !== undefined) value = BigInt(`0b${binary}`);
      else if (/^0x[0-9a-fA-F]+$/.test(text) || allDigits(bytes, start, end)) value = BigInt(text);
      else return "is not a decimal number, 0x… or b'…'";
      if (value >= 2n ** bits) return `does not fit into ${column.columnType}`;
      sink.ascii(value.toString());
      return null;
    },
  };
}
