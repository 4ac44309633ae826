import { isUtf8 } from 'node:buffer';
import type { EncodeCounts, EncodeOptions, Reject, RowPlan } from '../encoded-rows.ts';
import { fieldFlags, type ReadState, type RecordReader, readStates } from '../records/record-reader.ts';
import type { HotCheck, Problem } from '../values/codec.ts';
import { isBinaryType } from '../values/column-codec.ts';
import { withoutExponent } from '../values/decimal.ts';
import { passesHotCheck } from '../values/hot-checks.ts';
import { isSpatialType } from '../values/spatial.ts';
import { ChunkWriter } from './chunk-writer.ts';
import { type CompiledColumn, compileColumn } from './compiled-column.ts';
import { fieldPreview, flagFault, hasExponent } from './field-facts.ts';

const LF = 0x0a;
const NULL_TEXT = Buffer.from('\\N');

/** Flags of which any means that a field's bytes cannot be copied as they are. */
const notPlain = ~(fieldFlags.quoted | fieldFlags.number);

/**
 * Turns records into load text. Clean records, whose every field is already canonical, are not touched at all: they grow a run that is
 * copied in one piece. Everything else is written field by field, and a row with a fault is taken back and reported.
 */
export class RowEncoder {
  readonly writer: ChunkWriter;
  readonly #reader: RecordReader;
  readonly #options: EncodeOptions;
  readonly #plan: RowPlan;
  readonly #columns: readonly CompiledColumn[];
  readonly #hot: readonly (HotCheck | null)[];
  readonly #fieldOf: Int32Array;
  readonly #counts: EncodeCounts;
  readonly #source: string;
  readonly #chunkBytes: number;
  /** True if a clean record's bytes are its load text. */
  readonly #verbatim: boolean;
  readonly #nullText: Buffer;
  #runStart = 0;
  #runEnd = 0;

