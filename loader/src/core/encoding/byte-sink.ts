const BACKSLASH = 0x5c;
const hexDigits = Buffer.from('0123456789ABCDEF', 'latin1');

/** A growing buffer that load text is written to. Fields are public because the hot loops of this folder read them. */
export class ByteSink {
  bytes: Buffer;
  length = 0;
  /** Byte to letter of its escape in load text, 0 for bytes that stand for themselves. */
  readonly escapes: Uint8Array;

  constructor(capacity: number, separator: number) {
    this.bytes = Buffer.allocUnsafeSlow(capacity);
    this.escapes = loadTextEscapes(separator);
  }

  /** Makes room for `count` more bytes. */
  ensure(count: number): void {
    const needed = this.length + count;
    if (needed <= this.bytes.length) return;
    const grown = Buffer.allocUnsafeSlow(Math.max(needed, this.bytes.length * 2));
    this.bytes.copy(grown, 0, 0, this.length);
    this.bytes = grown;
  }

  byte(value: number): void {
    if (this.length === this.bytes.length) this.ensure(1);
    this.bytes[this.length++] = value;
  }

  /** Copies bytes that need no escape. */
  copy(source: Uint8Array, start: number, end: number): void {
    const count = end - start;
    this.ensure(count);
    if (count < 48) {
      const target = this.bytes;
      let at = this.length;
      // The native copy costs more than this loop for short fields.
      for (let i = start; i < end; i++) target[at++] = source[i] as number; // in bounds by start and end
      this.length = at;
      return;
    }
    this.bytes.set(source.subarray(start, end), this.length);
    this.length += count;
  }

  /** Copies a value's bytes, escaping what load text escapes. */
  escaped(source: Uint8Array, start: number, end: number): void {
    this.ensure((end - start) * 2);
    const target = this.bytes;
    const escapes = this.escapes;
    let at = this.length;
    for (let i = start; i < end; i++) {
      const value = source[i] as number; // in bounds by start and end
      const letter = escapes[value] as number; // 256 entries
      if (letter !== 0) {
        target[at++] = BACKSLASH;
        target[at++] = letter;
      } else target[at++] = value;
    }
    this.length = at;
  }

  /** Writes ASCII text that needs no escape. */
  ascii(text: string): void {
    this.ensure(text.length);
    this.bytes.write(text, this.length, 'latin1');
    this.length += text.length;
  }

  /** Writes two upper-case hexadecimal digits a byte, as HEX() prints. */
  hex(source: Uint8Array, start = 0, end = source.length): void {
    this.ensure((end - start) * 2);
    for (let i = start; i < end; i++) {
      const value = source[i] as number; // in bounds by start and end
      this.bytes[this.length++] = hexDigits[value >> 4] as number; // a nibble
      this.bytes[this.length++] = hexDigits[value & 15] as number; // a nibble
    }
  }
}

/** The letter after the backslash for every byte that load text escapes: backslash, NUL, LF, CR, Ctrl-Z, tab and the separator. */
function loadTextEscapes(separator: number): Uint8Array {
  const escapes = new Uint8Array(256);
  escapes[BACKSLASH] = BACKSLASH;
  escapes[0x00] = 0x30;
  escapes[0x0a] = 0x6e;
  escapes[0x0d] = 0x72;
  escapes[0x1a] = 0x5a;
  escapes[separator] = separator === 0x09 ? 0x74 : separator;
  return escapes;
}
