import type { ForeignKeyDefinition } from '@tableset/common/database/table-definition.ts';
import type { RowPlan } from '../core/encoded-rows.ts';
import {
  bucketTable,
  countOperations,
  createHeld,
  createKeys,
  createStage,
  findConfirmedUpdates,
  findDeletes,
  findUpserts,
  findUpsertsValues,
  heldTable,
  holdChildrenOfHeld,
  holdOrphans,
  keyTable,
  type LoadTarget,
  operations,
  stageTable,
} from '../core/load-sql.ts';
import {
  bucketExpression,
  createBuckets,
  type DigestBuckets,
  differingBuckets,
  digestable,
  digestQuery,
  digestRoom,
  RowDigester,
  setBucket,
} from '../core/row-digest.ts';
import { loaderError } from '../errors.ts';
import { duplicateCheck } from './duplicates.ts';
import { holdArchived } from './hold-archived.ts';
import { keepHeld } from './keep-held.ts';
import { type LoadContext, type PassResult, readSource, type TableLoad } from './table-load.ts';
import { type RowBlock, TableWriter } from './table-writer.ts';

/** The differences of one table, staged and counted, nothing published yet. */
export interface Delta {
  readonly pass: PassResult;
  /** False if the digests agreed, so that nothing was staged and nothing is to be published. */
  readonly staged: boolean;
  readonly inserts: number;
  readonly updates: number;
  readonly deletes: number;
  readonly held: number;
  /** Rows in the table when it was compared, null if nobody counted them. */
  readonly rowsBefore: number | null;
}

/**
 * Compares a table with its source outside any transaction: by digests first where the types allow it, then row by row on the
 * server for what differs. Temporary tables alone are written.
 * @param parents the differences of the tables before it in the same set
 * @returns null if the source is empty and may be, and the mode deletes nothing
 */
export async function prepareDelta(
  load: TableLoad,
  context: LoadContext,
  parents: readonly (Delta | null)[],
): Promise<Delta | null> {
  const digest = await compareDigests(load, context);
  if (digest && digest.wanted === null) {
    return { pass: digest.pass, staged: false, inserts: 0, updates: 0, deletes: 0, held: 0, rowsBefore: digest.rows };
  }
  const pass = await stageRows(load, context, digest);
  if (!pass) return null;
  return await compareStaged(load, context, pass, digest, parents);
}

interface DigestResult {
  readonly pass: PassResult;
  readonly mask: number;
  /** Rows that the server counted. */
  readonly rows: number;
  /** Null if every bucket agrees. */
  readonly wanted: Uint8Array | null;
}

/** Null if the table cannot be digested or has too few rows for it to pay. */
async function compareDigests(load: TableLoad, context: LoadContext): Promise<DigestResult | null> {
  if (load.rowsBefore < digestRowsMin || load.task.mode === 'insert' || load.source.kind === 'records') return null;
  const buckets = createBuckets(load.rowsBefore);
  const server = createBuckets(load.rowsBefore);
  let digester: RowDigester | null = null;
  let query: Promise<void> | null = null;
  try {
    const pass = await readSource(load, context, `compare ${load.task.table}`, {
      begin: async (target, plan) => {
        if (!digestable(target.columns)) throw notDigestable;
        digester = new RowDigester(target, plan.separator, buckets.mask);
        // The server reads its table while the source is being read here.
        query = readServerBuckets(context, target, server);
        query.catch(() => {
          // It is awaited after the source; this only keeps it from counting as unhandled until then.
        });
      },
      write: async (chunk) => {
        digester?.add(chunk.bytes, buckets);
        chunk.release();
      },
    });
    if (!pass || !query) return null;
    await query;
    const { wanted, count } = differingBuckets(buckets, server);
    const rows = server.counts.reduce((sum, rowsOfBucket) => sum + rowsOfBucket, 0);
    return { pass, mask: buckets.mask, rows, wanted: count === 0 ? null : wanted };
  } catch (error) {
    if (error === notDigestable) return null;
    throw error;
  } finally {
    // The connection holds the lock and writes the ledger, so a failure of the source must not break it off in the middle of its answer.
    await (query as Promise<void> | null)?.catch(() => {});
  }
}

/** Ends the first pass where it turns out to be of no use. */
const notDigestable = new Error('a column has no digest');

/** Below this, staging takes about as long as a second pass over the source. */
const digestRowsMin = 5_000;

async function readServerBuckets(context: LoadContext, target: LoadTarget, buckets: DigestBuckets): Promise<void> {
  await context.connection.run(digestRoom);
  await context.connection.eachRow(digestQuery(target, buckets.mask), (row) => {
    setBucket(buckets, String(row['bucket']), String(row['count']), String(row['digest']));
  });
}

async function stageRows(
  load: TableLoad,
  context: LoadContext,
  digest: DigestResult | null,
): Promise<PassResult | null> {
  const { connection } = context;
  let writer: TableWriter | null = null;
  let select: ((block: RowBlock) => RowBlock) | null = null;
  const pass = await readSource(load, context, `stage ${load.task.table}`, {
    begin: async (target, plan, onReject) => {
      await dropTemporary(context, target);
      await connection.run(createStage(target));
      writer = new TableWriter({
        connection,
        table: stageTable(target),
        name: load.task.table,
        localInfile: load.localInfile,
        inTransaction: false,
        onReject,
        onDuplicate: duplicateCheck(connection, target, stageTable(target)),
      });
      select = digest?.wanted ? rowFilter(target, plan, digest.mask, digest.wanted) : null;
    },
    write: async (chunk) => {
      const block = select ? select(chunk) : chunk;
      if (block.rows > 0) await writer?.write(block);
      chunk.release();
    },
  });
  return pass;
}

