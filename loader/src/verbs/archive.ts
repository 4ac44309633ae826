import { textTable } from '@tableset/common/output/table.ts';
import { defineVerb, type VerbResult } from '@tableset/common/program.ts';
import type { PlannedTable } from '../archive/archive-dry-run.ts';
import type { ArchiveOutcome, DryRun } from '../archive/run-archive.ts';
import { archiveSettingTable } from '../settings.ts';
import { runRequest } from './archive-request.ts';
import { readConfigFile } from './config-file.ts';

export const archive = defineVerb({
  name: 'archive',
  meaning: 'Move rows past their age to their store, batch by batch: copied, proved, then deleted.',
  usage: '[--config F] [--table T …] [--shards N] [--dry-run]',
  positionals: [0, 0],
  report: false,
  settings: archiveSettingTable,
  readFile: readConfigFile,
  async run(context): Promise<VerbResult> {
    const { values } = context;
    // A start that loads has no need of it.
    const { runArchive } = await import('../archive/run-archive.ts');
    const request = await runRequest(context, values.table);
    const result = await runArchive({
      ...request,
      tasks: request.tasks.filter((task) => task.enabled),
      dryRun: values.dryRun,
      shards: values.shards ?? null,
    });
    return result.dryRun
      ? dryRunResult(result.dryRun)
      : { summary: { outcome: result.outcome, tables: result.tables }, lines: await describe(result) };
  },
});

async function describe(result: ArchiveOutcome): Promise<readonly string[]> {
  if (result.outcome === 'skipped') return ['skipped: another run holds the lock'];
  if (result.tables.length === 0) return ['nothing is enabled under archive'];
  const { countTable } = await import('../archive/archive-counts.ts');
  return countTable(result.tables);
}

/** The summary of a dry run, and what people read. */
export function dryRunResult({ tables, plan, missingGrants, refusal }: DryRun): VerbResult {
  const header = ['table', 'matched', 'would archive', 'would stay'];
  const rows = tables.map(({ table, matched, wouldArchive, skipped }) => [
    table,
    matched,
    wouldArchive,
    Object.entries(skipped)
      .map(([reason, count]) => `${count} ${reason}`)
      .join(', '),
  ]);
  return {
    summary: {
      outcome: refusal ? 'refused' : 'done',
      dryRun: true,
      tables,
      plan,
      ...(missingGrants.length > 0 ? { missingGrants } : {}),
    },
    lines: [
      'Nothing was written. A run would do this:',
      ...textTable([header, ...rows]),
      ...plan.flatMap(planLines),
      ...missingGrants.map((statement) => `✗ the account lacks rights: ${statement};`),
    ],
    // A dry run ends as the run would.
    ...(refusal ? { exit: refusal.exit } : {}),
  };
}

function planLines({
  table,
  rows,
  keys,
  dates,
  cutoff,
  comparison,
  sample,
  warnings,
  refusals,
}: PlannedTable): readonly string[] {
  const key = (cells: readonly string[]) => (cells.length === 1 ? cells[0] : `(${cells.join(', ')})`);
  const lines: string[] = [];
  if (comparison)
    lines.push(
      `${table}: rows whose ${comparison.column} is before ${comparison.lessThan} (zone ${comparison.zone}), which is ${cutoff} UTC`,
    );
  if (keys) {
    const more = rows - sample.length;
    lines.push(
      `${table}: keys ${key(keys.first)} to ${key(keys.last)}, such as ${sample.map(key).join('; ')}${more > 0 ? ` and ${more} more` : ''}`,
    );
  }
  if (dates) lines.push(`${table}: dates ${dates.oldest} to ${dates.newest} UTC`);
  return [...lines, ...warnings.map((warning) => `! ${warning}`), ...refusals.map((refusal) => `✗ ${refusal}`)];
}
