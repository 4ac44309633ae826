import { loaderError } from '../../errors.ts';
import type { LateKeyRule } from '../json-fields.ts';
import {
  decodeJsonString,
  expectByte,
  JsonFault,
  JsonIncomplete,
  type JsonScanOptions,
  scanJsonString,
  scanJsonValue,
  skipJsonSpace,
} from '../values/json-scanner.ts';
import { type ByteWindow, countLines } from './byte-window.ts';
import { fieldFlags, type ReadState, type RecordReader, readStates, type Unescaped } from './record-reader.ts';

const LF = 0x0a;
const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const scanOptions: JsonScanOptions = { depthMax: 100 };

/**
 * Reads JSON Lines (one object a line) or a JSON array of objects, one object at a time. Numbers keep their source text. A fault of
 * the syntax ends the source: what comes after it cannot be trusted.
 */
export class JsonReader implements RecordReader {
  fields: readonly string[] = [];
  scratch = Buffer.alloc(0);
  starts = new Int32Array(0);
  ends = new Int32Array(0);
  flags = new Int32Array(0);
  anyFlags: number = fieldFlags.quoted;
  line = 1;
  readonly recordStart = 0;
  readonly recordEnd = 0;
  readonly lineEndBytes = 0;
  badReason = '';
  readonly #window: ByteWindow;
  readonly #array: boolean;
  #names: Buffer[] = [];
  #indexes = new Map<string, number>();
  #rawFields = new Uint8Array(0);
  #lateKey: LateKeyRule = () => null;
  #state: 'start' | 'first' | 'next' | 'closed';

  constructor(window: ByteWindow, format: 'json' | 'jsonl') {
    this.#window = window;
    this.#array = format === 'json';
    this.#state = this.#array ? 'start' : 'next';
  }

  get bytes(): Buffer {
    return this.#window.bytes;
  }

  get ascii(): boolean {
    return this.#window.ascii;
  }

