import type { Connection } from '@tableset/common/database/connection.ts';
import type { Fields } from '@tableset/common/output/output.ts';
import type { RunTask } from '../run-types.ts';

/** A run of a verb that never came to its end. Times as the ledger has them. */
export interface DeadRun {
  /** The ledger's. */
  readonly id: string;
  readonly task: RunTask;
  readonly startedAt: string;
  /** When it was found dead: whatever it committed, it did before. */
  readonly finishedAt: string;
}

/** Manifests have statistics of every column. */
const batchesAtOnce = 200;

/**
 * What a run had changed when it died. Loads write it down as they publish; what was archived and purged stands in the batches, since one lock lets in
 * one run at a time, and what was restored in the holds that keep it where it is, all of the same transactions as the rows.
 * @param written what it wrote into its row
 * @param later what later runs of the same task wrote
 */
export async function countedByDead(
  connection: Connection,
  run: DeadRun,
  written: readonly Fields[],
  later: readonly Fields[],
): Promise<readonly Fields[]> {
  switch (run.task) {
    case 'load':
      return await withoutSwapsThatFailed(connection, written, later);
    case 'archive':
      return await rowsOfBatches(connection, run, 'deleted', 'deleted');
    case 'purge':
      return await rowsOfBatches(connection, run, 'purged', 'purged');
    case 'restore':
      return await restoredRows(connection, run);
    case 'verify':
      return [];
    default:
      return run.task satisfies never;
  }
}

/** A swap is announced before it is made: it was if the table is no longer the one that it was to take the place of. */
async function withoutSwapsThatFailed(
  connection: Connection,
  written: readonly Fields[],
  later: readonly Fields[],
): Promise<readonly Fields[]> {
  const made: Fields[] = [];
  for (const counts of written) {
    const { swapsTableOf, ...rest } = counts;
    if (swapsTableOf === undefined) made.push(counts);
    else if (
      (await createTime(connection, String(counts['table']))) !== swapsTableOf &&
      // Or a later run has made the swap that this one did not come to.
      !later.some(({ table, publish }) => table === counts['table'] && publish === 'swap')
    )
      made.push(rest);
  }
  return made;
}

async function createTime(connection: Connection, table: string): Promise<string | null> {
  const row = await connection.row(
    'SELECT CREATE_TIME AS created FROM information_schema.TABLES WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = ?',
    [table],
  );
  return row?.['created']?.toString() ?? null;
}

/** Rows of the batches that came into a state while the run lived, under the name that the summary has for them. */
async function rowsOfBatches(
  connection: Connection,
  { startedAt, finishedAt }: DeadRun,
  state: 'deleted' | 'purged',
  name: string,
): Promise<readonly Fields[]> {
  const sums = new Map<string, number>();
  for (let after = '0'; ; ) {
    const rows = await connection.rows(
      `SELECT CAST(id AS CHAR) AS id, manifest FROM tableset_batches WHERE id > ? AND state = ? AND manifest IS NOT NULL AND changed_at BETWEEN ? AND ?
       ORDER BY tableset_batches.id LIMIT ${batchesAtOnce}`,
      [after, state, startedAt, finishedAt],
    );
    for (const row of rows)
      for (const { table, rows: count } of manifestTables(String(row['manifest'])))
        sums.set(table, (sums.get(table) ?? 0) + count);
    if (rows.length < batchesAtOnce) break;
    after = String(rows.at(-1)?.['id']);
  }
  return Array.from(sums, ([table, rows]) => ({ table, [name]: rows }));
}

/** Of a manifest no more than this is needed, and a newer format has it as well. */
function manifestTables(text: string): readonly { readonly table: string; readonly rows: number }[] {
  const manifest: unknown = JSON.parse(text);
  if (typeof manifest !== 'object' || manifest === null || !('tables' in manifest) || !Array.isArray(manifest.tables))
    return [];
  return manifest.tables.flatMap((each: unknown) => {
    if (typeof each !== 'object' || each === null || !('table' in each) || !('rows' in each)) return [];
    return typeof each.table === 'string' && typeof each.rows === 'number'
      ? [{ table: each.table, rows: each.rows }]
      : [];
  });
}

/** Rows of root tables that came back; their children came with them. */
async function restoredRows(connection: Connection, { id }: DeadRun): Promise<readonly Fields[]> {
  const rows = await connection.rows(
    'SELECT table_name, COUNT(*) AS restored FROM tableset_holds WHERE run_id = ? GROUP BY table_name ORDER BY table_name',
    [id],
  );
  return rows.map((row) => ({ table: String(row['table_name']), restored: Number(row['restored']) }));
}
