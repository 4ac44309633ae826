import { randomInt } from 'node:crypto';
import type { Connection } from '@tableset/common/database/connection.ts';
import { explainDatabaseError } from '@tableset/common/database/connection.ts';
import { classifyFault } from '@tableset/common/database/errno.ts';
import { quoteTable } from '@tableset/common/database/quoting.ts';
import { readTableDefinition } from '@tableset/common/database/read-table.ts';
import { rollBack } from '@tableset/common/database/transaction.ts';
import { AppError } from '@tableset/common/errors.ts';
import { exitCodes } from '@tableset/common/exit-codes.ts';
import type { LedgerBatch } from '../archive/batch-ledger.ts';
import type { LockedSession } from '../catalogue/archive-run.ts';
import { batchesById, batchIds } from '../catalogue/find-batches.ts';
import { batchDigest, type CanonicalRow, rowHash } from '../core/archive/canonical.ts';
import type { ManifestTable } from '../core/archive/manifest.ts';
import { binaryColumns, keyReader } from '../core/archive/restore-filter.ts';
import {
  allHashes,
  createFromManifest,
  fitTarget,
  foundColumns,
  insertRows,
  type RestoreTarget,
  restoreSession,
  statementBytes,
} from '../core/archive/restore-sql.ts';
import { keyText } from '../core/archive/selection.ts';
import { loaderError } from '../errors.ts';
import { adaptRows } from '../restore/adapt-rows.ts';
import type { ArchiveStore } from '../stores/store.ts';
import { batchName, batchTables, type Difference, proveBatch } from './prove-batch.ts';

export interface DrillSettings {
  /** Batches of each table. */
  readonly sample: number;
  /** Schema of the scratch tables; null: the primary's. */
  readonly schema: string | null;
  readonly tables: readonly string[] | null;
  readonly batch: string | null;
}

interface Tally {
  add(table: string, rows: number, differences: readonly Difference[]): void;
}

const scratchPrefix = 'tableset_drill_';
const pieceRows = 500;
const pieceBytesMax = 4 * 1024 * 1024;

/**
 * Restores a sample of batches as a restore would, into scratch tables that are made like the primary's, compares every row with the manifest, and drops
 * them.
 * @throws AppError RESTORE_NOT_FOUND if there is nothing to restore
 */
export async function drillBatches(session: LockedSession, settings: DrillSettings, tally: Tally): Promise<void> {
  const { connection, request } = session;
  const schema = settings.schema ?? connection.settings.name;
  await connection.run(restoreSession);
  await dropLeftovers(session, schema);
  const ids = await sampleOf(session, settings);
  if (ids.length === 0) throw loaderError('RESTORE_NOT_FOUND', 'the archive holds no batch that a drill could restore');
  let done = 0;
  for await (const batch of batchesById(connection, ids, ['deleted'])) {
    request.signal.throwIfAborted();
    const store = await session.stores.get(batch.store);
    const proof = await proveBatch(store, batch);
    // What the store does not give back whole need not be restored to fail.
    const differences = proof.length > 0 ? proof : await drillBatch(session, store, batch, schema);
    tally.add(batch.table, batch.totalRows ?? 0, differences);
    request.output.progress({ label: 'drill', done: ++done, total: ids.length, unit: 'batches' });
  }
}

/** Of each table the oldest and the newest batch, and others by lot. */
async function sampleOf({ connection }: LockedSession, settings: DrillSettings): Promise<readonly string[]> {
  const states = ['deleted'] as const;
  const question = { states, tables: settings.tables, batch: settings.batch };
  const rows = await connection.rows('SELECT DISTINCT table_name FROM tableset_batches ORDER BY table_name');
  const tables = rows.map((row) => String(row['table_name'])).filter((name) => settings.tables?.includes(name) ?? true);
  const sample: string[] = [];
  for (const table of tables) {
    const ids = await batchIds(connection, { ...question, tables: [table] });
    const chosen = new Set([ids.at(-1), ids[0]].filter((id) => id !== undefined).slice(0, settings.sample));
    while (chosen.size < Math.min(settings.sample, ids.length)) {
      const id = ids[randomInt(ids.length)];
      if (id !== undefined) chosen.add(id);
    }
    sample.push(...chosen);
  }
  return sample;
}

async function drillBatch(
  session: LockedSession,
  store: ArchiveStore,
  batch: LedgerBatch,
  schema: string,
): Promise<readonly Difference[]> {
  const { connection } = session;
  const differences: Difference[] = [];
  for (const [place, table] of batchTables(batch).entries()) {
    const scratch = `${scratchPrefix}${batch.id}_${place}`;
    const found = (what: string) => differences.push({ batch: batch.id, store: store.name, table: table.table, what });
    try {
      const target = await makeScratch(connection, table, schema, scratch);
      const filled = await fill(connection, store, batch, table, target);
      // The store is read twice, and must say the same twice.
      const what =
        batchDigest(filled.archived) === table.sha256
          ? await compare(connection, filled.expected, target)
          : 'the store gave other rows than those that were proved a moment ago';
      if (what !== null) found(what);
    } catch (error) {
      const refused = refusal(error);
      if (!refused) throw error;
      found(`it could not be restored: ${refused.message}`);
    } finally {
      await dropScratch(session, schema, scratch);
    }
  }
  return differences;
}

