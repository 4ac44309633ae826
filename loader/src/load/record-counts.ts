import type { Connection } from '@tableset/common/database/connection.ts';
import type { TableCounts } from './table-counts.ts';

/** A swap that is about to be made: it was if the table is another than the one that was made then, by its CREATE_TIME. */
interface ExpectedSwap extends TableCounts {
  readonly swapsTableOf: string | null;
}

/**
 * Writes down what a run has published so far; inside the transaction that publishes, so that whoever finds the run dead knows exactly what it has
 * changed. The end of the run writes the same again.
 */
export async function recordCounts(
  connection: Connection,
  runId: string,
  counts: readonly (TableCounts | ExpectedSwap)[],
): Promise<void> {
  await connection.run('UPDATE tableset_runs SET counts = ? WHERE id = ?', [JSON.stringify(counts), runId]);
}
