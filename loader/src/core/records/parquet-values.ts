import { isUtf8 } from 'node:buffer';
import type { FileMetaData, ParquetParsers, SchemaTree } from 'hyparquet';
import { fieldFlags } from './record-reader.ts';

/** How the values of one column become text. */
export interface ParquetConverter {
  /** Facts of every value, as fieldFlags. */
  readonly flags: number;
  /**
   * The text of a value that is not null, or its bytes.
   * @throws ParquetValueFault
   */
  text(value: unknown): string | Uint8Array;
}

export class ParquetValueFault extends Error {}

const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/** Parsers that keep what the defaults would lose: digits of timestamps, bytes of strings. They give text, or the bytes themselves. */
export const exactParsers: ParquetParsers = {
  timestampFromMilliseconds: (millis) => timestampText(millis, 3),
  timestampFromMicroseconds: (micros) => timestampText(micros, 6),
  timestampFromNanoseconds: (nanos) => timestampText(nanos, 9),
  dateFromDays: (days) => dayText(days),
  stringFromBytes: (bytes) => bytes,
  jsonFromBytes: (bytes) => bytes,
  geometryFromBytes: (bytes) => bytes,
  geographyFromBytes: (bytes) => bytes,
  uuidFromBytes: (bytes) => {
    const hex = Buffer.from(bytes).toString('hex');
    return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`;
  },
};

/** For nested columns, whose strings may be keys of maps. */
export const nestedParsers: ParquetParsers = {
  ...exactParsers,
  stringFromBytes: (bytes) => decodeText(bytes),
  jsonFromBytes: (bytes) => decodeText(bytes),
};

/**
 * The converter of a column.
 * @param node the column as the file describes it; its values come raw where withoutAnnotations has taken the description off
 */
export function parquetConverter(node: SchemaTree): ParquetConverter {
  const { element } = node;
  if (node.children.length > 0 || element.repetition_type === 'REPEATED') {
    return { flags: fieldFlags.json | fieldFlags.special, text: (value) => jsonOf(value, node) };
  }
  const scale = element.scale ?? 0;
  if (isDecimal(node)) return { flags: fieldFlags.number, text: (value) => decimalText(value, scale) };
  if (element.type === 'BOOLEAN') return { flags: fieldFlags.boolean, text: String };
  const print = timePrinter(node);
  if (print !== null) return { flags: fieldFlags.quoted, text: print };
  if (isText(node)) {
    const json = element.converted_type === 'JSON' || element.logical_type?.type === 'JSON';
    return { flags: fieldFlags.special | (json ? fieldFlags.json : fieldFlags.quoted), text: checkedText };
  }
  if (element.logical_type?.type === 'UUID' || element.type === 'INT96')
    return { flags: fieldFlags.quoted, text: String };
  const bytes = element.type === 'BYTE_ARRAY' || element.type === 'FIXED_LEN_BYTE_ARRAY';
  if (bytes && element.logical_type?.type !== 'FLOAT16')
    return { flags: fieldFlags.binary | fieldFlags.quoted, text: rawBytes };
  return { flags: fieldFlags.number, text: String };
}

function checkedText(value: unknown): Uint8Array {
  const bytes = rawBytes(value);
  if (!isUtf8(bytes)) throw new ParquetValueFault('is not UTF-8');
  return bytes;
}

function rawBytes(value: unknown): Uint8Array {
  if (value instanceof Uint8Array) return value;
  throw new ParquetValueFault('has a kind of value that the loader does not know');
}

/**
 * The metadata with the annotations of DECIMAL, DATE and TIMESTAMP taken off, so that their numbers come as they are: hyparquet makes lossy floats of
 * decimals, and a text for each value of a page at once would take much memory.
 */
export function withoutAnnotations(metadata: FileMetaData): FileMetaData {
  const schema = metadata.schema.map((element) => {
    if (!rawTypes.has(element.converted_type ?? '') && !rawTypes.has(element.logical_type?.type ?? '')) return element;
    const { converted_type: _converted, logical_type: _logical, ...rest } = element;
    return rest;
  });
  return { ...metadata, schema };
}

const rawTypes = new Set(['DECIMAL', 'DATE', 'TIMESTAMP', 'TIMESTAMP_MILLIS', 'TIMESTAMP_MICROS']);

function isDecimal({ element }: SchemaTree): boolean {
  return element.converted_type === 'DECIMAL' || element.logical_type?.type === 'DECIMAL';
}

function isText({ element }: SchemaTree): boolean {
  const { converted_type: converted, logical_type: logical } = element;
  return (
    converted === 'UTF8' ||
    converted === 'ENUM' ||
    converted === 'JSON' ||
    ['STRING', 'ENUM', 'JSON'].includes(logical?.type ?? '')
  );
}

const unitDigits = { MILLIS: 3, MICROS: 6, NANOS: 9 } as const;

/** Prints the numbers of DATE, TIME and TIMESTAMP columns; null for others. */
function timePrinter({ element }: SchemaTree): ((value: unknown) => string) | null {
  const { converted_type: converted, logical_type: logical } = element;
  if (logical?.type === 'TIMESTAMP') {
    const digits = unitDigits[logical.unit];
    // Only this annotation says whether a timestamp is a moment or a wall clock; the older ones are read as wall clocks.
    const zone = logical.isAdjustedToUTC ? 'Z' : '';
    return (value) => timestampText(toInteger(value), digits) + zone;
  }
  if (logical?.type === 'TIME') {
    const digits = unitDigits[logical.unit];
    return (value) => timestampText(toInteger(value), digits).slice(11);
  }
  if (logical?.type === 'DATE' || converted === 'DATE') return (value) => dayText(Number(toInteger(value)));
  if (converted === 'TIMESTAMP_MILLIS') return (value) => timestampText(toInteger(value), 3);
  if (converted === 'TIMESTAMP_MICROS') return (value) => timestampText(toInteger(value), 6);
  if (converted === 'TIME_MILLIS') return (value) => timestampText(toInteger(value), 3).slice(11);
  return converted === 'TIME_MICROS' ? (value) => timestampText(toInteger(value), 6).slice(11) : null;
}

function toInteger(value: unknown): bigint | number {
  if (typeof value === 'bigint' || typeof value === 'number') return value;
  throw new ParquetValueFault('has a kind of value that the loader does not know');
}

/** `YYYY-MM-DD HH:MM:SS[.f]` of units since 1970, of which 10^digits are a second; without the fraction if that is 0. */
function timestampText(units: bigint | number, digits: number): string {
  const perSecond = 10 ** digits;
  let seconds: number;
  let fraction: number;
  if (typeof units === 'number' || (units > -MAX_SAFE && units < MAX_SAFE)) {
    seconds = Math.floor(Number(units) / perSecond);
    fraction = Number(units) - seconds * perSecond;
  } else {
    const rest = ((units % BigInt(perSecond)) + BigInt(perSecond)) % BigInt(perSecond);
    seconds = Number((units - rest) / BigInt(perSecond));
    fraction = Number(rest);
  }
  const day = Math.floor(seconds / 86_400);
  const second = seconds - day * 86_400;
  const clock = `${pair(Math.floor(second / 3600))}:${pair(Math.floor(second / 60) % 60)}:${pair(second % 60)}`;
  return `${dayText(day)} ${clock}${fraction === 0 ? '' : `.${String(fraction).padStart(digits, '0')}`}`;
}

const MAX_SAFE = BigInt(Number.MAX_SAFE_INTEGER);
const pairs = Array.from({ length: 60 }, (_, number) => String(number).padStart(2, '0'));

function pair(number: number): string {
  return pairs[number] ?? '';
}

/** Texts of the days seen, since columns of dates repeat few of them. */
const dayTexts = new Map<number, string>();
const DAY_TEXTS_MAX = 20_000;

/** `YYYY-MM-DD` of a day since 1970. */
function dayText(day: number): string {
  const known = dayTexts.get(day);
  if (known !== undefined) return known;
  const date = new Date(day * 86_400_000);
  const year = date.getUTCFullYear();
  if (!(year >= 1 && year <= 9999)) throw new ParquetValueFault('is beyond the years 1 to 9999');
  const text = date.toISOString().slice(0, 10);
  if (dayTexts.size >= DAY_TEXTS_MAX) dayTexts.clear();
  dayTexts.set(day, text);
  return text;
}

function decimalText(value: unknown, scale: number): string {
  const unscaled = value instanceof Uint8Array ? signedBigEndian(value) : toInteger(value);
  const negative = unscaled < 0;
  const digits = (negative ? -unscaled : unscaled).toString().padStart(scale + 1, '0');
  const point = digits.length - scale;
  return `${negative ? '-' : ''}${digits.slice(0, point)}${scale === 0 ? '' : `.${digits.slice(point)}`}`;
}

function signedBigEndian(bytes: Uint8Array): bigint | number {
  if (bytes.length === 0) return 0;
  if (bytes.length > 6) return BigInt.asIntN(bytes.length * 8, BigInt(`0x${Buffer.from(bytes).toString('hex')}`));
  let value = ((bytes[0] ?? 0) << 24) >> 24;
  for (let i = 1; i < bytes.length; i++) value = value * 256 + (bytes[i] ?? 0);
  return value;
}

/** JSON of a nested value; numbers keep all their digits, moments are ISO texts, bytes base64. */
function jsonOf(value: unknown, node: SchemaTree): string {
  if (value === null || value === undefined) return 'null';
  if (Array.isArray(value) || ArrayBuffer.isView(value)) {
    const element = elementOf(node);
    // Lists of numbers come as typed arrays, bytes of a leaf too; only a leaf that does not repeat is bytes.
    if (value instanceof Uint8Array && node.children.length === 0) return leafJson(value, node);
    return `[${Array.from(value as ArrayLike<unknown>, (item) => jsonOf(item, element)).join(',')}]`; // arrays and typed arrays alike
  }
  if (node.children.length > 0 && typeof value === 'object') {
    const map = isMap(node) ? node.children[0]?.children[1] : undefined;
    const entries = Object.entries(value).map(([key, item]) => {
      const child = map ?? node.children.find((candidate) => candidate.element.name === key);
      if (child === undefined) throw new ParquetValueFault('has a structure that the loader does not know');
      return `${JSON.stringify(key)}:${jsonOf(item, child)}`;
    });
    return `{${entries.join(',')}}`;
  }
  return leafJson(value, node);
}

function leafJson(value: unknown, node: SchemaTree): string {
  if (isDecimal(node)) return decimalText(value, node.element.scale ?? 0);
  if (typeof value === 'boolean') return String(value);
  const print = timePrinter(node);
  if (print !== null) return JSON.stringify(print(value));
  if (typeof value === 'number' && !Number.isFinite(value))
    throw new ParquetValueFault('has a number that is not finite');
  if (typeof value === 'number' || typeof value === 'bigint') return String(value);
  if (value instanceof Uint8Array) return JSON.stringify(Buffer.from(value).toString('base64'));
  return JSON.stringify(String(value));
}

function isMap({ element, children }: SchemaTree): boolean {
  return (
    (element.converted_type === 'MAP' || element.logical_type?.type === 'MAP') && children[0]?.children.length === 2
  );
}

/** What a list holds: behind the repeated group of the three-level form, else the repeated node itself. */
function elementOf(node: SchemaTree): SchemaTree {
  const [child] = node.children;
  if (child?.element.repetition_type !== 'REPEATED') return node;
  const [only] = child.children;
  return child.children.length === 1 && only !== undefined ? only : child;
}

function decodeText(bytes: Uint8Array): string {
  try {
    return decoder.decode(bytes);
  } catch {
    throw new ParquetValueFault('is not UTF-8');
  }
}
