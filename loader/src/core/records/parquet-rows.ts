import { AppError } from '@tableset/common/errors.ts';
import { type FileMetaData, parquetMetadataAsync, parquetSchema, type SchemaTree } from 'hyparquet';
import { loaderError } from '../../errors.ts';
import type { EncodeCounts, EncodedChunk, EncodedRows, EncodeOptions, RandomAccessInput } from '../encoded-rows.ts';
import { RowEncoder } from '../encoding/row-encoder.ts';
import { planRows } from '../mapping.ts';
import { type ColumnCursor, FlatCursor, NestedCursor } from './parquet-columns.ts';
import { InputFault, ParquetFile } from './parquet-file.ts';
import {
  exactParsers,
  type ParquetConverter,
  ParquetValueFault,
  parquetConverter,
  withoutAnnotations,
} from './parquet-values.ts';
import { fieldFlags, type ReadState, type RecordReader, readStates, type Unescaped } from './record-reader.ts';

const TAB = 0x09;

/**
 * Opens a Parquet file. Columns are decoded page by page; 64-bit integers, decimals and the fractions of timestamps are exact, lists, structs
 * and maps become JSON.
 * @throws LOAD_SYNTAX for what is no readable Parquet file, and what planRows and the input throw
 */
export async function openParquet(input: RandomAccessInput, options: EncodeOptions): Promise<EncodedRows> {
  const counts: EncodeCounts = { bytes: input.byteLength, records: 0, rejected: 0 };
  if (input.byteLength === 0) return { plan: null, counts, chunks: noChunks(), close };
  const file = new ParquetFile(input);
  const metadata = await readable(input.name, () =>
    parquetMetadataAsync(file, { parsers: exactParsers, geoparquet: false }),
  );
  const nodes = parquetSchema(metadata).children;
  const fields = nodes.map((node) => node.element.name);
  const { table, columns, mapping = {}, targets = null } = options;
  const separator = options.separator ?? TAB;
  const plan = planRows({ source: input.name, table, columns, mapping, fields, separator, targets });
  const used = new Set(plan.columns.map((planned) => planned.field));
  const reader = new ParquetReader(file, metadata, nodes, used);
  const encoder = new RowEncoder(reader, plan, input.name, options, counts, -1);
  return { plan, counts, chunks: chunksOf(input.name, metadata, reader, encoder, options.signal), close };
}

/** Nothing is open between two readings. */
async function close(): Promise<void> {}

async function* noChunks(): AsyncGenerator<EncodedChunk, void> {}

async function* chunksOf(
  name: string,
  metadata: FileMetaData,
  reader: ParquetReader,
  encoder: RowEncoder,
  signal: AbortSignal | undefined,
): AsyncGenerator<EncodedChunk, void> {
  let groupStart = 0;
  for (const [index, group] of metadata.row_groups.entries()) {
    const groupRows = Number(group.num_rows);
    await readable(name, async () => reader.openGroup(index, groupStart));
    for (let row = 0; row < groupRows; ) {
      signal?.throwIfAborted();
      row += await readable(name, () => reader.load(groupRows - row));
      while (encoder.pump() === readStates.record) {
        const chunk = encoder.writer.take();
        if (chunk !== null) yield chunk;
      }
    }
    groupStart += groupRows;
  }
  const last = encoder.writer.take();
  if (last !== null) yield last;
}

/** Runs hyparquet and turns its plain errors into a coded one; errors that are coded, the caller's and the input's pass. */
async function readable<Result>(name: string, run: () => Promise<Result>): Promise<Result> {
  try {
    return await run();
  } catch (error) {
    if (error instanceof InputFault) throw error.cause;
    if (error instanceof AppError) throw error;
    const reason = error instanceof Error ? error.message : String(error);
    throw loaderError('LOAD_SYNTAX', `${name} cannot be read as Parquet: ${reason}`, { cause: error });
  }
}

