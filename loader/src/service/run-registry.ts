import type { Connection, Value } from '@tableset/common/database/connection.ts';
import type { RunFilter, RunRegistry, StateDatabase } from './contracts.ts';
import { runColumns, runRecord } from './run-rows.ts';
import {
  type RunError,
  type RunProgress,
  type RunRecord,
  type RunState,
  type RunSummary,
  runStates,
} from './run-types.ts';

/** A run's owner must say that it lives within this time; then another may take the run over. */
export const leaseSeconds = 30;
const errorMessageMax = 4_000;
const listMax = 200;

export function openRegistry(database: StateDatabase): RunRegistry {
  return {
    find: async (id) => await database.use((connection) => findRun(connection, id)),
    list: async (filter) => await database.use((connection) => listRuns(connection, filter)),
    counts: async () => await database.use(countRuns),
  };
}

export async function findRun(connection: Connection, id: string): Promise<RunRecord | null> {
  const row = await connection.row(`SELECT ${runColumns} FROM tableset_service_runs WHERE id = ?`, [id]);
  return row ? runRecord(row) : null;
}

async function listRuns(connection: Connection, filter: RunFilter): Promise<readonly RunRecord[]> {
  const conditions: string[] = [];
  const values: Value[] = [];
  const where = (condition: string, value: Value | undefined) => {
    if (value === undefined) return;
    conditions.push(condition);
    values.push(value);
  };
  where('state = ?', filter.state);
  where('task = ?', filter.task);
  where('`trigger` = ?', filter.trigger);
  where('id < ?', filter.before);
  const limit = Math.min(Math.max(1, Math.trunc(filter.limit)), listMax);
  const rows = await connection.rows(
    `SELECT ${runColumns} FROM tableset_service_runs ${conditions.length === 0 ? '' : `WHERE ${conditions.join(' AND ')}`} ORDER BY id DESC LIMIT ${limit}`,
    values,
  );
  return rows.map(runRecord);
}

async function countRuns(connection: Connection): Promise<Readonly<Record<RunState, number>>> {
  const rows = await connection.rows('SELECT state, COUNT(*) AS runs FROM tableset_service_runs GROUP BY state');
  const counts = new Map(rows.map((row) => [String(row['state']), Number(row['runs'])]));
  // Every state is there.
  return Object.fromEntries(runStates.map((state) => [state, counts.get(state) ?? 0])) as Record<RunState, number>;
}

/** An open run as the poll sees it. */
export interface OpenRun {
  readonly run: RunRecord;
  /** It waits for nothing but its turn. */
  readonly due: boolean;
  /** Its owner has not been heard of in time. */
  readonly abandoned: boolean;
}

/** Runs that wait or run, oldest first. */
export async function openRuns(connection: Connection, limit: number): Promise<readonly OpenRun[]> {
  // Two ranges of one index: with IN and ORDER BY id the server would walk all rows.
  const part = (state: string) =>
    `(SELECT ${runColumns}, not_before <= UTC_TIMESTAMP(6) AS due, COALESCE(lease_until < UTC_TIMESTAMP(6), 1) AS abandoned FROM tableset_service_runs WHERE state = '${state}' ORDER BY id LIMIT ${limit})`;
  const rows = await connection.rows(`${part('running')} UNION ALL ${part('queued')}`);
  return rows.map((row) => ({
    run: runRecord(row),
    due: String(row['due']) === '1',
    abandoned: row['state'] === 'running' && String(row['abandoned']) === '1',
  }));
}

/** Takes a queued run. Null: another was quicker, or it was cancelled. */
export async function claimRun(connection: Connection, run: RunRecord, owner: string): Promise<RunRecord | null> {
  const { affectedRows } = await connection.run(
    `UPDATE tableset_service_runs SET state = 'running', token = token + 1, attempt = attempt + 1, owner = ?, worker = NULL, progress = NULL,
       lease_until = UTC_TIMESTAMP(6) + INTERVAL ${leaseSeconds} SECOND, started_at = UTC_TIMESTAMP(6) WHERE id = ? AND state = 'queued' AND token = ?`,
    [owner, run.id, run.token],
  );
  return affectedRows === 1 ? await findRun(connection, run.id) : null;
}

