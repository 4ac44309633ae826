import type { FileMetaData, ParquetParsers, RowGroup, SchemaTree } from 'hyparquet';
import { parquetRead } from 'hyparquet';
import { parquetHeader, readPage } from 'hyparquet/src/column.js';
import { convert } from 'hyparquet/src/convert.js';
import type { ColumnDecoder, DecodedArray } from 'hyparquet/src/types.js';
import { compressors, type ParquetFile } from './parquet-file.ts';
import { nestedParsers } from './parquet-values.ts';

/** Bytes of a column that are read at once, and room for any page header. */
const READ_BYTES = 256 << 10;
/** Rows of nested columns that are decoded at once, when a whole row group is too much. */
const NESTED_ROWS = 20_000;
const NESTED_BYTES = 8 << 20;

/** Values of one column, from the first row of a row group on. */
export interface ColumnCursor {
  values: DecodedArray;
  /** Index of the next row's value. */
  at: number;
  /** Makes at least one value available; called when there is none left. */
  more(): Promise<void>;
}

/** A column without nesting, decoded page by page, so that memory does not depend on the size of row groups. */
export class FlatCursor implements ColumnCursor {
  values: DecodedArray = [];
  at = 0;
  readonly #file: ParquetFile;
  readonly #decoder: ColumnDecoder;
  readonly #end: number;
  #dictionary: DecodedArray | undefined;
  /** Offset in the file of the next page. */
  #next: number;
  #bytes = new Uint8Array(0);
  #bytesStart = 0;

  constructor(file: ParquetFile, root: SchemaTree, node: SchemaTree, group: RowGroup, parsers: ParquetParsers) {
    const { name } = node.element;
    const metadata = group.columns.find((column) => column.meta_data?.path_in_schema.join('.') === name)?.meta_data;
    if (metadata === undefined) throw new Error(`the column ${name} is not in every row group`);
    this.#file = file;
    this.#decoder = {
      pathInSchema: [name],
      type: metadata.type,
      element: node.element,
      schemaPath: [root, node],
      codec: metadata.codec,
      parsers,
      compressors,
      utf8: false,
    };
    this.#next = Number(metadata.dictionary_page_offset ?? metadata.data_page_offset);
    this.#end = this.#next + Number(metadata.total_compressed_size);
  }

  async more(): Promise<void> {
    this.at = 0;
    // Two pages of every column would be in memory otherwise while the next one is decoded.
    this.values = [];
    for (;;) {
      if (this.#next >= this.#end) throw new Error(`the column ${this.#decoder.pathInSchema[0]} ends too early`);
      await this.#have(Math.min(READ_BYTES, this.#end - this.#next));
      let reader = this.#reader();
      const header = parquetHeader(reader);
      const headerBytes = reader.offset - (this.#next - this.#bytesStart);
      if (header.compressed_page_size < 0) throw new Error('a page has a negative size');
      await this.#have(headerBytes + header.compressed_page_size);
      reader = this.#reader();
      reader.offset += headerBytes;
      this.#next += headerBytes + header.compressed_page_size;
      if (header.type === 'INDEX_PAGE') continue;
      const { data } = readPage(reader, header, this.#decoder, this.#dictionary, undefined, 0);
      if (header.type === 'DICTIONARY_PAGE') {
        if (data !== undefined) this.#dictionary = convert(data, this.#decoder);
        continue;
      }
      if (data === undefined || data.length === 0) continue;
      this.values = data;
      return;
    }
  }

  #reader(): { view: DataView; offset: number } {
    return { view: new DataView(this.#bytes.buffer), offset: this.#next - this.#bytesStart };
  }

  /** Has so many bytes from the next page on in memory. */
  async #have(count: number): Promise<void> {
    const from = this.#next - this.#bytesStart;
    if (from + count <= this.#bytes.length) return;
    if (this.#next + count > this.#end) throw new Error('a page reaches beyond its column');
    const upTo = Math.min(this.#end, this.#next + Math.max(count, READ_BYTES));
    // Values of the page before may be views into the old bytes, which therefore are left alone.
    this.#bytes = await this.#file.read(this.#next, upTo);
    this.#bytesStart = this.#next;
  }
}

/** A list, struct or map, decoded for many rows at once. */
export class NestedCursor implements ColumnCursor {
  values: DecodedArray = [];
  at = 0;
  readonly #file: ParquetFile;
  readonly #metadata: FileMetaData;
  readonly #name: string;
  readonly #end: number;
  readonly #step: number;
  #row: number;

  constructor(file: ParquetFile, metadata: FileMetaData, node: SchemaTree, group: RowGroup, groupStart: number) {
    this.#file = file;
    this.#metadata = metadata;
    this.#name = node.element.name;
    this.#row = groupStart;
    this.#end = groupStart + Number(group.num_rows);
    const columns = group.columns.filter((column) => column.meta_data?.path_in_schema[0] === this.#name);
    const bytes = columns.reduce((sum, column) => sum + Number(column.meta_data?.total_uncompressed_size ?? 0), 0);
    this.#step = bytes <= NESTED_BYTES ? Number(group.num_rows) : NESTED_ROWS;
  }

  async more(): Promise<void> {
    const rowEnd = Math.min(this.#row + this.#step, this.#end);
    let values: unknown[] = [];
    this.values = [];
    await parquetRead({
      file: this.#file,
      metadata: this.#metadata,
      columns: [this.#name],
      rowStart: this.#row,
      rowEnd,
      compressors,
      parsers: nestedParsers,
      utf8: false,
      geoparquet: false,
      onComplete: (rows) => {
        values = rows.map(([value]) => value);
      },
    });
    if (values.length === 0 || values.length !== rowEnd - this.#row)
      throw new Error(`the column ${this.#name} ends too early`);
    this.#row = rowEnd;
    this.values = values;
    this.at = 0;
  }
}
