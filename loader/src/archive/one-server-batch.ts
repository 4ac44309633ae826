import type { Connection, Row } from '@tableset/common/database/connection.ts';
import type { PublishingLock } from '@tableset/common/database/lock.ts';
import { quoteTable } from '@tableset/common/database/quoting.ts';
import type { ColumnDefinition } from '@tableset/common/database/table-definition.ts';
import type { ArchivedTable } from '../core/archive/archive-set.ts';
import { batchDigest } from '../core/archive/canonical.ts';
import type { SqlPart } from '../core/archive/conditions.ts';
import { toUtc } from '../core/archive/cutoff.ts';
import { typedJsonRefused, typedJsonRow } from '../core/archive/json-values.ts';
import { keyCell } from '../core/archive/key-columns.ts';
import { type Manifest, type ManifestColumn, type ManifestTable, manifestFormat } from '../core/archive/manifest.ts';
import {
  type BatchHints,
  type CopiedRows,
  copiedLast,
  copiedRows,
  copyChildren,
  copyRest,
  copyRoot,
  deleteBetween,
  deleteCopied,
  dropLeftOut,
  dropsAnything,
  type Edges,
  edgeKeys,
  fitsDigest,
  readBack,
  readHashes,
  rowsBetween,
} from '../core/archive/one-server-sql.ts';
import type { KeyRange } from '../core/archive/selection.ts';
import { readStatistics, statisticsAggregates } from '../core/archive/statistics.ts';
import { loaderError } from '../errors.ts';
import {
  type BatchClaim,
  type BatchIds,
  changeState,
  nameDateColumn,
  raiseWatermark,
  recordFacts,
} from './batch-ledger.ts';
import type { DefinitionGuard } from './definition-guard.ts';
import type { BatchCounts, BatchResult, EngineContext } from './engine.ts';

/** What a lane works with: its own connection, and the lock that this one holds. */
export type LaneContext = Omit<EngineContext, 'lock'> & {
  readonly lock: PublishingLock;
  readonly hints: BatchHints;
  /** One for all lanes. */
  readonly ids: BatchIds;
};

interface BatchOptions {
  /** Called with the rows of all tables before the first is deleted. */
  readonly spend: (rows: number) => void;
  readonly raiseWatermark: boolean;
  /** Rows of the root table that the range had when it was chosen. */
  readonly rows: number;
  readonly guard: DefinitionGuard;
}

/**
 * Everything that happens between START TRANSACTION and COMMIT of a batch; the caller sends both.
 * @returns null if no row of the range matches any more; roll back then.
 * @throws AppError ARCHIVE_BATCH_FENCED, LOCK_LOST, ARCHIVE_TABLE_CHANGED, ARCHIVE_COUNTS_DIFFER, ARCHIVE_TOO_MANY_DELETES, ARCHIVE_VALUE_REFUSED; roll back then.
 */
export async function batchTransaction(
  context: LaneContext,
  archiveSchema: string,
  claim: BatchClaim,
  range: KeyRange,
  options: BatchOptions,
): Promise<Omit<BatchResult, 'seconds'> | null> {
  const { set, lock } = context;
  const { connection } = lock;
  await lock.assertHeld();
  // First of all writes: whoever was fenced off copies nothing.
  await changeState(connection, claim, 'copying', 'deleted');
  const copied = await copyAll(context, archiveSchema, claim, range, options.rows);
  if (copied[0] === 0) return null;
  // The copies have touched every table, so that no DDL gets in before the transaction ends.
  await options.guard.check(connection);
  options.spend(copied.reduce((sum, rows) => sum + rows, 0));
  const batch = BigInt(claim.id);
  const edges = await deleteAll(context, archiveSchema, claim, copied);
  await options.guard.confirm(connection);
  const dropped = await dropAll(context, archiveSchema, batch);
  const tables: ManifestTable[] = [];
  let now = '';
  for (const [index, table] of set.tables.entries()) {
    const left = dropped[index] ?? 0;
    const rows = (copied[index] ?? 0) - left;
    const known = left === 0 ? edges.get(table) : undefined;
    const keys = rows === 0 ? null : (known ?? (await readEdges(connection, table, archiveSchema, batch)));
    const archived = copiedRows(table, archiveSchema, batch, keys, rows);
    await refuseTypedJson(connection, table, archived);
    const described = await describeTable(context, table, archived, rows);
    tables.push({ ...described.table, keys, dropped: left });
    now = described.now;
  }
  await record(context, archiveSchema, claim, tables, now, options.raiseWatermark);
  return { batch: claim.id, tables: tables.map(countsOf) };
}

