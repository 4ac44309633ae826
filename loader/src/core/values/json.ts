import type { ColumnDefinition } from '@tableset/common/database/table-definition.ts';
import type { ByteSink } from '../encoding/byte-sink.ts';
import type { CodecContext, Problem, ValueCodec } from './codec.ts';
import { withoutExponent } from './decimal.ts';
import { JsonFault, JsonIncomplete, type JsonScanOptions, scanJsonValue, skipJsonSpace } from './json-scanner.ts';

/** What the servers' own parsers accept: MySQL 100 levels, MariaDB's JSON_VALID 31. */
const depthMax = { mysql: 100, mariadb: 31 } as const;
/** MySQL's limit of a JSON text, that of a longtext. */
const OCTETS_MAX = 0xffffffff;

/**
 * JSON, kept as its text. MySQL stores numbers in binary, integers from -2^63 to 2^64-1 exactly and all others as DOUBLE, so a number that
 * DOUBLE would change is refused there; MariaDB keeps the text.
 */
export function jsonCodec(_column: ColumnDefinition, context: CodecContext): ValueCodec {
  const options: JsonScanOptions = {
    depthMax: depthMax[context.server],
    ...(context.server === 'mysql' ? { onNumber: refuseInexactNumber } : {}),
  };
  const check = (bytes: Buffer, start: number, end: number): Problem | null => {
    if (end - start > OCTETS_MAX) return 'is too long for JSON';
    try {
      const at = skipJsonSpace(bytes, start, end);
      const stop = skipJsonSpace(bytes, scanJsonValue(bytes, at, end, options), end);
      return stop === end ? null : 'is not JSON: text after the value';
    } catch (error) {
      if (error instanceof JsonIncomplete) return 'is not JSON: it ends too early';
      if (error instanceof JsonFault) return error.message;
      throw error;
    }
  };
  return {
    takesEmpty: false,
    isCanonical: () => false,
    write(bytes: Buffer, start: number, end: number, sink: ByteSink): Problem | null {
      const problem = check(bytes, start, end);
      if (problem === null) sink.escaped(bytes, start, end);
      return problem;
    },
  };
}

const integerLeast = -(2n ** 63n);
const integerMost = 2n ** 64n - 1n;

function refuseInexactNumber(bytes: Buffer, start: number, end: number): void {
  // Any number of up to 15 significant digits survives in a DOUBLE, unless its exponent is out of range.
  const text = bytes.toString('latin1', start, Math.min(end, start + 500));
  const exponent = /[eE]/.test(text);
  if (end - start <= 15 && !exponent) return;
  if (end - start > 400) throw new JsonFault(start, 'has a number of more than 400 characters');
  if (/^-?\d+$/.test(text)) {
    const value = BigInt(text);
    if (value >= integerLeast && value <= integerMost) return;
  }
  const value = Number(text);
  if (!Number.isFinite(value))
    throw new JsonFault(start, `has the number ${text.slice(0, 40)}, which is beyond DOUBLE`);
  if (significant(text) !== significant(String(value))) {
    throw new JsonFault(start, `has the number ${text.slice(0, 40)}, which MySQL would store as ${value}`);
  }
}

/** Sign, digits and magnitude of a number, the same for equal numbers however they are written. */
function significant(text: string): string {
  const plain = withoutExponent(text);
  if (plain === null) return text;
  const negative = plain.startsWith('-');
  const [integer = '', fraction = ''] = plain.replace('-', '').split('.');
  const whole = integer.replace(/^0+/, '');
  const part = fraction.replace(/0+$/, '');
  return whole === '' && part === '' ? '0' : `${negative ? '-' : ''}${whole}.${part}`;
}
