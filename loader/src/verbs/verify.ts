import { textTable } from '@tableset/common/output/table.ts';
import { defineVerb, type VerbResult } from '@tableset/common/program.ts';
import { verifySettingTable } from '../settings-archive.ts';
import type { VerifyOutcome } from '../verify/run-verify.ts';
import { runRequest } from './archive-request.ts';
import { readConfigFile } from './config-file.ts';

export const verify = defineVerb({
  name: 'verify',
  meaning: 'Prove that the stores give back every row that was archived, or restore a sample as a drill.',
  usage: '[--config F] [--table T …] [--batch ID] [--drill [--sample N]]',
  positionals: [0, 0],
  report: false,
  settings: verifySettingTable,
  readFile: readConfigFile,
  async run(context): Promise<VerbResult> {
    const { values } = context;
    const { runVerify } = await import('../verify/run-verify.ts');
    const result = await runVerify({
      ...(await runRequest(context, values.table)),
      chosen: values.table !== undefined,
      batch: values.batch ?? null,
      drill: values.drill ? { sample: values.sample, schema: values.drillSchema ?? null } : null,
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
