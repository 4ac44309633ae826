import type { ColumnChunk, CompressionCodec, SchemaElement } from 'hyparquet';
import { ByteWriter } from 'hyparquet-writer/src/bytewriter.js';
import { writePageHeader } from 'hyparquet-writer/src/datapage.js';

/** Bytes of values after which a page is compressed. */
const pageBytesMax = 1 << 20;
const two32 = 2 ** 32;

/** Values of one column in the encoding PLAIN, and which rows have none. */
export class PageBuffer {
  rows = 0;
  nulls = 0;
  length = 0;
  /** Of the integers since `reset`. */
  least: number | bigint | null = null;
  greatest: number | bigint | null = null;
  #bytes = new Uint8Array(4096);
  #view = new DataView(this.#bytes.buffer);
  /** A bit for each row, set where it has a value. */
  #present = new Uint8Array(1024);

  /** Counts a row; call it after its value was added. */
  row(present: boolean): void {
    const at = this.rows >> 3;
    if (at >= this.#present.length) {
      const grown = new Uint8Array(this.#present.length * 2);
      grown.set(this.#present);
      this.#present = grown;
    }
    if (present) this.#present[at] = (this.#present[at] ?? 0) | (1 << (this.rows & 7));
    else this.nulls++;
    this.rows++;
  }

  int32(value: number): void {
    this.#room(4);
    this.#view.setInt32(this.length, value, true);
    this.length += 4;
    this.#note(value);
  }

  int64(value: number | bigint): void {
    this.#room(8);
    if (typeof value === 'bigint') this.#view.setBigInt64(this.length, value, true);
    else {
      const high = Math.floor(value / two32);
      this.#view.setUint32(this.length, value - high * two32, true);
      this.#view.setInt32(this.length + 4, high, true);
    }
    this.length += 8;
    this.#note(value);
  }

  float(value: number): void {
    this.#room(4);
    this.#view.setFloat32(this.length, value, true);
    this.length += 4;
  }

  double(value: number): void {
    this.#room(8);
    this.#view.setFloat64(this.length, value, true);
    this.length += 8;
  }

  fixed(bytes: Uint8Array): void {
    this.#room(bytes.length);
    this.#bytes.set(bytes, this.length);
    this.length += bytes.length;
  }

  bytes(bytes: Uint8Array): void {
    this.#room(bytes.length + 4);
    this.#view.setUint32(this.length, bytes.length, true);
    this.#bytes.set(bytes, this.length + 4);
    this.length += bytes.length + 4;
  }

  /** What was collected, as the body of a data page of version 1, good until the next value; the next page starts empty. */
  take(nullable: boolean): Uint8Array {
    const values = this.#bytes.subarray(0, this.length);
    const body = nullable ? Buffer.concat([...this.#levels(), values]) : values;
    this.#present.fill(0, 0, (this.rows >> 3) + 1);
    this.rows = 0;
    this.nulls = 0;
    this.length = 0;
    // One huge value must not be paid for until the end of the file.
    if (this.#bytes.length > 4 * pageBytesMax) this.#grow(4096);
    return body;
  }

  /** Definition levels in the hybrid of run lengths and packed bits, with their length before. */
  #levels(): readonly Uint8Array[] {
    const writer = new ByteWriter(16);
    const groups = (this.rows + 7) >> 3;
    const packed = this.nulls > 0 && this.nulls < this.rows;
    writer.appendVarInt(packed ? (groups << 1) | 1 : this.rows << 1);
    if (packed) writer.appendBytes(this.#present.subarray(0, groups));
    else writer.appendUint8(this.nulls === 0 ? 1 : 0);
    const length = new ByteWriter(4);
    length.appendUint32(writer.offset);
    return [length.getBytes(), writer.getBytes()];
  }

  #note(value: number | bigint): void {
    if (this.least === null || value < this.least) this.least = value;
    if (this.greatest === null || value > this.greatest) this.greatest = value;
  }

  #room(bytes: number): void {
    const needed = this.length + bytes;
    if (needed > this.#bytes.length) this.#grow(Math.max(needed, this.#bytes.length * 2));
  }

  #grow(size: number): void {
    const grown = new Uint8Array(size);
    grown.set(this.#bytes.subarray(0, this.length));
    this.#bytes = grown;
    this.#view = new DataView(grown.buffer);
  }
}

/** One column of a row group: its pages, compressed as soon as they are full. */
export class ChunkWriter {
  readonly page = new PageBuffer();
  readonly #element: SchemaElement;
  readonly #codec: CompressionCodec;
  readonly #compress: (bytes: Uint8Array) => Uint8Array;
  #parts: Uint8Array[] = [];
  #bytes = 0;
  #plainBytes = 0;
  #rows = 0;
  #nulls = 0;

  constructor(element: SchemaElement, codec: CompressionCodec, compress: (bytes: Uint8Array) => Uint8Array) {
    this.#element = element;
    this.#codec = codec;
    this.#compress = compress;
  }

  /** Bytes that it holds in memory. */
  get size(): number {
    return this.#bytes + this.page.length;
  }

  /** Ends the page if it is full. */
  settle(): void {
    if (this.page.length >= pageBytesMax) this.#endPage();
  }

  /** Ends the column of this row group, which begins at the offset of the file. */
  take(offset: number): { readonly chunk: ColumnChunk; readonly parts: readonly Uint8Array[]; readonly bytes: number } {
    if (this.page.rows > 0) this.#endPage();
    const { page } = this;
    const { type = 'BYTE_ARRAY', name } = this.#element;
    const chunk: ColumnChunk = {
      file_offset: BigInt(offset),
      meta_data: {
        type,
        encodings: ['PLAIN', 'RLE'],
        path_in_schema: [name],
        codec: this.#codec,
        num_values: BigInt(this.#rows),
        total_uncompressed_size: BigInt(this.#plainBytes),
        total_compressed_size: BigInt(this.#bytes),
        data_page_offset: BigInt(offset),
        statistics: { null_count: BigInt(this.#nulls), ...bounds(page, this.#element) },
      },
    };
    const taken = { chunk, parts: this.#parts, bytes: this.#bytes };
    this.#parts = [];
    this.#bytes = 0;
    this.#plainBytes = 0;
    this.#rows = 0;
    this.#nulls = 0;
    page.least = null;
    page.greatest = null;
    return taken;
  }

  #endPage(): void {
    const { rows, nulls } = this.page;
    const body = this.page.take(this.#element.repetition_type === 'OPTIONAL');
    const compressed = this.#compress(body);
    const header = new ByteWriter(64);
    writePageHeader(header, {
      type: 'DATA_PAGE',
      uncompressed_page_size: body.length,
      compressed_page_size: compressed.length,
      data_page_header: {
        num_values: rows,
        encoding: 'PLAIN',
        definition_level_encoding: 'RLE',
        repetition_level_encoding: 'RLE',
      },
    });
    this.#parts.push(header.getBytes(), compressed);
    this.#bytes += header.offset + compressed.length;
    this.#plainBytes += header.offset + body.length;
    this.#rows += rows;
    this.#nulls += nulls;
  }
}

/** Least and greatest integer of a row group, by which readers leave groups out. */
function bounds({ least, greatest }: PageBuffer, element: SchemaElement) {
  if (least === null || greatest === null) return {};
  const whole = element.type === 'INT64' || element.converted_type === 'DECIMAL';
  const value = (bound: number | bigint) => (whole ? BigInt(bound) : Number(bound));
  return { min_value: value(least), max_value: value(greatest) };
}
