import type { ArchivedTable } from '../core/archive/archive-set.ts';
import type { CanonicalRow } from '../core/archive/canonical.ts';
import type { Manifest, ManifestTable } from '../core/archive/manifest.ts';

/**
 * Where archived rows live. Four adapters: mysql, filesystem, s3, sqlite; one contract suite runs over all of them.
 *
 * A batch is written table by table and then sealed; until it is sealed nothing of it has its final name, and what a killed writer
 * left is what `remove` takes away. What `hashes` and `rows` give comes from where it is kept, never from what was just sent.
 * Everything but `write` may be called again with the same result. Failures are AppErrors that name the store and the batch.
 */
export interface ArchiveStore extends AsyncDisposable {
  readonly kind: 'mysql' | 'filesystem' | 's3' | 'sqlite';
  /** Its name in the configuration. */
  readonly name: string;
  /** For people: where it is, without secrets. */
  describe(): string;

  /**
   * Gets ready for the tables of a set before anything is copied: makes what is missing, and refuses what could not hold every value.
   * @param evolve what to do about columns that the archive lacks
   * @returns what it did, one sentence each, for the log
   * @throws AppError ARCHIVE_STORE_UNSUITABLE, ARCHIVE_DRIFT
   */
  prepare(tables: readonly ArchivedTable[], evolve: 'refuse' | 'add-columns'): Promise<readonly string[]>;

  /**
   * Copies the rows of one table of a batch. Nothing of it is visible or counts before `seal`.
   * @returns what the manifest says of the file, null for stores without files
   */
  write(
    batch: BatchName,
    table: ArchivedTable,
    rows: AsyncIterable<readonly CanonicalRow[]>,
  ): Promise<StoredFile | null>;

  /** Makes the written tables durable together with the manifest; after it they survive a crash of the store. */
  seal(batch: BatchName, manifest: Manifest): Promise<void>;

  /** The hash of each row of a table, with its key's cells as the manifest writes them, read back from the store. */
  hashes(batch: BatchName, table: ManifestTable): AsyncIterable<readonly StoredHash[]>;

  /**
   * How many rows a table has in the store, and their digest as `batchDigest` makes it, worked out from what lies there. Only where that is
   * quicker than `hashes`; a digest that differs says nothing until `hashes` was asked.
   */
  digest?(batch: BatchName, table: ManifestTable): Promise<{ readonly rows: number; readonly sha256: string | null }>;

  /** The rows of a table, in the columns and order of the manifest. */
  rows(batch: BatchName, table: ManifestTable): AsyncIterable<readonly CanonicalRow[]>;

  /** The sealed manifest of a batch; null if the store has none. */
  manifest(batch: BatchName): Promise<Manifest | null>;

  /** Every batch that the store holds anything of for this root table, also parts of unsealed ones. */
  batches(rootTable: string): AsyncIterable<string>;

  /** Takes away all that the store holds of a batch, sealed or not. */
  remove(batch: BatchName, tables: readonly Pick<ManifestTable, 'table' | 'archiveName'>[]): Promise<void>;
}

export interface BatchName {
  /** Digits as text. */
  readonly id: string;
  /** The set's root table on the primary. */
  readonly rootTable: string;
}

export type StoredFile = NonNullable<ManifestTable['file']>;

export interface StoredHash {
  readonly key: readonly string[];
  /** As `rowHash` gives it. */
  readonly hash: string;
}
