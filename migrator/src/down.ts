import { join } from 'node:path';
import type { Output } from '@tableset/common/output/output.ts';
import type { VerbResult } from '@tableset/common/program.ts';
import { unfinishedRow } from './apply.ts';
import type { Migration, MigrationFolder } from './core/formats/migration.ts';
import { planDown } from './core/plan.ts';
import { migrationError } from './errors.ts';
import { type HistoryRow, plannedRow, readHistory } from './history.ts';
import { type OpenTarget, withTarget } from './open-target.ts';
import { type OperationSettings, underLock } from './operation.ts';
import { type MigrationContext, runMigration } from './run-migration.ts';
import { newestOf } from './up-run.ts';
import { programVersion } from './version.ts';

export interface DownSettings extends OperationSettings {
  readonly to: string;
  readonly dryRun: boolean;
  readonly lockTimeoutSeconds: number;
  readonly lockRetries: number;
  readonly budgetRows: number | undefined;
}

/** `migrator down --to V`: undoes what is newer than V, newest first. V itself stays; 0 undoes everything. */
export async function migrateDown(settings: DownSettings, output: Output, signal: AbortSignal): Promise<VerbResult> {
  const reverted: string[] = [];
  const io = { output, signal, lockTimeoutSeconds: settings.lockTimeoutSeconds };
  if (settings.dryRun) return await withTarget(settings.target, io, (opened) => dryRun(opened, settings));
  return await underLock(settings, 'migrate-down', { to: settings.to, reverted }, io, async (operation) => {
    const { folder, history, connection, lock, runId } = operation;
    const { directory } = settings.target;
    const context: MigrationContext = { lock, settings, directory, output, signal, runId, appliedBy: programVersion };
    const unfinished = unfinishedRow(history);
    const migrations = await planned(folder, history, settings);
    for (const migration of migrations) {
      signal.throwIfAborted();
      const row = unfinished !== null && isRowOf(folder, unfinished, migration) ? unfinished : null;
      if (row?.state === 'applying') throw cutOff(row);
      await runMigration(context, migration, 'down', row);
      reverted.push(migration.file);
    }
    const version = newestOf(folder, (await readHistory(connection)) ?? []);
    return {
      summary: { outcome: 'done', reverted, version },
      // Each file was told of by an event when it was reverted.
      lines: [
        `${reverted.length === 0 ? 'nothing to do' : `${reverted.length} reverted`}: at version ${version ?? 'none'}`,
      ],
    };
  });
}

/** What would be undone, without a lock and without writing anything. */
async function dryRun({ connection, folder }: OpenTarget, settings: DownSettings): Promise<VerbResult> {
  const history = (await readHistory(connection)) ?? [];
  const files = (await planned(folder, history, settings)).map(({ file }) => file);
  return {
    summary: { outcome: 'dry-run', reverted: [], wouldRevert: files, version: newestOf(folder, history) },
    lines: files.length === 0 ? ['nothing to do'] : files.map((file) => `would revert ${file}`),
  };
}

async function planned(
  folder: MigrationFolder,
  history: readonly HistoryRow[],
  settings: DownSettings,
): Promise<readonly Migration[]> {
  const migrations = planDown(folder, history.map(asApplied), settings.to);
  await refuseWithoutDown(migrations, settings.target.directory);
  return migrations;
}

/** A way down that failed is mended in the file, which may therefore differ; the statements that ran are held against it. */
function asApplied(row: HistoryRow) {
  return row.state === 'reverting'
    ? { ...plannedRow(row), state: 'applied' as const, checksum: null }
    : plannedRow(row);
}

function isRowOf(folder: MigrationFolder, row: HistoryRow, migration: Migration): boolean {
  return folder.order === 'name' ? row.name === migration.name : row.id === migration.id;
}

function cutOff(row: HistoryRow) {
  return migrationError('MIGRATION_UNFINISHED', `migration ${row.id} (${row.file ?? row.name}) was not applied whole`, {
    details: { version: row.id },
  });
}

/** Before anything is undone: a script on the way must have its `down`. */
async function refuseWithoutDown(migrations: readonly Migration[], directory: string): Promise<void> {
  for (const migration of migrations) {
    if (migration.kind !== 'script') continue;
    const { loadScript } = await import('./scripts/load-script.ts');
    const script = await loadScript(join(directory, migration.file), migration.file);
    if (script.down === null) {
      throw migrationError('MIGRATION_DOWN_MISSING', `${migration.file} exports no function named down`, {
        hint: `Export one (empty where there is nothing to undo), accept the edit by \`migrator resolve ${migration.id} --as applied\`, and run down again; or undo the change by a new migration.`,
      });
    }
  }
}
