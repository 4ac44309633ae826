import { hash } from 'node:crypto';
import { crc32 } from 'node:zlib';
import { quoteIdentifier } from '@tableset/common/database/quoting.ts';
import type { ColumnDefinition } from '@tableset/common/database/table-definition.ts';
import { type LoadTarget, targetTable } from './load-sql.ts';

/**
 * Row digests tell, without sending a row, which rows of the source the table does not have as they are. Both sides put rows
 * into buckets by the CRC-32 of their key, and keep for each bucket the number of rows and the XOR of 64 bits of each row's
 * SHA-256. Rows of buckets that agree are unchanged; the rows of the others are staged and compared byte by byte. A
 * difference in how a value is printed can only make a bucket differ, so it costs time and never correctness; a changed row is
 * overlooked only if 64 bits of SHA-256 collide within its bucket, 1 in 1.8e19.
 *
 * The text of a row is its fields as the server prints them, with a byte between them that no UTF-8 text contains, and another
 * such byte for NULL, so that no two rows have the same text.
 */
export interface DigestBuckets {
  /** A power of two, less one. */
  readonly mask: number;
  readonly counts: Uint32Array;
  /** High and low 32 bits of each bucket's XOR. */
  readonly high: Uint32Array;
  readonly low: Uint32Array;
}

/** About this many rows share a bucket, so that one changed row makes few others be staged. */
const rowsPerBucket = 8;
const bucketsMin = 64;
/** 3 MiB of counters. */
const bucketsMax = 1 << 18;

/** Empty buckets for a table of about so many rows. */
export function createBuckets(rows: number): DigestBuckets {
  let count = bucketsMin;
  while (count < bucketsMax && count * rowsPerBucket < rows) count *= 2;
  return { mask: count - 1, counts: new Uint32Array(count), high: new Uint32Array(count), low: new Uint32Array(count) };
}

/** Types whose text the server prints the same way as the load text has it, in every supported version. */
const digestTypes = new Set([
  ...['tinyint', 'smallint', 'mediumint', 'int', 'bigint', 'decimal', 'date', 'datetime', 'timestamp', 'time', 'year'],
  ...['char', 'varchar', 'tinytext', 'text', 'mediumtext', 'longtext', 'enum', 'set'],
]);
const stringTypes = new Set(['char', 'varchar', 'tinytext', 'text', 'mediumtext', 'longtext', 'enum', 'set']);
/** Bytes that no UTF-8 text contains: between fields, and for NULL. */
const fieldEnd = 0xff;
const nullMark = 0xfe;

/** True if every fed column can be digested. */
export function digestable(columns: readonly ColumnDefinition[]): boolean {
  return columns.every((column) => digestTypes.has(column.dataType));
}

/** A column's text in UTF-8, as bytes where it is text, so that columns of different collations can stand in one CONCAT_WS. */
function textExpression(column: ColumnDefinition, alias = ''): string {
  const name = `${alias === '' ? '' : `${alias}.`}${quoteIdentifier(column.name)}`;
  if (!stringTypes.has(column.dataType)) return name;
  return `CAST(${column.characterSet === 'utf8mb4' ? name : `CONVERT(${name} USING utf8mb4)`} AS BINARY)`;
}

/** The bucket of a row, on the server. */
export function bucketExpression(target: LoadTarget, mask: number, alias = ''): string {
  const key = target.columns.filter((column) => target.key.includes(column.name));
  const texts = key.map((column) => textExpression(column, alias));
  return `(CRC32(${texts.length === 1 ? texts[0] : `CONCAT_WS(',', ${texts.join(', ')})`}) & ${mask})`;
}

/** One scan of the table: bucket, number of rows, XOR of their digests. */
export function digestQuery(target: LoadTarget, mask: number): string {
  const fields = target.columns.map((column) =>
    column.nullable ? `IFNULL(${textExpression(column)}, ${hexLiteral(nullMark)})` : textExpression(column),
  );
  const digest = `SHA2(CONCAT_WS(${hexLiteral(fieldEnd)}, ${fields.join(', ')}), 256)`;
  return `SELECT ${bucketExpression(target, mask)} AS bucket, COUNT(*) AS count, BIT_XOR(CAST(CONV(LEFT(${digest}, 16), 16, 10) AS UNSIGNED)) AS digest FROM ${targetTable(target)} GROUP BY bucket`;
}

