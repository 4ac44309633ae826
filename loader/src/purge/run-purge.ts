import type { AppError } from '@tableset/common/errors.ts';
import type { LedgerBatch } from '../archive/batch-ledger.ts';
import { openBudget } from '../archive/deletion-budget.ts';
import { warnOfHolds } from '../archive/holds.ts';
import { openThrottle } from '../archive/throttle.ts';
import {
  type ArchiveSession,
  type LockedSession,
  primaryNow,
  type RunRequest,
  withLockedRun,
  withSession,
  withSummary,
} from '../catalogue/archive-run.ts';
import { batchCondition, batchesById, findBatches, hasBatchLedger } from '../catalogue/find-batches.ts';
import { cutoffOf } from '../core/archive/cutoff.ts';
import { isExpired } from '../core/archive/retention.ts';
import { loaderError } from '../errors.ts';
import { batchTables, type Difference, verifyFailed } from '../verify/prove-batch.ts';
import { HeldBatches, newestHold } from './held-batches.ts';
import { purgeBatch, purgeObstacles, settlePurge } from './purge-batch.ts';

export interface PurgeRequest extends RunRequest {
  readonly dryRun: boolean;
  /** Tables were chosen by name, so that nothing is done about any other. */
  readonly chosen: boolean;
}

/** What a purge did with one table: matched = purged + skipped. */
export interface PurgeCounts {
  readonly table: string;
  matched: number;
  purged: number;
  readonly skipped: Record<string, number>;
}

/** A batch that is past its retention, for a dry run. */
export interface ExpiredBatch {
  readonly batch: string;
  readonly table: string;
  readonly rows: number | null;
  readonly oldest: string | null;
  readonly newest: string | null;
}

export interface PurgeOutcome {
  readonly outcome: 'done' | 'skipped';
  readonly tables: readonly PurgeCounts[];
  /** The first of those that would be purged. */
  readonly batches?: readonly ExpiredBatch[];
}

const toldMax = 100;
/** Predicates that somebody has changed are read again after this long; holds by key are looked up as they are. */
const holdsAgeMaxMs = 30_000;

/**
 * Removes archived batches that are past their retention and hold no row that is held, one at a time; what an earlier run began is settled first. A batch that the
 * store does not have as the ledger says stays, and the others go.
 * @throws AppError ARCHIVE_TOO_MANY_DELETES before anything is removed, ARCHIVE_UNFINISHED at a limit of time, ARCHIVE_VERIFY_FAILED at the end for
 * batches that stay, with `details.summary`
 */
export async function runPurge(request: PurgeRequest): Promise<PurgeOutcome> {
  const tally = new PurgeTally();
  if (request.dryRun) {
    return await withSession(request, async (session) => {
      if (!(await hasBatchLedger(session.connection))) return { outcome: 'done', tables: [], batches: [] };
      const expired = await expiredBatches(session, request, tally);
      const batches: ExpiredBatch[] = [];
      for await (const batch of batchesById(session.connection, expired.ids, ['deleted'])) {
        request.signal.throwIfAborted();
        if (!(await tally.mayGo(batch, session))) continue;
        tally.add(batch, 'purged');
        if (batches.length < toldMax) batches.push(outline(batch));
      }
      // A dry run ends as the run would.
      if (tally.refusal) throw withSummary(tally.refusal, tally.tables);
      return { outcome: 'done', tables: tally.tables, batches };
    });
  }
  const done = await withLockedRun(
    request,
    'purge',
    () => tally.tables,
    async (session) => {
      await finishInterrupted(session, request, tally);
      await purgeExpired(session, request, tally);
      if (tally.refusal) throw tally.refusal;
      return true;
    },
  );
  return { outcome: done ? 'done' : 'skipped', tables: tally.tables };
}

async function finishInterrupted(session: LockedSession, request: PurgeRequest, tally: PurgeTally): Promise<void> {
  const tables = request.chosen ? request.tasks.map((task) => task.table) : null;
  for await (const batch of findBatches(session.connection, { tables, states: ['purging'] }, 'oldest first')) {
    if (await settlePurge(batch, session)) tally.add(batch, 'purged');
  }
}

async function purgeExpired(session: LockedSession, request: PurgeRequest, tally: PurgeTally): Promise<void> {
  const { connection } = session;
  const { output, signal, config } = request;
  const expired = await expiredBatches(session, request, tally);
  await using throttle = openThrottle({ limits: config.limits, connection, output, signal });
  let { held } = expired;
  let heldSince = performance.now();
  let done = 0;
  for await (const batch of batchesById(session.connection, expired.ids, ['deleted'])) {
    const ended = await throttle.beforeBatch();
    if (ended) {
      throw loaderError('ARCHIVE_UNFINISHED', `the run ended before everything was purged: ${ended.reason}`, {
        details: ended.fields,
      });
    }
    // Somebody may have put a hold on a row, or changed one, since.
    if ((await newestHold(connection)) !== held.newestHold || performance.now() - heldSince > holdsAgeMaxMs) {
      held = await HeldBatches.read(connection);
      heldSince = performance.now();
    }
    if (await held.isHeld(() => session.stores.get(batch.store), batch)) {
      tally.add(batch, 'held');
      continue;
    }
    if (!(await tally.mayGo(batch, session))) continue;
    await purgeBatch(batch, session);
    tally.add(batch, 'purged');
    output.progress({ label: 'purge', done: ++done, total: expired.ids.length, unit: 'batches' });
  }
}

