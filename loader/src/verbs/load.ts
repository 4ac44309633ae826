import { commonError } from '@tableset/common/errors.ts';
import { exitCodes } from '@tableset/common/exit-codes.ts';
import { textTable } from '@tableset/common/output/table.ts';
import { defineVerb, type VerbResult } from '@tableset/common/program.ts';
import { databaseSettings } from '@tableset/common/settings/database.ts';
import { nearestName } from '@tableset/common/settings/nearest.ts';
import { resolveSettings } from '@tableset/common/settings/settings.ts';
import type { LoadConfig, LoadTable } from '../config/load-config.ts';
import { readConfig } from '../config/read.ts';
import type { DryRunTable } from '../load/dry-run.ts';
import { type LoadOutcome, runLoad } from '../load/run-load.ts';
import { configSettingTable, loadSettingTable } from '../settings.ts';
import { programVersion } from '../version.ts';

/** Configurations by path, so that the file whose values settings come from is the one that the verb then uses. */
const configs = new Map<string, LoadConfig>();

export const load = defineVerb({
  name: 'load',
  meaning: 'Load the tables of the configuration: write the rows that differ from their sources, and no others.',
  usage: '[--config F] [--table T …] [--if-changed] [--dry-run]',
  positionals: [0, 0],
  report: false,
  settings: loadSettingTable,
  readFile: async ({ given, env }) => {
    const { config: path } = resolveSettings(configSettingTable, given, { env });
    const config = await readConfig(path);
    configs.set(path, config);
    return { path, values: config.values };
  },
  async run({ values, output, signal }): Promise<VerbResult> {
    const config = configs.get(values.config) ?? (await readConfig(values.config));
    const result = await runLoad({
      config,
      tasks: chosenTables(config, values.table),
      database: databaseSettings(values),
      lock: values,
      ifChanged: values.ifChanged,
      dryRun: values.dryRun,
      trigger: values.trigger,
      version: programVersion,
      sources: {
        databases: config.databases,
        s3: config.s3,
        temporaryDirectory: values.temporaryDirectory,
        env: process.env,
        warn: (message, fields) => output.event('warn', message, fields),
      },
      output,
      signal,
    });
    const changes = result.changes
      ? {
          changes: result.changes.map(({ counts, samples, refusals }) => ({
            table: counts.table,
            ...samples,
            refusals,
          })),
        }
      : {};
    const dryRun = values.dryRun ? { dryRun: true } : {};
    // A dry run ends as the load would.
    const refused = result.changes?.some(({ refusals }) => refusals.length > 0) ?? false;
    return {
      summary: { outcome: refused ? 'refused' : result.outcome, ...dryRun, tables: result.tables, ...changes },
      lines: describe(result, values.dryRun),
      ...(refused ? { exit: exitCodes.refused } : {}),
    };
  },
});

/** @throws AppError SETTING_INVALID for a table that the file does not have, with the nearest that it has. */
function chosenTables(config: LoadConfig, names: readonly string[] | undefined): readonly LoadTable[] {
  if (config.load.length === 0) throw commonError('SETTING_INVALID', `${config.path} has no tables under load`);
  if (names === undefined) return config.load;
  for (const name of names) {
    if (config.load.some((task) => task.table === name)) continue;
    const near = nearestName(
      name,
      config.load.map((task) => task.table),
    );
    throw commonError(
      'SETTING_INVALID',
      `--table was given ${JSON.stringify(name)}, which ${config.path} does not load${near ? `; did you mean ${near}?` : ''}`,
    );
  }
  return config.load.filter((task) => names.includes(task.table));
}

function describe(result: LoadOutcome, dryRun: boolean): readonly string[] {
  if (result.outcome === 'skipped') return ['skipped: another run holds the lock'];
  const header = ['table', 'read', 'inserted', 'updated', 'deleted', 'unchanged', 'rejected', 'held', ''];
  const rows = result.tables.map((each) => [
    each.table,
    each.read,
    each.inserted,
    each.updated,
    each.deleted,
    each.unchanged,
    each.rejected,
    each.held,
    each.untouched ? 'as it was' : (each.publish ?? ''),
  ]);
  const table = textTable([header, ...rows]);
  return dryRun
    ? ['Nothing was written. A load would do this:', ...table, ...(result.changes ?? []).flatMap(sampleLines)]
    : table;
}

function sampleLines({ counts, samples, refusals }: DryRunTable): readonly string[] {
  const lines = (['inserted', 'updated', 'deleted'] as const).flatMap((operation) => {
    const keys = samples[operation];
    const more = counts[operation] - keys.length;
    return keys.length === 0
      ? []
      : [`${counts.table} ${operation}: ${keys.join('; ')}${more > 0 ? ` and ${more} more` : ''}`];
  });
  return [...lines, ...refusals.map((refusal) => `✗ ${refusal}`)];
}
