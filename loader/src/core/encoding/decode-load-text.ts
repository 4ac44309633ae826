import type { EncodedChunk } from '../encoded-rows.ts';

const LF = 0x0a;
const BACKSLASH = 0x5c;
const LETTER_N = 0x4e;

/** One row of a chunk, unescaped. */
export interface DecodedRow {
  /** Index of the row in its chunk. */
  readonly index: number;
  /** Line of its record in the source. */
  readonly line: number;
  /** The text of each planned column, null for NULL. */
  readonly fields: readonly (Buffer | null)[];
}

/** The byte that an escape's letter means; other letters mean themselves. */
const meanings: Readonly<Record<number, number>> = { 48: 0, 110: LF, 114: 0x0d, 116: 0x09, 90: 0x1a };

/**
 * Reads a chunk's rows back, as LOAD DATA does. For the slow path, row by row; insertValues is the fast way to SQL.
 * @param first index of the first row wanted
 */
export function* decodeLoadText(chunk: EncodedChunk, first = 0): Generator<DecodedRow, void> {
  const { bytes, lines } = chunk;
  const { separator } = chunk.plan;
  let at = first === 0 ? 0 : rowStart(bytes, first);
  for (let index = first; index < chunk.rows; index++) {
    const fields: (Buffer | null)[] = [];
    let start = at;
    let escaped = false;
    for (;;) {
      const value = bytes[at] as number; // every row ends in LF
      if (value === BACKSLASH) {
        escaped = true;
        at += 2;
        continue;
      }
      if (value === separator || value === LF) {
        fields.push(escaped ? unescapeField(bytes, start, at) : bytes.subarray(start, at));
        at++;
        start = at;
        escaped = false;
        if (value === LF) break;
        continue;
      }
      at++;
    }
    yield { index, line: lines[index] ?? 0, fields };
  }
}

/** Where a row begins. Line feeds of values are escaped, so every one ends a row. */
export function rowStart(bytes: Buffer, row: number): number {
  let at = 0;
  for (let i = 0; i < row; i++) at = bytes.indexOf(LF, at) + 1;
  return at;
}

function unescapeField(bytes: Buffer, start: number, end: number): Buffer | null {
  // A backslash of a value is doubled, so this is NULL and nothing else.
  if (bytes[start] === BACKSLASH && bytes[start + 1] === LETTER_N) return null;
  const value = Buffer.allocUnsafe(end - start);
  let length = 0;
  for (let at = start; at < end; at++) {
    let byte = bytes[at] as number; // in bounds by end
    if (byte === BACKSLASH) {
      const letter = bytes[++at] as number; // an escape is never cut
      byte = meanings[letter] ?? letter;
    }
    value[length++] = byte;
  }
  return value.subarray(0, length);
}