/** Serves rows from the cursors of the columns that are fed. */
class ParquetReader implements RecordReader {
  readonly fields: readonly string[];
  scratch = Buffer.allocUnsafeSlow(1 << 16);
  readonly starts: Int32Array;
  readonly ends: Int32Array;
  readonly flags: Int32Array;
  readonly anyFlags = fieldFlags.scratch;
  readonly ascii = false;
  line = 0;
  readonly recordStart = 0;
  readonly recordEnd = 0;
  readonly lineEndBytes = 0;
  badReason = '';
  readonly #file: ParquetFile;
  readonly #raw: FileMetaData;
  readonly #used: readonly number[];
  readonly #converters: readonly ParquetConverter[];
  #cursors: ColumnCursor[] = [];
  #rows = 0;
  #length = 0;

  constructor(file: ParquetFile, metadata: FileMetaData, nodes: readonly SchemaTree[], used: ReadonlySet<number>) {
    this.#file = file;
    this.#raw = withoutAnnotations(metadata);
    this.fields = nodes.map((node) => node.element.name);
    this.#used = [...nodes.keys()].filter((index) => used.has(index));
    this.#converters = nodes.map(parquetConverter);
    this.starts = new Int32Array(nodes.length);
    this.ends = new Int32Array(nodes.length);
    this.flags = new Int32Array(nodes.length);
  }

  get bytes(): Buffer {
    return this.scratch;
  }

  /** Begins with a row group. */
  openGroup(index: number, groupStart: number): void {
    const root = parquetSchema(this.#raw);
    const group = this.#raw.row_groups[index];
    if (group === undefined) throw new Error(`there is no row group ${index}`);
    this.#cursors = this.#used.map((field) => {
      const node = root.children[field];
      if (node === undefined) throw new Error(`there is no column ${field}`);
      const flat = node.children.length === 0 && node.element.repetition_type !== 'REPEATED';
      return flat
        ? new FlatCursor(this.#file, root, node, group, exactParsers)
        : new NestedCursor(this.#file, this.#raw, node, group, groupStart);
    });
  }

  /** Makes rows available: at least one, at most so many. Returns how many. */
  async load(rowsMax: number): Promise<number> {
    let rows = rowsMax;
    for (const cursor of this.#cursors) {
      if (cursor.at >= cursor.values.length) await cursor.more();
      rows = Math.min(rows, cursor.values.length - cursor.at);
    }
    this.#rows = rows;
    return rows;
  }

  next(): ReadState {
    if (this.#rows === 0) return readStates.more;
    this.#rows--;
    this.line++;
    this.#length = 0;
    let bad = '';
    for (let i = 0; i < this.#cursors.length; i++) {
      const cursor = this.#cursors[i] as ColumnCursor; // in bounds by the condition
      const field = this.#used[i] as number; // a cursor for each
      try {
        this.#place(field, cursor.values[cursor.at++]);
      } catch (error) {
        if (!(error instanceof ParquetValueFault)) throw error;
        bad ||= `has a value of ${this.fields[field]} that ${error.message}`;
      }
    }
    this.badReason = bad;
    return bad === '' ? readStates.record : readStates.bad;
  }

  #place(field: number, value: unknown): void {
    this.starts[field] = this.#length;
    if (value === null || value === undefined) this.flags[field] = fieldFlags.isNull;
    else {
      const converter = this.#converters[field] as ParquetConverter; // one for every field of the file
      this.#append(converter.text(value));
      this.flags[field] = converter.flags | fieldFlags.scratch;
    }
    this.ends[field] = this.#length;
  }

  #append(text: string | Uint8Array): void {
    const needed = this.#length + text.length * 3;
    if (needed > this.scratch.length) {
      const grown = Buffer.allocUnsafeSlow(needed * 2);
      this.scratch.copy(grown, 0, 0, this.#length);
      this.scratch = grown;
    }
    if (typeof text === 'string') this.#length += this.scratch.write(text, this.#length);
    else {
      this.scratch.set(text, this.#length);
      this.#length += text.length;
    }
  }

  unescape(field: number): Unescaped {
    return { bytes: this.scratch, start: this.starts[field] ?? 0, end: this.ends[field] ?? 0 };
  }
}
