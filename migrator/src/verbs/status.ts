import { defineVerb } from '@tableset/common/program.ts';
import { targetOf } from '../request.ts';
import { connectionSettingTable } from '../settings.ts';

export const status = defineVerb({
  name: 'status',
  meaning: 'List every migration and how it stands; exit 0 whatever it finds, unlike validate.',
  usage: '[--json]',
  positionals: [0, 0],
  report: true,
  settings: connectionSettingTable,
  async run({ values, output, signal }) {
    const { migrationReport } = await import('../status.ts');
    return await migrationReport(targetOf(values), output, signal);
  },
});
