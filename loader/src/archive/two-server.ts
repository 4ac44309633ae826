import { connect, delay } from '@tableset/common/database/connect.ts';
import type { Connection } from '@tableset/common/database/connection.ts';
import {
  afterEffect,
  type BatchEffect,
  type BatchOutcome,
  type BatchProgress,
  type LedgerState,
  nextEffect,
  proveOnceMore,
  resumeBatch,
  startBatch,
} from '../core/archive/batch-machine.ts';
import type { Manifest } from '../core/archive/manifest.ts';
import type { KeyRange } from '../core/archive/selection.ts';
import { loaderError } from '../errors.ts';
import { keepAlive } from '../stores/mysql-store-cells.ts';
import type { BatchName } from '../stores/store.ts';
import {
  type BatchClaim,
  type BatchFacts,
  changeState,
  discardBatch,
  type LedgerBatch,
  newBatchId,
  openBatch,
  readBatches,
  takeOver,
} from './batch-ledger.ts';
import { DefinitionGuard } from './definition-guard.ts';
import type { BatchEngine, BatchResult, EngineContext } from './engine.ts';
import { settleBatch } from './settle.ts';
import { type CopiedBatch, copyBatch, proveBatch, type Reader } from './two-server-copy.ts';
import { deleteBatch, type VoidReason } from './two-server-delete.ts';
import { BatchKeys } from './two-server-keys.ts';

/** A proof older than this is made again before it is relied on. */
const proofMs = 30_000;

/** Opens the engine for every store that no transaction of the primary reaches. */
export async function openTwoServerEngine(context: EngineContext): Promise<BatchEngine> {
  const { settings } = context.lock.connection;
  const { connection: locked } = context.lock;
  // Batch digests are made by the server in one text.
  await locked.run('SET SESSION group_concat_max_len = ?', [locked.server.maxAllowedPacketBytes]);
  // Beyond its threshold MariaDB would join a list of keys as a table.
  if (locked.server.flavour === 'mariadb') await locked.run('SET SESSION in_predicate_conversion_threshold = 0');
  const connection = await connect(settings, { signal: context.signal });
  return new TwoServerEngine(context, connection);
}

/** A range of rows and the batch that they are in just now. */
interface Work {
  /** Null for a batch that an earlier run left. */
  readonly range: KeyRange | null;
  readonly expectedRows: number;
  progress: BatchProgress;
  claim: BatchClaim | null;
  manifest: Manifest | null;
  /** Null where only the store knows them, until the proof has asked it. */
  rows: CopiedBatch['rows'] | null;
  provedAtMs: number;
  /** A proof that was begun as soon as the store had sealed, while the ledger's turn had not come. */
  proof: Promise<CopiedBatch['rows'] | null> | null;
  /** That proof has come out well. */
  proved: boolean;
  /** The ledger says so already, by the same commit that said `copied`. */
  recordedVerified: boolean;
  /** When the ledger said verified; null: in this run, just now. */
  verifiedAt: string | null;
  /** Root rows that are left out, as JSON texts of their keys, and why. */
  readonly excluded: Map<string, VoidReason>;
  /** Root rows of the first attempt. */
  readRows: number | null;
  spent: boolean;
  seconds: number;
}

/**
 * Each batch goes through the steps of `batch-machine`. While one is being deleted on the lock's connection, the next is read on a second
 * connection and copied. Between two calls nothing is under way, so that callers may use the lock's connection.
 */
class TwoServerEngine implements BatchEngine {
  readonly #context: EngineContext;
  readonly #connection: Connection;
  readonly #reader: Reader;
  readonly #heartbeat: Disposable;
  readonly #keys: BatchKeys;
  readonly #guard: DefinitionGuard;
  /** Proved, and to be deleted while the next one is copied. */
  #pending: Work | null = null;
  /** Proved, and waiting as long as the settings want it. */
  readonly #waiting: Work[] = [];
  readonly #finished: BatchResult[] = [];
  /** The lock's connection does one thing after the other: a statement of another batch must not get into a transaction. */
  #lane: Promise<unknown> = Promise.resolve();
  #watermarkRaised = false;
  /** A row of the ledger that was opened by the commit of a deletion, for the batch after the next. */
  #next: BatchClaim | null = null;
  /** No further batch is to come. */
  #draining = false;

  constructor(context: EngineContext, connection: Connection) {
    this.#context = context;
    this.#connection = context.lock.connection;
    this.#reader = { connection, keys: new BatchKeys(connection, context.set) };
    this.#heartbeat = keepAlive(connection);
    this.#keys = new BatchKeys(this.#connection, context.set);
    this.#guard = new DefinitionGuard(context.set);
  }

