import type { Connection, Row } from '@tableset/common/database/connection.ts';
import { isMissingTable } from '@tableset/common/database/ledger.ts';
import type { Fields } from '@tableset/common/output/output.ts';
import { isoTime } from '../run-rows.ts';
import type { RunRecord, RunResult } from '../run-types.ts';
import { countedByDead, type DeadRun } from './dead-runs.ts';
import type { Counted } from './notices.ts';

/** Tries of one run, and of those beside it that were cut off. */
const ledgerRowsMax = 1_000;

/**
 * What the tries of a run have counted. Where the ledger is at hand it is asked, since it has what a try did that was cut off before its end came here; what
 * it says a second time is known by its id. Elsewhere the summary has to do.
 */
export async function countedOf(
  connection: Connection,
  run: RunRecord,
  result: RunResult,
  ledgerIsHere: boolean,
): Promise<readonly Counted[]> {
  const fromLedger = ledgerIsHere ? await ledgerCounts(connection, run) : null;
  if (fromLedger !== null) return fromLedger;
  const summary = result.state === 'stopped' || result.state === 'released' ? null : result.summary;
  const at = run.finishedAt ?? run.startedAt ?? run.createdAt;
  return summary === null ? [] : [{ runId: `s${run.id}.${run.token}`, tables: summary.tables, at }];
}

/** Null: there is no ledger yet. */
async function ledgerCounts(connection: Connection, run: RunRecord): Promise<readonly Counted[] | null> {
  try {
    const rows = await connection.rows(
      `SELECT id, connection_id, started_at, COALESCE(finished_at, UTC_TIMESTAMP(6)) AS finished_at, finished_at IS NULL AS unfinished,
         COALESCE(outcome, 'lost') AS outcome, counts
       FROM tableset_runs WHERE started_at >= ? AND \`trigger\` = 'service' AND kind = ? ORDER BY id LIMIT ${ledgerRowsMax}`,
      [run.createdAt.slice(0, 23).replace('T', ' '), run.task],
    );
    const over = await withoutLiving(connection, rows);
    const parsed = over.map((row) => ({ row, tables: countsOf(row['counts']?.toString() ?? '[]') }));
    const counted: Counted[] = [];
    for (const [index, { row, tables }] of parsed.entries()) {
      const later = parsed.slice(index + 1).flatMap((each) => each.tables);
      counted.push({
        runId: String(row['id']),
        tables: row['outcome'] === 'lost' ? await countedByDead(connection, deadRun(run, row), tables, later) : tables,
        at: isoTime(String(row['finished_at'])) ?? run.createdAt,
      });
    }
    return counted;
  } catch (error) {
    if (isMissingTable(error)) return null;
    throw error;
  }
}

/** Without runs whose connection still works: it is not known yet what they will have done. */
async function withoutLiving(connection: Connection, rows: readonly Row[]): Promise<readonly Row[]> {
  const isUnfinished = (row: Row) => String(row['unfinished']) === '1';
  if (!rows.some(isUnfinished)) return rows;
  const living = new Set((await connection.rows('SHOW PROCESSLIST')).map((row) => String(row['Id'])));
  return rows.filter((row) => !isUnfinished(row) || !living.has(String(row['connection_id'])));
}

function deadRun({ task }: RunRecord, row: Row): DeadRun {
  return {
    id: String(row['id']),
    task,
    startedAt: String(row['started_at']),
    finishedAt: String(row['finished_at']),
  };
}

/** The column has a list for loads and archives; what another version wrote there differently tells nothing. */
function countsOf(text: string): readonly Fields[] {
  const value: unknown = JSON.parse(text);
  return Array.isArray(value) ? value.filter((each): each is Fields => typeof each === 'object' && each !== null) : [];
}
