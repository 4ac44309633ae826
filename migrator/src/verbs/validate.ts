import { defineVerb } from '@tableset/common/program.ts';
import { databaseSettings, databaseSettingTable } from '@tableset/common/settings/database.ts';
import { readOptionsOf } from '../request.ts';
import { folderSettingTable } from '../settings.ts';

const optional = { required: false, defaultMeaning: 'none: the files alone are checked' } as const;

export const validate = defineVerb({
  name: 'validate',
  meaning: 'Check the migration files, and with a database also against its history, without touching anything.',
  usage: '',
  positionals: [0, 0],
  report: true,
  settings: {
    ...databaseSettingTable,
    host: { ...databaseSettingTable.host, ...optional },
    user: { ...databaseSettingTable.user, ...optional },
    name: { ...databaseSettingTable.name, ...optional },
    ...folderSettingTable,
  },
  async run({ values, output, signal }) {
    const { validateMigrations } = await import('../validate.ts');
    const { host, user, name, directory } = values;
    const database =
      host === undefined || user === undefined || name === undefined
        ? null
        : databaseSettings({ ...values, host, user, name });
    return await validateMigrations({ directory, read: readOptionsOf(values), database }, output, signal);
  },
});