/** Takes over a run whose owner has gone. Null: it is back, or another was quicker. */
export async function takeOverRun(connection: Connection, run: RunRecord, owner: string): Promise<RunRecord | null> {
  const { affectedRows } = await connection.run(
    `UPDATE tableset_service_runs SET token = token + 1, owner = ?, lease_until = UTC_TIMESTAMP(6) + INTERVAL ${leaseSeconds} SECOND
     WHERE id = ? AND state = 'running' AND token = ? AND (lease_until IS NULL OR lease_until < UTC_TIMESTAMP(6))`,
    [owner, run.id, run.token],
  );
  return affectedRows === 1 ? await findRun(connection, run.id) : null;
}

/** Says that the owner lives. False: the run is no longer its own. */
export async function renewLease(connection: Connection, run: RunRecord, worker: string | null): Promise<boolean> {
  const { affectedRows } = await connection.run(
    `UPDATE tableset_service_runs SET lease_until = UTC_TIMESTAMP(6) + INTERVAL ${leaseSeconds} SECOND, worker = COALESCE(?, worker) WHERE id = ? AND state = 'running' AND token = ?`,
    [worker, run.id, run.token],
  );
  return affectedRows === 1;
}

export async function writeProgress(connection: Connection, run: RunRecord, progress: RunProgress): Promise<void> {
  await connection.run(
    "UPDATE tableset_service_runs SET progress = ? WHERE id = ? AND state = 'running' AND token = ?",
    [JSON.stringify(progress), run.id, run.token],
  );
}

export interface RunEnd {
  readonly state: 'done' | 'failed' | 'cancelled';
  readonly summary: RunSummary | null;
  readonly error: RunError | null;
  readonly logTail: string | null;
}

/** Ends a run for good. Null: it is no longer the owner's. */
export async function endRun(connection: Connection, run: RunRecord, end: RunEnd): Promise<RunRecord | null> {
  const { affectedRows } = await connection.run(
    `UPDATE tableset_service_runs SET state = ?, summary = ?, error = ?, log_tail = ?, finished_at = UTC_TIMESTAMP(6), lease_until = NULL, progress = NULL
     WHERE id = ? AND state = 'running' AND token = ?`,
    [end.state, json(end.summary), json(shortened(end.error)), end.logTail, run.id, run.token],
  );
  return affectedRows === 1 ? await findRun(connection, run.id) : null;
}

/** Puts a run back into the queue. The error of this try stands there until the next one ends. */
export async function requeueRun(
  connection: Connection,
  run: RunRecord,
  again: { readonly afterSeconds: number; readonly countsAsTry: boolean; readonly error: RunError | null },
): Promise<RunRecord | null> {
  const { affectedRows } = await connection.run(
    `UPDATE tableset_service_runs SET state = 'queued', token = token + 1, attempt = attempt - ?, owner = NULL, lease_until = NULL, progress = NULL, error = ?,
       not_before = UTC_TIMESTAMP(6) + INTERVAL ? SECOND WHERE id = ? AND state = 'running' AND token = ?`,
    [again.countsAsTry ? 0 : 1, json(shortened(again.error)), again.afterSeconds, run.id, run.token],
  );
  return affectedRows === 1 ? await findRun(connection, run.id) : null;
}

/** Deletes ended runs and the audit trail past their time, a bounded number at once. @returns how many rows went */
export async function pruneHistory(connection: Connection, days: number): Promise<number> {
  let gone = 0;
  for (const [table, column] of [
    ['tableset_service_runs', 'finished_at'],
    ['tableset_service_audit', 'at'],
  ] as const) {
    const { affectedRows } = await connection.run(
      `DELETE FROM ${table} WHERE ${column} < UTC_TIMESTAMP(6) - INTERVAL ? DAY ORDER BY ${column} LIMIT 1000`,
      [days],
    );
    gone += affectedRows;
  }
  return gone;
}

function json(value: unknown): string | null {
  return value === null ? null : JSON.stringify(value);
}

function shortened(error: RunError | null): RunError | null {
  return error === null ? null : { ...error, message: error.message.slice(0, errorMessageMax) };
}
