import { AppError, commonError } from '@tableset/common/errors.ts';
import { type ExitCode, exitCodes } from '@tableset/common/exit-codes.ts';
import { defineVerb, type VerbResult } from '@tableset/common/program.ts';
import { workSettingTable } from '../settings-service.ts';
import { readConfigFile } from './config-file.ts';

export const work = defineVerb({
  name: 'work',
  meaning: 'Do one run of the service in a pod of its own; the Jobs that it makes call this.',
  usage: '--run ID --token TOKEN',
  positionals: [0, 0],
  report: false,
  settings: workSettingTable,
  readFile: readConfigFile,
  async run({ values, output, signal }): Promise<VerbResult> {
    for (const key of ['run', 'token'] as const) {
      if (/^\d{1,20}$/.test(values[key])) continue;
      throw commonError('SETTING_INVALID', `--${key} was given ${JSON.stringify(values[key])}; it takes digits`);
    }
    const { work: run } = await import('../service/job/worker.ts');
    const result = await run({ settings: values, env: process.env, output, signal });
    const { run: id } = values;
    if (result.state === 'done') {
      const { seconds: _ours, ...summary } = result.summary;
      return { summary: { run: id, ...summary }, lines: [`run ${id} is done`] };
    }
    if (result.state === 'failed' || result.state === 'cancelled') {
      const { code, message, hint, exit } = result.error;
      // The exit code was one before it went through the ledger's types.
      const entry = { exit: exit as ExitCode, cause: '', remedy: hint };
      throw new AppError(code, entry, message, { hint, details: { summary: { run: id, ...result.summary } } });
    }
    const outcome = result.state === 'stopped' ? 'stopped' : 'refused';
    return { summary: { outcome, run: id }, lines: [`run ${id}: ${outcome}`], exit: exitCodes.stopped };
  },
});
