import { loaderError } from '../../errors.ts';
import type { ByteWindow } from './byte-window.ts';
import {
  classes,
  type DelimitedDialect,
  insideClasses,
  outsideClasses,
  undouble,
  unescapeTsv,
} from './delimited-dialect.ts';
import { fieldFlags, type ReadState, type RecordReader, readStates, type Unescaped } from './record-reader.ts';

const LF = 0x0a;
const CR = 0x0d;
const BACKSLASH = 0x5c;
const LETTER_N = 0x4e;
/** MySQL's limit of columns in a table; a header may have a few more fields to ignore. */
const FIELDS_MAX = 8192;

/**
 * Reads CSV (RFC 4180) and TSV (backslash escapes, no quotes) as a state machine over bytes. Lines end in LF or CR LF. A record whose fields
 * are not as many as the header's is rejected as a whole, so that columns never shift.
 */
export class DelimitedReader implements RecordReader {
  fields: readonly string[] = [];
  scratch = Buffer.alloc(0);
  readonly starts = new Int32Array(FIELDS_MAX);
  readonly ends = new Int32Array(FIELDS_MAX);
  readonly flags = new Int32Array(FIELDS_MAX);
  anyFlags = 0;
  line = 1;
  recordStart = 0;
  recordEnd = 0;
  lineEndBytes = 0;
  badReason = '';
  readonly #window: ByteWindow;
  readonly #dialect: DelimitedDialect;
  readonly #outside: Uint8Array;
  readonly #inside: Uint8Array;
  #fieldCount = 0;
  #expected = 0;
  #quotedFlags = 0;
  #innerLines = 0;
  #blankLines = 0;

  constructor(window: ByteWindow, dialect: DelimitedDialect) {
    this.#window = window;
    this.#dialect = dialect;
    this.#outside = outsideClasses(dialect);
    this.#inside = insideClasses(dialect);
  }

  get bytes(): Buffer {
    return this.#window.bytes;
  }

  get ascii(): boolean {
    return this.#window.ascii;
  }

  /** Sets the names of the fields, and with them how many a record has. */
  setFields(names: readonly string[]): void {
    this.fields = names;
    this.#expected = names.length;
  }

  /** Reads the first record as names; null if the window has no whole record yet, an empty list if the source has none. */
  readHeader(): string[] | null {
    const state = this.#scan();
    if (state === readStates.more) return null;
    if (state === readStates.end) return [];
    const names: string[] = [];
    for (let field = 0; field < this.#fieldCount; field++) {
      const flags = this.flags[field] ?? 0;
      if ((flags & (fieldFlags.nul | fieldFlags.strayQuote)) !== 0)
        throw this.#fault(`field ${field + 1} of the header has a stray quote or a NUL byte`);
      const value = this.unescape(field);
      if (typeof value === 'string') throw this.#fault(`field ${field + 1} of the header ${value}`);
      names.push(value.bytes.toString('utf8', value.start, value.end));
    }
    return names;
  }

