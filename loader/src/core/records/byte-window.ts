import { isAscii, isUtf8 } from 'node:buffer';
import { loaderError } from '../../errors.ts';

const LF = 0x0a;

/**
 * The part of a source that is being read: what is left of the last piece and the next piece behind it, checked to be UTF-8.
 * Fields are public because the record readers' hot loops read them.
 */
export class ByteWindow {
  readonly name: string;
  readonly recordBytesMax: number;
  /** Bytes from position up to end are to be read; the byte at end is always a line feed that is no data. */
  bytes = Buffer.allocUnsafeSlow(1 << 16);
  position = 0;
  end = 0;
  /** True once the source has ended, so that end is its end. */
  ended = false;
  /** True if everything from position to end is ASCII. */
  ascii = true;
  /** 1-based line of the byte at position. */
  line = 1;
  /** Offset in the source of the first byte of the buffer. */
  #base = 0;
  #checkedEnd = 0;
  #checking = false;

  constructor(name: string, recordBytesMax: number) {
    this.name = name;
    this.recordBytesMax = recordBytesMax;
    this.bytes[0] = LF;
  }

  get length(): number {
    return this.end - this.position;
  }

  /** Offset in the source of an index into the buffer. */
  offsetOf(index: number): number {
    return this.#base + index;
  }

  /**
   * Adds the source's next piece. Indexes into the buffer from before are void.
   * @throws LOAD_ENCODING
   */
  append(piece: Uint8Array): void {
    const kept = this.length;
    const needed = kept + piece.length + 1;
    const target =
      needed > this.bytes.length ? Buffer.allocUnsafeSlow(Math.max(needed, this.bytes.length * 2)) : this.bytes;
    this.bytes.copy(target, 0, this.position, this.end);
    target.set(piece, kept);
    this.#base += this.position;
    this.#checkedEnd -= this.position;
    this.bytes = target;
    this.position = 0;
    this.end = kept + piece.length;
    target[this.end] = LF;
    this.#check(this.end - unfinishedBytes(target, this.end));
  }

  /**
   * Begins to check that the bytes are UTF-8, once the start of the source has been looked at for what else it may be.
   * @param markBytes bytes of the byte order mark
   * @throws LOAD_ENCODING
   */
  startChecking(markBytes: number): void {
    this.position += markBytes;
    this.#checking = true;
    this.#check(this.ended ? this.end : this.end - unfinishedBytes(this.bytes, this.end));
  }

  /** The source has no more pieces. */
  finish(): void {
    this.ended = true;
    this.#check(this.end);
  }

  /** Throws if the record that begins at position is already larger than the limit. */
  checkRecordSize(): void {
    if (this.length <= this.recordBytesMax) return;
    throw loaderError(
      'LOAD_RECORD_TOO_LARGE',
      `${this.name} line ${this.line}: the record is larger than ${this.recordBytesMax} bytes`,
    );
  }

  /** How many bytes the window should hold before an unfinished record is looked at again, so that long records are not rescanned for every piece. */
  wanted(): number {
    return this.length + (this.length >> 1) + 1;
  }

  #check(end: number): void {
    if (!this.#checking) return;
    this.ascii = isAscii(this.bytes.subarray(this.position, this.end));
    const start = Math.max(this.#checkedEnd, 0);
    if (!this.ascii && !isUtf8(this.bytes.subarray(start, end))) {
      const at = start + validUtf8Length(this.bytes.subarray(start, end));
      throw loaderError(
        'LOAD_ENCODING',
        `${this.name} line ${this.line + countLines(this.bytes, this.position, at)}, byte ${this.offsetOf(at)}: not UTF-8 (0x${(this.bytes[at] ?? 0).toString(16).padStart(2, '0')})`,
      );
    }
    this.#checkedEnd = end;
  }
}

/** How many bytes at the end begin a character that is not complete. */
function unfinishedBytes(bytes: Uint8Array, end: number): number {
  for (let back = 1; back <= 3 && back <= end; back++) {
    const value = bytes[end - back] as number; // in bounds by the condition
    if (value < 0x80) return 0;
    if (value >= 0xc0) return back < (value >= 0xf0 ? 4 : value >= 0xe0 ? 3 : 2) ? back : 0;
  }
  return 0;
}

/** Bytes before the first that is not valid UTF-8: halving, since the check itself is native. */
function validUtf8Length(bytes: Uint8Array): number {
  let good = 0;
  let bad = bytes.length;
  while (bad - good > 1) {
    const middle = (good + bad) >> 1;
    const cut = middle - unfinishedBytes(bytes, middle);
    if (cut > good && isUtf8(bytes.subarray(good, cut))) good = cut;
    else if (cut <= good) break;
    else bad = middle;
  }
  for (let at = good; at < bytes.length; ) {
    let length = 1;
    while (length <= 4 && !isUtf8(bytes.subarray(at, at + length))) length++;
    if (length > 4 || at + length > bytes.length) return at;
    at += length;
  }
  return bytes.length;
}

export function countLines(bytes: Uint8Array, start: number, end: number): number {
  let lines = 0;
  for (let i = start; i < end; i++) if (bytes[i] === LF) lines++;
  return lines;
}
