import { checkDeletes } from '../core/table-rules.ts';
import { loaderError } from '../errors.ts';
import type { Delta } from './delta.ts';
import type { TableLoad } from './table-load.ts';

/**
 * The limits on what one publishing transaction may write.
 * @throws AppError LOAD_TOO_MANY_DELETES, LOAD_PUBLISH_TOO_LARGE
 */
export function checkGuards(load: TableLoad, delta: Delta): void {
  const { task } = load;
  if (task.mode === 'mirror') checkDeletes(task, delta.deletes, load.rowsBefore);
  const writes = delta.inserts + delta.updates + delta.deletes;
  if (writes <= task.maxPublishRows) return;
  throw loaderError(
    'LOAD_PUBLISH_TOO_LARGE',
    `${task.table}: ${writes} rows would be written in one transaction; maxPublishRows is ${task.maxPublishRows}`,
  );
}
