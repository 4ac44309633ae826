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
 * The text of a row is its fields as the server prints them, `\N` for NULL, then the byte length of each text field, so that
 * no two rows have the same text.
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
const rowsPerBucket = 16;
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
const lengthTypes = new Set(['char', 'varchar', 'tinytext', 'text', 'mediumtext', 'longtext', 'enum', 'set']);

/** True if every fed column can be digested. */
export function digestable(columns: readonly ColumnDefinition[]): boolean {
  return columns.every((column) => digestTypes.has(column.dataType));
}

/** A column's text in UTF-8, as bytes where it is text, so that columns of different collations can stand in one CONCAT_WS. */
function textExpression(column: ColumnDefinition, alias = ''): string {
  const name = `${alias === '' ? '' : `${alias}.`}${quoteIdentifier(column.name)}`;
  if (!lengthTypes.has(column.dataType)) return name;
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
    column.nullable ? `IFNULL(${textExpression(column)}, '\\\\N')` : textExpression(column),
  );
  const lengths = target.columns
    .filter((column) => lengthTypes.has(column.dataType))
    .map((column) =>
      column.nullable ? `IFNULL(LENGTH(${textExpression(column)}), 'N')` : `LENGTH(${textExpression(column)})`,
    );
  const digest = `SHA2(CONCAT_WS(',', ${[...fields, ...lengths].join(', ')}), 256)`;
  return `SELECT ${bucketExpression(target, mask)} AS bucket, COUNT(*) AS count, BIT_XOR(CAST(CONV(LEFT(${digest}, 16), 16, 10) AS UNSIGNED)) AS digest FROM ${targetTable(target)} GROUP BY bucket`;
}

const comma = 44;
const newline = 10;
const backslash = 92;
const letterN = 78;

/** Reads load text row by row: where each row lies, its bucket, and its digest's 64 bits. */
export class RowDigester {
  readonly #separator: number;
  /** For each field: 1 if its length belongs to the text. */
  readonly #lengthFields: Uint8Array;
  /** Indexes of key fields in column order. */
  readonly #keyFields: readonly number[];
  readonly #mask: number;
  readonly #starts: Uint32Array;
  readonly #ends: Uint32Array;
  /** Per field: 0 plain, 1 NULL, 2 with escapes. */
  readonly #forms: Uint8Array;
  #scratch = Buffer.allocUnsafe(64 * 1024);
  #keyScratch = Buffer.allocUnsafe(4096);

  constructor(target: LoadTarget, separator: number, mask: number) {
    const { columns, key } = target;
    this.#separator = separator;
    this.#mask = mask;
    this.#lengthFields = Uint8Array.from(columns, (column) => (lengthTypes.has(column.dataType) ? 1 : 0));
    this.#keyFields = columns.flatMap((column, index) => (key.includes(column.name) ? [index] : []));
    this.#starts = new Uint32Array(columns.length);
    this.#ends = new Uint32Array(columns.length);
    this.#forms = new Uint8Array(columns.length);
  }

