import { AppError } from '@tableset/common/errors.ts';
import { type LoadTarget, operations, sampleKeys } from '../core/load-sql.ts';
import type { Delta } from './delta.ts';
import { describeRow, findOrphans } from './explain-conflict.ts';
import { checkGuards } from './guards.ts';
import { noCounts, type TableCounts } from './table-counts.ts';
import type { LoadContext, TableLoad } from './table-load.ts';

/** What a load would do to one table. */
export interface DryRunTable {
  readonly counts: TableCounts;
  /** Some keys of each operation, each as `column=value`. */
  readonly samples: {
    readonly inserted: readonly string[];
    readonly updated: readonly string[];
    readonly deleted: readonly string[];
  };
  /** Why a load would publish nothing of it, as far as a comparison can tell. */
  readonly refusals: readonly string[];
}

const samplesMax = 10;

/**
 * Turns the staged differences into counts, sample keys and refusals.
 * @param staged targets of the same set that were staged before
 */
export async function describeDelta(
  load: TableLoad,
  delta: Delta | null,
  staged: readonly (LoadTarget | null)[],
  context: LoadContext,
): Promise<DryRunTable> {
  const base = noCounts(load.task.table);
  if (!delta) return { counts: base, samples: { inserted: [], updated: [], deleted: [] }, refusals: [] };
  const { pass, inserts, updates, deletes, held } = delta;
  const unchanged = pass.read - pass.rejected - inserts - updates - held;
  const counts = {
    ...base,
    read: pass.read,
    inserted: inserts,
    updated: updates,
    deleted: deletes,
    unchanged,
    rejected: pass.rejected,
    held,
  };
  const sample = async (operation: number, count: number): Promise<string[]> => {
    if (count === 0) return [];
    const rows = await context.connection.rows(sampleKeys(pass.target, operation, samplesMax));
    return rows.map(describeRow);
  };
  return {
    counts,
    samples: {
      inserted: await sample(operations.insert, inserts),
      updated: await sample(operations.update, updates),
      deleted: await sample(operations.delete, deletes),
    },
    refusals: await refusalsOf(load, delta, staged, context),
  };
}

async function refusalsOf(
  load: TableLoad,
  delta: Delta,
  staged: readonly (LoadTarget | null)[],
  context: LoadContext,
): Promise<readonly string[]> {
  const refusals: string[] = [];
  try {
    checkGuards(load, delta);
  } catch (error) {
    if (!(error instanceof AppError)) throw error;
    refusals.push(`${error.code}: ${error.message}`);
  }
  if (!delta.staged) return refusals;
  const orphans = await findOrphans(delta.pass.target, context.connection, staged);
  return [...refusals, ...orphans.map((row) => `LOAD_FOREIGN_KEY: ${load.task.table}: ${row}`)];
}
