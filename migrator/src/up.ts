import { quickQuery } from '@tableset/common/database/quick-query.ts';
import type { Output } from '@tableset/common/output/output.ts';
import type { VerbResult } from '@tableset/common/program.ts';
import type { LockSettings } from '@tableset/common/settings/database.ts';
import type { MigrationFolder } from './core/formats/migration.ts';
import { type HistoryRow, historyQuery, historyRows, isLedgerOutdated } from './history.ts';
import { listFiles, readFolderFor, readsByServer } from './migrations-folder.ts';
import type { Target } from './open-target.ts';

export interface UpSettings extends LockSettings {
  readonly target: Target;
  readonly ahead: 'warn' | 'fail';
  readonly to: string | undefined;
  readonly dryRun: boolean;
  readonly outOfOrder: boolean;
  readonly lockTimeoutSeconds: number;
  readonly lockRetries: number;
  readonly budgetRows: number | undefined;
  readonly trigger: string;
}

/** Longer than a server takes that is there; one that is not is waited for by the slow way. */
const quickTimeoutMs = 2_000;

/**
 * `migrator up`. With nothing pending, the usual case, it costs a connection and one query, and neither lock nor driver is
 * needed; whatever else is found is done by `runUp`, which starts over.
 * @throws AppError as docs/errors.md lists them
 */
export async function migrateUp(settings: UpSettings, output: Output, signal: AbortSignal): Promise<VerbResult> {
  const isPlain = !settings.dryRun && settings.to === undefined;
  const upToDate = isPlain ? await findNothingToDo(settings.target, signal) : null;
  if (upToDate !== null) return upToDate;
  const { runUp } = await import('./up-run.ts');
  return await runUp(settings, output, signal);
}

/** The result if every file is applied as it stands and the ledger is this version's; null if not, or if anything is unusual. */
async function findNothingToDo(target: Target, signal: AbortSignal): Promise<VerbResult | null> {
  const { database, directory, read } = target;
  const abandoned = new AbortController();
  const asking = quickQuery(database, historyQuery(database.name), {
    timeoutMs: quickTimeoutMs,
    signal: AbortSignal.any([signal, abandoned.signal]),
  });
  try {
    // The files are read while the server answers.
    const files = listFiles(directory);
    const folder = readFolderFor(files, read, null);
    const answer = await asking;
    if (answer === null) return null;
    const server = /mariadb/i.test(answer.version) ? 'mariadb' : 'mysql';
    const known = readsByServer(files) ? readFolderFor(files, read, server) : folder;
    if (!isUpToDate(known, historyRows(database.name, answer.rows)) || isLedgerOutdated(answer.rows)) return null;
    return upDone([], 0, known.migrations.at(-1)?.version ?? null);
  } finally {
    abandoned.abort();
  }
}

/** The common case, told without planning: every file has its row, every row its file, and all is applied as it stands. */
function isUpToDate(folder: MigrationFolder, history: readonly HistoryRow[]): boolean {
  if (folder.repeatables.length + folder.migrations.length !== history.length) return false;
  const rows = new Map(history.map((row) => [row.id, row]));
  return [...folder.migrations, ...folder.repeatables].every((migration) => {
    const row = rows.get(migration.id);
    return row?.state === 'applied' && row.checksum === migration.checksum && row.name === migration.name;
  });
}

/** The end of a run that did what it was to do. */
export function upDone(applied: readonly string[], pending: number, version: string | null): VerbResult {
  const state = `at version ${version ?? 'none'}${pending > 0 ? `, ${pending} pending` : ''}`;
  // Each file was told of by an event when it was applied.
  const done = applied.length === 0 ? 'nothing to do' : `${applied.length} applied`;
  return { summary: { outcome: 'done', applied, pending, version }, lines: [`${done}: ${state}`] };
}
