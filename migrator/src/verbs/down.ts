import { defineVerb } from '@tableset/common/program.ts';
import { text, toggle } from '@tableset/common/settings/kinds.ts';
import { targetOf } from '../request.ts';
import { executionSettingTable, writingSettingTable } from '../settings.ts';

export const down = defineVerb({
  name: 'down',
  meaning: 'Undo the migrations newer than a version, newest first.',
  usage: '--to V [--dry-run]',
  positionals: [0, 0],
  report: false,
  settings: {
    ...writingSettingTable,
    ...executionSettingTable,
    to: {
      flag: 'to',
      kind: text('V'),
      required: true,
      meaning: 'The version that stays the newest; 0 undoes everything.',
    },
    dryRun: {
      flag: 'dry-run',
      kind: toggle(),
      default: false,
      meaning: 'Say what would be undone, and write nothing.',
    },
  },
  async run({ values, output, signal }) {
    const { migrateDown } = await import('../down.ts');
    return await migrateDown({ ...values, target: targetOf(values) }, output, signal);
  },
});
