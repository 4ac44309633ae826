import { commonError } from '@tableset/common/errors.ts';
import type { VerbContext } from '@tableset/common/program.ts';
import { databaseSettings } from '@tableset/common/settings/database.ts';
import { nearestName } from '@tableset/common/settings/nearest.ts';
import type { RunRequest, SessionRequest } from '../catalogue/archive-run.ts';
import type { ArchiveConfig, ArchiveTask } from '../config/archive-config.ts';
import type { archiveBaseSettingTable, archiveRunSettingTable } from '../settings-archive.ts';
import { programVersion } from '../version.ts';
import { configOf } from './config-file.ts';

/** What verbs are called with; `--table` means one table for some and several for others. */
type Called<Table extends typeof archiveBaseSettingTable> = Pick<VerbContext<Table>, 'output' | 'signal'> & {
  readonly values: Omit<VerbContext<Table>['values'], 'table'>;
};

/**
 * What archive, purge, restore, verify and status have in common.
 * @param tables that `--table` names, undefined without it
 * @throws AppError SETTING_INVALID, and what reading the configuration throws
 */
export async function sessionRequest(
  { values, output, signal }: Called<typeof archiveBaseSettingTable>,
  tables: readonly string[] | undefined,
): Promise<SessionRequest> {
  const config = await configOf(values.config);
  return {
    config,
    tasks: chosenTasks(config, tables, values.config),
    database: databaseSettings(values),
    version: programVersion,
    output,
    signal,
  };
}

/** The same for those of them that write. */
export async function runRequest(
  called: Called<typeof archiveRunSettingTable>,
  tables: readonly string[] | undefined,
): Promise<RunRequest> {
  const { values } = called;
  return { ...(await sessionRequest(called, tables)), lock: values, trigger: values.trigger };
}

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
