import { createGunzip, createZstdDecompress, type Gunzip, type ZstdDecompress } from 'node:zlib';
import { loaderError } from '../errors.ts';
import { systemCode } from './failure.ts';

export type Compression = 'none' | 'gzip' | 'zstd';

export interface DecompressLimits {
  readonly maxDecompressedBytes: number;
  /** Output per input byte; checked once the output has outgrown 256 MiB, since small repetitive files are harmless. */
  readonly maxDecompressionRatio: number;
}

const ratioFloorBytes = 256 * 1024 * 1024;
/** Larger pieces are no faster and leave more behind for the garbage collector: 64 KiB peaked at 113 MB, 256 KiB at 176. */
const outputBytes = 64 * 1024;

/** The compression that a name's ending tells. */
export function compressionByEnding(name: string): Compression {
  const lower = name.toLowerCase();
  return lower.endsWith('.gz') ? 'gzip' : lower.endsWith('.zst') ? 'zstd' : 'none';
}

/**
 * Decompresses, in bounded memory, members or frames that follow one another as well. Ends only after a complete last one.
 * @throws AppError LOAD_FORMAT_MISMATCH if it begins as no such data does, LOAD_SOURCE_CORRUPT if the data is cut, damaged or followed by anything else, LOAD_SOURCE_TOO_LARGE beyond the limits.
 */
export async function* decompress(
  input: AsyncIterable<Buffer>,
  compression: 'gzip' | 'zstd',
  name: string,
  limits: DecompressLimits,
): AsyncGenerator<Buffer, void, undefined> {
  const counter = new Meter(name, limits);
  let unit = new Unit(compression, name);
  let head = Buffer.alloc(0);
  try {
    for await (const chunk of input) {
      let rest: Buffer = chunk;
      counter.read(chunk.length);
      if (head.length < magicBytes) {
        head = Buffer.concat([head, chunk.subarray(0, magicBytes - head.length)]);
        if (!beginsAs(compression, head)) throw mismatch(compression, name);
      }
      while (rest.length > 0) {
        for await (const output of unit.write(rest)) yield counter.wrote(output);
        if (!unit.ended) break;
        rest = unit.leftover;
        if (rest.length === 0) break;
        // Node's stream ends at the end of a zstd frame if the next one stands in the same buffer, and takes what follows a gzip
        // member for padding if it starts with a zero byte. In silence, both; so the rest is looked at here.
        if (compression === 'gzip') throw trailing(name);
        unit.destroy();
        unit = new Unit(compression, name);
      }
    }
    for await (const output of unit.end()) yield counter.wrote(output);
    if (unit.leftover.length > 0) throw trailing(name);
  } finally {
    unit.destroy();
  }
}

const magicBytes = 4;

/** False if the first bytes, as far as they are there, are not of this compression. */
function beginsAs(compression: 'gzip' | 'zstd', head: Buffer): boolean {
  const fits = (magic: readonly number[]) => magic.every((byte, index) => index >= head.length || head[index] === byte);
  if (compression === 'gzip') return fits([0x1f, 0x8b]);
  // A frame, or one that decoders skip: 0x184D2A50 to 0x184D2A5F, the lowest byte first.
  return fits([0x28, 0xb5, 0x2f, 0xfd]) || fits([0x50 | ((head[0] ?? 0) & 0x0f), 0x2a, 0x4d, 0x18]);
}

function mismatch(compression: 'gzip' | 'zstd', name: string) {
  const byName = compressionByEnding(name) === compression;
  return loaderError(
    'LOAD_FORMAT_MISMATCH',
    `${name} is not ${compression}, although ${byName ? 'its name' : `compression: ${compression}`} says so`,
    { hint: 'Correct the name, or set compression to what the file is: none, gzip or zstd.' },
  );
}

function trailing(name: string) {
  return loaderError('LOAD_SOURCE_CORRUPT', `${name} goes on after the end of its compressed data`);
}

