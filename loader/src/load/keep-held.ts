import { readHolds } from '../archive/holds.ts';
import { keepFromDeletes } from '../core/kept-deletes.ts';
import type { LoadTarget } from '../core/load-sql.ts';
import type { LoadContext } from './table-load.ts';

/**
 * Takes rows on hold, restored ones among them, out of what a mirror load would delete: they are there although the source does not have them.
 * @throws AppError HOLD_INVALID
 */
export async function keepHeld({ connection, output }: LoadContext, target: LoadTarget): Promise<void> {
  let rows = 0;
  for (const hold of await readHolds(connection, target.definition)) {
    const { sql, values } = keepFromDeletes(target, hold);
    rows += (await connection.run(sql, values)).affectedRows;
  }
  if (rows > 0) output.event('info', 'rows on hold are not deleted', { table: target.definition.name, rows });
}
