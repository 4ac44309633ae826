import type { Connection } from '@tableset/common/database/connection.ts';
import { isMissingTable } from '@tableset/common/database/ledger.ts';
import type { RunRegistry, StateDatabase } from './contracts.ts';
import { isoTime } from './run-rows.ts';
import { type RunRecord, type RunState, type RunTask, runTasks } from './run-types.ts';

/** What the ledger tells of the service, for /status and /metrics. */
export interface Facts {
  readonly counts: Readonly<Record<RunState, number>>;
  /** Newest first. */
  readonly recent: readonly RunRecord[];
  readonly tasks: Readonly<Record<RunTask, TaskFacts>>;
  readonly tables: readonly TableFacts[];
  readonly webhooks: WebhookFacts;
  /** Last time a sample was restored and compared without a difference, by whatever started it. */
  readonly lastVerifiedRestoreAt: string | null;
}

export interface TaskFacts {
  readonly last: { readonly state: 'done' | 'failed'; readonly finishedAt: string } | null;
  readonly lastSuccessAt: string | null;
  readonly failuresSinceSuccess: number;
}

export interface WebhookFacts {
  /** Notices that are still to be told. */
  readonly waiting: number;
  /** Notices that were given up and can be replayed. */
  readonly dead: number;
}

export interface TableFacts {
  readonly table: string;
  readonly loadedAt: string | null;
  /** Since the source was last compared. */
  readonly ageSeconds: number | null;
  readonly rows: number | null;
}

/** Answers within this time are the same, however many ask. */
const cacheMs = 2_000;
const recentMax = 60;
const tablesMax = 500;

export interface FactSource {
  /** @throws AppError while the ledger is out of reach */
  read(): Promise<Facts>;
}

export function openFacts(database: StateDatabase, registry: RunRegistry): FactSource {
  let latest: { readonly at: number; readonly facts: Promise<Facts> } | null = null;
  return {
    async read() {
      const now = performance.now();
      if (latest === null || now - latest.at > cacheMs) {
        const facts = readFacts(database, registry);
        latest = { at: now, facts };
        // Whoever asks next tries again.
        facts.catch(() => {
          latest = null;
        });
      }
      return await latest.facts;
    },
  };
}

async function readFacts(database: StateDatabase, registry: RunRegistry): Promise<Facts> {
  const counts = await registry.counts();
  const recent = await registry.list({ limit: recentMax });
  return await database.use(async (connection) => ({
    counts,
    recent,
    tasks: await taskFacts(connection),
    tables: await ifThere(() => tableFacts(connection), []),
    webhooks: await ifThere(() => webhookFacts(connection), { waiting: 0, dead: 0 }),
    lastVerifiedRestoreAt: await ifThere(() => lastVerifiedRestore(connection), null),
  }));
}

/** Two loose scans of one index, however many runs there have been. */
async function taskFacts(connection: Connection): Promise<Readonly<Record<RunTask, TaskFacts>>> {
  const rows = await connection.rows(
    "SELECT task, state, MAX(finished_at) AS at FROM tableset_service_runs WHERE state IN ('done', 'failed') GROUP BY task, state",
  );
  const latest = new Map(rows.map((row) => [`${row['task']} ${row['state']}`, String(row['at'])]));
  const facts: [RunTask, TaskFacts][] = [];
  for (const task of runTasks) {
    const done = latest.get(`${task} done`) ?? null;
    const failed = latest.get(`${task} failed`) ?? null;
    const failuresSinceSuccess = failed === null ? 0 : await failuresSince(connection, task, done ?? '1000-01-01');
    // Text of one format sorts by time.
    const state = (failed ?? '') > (done ?? '') ? 'failed' : 'done';
    const finishedAt = isoTime(state === 'failed' ? failed : done);
    const last: TaskFacts['last'] = finishedAt === null ? null : { state, finishedAt };
    facts.push([task, { last, lastSuccessAt: isoTime(done), failuresSinceSuccess }]);
  }
  // Every task is there.
  return Object.fromEntries(facts) as Record<RunTask, TaskFacts>;
}

async function failuresSince(connection: Connection, task: RunTask, since: string): Promise<number> {
  const row = await connection.row(
    "SELECT COUNT(*) AS failures FROM tableset_service_runs WHERE task = ? AND state = 'failed' AND finished_at > ?",
    [task, since],
  );
  return Number(row?.['failures']);
}

async function tableFacts(connection: Connection): Promise<readonly TableFacts[]> {
  const rows = await connection.rows(
    `SELECT table_name, loaded_at, age_seconds, row_count FROM tableset_freshness WHERE loaded_at IS NOT NULL ORDER BY table_name LIMIT ${tablesMax}`,
  );
  const number = (cell: string | Buffer | null | undefined) =>
    cell === null || cell === undefined ? null : Number(cell);
  return rows.map((row) => ({
    table: String(row['table_name']),
    loadedAt: isoTime(row['loaded_at']?.toString() ?? null),
    ageSeconds: number(row['age_seconds']),
    rows: number(row['row_count']),
  }));
}

async function webhookFacts(connection: Connection): Promise<WebhookFacts> {
  const rows = await connection.rows(
    "SELECT state, COUNT(*) AS notices FROM tableset_service_deliveries WHERE state IN ('waiting', 'dead') GROUP BY state",
  );
  const count = (state: string) => Number(rows.find((row) => row['state'] === state)?.['notices'] ?? 0);
  return { waiting: count('waiting'), dead: count('dead') };
}

async function lastVerifiedRestore(connection: Connection): Promise<string | null> {
  const row = await connection.row(
    "SELECT MAX(finished_at) AS at FROM tableset_runs WHERE kind = 'drill' AND outcome = 'done'",
  );
  return isoTime(row?.['at']?.toString() ?? null);
}

/** Before the first run of anything the ledger is not there, which is no fault. */
async function ifThere<T>(read: () => Promise<T>, otherwise: T): Promise<T> {
  try {
    return await read();
  } catch (error) {
    if (isMissingTable(error)) return otherwise;
    throw error;
  }
}
