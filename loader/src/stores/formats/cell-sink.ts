/** Text of cells, one after the other, in memory that grows with the longest text and is used again. */
export class CellSink {
  /** How binary cells are put down: as they are, or as upper-case hexadecimal digits, as a row's hash has them. */
  readonly binaryAsHex: boolean;
  /** Bytes that were put down since the last `reset`. */
  length = 0;
  #bytes: Buffer = Buffer.allocUnsafeSlow(4096);

  constructor(options: { readonly binaryAsHex: boolean }) {
    this.binaryAsHex = options.binaryAsHex;
  }

  reset(): void {
    this.length = 0;
  }

  /** The bytes from start on: a view, which the next reset makes worthless. */
  since(start: number): Buffer {
    return this.#bytes.subarray(start, this.length);
  }

  /** All bytes, which are the caller's; the sink begins anew with other memory. */
  take(): Buffer {
    const bytes = this.#bytes.subarray(0, this.length);
    this.#bytes = Buffer.allocUnsafeSlow(Math.min(this.#bytes.length, keptBytesMax));
    this.length = 0;
    return bytes;
  }

  byte(value: number): void {
    this.#room(1);
    this.#bytes[this.length++] = value;
  }

  copy(source: Uint8Array, start: number, end: number): void {
    this.#room(end - start);
    // Calls into the runtime cost more than short loops.
    if (end - start < 32)
      for (let at = start; at < end; at++) this.#bytes[this.length++] = source[at] as number; // in bounds
    else {
      this.#bytes.set(source.subarray(start, end), this.length);
      this.length += end - start;
    }
  }

  binary(source: Uint8Array, start: number, end: number): void {
    if (!this.binaryAsHex) {
      this.copy(source, start, end);
      return;
    }
    this.#room(2 * (end - start));
    for (let at = start; at < end; at++) {
      const value = source[at] as number; // in bounds
      this.#bytes[this.length++] = hexDigits[value >> 4] as number; // a digit for each of 16
      this.#bytes[this.length++] = hexDigits[value & 15] as number; // likewise
    }
  }

  /** @param text ASCII alone */
  ascii(text: string): void {
    this.#room(text.length);
    for (let at = 0; at < text.length; at++) this.#bytes[this.length++] = text.charCodeAt(at);
  }

  /** A whole number of at most 53 bits, with zeros in front up to a width. */
  digits(value: number, width: number): void {
    let count = 1;
    for (let rest = value; rest >= 10; count++) rest = Math.floor(rest / 10);
    count = Math.max(count, width);
    this.#room(count);
    let rest = value;
    for (let at = this.length + count - 1; at >= this.length; at--) {
      const next = Math.floor(rest / 10);
      this.#bytes[at] = zero + (rest - next * 10);
      rest = next;
    }
    this.length += count;
  }

  #room(count: number): void {
    const needed = this.length + count;
    if (needed <= this.#bytes.length) return;
    const grown = Buffer.allocUnsafeSlow(Math.max(needed, this.#bytes.length * 2));
    grown.set(this.#bytes.subarray(0, this.length));
    this.#bytes = grown;
  }
}

const zero = 0x30;
const hexDigits = Buffer.from('0123456789ABCDEF');
const keptBytesMax = 1 << 20;
