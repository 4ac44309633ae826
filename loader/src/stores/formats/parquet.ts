import { hash } from 'node:crypto';
import { gzipSync, zstdCompressSync } from 'node:zlib';
import { type FileMetaData, parquetMetadataAsync, parquetSchema, type RowGroup, type SchemaElement } from 'hyparquet';
import { ByteWriter } from 'hyparquet-writer/src/bytewriter.js';
import { writeMetadata } from 'hyparquet-writer/src/metadata.js';
import type { ArchivedTable } from '../../core/archive/archive-set.ts';
import type { CanonicalRow, Cell } from '../../core/archive/canonical.ts';
import type { ManifestTable } from '../../core/archive/manifest.ts';
import type { RandomAccessInput } from '../../core/encoded-rows.ts';
import { ParquetFile } from '../../core/records/parquet-file.ts';
import { exactParsers } from '../../core/records/parquet-values.ts';
import { programVersion } from '../../version.ts';
import type { StoredHash } from '../store.ts';
import { CellSink } from './cell-sink.ts';
import { type FileFormat, type FileLabel, valueRefused } from './file-format.ts';
import type { ParquetCodec } from './parquet-codec.ts';
import { ChunkWriter } from './parquet-pages.ts';
import { ColumnReader } from './parquet-reader.ts';
import { parquetCodec } from './parquet-types.ts';

/** A row group ends at so many rows, or bytes in memory. */
const groupRowsMax = 100_000;
const groupBytesMax = 16 << 20;
/** A batch that is read has no more rows, and ends soon after so many bytes. */
const rowsPerBatch = 1000;
const batchBytesMax = 4 << 20;
const magic = Buffer.from('PAR1');

/**
 * Parquet with a column for each column of the table: integers by size and sign, DECIMAL up to 38 digits (longer ones as STRING), FLOAT, DOUBLE,
 * DATE, TIMESTAMP in microseconds (adjusted to UTC for TIMESTAMP alone), JSON, BYTE_ARRAY for bytes (a spatial value with its reference system before it),
 * YEAR as INT32, BIT as UINT_64, and STRING for everything else, TIME included, whose hours go to 838.
 * A date that the calendar does not have is refused: no file could give it back.
 */
export function parquetFormat(compression: 'zstd' | 'gzip'): FileFormat {
  return {
    ending: '.parquet',
    encode: (label, table, rows) => encode(compression, label, table, rows),
    decode,
    hashes,
  };
}

async function* encode(
  compression: 'zstd' | 'gzip',
  label: FileLabel,
  table: ArchivedTable,
  rows: AsyncIterable<readonly CanonicalRow[]>,
): AsyncGenerator<Uint8Array, void> {
  const file = new FileWriter(compression, label, table);
  yield magic;
  for await (const batch of rows) {
    for (const row of batch) file.row(row);
    if (file.isFull()) yield* file.endGroup();
  }
  yield* file.endGroup();
  yield file.footer();
}

class FileWriter {
  readonly #label: FileLabel;
  readonly #table: ArchivedTable;
  readonly #codecs: readonly ParquetCodec[];
  readonly #elements: readonly SchemaElement[];
  readonly #chunks: readonly ChunkWriter[];
  readonly #groups: RowGroup[] = [];
  #offset = magic.length;
  #rows = 0;
  #groupRows = 0;

