import type { LedgerBatch } from '../archive/batch-ledger.ts';
import type { ManifestTable } from '../core/archive/manifest.ts';
import type { ArchiveStore } from '../stores/store.ts';
import { proveTable, verifyFailed } from '../verify/prove-batch.ts';

/** Hashes that are remembered between the two passes; a table that does not fit is proved again in the second one. */
const keptMax = 200_000;

/** Proves tables of batches, and remembers the hashes of their rows: only a row with one of them is ever written. */
export class ProofKeeper {
  readonly #kept = new Map<string, ReadonlySet<string>>();
  #count = 0;

  /**
   * The hashes of a table's rows, after all of them were proved against the manifest.
   * @throws AppError ARCHIVE_VERIFY_FAILED
   */
  async hashes(store: ArchiveStore, batch: LedgerBatch, table: ManifestTable): Promise<ReadonlySet<string>> {
    const name = JSON.stringify([batch.id, table.table]);
    const kept = this.#kept.get(name);
    if (kept) return kept;
    const hashes = new Set<string>();
    const difference = await proveTable(store, batch, table, (hash) => hashes.add(hash));
    if (difference)
      throw verifyFailed(
        [difference],
        'Nothing was restored from it. Look at the store; loader verify says what else differs.',
      );
    if (this.#count + hashes.size <= keptMax) {
      this.#kept.set(name, hashes);
      this.#count += hashes.size;
    }
    return hashes;
  }
}
