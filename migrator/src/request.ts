import { commonError } from '@tableset/common/errors.ts';
import { databaseSettings } from '@tableset/common/settings/database.ts';
import type { ValuesOf } from '@tableset/common/settings/settings.ts';
import type { ReadOptions } from './core/formats/read-folder.ts';
import type { Target } from './open-target.ts';
import type { connectionSettingTable, folderSettingTable } from './settings.ts';

/** Makes a target of the settings of a verb. @throws AppError SETTING_INVALID, CONFIG_UNREADABLE */
export function targetOf(values: ValuesOf<typeof connectionSettingTable>): Target {
  return { database: databaseSettings(values), directory: values.directory, read: readOptionsOf(values) };
}

/** How the folder is to be read. @throws AppError SETTING_INVALID for a placeholder that is not NAME=VALUE */
export function readOptionsOf(values: ValuesOf<typeof folderSettingTable>): ReadOptions {
  const { format, placeholders } = values;
  if (placeholders.length === 1 && placeholders[0] === 'off') return { format, placeholders: 'off' };
  const pairs = placeholders.map((pair) => {
    const equals = pair.indexOf('=');
    if (equals > 0) return [pair.slice(0, equals), pair.slice(equals + 1)] as const;
    throw commonError(
      'SETTING_INVALID',
      `MIGRATIONS_PLACEHOLDERS was given ${JSON.stringify(pair)}; it takes NAME=VALUE, or the one word off`,
    );
  });
  return { format, placeholders: Object.fromEntries(pairs) };
}
