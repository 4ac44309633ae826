import { batchDigest } from '../core/archive/canonical.ts';
import type { Manifest, ManifestTable } from '../core/archive/manifest.ts';
import type { KeyRow } from '../core/archive/two-server-sql.ts';
import type { BatchName } from '../stores/store.ts';
import type { EngineContext } from './engine.ts';
import type { CopiedBatch } from './two-server-copy.ts';

/**
 * Reads a batch back from the store and compares it with its manifest.
 * @param expected its rows where they are known; then a store that can digests them where they lie, and sends none
 * @returns the rows that the store has, or null if they are not those of the manifest
 */
export async function proveBatch(
  context: EngineContext,
  batch: BatchName,
  manifest: Manifest,
  expected: CopiedBatch['rows'] | null,
): Promise<CopiedBatch['rows'] | null> {
  const rows: (readonly KeyRow[])[] = [];
  for (const [index, table] of manifest.tables.entries()) {
    const known = expected?.[index];
    if (known && (await hasDigest(context, batch, table))) {
      rows.push(known);
      continue;
    }
    const found = await readBack(context, batch, table, index === 0);
    if (found.length !== table.rows || batchDigest(found.map(({ hash }) => hash)) !== table.sha256) {
      tellDifference(context, batch, table, { found, known });
      return null;
    }
    rows.push(found);
  }
  return rows;
}

/** False also where a store cannot tell: its rows are then read one by one. */
async function hasDigest({ store }: EngineContext, batch: BatchName, table: ManifestTable): Promise<boolean> {
  const found = await store.digest?.(batch, table);
  return found !== undefined && found.rows === table.rows && (table.rows === 0 || found.sha256 === table.sha256);
}

/** The rows that the store has, those beyond the first too many left out. */
async function readBack(
  { store }: EngineContext,
  batch: BatchName,
  table: ManifestTable,
  root: boolean,
): Promise<readonly KeyRow[]> {
  const found: KeyRow[] = [];
  for await (const each of store.hashes(batch, table)) {
    for (const { key, hash } of each) found.push({ key, hash, root: root ? found.length : null, kept: true });
    // A store that gives back ever more is no copy of this batch.
    if (found.length > table.rows) break;
  }
  return found;
}

function tellDifference(
  { store, output }: EngineContext,
  batch: BatchName,
  table: ManifestTable,
  { found, known }: { readonly found: readonly KeyRow[]; readonly known: readonly KeyRow[] | undefined },
): void {
  const hashes = new Set(found.map(({ hash }) => hash));
  const missing = known?.find((row) => row.kept && !hashes.has(row.hash));
  output.event('error', 'the store does not give back what was put into it', {
    batch: batch.id,
    store: store.name,
    table: table.table,
    rows: table.rows,
    found: found.length,
    ...(missing ? { key: missing.key } : {}),
  });
}
