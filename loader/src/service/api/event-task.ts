import { connect } from '@tableset/common/database/connect.ts';
import { readTableDefinition } from '@tableset/common/database/read-table.ts';
import type { ColumnDefinition, TableDefinition } from '@tableset/common/database/table-definition.ts';
import { commonError } from '@tableset/common/errors.ts';
import type { DatabaseSettings } from '@tableset/common/settings/database.ts';
import type { ArchiveTask, Condition } from '../../config/archive-config.ts';
import { isBinaryType } from '../../core/values/column-codec.ts';
import { loaderError } from '../../errors.ts';

/** A row of today, or one that a clock which is a little ahead has dated, is taken as well. */
const daysAhead = 1;

/**
 * The task for one row of its table, whatever the row's age: the conditions of the configuration hold, and it must have a date.
 * @param key a text for each column of the primary key, binary ones as hexadecimal digits
 * @throws AppError LOAD_TABLE_MISSING, ARCHIVE_TABLE_UNSUITABLE, SETTING_INVALID
 */
export async function eventTask(
  task: ArchiveTask,
  key: readonly string[],
  database: DatabaseSettings,
  signal: AbortSignal,
): Promise<ArchiveTask> {
  await using connection = await connect(database, { signal });
  const definition = await readTableDefinition(connection, database.name, task.table);
  if (!definition) throw loaderError('LOAD_TABLE_MISSING', `schema ${database.name} has no table ${task.table}`);
  return { ...task, archiveAfterDays: -daysAhead, where: [...task.where, ...keyConditions(definition, key)] };
}

/** Conditions that exactly the row with this key meets. */
export function keyConditions(definition: TableDefinition, key: readonly string[]): readonly Condition[] {
  const parts = definition.indexes.find((index) => index.name === 'PRIMARY')?.parts ?? [];
  const columns = parts.flatMap(({ column }) => definition.columns.filter((each) => each.name === column));
  if (columns.length === 0)
    throw loaderError('ARCHIVE_TABLE_UNSUITABLE', `${definition.name} has no primary key to name a row by`);
  if (columns.length !== key.length) {
    const names = columns.map(({ name }) => name).join(', ');
    throw commonError(
      'SETTING_INVALID',
      `the key of ${definition.name} is (${names}), and ${key.length} values were given`,
      {
        hint: 'Give the values of a key of several columns as a JSON list of texts: ["7","2"].',
      },
    );
  }
  return columns.map((column, place) => ({
    column: column.name,
    operator: '=',
    value: conditionValue(column, key[place] ?? ''),
  }));
}

function conditionValue(column: ColumnDefinition, cell: string): string {
  return isBinaryType(column.dataType) ? `0x${cell}` : cell;
}
