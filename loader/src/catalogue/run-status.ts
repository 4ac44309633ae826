import { explainDatabaseError } from '@tableset/common/database/explain.ts';
import { quoteTable } from '@tableset/common/database/quoting.ts';
import { AppError } from '@tableset/common/errors.ts';
import type { BatchState } from '../archive/batch-ledger.ts';
import { planArchive } from '../archive/plan-archive.ts';
import type { ArchiveTask } from '../config/archive-config.ts';
import type { RowFilter } from '../core/archive/restore-filter.ts';
import { type ArchiveSession, primaryNow, type SessionRequest, withSession } from './archive-run.ts';
import { batchCondition, hasBatchLedger } from './find-batches.ts';
import { type FoundBatch, lookUp, onPrimary } from './look-up.ts';
import { type ShardStatus, shardStatus, type UnfinishedBatch, unfinishedBatches } from './under-way.ts';

export interface StatusRequest extends SessionRequest {
  readonly filter: RowFilter;
  readonly unverified: boolean;
}

/** What the ledger knows of one table's archive. */
export interface TableStatus {
  readonly table: string;
  readonly store: string;
  readonly enabled: boolean;
  /** Batches by state. */
  readonly batches: Readonly<Record<string, number>>;
  /** In the archive now, all tables of the set. */
  readonly rows: number;
  readonly oldest: string | null;
  readonly newest: string | null;
  /** Batches in the archive that nobody has proved since they were written. */
  readonly unverified: number;
  /** What the next archive run would take of the root; null where it was not asked for. */
  readonly waiting: Waiting | null;
}

export type Waiting =
  | { readonly rows: number /** There are more than these. */; readonly more: boolean }
  /** The next archive run would be refused. */
  | { readonly refused: string };

export interface RunStatus {
  readonly run: string;
  readonly kind: string;
  readonly startedAt: string;
  readonly finishedAt: string | null;
  readonly outcome: string | null;
  readonly error: string | null;
}

export interface FreshnessStatus {
  readonly table: string;
  readonly loadedAt: string | null;
  readonly ageSeconds: number | null;
  readonly rows: number | null;
}

export interface StatusOutcome {
  readonly tables: readonly TableStatus[];
  /** Batches that were asked for, newest first. */
  readonly batches: readonly FoundBatch[];
  /** True if the list ends before the last of them. */
  readonly moreBatches: boolean;
  /** Batches that a run works on or left behind, oldest first; empty where something was asked for, as are the next. */
  readonly unfinished: readonly UnfinishedBatch[];
  readonly shards: readonly ShardStatus[];
  /** Whether rows with the key are on the primary, by table; null where no key was given. */
  readonly onPrimary: readonly { readonly table: string; readonly rows: number }[] | null;
  readonly runs: readonly RunStatus[];
  readonly freshness: readonly FreshnessStatus[];
}

/** No more rows than these are counted, so that the answer comes soon. */
const waitingMax = 1_000_000;
const runsMax = 10;
const freshnessMax = 100;

/**
 * The catalogue: what is archived where, what waits, and how the last runs ended. It takes no lock and writes nothing, so that it answers while a run is
 * going on.
 */
export async function runStatus(request: StatusRequest): Promise<StatusOutcome> {
  const { filter, unverified } = request;
  const asked = filter.where.length > 0 || filter.from !== null || filter.to !== null || unverified;
  return await withSession(request, async (session) => {
    const archived = await hasBatchLedger(session.connection);
    const found = archived ? await lookUp(session, request, asked) : { batches: [], more: false };
    const tables: TableStatus[] = [];
    for (const task of request.tasks) tables.push(await tableStatus(session, task, archived, !asked));
    const names = archived && !asked ? request.tasks.map((task) => task.table) : [];
    return {
      tables,
      unfinished: await unfinishedBatches(session.connection, names),
      shards: await shardStatus(session.connection, names),
      batches: found.batches,
      moreBatches: found.more,
      onPrimary: filter.where.length > 0 ? await onPrimary(session, request) : null,
      runs: archived && !asked ? await lastRuns(session) : [],
      freshness: archived && !asked ? await freshness(session) : [],
    };
  });
}

