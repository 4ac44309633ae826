import type { Connection } from '@tableset/common/database/connection.ts';
import type { Output } from '@tableset/common/output/output.ts';
import { registerSecret } from '@tableset/common/output/redact.ts';
import type { DatabaseSettings } from '@tableset/common/settings/database.ts';
import { type LedgerBatch, readBatches } from '../../archive/batch-ledger.ts';
import { type ArchiveSession, withSession } from '../../catalogue/archive-run.ts';
import { hasBatchLedger, isStillThere } from '../../catalogue/find-batches.ts';
import type { ArchiveTask } from '../../config/archive-config.ts';
import { validateConfig } from '../../config/read.ts';
import type { ManifestTable } from '../../core/archive/manifest.ts';
import { binaryColumns, cellText, keyReader } from '../../core/archive/restore-filter.ts';
import { batchName, batchTables } from '../../verify/prove-batch.ts';
import { programVersion } from '../../version.ts';
import { serviceError } from '../errors.ts';
import { cursorText, type PageCursor } from './archive-cursor.ts';
import { type ColumnFilter, filterMatcher, invalid, mayMatch } from './archive-filter.ts';
import { type KeptRow, LeastRows } from './least-rows.ts';

/** What a page is asked for with; plain values, since it crosses threads. */
export interface PageQuestion {
  readonly configText: string;
  readonly configPath: string;
  readonly env: Readonly<Record<string, string>>;
  readonly database: DatabaseSettings;
  /** A table of `archive:` or one that goes along with it. */
  readonly table: string;
  /** Only what lies in this store; null: in any. */
  readonly store: string | null;
  readonly filters: readonly ColumnFilter[];
  readonly cursor: PageCursor | null;
  readonly limit: number;
}

export interface PageColumn {
  readonly name: string;
  /** COLUMN_TYPE when the rows were archived. */
  readonly type: string;
  /** How `values` has its cells: text as the server prints it, or the bytes in hexadecimal digits. */
  readonly encoding: 'text' | 'hex';
  readonly nullable: boolean;
}

export interface PageItem {
  readonly batch: string;
  readonly archivedAt: string;
  readonly values: Readonly<Record<string, string | null>>;
}

export interface ArchivePage {
  readonly table: string;
  readonly columns: readonly PageColumn[];
  readonly items: readonly PageItem[];
  /** The cursor of the next page; null: this was the last. A page may have fewer rows than asked for, or none, and still a next one. */
  readonly next: string | null;
}

/** After this long a page ends at the next end of a batch, whatever it has found. */
const timeMs = 5_000;
/** A page ends before it grows over this; a larger row comes alone. */
const pageBytesMax = 8 * 1024 * 1024;
const idsAtOnce = 500;
/** Each has connections of its own. */
const pagesAtOnce = 4;
/** Whoever asks is told that the database is away rather than kept waiting. */
const waitSeconds = 2;

let busy = 0;
const waiting: (() => void)[] = [];

/**
 * A page of archived rows as JSON text, so that a thread does all of the work. Batches in state deleted alone, the oldest first, rows by their keys.
 * @throws AppError SERVICE_NOT_FOUND for a table that is not archived, SERVICE_REQUEST_INVALID, STORE_UNAVAILABLE, DATABASE_…
 */
export async function archivePage(question: PageQuestion, signal: AbortSignal): Promise<string> {
  if (busy >= pagesAtOnce) await new Promise<void>((resolve) => waiting.push(resolve));
  busy++;
  try {
    signal.throwIfAborted();
    return JSON.stringify(await readPage(question, signal));
  } finally {
    busy--;
    waiting.shift()?.();
  }
}

async function readPage(question: PageQuestion, signal: AbortSignal): Promise<ArchivePage> {
  const { table, database, env } = question;
  registerSecret(database.password);
  for (const secret of Object.values(env)) registerSecret(secret);
  const config = await validateConfig(question.configText, question.configPath, { ...process.env, ...env });
  const tasks = config.archive.filter((task) => holds(task, table));
  if (tasks.length === 0) throw serviceError('SERVICE_NOT_FOUND', `the configuration archives no table ${table}`);
  const request = {
    config,
    tasks,
    database: { ...database, waitSeconds },
    version: programVersion,
    output: silent,
    signal,
  };
  return await withSession(request, async (session) => {
    if (!(await hasBatchLedger(session.connection))) return { table, columns: [], items: [], next: null };
    await checkColumns(session.connection, question, tasks);
    return await collect(session, question, tasks);
  });
}

function holds(task: ArchiveTask, table: string): boolean {
  return task.table === table || task.children.some((child) => child.table === table);
}

