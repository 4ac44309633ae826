const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const COMMA = 0x2c;
const COLON = 0x3a;

/** A place where bytes are not JSON. Positions are indexes into the buffer given. */
export class JsonFault extends Error {
  readonly at: number;

  constructor(at: number, reason: string) {
    super(reason);
    this.at = at;
  }
}

/** Thrown when the bytes end before the value does. */
export class JsonIncomplete extends Error {}

const incomplete = new JsonIncomplete('the JSON ends before it is complete');

export interface JsonScanOptions {
  /** Arrays and objects within each other at most. */
  readonly depthMax: number;
  /** Asked for every number; throws JsonFault for what it refuses. */
  readonly onNumber?: (bytes: Buffer, start: number, end: number) => void;
}

/**
 * Checks one JSON value (RFC 8259) and finds its end. Beyond the grammar it refuses keys that occur twice in one object, since a reader would
 * keep only one, lone surrogates, which are no characters, and deep nesting.
 * @param at index of the value's first byte
 * @param end index after the last byte at hand
 * @returns the index after the value
 * @throws JsonFault, JsonIncomplete
 */
export function scanJsonValue(bytes: Buffer, at: number, end: number, options: JsonScanOptions, depth = 0): number {
  if (at >= end) throw incomplete;
  switch (bytes[at]) {
    case QUOTE:
      return scanJsonString(bytes, at, end);
    case 0x7b:
      return scanObject(bytes, at, end, options, depth + 1);
    case 0x5b:
      return scanArray(bytes, at, end, options, depth + 1);
    case 0x74:
      return scanWord(bytes, at, end, 'true');
    case 0x66:
      return scanWord(bytes, at, end, 'false');
    case 0x6e:
      return scanWord(bytes, at, end, 'null');
    default:
      return scanNumber(bytes, at, end, options);
  }
}

/** The index of the next byte that is not white space. */
export function skipJsonSpace(bytes: Buffer, at: number, end: number): number {
  let i = at;
  while (i < end && (bytes[i] === 0x20 || bytes[i] === 0x0a || bytes[i] === 0x0d || bytes[i] === 0x09)) i++;
  return i;
}

function scanObject(bytes: Buffer, start: number, end: number, options: JsonScanOptions, depth: number): number {
  checkDepth(start, options, depth);
  const keys = new Set<string>();
  let at = skipJsonSpace(bytes, start + 1, end);
  if (at < end && bytes[at] === 0x7d) return at + 1;
  for (;;) {
    const keyEnd = scanJsonString(bytes, at, end);
    const key = decodeJsonString(bytes, at, keyEnd);
    if (keys.has(key))
      throw new JsonFault(at, `the key ${JSON.stringify(key.slice(0, 80))} occurs twice in one object`);
    keys.add(key);
    at = skipJsonSpace(bytes, keyEnd, end);
    expectByte(bytes, at, end, COLON, '":"');
    at = skipJsonSpace(bytes, at + 1, end);
    at = skipJsonSpace(bytes, scanJsonValue(bytes, at, end, options, depth), end);
    if (at < end && bytes[at] === 0x7d) return at + 1;
    expectByte(bytes, at, end, COMMA, '"," or "}"');
    at = skipJsonSpace(bytes, at + 1, end);
  }
}

function scanArray(bytes: Buffer, start: number, end: number, options: JsonScanOptions, depth: number): number {
  checkDepth(start, options, depth);
  let at = skipJsonSpace(bytes, start + 1, end);
  if (at < end && bytes[at] === 0x5d) return at + 1;
  for (;;) {
    at = skipJsonSpace(bytes, scanJsonValue(bytes, at, end, options, depth), end);
    if (at < end && bytes[at] === 0x5d) return at + 1;
    expectByte(bytes, at, end, COMMA, '"," or "]"');
    at = skipJsonSpace(bytes, at + 1, end);
  }
}

function checkDepth(at: number, options: JsonScanOptions, depth: number): void {
  if (depth > options.depthMax) throw new JsonFault(at, `is nested deeper than ${options.depthMax} levels`);
}

/** Throws unless the byte is there. */
export function expectByte(bytes: Buffer, at: number, end: number, wanted: number, name: string): void {
  if (at >= end) throw incomplete;
  if (bytes[at] !== wanted) throw new JsonFault(at, `is not JSON: ${name} expected`);
}

