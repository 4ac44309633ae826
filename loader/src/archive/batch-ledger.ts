import { randomInt } from 'node:crypto';
import type { Connection, Value } from '@tableset/common/database/connection.ts';
import type { ArchiveTask } from '../config/archive-config.ts';
import type { Cutoff } from '../core/archive/cutoff.ts';
import type { Manifest } from '../core/archive/manifest.ts';
import { loaderError } from '../errors.ts';

/**
 * The states of a batch. copying: rows may be in the store, in part; copied: sealed in the store; verified: read back and equal;
 * deleted: gone from the primary, and the only state that readers and restore see. abandoned: what it left in the store is to be taken away;
 * removed: it has been. purging and purged: past its retention, likewise.
 */
export type BatchState = 'copying' | 'copied' | 'verified' | 'deleted' | 'abandoned' | 'removed' | 'purging' | 'purged';

/** A batch as whoever works on it knows it; the token fences off everybody else. */
export interface BatchClaim {
  readonly id: string;
  readonly token: string;
}

/** A row of `tableset_batches`. Dates are UTC texts with microseconds. */
export interface LedgerBatch extends BatchClaim {
  readonly runId: string;
  readonly table: string;
  readonly store: string;
  readonly state: BatchState;
  readonly cutoff: string;
  readonly firstKey: readonly string[] | null;
  readonly lastKey: readonly string[] | null;
  readonly oldest: string | null;
  readonly newest: string | null;
  readonly rowCount: number | null;
  readonly totalRows: number | null;
  readonly manifest: Manifest | null;
  readonly createdAt: string;
  readonly verifiedAt: string | null;
}

/** What may be told of a batch together with a change of its state. */
export interface BatchFacts {
  readonly firstKey?: readonly string[];
  readonly lastKey?: readonly string[];
  readonly oldest?: string | null;
  readonly newest?: string | null;
  readonly rowCount?: number;
  readonly totalRows?: number;
  readonly manifest?: Manifest;
}

/**
 * Ids of new batches: milliseconds of the primary's clock in the upper 41 bits and 22 random ones below, so that primaries that share a store, or one
 * restored from a backup, never use an id twice. The newest version of a row is the one of the greatest id, whichever machine archived it and whatever
 * its clock says: ids of one run ascend, and all of them are above those that the ledger had when it began. That is enough for lanes and workers that run at
 * once, which archive different rows: for a row to be archived again a restore must have put it back, which holds the lock that all of them need.
 */
export class BatchIds {
  readonly #startMs: number;
  readonly #askedAt = performance.now();
  #lastMs: bigint;

  private constructor(startMs: number, lastMs: bigint) {
    this.#startMs = startMs;
    this.#lastMs = lastMs;
  }

  /** Asks for the primary's clock and for the ledger's greatest id; call it under the lock. */
  static async open(connection: Connection): Promise<BatchIds> {
    const row = await connection.row(
      'SELECT CAST(UNIX_TIMESTAMP(NOW(3)) * 1000 AS CHAR) AS now, CAST(COALESCE(MAX(id), 0) AS CHAR) AS last FROM tableset_batches',
    );
    return new BatchIds(Number(row?.['now']), BigInt(String(row?.['last'])) >> randomBits);
  }

