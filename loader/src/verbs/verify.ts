import { textTable } from '@tableset/common/output/table.ts';
import { defineVerb, type VerbResult } from '@tableset/common/program.ts';
import { databaseSettings } from '@tableset/common/settings/database.ts';
import { verifySettingTable } from '../settings-archive.ts';
import type { VerifyOutcome } from '../verify/run-verify.ts';
import { programVersion } from '../version.ts';
import { chosenTasks } from './archive.ts';
import { configOf, readConfigFile } from './config-file.ts';

export const verify = defineVerb({
  name: 'verify',
  meaning: 'Prove that the stores give back every row that was archived, or restore a sample as a drill.',
  usage: '[--config F] [--table T …] [--batch ID] [--drill [--sample N]]',
  positionals: [0, 0],
  report: false,
  settings: verifySettingTable,
  readFile: readConfigFile,
  async run({ values, output, signal }): Promise<VerbResult> {
    const { runVerify } = await import('../verify/run-verify.ts');
    const config = await configOf(values.config);
    const result = await runVerify({
      config,
      tasks: chosenTasks(config, values.table, values.config),
      chosen: values.table !== undefined,
      batch: values.batch ?? null,
      drill: values.drill ? { sample: values.sample, schema: values.drillSchema ?? null } : null,
      database: databaseSettings(values),
      lock: values,
      trigger: values.trigger,
      version: programVersion,
      output,
      signal,
    });
    const drill = values.drill ? { drill: true } : {};
    return {
      summary: { outcome: result.outcome, ...drill, tables: result.tables, leftovers: result.leftovers },
      lines: describe(result),
    };
  },
});

function describe(result: VerifyOutcome): readonly string[] {
  if (result.outcome === 'skipped') return ['skipped: another run holds the lock'];
  const header = ['table', 'batches', 'rows', 'verified'];
  const rows = result.tables.map(({ table, batches, rows: count, verified }) => [table, batches, count, verified]);
  return [
    ...textTable([header, ...rows]),
    ...result.leftovers.map(
      ({ store, table, batch, state }) =>
        `! ${store} holds batch ${batch} of ${table}, ${state === null ? 'which the ledger does not know' : `which is ${state}`}`,
    ),
  ];
}
