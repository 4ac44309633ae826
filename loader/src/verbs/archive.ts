import { commonError } from '@tableset/common/errors.ts';
import { exitCodes } from '@tableset/common/exit-codes.ts';
import { defineVerb, type VerbResult } from '@tableset/common/program.ts';
import { databaseSettings } from '@tableset/common/settings/database.ts';
import { nearestName } from '@tableset/common/settings/nearest.ts';
import type { PlannedTable } from '../archive/archive-dry-run.ts';
import type { ArchiveOutcome } from '../archive/run-archive.ts';
import type { ArchiveConfig, ArchiveTask } from '../config/archive-config.ts';
import { archiveSettingTable } from '../settings.ts';
import { programVersion } from '../version.ts';
import { configOf, readConfigFile } from './config-file.ts';

export const archive = defineVerb({
  name: 'archive',
  meaning: 'Move rows past their age to their store, batch by batch: copied, proved, then deleted.',
  usage: '[--config F] [--table T …] [--shards N] [--dry-run]',
  positionals: [0, 0],
  report: false,
  settings: archiveSettingTable,
  readFile: readConfigFile,
  async run({ values, output, signal }): Promise<VerbResult> {
    // A start that loads has no need of it.
    const { runArchive } = await import('../archive/run-archive.ts');
    const config = await configOf(values.config);
    const result = await runArchive({
      config,
      tasks: chosenTasks(config, values.table, values.config).filter((task) => task.enabled),
      database: databaseSettings(values),
      lock: values,
      dryRun: values.dryRun,
      shards: values.shards ?? null,
      trigger: values.trigger,
      version: programVersion,
      output,
      signal,
    });
    const refused = result.plan?.some(({ refusals }) => refusals.length > 0) ?? false;
    return {
      summary: {
        outcome: refused ? 'refused' : result.outcome,
        ...(values.dryRun ? { dryRun: true } : {}),
        tables: result.tables,
        ...(result.plan ? { plan: result.plan } : {}),
      },
      lines: await describe(result),
      // A dry run ends as the run would.
      ...(refused ? { exit: exitCodes.refused } : {}),
    };
  },
});

/**
 * The entries of `archive:` that `--table` chooses, all of them without it.
 * @throws AppError SETTING_INVALID for a table that the file does not archive, with the nearest that it does.
 */
export function chosenTasks(
  config: Pick<ArchiveConfig, 'archive'>,
  names: readonly string[] | undefined,
  path: string,
): readonly ArchiveTask[] {
  if (config.archive.length === 0) throw commonError('SETTING_INVALID', `${path} has no tables under archive`);
  if (names === undefined) return config.archive;
  const known = config.archive.map((task) => task.table);
  for (const name of names) {
    if (known.includes(name)) continue;
    const root = config.archive.find((task) => task.children.some((child) => child.table === name));
    if (root) {
      throw commonError(
        'SETTING_INVALID',
        `--table was given ${JSON.stringify(name)}, which goes along with ${root.table}; use --table ${root.table}`,
      );
    }
    const near = nearestName(name, known);
    throw commonError(
      'SETTING_INVALID',
      `--table was given ${JSON.stringify(name)}, which ${path} does not archive${near ? `; did you mean ${near}?` : ''}`,
    );
  }
  return config.archive.filter((task) => names.includes(task.table));
}

async function describe(result: ArchiveOutcome): Promise<readonly string[]> {
  if (result.outcome === 'skipped') return ['skipped: another run holds the lock'];
  if (result.tables.length === 0) return ['nothing is enabled under archive'];
  const { countTable } = await import('../archive/archive-counts.ts');
  const table = countTable(result.tables);
  return result.plan
    ? ['Nothing was written. A run would do this:', ...table, ...result.plan.flatMap(planLines)]
    : table;
}

function planLines({ table, rows, keys, dates, cutoff, sample, refusals }: PlannedTable): readonly string[] {
  const key = (cells: readonly string[]) => (cells.length === 1 ? cells[0] : `(${cells.join(', ')})`);
  const lines: string[] = [];
  if (cutoff !== null) lines.push(`${table}: rows older than ${cutoff} UTC`);
  if (keys) {
    const more = rows - sample.length;
    lines.push(
      `${table}: keys ${key(keys.first)} to ${key(keys.last)}, such as ${sample.map(key).join('; ')}${more > 0 ? ` and ${more} more` : ''}`,
    );
  }
  if (dates) lines.push(`${table}: dates ${dates.oldest} to ${dates.newest} UTC`);
  return [...lines, ...refusals.map((refusal) => `✗ ${refusal}`)];
}
