import type { Output } from '@tableset/common/output/output.ts';
import type { VerbResult } from '@tableset/common/program.ts';
import type { DatabaseSettings } from '@tableset/common/settings/database.ts';
import type { MigrationFolder } from './core/formats/migration.ts';
import { type ReadOptions, readMigrationFolder } from './core/formats/read-folder.ts';
import { planUp } from './core/plan.ts';
import { plannedRow, readHistory } from './history.ts';
import { listFiles } from './migrations-folder.ts';
import { withTarget } from './open-target.ts';
import { stepOf } from './step.ts';

/**
 * `migrator validate`: every file is read and split; with a database given, the history is held against them too.
 * @throws AppError for the first thing that `up` would refuse
 */
export async function validateMigrations(
  settings: { readonly directory: string; readonly read: ReadOptions; readonly database: DatabaseSettings | null },
  output: Output,
  signal: AbortSignal,
): Promise<VerbResult> {
  const { directory, read, database } = settings;
  if (database === null) {
    const folder = readMigrationFolder(listFiles(directory), { ...read, server: 'mariadb' });
    return report(folder, null);
  }
  return await withTarget({ directory, read, database }, { output, signal }, async ({ connection, folder }) => {
    const history = (await readHistory(connection)) ?? [];
    return report(folder, planUp(folder, history.map(plannedRow)).pending.length);
  });
}

function report(folder: MigrationFolder, pending: number | null): VerbResult {
  const all = [...folder.baselines, ...folder.migrations, ...folder.repeatables];
  let statements = 0;
  for (const migration of all) {
    statements += migration.up().map(stepOf).length;
    if (migration.kind !== 'script') migration.down?.().map(stepOf);
  }
  const { format, passedOver } = folder;
  return {
    summary: {
      outcome: 'done',
      format,
      migrations: all.length,
      statements,
      passedOver,
      ...(pending === null ? {} : { pending }),
    },
    lines: [
      `${all.length} migrations with ${statements} statements, format ${format}`,
      ...passedOver.map(({ name, reason }) => `passed over ${name}: ${reason}`),
      pending === null ? 'the history was not looked at: no database was given' : `${pending} pending`,
    ],
  };
}
