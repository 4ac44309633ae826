import type { Connection, Row } from '@tableset/common/database/connection.ts';
import { classifyFault } from '@tableset/common/database/errno.ts';
import { isLedgerBehind, ledgerMark } from '@tableset/common/database/ledger-format.ts';
import { quoteString, quoteTable } from '@tableset/common/database/quoting.ts';
import { commonError } from '@tableset/common/errors.ts';
import type { HistoryRow as PlannedRow } from './core/status.ts';
import type { Unfinished } from './core/unfinished.ts';

/**
 * What stands of a migration in the database. `applying` and `reverting`: begun and not finished, the journal says how far it came.
 */
export type HistoryState = 'applying' | 'applied' | 'reverting';

/** One row of `tableset_migrations`. */
export interface HistoryRow {
  /** The migration's id: its canonical version, or `R__name` of a repeatable one. */
  readonly id: string;
  readonly name: string;
  /** The file's name when it was applied; null for a baseline without a file. */
  readonly file: string | null;
  /** SHA-256 of the content in hexadecimal; null where it is not known (a baseline). */
  readonly checksum: string | null;
  readonly state: HistoryState;
  readonly repeatable: boolean;
  /** It stands for every version up to its own. */
  readonly baseline: boolean;
  readonly statements: number;
  /** UTC, as the server prints it. */
  readonly appliedAt: string | null;
  readonly seconds: number | null;
  readonly runId: string | null;
  /** The program's version that applied it, or `baseline` and `adopt TOOL` with it. */
  readonly appliedBy: string;
  readonly error: string | null;
  /** Only of what is unfinished: a statement was sent, and the journal does not know whether it took effect. */
  readonly inDoubt: boolean;
}

export const historyTable = 'tableset_migrations';
export const journalTable = 'tableset_migration_statements';

/** Raised when the meaning of the two tables changes; an older program refuses what it does not know. */
const historyFormat = 1;
const historyComment = `Tableset migrations, format ${historyFormat}`;
const tableOptions = 'ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin';

/** Idempotent; the second carries the format, so that a partial pair is completed. */
const historyStatements = [
  `CREATE TABLE IF NOT EXISTS ${journalTable} (
    version VARCHAR(191) NOT NULL,
    statement INT UNSIGNED NOT NULL COMMENT 'place in the file, from 1',
    line INT UNSIGNED NOT NULL COMMENT 'line of the file on which it starts',
    checksum CHAR(64) NOT NULL,
    excerpt VARCHAR(255) NOT NULL,
    state VARCHAR(16) NOT NULL COMMENT 'pending, started, done',
    started_at DATETIME(6) NULL,
    finished_at DATETIME(6) NULL,
    before_state LONGTEXT NULL COMMENT 'definitions of the objects that the statement names, before it ran, as JSON',
    PRIMARY KEY (version, statement)
  ) ${tableOptions}`,
  `CREATE TABLE IF NOT EXISTS ${historyTable} (
    version VARCHAR(191) NOT NULL PRIMARY KEY,
    name VARCHAR(255) NOT NULL,
    file VARCHAR(512) NULL,
    checksum CHAR(64) NULL,
    state VARCHAR(16) NOT NULL COMMENT 'applying, applied, reverting',
    is_repeatable BOOLEAN NOT NULL DEFAULT FALSE,
    is_baseline BOOLEAN NOT NULL DEFAULT FALSE,
    statements INT UNSIGNED NOT NULL,
    started_at DATETIME(6) NULL,
    applied_at DATETIME(6) NULL,
    seconds DECIMAL(12,3) NULL,
    run_id BIGINT UNSIGNED NULL,
    applied_by VARCHAR(128) NOT NULL,
    error TEXT NULL
  ) ${tableOptions} COMMENT='${historyComment}'`,
];

/** The whole history of a schema in one query, with the formats that it and the ledger are in. */
export function historyQuery(schema: string): string {
  return `SELECT version, name, file, checksum, state, is_repeatable, is_baseline, statements, applied_at, seconds, run_id, applied_by, error,
    (SELECT TABLE_COMMENT FROM information_schema.TABLES WHERE TABLE_SCHEMA = ${quoteString(schema)} AND TABLE_NAME = '${historyTable}') AS comment,
    (SELECT TABLE_COMMENT FROM information_schema.TABLES WHERE TABLE_SCHEMA = ${quoteString(schema)} AND TABLE_NAME = '${ledgerMark}') AS ledger
    FROM ${quoteTable(schema, historyTable)}`;
}