async function copyAll(
  { set, selection, lock, hints }: LaneContext,
  archiveSchema: string,
  claim: BatchClaim,
  range: KeyRange,
  rows: number,
): Promise<readonly number[]> {
  const { connection } = lock;
  const batch = BigInt(claim.id);
  const run = async ({ sql, values }: SqlPart) => (await connection.run(sql, values)).affectedRows;
  let roots = await run(copyRoot(set, archiveSchema, batch, selection, range, rows));
  if (roots === rows) {
    const { sql, values } = copiedLast(set, archiveSchema, batch, range);
    if ((await connection.row(sql, values)) === null)
      roots += await run(copyRest(set, archiveSchema, batch, selection, range));
  }
  const copied = [roots];
  if (roots === 0) return copied;
  for (const table of set.tables)
    if (table.child !== null)
      copied.push(await run(copyChildren(set, table, table.child, archiveSchema, batch, hints)));
  return copied;
}

/**
 * Deepest first, so that no foreign key is in the way.
 * @returns the edges of those tables whose edges it had to know
 */
async function deleteAll(
  { set, lock, hints }: LaneContext,
  archiveSchema: string,
  claim: BatchClaim,
  copied: readonly number[],
): Promise<ReadonlyMap<ArchivedTable, Edges>> {
  const { connection } = lock;
  const batch = BigInt(claim.id);
  const known = new Map<ArchivedTable, Edges>();
  for (const [index, table] of [...set.tables.entries()].toReversed()) {
    if (copied[index] === 0) continue;
    const hint = hints.copy.get(table.archiveName);
    const edges = hint === undefined ? null : await readEdges(connection, table, archiveSchema, batch);
    if (edges) known.set(table, edges);
    // The quicker way, where no row lies between the batch's that it would lock and that is none of them.
    const isDense = edges !== null && (await countBetween(connection, table, edges)) === copied[index];
    const statements =
      isDense && hint !== undefined
        ? deleteBetween(table, archiveSchema, batch, edges, hint)
        : [deleteCopied(table, archiveSchema, batch, hints)];
    let affectedRows = 0;
    for (const { sql, values } of statements) affectedRows += (await connection.run(sql, values)).affectedRows;
    if (affectedRows === copied[index]) continue;
    throw loaderError(
      'ARCHIVE_COUNTS_DIFFER',
      `${table.definition.name}: ${copied[index]} rows were copied and ${affectedRows} could be deleted; the batch was rolled back`,
      { details: { table: table.definition.name, batch: claim.id, copied: copied[index], deleted: affectedRows } },
    );
  }
  return known;
}

async function countBetween(connection: Connection, table: ArchivedTable, edges: Edges): Promise<number> {
  const { sql, values } = rowsBetween(table, edges);
  return Number((await connection.row(sql, values))?.['rows']);
}

/** @returns how many rows of each table its settings leave out of the archive */
async function dropAll({ set, lock }: LaneContext, archiveSchema: string, batch: bigint): Promise<readonly number[]> {
  const dropped: number[] = [];
  for (const table of set.tables) {
    let rows = 0;
    if (table.child !== null && dropsAnything(set, table)) {
      for (const { sql, values } of dropLeftOut(set, table, table.child, archiveSchema, batch)) {
        rows += (await lock.connection.run(sql, values)).affectedRows;
      }
    }
    dropped.push(rows);
  }
  return dropped;
}

/** The archive has such documents as they are; restore, which reads their text, could not give them back. */
async function refuseTypedJson(connection: Connection, table: ArchivedTable, copied: CopiedRows): Promise<void> {
  const query = connection.server.flavour === 'mysql' ? typedJsonRow(table, copied) : null;
  const row = query && (await connection.row(query.sql, query.values));
  if (!row) return;
  const key = table.key.map((name) => keyCell(row[name]));
  throw typedJsonRefused(table.definition.name, key, String(row['tableset_column']));
}