/** Keeps the rows of the buckets that differ; its output is valid until its next call. */
function rowFilter(target: LoadTarget, plan: RowPlan, mask: number, wanted: Uint8Array): (block: RowBlock) => RowBlock {
  const digester = new RowDigester(target, plan.separator, mask);
  let bytes = Buffer.allocUnsafe(0);
  let lines = new Uint32Array(0);
  return (block) => {
    if (bytes.length < block.bytes.length) bytes = Buffer.allocUnsafe(block.bytes.length * 2);
    if (lines.length < block.rows) lines = new Uint32Array(block.rows * 2);
    const kept = digester.filter(block.bytes, block.lines, wanted, bytes, lines);
    return { ...block, bytes: bytes.subarray(0, kept.bytes), rows: kept.rows, lines };
  };
}

async function compareStaged(
  load: TableLoad,
  context: LoadContext,
  pass: PassResult,
  digest: DigestResult | null,
  parents: readonly (Delta | null)[],
): Promise<Delta> {
  const { connection } = context;
  const { target } = pass;
  await connection.run(createKeys(target));
  await connection.run(findUpserts(target, load.task.mode), findUpsertsValues(target));
  if (load.archivedKeys) await holdArchived(context, target);
  await holdChildren(load, context, target, parents);
  if (digest?.wanted) {
    await storeBuckets(context, target, digest.wanted);
    await checkDigestedKeys(load, context, target, digest.mask);
  }
  if (load.task.mode === 'mirror') {
    if (pass.rejected === 0) {
      await connection.run(findDeletes(target, digest?.wanted ? bucketExpression(target, digest.mask, 't') : null));
      await keepHeld(context, target);
    } else {
      // A rejected row's key is in the source all the same, so no row can be said to be missing from it.
      context.output.event('warn', 'nothing is deleted, because rows were rejected', {
        table: load.task.table,
        rejected: pass.rejected,
      });
    }
  }
  const rows = await connection.rows(countOperations(target));
  const counts = new Map(rows.map((row) => [Number(row['operation']), Number(row['count'])]));
  const count = (operation: number) => counts.get(operation) ?? 0;
  const deletes = count(operations.delete);
  return {
    pass,
    staged: true,
    inserts: count(operations.insert),
    updates: count(operations.update),
    deletes,
    held: count(operations.held),
    rowsBefore: digest?.rows ?? null,
  };
}

/**
 * Two rows of the source whose keys differ in bytes and are equal to the server may lie in different buckets, of which one agrees and is not
 * staged: then the other one would overwrite the row that the first one confirmed, and the next run would turn it back.
 */
async function checkDigestedKeys(
  load: TableLoad,
  context: LoadContext,
  target: LoadTarget,
  mask: number,
): Promise<void> {
  if (!target.columns.some((column) => target.key.includes(column.name) && column.collation !== null)) return;
  const row = await context.connection.row(findConfirmedUpdates(target, bucketExpression(target, mask, 't')));
  if (!row) return;
  const key = Object.entries(row).map(([name, value]) => `${name}=${value}`);
  throw loaderError(
    'LOAD_DUPLICATE_KEY',
    `${load.task.table}: two rows of ${load.source.describe()} have keys that the table calls equal: ${key.join(' ')}`,
  );
}

/** Rows whose parent was archived stay out with it: their parent is neither in its table nor about to be inserted. */
async function holdChildren(
  load: TableLoad,
  context: LoadContext,
  target: LoadTarget,
  parents: readonly (Delta | null)[],
): Promise<void> {
  const { schema, name } = target.definition;
  for (const reference of target.definition.foreignKeys) {
    if (!reference.columns.every((column) => target.columns.some((fed) => fed.name === column))) continue;
    const { referencedSchema, referencedTable } = reference;
    const parent = parents.find(
      (each) =>
        each?.pass.target.definition.schema === referencedSchema &&
        each.pass.target.definition.name === referencedTable,
    );
    if (parent && parent.held > 0) await context.connection.run(holdOrphans(target, reference, parent.pass.target));
    if ((target.archived || load.archivedKeys) && referencedSchema === schema && referencedTable === name)
      await holdDescendants(context, target, reference);
  }
}

/** Within one table, level by level: a temporary table can stand in a statement only once, so the held keys are copied. */
async function holdDescendants(
  context: LoadContext,
  target: LoadTarget,
  reference: ForeignKeyDefinition,
): Promise<void> {
  const { connection } = context;
  for (let held = 1; held > 0; ) {
    await connection.run(`DROP TEMPORARY TABLE IF EXISTS ${heldTable(target)}`);
    await connection.run(createHeld(target, reference));
    held = (await connection.run(holdChildrenOfHeld(target, reference))).affectedRows;
  }
}

async function storeBuckets(context: LoadContext, target: LoadTarget, wanted: Uint8Array): Promise<void> {
  const { connection } = context;
  await connection.run(
    `CREATE TEMPORARY TABLE ${bucketTable(target)} (bucket INT UNSIGNED NOT NULL PRIMARY KEY) ENGINE=InnoDB`,
  );
  const numbers = Array.from(wanted.keys()).filter((bucket) => wanted[bucket] === 1);
  for (let start = 0; start < numbers.length; start += 10_000) {
    await connection.run(
      `INSERT INTO ${bucketTable(target)} VALUES (${numbers.slice(start, start + 10_000).join('),(')})`,
    );
  }
}

/** Removes what an earlier load of the same session left; other sessions' temporary tables are not visible. */
export async function dropTemporary(context: LoadContext, target: LoadTarget): Promise<void> {
  await context.connection.run(
    `DROP TEMPORARY TABLE IF EXISTS ${stageTable(target)}, ${keyTable(target)}, ${bucketTable(target)}, ${heldTable(target)}`,
  );
}
