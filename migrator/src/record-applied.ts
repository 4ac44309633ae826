import type { Migration } from './core/formats/migration.ts';
import { migrationError } from './errors.ts';
import { historyTable } from './history.ts';
import type { OperationContext } from './operation.ts';

export interface RecordedMigration {
  readonly id: string;
  readonly name: string;
  readonly file: string | null;
  readonly checksum: string | null;
  readonly repeatable: boolean;
  readonly baseline: boolean;
}

/** A file as it is recorded without being run. */
export function recordOf(migration: Migration): RecordedMigration {
  const { id, name, file, checksum, kind } = migration;
  return { id, name, file, checksum, repeatable: kind === 'repeatable', baseline: kind === 'baseline' };
}

/**
 * Writes rows into an empty history as applied, without running anything, in one transaction.
 * @throws AppError MIGRATION_HISTORY_EXISTS
 */
export async function recordApplied(
  context: OperationContext,
  records: readonly RecordedMigration[],
  appliedBy: string,
): Promise<void> {
  const { connection, history, runId } = context;
  if (history.length > 0) {
    throw migrationError(
      'MIGRATION_HISTORY_EXISTS',
      `schema ${connection.settings.name} has a history of ${history.length} migrations already`,
    );
  }
  await connection.run('START TRANSACTION');
  for (const { id, name, file, checksum, repeatable, baseline } of records) {
    await connection.run(
      `INSERT INTO ${historyTable} (version, name, file, checksum, state, is_repeatable, is_baseline, statements, applied_at, run_id, applied_by) VALUES (?, ?, ?, ?, 'applied', ?, ?, 0, UTC_TIMESTAMP(6), ?, ?)`,
      [id, name, file, checksum, repeatable, baseline, runId, appliedBy],
    );
  }
  await connection.run('COMMIT');
}
