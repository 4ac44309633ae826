import type { Connection } from '@tableset/common/database/connection.ts';
import type { TableDefinition } from '@tableset/common/database/table-definition.ts';
import type { Output } from '@tableset/common/output/output.ts';
import type { LoadTable } from '../config/load-config.ts';
import type { EncodedRows, Reject, RowPlan } from '../core/encoded-rows.ts';
import type { LoadTarget } from '../core/load-sql.ts';
import type { PublishMode } from '../core/table-rules.ts';
import { loaderError } from '../errors.ts';
import type { Source } from '../sources/source.ts';
import { RejectCollector } from './reject-collector.ts';
import { sourceRows } from './source-rows.ts';
import type { RowBlock } from './table-writer.ts';

/** One table's load, as its steps pass it on. */
export interface TableLoad {
  readonly task: LoadTable;
  readonly definition: TableDefinition;
  readonly key: readonly string[];
  readonly source: Source;
  readonly mode: PublishMode;
  readonly ordinal: number;
  readonly archived: LoadTarget['archived'];
  /** Single rows were archived beside that, whatever their date. */
  readonly archivedKeys: boolean;
  readonly localInfile: boolean;
  /** Rows in the table before the load, by count where a guard needs it, else an estimate. */
  readonly rowsBefore: number;
}

/** What every step needs. */
export interface LoadContext {
  /** Holds the lock and makes every publishing write. */
  readonly connection: Connection;
  readonly output: Output;
  readonly signal: AbortSignal;
  readonly dryRun: boolean;
  /** Rejects of each table's latest pass; written to the ledger outside the publishing transaction. */
  readonly rejects: Map<string, RejectCollector>;
}

/** One pass over a table's source: what was read and rejected. */
export interface PassResult {
  readonly target: LoadTarget;
  readonly plan: RowPlan;
  readonly read: number;
  readonly rejected: number;
}

export interface PassSteps {
  /** Called once, when the first file tells which columns it feeds. */
  readonly begin: (target: LoadTarget, plan: RowPlan, onReject: (reject: Reject) => void) => Promise<void>;
  /** Takes the chunks in order. It may return before the chunk is written; the next call then waits for that. */
  readonly write: (block: RowBlock & { release(): void }) => Promise<void>;
}

/**
 * Reads the whole source once. Encoding the next chunk overlaps with the writing of the last.
 * @throws AppError LOAD_SOURCE_EMPTY for a source without rows unless allowed, LOAD_REJECTED past the limit, and whatever the source throws.
 */
export async function readSource(
  load: TableLoad,
  context: LoadContext,
  label: string,
  steps: PassSteps,
): Promise<PassResult | null> {
  const collector = new RejectCollector(load.task.table, load.task.maxRejects);
  context.rejects.set(load.task.table, collector);
  const pass = {
    task: load.task,
    source: load.source,
    definition: load.definition,
    server: context.connection.server,
    onReject: collector.add,
    signal: context.signal,
    onlyStream: load.mode === 'direct',
  };
  let target: LoadTarget | null = null;
  let plan: RowPlan | null = null;
  let read = 0;
  for await (const rows of sourceRows(pass)) {
    if (rows.plan && !target) {
      plan = rows.plan;
      try {
        target = loadTarget(load, rows.plan);
        await steps.begin(target, rows.plan, collector.add);
      } catch (error) {
        await rows.close();
        throw error;
      }
    }
    const write: PassSteps['write'] = async (block) => {
      if (!collector.exceeded) return await steps.write(block);
      block.release();
    };
    await writeChunks(rows, write, (done) =>
      context.output.progress({
        label,
        done: read + done,
        total: load.rowsBefore > 0 ? load.rowsBefore : null,
        unit: 'rows',
      }),
    );
    read += rows.counts.records;
  }
  collector.check();
  if (read === 0 && !load.task.allowEmpty) {
    throw loaderError('LOAD_SOURCE_EMPTY', `${load.task.table}: ${load.source.describe()} holds no rows`);
  }
  if (!plan && load.task.mode === 'mirror' && load.mode === 'delta') {
    plan = emptyPlan(load);
    target = loadTarget({ ...load, archived: null }, plan);
    await steps.begin(target, plan, collector.add);
  }
  if (!target || !plan) return null;
  return {
    target,
    plan,
    read,
    // Rows that the server refuses are counted while the last chunks are being written.
    get rejected() {
      return collector.count;
    },
  };
}

async function writeChunks(
  rows: EncodedRows,
  write: PassSteps['write'],
  onProgress: (done: number) => void,
): Promise<void> {
  let pending: Promise<void> = Promise.resolve();
  let done = 0;
  try {
    for await (const chunk of rows.chunks) {
      await pending;
      done += chunk.rows;
      onProgress(done);
      pending = write(chunk);
      pending.catch(() => {
        // It is awaited before the next chunk; this only keeps it from counting as unhandled while that one is being encoded.
      });
    }
  } finally {
    // A failure of the source must not leave a statement running on the connection; a failure of the statement is thrown below.
    await Promise.allSettled([pending]);
  }
  await pending;
}

function loadTarget(load: TableLoad, plan: RowPlan): LoadTarget {
  const columns = plan.columns.map(({ column }) => column);
  const missing = load.key.find((name) => !columns.some((column) => column.name === name));
  if (missing !== undefined) {
    throw loaderError('LOAD_KEY_UNSUITABLE', `${load.task.table}: the source has no field for key column ${missing}`);
  }
  const { archived } = load;
  if (archived && !columns.some((column) => column.name === archived.dateColumn)) {
    throw loaderError(
      'LOAD_TABLE_UNSUITABLE',
      `${load.task.table}: rows older than ${archived.before} by ${archived.dateColumn} were archived, and the source has no field for it`,
      { hint: `Feed ${archived.dateColumn}, so that archived rows can be told and do not come back.` },
    );
  }
  return { definition: load.definition, key: load.key, columns, ordinal: load.ordinal, archived };
}

/** Of a source that has no rows and need not have any: the key columns alone, by which mode mirror finds what to delete. */
function emptyPlan(load: TableLoad): RowPlan {
  const columns = load.definition.columns.filter((column) => load.key.includes(column.name));
  return {
    columns: columns.map((column) => ({ column, field: -1, fieldName: null, mapping: null })),
    fields: [],
    separator: 44,
  };
}