/** Checks a string literal and returns the index after its closing quote. */
export function scanJsonString(bytes: Buffer, start: number, end: number): number {
  expectByte(bytes, start, end, QUOTE, 'a string');
  for (let at = start + 1; at < end; ) {
    const value = bytes[at] as number; // in bounds by the condition
    if (value === QUOTE) return at + 1;
    if (value === BACKSLASH) at = scanEscape(bytes, at, end);
    else if (value < 0x20) throw new JsonFault(at, 'is not JSON: control character in a string');
    else at++;
  }
  throw incomplete;
}

function scanEscape(bytes: Buffer, start: number, end: number): number {
  if (start + 1 >= end) throw incomplete;
  const letter = bytes[start + 1] as number; // in bounds by the check before
  if (letter !== 0x75) {
    if (simpleEscapes[letter] === undefined) throw new JsonFault(start, 'is not JSON: unknown escape in a string');
    return start + 2;
  }
  const unit = scanHexUnit(bytes, start, end);
  if (unit >= 0xdc00 && unit <= 0xdfff) throw new JsonFault(start, 'has a lone surrogate, which is no character');
  if (unit < 0xd800 || unit > 0xdbff) return start + 6;
  if (start + 6 >= end) throw incomplete;
  if (start + 7 >= end && bytes[start + 6] === BACKSLASH) throw incomplete;
  const paired = bytes[start + 6] === BACKSLASH && bytes[start + 7] === 0x75;
  const low = paired ? scanHexUnit(bytes, start + 6, end) : 0;
  if (low < 0xdc00 || low > 0xdfff) throw new JsonFault(start, 'has a lone surrogate, which is no character');
  return start + 12;
}

function scanHexUnit(bytes: Buffer, start: number, end: number): number {
  if (start + 6 > end) throw incomplete;
  const text = bytes.toString('latin1', start + 2, start + 6);
  if (!/^[0-9a-fA-F]{4}$/.test(text))
    throw new JsonFault(start, 'is not JSON: four hexadecimal digits expected after \\u');
  return Number.parseInt(text, 16);
}

/** Letter of an escape to the byte it stands for. */
const simpleEscapes: Readonly<Record<number, number>> = {
  34: 0x22,
  92: 0x5c,
  47: 0x2f,
  98: 0x08,
  102: 0x0c,
  110: 0x0a,
  114: 0x0d,
  116: 0x09,
};

function scanWord(bytes: Buffer, at: number, end: number, word: string): number {
  for (let i = 0; i < word.length; i++) {
    if (at + i >= end) throw incomplete;
    if (bytes[at + i] !== word.charCodeAt(i)) throw new JsonFault(at, 'is not JSON: a value expected');
  }
  return at + word.length;
}

function scanNumber(bytes: Buffer, start: number, end: number, options: JsonScanOptions): number {
  let at = start;
  if (bytes[at] === 0x2d) at++;
  const integerStart = at;
  at = skipDigits(bytes, at, end);
  if (at === integerStart) {
    if (at >= end) throw incomplete;
    throw new JsonFault(start, 'is not JSON: a value expected');
  }
  if (bytes[integerStart] === 0x30 && at - integerStart > 1)
    throw new JsonFault(start, 'is not JSON: a number with a leading zero');
  if (at < end && bytes[at] === 0x2e) at = requireDigits(bytes, start, at + 1, end);
  if (at < end && (bytes[at] === 0x65 || bytes[at] === 0x45)) {
    at++;
    if (at < end && (bytes[at] === 0x2b || bytes[at] === 0x2d)) at++;
    at = requireDigits(bytes, start, at, end);
  }
  options.onNumber?.(bytes, start, at);
  return at;
}

function skipDigits(bytes: Buffer, start: number, end: number): number {
  let at = start;
  while (at < end && ((bytes[at] as number) - 0x30) >>> 0 <= 9) at++; // in bounds by the condition
  return at;
}

function requireDigits(bytes: Buffer, numberStart: number, start: number, end: number): number {
  const at = skipDigits(bytes, start, end);
  if (at > start) return at;
  if (at >= end) throw incomplete;
  throw new JsonFault(numberStart, 'is not JSON: a digit expected in a number');
}

/** The text of a string literal that scanJsonString has checked. */
export function decodeJsonString(bytes: Buffer, start: number, end: number): string {
  if (bytes.subarray(start, end).indexOf(BACKSLASH) < 0) return bytes.toString('utf8', start + 1, end - 1);
  // The literal has been checked, so that JSON.parse gives a string.
  return JSON.parse(bytes.toString('utf8', start, end)) as string;
}
