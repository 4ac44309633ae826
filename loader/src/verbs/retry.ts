import { commonError } from '@tableset/common/errors.ts';
import { defineVerb, type VerbResult } from '@tableset/common/program.ts';
import { databaseSettings } from '@tableset/common/settings/database.ts';
import { retrySettingTable } from '../settings-service.ts';
import { readConfigFile } from './config-file.ts';

export const retry = defineVerb({
  name: 'retry',
  meaning: 'Put failed runs of the service back into its queue, by their ids or all of them.',
  usage: '(RUN … | --failed)',
  positionals: [0, 100],
  report: true,
  settings: retrySettingTable,
  readFile: readConfigFile,
  async run({ values, positionals, signal }): Promise<VerbResult> {
    for (const id of positionals) {
      if (!/^\d{1,20}$/.test(id))
        throw commonError('SETTING_INVALID', `retry was given ${JSON.stringify(id)}; it takes the numbers of runs`);
    }
    if (values.failed === positionals.length > 0)
      throw commonError('SETTING_MISSING', 'retry takes either the numbers of runs or --failed');
    const { retryRuns } = await import('../service/retry-runs.ts');
    const database = databaseSettings(values);
    const ids = values.failed ? null : positionals;
    const { queueSize: size, runAttempts: attempts } = values;
    const runs = await retryRuns({ ids, database, queueSize: size, runAttempts: attempts, signal });
    return {
      summary: { outcome: 'done', runs },
      lines:
        runs.length === 0
          ? ['there is nothing to retry']
          : runs.map(({ run, retryOf }) => `run ${retryOf} waits again as run ${run}`),
    };
  },
});
