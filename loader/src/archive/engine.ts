import type { SchemaLock } from '@tableset/common/database/lock.ts';
import type { Output } from '@tableset/common/output/output.ts';
import type { ArchiveSet } from '../core/archive/archive-set.ts';
import type { Cutoff } from '../core/archive/cutoff.ts';
import type { KeyRange, Selection } from '../core/archive/selection.ts';
import type { ArchiveStore } from '../stores/store.ts';

/**
 * Moves batches of one set from the primary to a store. Two engines: `one-server` does each batch in one transaction of the lock's
 * connection; `two-server` copies, proves and then deletes, for every store that no transaction of the primary reaches.
 */
export interface BatchEngine extends AsyncDisposable {
  /** Brings what earlier runs left to an end: proves, finishes or takes away. Call it once, before the first batch. */
  recover(): Promise<readonly BatchResult[]>;
  /**
   * Archives the rows of a range, all of them or (a changed row voids the batch, which is made again without it) all but those that the result
   * counts as skipped. An engine may work on a batch while the next is copied: it returns what has been finished by now.
   */
  archive(range: KeyRange, rows: number): Promise<readonly BatchResult[]>;
  /** Finishes what is on its way. */
  drain(): Promise<readonly BatchResult[]>;
  /** Waits for what is under way and gives what was finished and not returned yet: after a failure, batches beside the one that failed. Never throws. */
  takeFinished(): Promise<readonly BatchResult[]>;
}

export interface EngineContext {
  readonly set: ArchiveSet;
  readonly selection: Selection;
  readonly cutoff: Cutoff;
  /** Its connection makes every write on the primary. */
  readonly lock: SchemaLock;
  readonly store: ArchiveStore;
  readonly runId: string;
  /** Version of the program, for manifests. */
  readonly program: string;
  /** Which shard's rows these are, null without shards. */
  readonly shard: number | null;
  /** Batches that an engine may have under way at once, each on a connection of its own. */
  readonly parallelBatches: number;
  /** Loads are not told that rows older than the cut-off have gone: it is single rows that go. */
  readonly keepWatermark?: boolean;
  readonly output: Output;
  readonly signal: AbortSignal;
  /** Called before rows are deleted: throws ARCHIVE_TOO_MANY_DELETES when the run's budget does not cover them. */
  readonly spend: (rows: number) => void;
}

export interface BatchResult {
  readonly batch: string;
  /** By table, in the order of the set. */
  readonly tables: readonly BatchCounts[];
  /** Of the transaction that deleted, for the size of the next batch. */
  readonly seconds: number;
  /** Rows of the root that a batch was halved to, of which this is a part: the server did not take more in one transaction. */
  readonly halvedTo?: number;
}

/** archived = verified = deleted, or the batch would not have ended. */
export interface BatchCounts {
  readonly table: string;
  readonly archived: number;
  readonly verified: number;
  readonly deleted: number;
  /** Rows of the range that were not taken, by reason: changed, gone, held … */
  readonly skipped: Readonly<Record<string, number>>;
}
