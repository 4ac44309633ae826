import { defineVerb, type VerbResult } from '@tableset/common/program.ts';
import { text, toggle } from '@tableset/common/settings/kinds.ts';
import { targetOf } from '../request.ts';
import { executionSettingTable, historySettingTable, writingSettingTable } from '../settings.ts';
import { migrateUp } from '../up.ts';

const settings = {
  ...writingSettingTable,
  ...executionSettingTable,
  ...historySettingTable,
  to: {
    flag: 'to',
    kind: text('V'),
    defaultMeaning: 'the newest',
    meaning: 'Stop after this version.',
  },
  dryRun: {
    flag: 'dry-run',
    kind: toggle(),
    default: false,
    meaning: 'Say what would be applied, and write nothing.',
  },
  outOfOrder: {
    flag: 'out-of-order',
    env: 'MIGRATIONS_OUT_OF_ORDER',
    kind: toggle(),
    default: false,
    meaning: 'Also apply migrations older than the newest applied one.',
  },
} as const;

export const up = defineVerb({
  name: 'up',
  meaning: 'Apply the pending migrations.',
  usage: '[--to V] [--dry-run]',
  positionals: [0, 0],
  report: false,
  settings,
  async run({ values, output, signal }): Promise<VerbResult> {
    return await migrateUp({ ...values, target: targetOf(values) }, output, signal);
  },
});