async function collect(
  session: ArchiveSession,
  question: PageQuestion,
  tasks: readonly ArchiveTask[],
): Promise<ArchivePage> {
  const { table, limit, cursor } = question;
  const deadline = performance.now() + timeMs;
  const columns = new Map<string, PageColumn>();
  const items: PageItem[] = [];
  let bytes = 0;
  let place: PageCursor | null = cursor;
  const page = (next: PageCursor | null): ArchivePage => ({
    table,
    columns: [...columns.values()],
    items,
    next: next === null ? null : cursorText(next),
  });
  for (;;) {
    const batches = await nextBatches(session.connection, question, tasks, place);
    if (batches.length === 0) return page(null);
    for (const batch of batches) {
      session.request.signal.throwIfAborted();
      if (items.length >= limit || bytes >= pageBytesMax || performance.now() > deadline) return page(place);
      const after = place?.batch === batch.id ? place.key : null;
      const read = await readBatch(session, batch, question, after, {
        rows: limit - items.length,
        bytes: pageBytesMax - bytes,
      });
      place = { batch: batch.id, key: null };
      if (read === null) continue;
      for (const column of columnsOf(read.table)) columns.set(column.name, column);
      items.push(...read.rows.map((row) => itemOf(batch, read.table, row)));
      bytes += read.rows.reduce((sum, row) => sum + row.bytes, 0);
      const last = read.rows.at(-1);
      if (read.more && last) return page({ batch: batch.id, key: last.key });
    }
  }
}

/** Batches from the cursor on, with their manifests. */
async function nextBatches(
  connection: Connection,
  { store }: PageQuestion,
  tasks: readonly ArchiveTask[],
  place: PageCursor | null,
): Promise<readonly LedgerBatch[]> {
  const tables = tasks.map((task) => task.table);
  const parts = [`state = 'deleted'`, `table_name IN (${tables.map(() => '?').join(', ')})`];
  if (place !== null) parts.push(`id ${place.key === null ? '>' : '>='} ?`);
  if (store !== null) parts.push('store = ?');
  const values = [...tables, ...(place === null ? [] : [BigInt(place.batch)]), ...(store === null ? [] : [store])];
  const rows = await connection.rows(
    `SELECT CAST(id AS CHAR) AS id FROM tableset_batches WHERE ${parts.join(' AND ')} ORDER BY tableset_batches.id LIMIT ${idsAtOnce}`,
    values,
  );
  // Manifests are large: a few at once.
  const ids = rows.slice(0, 10).map((row) => String(row['id']));
  if (ids.length === 0) return [];
  return await readBatches(connection, `state = 'deleted' AND id IN (${ids.map(() => '?').join(', ')})`, ids);
}

interface BatchRows {
  readonly table: ManifestTable;
  readonly rows: readonly KeptRow[];
  /** There are further ones. */
  readonly more: boolean;
}

/** Null: the batch has nothing of the table that the filters take, or it was purged meanwhile. */
async function readBatch(
  session: ArchiveSession,
  batch: LedgerBatch,
  { table: name, filters }: PageQuestion,
  after: readonly string[] | null,
  limits: { readonly rows: number; readonly bytes: number },
): Promise<BatchRows | null> {
  const table = batchTables(batch).find((each) => each.table === name);
  if (!table || table.rows === 0 || !mayMatch(table, filters)) return null;
  if (after !== null && after.length !== table.key.length) throw invalid('cursor', 'is of another table');
  const matches = filterMatcher(table, filters);
  const keyOf = keyReader(table);
  const least = new LeastRows(table, after, limits);
  try {
    const store = await session.stores.get(batch.store);
    for await (const rows of store.rows(batchName(batch), table))
      for (const row of rows) if (matches(row)) least.offer(keyOf(row), row);
  } catch (error) {
    if (await isStillThere(session.connection, batch)) throw error;
    return null;
  }
  return { table, ...least.result() };
}

function columnsOf(table: ManifestTable): readonly PageColumn[] {
  const binary = binaryColumns(table);
  return table.columns.map(({ name, type, nullable }, place) => ({
    name,
    type,
    encoding: binary[place] ? 'hex' : 'text',
    nullable,
  }));
}

function itemOf(batch: LedgerBatch, table: ManifestTable, { row }: KeptRow): PageItem {
  const binary = binaryColumns(table);
  const cells = table.columns.map(
    ({ name }, place) => [name, cellText(row[place] ?? null, binary[place] ?? false)] as const,
  );
  const archivedAt = `${batch.createdAt.slice(0, 23).replace(' ', 'T')}Z`;
  // Defines each name as an own property, whatever it is.
  return { batch: batch.id, archivedAt, values: Object.fromEntries(cells) };
}

/**
 * A column that neither the newest nor the oldest batch has is a mistake of the asker.
 * @throws AppError SERVICE_REQUEST_INVALID
 */
async function checkColumns(
  connection: Connection,
  { table, filters }: PageQuestion,
  tasks: readonly ArchiveTask[],
): Promise<void> {
  if (filters.length === 0) return;
  const known = new Set<string>();
  let found = false;
  for (const task of tasks) {
    for (const edge of ['MIN', 'MAX']) {
      const [batch] = await readBatches(
        connection,
        `id = (SELECT ${edge}(b.id) FROM tableset_batches b WHERE b.state = 'deleted' AND b.table_name = ?)`,
        [task.table],
      );
      const columns = batch?.manifest?.tables.find((each) => each.table === table)?.columns ?? [];
      for (const { name } of columns) known.add(name);
      found ||= batch !== undefined;
    }
  }
  const unknown = filters.find(({ column }) => !known.has(column));
  if (found && unknown) throw invalid(unknown.column, `is no column of ${table}; it has ${[...known].join(', ')}`);
}

const silent: Output = { terminal: false, json: false, event: () => {}, progress: () => {}, finish: () => {} };
