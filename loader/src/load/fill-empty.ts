import { targetTable } from '../core/load-sql.ts';
import { loaderError } from '../errors.ts';
import { duplicateCheck } from './duplicates.ts';
import type { Published } from './publish.ts';
import { noCounts } from './table-counts.ts';
import { type LoadContext, readSource, type TableLoad } from './table-load.ts';
import { TableWriter } from './table-writer.ts';

/** Fills an empty table straight from the source, inside the caller's transaction. */
export async function fillEmpty(load: TableLoad, context: LoadContext): Promise<Published> {
  const { connection } = context;
  let writer: TableWriter | null = null;
  const pass = await readSource(load, context, `load ${load.task.table}`, {
    begin: async (target, _plan, onReject) => {
      if (await connection.row(`SELECT 1 AS taken FROM ${targetTable(target)} LIMIT 1`)) {
        throw loaderError(
          'LOAD_TABLE_CHANGED',
          `${load.task.table} was empty and no longer is: something else writes to it`,
        );
      }
      writer = new TableWriter({
        connection,
        table: targetTable(target),
        name: load.task.table,
        localInfile: load.localInfile,
        inTransaction: true,
        onReject,
        onDuplicate: duplicateCheck(connection, target, targetTable(target)),
      });
    },
    write: async (chunk) => {
      await writer?.write(chunk);
      chunk.release();
      if ((writer?.written ?? 0) > load.task.maxPublishRows) {
        throw loaderError(
          'LOAD_PUBLISH_TOO_LARGE',
          `${load.task.table}: more than ${load.task.maxPublishRows} rows (maxPublishRows) in one transaction`,
        );
      }
    },
  });
  if (!pass) return { counts: noCounts(load.task.table), pass: null, rowCount: 0 };
  // The writer exists, since the source had a first file; its type does not say so inside the callbacks.
  const { written, duplicates } = writer as unknown as TableWriter;
  const counts = {
    table: load.task.table,
    read: pass.read,
    inserted: written,
    updated: 0,
    deleted: 0,
    unchanged: duplicates,
    rejected: pass.rejected,
    held: 0,
  };
  return { counts: { ...counts, publish: 'direct' }, pass, rowCount: written };
}