  next(): ReadState {
    const window = this.#window;
    if (this.#expected > 1) {
      const first = window.bytes[window.position];
      if ((first === LF || first === CR) && !this.#skipBlankLines()) return readStates.more;
      if (this.#blankLines > 0 && window.position < window.end) {
        this.line = window.line - this.#blankLines--;
        this.badReason = 'is a blank line between records';
        return readStates.bad;
      }
    }
    const state = this.#scan();
    if (state !== readStates.record || this.#fieldCount === this.#expected) return state;
    const counts = `${this.#fieldCount} field${this.#fieldCount === 1 ? '' : 's'} instead of ${this.#expected}`;
    if (this.lineEndBytes === 0 && this.#fieldCount < this.#expected) {
      throw loaderError(
        'LOAD_RECORD_CUT',
        `${window.name} line ${this.line}: the source ends in a record with ${counts}`,
      );
    }
    this.badReason = `has ${counts}`;
    return readStates.bad;
  }

  /** Finds one record and moves the window behind it. */
  #scan(): ReadState {
    const window = this.#window;
    const { bytes, end } = window;
    let at = window.position;
    if (at >= end) return window.ended ? readStates.end : readStates.more;
    const { starts, ends, flags } = this;
    const outside = this.#outside;
    const quote = this.#dialect.quote;
    let count = 0;
    let any = 0;
    let bits = 0;
    let lineEnd = 1;
    this.#innerLines = 0;
    for (;;) {
      let start = at;
      let stop: number;
      if (bytes[at] === quote) {
        const closed = this.#scanQuoted(at);
        if (closed < 0) return readStates.more;
        start = at + 1;
        stop = closed - 1;
        at = closed;
        bits = this.#quotedFlags;
      } else {
        let kind = outside[bytes[at] as number] as number; // the line feed behind the end stops the loop
        // Most bytes are of a value, so they are passed in the tightest loop there is.
        while (kind === 0) kind = outside[bytes[++at] as number] as number; // as above
        bits = 0;
        if (kind > classes.cr) {
          at = this.#scanSpecial(at);
          if (at < 0) return readStates.more;
          bits = this.#quotedFlags;
        }
        stop = at;
        if (bits !== 0) bits |= this.#nullFlag(start, stop);
      }
      if (count < FIELDS_MAX) {
        starts[count] = start;
        ends[count] = stop;
        flags[count] = bits;
      }
      count++;
      any |= bits;
      const kind = outside[bytes[at] as number] as number; // at most the line feed behind the end
      if (kind === classes.delimiter) {
        at++;
        continue;
      }
      if (kind === classes.cr) {
        if (at + 1 >= end && !window.ended) return readStates.more;
        if (at + 1 >= end || bytes[at + 1] !== LF) throw this.#bareCarriageReturn();
        lineEnd = 2;
        break;
      }
      if (at < end) break;
      if (!window.ended) return readStates.more;
      lineEnd = 0;
      break;
    }
    this.recordStart = window.position;
    this.recordEnd = at + lineEnd;
    this.lineEndBytes = lineEnd;
    this.line = window.line;
    this.anyFlags = any;
    this.#fieldCount = count;
    window.line += this.#innerLines + 1;
    window.position = this.recordEnd;
    return readStates.record;
  }

  /**
   * Scans from an opening quote. The byte after the closing quote is checked, so that it is a delimiter or a line end.
   * @returns the index after the closing quote, -1 if the window ends before
   */
  #scanQuoted(open: number): number {
    const window = this.#window;
    const { bytes, end } = window;
    const inside = this.#inside;
    let bits: number = fieldFlags.quoted;
    let at = open + 1;
    for (;;) {
      let kind = inside[bytes[at] as number] as number; // the line feed behind the end stops the loop
      while (kind === 0) kind = inside[bytes[++at] as number] as number; // as above
      if (at >= end) {
        if (!window.ended) return -1;
        throw this.#fault('a quoted field is not closed before the source ends');
      }
      if (kind === classes.quote) {
        // A quote at the end of the window may be half of two; the line feed behind the end makes the caller read on either way.
        if (at + 1 >= end || bytes[at + 1] !== this.#dialect.quote) break;
        bits |= fieldFlags.escaped;
        at += 2;
        continue;
      }
      if (kind === classes.nul) bits |= fieldFlags.nul;
      else bits |= fieldFlags.special;
      if (kind === classes.lf) this.#innerLines++;
      at++;
    }
    const after = this.#outside[bytes[at + 1] as number] as number; // at most the line feed behind the end
    if (after !== classes.delimiter && after !== classes.lf && after !== classes.cr)
      throw this.#fault('text follows a closing quote');
    this.#quotedFlags = bits;
    return at + 1;
  }

  /** Scans on from the first byte of an unquoted field that is neither plain nor its end. Returns the field's end, -1 if the window ends before. */
  #scanSpecial(from: number): number {
    const { bytes, end } = this.#window;
    const outside = this.#outside;
    const tsv = this.#dialect.kind === 'tsv';
    let bits = 0;
    let at = from;
    for (;;) {
      const kind = outside[bytes[at] as number] as number; // the line feed behind the end stops the loop
      if (kind === classes.delimiter || kind === classes.lf || kind === classes.cr) break;
      if (kind === classes.quote) bits |= fieldFlags.strayQuote;
      else if (kind === classes.nul) bits |= fieldFlags.nul;
      else if (kind === classes.separator) bits |= fieldFlags.special;
      else if (kind === classes.backslash) {
        bits |= fieldFlags.special;
        if (tsv) {
          bits |= fieldFlags.escaped;
          if (at + 1 >= end) {
            if (!this.#window.ended) return -1;
            throw this.#fault('the source ends in a backslash');
          }
          // The escaped byte may be a tab or line feed itself, as the server writes them.
          if (bytes[at + 1] === LF) this.#innerLines++;
          at++;
        }
      }
      at++;
    }
    this.#quotedFlags = bits;
    return at;
  }

  #nullFlag(start: number, stop: number): number {
    if (stop - start !== 2 || this.bytes[start] !== BACKSLASH || this.bytes[start + 1] !== LETTER_N) return 0;
    return this.#dialect.backslashNull ? fieldFlags.isNull : fieldFlags.undecided;
  }

  /** Passes blank lines; false if the window ends inside of one. They are faults only if a record follows. */
  #skipBlankLines(): boolean {
    const window = this.#window;
    while (window.position < window.end) {
      const first = window.bytes[window.position];
      if (first !== LF && first !== CR) return true;
      if (first === CR) {
        if (window.position + 1 >= window.end && !window.ended) return false;
        if (window.position + 1 >= window.end || window.bytes[window.position + 1] !== LF)
          throw this.#bareCarriageReturn();
        window.position++;
      }
      window.position++;
      window.line++;
      this.#blankLines++;
    }
    return true;
  }

  unescape(field: number): Unescaped | string {
    const start = this.starts[field] as number; // the caller's field is within the record
    const end = this.ends[field] as number; // as above
    if (((this.flags[field] as number) & fieldFlags.escaped) === 0) return { bytes: this.bytes, start, end }; // as above
    if (this.scratch.length < end - start) this.scratch = Buffer.allocUnsafeSlow((end - start) * 2);
    return this.#dialect.kind === 'tsv'
      ? unescapeTsv(this.bytes, start, end, this.scratch)
      : undouble(this.bytes, start, end, this.#dialect.quote, this.scratch);
  }

  #bareCarriageReturn(): Error {
    return this.#fault('a carriage return without a line feed; lines must end in LF or CR LF');
  }

  #fault(reason: string): Error {
    const { name, line } = this.#window;
    return loaderError('LOAD_SYNTAX', `${name} line ${line}: ${reason}`);
  }
}
