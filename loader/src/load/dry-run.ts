import { operations, sampleKeys } from '../core/load-sql.ts';
import type { Delta } from './delta.ts';
import { type LoadContext, noCounts, type TableCounts, type TableLoad } from './table-load.ts';

/** What a load would do to one table. */
export interface DryRunTable {
  readonly counts: TableCounts;
  /** Some keys of each operation, each as `column=value`. */
  readonly samples: {
    readonly inserted: readonly string[];
    readonly updated: readonly string[];
    readonly deleted: readonly string[];
  };
}

const samplesMax = 10;

/** Turns the staged differences into counts and sample keys. */
export async function describeDelta(load: TableLoad, delta: Delta | null, context: LoadContext): Promise<DryRunTable> {
  const base = noCounts(load.task.table);
  if (!delta) return { counts: base, samples: { inserted: [], updated: [], deleted: [] } };
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
    return rows.map((row) =>
      Object.entries(row)
        .map(([name, value]) => `${name}=${Buffer.isBuffer(value) ? `0x${value.toString('hex')}` : value}`)
        .join(' '),
    );
  };
  return {
    counts,
    samples: {
      inserted: await sample(operations.insert, inserts),
      updated: await sample(operations.update, updates),
      deleted: await sample(operations.delete, deletes),
    },
  };
}
