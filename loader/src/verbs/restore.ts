import { commonError } from '@tableset/common/errors.ts';
import { textTable } from '@tableset/common/output/table.ts';
import { defineVerb, type VerbResult } from '@tableset/common/program.ts';
import type { RowFilter } from '../core/archive/restore-filter.ts';
import type { RestoreOutcome } from '../restore/run-restore.ts';
import { restoreSettingTable } from '../settings-archive.ts';
import { runRequest } from './archive-request.ts';
import { readConfigFile } from './config-file.ts';

export const restore = defineVerb({
  name: 'restore',
  meaning: 'Put archived rows back, byte for byte, with their children, and hold them from being archived again.',
  usage:
    '--table T (--where KEY=VALUE … | --from DATE --to DATE | --batch ID) [--into TABLE] [--overwrite] [--dry-run]',
  positionals: [0, 0],
  report: false,
  settings: restoreSettingTable,
  readFile: readConfigFile,
  async run(context): Promise<VerbResult> {
    const { values } = context;
    const { runRestore } = await import('../restore/run-restore.ts');
    const filter = await rowFilter(values.where, values.from, values.to);
    if (filter.where.length === 0 && filter.from === null && filter.to === null && values.batch === undefined) {
      throw commonError('SETTING_MISSING', 'restore takes what is to come back: --where, --from and --to, or --batch');
    }
    const request = await runRequest(context, [values.table]);
    const [task, ...others] = request.tasks;
    if (!task || others.length > 0)
      throw commonError('SETTING_INVALID', `${values.config} archives ${values.table} twice`);
    const into = values.into === undefined || values.into === task.table ? null : values.into;
    const result = await runRestore({
      ...request,
      task,
      filter,
      batch: values.batch ?? null,
      into,
      overwrite: values.overwrite,
      allowTriggers: values.allowTriggers,
      dryRun: values.dryRun,
    });
    const dryRun = values.dryRun ? { dryRun: true } : {};
    return {
      summary: { outcome: result.outcome, ...dryRun, tables: result.tables, batches: result.batches },
      lines: describe(result, values.dryRun, into),
    };
  },
});

/** @throws AppError SETTING_INVALID */
export async function rowFilter(
  where: readonly string[] | undefined,
  from: string | undefined,
  to: string | undefined,
): Promise<RowFilter> {
  // What reads values of every type is imported at first use.
  const { parseCondition, parseMoment } = await import('../core/archive/restore-filter.ts');
  return {
    where: (where ?? []).map(parseCondition),
    from: from === undefined ? null : moment('--from', from, parseMoment(from)),
    to: to === undefined ? null : moment('--to', to, parseMoment(to)),
  };
}

function moment(flag: string, text: string, parsed: string | null): string {
  if (parsed !== null) return parsed;
  throw commonError(
    'SETTING_INVALID',
    `${flag} was given ${JSON.stringify(text)}; it takes a date such as 2025-03-01, or 2025-03-01T08:30:00, in UTC`,
  );
}

function describe(result: RestoreOutcome, dryRun: boolean, into: string | null): readonly string[] {
  if (result.outcome === 'skipped') return ['skipped: another run holds the lock'];
  const header = ['table', 'matched', 'restored', 'unchanged', 'conflicts', 'skipped', ''];
  const rows = result.tables.map(({ table, matched, restored, overwritten, unchanged, conflicts, skipped }) => [
    table,
    matched,
    restored,
    unchanged,
    conflicts,
    Object.values(skipped).reduce((sum, count) => sum + count, 0),
    [
      ...(overwritten > 0 ? [`${overwritten} overwritten`] : []),
      ...Object.entries(skipped).map(([reason, count]) => `${count} ${reason}`),
    ].join(', '),
  ]);
  const older = result.tables.some(({ skipped }) => skipped['superseded'] !== undefined);
  return [
    ...(dryRun ? ['Nothing was written. A restore would do this:'] : []),
    ...textTable([header, ...rows]),
    `from ${result.batches.length === 1 ? 'batch' : 'batches'} ${result.batches.slice(0, 10).join(', ')}${result.batches.length > 10 ? ' …' : ''}`,
    ...(older ? ['Keys with several archived versions: the newest was taken; --batch takes another.'] : []),
    ...(into === null ? [] : [`Rows went into ${into}; children stayed in the archive.`]),
  ];
}