  next(): string {
    const nowMs = BigInt(Math.floor(this.#startMs + performance.now() - this.#askedAt));
    this.#lastMs = nowMs > this.#lastMs ? nowMs : this.#lastMs + 1n;
    return String((this.#lastMs << randomBits) | BigInt(randomInt(1 << Number(randomBits))));
  }
}

const randomBits = 22n;

/** Writes the row of a new batch. */
export async function openBatch(
  connection: Connection,
  batch: {
    readonly id: string;
    readonly runId: string;
    readonly table: string;
    readonly store: string;
    readonly cutoff: string;
    readonly shard?: number | null;
  },
): Promise<BatchClaim> {
  await connection.run(
    `INSERT INTO tableset_batches (id, run_id, table_name, store, state, token, shard, cutoff, created_at, changed_at)
     VALUES (?, ?, ?, ?, 'copying', 1, ?, ?, UTC_TIMESTAMP(6), UTC_TIMESTAMP(6))`,
    [batch.id, batch.runId, batch.table, batch.store, batch.shard ?? null, batch.cutoff],
  );
  return { id: batch.id, token: '1' };
}

const factColumns: Readonly<Record<keyof BatchFacts, string>> = {
  firstKey: 'first_key',
  lastKey: 'last_key',
  oldest: 'oldest',
  newest: 'newest',
  rowCount: 'row_count',
  totalRows: 'total_rows',
  manifest: 'manifest',
};

/**
 * The compare-and-set of the ledger. Inside the transaction that deletes it is marker, fence and record in one.
 * @throws AppError ARCHIVE_BATCH_FENCED if the batch is not in the state `from` under this token any more; roll back then.
 */
export async function changeState(
  connection: Connection,
  claim: BatchClaim,
  from: BatchState,
  to: BatchState,
  facts: BatchFacts = {},
): Promise<void> {
  const told = factAssignments(facts);
  const assignments = ['state = ?', 'changed_at = UTC_TIMESTAMP(6)', ...told.assignments];
  if (to === 'verified') assignments.push('verified_at = UTC_TIMESTAMP(6)');
  const { affectedRows } = await connection.run(
    `UPDATE tableset_batches SET ${assignments.join(', ')} WHERE id = ? AND token = ? AND state = ?`,
    [to, ...told.values, claim.id, claim.token, from],
  );
  if (affectedRows !== 1) {
    throw loaderError('ARCHIVE_BATCH_FENCED', `batch ${claim.id} is no longer ${from} under token ${claim.token}`);
  }
}

/** Tells more of a batch whose state was changed before in the same transaction, and that its copy was proved. */
export async function recordFacts(connection: Connection, claim: BatchClaim, facts: BatchFacts): Promise<void> {
  const { assignments, values } = factAssignments(facts);
  await connection.run(
    `UPDATE tableset_batches SET ${[...assignments, 'verified_at = UTC_TIMESTAMP(6)'].join(', ')} WHERE id = ? AND token = ?`,
    [...values, claim.id, claim.token],
  );
}

function factAssignments(facts: BatchFacts): {
  readonly assignments: readonly string[];
  readonly values: readonly Value[];
} {
  // The entries are keys of the table above by its type.
  const entries = Object.entries(facts) as [keyof BatchFacts, unknown][];
  return {
    assignments: entries.map(([key]) => `${factColumns[key]} = ?`),
    // What is no object is text, a number or null.
    values: entries.map(([, fact]) =>
      typeof fact === 'object' && fact !== null ? JSON.stringify(fact) : (fact as Value),
    ),
  };
}

/** Deletes the row of a batch that never held anything; false if it is not ours any more. */
export async function discardBatch(connection: Connection, claim: BatchClaim): Promise<boolean> {
  const { affectedRows } = await connection.run(
    "DELETE FROM tableset_batches WHERE id = ? AND token = ? AND state = 'copying'",
    [claim.id, claim.token],
  );
  return affectedRows === 1;
}

/**
 * Says that rows older than the cut-off were archived or purged, so that loads do not bring them back. Inside the first transaction of a run
 * that deletes. It is never lowered while the date column is the same. What a load compares with is the cut-off as the column's own clock shows it, or
 * for an integer column the number.
 */
export async function raiseWatermark(
  connection: Connection,
  { table, dateColumn, dateType }: Pick<ArchiveTask, 'table' | 'dateColumn' | 'dateType'>,
  cutoff: Cutoff,
): Promise<void> {
  const [before, below] = dateType === 'date' ? [cutoff.value, null] : [cutoff.utc, cutoff.value];
  const stays = 'date_column <=> VALUES(date_column) AND archived_before > VALUES(archived_before)';
  await connection.run(
    `INSERT INTO tableset_tables (table_name, date_column, archived_before, archived_below) VALUES (?, ?, ?, ?)
     ON DUPLICATE KEY UPDATE archived_below = IF(${stays} AND archived_below IS NOT NULL, archived_below, VALUES(archived_below)),
       archived_before = IF(${stays}, archived_before, VALUES(archived_before)), date_column = VALUES(date_column)`,
    [table, dateColumn, before, below],
  );
}

/** Says that rows were archived one by one, whatever their date: loads look for their keys then, and no date holds anything back. */
export async function nameDateColumn(
  connection: Connection,
  { table, dateColumn }: Pick<ArchiveTask, 'table' | 'dateColumn'>,
): Promise<void> {
  await connection.run(
    `INSERT INTO tableset_tables (table_name, date_column) VALUES (?, ?) ON DUPLICATE KEY UPDATE date_column = COALESCE(date_column, VALUES(date_column))`,
    [table, dateColumn],
  );
}

/** Takes a batch over from whoever had it: their next compare-and-set fails. Call it under the lock. */
export async function takeOver(connection: Connection, id: string): Promise<BatchClaim> {
  await connection.run('UPDATE tableset_batches SET token = token + 1, changed_at = UTC_TIMESTAMP(6) WHERE id = ?', [
    id,
  ]);
  const row = await connection.row('SELECT token FROM tableset_batches WHERE id = ?', [id]);
  return { id, token: String(row?.['token']) };
}

const batchColumns = `CAST(id AS CHAR) AS id, CAST(token AS CHAR) AS token, CAST(run_id AS CHAR) AS run_id, table_name, store, state, cutoff, first_key, last_key,
  oldest, newest, row_count, total_rows, manifest, created_at, verified_at`;

/**
 * The batches of a table that an earlier run left unfinished, those of one shard or, for a run without shards, which is alone, of all.
 * @param store of this store, or of any other than this
 */
export async function readUnfinished(
  connection: Connection,
  table: string,
  store: { readonly is: string } | { readonly isNot: string },
  shard: number | null,
): Promise<readonly LedgerBatch[]> {
  const [compared, name] = 'is' in store ? ['=', store.is] : ['<>', store.isNot];
  return await readBatches(
    connection,
    `table_name = ? AND store ${compared} ? AND state IN ('copying', 'copied', 'verified', 'abandoned')${shard === null ? '' : ' AND shard = ?'}`,
    [table, name, ...(shard === null ? [] : [shard])],
  );
}

/**
 * Batches of the ledger in the order of their ids, which is that of time.
 * @param where SQL over the columns of `tableset_batches`, with placeholders
 */
export async function readBatches(
  connection: Connection,
  where: string,
  values: readonly Value[],
): Promise<readonly LedgerBatch[]> {
  const rows = await connection.rows(
    `SELECT ${batchColumns} FROM tableset_batches WHERE ${where} ORDER BY tableset_batches.id`,
    values,
  );
  return rows.map((row) => {
    const text = (name: string) => (row[name] === null || row[name] === undefined ? null : String(row[name]));
    const count = (name: string) => (text(name) === null ? null : Number(text(name)));
    return {
      id: String(row['id']),
      token: String(row['token']),
      runId: String(row['run_id']),
      table: String(row['table_name']),
      store: String(row['store']),
      // Only this module writes states.
      state: String(row['state']) as BatchState,
      cutoff: String(row['cutoff']),
      firstKey: parsed(text('first_key')),
      lastKey: parsed(text('last_key')),
      oldest: text('oldest'),
      newest: text('newest'),
      rowCount: count('row_count'),
      totalRows: count('total_rows'),
      manifest: parsed(text('manifest')),
      createdAt: String(row['created_at']),
      verifiedAt: text('verified_at'),
    };
  });
}

/** JSON that only this program writes. */
function parsed<T>(text: string | null): T | null {
  return text === null ? null : (JSON.parse(text) as T);
}