  async recover(): Promise<readonly BatchResult[]> {
    const { set, store, shard } = this.#context;
    const ofShard = shard === null ? '' : ' AND shard = ?';
    const left = await readBatches(
      this.#connection,
      `table_name = ? AND store = ? AND state IN ('copying', 'copied', 'verified', 'abandoned')${ofShard}`,
      [set.task.table, store.name, ...(shard === null ? [] : [shard])],
    );
    for (const batch of left) {
      const work = this.#recovered(batch);
      if (work) await this.#run(work, () => false);
    }
    return this.#finished.splice(0);
  }

  async archive(range: KeyRange, rows: number): Promise<readonly BatchResult[]> {
    const work = this.#newWork(range, rows);
    const pending = this.#pending;
    this.#pending = null;
    if (pending && Date.now() - pending.provedAtMs > proofMs) {
      pending.progress = proveOnceMore(pending.progress);
      await this.#run(pending, (effect) => effect.do === 'delete');
    }
    // Opened before the deletion begins, since a ledger's row is no part of that transaction.
    await this.#run(work, (effect) => effect.do === 'copy');
    const [deleted, copied] = await Promise.allSettled([
      pending ? this.#deletePending(pending) : undefined,
      this.#run(work, (effect) => effect.do === 'delete' || effect.do === 'wait'),
    ]);
    if (copied.status === 'fulfilled' && work.progress.end === null) {
      if (nextEffect(work.progress)?.do === 'delete') this.#pending = work;
      else this.#waiting.push(letGo(work));
    }
    if (deleted.status === 'rejected') throw deleted.reason;
    if (copied.status === 'rejected') throw copied.reason;
    // A batch that was voided is made again only now, so that a store is never asked for two things at once.
    if (pending) await this.#run(pending, () => false);
    return this.#finished.splice(0);
  }

  async drain(): Promise<readonly BatchResult[]> {
    this.#draining = true;
    const pending = this.#pending;
    this.#pending = null;
    if (pending) await this.#run(pending, () => false);
    for (let work = this.#waiting.shift(); work; work = this.#waiting.shift()) await this.#run(work, () => false);
    await this.#discardNext();
    this.#draining = false;
    return this.#finished.splice(0);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#heartbeat[Symbol.dispose]();
    await this.#reader.connection[Symbol.asyncDispose]();
    if (this.#connection.lost) return;
    // The first error is the one to report; the tables go with the session.
    await this.#connection
      .uninterrupted(async () => {
        await this.#discardNext();
        await this.#keys.drop();
      })
      .catch(() => undefined);
  }

  async #discardNext(): Promise<void> {
    if (this.#next) await discardBatch(this.#connection, this.#next);
    this.#next = null;
  }

  #newWork(range: KeyRange, rows: number): Work {
    return {
      range,
      expectedRows: rows,
      progress: startBatch({ delayed: this.#context.set.task.deleteDelaySeconds > 0 && !this.#dropsRows() }),
      claim: null,
      manifest: null,
      rows: null,
      provedAtMs: 0,
      proof: null,
      proved: false,
      recordedVerified: false,
      verifiedAt: null,
      excluded: new Map(),
      readRows: null,
      spent: false,
      seconds: 0,
    };
  }

  #recovered(batch: LedgerBatch): Work | null {
    const { manifest } = batch;
    const { tables } = this.#context.set;
    const fits =
      manifest !== null &&
      manifest.tables.length === tables.length &&
      manifest.tables.every(({ table, archiveName, fingerprint, dropped }, index) => {
        const known = tables[index];
        // Rows that went without a copy were known to the run that read them alone.
        return (
          known?.definition.name === table &&
          known.archiveName === archiveName &&
          known.fingerprint === fingerprint &&
          dropped === 0
        );
      });
    // These states are the machine's own; the others were not asked for.
    const progress = resumeBatch(batch.state as Parameters<typeof resumeBatch>[0], fits);
    if (!progress) return null;
    return {
      ...this.#newWork({ after: null, last: { date: null, key: [] } }, 0),
      range: null,
      progress,
      claim: batch,
      manifest,
      verifiedAt: batch.verifiedAt,
    };
  }

  /** True if the settings leave rows out of the archive: they would not be known after a wait, which lets go of what was read. */
  #dropsRows(): boolean {
    return this.#context.set.tables.some(
      ({ child }) => child !== null && (child.settings.when !== null || child.settings.resolutionSeconds !== null),
    );
  }

