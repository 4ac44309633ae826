import { brotliDecompressSync, gunzipSync, zstdDecompressSync } from 'node:zlib';
import type { AsyncBuffer, Compressors } from 'hyparquet';
import { compressors as pureCompressors } from 'hyparquet-compressors';
import type { RandomAccessInput } from '../encoded-rows.ts';

/** A page that claims to be larger once decompressed is refused before memory is taken for it. */
const PAGE_BYTES_MAX = 256 << 20;

/** Carries an error of the input through hyparquet. */
export class InputFault extends Error {}

/** The file as hyparquet reads it. What it is given is its own, since it keeps views into it. */
export class ParquetFile implements AsyncBuffer {
  readonly byteLength: number;
  readonly #input: RandomAccessInput;

  constructor(input: RandomAccessInput) {
    this.#input = input;
    this.byteLength = input.byteLength;
  }

  async slice(start: number, end = this.byteLength): Promise<ArrayBuffer> {
    return (await this.read(start, end)).buffer;
  }

  /** A copy of the bytes from start up to end. */
  async read(start: number, end: number): Promise<Uint8Array<ArrayBuffer>> {
    if (start < 0 || end > this.byteLength || start > end) throw new Error('the file points beyond its end');
    try {
      return new Uint8Array(await this.#input.read(start, end));
    } catch (cause) {
      throw new InputFault('the input failed', { cause });
    }
  }
}

function bounded(decompress: (bytes: Uint8Array, outputLength: number) => Uint8Array) {
  return (bytes: Uint8Array, outputLength: number): Uint8Array => {
    if (outputLength > PAGE_BYTES_MAX) throw new Error(`a page claims to have ${outputLength} bytes`);
    return decompress(bytes, outputLength);
  };
}

/** Decompressors that refuse a page which claims too much; those that Node itself has are several times as fast. */
export const compressors: Compressors = {
  ...Object.fromEntries(Object.entries(pureCompressors).map(([codec, decompress]) => [codec, bounded(decompress)])),
  GZIP: bounded((bytes, outputLength) => gunzipSync(bytes, { maxOutputLength: outputLength + 1 })),
  ZSTD: bounded((bytes, outputLength) => zstdDecompressSync(bytes, { maxOutputLength: outputLength + 1 })),
  BROTLI: bounded((bytes, outputLength) => brotliDecompressSync(bytes, { maxOutputLength: outputLength + 1 })),
};
