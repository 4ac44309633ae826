import { defineVerb } from '@tableset/common/program.ts';
import { choice, integer } from '@tableset/common/settings/kinds.ts';
import { targetOf } from '../request.ts';
import { writingSettingTable } from '../settings.ts';

export const resolve = defineVerb({
  name: 'resolve',
  meaning: 'Record what became of a migration that was cut off, or accept an edited one.',
  usage: 'V --as applied|rolled-back|retry',
  positionals: [1, 1],
  report: false,
  settings: {
    ...writingSettingTable,
    as: {
      flag: 'as',
      kind: choice('applied', 'rolled-back', 'retry'),
      required: true,
      meaning:
        'applied: everything in the file is done (or: the edited file is accepted); rolled-back: all of it was undone; retry: go on with the statement that was cut off.',
    },
    statement: {
      flag: 'statement',
      kind: integer(1, 1_000_000),
      defaultMeaning: 'the one that was cut off',
      meaning: 'With --as retry: the statement to go on with; those before it count as done.',
    },
  },
  async run({ values, positionals, output, signal }) {
    const { resolveMigration } = await import('../resolve.ts');
    const [version = ''] = positionals;
    return await resolveMigration({ ...values, target: targetOf(values), version }, output, signal);
  },
});
