import type { LedgerBatch } from '../archive/batch-ledger.ts';
import { equalCells } from '../archive/collated.ts';
import {
  type ArchiveSession,
  type LockedSession,
  type RunRequest,
  withLockedRun,
  withSession,
  withSummary,
} from '../catalogue/archive-run.ts';
import { findBatches, hasBatchLedger, isStillThere } from '../catalogue/find-batches.ts';
import type { ArchiveTask } from '../config/archive-config.ts';
import type { ArchiveSet } from '../core/archive/archive-set.ts';
import { toUtc } from '../core/archive/cutoff.ts';
import { mayHold, type RowFilter, rowMatcher, takesAll } from '../core/archive/restore-filter.ts';
import { restoreSession, statementBytes } from '../core/archive/restore-sql.ts';
import { loaderError } from '../errors.ts';
import { batchTables } from '../verify/prove-batch.ts';
import { adaptRows } from './adapt-rows.ts';
import { childLinks, currentSet, type RowLink } from './child-links.ts';
import { type ChosenRows, chooseRows, type RowChoice } from './choose-rows.ts';
import { compareRows } from './compare-rows.ts';
import { ConflictList } from './conflicts.ts';
import { ProofKeeper } from './proof-keeper.ts';
import { type RestoreCounts, RestoreTally } from './restore-counts.ts';
import { RestorePace } from './restore-pace.ts';
import { RestoreTargets } from './restore-targets.ts';
import { SeenKeys } from './seen-keys.ts';
import { type WritePart, writeParts } from './write-rows.ts';

export interface RestoreRequest extends RunRequest {
  readonly task: ArchiveTask;
  readonly filter: RowFilter;
  /** Id of the only batch; null: every batch that can hold the rows, the newest version of each. */
  readonly batch: string | null;
  readonly into: string | null;
  readonly overwrite: boolean;
  readonly allowTriggers: boolean;
  readonly dryRun: boolean;
}

export interface RestoreOutcome {
  readonly outcome: 'done' | 'skipped';
  readonly tables: readonly RestoreCounts[];
  /** Ids of the batches that the rows are in, newest first, and at most the first thousand. */
  readonly batches: readonly string[];
}

/** One transaction has about this many rows and bytes at most. */
const transactionRowsMax = 5_000;
const transactionBytesMax = 16 * 1024 * 1024;
const batchesToldMax = 1_000;

/**
 * Puts archived rows back. A first pass proves every batch that it reads against its manifest and compares the rows with those that are there; only
 * then a second pass writes. Run again it writes nothing.
 * @throws AppError RESTORE_NOT_FOUND, RESTORE_CONFLICT, ARCHIVE_VERIFY_FAILED, ARCHIVE_TABLE_UNSUITABLE, ARCHIVE_UNFINISHED, with `details.summary`
 */
export async function runRestore(request: RestoreRequest): Promise<RestoreOutcome> {
  const tally = new RestoreTally();
  if (request.dryRun) {
    return await withSession(request, async (session) => {
      if (!(await hasBatchLedger(session.connection))) throw notFound(request, '');
      const { batches, conflicts } = await new Restore(session, request, tally).survey();
      // A dry run ends as the run would.
      if (isRefused(conflicts, request)) throw withSummary(conflicts.error, tally.tables);
      return { outcome: 'done', tables: tally.tables, batches };
    });
  }
  const batches = await withLockedRun(
    request,
    'restore',
    () => tally.tables,
    async (session) => {
      await session.connection.run(restoreSession);
      const restore = new Restore(session, request, tally);
      const { batches: used, conflicts } = await restore.survey();
      if (isRefused(conflicts, request)) throw conflicts.error;
      tally.forget();
      await restore.write(session, used);
      return used;
    },
  );
  return {
    outcome: batches ? 'done' : 'skipped',
    tables: tally.tables,
    batches: batches?.slice(0, batchesToldMax) ?? [],
  };
}

