import type { Connection } from '@tableset/common/database/connection.ts';
import type { RunProgress, RunRecord, RunResult } from '../run-types.ts';

/*
 * What the service and the Job of a run say to each other, through the run's row. The row names the Job, by a name with the token of the claim in it:
 * a new claim takes the name out, so that whatever is left of an older Job changes nothing any more, while a takeover leaves it in, so that
 * the Job of the run goes on.
 */

/** What the row says to whoever follows a Job. */
export interface WorkerRow {
  readonly progress: RunProgress | null;
  readonly result: RunResult | null;
  readonly cancelRequested: boolean;
}

/** Names the Job before it is made. False: the run is no longer the claimer's. */
export async function nameWorker(connection: Connection, run: RunRecord, worker: string): Promise<boolean> {
  const { affectedRows } = await connection.run(
    "UPDATE tableset_service_runs SET worker = ?, worker_result = NULL WHERE id = ? AND state = 'running' AND token = ?",
    [worker, run.id, run.token],
  );
  return affectedRows === 1;
}

/** Null: the run has ended, or has another worker. */
export async function readWorker(connection: Connection, id: string, worker: string): Promise<WorkerRow | null> {
  const row = await connection.row(
    "SELECT progress, worker_result, cancel_requested_at FROM tableset_service_runs WHERE id = ? AND state = 'running' AND worker = ?",
    [id, worker],
  );
  if (!row) return null;
  const json = (name: string): unknown => (row[name] === null ? null : JSON.parse(String(row[name])));
  // Only this module writes the result, and only `writeProgress` and this module the progress.
  return {
    progress: json('progress') as RunProgress | null,
    result: json('worker_result') as RunResult | null,
    cancelRequested: row['cancel_requested_at'] !== null,
  };
}

/** False: it is no longer this worker's run. */
export async function writeWorkerProgress(
  connection: Connection,
  id: string,
  worker: string,
  progress: RunProgress,
): Promise<void> {
  await connection.run(
    "UPDATE tableset_service_runs SET progress = ? WHERE id = ? AND state = 'running' AND worker = ? AND worker_result IS NULL",
    [JSON.stringify(progress), id, worker],
  );
}

/** Says how the run ended. False: it is no longer this worker's run. */
export async function writeWorkerResult(
  connection: Connection,
  id: string,
  worker: string,
  result: string,
): Promise<boolean> {
  const { affectedRows } = await connection.run(
    "UPDATE tableset_service_runs SET worker_result = ? WHERE id = ? AND state = 'running' AND worker = ? AND worker_result IS NULL",
    [result, id, worker],
  );
  return affectedRows === 1;
}

/** Lets the next leader adopt the run at once rather than when the lease is over. */
export async function endLease(connection: Connection, run: RunRecord): Promise<void> {
  await connection.run(
    "UPDATE tableset_service_runs SET lease_until = UTC_TIMESTAMP(6) - INTERVAL 1 SECOND WHERE id = ? AND state = 'running' AND token = ?",
    [run.id, run.token],
  );
}
