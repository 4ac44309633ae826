import type { DatabaseSettings } from '@tableset/common/settings/database.ts';
import type { S3Settings } from './schema.ts';

/** One store of `stores:`, by the kind that its entry names. */
export type StoreSettings = { readonly name: string; readonly position: string } & (
  | {
      readonly kind: 'mysql';
      /** Null: the primary's own server and account, so that a batch is one transaction there. */
      readonly server: Omit<DatabaseSettings, 'name'> | null;
      /** Schema that holds the archive tables. */
      readonly schema: string;
      /** Accepts a server that may forget what it acknowledged (innodb_flush_log_at_trx_commit or sync_binlog other than 1). */
      readonly acceptNotDurable: boolean;
    }
  | { readonly kind: 'filesystem'; readonly folder: string; readonly files: FileSettings }
  | {
      readonly kind: 's3';
      readonly bucket: string;
      /** Without slashes at its ends; may be empty. */
      readonly prefix: string;
      readonly s3: S3Settings;
      readonly files: FileSettings;
    }
  | { readonly kind: 'sqlite'; readonly path: string }
);

export interface FileSettings {
  readonly format: 'parquet' | 'jsonl';
  readonly compression: 'zstd' | 'gzip';
}

/** One condition of `where:` or of a hold; never raw SQL. */
export interface Condition {
  readonly column: string;
  readonly operator: '=' | '!=' | '<' | '<=' | '>' | '>=' | 'in' | 'not in' | 'is null' | 'is not null';
  /** Absent for `is null` and `is not null`, a list for `in` and `not in`. Numbers whose digits matter come as text. */
  readonly value?: string | number | boolean | readonly (string | number)[];
}

export interface ArchiveChild {
  readonly table: string;
  /** Child column → parent column where no foreign key says it; null: the foreign key. */
  readonly on: Readonly<Record<string, string>> | null;
  /** Only children of parents for which this holds go along; the rest follow `otherwise`. */
  readonly when: { readonly column: string; readonly atMost?: number; readonly atLeast?: number } | null;
  /** Keeps one row per parent and interval of this length in the archive; null: every row. */
  readonly resolutionSeconds: number | null;
  /** The child's date column, which `resolutionSeconds` goes by. */
  readonly dateColumn: string | null;
  /** What happens with rows that `when` or `resolutionSeconds` leave out: they stay (their parents then stay too) or are deleted without a copy. */
  readonly leftOut: 'keep' | 'drop';
  readonly archiveTable: string | null;
}

/** One table of `archive:`, checked, with defaults filled in. */
export interface ArchiveTask {
  readonly table: string;
  readonly dateColumn: string;
  /** What the column holds: its own date type, or seconds or milliseconds since 1970 in an integer. */
  readonly dateType: 'date' | 'epoch-seconds' | 'epoch-milliseconds';
  /** Zone of the wall clock that a DATE or DATETIME column shows; `UTC` by default. */
  readonly dateZone: string;
  readonly archiveAfterDays: number;
  /** Null: archived rows are kept for ever. */
  readonly deleteAfterDays: number | null;
  readonly enabled: boolean;
  /** Name of the store. */
  readonly store: string;
  /** Null: the table's own name. */
  readonly archiveTable: string | null;
  readonly children: readonly ArchiveChild[];
  readonly where: readonly Condition[];
  /** What to do when the table has columns that its archive lacks. */
  readonly evolve: 'refuse' | 'add-columns';
  /** Seconds between a verified copy and the delete. */
  readonly deleteDelaySeconds: number;
  /** Archives although delete triggers would fire. */
  readonly allowDeleteTriggers: boolean;
  /** `file:line:column` of the entry, for messages. */
  readonly position: string;
}

export interface ArchiveLimits {
  /** First size of a batch in rows of the root table, and its largest. */
  readonly batchRows: number;
  /** A batch's size adapts so that its transaction takes about this long. */
  readonly targetBatchSeconds: number;
  /** Pause after each batch in times of what the batch took; 0: none. */
  readonly niceRatio: number;
  /** Batches under way at once where an archive lies on the primary's own server. */
  readonly parallelBatches: number;
  readonly maxRuntimeSeconds: number | null;
  /** Times of day, in minutes since midnight in `zone`; `from` later than `to` spans midnight. */
  readonly window: { readonly fromMinute: number; readonly toMinute: number; readonly zone: string } | null;
  readonly maxReplicaLagSeconds: number | null;
  /** Replicas whose lag is watched; the primary's account logs in unless they say otherwise. */
  readonly replicas: readonly { readonly host: string; readonly port: number }[];
  readonly maxThreadsRunning: number | null;
  /** The deletion budget of one run, over all its tables; null: no limit of this kind. */
  readonly maxDeletes: { readonly rows: number | null; readonly percent: number | null };
}

/** The sections of the configuration that archive, purge, restore, verify and status use. */
export interface ArchiveConfig {
  readonly archive: readonly ArchiveTask[];
  readonly stores: readonly StoreSettings[];
  readonly limits: ArchiveLimits;
}

/** Limits of a file that says nothing of them. */
export const standardLimits: ArchiveLimits = {
  batchRows: 2000,
  targetBatchSeconds: 0.5,
  niceRatio: 0,
  parallelBatches: 2,
  maxRuntimeSeconds: null,
  window: null,
  maxReplicaLagSeconds: null,
  replicas: [],
  maxThreadsRunning: null,
  maxDeletes: { rows: null, percent: null },
};