/** Counts what goes in and comes out, and stops what grows beyond reason. */
class Meter {
  readonly #name: string;
  readonly #limits: DecompressLimits;
  #inputBytes = 0;
  #outputBytes = 0;

  constructor(name: string, limits: DecompressLimits) {
    this.#name = name;
    this.#limits = limits;
  }

  read(bytes: number): void {
    this.#inputBytes += bytes;
  }

  wrote(output: Buffer): Buffer {
    this.#outputBytes += output.length;
    const { maxDecompressedBytes, maxDecompressionRatio } = this.#limits;
    if (this.#outputBytes > maxDecompressedBytes) {
      throw loaderError(
        'LOAD_SOURCE_TOO_LARGE',
        `${this.#name} decompresses to more than maxDecompressedBytes (${maxDecompressedBytes})`,
      );
    }
    if (this.#outputBytes > ratioFloorBytes && this.#outputBytes > this.#inputBytes * maxDecompressionRatio) {
      throw loaderError(
        'LOAD_SOURCE_TOO_LARGE',
        `${this.#name} grows to more than maxDecompressionRatio (${maxDecompressionRatio}) times its size`,
      );
    }
    return output;
  }
}

/** One of Node's decompressing streams, driven one buffer at a time, so that it is known how much of the input it used. */
class Unit {
  readonly #stream: Gunzip | ZstdDecompress;
  readonly #name: string;
  #ended = false;
  #failure: unknown = null;
  #fedBytes = 0;
  #last: Buffer = Buffer.alloc(0);
  #wake: () => void = () => {};

  constructor(compression: 'gzip' | 'zstd', name: string) {
    this.#name = name;
    this.#stream =
      compression === 'gzip'
        ? createGunzip({ chunkSize: outputBytes })
        : createZstdDecompress({ chunkSize: outputBytes });
    this.#stream.on('readable', () => this.#wake());
    this.#stream.on('end', () => {
      this.#ended = true;
      this.#wake();
    });
    this.#stream.on('error', (error) => {
      this.#failure = error;
      this.#wake();
    });
  }

  /** True if the stream found the end of the data. */
  get ended(): boolean {
    return this.#ended;
  }

  /** What of the last buffer lies behind the end of the data. */
  get leftover(): Buffer {
    const unused = this.#ended ? this.#fedBytes - this.#stream.bytesWritten : 0;
    return this.#last.subarray(this.#last.length - unused);
  }

  async *write(chunk: Buffer): AsyncGenerator<Buffer, void, undefined> {
    let taken = false;
    this.#fedBytes += chunk.length;
    this.#last = chunk;
    this.#stream.write(chunk, () => {
      taken = true;
      this.#wake();
    });
    yield* this.#outputs(() => taken);
    // The stream says that it took a buffer also when it stopped within it, and tells its end only later.
    if (this.#stream.bytesWritten < this.#fedBytes) this.#ended = true;
  }

  async *end(): AsyncGenerator<Buffer, void, undefined> {
    if (!this.#ended) this.#stream.end();
    yield* this.#outputs(() => false);
  }

  destroy(): void {
    this.#stream.destroy();
  }

  /** Everything that comes out until the input was taken or the data ended. */
  async *#outputs(taken: () => boolean): AsyncGenerator<Buffer, void, undefined> {
    for (;;) {
      if (this.#failure !== null) throw this.#corrupt(this.#failure);
      const output: Buffer | null = this.#stream.read();
      if (output !== null) yield output;
      else if (this.#ended || taken()) return;
      else {
        await new Promise<void>((resolve) => {
          this.#wake = resolve;
        });
      }
    }
  }

  #corrupt(error: unknown) {
    const code = systemCode(error);
    const how =
      code === 'Z_BUF_ERROR'
        ? 'ends before its compressed data does'
        : `is not sound compressed data (${code ?? 'unknown error'})`;
    return loaderError('LOAD_SOURCE_CORRUPT', `${this.#name} ${how}`, { cause: error });
  }
}
