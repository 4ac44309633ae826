import { join } from 'node:path';
import type { Output } from '@tableset/common/output/output.ts';
import type { VerbResult } from '@tableset/common/program.ts';
import { unfinishedRow } from './apply.ts';
import type { Migration, MigrationFolder } from './core/formats/migration.ts';
import { planDown } from './core/plan.ts';
import { migrationError } from './errors.ts';
import { type HistoryRow, plannedRow, readHistory } from './history.ts';
import { type OperationSettings, underLock } from './operation.ts';
import { type MigrationContext, runMigration } from './run-migration.ts';
import { newestOf } from './up.ts';
import { programVersion } from './version.ts';

export interface DownSettings extends OperationSettings {
  readonly to: string;
  readonly lockTimeoutSeconds: number;
  readonly lockRetries: number;
  readonly budgetRows: number | undefined;
}

/** `migrator down --to V`: undoes what is newer than V, newest first. V itself stays; 0 undoes everything. */
export async function migrateDown(settings: DownSettings, output: Output, signal: AbortSignal): Promise<VerbResult> {
  const reverted: string[] = [];
  const io = { output, signal, lockTimeoutSeconds: settings.lockTimeoutSeconds };
  return await underLock(settings, 'migrate-down', { to: settings.to, reverted }, io, async (operation) => {
    const { folder, history, connection, lock, runId } = operation;
    const { directory } = settings.target;
    const context: MigrationContext = { lock, settings, directory, output, signal, runId, appliedBy: programVersion };
    const unfinished = unfinishedRow(history);
    const migrations = planDown(folder, history.map(asApplied), settings.to);
    await refuseWithoutDown(migrations, directory);
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
      lines: [...reverted.map((file) => `reverted ${file}`), `at version ${version ?? 'none'}`],
    };
  });
}

function asApplied(row: HistoryRow) {
  return row.state === 'reverting' ? { ...plannedRow(row), state: 'applied' as const } : plannedRow(row);
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
      throw migrationError('MIGRATION_DOWN_MISSING', `${migration.file} exports no function named down`);
    }
  }
}