/** What holds an archived row's value of a further unique key is never overwritten: it is another row. Nor does overwriting make a parent. */
function isRefused(conflicts: ConflictList, { overwrite }: RestoreRequest): boolean {
  return conflicts.count > 0 && (!overwrite || conflicts.lasting);
}

class Restore {
  readonly #session: ArchiveSession;
  readonly #request: RestoreRequest;
  readonly #tally: RestoreTally;
  readonly #targets: RestoreTargets;
  readonly #proofs = new ProofKeeper();
  #set: Promise<ArchiveSet | null> | null = null;

  constructor(session: ArchiveSession, request: RestoreRequest, tally: RestoreTally) {
    this.#session = session;
    this.#request = request;
    this.#tally = tally;
    this.#targets = new RestoreTargets(session.connection, request);
  }

  /** The first pass: what would be written, and what is in the way. Nothing is written. */
  async survey(): Promise<{ readonly batches: readonly string[]; readonly conflicts: ConflictList }> {
    const { connection, request } = this.#session;
    const { task, filter, batch: only } = this.#request;
    const conflicts = new ConflictList();
    const used: string[] = [];
    const seen = new SeenKeys();
    const exists = await this.#targets.exists();
    const question = {
      tables: [task.table],
      states: ['deleted'] as const,
      batch: only,
      from: filter.from,
      to: filter.to,
    };
    for await (const batch of findBatches(connection, question, 'newest first')) {
      request.signal.throwIfAborted();
      if (!mayHold(batch, filter)) continue;
      let matched = 0;
      try {
        for await (const piece of await this.#choose(batch, seen)) {
          matched += piece.rows.length + piece.superseded;
          await this.#compare(piece, exists, conflicts);
        }
      } catch (error) {
        // A dry run takes no lock: what is purged under its eyes is no fault of the store.
        if (await isStillThere(connection, batch)) throw error;
        continue;
      }
      if (matched > 0) used.push(batch.id);
      request.output.progress({
        label: `read ${task.table} from the archive`,
        done: this.#rows,
        total: null,
        unit: 'rows',
      });
    }
    if (used.length === 0) throw notFound(this.#request, await this.#whereabouts());
    return { batches: used, conflicts };
  }

  /** The second pass, over the batches that the first one found rows in. */
  async write(session: LockedSession, batches: readonly string[]): Promise<void> {
    const { connection, request } = session;
    await using pace = new RestorePace(session);
    const seen = new SeenKeys();
    for (const id of batches) {
      const question = { tables: null, states: ['deleted'] as const, batch: id };
      for await (const batch of findBatches(connection, question, 'newest first')) {
        const [root] = batchTables(batch);
        if (root) await this.#targets.create(root);
        await this.#writeBatch(session, pace, batch, seen);
      }
      request.output.progress({
        label: `restore ${this.#request.task.table}`,
        done: this.#rows,
        total: null,
        unit: 'rows',
      });
    }
  }

  /** A batch is one transaction unless it is large. */
  async #writeBatch(session: LockedSession, pace: RestorePace, batch: LedgerBatch, seen: SeenKeys): Promise<void> {
    const { into, overwrite } = this.#request;
    let parts: WritePart[] = [];
    let rows = 0;
    let bytes = 0;
    const flush = async () => {
      if (parts.length > 0) {
        await pace.beforeTransaction();
        pace.wrote(await writeParts(parts, session, overwrite, this.#tally));
      }
      parts = [];
      rows = 0;
      bytes = 0;
    };
    for await (const piece of await this.#choose(batch, seen)) {
      this.#count(piece);
      const pieceBytes = piece.rows.reduce((sum, { row }) => sum + statementBytes(row), 0);
      if (rows + piece.rows.length > transactionRowsMax || bytes + pieceBytes > transactionBytesMax) await flush();
      const target = await this.#targets.target(piece.place, piece.table);
      const held = piece.place === 0 && into === null;
      parts.push({ table: piece.table.table, target, rows: adaptRows(target, piece.rows), held });
      rows += piece.rows.length;
      bytes += pieceBytes;
    }
    await flush();
  }

  async #compare(piece: ChosenRows, exists: boolean, conflicts: ConflictList): Promise<void> {
    this.#count(piece);
    const { table } = piece.table;
    const counts = this.#tally.of(table);
    if (piece.place === 0 && !exists) {
      counts.restored += piece.rows.length;
      return;
    }
    const target = await this.#targets.target(piece.place, piece.table);
    const found = await compareRows(this.#session.connection, target, adaptRows(target, piece.rows), {
      table,
      overwrite: this.#request.overwrite,
      alongside: this.#request.into === null ? piece.parents : [],
      referenced: (schema, name) => this.#targets.referenced(schema, name),
    });
    conflicts.add(found.conflicts);
    counts.restored += found.restored;
    counts.overwritten += found.overwritten;
    counts.unchanged += found.unchanged;
    counts.conflicts += found.refused;
  }

