import type { BatchState } from '../archive/batch-ledger.ts';
import { type LockedSession, type RunRequest, withLockedRun } from '../catalogue/archive-run.ts';
import { findBatches } from '../catalogue/find-batches.ts';
import { loaderError } from '../errors.ts';
import { drillBatches } from './drill.ts';
import { findLeftovers, type Leftover } from './leftovers.ts';
import { type Difference, proveBatch, verifyFailed } from './prove-batch.ts';

export interface VerifyRequest extends RunRequest {
  /** Tables were chosen by name. */
  readonly chosen: boolean;
  /** Id of the only batch. */
  readonly batch: string | null;
  /** Restores a sample into scratch tables instead of reading everything; null: no drill. */
  readonly drill: { readonly sample: number; readonly schema: string | null } | null;
}

/** What is known of one table of the sets, by its root. */
export interface VerifyCounts {
  readonly table: string;
  batches: number;
  /** Of all tables of the set. */
  rows: number;
  verified: number;
  differing: number;
}

export interface VerifyOutcome {
  readonly outcome: 'done' | 'skipped';
  readonly tables: readonly VerifyCounts[];
  readonly leftovers: readonly Leftover[];
}

/** States in which the store must hold what the manifest says. */
const sealedStates: readonly BatchState[] = ['copied', 'verified', 'deleted'];
/** Differences beyond these are counted only. */
const differencesMax = 1_000;

/**
 * Proves batches against their manifests and looks for what the ledger does not know, or, as a drill, restores a sample. Every batch is looked at before
 * it fails.
 * @throws AppError ARCHIVE_VERIFY_FAILED naming batch, table and what differs; RESTORE_NOT_FOUND for a batch that is not there
 */
export async function runVerify(request: VerifyRequest): Promise<VerifyOutcome> {
  const tally = new VerifyTally(request.tasks.map((task) => task.table));
  const leftovers = await withLockedRun(
    request,
    request.drill ? 'drill' : 'verify',
    () => tally.tables,
    async (session) => {
      if (request.drill) {
        await drillBatches(session, { ...request.drill, tables: rootTables(request), batch: request.batch }, tally);
        tally.assertGood();
        return [];
      }
      await proveBatches(session, request, tally);
      const found = request.batch === null ? await findLeftovers(session, request.tasks) : [];
      for (const leftover of found)
        request.output.event('warn', 'the store holds what the ledger does not know', { ...leftover });
      tally.assertGood();
      return found;
    },
  );
  return { outcome: leftovers ? 'done' : 'skipped', tables: tally.tables, leftovers: leftovers ?? [] };
}

/** Without a choice also those that the configuration no longer has. */
function rootTables({ chosen, tasks }: VerifyRequest): readonly string[] | null {
  return chosen ? tasks.map((task) => task.table) : null;
}

async function proveBatches(session: LockedSession, request: VerifyRequest, tally: VerifyTally): Promise<void> {
  const { connection, stores } = session;
  let found = 0;
  const question = { tables: rootTables(request), states: sealedStates, batch: request.batch };
  for await (const batch of findBatches(connection, question, 'oldest first')) {
    request.signal.throwIfAborted();
    found++;
    const differences = await proveBatch(await stores.get(batch.store), batch);
    tally.add(batch.table, batch.totalRows ?? 0, differences);
    if (differences.length === 0) {
      await connection.run('UPDATE tableset_batches SET verified_at = UTC_TIMESTAMP(6) WHERE id = ? AND token = ?', [
        batch.id,
        batch.token,
      ]);
    }
    request.output.progress({ label: 'verify', done: found, total: null, unit: 'batches' });
  }
  if (found === 0 && request.batch !== null) {
    throw loaderError('RESTORE_NOT_FOUND', `there is no batch ${request.batch} in the archive`);
  }
}

/** Counts, and what differed. */
export class VerifyTally {
  readonly #tables = new Map<string, VerifyCounts>();
  readonly #differences: Difference[] = [];

  constructor(tables: readonly string[]) {
    for (const table of tables) this.#of(table);
  }

  add(table: string, rows: number, differences: readonly Difference[]): void {
    const counts = this.#of(table);
    counts.batches++;
    counts.rows += rows;
    if (differences.length === 0) counts.verified++;
    else counts.differing++;
    if (this.#differences.length < differencesMax) this.#differences.push(...differences);
  }

  /** @throws AppError ARCHIVE_VERIFY_FAILED */
  assertGood(): void {
    if (this.#differences.length > 0) throw verifyFailed(this.#differences);
  }

  get tables(): readonly VerifyCounts[] {
    return Array.from(this.#tables.values());
  }

  #of(table: string): VerifyCounts {
    const known = this.#tables.get(table);
    if (known) return known;
    const made = { table, batches: 0, rows: 0, verified: 0, differing: 0 };
    this.#tables.set(table, made);
    return made;
  }
}
