import { gzipSync, zstdCompressSync } from 'node:zlib';
import { type FileMetaData, parquetMetadataAsync, parquetSchema, type RowGroup, type SchemaElement } from 'hyparquet';
import { ByteWriter } from 'hyparquet-writer/src/bytewriter.js';
import { writeMetadata } from 'hyparquet-writer/src/metadata.js';
import type { ArchivedTable } from '../../core/archive/archive-set.ts';
import type { CanonicalRow, Cell } from '../../core/archive/canonical.ts';
import type { ManifestTable } from '../../core/archive/manifest.ts';
import type { RandomAccessInput } from '../../core/encoded-rows.ts';
import { FlatCursor } from '../../core/records/parquet-columns.ts';
import { ParquetFile } from '../../core/records/parquet-file.ts';
import { exactParsers } from '../../core/records/parquet-values.ts';
import { programVersion } from '../../version.ts';
import { type FileFormat, type FileLabel, valueRefused } from './file-format.ts';
import { ChunkWriter } from './parquet-pages.ts';
import { type ParquetCodec, parquetCodec } from './parquet-types.ts';

/** A row group ends at so many rows, or bytes in memory. */
const groupRowsMax = 100_000;
const groupBytesMax = 16 << 20;
const rowsPerBatch = 1000;
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

async function* decode(input: RandomAccessInput, table: ManifestTable): AsyncGenerator<readonly CanonicalRow[], void> {
  const file = new ParquetFile(input);
  const metadata = await parquetMetadataAsync(file, { parsers: exactParsers, geoparquet: false });
  const named = parquetSchema(metadata).children.map((node) => node.element.name);
  if (named.join('\0') !== table.columns.map((column) => column.name).join('\0'))
    throw new Error('the file has other columns than the manifest');
  // Physical values: without its annotations hyparquet gives numbers as they are.
  const schema = metadata.schema.map(({ converted_type: _converted, logical_type: _logical, ...rest }) => rest);
  const tree = parquetSchema({ ...metadata, schema });
  const codecs = table.columns.map((column) => parquetCodec(column.type));
  for (const group of metadata.row_groups) {
    const cursors = tree.children.map((node) => new FlatCursor(file, tree, node, group, exactParsers));
    for (let left = Number(group.num_rows); left > 0; ) {
      const rows: Cell[][] = Array.from({ length: Math.min(left, rowsPerBatch) }, () => new Array(cursors.length));
      for (const [place, cursor] of cursors.entries()) {
        const codec = codecs[place] as ParquetCodec; // as many as columns
        await fill(rows, place, cursor, codec);
      }
      yield rows;
      left -= rows.length;
    }
  }
}

async function fill(rows: readonly Cell[][], place: number, cursor: FlatCursor, codec: ParquetCodec): Promise<void> {
  for (const row of rows) {
    if (cursor.at >= cursor.values.length) await cursor.more();
    const value: unknown = cursor.values[cursor.at++];
    row[place] = value === null || value === undefined ? null : codec.decode(value);
  }
}
