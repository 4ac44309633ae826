import type { Connection } from '@tableset/common/database/connection.ts';
import { isMissingTable } from '@tableset/common/database/ledger.ts';
import type { Fields } from '@tableset/common/output/output.ts';
import { isoTime } from '../run-rows.ts';
import type { RunRecord, RunResult } from '../run-types.ts';
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
      `SELECT id, counts, finished_at FROM tableset_runs WHERE started_at >= ? AND \`trigger\` = 'service' AND kind = ? AND counts IS NOT NULL ORDER BY id LIMIT ${ledgerRowsMax}`,
      [run.createdAt.slice(0, 23).replace('T', ' '), run.task],
    );
    return rows.map((row) => ({
      runId: String(row['id']),
      tables: countsOf(String(row['counts'])),
      at: isoTime(row['finished_at']?.toString() ?? null) ?? run.createdAt,
    }));
  } catch (error) {
    if (isMissingTable(error)) return null;
    throw error;
  }
}

/** The column has a list for loads and archives; what another version wrote there differently tells nothing. */
function countsOf(text: string): readonly Fields[] {
  const value: unknown = JSON.parse(text);
  return Array.isArray(value) ? value.filter((each): each is Fields => typeof each === 'object' && each !== null) : [];
}
