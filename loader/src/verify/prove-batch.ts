import { isDeepStrictEqual } from 'node:util';
import { AppError } from '@tableset/common/errors.ts';
import type { LedgerBatch } from '../archive/batch-ledger.ts';
import { batchDigest } from '../core/archive/canonical.ts';
import { type ManifestTable, manifestFormat } from '../core/archive/manifest.ts';
import { loaderError } from '../errors.ts';
import type { ArchiveStore, BatchName } from '../stores/store.ts';

/** What a store gives back that is not what was put into it. */
export interface Difference {
  readonly batch: string;
  readonly store: string;
  /** Null for the batch as a whole. */
  readonly table: string | null;
  readonly what: string;
}

/** The store's name of a batch. */
export function batchName(batch: Pick<LedgerBatch, 'id' | 'table'>): BatchName {
  return { id: batch.id, rootTable: batch.table };
}

/** Tables of a batch, the root first. @throws AppError ARCHIVE_VERIFY_FAILED if the ledger's row has no manifest that is understood. */
export function batchTables(batch: LedgerBatch): readonly ManifestTable[] {
  const format = batch.manifest?.format ?? 0;
  if (format > manifestFormat) {
    const what = `its manifest has format ${format}; this version knows up to ${manifestFormat}`;
    throw verifyFailed(
      [{ batch: batch.id, store: batch.store, table: null, what }],
      'Use the version that wrote it, or a newer one.',
    );
  }
  if (batch.manifest) return batch.manifest.tables;
  throw verifyFailed([{ batch: batch.id, store: batch.store, table: null, what: 'the ledger has no manifest of it' }]);
}

/**
 * Proves one table of a batch: reads every row back from where it is kept, and compares count and digest with the manifest.
 * @param onHash told of each row that is read, before anything is known of the whole
 * @returns null if they agree
 */
export async function proveTable(
  store: ArchiveStore,
  batch: LedgerBatch,
  table: ManifestTable,
  onHash: (hash: string, key: readonly string[]) => void = () => {},
): Promise<Difference | null> {
  const found = (what: string): Difference => ({ batch: batch.id, store: store.name, table: table.table, what });
  const hashes: string[] = [];
  try {
    for await (const rows of store.hashes(batchName(batch), table)) {
      for (const { hash, key } of rows) {
        hashes.push(hash);
        onHash(hash, key);
      }
      // A store that goes on for ever must not fill the memory.
      if (hashes.length > table.rows + surplusMax) break;
    }
  } catch (error) {
    if (error instanceof AppError && error.code === 'ARCHIVE_VERIFY_FAILED') return found(error.message);
    throw error;
  }
  if (hashes.length > table.rows + surplusMax) return found(`has more than the ${table.rows} rows of the manifest`);
  if (hashes.length !== table.rows) return found(`has ${hashes.length} rows; the manifest says ${table.rows}`);
  const digest = batchDigest(hashes);
  return digest === table.sha256
    ? null
    : found(`its rows have the digest ${digest}; the manifest says ${table.sha256}`);
}

const surplusMax = 100_000;

/** Proves that the store's manifest of a batch is the ledger's. */
export async function proveManifest(store: ArchiveStore, batch: LedgerBatch): Promise<readonly Difference[]> {
  const differs = (what: string): readonly Difference[] => [{ batch: batch.id, store: store.name, table: null, what }];
  try {
    const manifest = await store.manifest(batchName(batch));
    if (manifest === null) return differs('the store has no manifest of it');
    return isDeepStrictEqual(manifest, batch.manifest) ? [] : differs("the store's manifest is not the ledger's");
  } catch (error) {
    if (!(error instanceof AppError && error.code === 'ARCHIVE_VERIFY_FAILED')) throw error;
    return differs(error.message);
  }
}

/** Proves a whole batch: every table, and that the store's manifest is the ledger's. */
export async function proveBatch(store: ArchiveStore, batch: LedgerBatch): Promise<readonly Difference[]> {
  const differences = [...(await proveManifest(store, batch))];
  if (batch.manifest === null) {
    const what = 'the ledger has no manifest of it';
    return [...differences, { batch: batch.id, store: store.name, table: null, what }];
  }
  for (const table of batchTables(batch)) {
    const difference = await proveTable(store, batch, table);
    if (difference) differences.push(difference);
  }
  return differences;
}

const toldMax = 20;

/** ARCHIVE_VERIFY_FAILED that names batch, table and what differs. */
export function verifyFailed(differences: readonly Difference[], hint?: string): AppError {
  const told = differences
    .slice(0, toldMax)
    .map(({ batch, store, table, what }) => `batch ${batch} in ${store}${table === null ? '' : `, ${table}`}: ${what}`);
  if (differences.length > toldMax) told.push(`and ${differences.length - toldMax} more`);
  return loaderError('ARCHIVE_VERIFY_FAILED', told.join('\n'), {
    ...(hint === undefined ? {} : { hint }),
    details: { differences: differences.slice(0, toldMax) },
  });
}
