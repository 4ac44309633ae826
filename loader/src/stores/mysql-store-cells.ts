import type { Connection, Value } from '@tableset/common/database/connection.ts';
import { databaseFailure } from '@tableset/common/database/failure.ts';
import { watchSilence } from '@tableset/common/database/silence.ts';
import type { Cell } from '../core/archive/canonical.ts';
import type { QueryColumn } from '../sources/query-columns.ts';
import { streamRows } from '../sources/query-rows.ts';

/**
 * Runs a query and gives its rows as the very bytes that the server sends, in batches as they arrive. The connection serves nothing
 * else until the last row was taken, and is closed if it was not.
 * @param width how many columns the query has
 * @throws AppError what `databaseFailure` makes of it
 */
export async function* readCells(
  connection: Connection,
  sql: string,
  values: readonly Value[],
  width: number,
  signal: AbortSignal,
): AsyncGenerator<readonly (readonly Cell[])[], void, undefined> {
  const column: QueryColumn = { name: '', binary: true, float: false };
  const columns = Array.from({ length: width }, () => column);
  const dead = new AbortController();
  const text = connection.driver.format(sql, [...values]);
  const batches = streamRows(connection, text, columns, AbortSignal.any([signal, dead.signal]));
  try {
    for (;;) {
      // A server may compute for long before its first row, but one that no longer runs the statement gives none. It is not asked while the caller takes its time.
      const watch = watchSilence(connection.settings, connection.id, (error) => dead.abort(error));
      const next = await batches.next().finally(watch.stop);
      if (next.done) return;
      // Binary columns come as Buffers.
      yield next.value as Cell[][];
    }
  } catch (cause) {
    throw signal.aborted ? signal.reason : databaseFailure(cause, { settings: connection.settings, statement: sql });
  } finally {
    await batches.return();
  }
}
