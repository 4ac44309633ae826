import type { Connection } from '@tableset/common/database/connection.ts';
import type { Output } from '@tableset/common/output/output.ts';
import type { VerbResult } from '@tableset/common/program.ts';
import type { Migration } from './core/formats/migration.ts';
import { canonicalVersion } from './core/version.ts';
import { migrationError } from './errors.ts';
import { type HistoryRow, historyTable, journalTable } from './history.ts';
import { type OperationContext, type OperationSettings, underLock } from './operation.ts';

export type Resolution = 'applied' | 'rolled-back' | 'retry';

export interface ResolveSettings extends OperationSettings {
  readonly version: string;
  readonly as: Resolution;
  /** With `retry`: the statement to go on with; by default the one that was cut off. */
  readonly statement: number | undefined;
}

/**
 * `migrator resolve V --as …`: records what a person found out about a migration that was cut off, or accepts that an applied
 * file was edited. Runs nothing; the record of the run says who did it from where.
 * @throws AppError MIGRATION_TARGET_UNKNOWN for a version that needs no resolving
 */
export async function resolveMigration(
  settings: ResolveSettings,
  output: Output,
  signal: AbortSignal,
): Promise<VerbResult> {
  const facts = { version: settings.version, as: settings.as, statement: settings.statement ?? null };
  return await underLock(settings, 'migrate-resolve', facts, { output, signal }, async (context) => {
    const row = rowOf(context, settings.version);
    if (row.state === 'applied') return await acceptEdit(context, row, settings);
    const { connection } = context;
    await connection.run('START TRANSACTION');
    const result = await resolveUnfinished(context, row, settings);
    await connection.run('COMMIT');
    return { summary: { outcome: 'done', version: row.id, as: settings.as }, lines: [result] };
  });
}

function rowOf({ history }: OperationContext, version: string): HistoryRow {
  const id = version.startsWith('R__') ? version : canonicalVersion(version);
  const row = history.find((candidate) => candidate.id === id);
  if (row) return row;
  throw migrationError('MIGRATION_TARGET_UNKNOWN', `no migration with version ${version} was ever begun`);
}

function fileOf({ folder }: OperationContext, row: HistoryRow): Migration | undefined {
  const all = [...folder.migrations, ...folder.repeatables, ...folder.baselines];
  return all.find((migration) => (folder.order === 'name' ? migration.name === row.name : migration.id === row.id));
}

async function resolveUnfinished(
  context: OperationContext,
  row: HistoryRow,
  settings: ResolveSettings,
): Promise<string> {
  const { connection } = context;
  const name = row.file ?? row.name;
  switch (settings.as) {
    case 'applied':
      if (row.state === 'reverting') {
        await forget(connection, row);
        return `${name} counts as undone`;
      }
      await keep(connection, row, fileOf(context, row)?.checksum ?? row.checksum);
      return `${name} counts as applied`;
    case 'rolled-back':
      if (row.state === 'reverting') {
        await keep(connection, row, row.checksum);
        return `${name} counts as applied again`;
      }
      await forget(connection, row);
      return `${name} counts as never begun; the next up runs it from its start`;
    case 'retry': {
      const statement = await retry(connection, row, settings.statement);
      return `the next ${row.state === 'reverting' ? 'down' : 'up'} goes on with statement ${statement} of ${name}`;
    }
    default:
      return settings.as satisfies never;
  }
}

async function keep(connection: Connection, row: HistoryRow, checksum: string | null): Promise<void> {
  await connection.run(
    `UPDATE ${journalTable} SET state = 'done', finished_at = COALESCE(finished_at, UTC_TIMESTAMP(6)) WHERE version = ?`,
    [row.id],
  );
  await connection.run(
    `UPDATE ${historyTable} SET state = 'applied', checksum = ?, applied_at = COALESCE(applied_at, UTC_TIMESTAMP(6)), error = NULL WHERE version = ?`,
    [checksum, row.id],
  );
}

async function forget(connection: Connection, row: HistoryRow): Promise<void> {
  await connection.run(`DELETE FROM ${journalTable} WHERE version = ?`, [row.id]);
  await connection.run(`DELETE FROM ${historyTable} WHERE version = ?`, [row.id]);
}

async function retry(connection: Connection, row: HistoryRow, wanted: number | undefined): Promise<number> {
  const open = await connection.row(
    `SELECT MIN(statement) AS statement FROM ${journalTable} WHERE version = ? AND state <> 'done'`,
    [row.id],
  );
  const statement = wanted ?? Number(open?.['statement'] ?? 0);
  if (!(statement >= 1 && statement <= row.statements)) {
    throw migrationError(
      'MIGRATION_TARGET_UNKNOWN',
      wanted === undefined
        ? `every statement of ${row.file ?? row.name} is done; the next run finishes it`
        : `${row.file ?? row.name} has statements 1 to ${row.statements}`,
    );
  }
  await connection.run(
    `UPDATE ${journalTable} SET state = IF(statement < ?, 'done', 'pending'), before_state = NULL WHERE version = ?`,
    [statement, row.id],
  );
  await connection.run(`UPDATE ${historyTable} SET error = NULL WHERE version = ?`, [row.id]);
  return statement;
}

/** An applied file that was edited counts as it stands now, if that is what is asked. */
async function acceptEdit(context: OperationContext, row: HistoryRow, settings: ResolveSettings): Promise<VerbResult> {
  const file = fileOf(context, row);
  if (settings.as === 'applied' && file !== undefined && row.checksum !== file.checksum) {
    await context.connection.run(`UPDATE ${historyTable} SET checksum = ? WHERE version = ?`, [file.checksum, row.id]);
    return {
      summary: {
        outcome: 'done',
        version: row.id,
        as: settings.as,
        checksum: { before: row.checksum, now: file.checksum },
      },
      lines: [`${file.file} is accepted as it stands now (SHA-256 ${file.checksum}, was ${row.checksum ?? 'unknown'})`],
    };
  }
  if (settings.as === 'applied') {
    return { summary: { outcome: 'done', version: row.id, as: settings.as }, lines: [`${row.id} is applied already`] };
  }
  throw migrationError('MIGRATION_TARGET_UNKNOWN', `version ${row.id} is applied; there is nothing to resolve`, {
    hint: 'To undo an applied migration, use `migrator down --to V`.',
  });
}
