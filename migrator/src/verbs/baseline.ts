import { defineVerb } from '@tableset/common/program.ts';
import { targetOf } from '../request.ts';
import { writingSettingTable } from '../settings.ts';

export const baseline = defineVerb({
  name: 'baseline',
  meaning: 'Record that the schema is at a version, without running anything.',
  usage: 'V',
  positionals: [1, 1],
  report: false,
  settings: writingSettingTable,
  async run({ values, positionals, output, signal }) {
    const { recordBaseline } = await import('../baseline.ts');
    const [version = ''] = positionals;
    return await recordBaseline({ ...values, target: targetOf(values), version }, output, signal);
  },
});