/**
 * Room for the groups of `digestQuery` in memory: with the default, MySQL writes them to disk and takes three times as long. A server that
 * allows more keeps it.
 */
export const digestRoom = `SET SESSION ${['tmp_table_size', 'max_heap_table_size']
  .map((name) => `${name} = CAST(GREATEST(@@${name}, 67108864) AS SIGNED)`)
  .join(', ')}`;

function hexLiteral(byte: number): string {
  return `X'${byte.toString(16)}'`;
}

const comma = 44;
const newline = 10;
const backslash = 92;
const letterN = 78;

/** Views that are kept, by length, so that rows need no new one each. */
const viewsMax = 1024;
/** Keys up to this length are cheaper to go through here than to hand over to zlib. */
const shortKeyBytes = 32;

/** Reads load text row by row: each row's bucket, and its digest's 64 bits. */
export class RowDigester {
  readonly #separator: number;
  /** For each field up to the last of the key: 1 if it belongs to the key. */
  readonly #isKey: Uint8Array;
  readonly #mask: number;
  /** 1 for every byte that stands for itself in load text. */
  readonly #plain: Uint8Array;
  /** The text of the row at hand. */
  #text = Buffer.allocUnsafeSlow(64 * 1024);
  #textBytes = 0;
  #views: (Buffer | undefined)[] = [];
  #key = Buffer.allocUnsafeSlow(4096);
  #keyBytes = 0;

  constructor(target: LoadTarget, separator: number, mask: number) {
    const { columns, key } = target;
    this.#separator = separator;
    this.#mask = mask;
    const lastKey = columns.findLastIndex((column) => key.includes(column.name));
    this.#isKey = Uint8Array.from(columns.slice(0, lastKey + 1), (column) => (key.includes(column.name) ? 1 : 0));
    this.#plain = new Uint8Array(256).fill(1);
    for (const byte of [separator, newline, backslash]) this.#plain[byte] = 0;
  }

  /** Adds every row of a chunk to the buckets. */
  add(bytes: Buffer, buckets: DigestBuckets): void {
    const { counts, high, low } = buckets;
    // A row's text is never longer than its load text.
    if (this.#text.length < bytes.length) {
      this.#text = Buffer.allocUnsafeSlow(bytes.length);
      this.#views = [];
    }
    for (let offset = 0; offset < bytes.length; ) {
      const bucket = this.#bucketAt(bytes, offset);
      const end = this.#writeText(bytes, offset);
      // One character a byte; the first eight are the 64 bits that the server takes too.
      const digest = hash('sha256', this.#view(this.#textBytes), 'binary');
      counts[bucket] = (counts[bucket] ?? 0) + 1;
      high[bucket] = (high[bucket] ?? 0) ^ word(digest, 0);
      low[bucket] = (low[bucket] ?? 0) ^ word(digest, 4);
      offset = end + 1;
    }
  }

  /**
   * Copies the rows whose bucket is wanted, with their lines.
   * @returns the number of rows and bytes written to `out`, which must be as large as `bytes`.
   */
  filter(
    bytes: Buffer,
    lines: Uint32Array,
    wanted: Uint8Array,
    out: Buffer,
    outLines: Uint32Array,
  ): { rows: number; bytes: number } {
    let rows = 0;
    let written = 0;
    let index = 0;
    for (let offset = 0; offset < bytes.length; index++) {
      const bucket = this.#bucketAt(bytes, offset);
      // A line feed in a value is written as an escape.
      const end = bytes.indexOf(newline, offset + this.#keyBytes);
      if (wanted[bucket] === 1) {
        written += bytes.copy(out, written, offset, end + 1);
        outLines[rows++] = lines[index] ?? 0;
      }
      offset = end + 1;
    }
    return { rows, bytes: written };
  }

  /** Writes the text of the row at `offset`; returns where its newline is. */
  #writeText(bytes: Buffer, offset: number): number {
    const separator = this.#separator;
    const plain = this.#plain;
    const text = this.#text;
    let length = 0;
    let start = offset;
    for (let at = offset; ; ) {
      const byte = bytes[at++] as number; // every row ends in a newline
      if (plain[byte] === 1) {
        text[length++] = byte;
      } else if (byte === separator) {
        text[length++] = fieldEnd;
        start = at;
      } else if (byte === newline) {
        this.#textBytes = length;
        return at - 1;
      } else {
        const letter = bytes[at++] as number; // an escape is never cut
        text[length++] = letter === letterN && at - 2 === start ? nullMark : (unescaped[letter] as number); // 256 entries
      }
    }
  }

  #view(length: number): Buffer {
    if (length >= viewsMax) return this.#text.subarray(0, length);
    let view = this.#views[length];
    if (view === undefined) {
      view = this.#text.subarray(0, length);
      this.#views[length] = view;
    }
    return view;
  }

