import type { EncodedChunk, RowPlan } from '../encoded-rows.ts';
import { ByteSink } from './byte-sink.ts';

/** Chunks that may be with the consumer and given back; more than a few at once mean that it does not give them back. */
const POOL_MAX = 4;

/** Gathers encoded rows and hands them out as chunks whose memory is used again. */
export class ChunkWriter {
  readonly sink: ByteSink;
  rows = 0;
  lines: Uint32Array;
  readonly #source: string;
  readonly #plan: RowPlan;
  readonly #capacity: number;
  readonly #pool: { bytes: Buffer; lines: Uint32Array }[] = [];

  constructor(source: string, plan: RowPlan, chunkBytes: number) {
    this.#source = source;
    this.#plan = plan;
    this.#capacity = chunkBytes + (chunkBytes >> 2) + 4096;
    this.sink = new ByteSink(this.#capacity, plan.separator);
    this.lines = new Uint32Array(4096);
  }

  /** Counts a row that the sink has been given. */
  addRow(line: number): void {
    if (this.rows === this.lines.length) {
      const grown = new Uint32Array(this.lines.length * 2);
      grown.set(this.lines);
      this.lines = grown;
    }
    this.lines[this.rows++] = line;
  }

  /** Hands out what has been gathered, null if that is nothing. */
  take(): EncodedChunk | null {
    if (this.rows === 0) return null;
    const { sink, lines, rows } = this;
    const { bytes, length } = sink;
    let released = false;
    const chunk: EncodedChunk = {
      source: this.#source,
      plan: this.#plan,
      bytes: bytes.subarray(0, length),
      rows,
      lines: lines.subarray(0, rows),
      release: () => {
        if (released || this.#pool.length >= POOL_MAX || bytes.length > this.#capacity * 2) return;
        released = true;
        this.#pool.push({ bytes, lines });
      },
    };
    const next = this.#pool.pop() ?? {
      bytes: Buffer.allocUnsafeSlow(this.#capacity),
      lines: new Uint32Array(lines.length),
    };
    sink.bytes = next.bytes;
    sink.length = 0;
    this.lines = next.lines;
    this.rows = 0;
    return chunk;
  }
}
