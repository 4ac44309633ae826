import { hostname } from 'node:os';
import { AppError, commonError } from '../errors.ts';
import type { Connection } from './connection.ts';
import { classifyFault } from './errno.ts';
import { ledgerFormat, ledgerStatements } from './ledger-schema.ts';

/** State of the ledger in the schema: its format, or null if it is not there (or only in part). */
export async function readLedgerFormat(connection: Connection): Promise<number | null> {
  const row = await connection.row(
    "SELECT TABLE_COMMENT AS comment FROM information_schema.TABLES WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = 'tableset_runs'",
  );
  if (!row) return null;
  const format = /format (\d+)/.exec(String(row['comment']))?.[1];
  return format === undefined ? null : Number(format);
}

/**
 * Makes the ledger if it is missing; call it under the lock only.
 * @throws AppError LEDGER_FORMAT if a newer version wrote it; a server error 1142 if the account may not create tables.
 */
export async function ensureLedger(connection: Connection): Promise<void> {
  const format = await readLedgerFormat(connection);
  if (format !== null && format > ledgerFormat) {
    throw commonError(
      'LEDGER_FORMAT',
      `the ledger in schema ${connection.settings.name} has format ${format}; this version knows up to ${ledgerFormat}`,
    );
  }
  if (format === ledgerFormat) return;
  for (const statement of ledgerStatements) await connection.run(statement);
}

export interface RunStart {
  /** migrate, load, archive … */
  readonly kind: string;
  /** cli, init, cron, manual, service. */
  readonly trigger: string;
  readonly version: string;
}

/** Writes the row of a run that begins, and returns its id. Call it on the connection that holds the lock. */
export async function startRun(connection: Connection, run: RunStart): Promise<string> {
  // Whoever holds the lock is alone: runs that never ended were killed.
  await connection.run(
    "UPDATE tableset_runs SET finished_at = UTC_TIMESTAMP(6), outcome = 'lost' WHERE finished_at IS NULL",
  );
  await connection.run(
    'INSERT INTO tableset_runs (kind, `trigger`, host, connection_id, version, started_at) VALUES (?, ?, ?, CONNECTION_ID(), ?, UTC_TIMESTAMP(6))',
    [run.kind, run.trigger, hostname(), run.version],
  );
  const row = await connection.row('SELECT LAST_INSERT_ID() AS id');
  return String(row?.['id']);
}

export interface RunEnd {
  readonly outcome: string;
  readonly counts: unknown;
  readonly sourceHash?: string | null;
  readonly settingsHash?: string | null;
  readonly error?: AppError | null;
}

/** Completes the row of a run. */
export async function finishRun(connection: Connection, id: string, end: RunEnd): Promise<void> {
  await connection.run(
    'UPDATE tableset_runs SET finished_at = UTC_TIMESTAMP(6), outcome = ?, counts = ?, source_hash = ?, settings_hash = ?, error_code = ?, error_message = ? WHERE id = ?',
    [
      end.outcome,
      JSON.stringify(end.counts),
      end.sourceHash ?? null,
      end.settingsHash ?? null,
      end.error?.code ?? null,
      end.error?.message.slice(0, 4000) ?? null,
      id,
    ],
  );
}

/** True if the failure means that the ledger, or a table, is not there yet: a bounded wait, never a refusal. */
export function isMissingTable(error: unknown): boolean {
  return (
    classifyFault(error) === 'missing-table' ||
    (error instanceof AppError && classifyFault(error.cause) === 'missing-table')
  );
}