  /** The bucket of the row at `offset`, from the CRC-32 of its key fields with commas between them. */
  #bucketAt(bytes: Buffer, offset: number): number {
    const isKey = this.#isKey;
    const separator = this.#separator;
    let length = 0;
    let first = true;
    let at = offset;
    for (let field = 0; field < isKey.length; field++) {
      const taken = isKey[field] === 1;
      if (taken && !first) this.#key[length++] = comma;
      if (taken) first = false;
      for (; ; at++) {
        let byte = bytes[at] as number; // every row ends in a newline
        if (byte === separator || byte === newline) break;
        if (byte === backslash) byte = unescaped[bytes[++at] as number] as number; // an escape is never cut; 256 entries
        if (!taken) continue;
        // With room for a comma behind it, however many keys are empty.
        if (length + isKey.length >= this.#key.length) this.#key = grown(this.#key, length + isKey.length + 1);
        this.#key[length++] = byte;
      }
      at++;
    }
    // Up to the byte that ends the last key field, which may be the row's newline.
    this.#keyBytes = at - 1 - offset;
    const crc = length <= shortKeyBytes ? shortCrc32(this.#key, length) : crc32(this.#key.subarray(0, length));
    return (crc & this.#mask) >>> 0;
  }
}

/** The same as zlib's for a few bytes, which cost less than a call out of JavaScript. */
function shortCrc32(bytes: Buffer, length: number): number {
  let crc = -1;
  for (let index = 0; index < length; index++) {
    crc = (crc >>> 8) ^ (crcTable[(crc ^ (bytes[index] as number)) & 0xff] as number); // in bounds by length; 256 entries
  }
  return crc ^ -1;
}

const crcTable = Int32Array.from({ length: 256 }, (_, byte) => {
  let value = byte;
  for (let bit = 0; bit < 8; bit++) value = (value & 1) === 1 ? (value >>> 1) ^ 0xedb88320 : value >>> 1;
  return value;
});

/** What LOAD DATA makes of the letter after a backslash; any other character stands for itself. */
const unescaped = Uint8Array.from({ length: 256 }, (_, letter) => letter);
for (const [letter, byte] of Object.entries({ '0': 0, b: 8, n: 10, r: 13, t: 9, Z: 26 })) {
  unescaped[letter.charCodeAt(0)] = byte;
}

function grown(buffer: Buffer, needed: number): Buffer<ArrayBuffer> {
  const larger = Buffer.allocUnsafeSlow(Math.max(needed, buffer.length * 2));
  buffer.copy(larger);
  return larger;
}

function word(digest: string, at: number): number {
  return (
    (digest.charCodeAt(at) << 24) |
    (digest.charCodeAt(at + 1) << 16) |
    (digest.charCodeAt(at + 2) << 8) |
    digest.charCodeAt(at + 3)
  );
}

/**
 * Compares the source's buckets with the table's, which `serverBuckets` fills the same way.
 * @returns 1 for each bucket that differs, and how many do.
 */
export function differingBuckets(source: DigestBuckets, server: DigestBuckets): { wanted: Uint8Array; count: number } {
  const wanted = new Uint8Array(source.mask + 1);
  let count = 0;
  for (let bucket = 0; bucket <= source.mask; bucket++) {
    const same =
      source.counts[bucket] === server.counts[bucket] &&
      source.high[bucket] === server.high[bucket] &&
      source.low[bucket] === server.low[bucket];
    if (!same) {
      wanted[bucket] = 1;
      count++;
    }
  }
  return { wanted, count };
}

/** Puts one row of `digestQuery` into the buckets. */
export function setBucket(buckets: DigestBuckets, bucket: string, count: string, digest: string): void {
  const index = Number(bucket);
  const bits = BigInt(digest);
  buckets.counts[index] = Number(count);
  buckets.high[index] = Number(bits >> 32n);
  buckets.low[index] = Number(bits & 0xffffffffn);
}