/** What cannot be dropped now, the next drill drops; the first error is the one to report. */
async function dropScratch({ connection, request }: LockedSession, schema: string, scratch: string): Promise<void> {
  if (connection.lost) return;
  try {
    await connection.uninterrupted(() => connection.run(`DROP TABLE IF EXISTS ${quoteTable(schema, scratch)}`));
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    request.output.event('warn', 'a scratch table could not be dropped', { table: `${schema}.${scratch}`, reason });
  }
}

/** A row that a table does not take is what a drill is to find; everything else ends it. */
function refusal(error: unknown): AppError | null {
  const known = error instanceof AppError ? error : explainDatabaseError(error);
  const fault = classifyFault(error);
  const ours = fault === 'grant-missing' || fault === 'missing-table' || known?.code === 'STOPPED';
  return known && known.exit === exitCodes.refused && !ours ? known : null;
}

/** Like the primary's table where the archived rows still fit it, else with the archived columns. */
async function makeScratch(
  connection: Connection,
  table: ManifestTable,
  schema: string,
  scratch: string,
): Promise<RestoreTarget> {
  const original = await readTableDefinition(connection, connection.settings.name, table.table);
  const fit = original && fitTarget(table, original, true);
  await connection.run(
    original && fit && 'columns' in fit
      ? `CREATE TABLE ${quoteTable(schema, scratch)} LIKE ${quoteTable(original.schema, original.name)}`
      : createFromManifest(schema, scratch, table),
  );
  const definition = await readTableDefinition(connection, schema, scratch);
  const target = definition && fitTarget(table, definition, true);
  if (target && 'columns' in target) return target;
  throw loaderError('ARCHIVE_TABLE_UNSUITABLE', `${table.table} ${target?.join(', ') ?? 'could not be made'}`);
}

/** Inserts a batch's rows, and returns the hashes that they have in the archive and those that they must have in the table. */
async function fill(
  connection: Connection,
  store: ArchiveStore,
  batch: LedgerBatch,
  table: ManifestTable,
  target: RestoreTarget,
): Promise<{ readonly archived: readonly string[]; readonly expected: readonly string[] }> {
  const binary = binaryColumns(table);
  const keyOf = keyReader(table);
  const archived: string[] = [];
  const expected: string[] = [];
  let piece: CanonicalRow[] = [];
  let bytes = 0;
  const room = Math.min(pieceBytesMax, connection.server.maxAllowedPacketBytes / 2);
  const flush = async () => {
    if (piece.length === 0) return;
    const { sql, values } = insertRows(target, piece);
    await connection.run(sql, values);
    piece = [];
    bytes = 0;
  };
  await connection.run('START TRANSACTION');
  try {
    for await (const rows of store.rows(batchName(batch), table)) {
      const read = rows.map((row) => ({ row, key: keyText(keyOf(row)), hash: rowHash(row, binary) }));
      for (const { hash } of read) archived.push(hash);
      for (const { row, hash } of adaptRows(target, read)) {
        expected.push(hash);
        const rowBytes = statementBytes(row);
        if (piece.length >= pieceRows || bytes + rowBytes > room) await flush();
        piece.push(row);
        bytes += rowBytes;
      }
    }
    await flush();
    await connection.run('COMMIT');
    return { archived, expected };
  } catch (error) {
    await rollBack(connection);
    throw error;
  }
}

async function compare(
  connection: Connection,
  expected: readonly string[],
  target: RestoreTarget,
): Promise<string | null> {
  const hashes: string[] = [];
  await connection.eachRow(allHashes(target), (row) => hashes.push(String(row[foundColumns.hash])));
  if (hashes.length !== expected.length)
    return `${hashes.length} rows were restored; the archive has ${expected.length}`;
  return batchDigest(hashes) === batchDigest(expected) ? null : 'the restored rows differ from the archived ones';
}

/** What a drill of this ledger that was killed left: under the lock it has no other. A schema for drills may have those of other primaries. */
async function dropLeftovers(session: LockedSession, schema: string): Promise<void> {
  const { connection } = session;
  const rows = await connection.rows(
    'SELECT TABLE_NAME AS name FROM information_schema.TABLES WHERE TABLE_SCHEMA = ? AND TABLE_NAME LIKE ?',
    [schema, `${scratchPrefix.replaceAll('_', '\\_')}%`],
  );
  for (const row of rows) {
    const [name, batch] = /^tableset_drill_(\d{1,20})_\d+$/.exec(String(row['name'])) ?? [];
    if (name === undefined || batch === undefined) continue;
    const own = await connection.row('SELECT 1 AS own FROM tableset_batches WHERE id = ?', [batch]);
    if (own) await dropScratch(session, schema, name);
  }
}