  /** The deletion alone, up to the point where the store would be asked for something. */
  async #deletePending(work: Work): Promise<void> {
    await this.#run(work, (effect) => effect.do !== 'delete' && effect.do !== 'settle');
  }

  /** Carries effects out until the batch has ended, or the next one is to be left. */
  async #run(work: Work, stop: (effect: BatchEffect) => boolean): Promise<void> {
    for (;;) {
      const effect = nextEffect(work.progress);
      if (effect === null || stop(effect)) break;
      this.#context.signal.throwIfAborted();
      const outcome = await this.#carryOut(work, effect);
      work.progress = afterEffect(work.progress, outcome);
      if (work.progress.end !== null) this.#ended(work);
    }
  }

  async #carryOut(work: Work, effect: BatchEffect): Promise<BatchOutcome> {
    switch (effect.do) {
      case 'open':
        work.claim = this.#next ?? (await this.#inLane(() => this.#open()));
        this.#next = null;
        return 'done';
      case 'take-over':
        work.claim = await this.#inLane(() => takeOver(this.#connection, claimOf(work).id));
        return 'done';
      case 'copy':
        return await this.#copy(work);
      case 'seal':
        await this.#context.store.seal(this.#name(work), manifestOf(work));
        this.#beginProof(work);
        return 'done';
      case 'record':
        await this.#inLane(() => this.#record(work, effect.from, effect.to));
        return 'done';
      case 'prove':
        return await this.#prove(work);
      case 'wait':
        await this.#wait(work);
        return 'done';
      case 'delete':
        return await this.#inLane(() => this.#delete(work));
      case 'settle':
        return await this.#settle(work);
      case 'remove':
        await this.#context.store.remove(this.#name(work), this.#storedTables(work));
        return 'done';
      default:
        return effect satisfies never;
    }
  }

  #inLane<T>(step: () => Promise<T>): Promise<T> {
    const done = this.#lane.then(step);
    // Whoever waits for the step hears of its failure; the next step is tried all the same.
    this.#lane = done.catch(() => undefined);
    return done;
  }

  #open(): Promise<BatchClaim> {
    const { set, store, runId, cutoff, shard } = this.#context;
    return openBatch(this.#connection, {
      id: newBatchId(Date.now()),
      runId,
      table: set.task.table,
      store: store.name,
      cutoff: cutoff.utc,
      shard,
    });
  }

  async #copy(work: Work): Promise<BatchOutcome> {
    if (!work.range) throw new RangeError('a batch of an earlier run is never copied again');
    const excluded = new Set(work.excluded.keys());
    const copied = await copyBatch(this.#context, this.#reader, this.#name(work), work.range, excluded);
    work.readRows ??= copied?.rows[0]?.length ?? 0;
    work.manifest = copied?.manifest ?? null;
    work.rows = copied?.rows ?? null;
    return copied ? 'done' : 'empty';
  }

  /** Reading the store back waits for nothing that the ledger is still to be told. */
  #beginProof(work: Work): void {
    work.proved = false;
    work.recordedVerified = false;
    work.proof = proveBatch(this.#context, this.#name(work), manifestOf(work), work.rows);
    work.proof.then(
      (found) => {
        work.proved = found !== null;
      },
      // Whoever waits for the proof hears of it.
      () => undefined,
    );
  }

  async #record(work: Work, from: LedgerState, to: LedgerState): Promise<void> {
    const claim = claimOf(work);
    if (to === 'verified' && work.recordedVerified) return;
    if (to === 'copied' && work.proved) {
      // Never durable without being proved as far as the ledger knows: one commit instead of two.
      await changeState(this.#connection, claim, from, 'verified', this.#facts(work));
      work.recordedVerified = true;
      return;
    }
    await changeState(this.#connection, claim, from, to, to === 'copied' ? this.#facts(work) : {});
  }

  async #prove(work: Work): Promise<BatchOutcome> {
    const begun = work.proof;
    work.proof = null;
    const found = await (begun ?? proveBatch(this.#context, this.#name(work), manifestOf(work), work.rows));
    if (!found) return 'differs';
    work.rows ??= found;
    work.provedAtMs = Date.now();
    return 'done';
  }

  async #wait(work: Work): Promise<void> {
    const { set, signal } = this.#context;
    const seconds = set.task.deleteDelaySeconds;
    if (seconds === 0) return;
    const row = await this.#inLane(() =>
      this.#connection.row(
        'SELECT TIMESTAMPDIFF(MICROSECOND, verified_at, UTC_TIMESTAMP(6)) AS age FROM tableset_batches WHERE id = ?',
        [claimOf(work).id],
      ),
    );
    const remainingMs = seconds * 1000 - Number(row?.['age'] ?? 0) / 1000;
    if (remainingMs > 0) await delay(remainingMs, signal);
  }

  async #delete(work: Work): Promise<BatchOutcome> {
    const { rows } = work;
    if (!rows) throw new RangeError('nothing is deleted that was not proved');
    let next: BatchClaim | null = null;
    const result = await deleteBatch(this.#context, {
      claim: claimOf(work),
      rows,
      keys: this.#keys,
      guard: this.#guard,
      raiseWatermark: !this.#watermarkRaised,
      spend: (count) => {
        if (!work.spent) this.#context.spend(count);
        work.spent = true;
      },
      beforeCommit: async () => {
        next = this.#next === null && !this.#draining ? await this.#open() : null;
      },
    });
    if (result.outcome === 'changed') {
      for (const [root, reason] of result.roots) {
        const key = rows[0]?.[root]?.key;
        if (key) work.excluded.set(JSON.stringify(key), reason);
      }
      this.#context.output.event('info', 'a batch was voided because rows changed', {
        batch: claimOf(work).id,
        rows: result.roots.size,
      });
      return 'changed';
    }
    if (result.outcome === 'done') {
      this.#watermarkRaised = true;
      this.#next ??= next;
      work.seconds = result.seconds;
    }
    return result.outcome;
  }

  async #settle(work: Work): Promise<BatchOutcome> {
    const { output, signal } = this.#context;
    const state = await settleBatch(this.#connection, claimOf(work), { output, signal });
    return state === 'deleted' ? 'done' : 'not-committed';
  }

  #facts(work: Work): BatchFacts {
    const root = work.manifest?.tables[0];
    if (!root?.keys || !work.manifest) return {};
    return {
      firstKey: root.keys.first,
      lastKey: root.keys.last,
      oldest: root.dates?.oldest ?? null,
      newest: root.dates?.newest ?? null,
      rowCount: root.rows,
      totalRows: work.manifest.tables.reduce((sum, table) => sum + table.rows, 0),
      manifest: work.manifest,
    };
  }

  #name(work: Work): BatchName {
    return { id: claimOf(work).id, rootTable: this.#context.set.task.table };
  }

  /** Those of the set, and those that the batch was written with when the settings were others. */
  #storedTables(work: Work) {
    const { tables } = this.#context.set;
    const known = tables.map(({ definition, archiveName }) => ({ table: definition.name, archiveName }));
    const others = work.manifest?.tables.filter((each) =>
      known.every(({ archiveName }) => archiveName !== each.archiveName),
    );
    return [...known, ...(others ?? [])];
  }

  #ended(work: Work): void {
    const { end } = work.progress;
    const { id } = claimOf(work);
    if (end === 'unproved') {
      throw loaderError(
        'ARCHIVE_VERIFY_FAILED',
        `batch ${id} of ${this.#context.set.task.table}: store ${this.#context.store.name} does not give back what was put into it; nothing of it was deleted`,
        { details: { batch: id, store: this.#context.store.name } },
      );
    }
    if (end === 'lost') {
      throw loaderError(
        'ARCHIVE_BATCH_FENCED',
        `batch ${id}: the connection was lost in its transaction, which was rolled back`,
        {
          hint: 'Run it again; the batch is verified, and nothing of it was deleted.',
        },
      );
    }
    if (end === 'deleted' || work.range) this.#finished.push(this.#resultOf(work, end === 'deleted'));
    // Nothing is needed of it any more, and memory stays flat.
    work.rows = null;
    work.manifest = null;
  }

  #resultOf(work: Work, deleted: boolean): BatchResult {
    const { set } = this.#context;
    const tables = set.tables.map(({ definition }, index) => {
      const table = deleted ? work.manifest?.tables[index] : undefined;
      const rows = table?.rows ?? 0;
      const skipped: Record<string, number> = {};
      const skip = (reason: string, count: number) => {
        if (count > 0) skipped[reason] = (skipped[reason] ?? 0) + count;
      };
      skip('dropped', table?.dropped ?? 0);
      if (index === 0 && work.range) this.#skipRoots(work, rows, skip);
      return { table: definition.name, archived: rows, verified: rows, deleted: rows, skipped };
    });
    return { batch: claimOf(work).id, tables, seconds: work.seconds };
  }

  #skipRoots(work: Work, archived: number, skip: (reason: string, count: number) => void): void {
    // Holds are counted once for the whole table.
    for (const reason of work.excluded.values()) if (reason !== 'held') skip(reason, 1);
    const read = work.readRows ?? 0;
    skip('gone', work.expectedRows - read);
    // Rows that left the selection between two attempts, or that changed faster than they could be copied.
    skip('changed', read - archived - work.excluded.size);
  }
}

function claimOf(work: Work): BatchClaim {
  if (!work.claim) throw new RangeError('the batch has no row in the ledger yet');
  return work.claim;
}

function manifestOf(work: Work): Manifest {
  if (!work.manifest) throw new RangeError('the batch was not copied yet');
  return work.manifest;
}

/** While a batch waits, the store alone remembers its rows. */
function letGo(work: Work): Work {
  work.rows = null;
  return work;
}
