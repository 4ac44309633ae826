import { defineVerb } from '@tableset/common/program.ts';
import { readOptionsOf } from '../request.ts';
import { folderSettingTable } from '../settings.ts';

export const create = defineVerb({
  name: 'new',
  meaning: 'Make an empty migration file in the format of the folder, or a script where NAME ends in .ts or .js.',
  usage: 'NAME[.sql|.ts|.js]',
  positionals: [1, 100],
  report: true,
  settings: folderSettingTable,
  async run({ values, positionals }) {
    const { newMigration } = await import('../new-migration.ts');
    return newMigration({
      directory: values.directory,
      read: readOptionsOf(values),
      name: positionals.join(' '),
      now: new Date(),
    });
  },
});
