import type { Connection } from '@tableset/common/database/connection.ts';
import { ensureLedger } from '@tableset/common/database/ledger.ts';
import type { SchemaLock } from '@tableset/common/database/lock.ts';
import type { Output } from '@tableset/common/output/output.ts';
import type { VerbResult } from '@tableset/common/program.ts';
import type { LockSettings } from '@tableset/common/settings/database.ts';
import { recordRun, takeLock } from './apply.ts';
import type { MigrationFolder } from './core/formats/migration.ts';
import { ensureHistory, type HistoryRow, readHistory } from './history.ts';
import { type Target, withTarget } from './open-target.ts';

export interface OperationSettings extends LockSettings {
  readonly target: Target;
  readonly trigger: string;
}

/** What an operation on the history has at hand. */
export interface OperationContext {
  readonly connection: Connection;
  readonly folder: MigrationFolder;
  readonly lock: SchemaLock;
  /** As it is under the lock. */
  readonly history: readonly HistoryRow[];
  readonly runId: string;
}

/** Runs work on the history under the lock, with the tables made and a row in `tableset_runs`. */
export async function underLock(
  settings: OperationSettings,
  kind: string,
  facts: Readonly<Record<string, unknown>>,
  io: { readonly output: Output; readonly signal: AbortSignal; readonly lockTimeoutSeconds?: number },
  work: (context: OperationContext) => Promise<VerbResult>,
): Promise<VerbResult> {
  return await withTarget(settings.target, io, async ({ connection, folder }) => {
    await using lock = await takeLock(connection, settings, io.output, io.signal);
    if (lock === null) return { summary: { outcome: 'skipped' }, lines: ['skipped: another run holds the lock'] };
    await ensureLedger(connection);
    await ensureHistory(connection);
    let result: VerbResult = { summary: { outcome: 'done' }, lines: [] };
    await recordRun(connection, { kind, trigger: settings.trigger }, facts, async (runId) => {
      const history = (await readHistory(connection)) ?? [];
      result = await work({ connection, folder, lock, history, runId });
    });
    return result;
  });
}
