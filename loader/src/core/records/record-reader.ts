/** What next() found. */
export const readStates = {
  /** A record is in starts, ends and flags. */
  record: 0,
  /** The window holds no whole record; append to it and call again. */
  more: 1,
  /** The source has ended. */
  end: 2,
  /** A record that is rejected as a whole; badReason says why. */
  bad: 3,
} as const;

export type ReadState = (typeof readStates)[keyof typeof readStates];

/** Facts of one field, as bits. A field without any is plain unquoted text that needs no escape. */
export const fieldFlags = {
  /** The text was given as text (quotes, a JSON string), so it is never NULL. */
  quoted: 1,
  /** The bytes are still escaped; the reader's unescape() gives the value. */
  escaped: 2,
  /** The value has bytes that load text must escape. */
  special: 4,
  /** The field has a NUL byte. */
  nul: 8,
  /** An unquoted field has a quote in it. */
  strayQuote: 16,
  /** The bytes are in the reader's scratch instead of its window. */
  scratch: 32,
  /** The field is NULL. */
  isNull: 64,
  /** The record does not have the field. */
  missing: 128,
  /** An unquoted `\N` where nothing says that it is NULL. */
  undecided: 256,
  /** A JSON number. */
  number: 512,
  /** A JSON true or false. */
  boolean: 1024,
  /** A JSON object or array, or JSON text of any kind for a JSON column. */
  json: 2048,
  /** Raw bytes rather than text (Parquet). */
  binary: 4096,
} as const;

/** Bytes that unescape() or a reader has made. */
export interface Unescaped {
  readonly bytes: Buffer;
  readonly start: number;
  readonly end: number;
}

/** Reads one record at a time; its fields are places in buffers, so nothing is allocated for them. */
export interface RecordReader {
  /** Names of the fields, known once open. */
  readonly fields: readonly string[];
  readonly bytes: Buffer;
  readonly scratch: Buffer;
  readonly starts: Int32Array;
  readonly ends: Int32Array;
  readonly flags: Int32Array;
  /** All flags of the record or-ed. */
  readonly anyFlags: number;
  /** True if the record's bytes are ASCII. */
  readonly ascii: boolean;
  /** Line of the record. */
  readonly line: number;
  /** Where the record begins and, behind its line feed, ends in bytes; only delimited text has them, others give 0. */
  readonly recordStart: number;
  readonly recordEnd: number;
  /** Bytes of the record's line end: 1 for LF, 2 for CR LF, 0 at the end of the source. */
  readonly lineEndBytes: number;
  readonly badReason: string;
  next(): ReadState;
  /** The value of an escaped field; a string is the reason why it has none. The bytes are valid until the next call. */
  unescape(field: number): Unescaped | string;
}