/**
 * Reads the whole history.
 * @param options.doubts whether to look into the journal too, which a file that says LOCK TABLES keeps from other sessions
 * @returns null if there is no history table yet.
 * @throws AppError LEDGER_FORMAT if a newer program wrote it.
 */
export async function readHistory(
  connection: Connection,
  { doubts }: { readonly doubts: boolean } = { doubts: true },
): Promise<readonly HistoryRow[] | null> {
  const schema = connection.settings.name;
  try {
    const rows = historyRows(schema, await connection.rows(historyQuery(schema)));
    return !doubts || rows.every(({ state }) => state === 'applied') ? rows : await withDoubts(connection, rows);
  } catch (error) {
    if (classifyFault(error) === 'missing-table') return null;
    throw error;
  }
}

/** What `historyQuery` gave: true if the ledger beside the history lacks what this version would add to it. */
export function isLedgerOutdated(rows: readonly Row[]): boolean {
  const [first] = rows;
  return first !== undefined && isLedgerBehind(String(first['ledger']));
}

/** What `historyQuery` gave. @throws AppError LEDGER_FORMAT if a newer program wrote it. */
export function historyRows(schema: string, rows: readonly Row[]): readonly HistoryRow[] {
  const [first] = rows;
  if (first) checkFormat(schema, String(first['comment']));
  return rows.map(historyRow);
}

async function withDoubts(connection: Connection, history: readonly HistoryRow[]): Promise<readonly HistoryRow[]> {
  const started = await connection.rows(
    `SELECT DISTINCT version FROM ${quoteTable(connection.settings.name, journalTable)} WHERE state = 'started'`,
  );
  const doubtful = new Set(started.map((row) => String(row['version'])));
  return history.map((row) => ({ ...row, inDoubt: row.state !== 'applied' && doubtful.has(row.id) }));
}

/** The row as planning sees it. */
export function plannedRow(row: HistoryRow): PlannedRow {
  return {
    version: row.repeatable ? null : row.id,
    name: row.name,
    checksum: row.checksum,
    state: row.state === 'applied' ? 'applied' : row.error === null ? 'running' : 'failed',
    baseline: row.baseline,
    ...(row.state === 'applied' ? {} : { unfinished: unfinishedOf(row) }),
  };
}

export function unfinishedOf(row: HistoryRow): Unfinished {
  const { id, error, inDoubt } = row;
  return { id, label: row.file ?? row.name, direction: row.state === 'reverting' ? 'down' : 'up', error, inDoubt };
}

function checkFormat(schema: string, comment: string): void {
  const format = Number(/format (\d+)/.exec(comment)?.[1] ?? Number.NaN);
  if (format <= historyFormat) return;
  throw commonError(
    'LEDGER_FORMAT',
    `${historyTable} in schema ${schema} is marked ${JSON.stringify(comment)}; this version knows up to format ${historyFormat}`,
  );
}

function historyRow(row: Row): HistoryRow {
  const text = (key: string): string | null => {
    const value = row[key];
    return value === null || value === undefined ? null : String(value);
  };
  const state = text('state');
  return {
    id: text('version') ?? '',
    name: text('name') ?? '',
    file: text('file'),
    checksum: text('checksum'),
    state: state === 'applied' || state === 'reverting' ? state : 'applying',
    repeatable: text('is_repeatable') === '1',
    baseline: text('is_baseline') === '1',
    statements: Number(text('statements')),
    appliedAt: text('applied_at'),
    seconds: text('seconds') === null ? null : Number(text('seconds')),
    runId: text('run_id'),
    appliedBy: text('applied_by') ?? '',
    error: text('error'),
    inDoubt: false,
  };
}

/** Makes the two tables if they are missing; call it under the lock only. */
export async function ensureHistory(connection: Connection): Promise<void> {
  const row = await connection.row(
    'SELECT TABLE_COMMENT AS comment FROM information_schema.TABLES WHERE TABLE_SCHEMA = ? AND TABLE_NAME = ?',
    [connection.settings.name, historyTable],
  );
  if (row) return checkFormat(connection.settings.name, String(row['comment']));
  for (const statement of historyStatements) await connection.run(statement);
}
