import type { Connection } from '@tableset/common/database/connection.ts';
import type { Output } from '@tableset/common/output/output.ts';
import { textTable } from '@tableset/common/output/table.ts';
import type { VerbResult } from '@tableset/common/program.ts';
import { type MigrationStatus, migrationStatus, type StatusEntry } from './core/status.ts';
import { unfinishedError } from './core/unfinished.ts';
import { type HistoryRow, journalTable, plannedRow, readHistory } from './history.ts';
import { type OpenTarget, type Target, withTarget } from './open-target.ts';
import { newestOf } from './up-run.ts';

/** `migrator status`: every file and every row, and how they stand to each other. Changes nothing, takes no lock. */
export async function migrationReport(target: Target, output: Output, signal: AbortSignal): Promise<VerbResult> {
  return await withTarget(target, { output, signal }, report);
}

async function report({ connection, folder }: OpenTarget): Promise<VerbResult> {
  const history = (await readHistory(connection)) ?? [];
  const rows = new Map(history.map((row) => [row.id, row]));
  const entries = migrationStatus(folder, history.map(plannedRow));
  const migrations = [];
  for (const entry of entries) {
    const row = entry.row === undefined ? undefined : rows.get(entry.row.version ?? `R__${entry.row.name}`);
    const unfinished = entry.status === 'running' || entry.status === 'failed';
    migrations.push({
      ...described(entry, row),
      ...(unfinished && row ? await progressOf(connection, row) : {}),
      remedy: entry.row?.unfinished && unfinishedError(entry.row.unfinished, entry.migration !== undefined).hint,
    });
  }
  const waiting: readonly MigrationStatus[] = ['pending', 'out-of-order', 'running', 'failed'];
  const pending = entries.filter(({ status }) => waiting.includes(status)).length;
  const version = newestOf(folder, history);
  return {
    summary: { outcome: 'done', pending, version, format: folder.format, migrations, passedOver: folder.passedOver },
    lines: [
      ...textTable([
        ['version', 'status', 'applied at (UTC)', 'seconds', 'file'],
        ...migrations.map((one) => [
          one.version ?? '',
          one.status,
          one.appliedAt?.slice(0, 19) ?? '',
          one.seconds === null ? '' : one.seconds.toFixed(3),
          one.file ?? one.name,
        ]),
      ]),
      ...migrations.flatMap((one) => [
        ...(one.error ? [`${one.file ?? one.name}: ${one.error}`] : []),
        ...(one.remedy === undefined ? [] : [`  ${one.remedy}`]),
      ]),
      `at version ${version ?? 'none'}, ${pending} pending`,
    ],
  };
}

function described(entry: StatusEntry, row: HistoryRow | undefined) {
  return {
    version: entry.version,
    name: entry.name,
    file: entry.migration?.file ?? row?.file ?? null,
    status: row?.state === 'reverting' ? ('reverting' as const) : entry.status,
    appliedAt: row?.appliedAt ?? null,
    seconds: row?.seconds ?? null,
    appliedBy: row?.appliedBy ?? null,
    runId: row?.runId ?? null,
    error: row?.error ?? null,
  };
}

/** How far an unfinished migration came. */
async function progressOf(connection: Connection, row: HistoryRow) {
  const next = await connection.row(
    `SELECT statement, line, state, excerpt FROM ${journalTable} WHERE version = ? AND state <> 'done' ORDER BY statement LIMIT 1`,
    [row.id],
  );
  return next === null
    ? {}
    : {
        statement: Number(next['statement']),
        line: Number(next['line']),
        statementState: String(next['state']),
        excerpt: String(next['excerpt']),
        of: row.statements,
      };
}