async function tableStatus(
  session: ArchiveSession,
  task: ArchiveTask,
  archived: boolean,
  withWaiting: boolean,
): Promise<TableStatus> {
  const { connection } = session;
  const states = archived
    ? await connection.rows(
        'SELECT state, COUNT(*) AS batches FROM tableset_batches WHERE table_name = ? GROUP BY state ORDER BY state',
        [task.table],
      )
    : [];
  const { sql, values } = batchCondition({ tables: [task.table], states: ['deleted'] satisfies BatchState[] });
  const facts = archived
    ? await connection.row(
        `SELECT COALESCE(SUM(b.total_rows), 0) AS archived, MIN(b.oldest) AS oldest, MAX(b.newest) AS newest, COALESCE(SUM(b.verified_at IS NULL), 0) AS unverified
         FROM tableset_batches b WHERE ${sql}`,
        values,
      )
    : null;
  return {
    table: task.table,
    store: task.store,
    enabled: task.enabled,
    batches: Object.fromEntries(states.map((row) => [String(row['state']), Number(row['batches'])])),
    rows: Number(facts?.['archived'] ?? 0),
    oldest: facts?.['oldest']?.toString() ?? null,
    newest: facts?.['newest']?.toString() ?? null,
    unverified: Number(facts?.['unverified'] ?? 0),
    waiting: withWaiting && task.enabled ? await waiting(session, task) : null,
  };
}

async function waiting({ connection, request }: ArchiveSession, task: ArchiveTask): Promise<Waiting> {
  try {
    const nowUtc = await primaryNow(connection);
    const [planned] = await planArchive(connection, [task], { nowUtc, output: request.output, onlyLooks: true });
    if (!planned) return { rows: 0, more: false };
    const selection = planned.selection();
    const matches = selection.matches('r');
    const { schema, name } = planned.set.tables[0].definition;
    const row = await connection.row(
      `SELECT COUNT(*) AS waiting FROM (SELECT 1 FROM ${quoteTable(schema, name)} r${selection.indexHint} WHERE ${matches.sql} LIMIT ${waitingMax + 1}) AS found`,
      matches.values,
    );
    const rows = Number(row?.['waiting']);
    return { rows: Math.min(rows, waitingMax), more: rows > waitingMax };
  } catch (error) {
    const known = error instanceof AppError ? error : explainDatabaseError(error);
    // Why a run would be refused is part of the answer; that nobody answers is not.
    if (!known || connection.lost || known.code === 'STOPPED') throw error;
    return { refused: `${known.code}: ${known.message}` };
  }
}

async function lastRuns({ connection }: ArchiveSession): Promise<readonly RunStatus[]> {
  const rows = await connection.rows(
    `SELECT CAST(id AS CHAR) AS id, kind, started_at, finished_at, outcome, error_code, error_message FROM tableset_runs ORDER BY id DESC LIMIT ${runsMax}`,
  );
  return rows.map((row) => ({
    run: String(row['id']),
    kind: String(row['kind']),
    startedAt: String(row['started_at']),
    finishedAt: row['finished_at']?.toString() ?? null,
    outcome: row['outcome']?.toString() ?? null,
    error: row['error_code'] ? `${row['error_code']}: ${row['error_message']}` : null,
  }));
}

async function freshness({ connection }: ArchiveSession): Promise<readonly FreshnessStatus[]> {
  const rows = await connection.rows(
    `SELECT table_name, loaded_at, age_seconds, row_count FROM tableset_freshness WHERE loaded_at IS NOT NULL ORDER BY table_name LIMIT ${freshnessMax}`,
  );
  const number = (cell: unknown) => (cell === null || cell === undefined ? null : Number(cell));
  return rows.map((row) => ({
    table: String(row['table_name']),
    loadedAt: row['loaded_at']?.toString() ?? null,
    ageSeconds: number(row['age_seconds']),
    rows: number(row['row_count']),
  }));
}
