import { textTable } from '@tableset/common/output/table.ts';
import { defineVerb, type VerbResult } from '@tableset/common/program.ts';
import type { PurgeOutcome } from '../purge/run-purge.ts';
import { purgeSettingTable } from '../settings-archive.ts';
import { runRequest } from './archive-request.ts';
import { readConfigFile } from './config-file.ts';

export const purge = defineVerb({
  name: 'purge',
  meaning: 'Remove archived batches that are past their retention and hold nothing that is held.',
  usage: '[--config F] [--table T …] [--dry-run]',
  positionals: [0, 0],
  report: false,
  settings: purgeSettingTable,
  readFile: readConfigFile,
  async run(context): Promise<VerbResult> {
    const { values } = context;
    const { runPurge } = await import('../purge/run-purge.ts');
    const result = await runPurge({
      ...(await runRequest(context, values.table)),
      chosen: values.table !== undefined,
      dryRun: values.dryRun,
    });
    const dryRun = values.dryRun ? { dryRun: true, batches: result.batches ?? [] } : {};
    return { summary: { outcome: result.outcome, ...dryRun, tables: result.tables }, lines: describe(result) };
  },
});

function describe(result: PurgeOutcome): readonly string[] {
  if (result.outcome === 'skipped') return ['skipped: another run holds the lock'];
  const header = ['table', 'matched', 'purged', 'skipped'];
  const rows = result.tables.map(({ table, matched, purged, skipped }) => [
    table,
    matched,
    purged,
    Object.entries(skipped)
      .map(([reason, count]) => `${count} ${reason}`)
      .join(', '),
  ]);
  const table = textTable([header, ...rows]);
  if (!result.batches) return table;
  return [
    'Nothing was removed. A purge would remove this:',
    ...table,
    ...result.batches.map(
      ({ batch, table: name, rows: count, oldest, newest }) =>
        `batch ${batch} of ${name}: ${count ?? '?'} rows, dated ${oldest ?? '?'} to ${newest ?? '?'} UTC`,
    ),
  ];
}
