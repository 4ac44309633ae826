import type { Connection, Value } from '@tableset/common/database/connection.ts';
import { readLedgerFormat } from '@tableset/common/database/ledger.ts';
import { ledgerFormat } from '@tableset/common/database/ledger-format.ts';
import { commonError } from '@tableset/common/errors.ts';
import { type BatchState, type LedgerBatch, readBatches } from '../archive/batch-ledger.ts';

/** Batches with their manifests are read this many at a time. */
const pageBatches = 100;

export interface BatchQuestion {
  /** Root tables; null: all. */
  readonly tables: readonly string[] | null;
  readonly states: readonly BatchState[];
  /** Id of the only one. */
  readonly batch?: string | null;
  /** With a newest date at or after, and an oldest one before: UTC texts. */
  readonly from?: string | null;
  readonly to?: string | null;
  /** Never verified since they were written. */
  readonly unverified?: boolean;
}

/** Batches of the ledger page by page, never all of them at once. */
export async function* findBatches(
  connection: Connection,
  question: BatchQuestion,
  order: 'oldest first' | 'newest first',
): AsyncGenerator<LedgerBatch> {
  const ids = await batchIds(connection, question);
  yield* batchesById(connection, order === 'newest first' ? ids.toReversed() : ids, question.states);
}

/** Ids in the order of time. */
export async function batchIds(connection: Connection, question: BatchQuestion): Promise<readonly string[]> {
  const { sql, values } = batchCondition(question);
  const rows = await connection.rows(
    `SELECT CAST(b.id AS CHAR) AS id FROM tableset_batches b WHERE ${sql} ORDER BY b.id`,
    values,
  );
  return rows.map((row) => String(row['id']));
}

/** Batches by their ids, in the order of these, page by page; those that are in none of the states any more are left out. */
export async function* batchesById(
  connection: Connection,
  ids: readonly string[],
  states: readonly BatchState[],
): AsyncGenerator<LedgerBatch> {
  for (let start = 0; start < ids.length; start += pageBatches) {
    const page = ids.slice(start, start + pageBatches);
    const batches = await readBatches(connection, `id IN (${page.map(() => '?').join(',')})`, page);
    const byId = new Map(batches.map((batch) => [batch.id, batch]));
    for (const id of page) {
      const batch = byId.get(id);
      if (batch && states.includes(batch.state)) yield batch;
    }
  }
}

/** False if somebody else has taken the batch out of the state that it was read in; whoever has no lock finds that out afterwards. */
export async function isStillThere(connection: Connection, batch: LedgerBatch): Promise<boolean> {
  if (connection.lost) return true;
  const row = await connection.row('SELECT state FROM tableset_batches WHERE id = ?', [batch.id]);
  return row?.['state'] === batch.state;
}

/** The question as SQL over `tableset_batches b`. */
export function batchCondition(question: BatchQuestion): { readonly sql: string; readonly values: readonly Value[] } {
  const parts: string[] = [];
  const values: Value[] = [];
  const add = (sql: string, ...given: readonly Value[]) => {
    parts.push(sql);
    values.push(...given);
  };
  const list = (given: readonly string[]) => (given.length === 0 ? 'NULL' : given.map(() => '?').join(','));
  add(`b.state IN (${list(question.states)})`, ...question.states);
  if (question.tables !== null) add(`b.table_name IN (${list(question.tables)})`, ...question.tables);
  if (question.batch) add('b.id = ?', question.batch);
  if (question.from) add('(b.newest IS NULL OR b.newest >= ?)', question.from);
  if (question.to) add('(b.oldest IS NULL OR b.oldest < ?)', question.to);
  if (question.unverified) add('b.verified_at IS NULL');
  return { sql: parts.join(' AND '), values };
}

/**
 * True if the schema has a ledger with batches; without one nothing was archived. For whoever takes no lock and makes no ledger.
 * @throws AppError LEDGER_FORMAT if a newer version wrote it, which this one could misread
 */
export async function hasBatchLedger(connection: Connection): Promise<boolean> {
  const format = await readLedgerFormat(connection);
  if (format !== null && format > ledgerFormat) {
    throw commonError(
      'LEDGER_FORMAT',
      `the ledger in schema ${connection.settings.name} has format ${format}; this version knows up to ${ledgerFormat}`,
    );
  }
  const row = await connection.row(
    "SELECT 1 AS found FROM information_schema.TABLES WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = 'tableset_batches'",
  );
  return row !== null;
}
