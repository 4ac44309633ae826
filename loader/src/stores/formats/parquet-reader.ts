import { gunzipSync, zstdDecompressSync } from 'node:zlib';
import type { CompressionCodec, RowGroup } from 'hyparquet';
import { parquetHeader } from 'hyparquet/src/column.js';
import type { RandomAccessInput } from '../../core/encoded-rows.ts';
import { cellBytesMax } from './cell-kind.ts';

/** Bytes of a column that are read at once, and room for any page header. */
const readBytes = 256 << 10;
/** A page ends after the value with which it is full. */
const pageBytesMax = cellBytesMax + (2 << 20);

/** Where the values of a page are read. */
export interface PageValues {
  bytes: Uint8Array;
  view: DataView;
  /** Where the next value begins. */
  at: number;
}

/**
 * Reads one column of a row group that `parquet-pages` wrote, page by page: values in the encoding PLAIN, definition levels in one run. Every
 * length is checked before it is believed.
 */
export class ColumnReader {
  readonly page: PageValues = { bytes: nothing, view: new DataView(nothing.buffer), at: 0 };
  /** Rows of the page that were not looked at yet. */
  rows = 0;
  readonly #input: RandomAccessInput;
  readonly #name: string;
  readonly #codec: CompressionCodec;
  readonly #nullable: boolean;
  readonly #end: number;
  /** Offset in the file of the next page. */
  #next: number;
  #chunk: Uint8Array = nothing;
  #chunkStart = 0;
  /** A bit for each row of the page, set where it has a value; null where all have one, or none. */
  #present: Uint8Array | null = null;
  #all = true;
  #row = 0;

  constructor(input: RandomAccessInput, group: RowGroup, name: string, nullable: boolean) {
    const metadata = group.columns.find((column) => column.meta_data?.path_in_schema[0] === name)?.meta_data;
    if (metadata === undefined) throw new Error(`the column ${name} is not in every row group`);
    this.#input = input;
    this.#name = name;
    this.#codec = metadata.codec;
    this.#nullable = nullable;
    this.#next = Number(metadata.data_page_offset);
    this.#end = this.#next + Number(metadata.total_compressed_size);
    if (this.#end > input.byteLength) throw new Error('the file points beyond its end');
  }

  /** Goes to the next row, which must be of this page. @returns false if it has no value */
  hasValue(): boolean {
    this.rows--;
    const row = this.#row++;
    return this.#present === null ? this.#all : (((this.#present[row >> 3] ?? 0) >> (row & 7)) & 1) === 1;
  }

  /** @throws Error unless everything that the column has was read */
  end(): void {
    if (this.rows > 0 || this.#next < this.#end) throw this.#broken('has more rows than its row group');
    this.#endPage();
  }

  #endPage(): void {
    if (this.page.at !== this.page.bytes.length) throw this.#broken('has values that no row has');
  }

  /** Reads the next page; call it when no rows are left. */
  async more(): Promise<void> {
    this.#endPage();
    if (this.#next >= this.#end) throw this.#broken('ends too early');
    await this.#have(Math.min(readBytes, this.#end - this.#next));
    const reader = { view: viewOf(this.#chunk), offset: this.#next - this.#chunkStart };
    const header = parquetHeader(reader);
    const headerBytes = reader.offset - (this.#next - this.#chunkStart);
    const { compressed_page_size: compressed, uncompressed_page_size: plain, data_page_header: data } = header;
    if (header.type !== 'DATA_PAGE' || data?.encoding !== 'PLAIN') throw this.#broken('has a page of another kind');
    if (!(data.num_values > 0)) throw this.#broken('has a page without rows');
    if (!(compressed >= 0 && plain >= 0 && plain <= pageBytesMax)) throw this.#broken(`has a page of ${plain} bytes`);
    await this.#have(headerBytes + compressed);
    const start = this.#next - this.#chunkStart + headerBytes;
    const body = decompress(this.#codec, this.#chunk.subarray(start, start + compressed), plain);
    if (body.length !== plain) throw this.#broken('has a page of another length than it says');
    this.#next += headerBytes + compressed;
    this.#begin(body, data.num_values);
  }

  #begin(body: Uint8Array, rows: number): void {
    const view = viewOf(body);
    let at = 0;
    this.#present = null;
    this.#all = true;
    if (this.#nullable) {
      const length = view.getUint32(0, true);
      at = 4 + length;
      const [header, start] = varint(body, 4);
      const packed = (header & 1) === 1;
      const count = packed ? (header >> 1) * 8 : header >> 1;
      const end = start + (packed ? header >> 1 : 1);
      if (end !== at || count < rows) throw this.#broken('has levels of another form');
      if (packed) this.#present = body.subarray(start, end);
      else this.#all = body[start] === 1;
    }
    this.#row = 0;
    this.rows = rows;
    this.page.bytes = body;
    this.page.view = view;
    this.page.at = at;
  }

  /** Has so many bytes from the next page on in memory. */
  async #have(count: number): Promise<void> {
    const from = this.#next - this.#chunkStart;
    if (from + count <= this.#chunk.length) return;
    if (this.#next + count > this.#end) throw this.#broken('has a page that reaches beyond it');
    const upTo = Math.min(this.#end, this.#next + Math.max(count, readBytes));
    this.#chunk = await this.#input.read(this.#next, upTo);
    this.#chunkStart = this.#next;
  }

  #broken(how: string): Error {
    return new Error(`the column ${this.#name} ${how}`);
  }
}

const nothing = new Uint8Array(0);

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
}

/** @returns the number, and where it ends */
function varint(bytes: Uint8Array, start: number): readonly [value: number, end: number] {
  let value = 0;
  for (let at = start, shift = 0; shift < 35; at++, shift += 7) {
    const byte = bytes[at] ?? 0;
    value += (byte & 0x7f) * 2 ** shift;
    if (byte < 0x80) return [value, at + 1];
  }
  throw new Error('a number has too many bytes');
}

function decompress(codec: CompressionCodec, bytes: Uint8Array, length: number): Uint8Array {
  // In one piece: by default the output is put together from pieces of 16 KiB.
  const options = { chunkSize: Math.max(length + 1, 64), maxOutputLength: length + 1 };
  if (codec === 'ZSTD') return zstdDecompressSync(bytes, options);
  if (codec === 'GZIP') return gunzipSync(bytes, options);
  throw new Error(`a page is compressed with ${codec}`);
}