interface Expired {
  readonly ids: readonly string[];
  readonly held: HeldBatches;
}

/**
 * Batches past their retention without a held row; the held ones are counted.
 * @throws AppError ARCHIVE_TOO_MANY_DELETES, HOLD_INVALID
 */
async function expiredBatches(session: ArchiveSession, request: PurgeRequest, tally: PurgeTally): Promise<Expired> {
  const { connection, stores } = session;
  await warnOfHolds(connection, request.tasks, request.output);
  const held = await HeldBatches.read(connection);
  const now = await primaryNow(connection);
  const tasks = request.tasks.filter((task) => task.enabled && task.deleteAfterDays !== null);
  const ids: string[] = [];
  let rows = 0;
  for (const task of tasks) {
    tally.mention(task.table);
    const cutoff = cutoffOf(task, task.deleteAfterDays ?? 0, now).utc;
    const question = { tables: [task.table], states: ['deleted'] as const };
    const { sql, values } = batchCondition(question);
    const found = await connection.rows(
      `SELECT CAST(b.id AS CHAR) AS id, b.newest, b.total_rows FROM tableset_batches b WHERE ${sql} AND b.newest < ? ORDER BY b.id`,
      [...values, cutoff],
    );
    const expired = found.filter((row) => isExpired({ newest: row['newest']?.toString() ?? null }, cutoff));
    const kept = held.none ? new Set<string>() : await heldIds(expired.map((row) => String(row['id'])));
    for (const row of expired) {
      if (kept.has(String(row['id']))) continue;
      ids.push(String(row['id']));
      rows += Number(row['total_rows'] ?? 0);
    }
  }
  const budget = await openBudget(request.config.limits.maxDeletes, () =>
    archivedRows(
      session,
      tasks.map((task) => task.table),
    ),
  );
  budget.spend(rows);
  return { ids, held };

  async function heldIds(candidates: readonly string[]): Promise<ReadonlySet<string>> {
    const kept = new Set<string>();
    for await (const batch of batchesById(connection, candidates, ['deleted'])) {
      request.signal.throwIfAborted();
      if (!(await held.isHeld(() => stores.get(batch.store), batch))) continue;
      kept.add(batch.id);
      tally.add(batch, 'held');
    }
    return kept;
  }
}

/** Rows that the archive of these tables holds, which a limit in percent is of. */
async function archivedRows({ connection }: ArchiveSession, tables: readonly string[]): Promise<number> {
  const { sql, values } = batchCondition({ tables, states: ['deleted'] });
  const row = await connection.row(
    `SELECT COALESCE(SUM(b.total_rows), 0) AS archived FROM tableset_batches b WHERE ${sql}`,
    values,
  );
  return Number(row?.['archived']);
}

function outline({ id, table, totalRows, oldest, newest }: LedgerBatch): ExpiredBatch {
  return { batch: id, table, rows: totalRows, oldest, newest };
}

/** Differences beyond these are counted only. */
const differencesMax = 100;

class PurgeTally {
  readonly #tables = new Map<string, PurgeCounts>();
  readonly #differences: Difference[] = [];

  /** False for a batch that is not in its store as the ledger says; it is counted. */
  async mayGo(batch: LedgerBatch, session: ArchiveSession): Promise<boolean> {
    const obstacles = await purgeObstacles(batch, session);
    if (obstacles.length === 0) return true;
    this.add(batch, 'unproved');
    if (this.#differences.length < differencesMax) this.#differences.push(...obstacles);
    return false;
  }

  /** What the run ends with although the other batches went. */
  get refusal(): AppError | null {
    if (this.#differences.length === 0) return null;
    return verifyFailed(
      this.#differences,
      'These batches were not purged. Look at the store; loader verify says what else differs.',
    );
  }

  mention(table: string): PurgeCounts {
    const known = this.#tables.get(table);
    if (known) return known;
    const made: PurgeCounts = { table, matched: 0, purged: 0, skipped: {} };
    this.#tables.set(table, made);
    return made;
  }

  /** Counts the rows of a whole batch. */
  add(batch: LedgerBatch, as: 'purged' | 'held' | 'unproved'): void {
    for (const { table, rows } of batchTables(batch)) {
      const counts = this.mention(table);
      counts.matched += rows;
      if (as === 'purged') counts.purged += rows;
      else if (rows > 0) counts.skipped[as] = (counts.skipped[as] ?? 0) + rows;
    }
  }

  get tables(): readonly PurgeCounts[] {
    return Array.from(this.#tables.values());
  }
}