  constructor(
    reader: RecordReader,
    plan: RowPlan,
    source: string,
    options: EncodeOptions,
    counts: EncodeCounts,
    delimiter: number,
  ) {
    this.#reader = reader;
    this.#options = options;
    this.#plan = plan;
    this.#counts = counts;
    this.#source = source;
    this.#chunkBytes = options.chunkBytes ?? 1 << 20;
    this.#columns = plan.columns.map((planned) => compileColumn(planned, options, plan.separator));
    this.#hot = this.#columns.map((column) => column.hot);
    this.#fieldOf = Int32Array.from(plan.columns, (planned) => planned.field);
    this.#verbatim =
      delimiter === plan.separator &&
      plan.columns.length === plan.fields.length &&
      plan.columns.every((planned, i) => planned.field === i);
    const nullText = options.dialect?.nullText ?? '';
    this.#nullText = Buffer.from(nullText === '\\N' ? '' : nullText);
    this.writer = new ChunkWriter(source, plan, this.#chunkBytes);
  }

  /**
   * Encodes records until a chunk is full or the reader has no more.
   * @returns `record` if a chunk is full, else the state that the reader ended in; the reader's window may be changed after every return
   */
  pump(): ReadState {
    const reader = this.#reader;
    const { sink } = this.writer;
    for (;;) {
      const state = reader.next();
      if (state === readStates.record) {
        this.#counts.records++;
        if (this.#verbatim && reader.anyFlags === 0 && this.#isClean()) this.#extendRun();
        else this.#encodeRecord();
        if (sink.length + this.#runEnd - this.#runStart < this.#chunkBytes) continue;
        this.#flushRun();
        return state;
      }
      if (state !== readStates.bad) {
        this.#flushRun();
        return state;
      }
      this.#counts.records++;
      this.#reject(null, reader.badReason, null);
    }
  }

  /** True if every field passes its hot check; what an empty field or the null text means is decided elsewhere. */
  #isClean(): boolean {
    const { bytes, starts, ends, ascii } = this.#reader;
    const hot = this.#hot;
    for (let i = 0; i < hot.length; i++) {
      const check = hot[i] as HotCheck | null; // one for every column
      const start = starts[i] as number; // the record has every field of the plan
      const end = ends[i] as number; // as above
      if (start === end) return false;
      if (check !== null && passesHotCheck(check, bytes, start, end, ascii)) continue;
      const column = this.#columns[i] as CompiledColumn; // one for every column
      if (column.transform !== null || !column.codec.isCanonical(bytes, start, end)) return false;
    }
    return this.#nullText.length === 0 || !this.#hasNullText();
  }

  #hasNullText(): boolean {
    const { starts, ends } = this.#reader;
    for (let i = 0; i < this.#hot.length; i++) {
      if (this.#isNullText(starts[i] as number, ends[i] as number)) return true; // the record has every field of the plan
    }
    return false;
  }

  #isNullText(start: number, end: number): boolean {
    const text = this.#nullText;
    if (text.length === 0 || text.length !== end - start) return false;
    return text.compare(this.#reader.bytes, start, end) === 0;
  }

  #extendRun(): void {
    const reader = this.#reader;
    if (reader.lineEndBytes !== 1) {
      this.#flushRun();
      const { sink } = this.writer;
      sink.copy(reader.bytes, reader.recordStart, reader.recordEnd - reader.lineEndBytes);
      sink.byte(LF);
    } else {
      if (this.#runEnd !== reader.recordStart || this.#runEnd === this.#runStart) {
        this.#flushRun();
        this.#runStart = reader.recordStart;
      }
      this.#runEnd = reader.recordEnd;
    }
    this.writer.addRow(reader.line);
  }

  #flushRun(): void {
    if (this.#runEnd > this.#runStart) this.writer.sink.copy(this.#reader.bytes, this.#runStart, this.#runEnd);
    this.#runStart = 0;
    this.#runEnd = 0;
  }

  #encodeRecord(): void {
    this.#flushRun();
    const { sink } = this.writer;
    const before = sink.length;
    const { separator } = this.#plan;
    const reader = this.#reader;
    for (let i = 0; i < this.#columns.length; i++) {
      if (i > 0) sink.byte(separator);
      const problem = this.#encodeField(i);
      if (problem !== null) {
        sink.length = before;
        this.#reject(i, problem, fieldPreview(reader, this.#fieldOf[i] as number));
        return;
      }
    }
    sink.byte(LF);
    this.writer.addRow(this.#reader.line);
  }

  #encodeField(index: number): Problem | null {
    const field = this.#fieldOf[index] as number; // one for every column
    const column = this.#columns[index] as CompiledColumn; // as above
    const { sink } = this.writer;
    if (field < 0) {
      const constant = column.constant as Buffer; // the plan gives a field to every column without a constant
      sink.copy(constant, 0, constant.length);
      return null;
    }
    const reader = this.#reader;
    const start = reader.starts[field] as number; // the record has every field of the plan
    const end = reader.ends[field] as number; // as above
    const flags = reader.flags[field] as number; // as above
    if ((flags & notPlain) === 0 && start < end) {
      const check = column.hot;
      if (
        check !== null &&
        passesHotCheck(check, reader.bytes, start, end, reader.ascii) &&
        !((flags & fieldFlags.quoted) === 0 && this.#isNullText(start, end))
      ) {
        sink.copy(reader.bytes, start, end);
        return null;
      }
    }
    return this.#encodeOther(column, field, start, end, flags);
  }

  /** A field that is NULL, empty, escaped, transformed, or not known to be canonical. */
  #encodeOther(column: CompiledColumn, field: number, start: number, end: number, flags: number): Problem | null {
    const reader = this.#reader;
    const fault = flagFault(flags);
    if (fault !== null) return fault;
    const quoted = (flags & fieldFlags.quoted) !== 0;
    if ((flags & fieldFlags.isNull) !== 0 || (!quoted && this.#isNullText(start, end)))
      return this.#encodeNull(column, (flags & fieldFlags.missing) !== 0);
    if (start === end && column.transform === null)
      return this.#encodeEmpty(column, quoted ? column.quotedEmpty : column.unquotedEmpty);
    const bytes = (flags & fieldFlags.scratch) !== 0 ? reader.scratch : reader.bytes;
    if (column.transform !== null) return this.#encodeTransformed(column, field, quoted);
    if ((flags & fieldFlags.escaped) !== 0) {
      const value = reader.unescape(field);
      return typeof value === 'string' ? value : this.#write(column, value.bytes, value.start, value.end);
    }
    if ((flags & (fieldFlags.json | fieldFlags.boolean | fieldFlags.number)) !== 0)
      return this.#encodeToken(column, bytes, start, end, flags);
    if ((flags & fieldFlags.binary) !== 0) return this.#encodeBinary(column, bytes, start, end);
    return this.#write(column, bytes, start, end);
  }

  #encodeNull(column: CompiledColumn, missing: boolean): Problem | null {
    if (!column.planned.column.nullable)
      return missing ? 'is missing, and the column is NOT NULL' : 'is NULL, and the column is NOT NULL';
    this.writer.sink.copy(NULL_TEXT, 0, 2);
    return null;
  }

  #encodeEmpty(column: CompiledColumn, rule: 'null' | 'text' | 'reject'): Problem | null {
    if (rule === 'null') return this.#encodeNull(column, false);
    return rule === 'reject'
      ? `is empty, which is no ${column.planned.column.columnType}`
      : this.#write(column, NULL_TEXT, 0, 0);
  }

