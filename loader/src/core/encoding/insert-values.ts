import type { EncodedChunk, ServerFlavour } from '../encoded-rows.ts';
import { ByteSink } from './byte-sink.ts';
import { serverExpression } from './server-expression.ts';

const LF = 0x0a;
const BACKSLASH = 0x5c;
const APOSTROPHE = 0x27;
const LETTER_N = 0x4e;
const COMMA = 0x2c;
const NULL_WORD = Buffer.from('NULL');

/** Part of a chunk as the VALUES of one INSERT. */
export interface InsertBatch {
  /** `('…',NULL,…),(…)` in utf8mb4; valid until the next batch is asked for. */
  readonly values: Buffer;
  /** Index in the chunk of the first row. */
  readonly firstRow: number;
  readonly rows: number;
}

export interface InsertLimits {
  /** Bytes of a batch at most, unless a single row has more; below the server's max_allowed_packet with room for the rest of the statement. */
  readonly bytesMax: number;
  readonly rowsMax: number;
}

/**
 * Turns a chunk into the VALUES of many-row INSERTs in one pass over its bytes. Load text and string literals share their escapes, so that
 * only apostrophes need another. The session must use utf8mb4 and not NO_BACKSLASH_ESCAPES.
 */
export function* insertValues(
  chunk: Omit<EncodedChunk, 'release'>,
  server: ServerFlavour,
  limits: InsertLimits,
): Generator<InsertBatch, void> {
  const writer = new LiteralWriter(chunk, server, Math.min(limits.bytesMax + 65_536, chunk.bytes.length * 2 + 65_536));
  let firstRow = 0;
  let rows = 0;
  while (firstRow + rows < chunk.rows) {
    const before = writer.length;
    writer.writeRow(rows === 0);
    rows++;
    if (writer.length > limits.bytesMax && rows > 1) {
      yield { values: writer.bytes(before), firstRow, rows: rows - 1 };
      writer.restartFrom(before);
      firstRow += rows - 1;
      rows = 1;
    }
    if (rows < limits.rowsMax && writer.length <= limits.bytesMax && firstRow + rows < chunk.rows) continue;
    yield { values: writer.bytes(writer.length), firstRow, rows };
    writer.restart();
    firstRow += rows;
    rows = 0;
  }
}

/** A safely quoted literal of one text, for single statements. */
export function insertLiteral(field: Buffer | null): Buffer {
  if (field === null) return NULL_WORD;
  const sink = new ByteSink(field.length * 2 + 2, APOSTROPHE);
  sink.byte(APOSTROPHE);
  sink.escaped(field, 0, field.length);
  sink.byte(APOSTROPHE);
  return sink.bytes.subarray(0, sink.length);
}

/** Bytes that end a plain stretch of a field: apostrophe, backslash, separator, line feed. */
function stopTable(separator: number): Uint8Array {
  const table = new Uint8Array(256);
  for (const byte of [APOSTROPHE, BACKSLASH, LF, separator]) table[byte] = 1;
  return table;
}

class LiteralWriter {
  readonly #sink: ByteSink;
  readonly #source: Buffer;
  readonly #separator: number;
  readonly #stops: Uint8Array;
  /** SQL before and behind each column's text, with the comma or parenthesis and the quote. */
  readonly #before: readonly Buffer[];
  readonly #after: readonly Buffer[];
  readonly #nulls: readonly Buffer[];
  #at = 0;

  constructor(chunk: Omit<EncodedChunk, 'release'>, server: ServerFlavour, capacity: number) {
    this.#source = chunk.bytes;
    this.#separator = chunk.plan.separator;
    this.#stops = stopTable(this.#separator);
    this.#sink = new ByteSink(capacity, this.#separator);
    const parts = chunk.plan.columns.map(({ column }) => serverExpression(column, server, "'\0'").split("'\0'"));
    this.#before = parts.map(([before = ''], i) => Buffer.from(`${i === 0 ? '(' : ','}${before}'`));
    this.#after = parts.map(([, after = '']) => Buffer.from(`'${after}`));
    this.#nulls = parts.map((_, i) => Buffer.from(`${i === 0 ? '(' : ','}NULL`));
  }

  get length(): number {
    return this.#sink.length;
  }

  bytes(end: number): Buffer {
    return this.#sink.bytes.subarray(0, end);
  }

  restart(): void {
    this.#sink.length = 0;
  }

  /** Begins anew with the row that begins, behind its comma, at an index. */
  restartFrom(index: number): void {
    const { bytes, length } = this.#sink;
    bytes.copyWithin(0, index + 1, length);
    this.#sink.length = length - index - 1;
  }

  writeRow(first: boolean): void {
    const sink = this.#sink;
    if (!first) sink.byte(COMMA);
    for (let column = 0; column < this.#before.length; column++) this.#writeField(column);
    sink.byte(0x29);
  }

  #writeField(column: number): void {
    const source = this.#source;
    const sink = this.#sink;
    if (source[this.#at] === BACKSLASH && source[this.#at + 1] === LETTER_N) {
      const word = this.#nulls[column] as Buffer; // one for every column
      sink.copy(word, 0, word.length);
      this.#at += 3;
      return;
    }
    const before = this.#before[column] as Buffer; // as above
    const after = this.#after[column] as Buffer; // as above
    sink.copy(before, 0, before.length);
    const stops = this.#stops;
    for (;;) {
      const start = this.#at;
      let at = start;
      while (stops[source[at] as number] === 0) at++; // every row ends in LF
      sink.copy(source, start, at);
      const stop = source[at] as number; // as above
      this.#at = at + 1;
      if (stop === APOSTROPHE) sink.byte(BACKSLASH);
      else if (stop !== BACKSLASH) break;
      sink.byte(stop);
      // The byte behind a backslash belongs to it, whatever it is.
      if (stop === BACKSLASH) sink.byte(source[this.#at++] as number); // an escape is never cut
    }
    sink.copy(after, 0, after.length);
  }
}
