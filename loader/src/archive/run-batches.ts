import { quoteIdentifier } from '@tableset/common/database/quoting.ts';
import type { ArchiveLimits } from '../config/archive-config.ts';
import { BatchSizer } from '../core/archive/batch-size.ts';
import { sourceTable } from '../core/archive/one-server-sql.ts';
import type { KeyPoint } from '../core/archive/selection.ts';
import type { CountsByTable } from './archive-counts.ts';
import type { BatchEngine, EngineContext } from './engine.ts';
import type { Reason, Throttle } from './throttle.ts';

/** What a set is archived with. */
export interface BatchRun {
  readonly context: EngineContext;
  readonly engine: BatchEngine;
  readonly limits: ArchiveLimits;
  readonly throttle: Throttle;
  /** The results of batches are added to it. */
  readonly counts: CountsByTable;
}

/**
 * Archives a set batch by batch until nothing matches any more.
 * @returns null, or why it ended before that
 */
export async function runBatches(run: BatchRun): Promise<Reason | null> {
  try {
    return await batchAfterBatch(run);
  } catch (error) {
    // Batches beside the one that failed are deleted all the same, so the summary has them.
    run.counts.add(await run.engine.takeFinished());
    throw error;
  }
}

async function batchAfterBatch({ context, engine, limits, throttle, counts }: BatchRun): Promise<Reason | null> {
  const { lock, selection, set, signal } = context;
  const sizer = new BatchSizer({ rowsMax: limits.batchRows, targetSeconds: limits.targetBatchSeconds });
  const total = await rowsToDo(context);
  let done = 0;
  let after: KeyPoint | null = null;
  let ended: Reason | null = null;
  // What another run left behind goes with its own watermark, which a run that keeps it does not raise.
  if (!context.keepWatermark) counts.add(await engine.recover());
  for (;;) {
    signal.throwIfAborted();
    const { sql, values } = selection.nextRange(after, sizer.size);
    const row = await lock.connection.row(sql, values);
    if (row === null) break;
    const { range, rows } = selection.readRange(after, row);
    // Asked only where there is something left to do: a run that is done has no need of time.
    ended = await throttle.beforeBatch();
    if (ended) break;
    const results = await engine.archive(range, rows);
    counts.add(results);
    for (const result of results) {
      const archived = result.tables[0]?.archived ?? 0;
      done += archived;
      sizer.add(archived, result.seconds, result.halvedTo ?? null);
    }
    context.output.progress({ label: `archive ${set.task.table}`, done, total, unit: 'rows' });
    after = range.last;
  }
  counts.add(await engine.drain());
  return ended;
}

/** For the remaining time at a terminal alone: counting takes a look at every row. */
async function rowsToDo({ output, lock, selection, set }: EngineContext): Promise<number | null> {
  if (!output.terminal) return null;
  const { sql, values } = selection.matches('r');
  const row = await lock.connection.row(
    `SELECT COUNT(*) AS ${quoteIdentifier('count')} FROM ${sourceTable(set.tables[0])} r${selection.indexHint} WHERE ${sql}`,
    values,
  );
  return Number(row?.['count']);
}
