import { join } from 'node:path';
import type { Connection } from '@tableset/common/database/connection.ts';
import { classifyFault, serverErrno } from '@tableset/common/database/errno.ts';
import { databaseFailure } from '@tableset/common/database/failure.ts';
import { ensureLedger, finishRun, startRun } from '@tableset/common/database/ledger.ts';
import { acquireLock, type SchemaLock } from '@tableset/common/database/lock.ts';
import { AppError } from '@tableset/common/errors.ts';
import type { Output } from '@tableset/common/output/output.ts';
import type { LockSettings } from '@tableset/common/settings/database.ts';
import type { Migration, MigrationFolder } from './core/formats/migration.ts';
import { unfinishedError } from './core/unfinished.ts';
import { ensureHistory, type HistoryRow, readHistory, unfinishedOf } from './history.ts';
import { type MigrationContext, runMigration } from './run-migration.ts';
import { programVersion } from './version.ts';

export interface ApplyRequest {
  readonly connection: Connection;
  readonly folder: MigrationFolder;
  readonly directory: string;
  readonly settings: MigrationContext['settings'] & LockSettings & { readonly trigger: string };
  readonly output: Output;
  readonly signal: AbortSignal;
  /** What is to run, worked out from the history as if nothing in it were unfinished; called again under the lock. */
  readonly plan: (history: readonly HistoryRow[]) => readonly Migration[];
}

/**
 * Takes the lock, lists again under it, goes on with what an earlier run left unfinished, and applies what is pending.
 * @param applied gets each file's name as soon as it is applied, so that a failure can tell of those before it
 * @returns false if another run holds the lock and `onBusy` is skip.
 */
export async function applyPending(request: ApplyRequest, applied: string[]): Promise<boolean> {
  const { connection, settings, output, signal } = request;
  await using lock = await takeLock(connection, settings, output, signal);
  if (lock === null) return false;
  // Another run may have done everything while this one waited.
  const before = (await readHistory(connection)) ?? [];
  if (request.plan(before).length === 0 && unfinishedRow(before) === null) return true;
  // Migrations do with the first ledger.
  tellLacking(await ensureLedger(connection, 1), output);
  await ensureHistory(connection);
  await recordRun(connection, { kind: 'migrate', trigger: settings.trigger }, { applied }, async (runId) => {
    const context: MigrationContext = { ...request, lock, runId, appliedBy: programVersion };
    await loadScripts(request.plan(before), request.directory);
    const unfinished = unfinishedRow(before);
    if (unfinished !== null) {
      await runMigration(context, fileOf(request.folder, unfinished), 'up', unfinished);
      applied.push(unfinished.file ?? unfinished.name);
    }
    const history = unfinished === null ? before : ((await readHistory(connection)) ?? []);
    for (const migration of request.plan(history)) {
      signal.throwIfAborted();
      await runMigration(context, migration, 'up', null);
      applied.push(migration.file);
    }
  });
  return true;
}

/**
 * Adds to an older ledger what this version has in it, where no migration is to be applied. Nothing that starts waits for that or fails by it: while
 * another run holds the lock, or sessions its tables, it is left to the next start.
 */
export async function upgradeLedger(
  connection: Connection,
  settings: LockSettings,
  output: Output,
  signal: AbortSignal,
): Promise<void> {
  await using lock = await takeLock(connection, { ...settings, onBusy: 'skip' }, output, signal);
  if (lock === null) return;
  try {
    tellLacking(await ensureLedger(connection, 0), output);
  } catch (error) {
    if (classifyFault(error) !== 'lock-wait') throw error;
    output.event('warn', 'the ledger could not be upgraded now: its tables are in use', { errno: serverErrno(error) });
  }
}

function tellLacking(lacking: readonly string[], output: Output): void {
  if (lacking.length === 0) return;
  output.event('warn', 'the ledger lacks what this version adds to it, for lack of privileges', { lacking });
}

/** Before anything is run: a script that cannot be loaded must not stop the run halfway. */
async function loadScripts(migrations: readonly Migration[], directory: string): Promise<void> {
  for (const { kind, file } of migrations) {
    if (kind !== 'script') continue;
    const { loadScript } = await import('./scripts/load-script.ts');
    await loadScript(join(directory, file), file);
  }
}

/** The migration that was begun and not finished; there is never more than one. */
export function unfinishedRow(history: readonly HistoryRow[]): HistoryRow | null {
  return history.find((row) => row.state !== 'applied') ?? null;
}

function fileOf(folder: MigrationFolder, row: HistoryRow): Migration {
  const all = [...folder.migrations, ...folder.repeatables, ...folder.baselines];
  const file = all.find((migration) =>
    folder.order === 'name' ? migration.name === row.name : migration.id === row.id,
  );
  if (row.state === 'applying' && file !== undefined) return file;
  throw unfinishedError(unfinishedOf(row), file !== undefined);
}

/** Takes the schema's lock, saying for whom it waits. */
export async function takeLock(
  connection: Connection,
  settings: LockSettings,
  output: Output,
  signal: AbortSignal,
): Promise<SchemaLock | null> {
  return await acquireLock(connection, settings, {
    signal,
    onWait: (wait) => output.event('info', 'waiting for the lock', { ...wait }),
  });
}

/** Runs the work with a row in `tableset_runs` around it. */
export async function recordRun(
  connection: Connection,
  run: { readonly kind: string; readonly trigger: string },
  counts: Readonly<Record<string, unknown>>,
  work: (runId: string) => Promise<void>,
): Promise<void> {
  const id = await startRun(connection, { ...run, version: programVersion });
  try {
    await work(id);
  } catch (thrown) {
    const error =
      thrown instanceof AppError
        ? thrown
        : databaseFailure(thrown, { settings: connection.settings, statement: null, lost: false });
    const outcome = error.code === 'STOPPED' ? 'stopped' : 'failed';
    // The run's own error is what counts; the row then stays open, as after a kill.
    if (!connection.lost) await finishRun(connection, id, { outcome, counts, error }).catch(() => undefined);
    throw error;
  }
  await finishRun(connection, id, { outcome: 'done', counts });
}