  /** The keys of the first record, which is not consumed; null if the window does not hold it yet, an empty list if there is no record. */
  readKeys(): string[] | null {
    const at = this.#attempt(() => this.#recordStart());
    if (at === null) return null;
    if (at < 0) return [];
    const keys: string[] = [];
    const whole = this.#attempt(() =>
      this.#readObject(at, (keyStart, keyEnd) => {
        keys.push(decodeJsonString(this.bytes, keyStart, keyEnd));
        return -1;
      }),
    );
    return whole === null ? null : keys;
  }

  /**
   * Sets the names of the fields.
   * @param lateKey refuses or passes over every other key
   */
  setFields(names: readonly string[], lateKey: LateKeyRule): void {
    this.fields = names;
    this.#names = names.map((name) => Buffer.from(JSON.stringify(name)));
    this.#indexes = new Map(names.map((name, index) => [name, index]));
    this.#lateKey = lateKey;
    this.starts = new Int32Array(names.length);
    this.ends = new Int32Array(names.length);
    this.flags = new Int32Array(names.length);
    this.#rawFields = new Uint8Array(names.length);
  }

  /** The field feeds JSON columns alone: its strings stay JSON. */
  setRawField(field: number): void {
    this.#rawFields[field] = 1;
  }

  next(): ReadState {
    const window = this.#window;
    const at = this.#attempt(() => this.#recordStart());
    if (at === null) return readStates.more;
    if (at < 0) return readStates.end;
    this.flags.fill(fieldFlags.isNull | fieldFlags.missing);
    this.line = window.line + countLines(this.bytes, window.position, at);
    const end = this.#attempt(() =>
      this.#recordEnd(this.#readObject(at, (keyStart, keyEnd, field) => this.#fieldOf(keyStart, keyEnd, field))),
    );
    if (end === null) return readStates.more;
    this.#advance(end);
    this.#state = 'next';
    return readStates.record;
  }

  /** Moves the window over separators to the next object; -1 at the end of the source. */
  #recordStart(): number {
    const window = this.#window;
    this.#skipSpace();
    if (this.#state === 'start') {
      if (window.position >= window.end) return this.#atEnd(false);
      expectByte(
        this.bytes,
        window.position,
        window.end,
        0x5b,
        'an array of objects (for one object a line the format is jsonl)',
      );
      window.position++;
      this.#state = 'first';
      this.#skipSpace();
    }
    if (window.position >= window.end) return this.#atEnd(this.#array && this.#state !== 'closed');
    const byte = this.bytes[window.position];
    if (this.#state === 'closed') throw new JsonFault(window.position, 'is not JSON: text after the array');
    if (!this.#array) return window.position;
    if (byte === 0x5d) {
      window.position++;
      this.#state = 'closed';
      return this.#recordStart();
    }
    if (this.#state === 'first') return window.position;
    expectByte(this.bytes, window.position, window.end, 0x2c, '"," or "]"');
    return skipJsonSpace(this.bytes, window.position + 1, window.end);
  }

  #atEnd(cut: boolean): number {
    if (!this.#window.ended || cut) throw new JsonIncomplete();
    return -1;
  }

  /** In JSON Lines a record ends with its line. */
  #recordEnd(end: number): number {
    if (this.#array) return end;
    const { bytes } = this;
    let at = end;
    while (at < this.#window.end && (bytes[at] === 0x20 || bytes[at] === 0x09 || bytes[at] === 0x0d)) at++;
    if (at >= this.#window.end) {
      if (!this.#window.ended) throw new JsonIncomplete();
      return at;
    }
    if (bytes[at] !== LF) throw new JsonFault(at, 'is not JSON Lines: text after the object');
    return at + 1;
  }

  /**
   * Reads an object and places its values.
   * @param onKey gets the key's literal and the field expected next, gives the field that takes the value or -1 to pass it over
   */
  #readObject(start: number, onKey: (keyStart: number, keyEnd: number, expected: number) => number): number {
    const { bytes } = this;
    const { end } = this.#window;
    expectByte(bytes, start, end, 0x7b, 'an object');
    let expected = 0;
    let at = skipJsonSpace(bytes, start + 1, end);
    if (at < end && bytes[at] === 0x7d) return at + 1;
    for (;;) {
      const keyEnd = scanJsonString(bytes, at, end);
      const field = onKey(at, keyEnd, expected);
      at = skipJsonSpace(bytes, keyEnd, end);
      expectByte(bytes, at, end, 0x3a, '":"');
      at = skipJsonSpace(bytes, at + 1, end);
      at = field < 0 ? scanJsonValue(bytes, at, end, scanOptions) : this.#readValue(at, end, field);
      expected = field + 1;
      at = skipJsonSpace(bytes, at, end);
      if (at < end && bytes[at] === 0x7d) return at + 1;
      expectByte(bytes, at, end, 0x2c, '"," or "}"');
      at = skipJsonSpace(bytes, at + 1, end);
    }
  }

  /** Finds the field of a key; keys mostly come in the same order, so the expected one is compared first. */
  #fieldOf(keyStart: number, keyEnd: number, expected: number): number {
    const name = this.#names[expected];
    let field = expected;
    if (name === undefined || name.length !== keyEnd - keyStart || name.compare(this.bytes, keyStart, keyEnd) !== 0) {
      const key = decodeJsonString(this.bytes, keyStart, keyEnd);
      const found = this.#indexes.get(key);
      if (found === undefined) {
        const refusal = this.#lateKey(key, () => this.#where(keyStart));
        if (refusal === null) return -1;
        throw refusal;
      }
      field = found;
    }
    if (((this.flags[field] as number) & fieldFlags.missing) === 0) {
      throw new JsonFault(keyStart, `the key ${JSON.stringify(this.fields[field])} occurs twice in one record`);
    }
    return field;
  }

  #readValue(start: number, end: number, field: number): number {
    const { bytes } = this;
    let flags = 0;
    let from = start;
    let to: number;
    let stop: number;
    const first = bytes[start];
    if (first === QUOTE && this.#rawFields[field] === 0) {
      stop = plainStringEnd(bytes, start, end);
      flags = fieldFlags.quoted;
      if (stop < 0) {
        stop = scanJsonString(bytes, start, end);
        flags |= fieldFlags.escaped | fieldFlags.special;
      }
      from = start + 1;
      to = stop - 1;
    } else {
      stop = scanJsonValue(bytes, start, end, scanOptions);
      to = stop;
      if (first === 0x6e) flags = fieldFlags.isNull;
      else if (this.#rawFields[field] === 1 || first === 0x7b || first === 0x5b)
        flags = fieldFlags.json | fieldFlags.special;
      else flags = first === 0x74 || first === 0x66 ? fieldFlags.boolean : fieldFlags.number;
    }
    this.starts[field] = from;
    this.ends[field] = to;
    this.flags[field] = flags;
    return stop;
  }

  unescape(field: number): Unescaped {
    const start = this.starts[field] as number; // the caller's field is within the record
    const end = this.ends[field] as number; // as above
    if (((this.flags[field] as number) & fieldFlags.escaped) === 0) return { bytes: this.bytes, start, end }; // as above
    if (this.scratch.length < end - start) this.scratch = Buffer.allocUnsafeSlow((end - start) * 2);
    const length = this.scratch.write(decodeJsonString(this.bytes, start - 1, end + 1), 0);
    return { bytes: this.scratch, start: 0, end: length };
  }

  #skipSpace(): void {
    this.#advance(skipJsonSpace(this.bytes, this.#window.position, this.#window.end));
  }

  #advance(to: number): void {
    const window = this.#window;
    window.line += countLines(window.bytes, window.position, to);
    window.position = to;
  }

  #where(at: number): string {
    return `${this.#window.name} line ${this.#window.line + countLines(this.bytes, this.#window.position, at)}`;
  }

  /** Runs a step over the window; null if the window ends too early. */
  #attempt<Result>(step: () => Result): Result | null {
    const window = this.#window;
    try {
      return step();
    } catch (error) {
      if (error instanceof JsonFault) throw loaderError('LOAD_SYNTAX', `${this.#where(error.at)}: ${error.message}`);
      if (!(error instanceof JsonIncomplete)) throw error;
      if (!window.ended) return null;
      throw loaderError('LOAD_RECORD_CUT', `${window.name} line ${window.line}: the source ends before its JSON does`);
    }
  }
}

/** The index after a string literal without escapes or control characters; -1 for others and for one that the window cuts. */
function plainStringEnd(bytes: Buffer, start: number, end: number): number {
  for (let at = start + 1; at < end; at++) {
    const value = bytes[at] as number; // in bounds by the condition
    if (value === QUOTE) return at + 1;
    if (value === BACKSLASH || value < 0x20) return -1;
  }
  return -1;
}