  constructor(compression: 'zstd' | 'gzip', label: FileLabel, table: ArchivedTable) {
    this.#label = label;
    this.#table = table;
    this.#codecs = table.columns.map((column) => parquetCodec(column.columnType, column));
    this.#elements = table.columns.map((column, index) => ({
      name: column.name,
      repetition_type: column.nullable || column.generated ? 'OPTIONAL' : 'REQUIRED',
      ...this.#codecs[index]?.element,
    }));
    const compress = compression === 'zstd' ? zstdCompressSync : gzipSync;
    const codec = compression === 'zstd' ? 'ZSTD' : 'GZIP';
    this.#chunks = this.#elements.map((element) => new ChunkWriter(element, codec, compress));
  }

  row(row: CanonicalRow): void {
    for (let place = 0; place < this.#chunks.length; place++) {
      const chunk = this.#chunks[place] as ChunkWriter; // as many as columns
      const cell = row[place] ?? null;
      if (cell === null) {
        if (this.#elements[place]?.repetition_type === 'REQUIRED')
          throw new Error(`the column ${this.#elements[place]?.name} is NOT NULL`);
      } else if (!this.#codecs[place]?.encode(cell, chunk.page)) {
        throw this.#refused(row, place);
      }
      chunk.page.row(cell !== null);
      chunk.settle();
    }
    this.#groupRows++;
  }

  isFull(): boolean {
    if (this.#groupRows >= groupRowsMax) return true;
    return this.#chunks.reduce((sum, chunk) => sum + chunk.size, 0) >= groupBytesMax;
  }

  *endGroup(): Generator<Uint8Array, void> {
    if (this.#groupRows === 0) return;
    const columns = [];
    let plainBytes = 0n;
    for (const writer of this.#chunks) {
      const { chunk, parts, bytes } = writer.take(this.#offset);
      this.#offset += bytes;
      plainBytes += chunk.meta_data?.total_uncompressed_size ?? 0n;
      columns.push(chunk);
      yield* parts;
    }
    this.#groups.push({ columns, total_byte_size: plainBytes, num_rows: BigInt(this.#groupRows) });
    this.#rows += this.#groupRows;
    this.#groupRows = 0;
  }

  footer(): Uint8Array {
    const writer = new ByteWriter(4096);
    const metadata: Omit<FileMetaData, 'metadata_length'> = {
      version: 2,
      created_by: `tableset version ${programVersion}`,
      schema: [{ name: 'schema', num_children: this.#elements.length }, ...this.#elements],
      num_rows: BigInt(this.#rows),
      row_groups: this.#groups,
      key_value_metadata: [
        { key: 'tableset.batch', value: this.#label.batch },
        { key: 'tableset.table', value: this.#table.definition.name },
        { key: 'tableset.fingerprint', value: this.#table.fingerprint },
      ],
    };
    // The length is that of what is written here.
    writeMetadata(writer, metadata as FileMetaData);
    writer.appendBytes(magic);
    return writer.getBytes();
  }

  #refused(row: CanonicalRow, place: number) {
    const type = this.#codecs[place]?.type ?? '';
    const text = type === 'STRING' || type === 'JSON' || type === 'BYTE_ARRAY';
    const cell = row[place] ?? Buffer.alloc(0);
    const why = text
      ? 'is longer than a file takes, or no UTF-8'
      : `${type} could not give back as it is: ${cell.toString().slice(0, 80)}`;
    const hint = 'Mend the value, or set format: jsonl for the store, which takes every value.';
    return valueRefused(this.#label, this.#table, row, place, why, hint);
  }
}

/** A column of a file that is read. */
interface ReadColumn {
  readonly reader: ColumnReader;
  readonly codec: ParquetCodec;
}

/** Columns at the first of so many rows, which whoever takes them has to read before the next ones. */
interface Run {
  readonly columns: readonly ReadColumn[];
  readonly rows: number;
}

async function* readRuns(input: RandomAccessInput, table: ManifestTable): AsyncGenerator<Run, void> {
  const metadata = await parquetMetadataAsync(new ParquetFile(input), { parsers: exactParsers, geoparquet: false });
  const elements = parquetSchema(metadata).children.map((node) => node.element);
  if (elements.map(({ name }) => name).join('\0') !== table.columns.map(({ name }) => name).join('\0'))
    throw new Error('the file has other columns than the manifest');
  const codecs = table.columns.map((column) => parquetCodec(column.type));
  for (const group of metadata.row_groups) {
    const columns = elements.map(({ name, repetition_type: repetition }, place) => ({
      reader: new ColumnReader(input, group, name, repetition === 'OPTIONAL'),
      codec: codecs[place] as ParquetCodec, // as many as columns
    }));
    for (let left = Number(group.num_rows); left > 0; ) {
      let rows = left;
      for (const { reader } of columns) {
        if (reader.rows === 0) await reader.more();
        rows = Math.min(rows, reader.rows);
      }
      yield { columns, rows };
      left -= rows;
    }
    for (const { reader } of columns) reader.end();
  }
}

async function* decode(input: RandomAccessInput, table: ManifestTable): AsyncGenerator<readonly CanonicalRow[], void> {
  const sink = new CellSink({ binaryAsHex: false });
  let ends: (number | null)[][] = [];
  for await (const { columns, rows } of readRuns(input, table)) {
    for (let row = 0; row < rows; row++) {
      ends.push(
        columns.map(({ reader, codec }) => {
          if (!reader.hasValue()) return null;
          codec.print(reader.page, sink);
          return sink.length;
        }),
      );
      if (ends.length < rowsPerBatch && sink.length < batchBytesMax) continue;
      yield cut(sink.take(), ends);
      ends = [];
    }
  }
  if (ends.length > 0) yield cut(sink.take(), ends);
}

/** Rows whose cells stand one after the other. @param ends of each cell, null for NULL */
function cut(bytes: Buffer, ends: readonly (readonly (number | null)[])[]): readonly CanonicalRow[] {
  let start = 0;
  return ends.map((row) =>
    row.map((end): Cell => {
      if (end === null) return null;
      const cell = bytes.subarray(start, end);
      start = end;
      return cell;
    }),
  );
}

async function* hashes(input: RandomAccessInput, table: ManifestTable): AsyncGenerator<readonly StoredHash[], void> {
  const sink = new CellSink({ binaryAsHex: true });
  const places = table.key.map((name) => table.columns.findIndex((column) => column.name === name));
  let found: StoredHash[] = [];
  for await (const { columns, rows } of readRuns(input, table)) {
    for (let row = 0; row < rows; row++) {
      found.push(hashRow(columns, places, sink));
      if (found.length < rowsPerBatch) continue;
      yield found;
      found = [];
    }
  }
  if (found.length > 0) yield found;
}

// As canonical.ts defines them.
const fieldEnd = 0xff;
const nullMark = 0xfe;

/** What `rowHash` gives, without making cells of the row first. */
function hashRow(columns: readonly ReadColumn[], places: readonly number[], sink: CellSink): StoredHash {
  const key: string[] = new Array(places.length);
  sink.reset();
  for (let place = 0; place < columns.length; place++) {
    const { reader, codec } = columns[place] as ReadColumn; // as many as columns
    if (place > 0) sink.byte(fieldEnd);
    const start = sink.length;
    if (reader.hasValue()) codec.print(reader.page, sink);
    else sink.byte(nullMark);
    const part = places.indexOf(place);
    if (part !== -1) key[part] = sink.since(start).toString();
  }
  return { key, hash: hash('sha256', sink.since(0)) };
}