  #count({ table, rows, superseded }: ChosenRows): void {
    this.#tally.of(table.table).matched += rows.length + superseded;
    this.#tally.skip(table.table, 'superseded', superseded);
  }

  get #rows(): number {
    return this.#tally.tables.reduce((sum, { matched }) => sum + matched, 0);
  }

  async #choose(batch: LedgerBatch, seen: SeenKeys): Promise<AsyncGenerator<ChosenRows>> {
    const { task, filter, into } = this.#request;
    const tables = batchTables(batch);
    const [root] = tables;
    const date = { column: task.dateColumn, toUtc: (text: string) => toUtc(task, text) };
    const matches = !root || takesAll(filter) ? null : rowMatcher(root, filter, date);
    // A batch of rows that lack a column, or a type that cannot have the value, holds nothing of it.
    const none = !takesAll(filter) && matches === null;
    const links = new Map<number, readonly RowLink[]>();
    const choice: RowChoice = {
      matches: none ? () => false : matches,
      equal: (columns, left, right) => equalCells(this.#session.connection, columns, left, right),
      links:
        into !== null
          ? null
          : async (place) => {
              const known = links.get(place);
              if (known) return known;
              const definition = await this.#targets.definition(tables[place]?.table ?? '');
              this.#set ??= currentSet(task, (table) => this.#targets.definition(table));
              const found = childLinks(tables, place, await this.#set, definition);
              links.set(place, found);
              return found;
            },
    };
    return chooseRows(await this.#session.stores.get(batch.store), batch, choice, this.#proofs, seen);
  }

  /** Where the rows may have been, for the hint. */
  async #whereabouts(): Promise<string> {
    const { task, filter, batch: only } = this.#request;
    const gone: string[] = [];
    const question = {
      tables: [task.table],
      states: ['purging', 'purged'] as const,
      batch: only,
      from: filter.from,
      to: filter.to,
    };
    for await (const batch of findBatches(this.#session.connection, question, 'newest first')) {
      if (mayHold(batch, filter)) gone.push(batch.id);
      if (gone.length >= 5) break;
    }
    const definition = await this.#targets.definition(task.table).catch(() => null);
    const unknown = filter.where.find(
      ({ column }) => definition && !definition.columns.some(({ name }) => name === column),
    );
    if (unknown) return `${task.table} has no column ${unknown.column}.`;
    return gone.length === 0 ? '' : `Purged batches may have held it: ${gone.join(', ')}; what was purged is gone.`;
  }
}

function notFound({ task, filter, batch }: RestoreRequest, hint: string) {
  const asked = [
    ...filter.where.map(({ column, value }) => `${column}=${value}`),
    ...(filter.from === null ? [] : [`from ${filter.from}`]),
    ...(filter.to === null ? [] : [`to ${filter.to}`]),
    ...(batch === null ? [] : [`batch ${batch}`]),
  ];
  return loaderError(
    'RESTORE_NOT_FOUND',
    `no archived row of ${task.table} is ${asked.join(', ')}`,
    hint === '' ? {} : { hint },
  );
}