  #encodeTransformed(column: CompiledColumn, field: number, quoted: boolean): Problem | null {
    const reader = this.#reader;
    const flags = reader.flags[field] as number; // the record has every field of the plan
    if ((flags & fieldFlags.json) !== 0 && !column.takesJson)
      return 'is an array or object, which only JSON columns take';
    const source =
      (flags & fieldFlags.scratch) !== 0
        ? { bytes: reader.scratch, start: reader.starts[field] as number, end: reader.ends[field] as number } // as above
        : reader.unescape(field);
    if (typeof source === 'string') return source;
    const transformed = (column.transform as NonNullable<CompiledColumn['transform']>)(
      source.bytes.toString('utf8', source.start, source.end),
    ); // the caller has seen it
    if ('problem' in transformed) return transformed.problem;
    if ('isNull' in transformed) return this.#encodeNull(column, false);
    if (transformed.text === '') return this.#encodeEmpty(column, quoted ? column.quotedEmpty : column.unquotedEmpty);
    const text = Buffer.from(transformed.text);
    return this.#write(column, text, 0, text.length);
  }

  /** A JSON token, or what a Parquet reader gives as one. */
  #encodeToken(column: CompiledColumn, bytes: Buffer, start: number, end: number, flags: number): Problem | null {
    if (column.takesJson) return this.#write(column, bytes, start, end);
    if ((flags & fieldFlags.json) !== 0) return 'is an array or object, which only JSON columns take';
    if ((flags & fieldFlags.boolean) !== 0) {
      if (!column.takesBoolean)
        return 'is a boolean; TINYINT(1) and BIT(1) take it, others by a mapping of type boolean';
      this.writer.sink.byte(bytes[start] === 0x74 ? 0x31 : 0x30);
      return null;
    }
    if (column.exactNumber && hasExponent(bytes, start, end)) {
      const plain = withoutExponent(bytes.toString('latin1', start, end));
      if (plain === null) return 'is a number of more than 400 digits';
      const text = Buffer.from(plain);
      return this.#write(column, text, 0, text.length);
    }
    return this.#write(column, bytes, start, end);
  }

  /** Raw bytes go to binary columns as their hex, which their codec reads with 0x before it, and to text columns where a mapping says that they are text. */
  #encodeBinary(column: CompiledColumn, bytes: Buffer, start: number, end: number): Problem | null {
    const { dataType } = column.planned.column;
    if (!isBinaryType(dataType) && !isSpatialType(dataType)) {
      if (column.planned.mapping?.type !== 'text')
        return 'is bytes without a type; a mapping of type text reads them as text';
      return isUtf8(bytes.subarray(start, end)) ? this.#write(column, bytes, start, end) : 'is not UTF-8';
    }
    if (column.planned.mapping?.type !== undefined) return this.#write(column, bytes, start, end);
    const text = Buffer.from(`0x${bytes.toString('hex', start, end)}`);
    return this.#write(column, text, 0, text.length);
  }

  #write(column: CompiledColumn, bytes: Buffer, start: number, end: number): Problem | null {
    const { sink } = this.writer;
    const { codec, hot } = column;
    if (hot !== null && start < end && passesHotCheck(hot, bytes, start, end, false)) {
      sink.escaped(bytes, start, end);
      return null;
    }
    if (start < end && codec.isCanonical(bytes, start, end)) {
      sink.escaped(bytes, start, end);
      return null;
    }
    return codec.write(bytes, start, end, sink);
  }

  #reject(index: number | null, reason: string, value: string | null): void {
    const column = index === null ? undefined : this.#columns[index];
    const reject: Reject = {
      source: this.#source,
      line: this.#reader.line,
      column: column?.planned.column.name ?? null,
      field: column?.planned.fieldName ?? null,
      reason,
      value,
    };
    this.#counts.rejected++;
    this.#options.onReject(reject);
  }
}
