import { commonError } from '@tableset/common/errors.ts';
import { defineVerb, type VerbResult } from '@tableset/common/program.ts';
import { type DatabaseSettings, databaseSettings } from '@tableset/common/settings/database.ts';
import { retrySettingTable } from '../settings-service.ts';
import { readConfigFile } from './config-file.ts';

export const retry = defineVerb({
  name: 'retry',
  meaning:
    'Put failed runs of the service back into its queue, by their ids or all of them, or have its webhooks told again.',
  usage: '(RUN … | --failed | --dead-letters)',
  positionals: [0, 100],
  report: true,
  settings: retrySettingTable,
  readFile: readConfigFile,
  async run({ values, positionals, signal }): Promise<VerbResult> {
    for (const id of positionals) {
      if (!/^\d{1,20}$/.test(id))
        throw commonError('SETTING_INVALID', `retry was given ${JSON.stringify(id)}; it takes the numbers of runs`);
    }
    if ([values.failed, values.deadLetters, positionals.length > 0].filter(Boolean).length !== 1)
      throw commonError('SETTING_MISSING', 'retry takes either the numbers of runs, --failed or --dead-letters');
    if (values.deadLetters) return await replay(databaseSettings(values), values.webhookAttempts, signal);
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

async function replay(database: DatabaseSettings, attempts: number, signal: AbortSignal): Promise<VerbResult> {
  const { replayDeadLetters } = await import('../service/retry-runs.ts');
  const { replayed, left } = await replayDeadLetters(database, attempts, signal);
  const notices = replayed === 1 ? '1 notice waits again' : `${replayed} notices wait again`;
  return {
    summary: { outcome: 'done', replayed, left },
    lines: [replayed === 0 ? 'there is nothing to tell again' : `${notices}, ${left} are left`],
  };
}
