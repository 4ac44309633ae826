import type { ArchiveSet } from '../core/archive/archive-set.ts';
import { type BatchProgress, resumeBatch, startBatch } from '../core/archive/batch-machine.ts';
import type { Manifest, ManifestTable } from '../core/archive/manifest.ts';
import type { KeyRange } from '../core/archive/selection.ts';
import type { BatchClaim, BatchFacts, LedgerBatch } from './batch-ledger.ts';
import type { BatchResult } from './engine.ts';
import type { CopiedBatch } from './two-server-copy.ts';
import type { VoidReason } from './two-server-delete.ts';

/** A range of rows and the batch that they are in just now. */
export interface Work {
  /** Null for a batch that an earlier run left. */
  readonly range: KeyRange | null;
  readonly expectedRows: number;
  progress: BatchProgress;
  claim: BatchClaim | null;
  manifest: Manifest | null;
  /** Null where only the store knows them, until the proof has asked it. */
  rows: CopiedBatch['rows'] | null;
  provedAtMs: number;
  /** A proof that was begun as soon as the store had sealed, while the ledger's turn had not come. */
  proof: Promise<CopiedBatch['rows'] | null> | null;
  /** That proof has come out well. */
  proved: boolean;
  /** The ledger says so already, by the same commit that said `copied`. */
  recordedVerified: boolean;
  /** Root rows that are left out, as JSON texts of their keys, and why. */
  readonly excluded: Map<string, VoidReason>;
  /** Root rows of the first attempt. */
  readRows: number | null;
  spent: boolean;
  seconds: number;
}

/** A range whose rows are to be archived. */
export function newWork(set: ArchiveSet, range: KeyRange, rows: number): Work {
  return { ...emptyWork(startBatch({ delayed: set.task.deleteDelaySeconds > 0 })), range, expectedRows: rows };
}

/** A batch that an earlier run left; null if nothing is left to be done about it. */
export function recoveredWork(set: ArchiveSet, batch: LedgerBatch): Work | null {
  // These states are the machine's own; the others were not asked for.
  const progress = resumeBatch(batch.state as Parameters<typeof resumeBatch>[0], fits(set, batch.manifest));
  return progress && { ...emptyWork(progress), claim: batch, manifest: batch.manifest };
}

function emptyWork(progress: BatchProgress): Work {
  return {
    range: null,
    expectedRows: 0,
    progress,
    claim: null,
    manifest: null,
    rows: null,
    provedAtMs: 0,
    proof: null,
    proved: false,
    recordedVerified: false,
    excluded: new Map(),
    readRows: null,
    spent: false,
    seconds: 0,
  };
}

/** True if a batch was written from the very tables that the set has now. */
function fits({ tables }: ArchiveSet, manifest: Manifest | null): boolean {
  return (
    manifest !== null &&
    manifest.tables.length === tables.length &&
    manifest.tables.every(({ table, archiveName, fingerprint, dropped }, index) => {
      const known = tables[index];
      // Rows that went without a copy were known to the run that read them alone.
      return (
        known?.definition.name === table &&
        known.archiveName === archiveName &&
        known.fingerprint === fingerprint &&
        dropped === 0
      );
    })
  );
}

/** True if the settings leave rows out of the archive: whoever lets go of what was read no longer knows them. */
export function dropsRows({ tables }: ArchiveSet): boolean {
  return tables.some(
    ({ child }) => child !== null && (child.settings.when !== null || child.settings.resolutionSeconds !== null),
  );
}

/** While a batch waits, the store alone remembers its rows. */
export function letGo(work: Work): Work {
  work.rows = null;
  return work;
}

export function claimOf(work: Work): BatchClaim {
  if (!work.claim) throw new RangeError('the batch has no row in the ledger yet');
  return work.claim;
}

export function manifestOf(work: Work): Manifest {
  if (!work.manifest) throw new RangeError('the batch was not copied yet');
  return work.manifest;
}

/** What the ledger is told of a batch that was copied. */
export function factsOf({ manifest }: Work): BatchFacts {
  const root = manifest?.tables[0];
  if (!root?.keys || !manifest) return {};
  return {
    firstKey: root.keys.first,
    lastKey: root.keys.last,
    oldest: root.dates?.oldest ?? null,
    newest: root.dates?.newest ?? null,
    rowCount: root.rows,
    totalRows: manifest.tables.reduce((sum, table) => sum + table.rows, 0),
    manifest,
  };
}

/** The tables of the set, and those that the batch was written with when the settings were others. */
export function storedTables(
  { tables }: ArchiveSet,
  work: Work,
): readonly Pick<ManifestTable, 'table' | 'archiveName'>[] {
  const known = tables.map(({ definition, archiveName }) => ({ table: definition.name, archiveName }));
  const others = work.manifest?.tables.filter((each) =>
    known.every(({ archiveName }) => archiveName !== each.archiveName),
  );
  return [...known, ...(others ?? [])];
}

/** What became of the rows, table by table. */
export function resultOf({ tables }: ArchiveSet, work: Work, deleted: boolean): BatchResult {
  const counts = tables.map(({ definition }, index) => {
    const table = deleted ? work.manifest?.tables[index] : undefined;
    const rows = table?.rows ?? 0;
    const skipped: Record<string, number> = {};
    const skip = (reason: string, count: number) => {
      if (count > 0) skipped[reason] = (skipped[reason] ?? 0) + count;
    };
    skip('dropped', table?.dropped ?? 0);
    if (index === 0 && work.range) skipRoots(work, rows, skip);
    return { table: definition.name, archived: rows, verified: rows, deleted: rows, skipped };
  });
  return { batch: claimOf(work).id, tables: counts, seconds: work.seconds };
}

function skipRoots(work: Work, archived: number, skip: (reason: string, count: number) => void): void {
  // Holds are counted once for the whole table.
  for (const reason of work.excluded.values()) if (reason !== 'held') skip(reason, 1);
  const read = work.readRows ?? 0;
  skip('gone', work.expectedRows - read);
  // Rows that left the selection between two attempts, or that changed faster than they could be copied.
  skip('changed', read - archived - work.excluded.size);
}
