import { exitCodes } from '@tableset/common/exit-codes.ts';
import { defineVerb, type VerbResult } from '@tableset/common/program.ts';
import { databaseSettings } from '@tableset/common/settings/database.ts';
import { serviceSettingTable } from '../settings-service.ts';
import { programVersion } from '../version.ts';
import { readConfigFile } from './config-file.ts';

export const serve = defineVerb({
  name: 'serve',
  meaning:
    'Stay and do what the one-shot verbs do: by schedule, by trigger and by API. RUN_MODE=service does the same.',
  usage: '[--config F]',
  positionals: [0, 0],
  report: false,
  settings: serviceSettingTable,
  readFile: readConfigFile,
  async run({ values, output, signal }): Promise<VerbResult> {
    // A one-shot run has no need of any of it.
    const { serve: run } = await import('../service/serve.ts');
    const { outcome } = await run({
      settings: values,
      databaseSettings: () => databaseSettings(values),
      version: programVersion,
      env: process.env,
      output,
      signal,
    });
    const lines = [
      outcome === 'done' ? 'the service has ended' : 'the service has ended; what it stopped goes on later',
    ];
    return { summary: { outcome }, lines, ...(outcome === 'stopped' ? { exit: exitCodes.stopped } : {}) };
  },
});
