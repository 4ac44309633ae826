/** Bump when an older version could misread what a newer one writes. */
export const manifestFormat = 1;

/** What a batch holds, the same for all stores: kept in the ledger and in the store, written once before the delete, never changed. */
export interface Manifest {
  readonly format: number;
  /** Id of the batch, digits as text: unique over all primaries that share a store. */
  readonly batch: string;
  /** Version of the program that wrote it. */
  readonly program: string;
  /** `host:port/schema` that the rows came from. */
  readonly source: string;
  readonly run: string;
  /** Rows with a date before this were taken: UTC, `YYYY-MM-DD HH:MM:SS.ffffff`. */
  readonly cutoff: string;
  readonly createdAt: string;
  /** The root first. */
  readonly tables: readonly ManifestTable[];
}

export interface ManifestTable {
  readonly table: string;
  readonly archiveName: string;
  readonly fingerprint: string;
  /** Names and types as the primary has them: `{name: 'id', type: 'bigint unsigned'}`. */
  readonly columns: readonly ManifestColumn[];
  readonly key: readonly string[];
  readonly rows: number;
  /** Least and greatest key in the primary's order, canonical cells as text (binary ones as hexadecimal digits); null where there are no rows. */
  readonly keys: { readonly first: readonly string[]; readonly last: readonly string[] } | null;
  /** Oldest and newest date of the root's rows in UTC, `YYYY-MM-DD HH:MM:SS.ffffff`; null for children. */
  readonly dates: { readonly oldest: string; readonly newest: string } | null;
  /** `batchDigest` of its rows. */
  readonly sha256: string;
  /** Rows that were left out of the archive and deleted, by explicit choice. */
  readonly dropped: number;
  readonly statistics: Readonly<Record<string, ColumnStatistics>>;
  /** For files: the name below the batch's folder, its size and its own SHA-256. */
  readonly file: { readonly name: string; readonly bytes: number; readonly sha256: string } | null;
}

export interface ManifestColumn {
  readonly name: string;
  /** COLUMN_TYPE. */
  readonly type: string;
  readonly characterSet: string | null;
  readonly collation: string | null;
  readonly nullable: boolean;
  readonly generated: boolean;
}

/** Of one column in one batch; minimum, maximum, sum and mean as exact text, null for columns that have none. */
export interface ColumnStatistics {
  readonly count: number;
  readonly nulls: number;
  readonly min: string | null;
  readonly max: string | null;
  readonly sum: string | null;
  readonly mean: string | null;
}
