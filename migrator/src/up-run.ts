import { isLedgerOutdated } from '@tableset/common/database/ledger.ts';
import { AppError } from '@tableset/common/errors.ts';
import type { Output } from '@tableset/common/output/output.ts';
import type { VerbResult } from '@tableset/common/program.ts';
import type { Migration, MigrationFolder } from './core/formats/migration.ts';
import { planUp, type UpPlan } from './core/plan.ts';
import { compareInOrder } from './core/status.ts';
import { migrationError } from './errors.ts';
import { type HistoryRow, plannedRow, readHistory } from './history.ts';
import { type OpenTarget, withTarget } from './open-target.ts';
import { type UpSettings, upDone } from './up.ts';

/**
 * `migrator up` when there may be something to do.
 * @throws AppError as docs/errors.md lists them
 */
export async function runUp(settings: UpSettings, output: Output, signal: AbortSignal): Promise<VerbResult> {
  const options = { signal, output, lockTimeoutSeconds: settings.lockTimeoutSeconds };
  return await withTarget(settings.target, options, (opened) => upFrom(opened, settings, output, signal));
}

async function upFrom(
  { connection, folder }: OpenTarget,
  settings: UpSettings,
  output: Output,
  signal: AbortSignal,
): Promise<VerbResult> {
  // Without the lock: another pod may be at it, and its file may have locked the journal.
  const found = await readHistory(connection, { doubts: false });
  const history = found ?? [];
  const plan = planOf(folder, history, settings);
  tellAhead(plan, settings, output);
  const unfinished = history.filter((row) => row.state !== 'applied').length;
  if (settings.dryRun) return dryRun(plan, history);
  if (plan.pending.length === 0 && unfinished === 0) {
    if (found !== null && (await isLedgerOutdated(connection))) {
      const { upgradeLedger } = await import('./apply.ts');
      await upgradeLedger(connection, settings, output, signal);
    }
    return upDone([], leftOf(folder, history, settings), plan.version);
  }

  return await applyAndReport({ connection, folder }, settings, output, signal, plan, unfinished);
}

async function applyAndReport(
  { connection, folder }: Pick<OpenTarget, 'connection' | 'folder'>,
  settings: UpSettings,
  output: Output,
  signal: AbortSignal,
  plan: UpPlan,
  unfinished: number,
): Promise<VerbResult> {
  const { applyPending } = await import('./apply.ts');
  const applied: string[] = [];
  const end = async () => {
    const now = (await readHistory(connection)) ?? [];
    return { left: leftOf(folder, now, settings), version: newestOf(folder, now) };
  };
  try {
    const request = {
      connection,
      folder,
      directory: settings.target.directory,
      settings,
      output,
      signal,
      plan: (rows: readonly HistoryRow[]) => planOf(folder, rows, settings).pending,
    };
    if (!(await applyPending(request, applied))) {
      const left = plan.pending.length + unfinished;
      return {
        summary: { outcome: 'skipped', applied, pending: left, version: plan.version },
        lines: [`skipped: another run holds the lock; ${left} pending`],
      };
    }
  } catch (error) {
    const state = connection.lost ? null : await end().catch(() => null);
    throw withSummary(error, { applied, ...(state && { pending: state.left, version: state.version }) });
  }
  const { left, version } = await end();
  return upDone(applied, left, version);
}

/** What is to run beside the unfinished migration, which counts as applied meanwhile: it is gone on with first. */
function planOf(
  folder: MigrationFolder,
  history: readonly HistoryRow[],
  settings: Pick<UpSettings, 'to' | 'outOfOrder'>,
): UpPlan {
  const rows = history.map((row) =>
    row.state === 'applied' ? plannedRow(row) : { ...plannedRow(row), state: 'applied' as const, checksum: null },
  );
  return planUp(folder, rows, { to: settings.to, allowOutOfOrder: settings.outOfOrder });
}

function leftOf(folder: MigrationFolder, history: readonly HistoryRow[], settings: UpSettings): number {
  const unfinished = history.filter((row) => row.state !== 'applied').length;
  return (
    planOf(folder, history, { to: undefined, outOfOrder: settings.outOfOrder || settings.to !== undefined }).pending
      .length + unfinished
  );
}

/** The newest applied version in the order of the folder. */
export function newestOf(folder: MigrationFolder, history: readonly HistoryRow[]): string | null {
  const versioned = history
    .filter((row) => row.state === 'applied' && !row.repeatable)
    .map((row) => ({ version: row.id, name: row.name }));
  return versioned.sort((left, right) => compareInOrder(folder, left, right)).at(-1)?.version ?? null;
}

function tellAhead(plan: UpPlan, settings: UpSettings, output: Output): void {
  if (plan.ahead.length === 0) return;
  const versions = plan.ahead.map((row) => row.version ?? row.name);
  if (settings.ahead === 'warn') output.event('warn', 'the database is ahead of the migrations folder', { versions });
  else {
    throw migrationError(
      'MIGRATION_AHEAD',
      `the database has ${versions.join(', ')}, newer than every file in ${settings.target.directory}`,
      { details: { versions } },
    );
  }
}

function dryRun(plan: UpPlan, history: readonly HistoryRow[]): VerbResult {
  const unfinished = history.filter((row) => row.state !== 'applied').map((row) => row.file ?? row.name);
  const files = [...unfinished, ...plan.pending.map((migration: Migration) => migration.file)];
  return {
    summary: { outcome: 'dry-run', applied: [], wouldApply: files, pending: files.length, version: plan.version },
    lines: files.length === 0 ? ['nothing to do'] : files.map((file) => `would apply ${file}`),
  };
}

/** The error with what was reached before it, for the JSON summary. */
function withSummary(error: unknown, summary: Readonly<Record<string, unknown>>): unknown {
  if (!(error instanceof AppError)) return error;
  const { code, exit, hint, message, cause, details } = error;
  const entry = { exit, cause: '', remedy: hint };
  return new AppError(code, entry, message, { cause, hint, details: { ...details, summary } });
}
