import { commonError } from '@tableset/common/errors.ts';
import { defineVerb } from '@tableset/common/program.ts';
import { text } from '@tableset/common/settings/kinds.ts';
import { targetOf } from '../request.ts';
import { writingSettingTable } from '../settings.ts';

const tools = ['knex', 'flyway', 'golang-migrate', 'dbmate', 'goose'] as const;

export const adopt = defineVerb({
  name: 'adopt',
  meaning: "Take over another tool's history without running anything again.",
  usage: tools.join('|'),
  positionals: [1, 1],
  report: false,
  settings: {
    ...writingSettingTable,
    table: {
      flag: 'table',
      kind: text('TABLE'),
      defaultMeaning: "the tool's own default",
      meaning: "The other tool's history table.",
    },
  },
  async run({ values, positionals, output, signal }) {
    const tool = tools.find((candidate) => candidate === positionals[0]);
    if (tool === undefined) {
      throw commonError(
        'SETTING_INVALID',
        `adopt was given ${JSON.stringify(positionals[0])}; it takes one of ${tools.join(', ')}`,
      );
    }
    const { adoptTool } = await import('../adopt.ts');
    return await adoptTool({ ...values, target: targetOf(values), tool }, output, signal);
  },
});