  /** Adds every row of a chunk to the buckets. */
  add(bytes: Buffer, buckets: DigestBuckets): void {
    const { counts, high, low } = buckets;
    for (let offset = 0; offset < bytes.length; ) {
      const end = this.#scanRow(bytes, offset);
      const bucket = this.#bucket(bytes);
      // One character a byte; the first eight are the 64 bits that the server takes too.
      const digest = hash('sha256', this.#rowText(bytes, offset, end), 'binary');
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
      const end = this.#scanRow(bytes, offset);
      if (wanted[this.#bucket(bytes)] === 1) {
        written += bytes.copy(out, written, offset, end + 1);
        outLines[rows++] = lines[index] ?? 0;
      }
      offset = end + 1;
    }
    return { rows, bytes: written };
  }

  /** Finds the fields of the row at `offset`; returns where its newline is. */
  #scanRow(bytes: Buffer, offset: number): number {
    const separator = this.#separator;
    const starts = this.#starts;
    const ends = this.#ends;
    const forms = this.#forms;
    let field = 0;
    let form = 0;
    let start = offset;
    let at = offset;
    for (; ; at++) {
      const byte = bytes[at];
      if (byte === backslash) {
        form = bytes[at + 1] === letterN && at === start ? 1 : 2;
        at++;
      } else if (byte === separator || byte === newline) {
        starts[field] = start;
        ends[field] = at;
        forms[field++] = form;
        if (byte === newline) return at;
        start = at + 1;
        form = 0;
      }
    }
  }

  #bucket(bytes: Buffer): number {
    const [only] = this.#keyFields;
    if (this.#keyFields.length === 1 && only !== undefined && this.#forms[only] === 0) {
      return (crc32(bytes.subarray(this.#starts[only] ?? 0, this.#ends[only] ?? 0)) & this.#mask) >>> 0;
    }
    let length = 0;
    for (const field of this.#keyFields) {
      const size = (this.#ends[field] ?? 0) - (this.#starts[field] ?? 0) + 1;
      if (this.#keyScratch.length < length + size) this.#keyScratch = grown(this.#keyScratch, length + size);
      if (length > 0) this.#keyScratch[length++] = comma;
      length = this.#copyField(bytes, field, this.#keyScratch, length);
    }
    return (crc32(this.#keyScratch.subarray(0, length)) & this.#mask) >>> 0;
  }

  /** The row's text as the server makes it: the row itself where it needs no change, then the lengths. */
  #rowText(bytes: Buffer, offset: number, end: number): Buffer {
    const fields = this.#forms.length;
    const needed = end - offset + 1 + fields * 21;
    if (this.#scratch.length < needed) this.#scratch = grown(this.#scratch, needed);
    const scratch = this.#scratch;
    let length = 0;
    if (this.#separator === comma && this.#forms.indexOf(2) < 0) {
      length = bytes.copy(scratch, 0, offset, end);
    } else {
      for (let field = 0; field < fields; field++) {
        if (field > 0) scratch[length++] = comma;
        const before = length;
        length = this.#copyField(bytes, field, scratch, length);
        // From here on `ends - starts` is the length of the field as the server has it.
        if (this.#forms[field] === 2) this.#ends[field] = (this.#starts[field] ?? 0) + (length - before);
      }
    }
    for (let field = 0; field < fields; field++) {
      if (this.#lengthFields[field] !== 1) continue;
      scratch[length++] = comma;
      if (this.#forms[field] === 1) scratch[length++] = letterN;
      else length = writeInteger(scratch, length, (this.#ends[field] ?? 0) - (this.#starts[field] ?? 0));
    }
    return scratch.subarray(0, length);
  }

  #copyField(bytes: Buffer, field: number, out: Buffer, at: number): number {
    const start = this.#starts[field] ?? 0;
    const end = this.#ends[field] ?? 0;
    if (this.#forms[field] !== 2) return at + bytes.copy(out, at, start, end);
    for (let index = start; index < end; index++) {
      let byte = bytes[index] ?? 0;
      if (byte === backslash) {
        byte = bytes[++index] ?? 0;
        byte = unescaped.get(byte) ?? byte;
      }
      out[at++] = byte;
    }
    return at;
  }
}

/** What LOAD DATA makes of the letter after a backslash; any other character stands for itself. */
const unescaped: ReadonlyMap<number, number> = new Map(
  [
    ['0', 0],
    ['b', 8],
    ['n', 10],
    ['r', 13],
    ['t', 9],
    ['Z', 26],
  ].map(([letter, byte]) => [String(letter).charCodeAt(0), Number(byte)]),
);

function grown(buffer: Buffer, needed: number): Buffer<ArrayBuffer> {
  return Buffer.allocUnsafe(Math.max(needed, buffer.length * 2));
}

function word(digest: string, at: number): number {
  return (
    (digest.charCodeAt(at) << 24) |
    (digest.charCodeAt(at + 1) << 16) |
    (digest.charCodeAt(at + 2) << 8) |
    digest.charCodeAt(at + 3)
  );
}

function writeInteger(out: Buffer, at: number, value: number): number {
  if (value < 10) {
    out[at] = 48 + value;
    return at + 1;
  }
  const next = writeInteger(out, at, Math.floor(value / 10));
  out[next] = 48 + (value % 10);
  return next + 1;
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
