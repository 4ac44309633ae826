import type { ColumnDefinition } from '@tableset/common/database/table-definition.ts';
import type { ColumnMapping, TableMapping } from './mapping-types.ts';

export type SourceFormat = 'csv' | 'tsv' | 'jsonl' | 'json' | 'parquet';
export type ServerFlavour = 'mysql' | 'mariadb';

/** A source as a stream of decompressed bytes. A yielded buffer is read to its end before the next one is asked for, so it may be reused. */
export interface BytesInput {
  /** Names the source in errors and rejects; no secrets. */
  readonly name: string;
  readonly bytes: AsyncIterable<Uint8Array>;
}

/** A source that is read in pieces (Parquet). */
export interface RandomAccessInput {
  readonly name: string;
  readonly byteLength: number;
  /** Exactly the bytes from start up to, not including, end. */
  read(start: number, end: number): Promise<Uint8Array>;
}

export type RowsInput = BytesInput | RandomAccessInput;

/** How text records are written. */
export interface Dialect {
  /** One ASCII character; `,` for CSV. TSV always has the tab. */
  readonly delimiter?: string;
  /** One ASCII character, null for a file without quotes; `"` for CSV. TSV has none. */
  readonly quote?: string | null;
  /**
   * The unquoted text that means NULL. Without it: CSV takes an empty unquoted field as NULL where the column allows NULL, as '' in a NOT NULL text
   * column, and rejects it elsewhere; an unquoted `\N` is rejected rather than guessed at. With it, an empty field is '' in text columns and rejected
   * elsewhere, unless the null text is itself empty. A quoted field is never NULL. TSV always takes `\N` as NULL, and this text besides.
   */
  readonly nullText?: string;
  /** True (default) if the first record holds the names; else the names. For JSON: names beyond those of the first record, or absent. */
  readonly header?: true | readonly string[];
}

/** What is known of one rejected row. */
export interface Reject {
  readonly source: string;
  /** 1-based line of the record's first byte; for JSON arrays too; for Parquet the 1-based row. */
  readonly line: number;
  /** Target column, null when the whole record is at fault. */
  readonly column: string | null;
  /** Source field that fed it, null for constants and whole records. */
  readonly field: string | null;
  /** Why, a sentence part that names the value's fault and never quotes more than the value's beginning. */
  readonly reason: string;
  /** The beginning of the source text, null if there is none. */
  readonly value: string | null;
}

export interface EncodeOptions {
  readonly format: SourceFormat;
  readonly dialect?: Dialect;
  /** The target table's name, for messages. */
  readonly table: string;
  /** The target table's columns, as information_schema has them. */
  readonly columns: readonly ColumnDefinition[];
  readonly mapping?: TableMapping;
  readonly server: ServerFlavour;
  /** Last second that a TIMESTAMP holds: 2106-02-07 06:28:15 for MariaDB 11.5 and newer on 64 bit, else (default) 2038-01-19 03:14:07. */
  readonly timestampMax?: '2038' | '2106';
  /** A chunk is handed out when it has grown beyond this many bytes; 1 MiB by default. */
  readonly chunkBytes?: number;
  /** Largest record of the source in bytes; 16 MiB by default. */
  readonly recordBytesMax?: number;
  /** Fixes the target columns and their order, e.g. as the first of several files had them; a file that feeds others is refused. */
  readonly targets?: readonly string[];
  /** Fixes the separator byte likewise. */
  readonly separator?: number;
  /** Called once for each rejected row, in order; throws to stop. */
  readonly onReject: (reject: Reject) => void;
  readonly signal?: AbortSignal;
}

/** One target column and what feeds it. */
export interface PlannedColumn {
  readonly column: ColumnDefinition;
  /** Index into the plan's fields, -1 for a constant. */
  readonly field: number;
  readonly fieldName: string | null;
  readonly mapping: ColumnMapping | null;
}

export interface RowPlan {
  /** Target columns in the order of the load text. */
  readonly columns: readonly PlannedColumn[];
  /** The source's fields in their order. */
  readonly fields: readonly string[];
  /** The byte between fields of the load text: `,` `;` `|` or tab. */
  readonly separator: number;
}

/**
 * Rows as load text: what `LOAD DATA … CHARACTER SET utf8mb4 FIELDS TERMINATED BY separator ESCAPED BY '\\' LINES TERMINATED BY '\n'` (and no
 * ENCLOSED BY) reads: one line a row, `\N` for NULL, valid UTF-8, every value in the text that the server itself prints for it
 * (see canonicalExpression for the exceptions).
 */
export interface EncodedChunk {
  readonly source: string;
  readonly plan: RowPlan;
  readonly bytes: Buffer;
  readonly rows: number;
  /** Line in the source of each row, by its index in the chunk. */
  readonly lines: Uint32Array;
  /** Gives the memory back for the next chunk; `bytes` must not be read afterwards. Optional, but keeps memory flat. */
  release(): void;
}

/** Counts of one source, final once its chunks have ended. */
export interface EncodeCounts {
  /** Bytes of the source, as decompressed. */
  bytes: number;
  /** Records read, rejected ones included. */
  records: number;
  rejected: number;
}

/** An opened source: its plan is known, its rows are still to come. */
export interface EncodedRows {
  /** Null if the source has no bytes (or an empty JSON array), so that nothing tells its fields. */
  readonly plan: RowPlan | null;
  readonly counts: Readonly<EncodeCounts>;
  /** May be iterated once; its end, early or not, closes the input. */
  readonly chunks: AsyncIterable<EncodedChunk>;
  /** Closes the input where the chunks are not wanted after all. */
  close(): Promise<void>;
}