/** What the manifest says of a table, all of it read back from the archive. */
async function describeTable(
  { set, lock }: LaneContext,
  table: ArchivedTable,
  copied: CopiedRows,
  rows: number,
): Promise<{ readonly table: Omit<ManifestTable, 'keys' | 'dropped'>; readonly now: string }> {
  const { connection } = lock;
  const { name } = table.definition;
  const fits = fitsDigest(rows, connection.server.maxAllowedPacketBytes);
  const query = readBack(
    table,
    copied,
    table.child === null ? set.task.dateColumn : null,
    statisticsAggregates(table.columns),
    fits,
  );
  const facts = (await connection.row(query.sql, query.values)) ?? {};
  assertReadBack(name, facts, rows);
  const utc = (column: string) => toUtc(set.task, String(facts[column]));
  return {
    table: {
      table: name,
      archiveName: table.archiveName,
      fingerprint: table.fingerprint,
      columns: table.columns.map(manifestColumn),
      key: table.key,
      rows,
      dates: table.child === null ? { oldest: utc('tableset_oldest'), newest: utc('tableset_newest') } : null,
      sha256: fits ? String(facts['tableset_sha256']) : await digest(connection, table, copied),
      statistics: readStatistics(table.columns, facts),
      file: null,
    },
    now: String(facts['tableset_now']),
  };
}

function assertReadBack(name: string, facts: Row, rows: number): void {
  const found = Number(facts['tableset_rows']);
  if (found !== rows)
    throw loaderError('ARCHIVE_COUNTS_DIFFER', `${name}: ${found} of ${rows} rows are in the archive`);
  if (Number(facts['tableset_hashed']) === rows) return;
  throw loaderError(
    'ARCHIVE_VALUE_REFUSED',
    `${name}: a row of the batch is longer than the server's max_allowed_packet, so that its copy cannot be proved`,
    { hint: 'Raise max_allowed_packet on the server, or leave such rows out with where.' },
  );
}

function manifestColumn({
  name,
  columnType,
  characterSet,
  collation,
  nullable,
  generated,
}: ColumnDefinition): ManifestColumn {
  return { name, type: columnType, characterSet, collation, nullable, generated };
}

/** The digest of more rows than the server can join in one text. */
async function digest(connection: Connection, table: ArchivedTable, copied: CopiedRows): Promise<string> {
  const { sql, values } = readHashes(table, copied);
  return batchDigest((await connection.rows(sql, values)).map((row) => String(row['tableset_hash'])));
}

async function readEdges(
  connection: Connection,
  table: ArchivedTable,
  archiveSchema: string,
  batch: bigint,
): Promise<Edges> {
  const { sql, values } = edgeKeys(table, archiveSchema, batch);
  const rows = await connection.rows(sql, values);
  const edge = (number: string) => {
    const row = rows.find((each) => each['tableset_edge'] === number) ?? {};
    return table.key.map((name) => keyCell(row[name]));
  };
  return { first: edge('0'), last: edge('1') };
}

async function record(
  { set, lock, runId, program, cutoff, keepWatermark }: LaneContext,
  archiveSchema: string,
  claim: BatchClaim,
  tables: readonly ManifestTable[],
  now: string,
  watermark: boolean,
): Promise<void> {
  const { connection } = lock;
  const { host, port, name } = connection.settings;
  const manifest: Manifest = {
    format: manifestFormat,
    batch: claim.id,
    program,
    source: `${host}:${port}/${name}`,
    run: runId,
    cutoff: cutoff.utc,
    createdAt: now,
    tables,
  };
  await connection.run(
    `INSERT INTO ${quoteTable(archiveSchema, 'tableset_manifests')} (batch, root_table, manifest) VALUES (?, ?, ?)`,
    [BigInt(claim.id), set.task.table, JSON.stringify(manifest)],
  );
  const [root] = tables;
  if (root?.keys) {
    await recordFacts(connection, claim, {
      firstKey: root.keys.first,
      lastKey: root.keys.last,
      oldest: root.dates?.oldest ?? null,
      newest: root.dates?.newest ?? null,
      rowCount: root.rows,
      totalRows: tables.reduce((sum, table) => sum + table.rows, 0),
      manifest,
    });
  }
  if (watermark) {
    await (keepWatermark ? nameDateColumn(connection, set.task) : raiseWatermark(connection, set.task, cutoff));
  }
}

function countsOf({ table, rows, dropped }: ManifestTable): BatchCounts {
  return { table, archived: rows, verified: rows, deleted: rows, skipped: dropped === 0 ? {} : { dropped } };
}
