import { connect } from '@tableset/common/database/connect.ts';
import type { Connection } from '@tableset/common/database/connection.ts';
import { keepAlive } from '@tableset/common/database/keep-alive.ts';
import { afterEffect, type BatchEffect, nextEffect, proveOnceMore } from '../core/archive/batch-machine.ts';
import type { KeyRange } from '../core/archive/selection.ts';
import { loaderError } from '../errors.ts';
import { keepNewSpaceSmall } from '../stores/open-store.ts';
import { readUnfinished } from './batch-ledger.ts';
import type { BatchEngine, BatchResult, EngineContext } from './engine.ts';
import { BatchSteps } from './two-server-steps.ts';
import { claimOf, dropsRows, letGo, newWork, recoveredWork, resultOf, type Work } from './two-server-work.ts';

/** A proof older than this is made again before it is relied on. */
const proofMs = 30_000;
/** Batches that wait with their rows in memory. */
const keptWaitingMax = 4;

/** Opens the engine for every store that no transaction of the primary reaches. */
export async function openTwoServerEngine(context: EngineContext): Promise<BatchEngine> {
  const { settings } = context.lock.connection;
  const { connection: locked } = context.lock;
  keepNewSpaceSmall();
  // Batch digests are made by the server in one text.
  await locked.run('SET SESSION group_concat_max_len = ?', [locked.server.maxAllowedPacketBytes]);
  // Beyond its threshold MariaDB would join a list of keys as a table.
  if (locked.server.flavour === 'mariadb') await locked.run('SET SESSION in_predicate_conversion_threshold = 0');
  const connection = await connect(settings, { signal: context.signal, invalidDates: true });
  return new TwoServerEngine(context, connection);
}

/**
 * Each batch goes through the steps of `batch-machine`. While one is being deleted on the lock's connection, the next is read on a second
 * connection and copied. Between two calls nothing is under way, so that callers may use the lock's connection.
 */
class TwoServerEngine implements BatchEngine {
  readonly #context: EngineContext;
  readonly #reading: Connection;
  readonly #heartbeat: Disposable;
  readonly #steps: BatchSteps;
  /** Copied, and to be deleted while the next one is copied. */
  #pending: Work | null = null;
  /** Proved, and waiting as long as the settings want it. */
  readonly #waiting: Work[] = [];
  readonly #finished: BatchResult[] = [];
  /** The store can be read while it is written to: a batch is proved while the next one is copied. */
  readonly #overlaps: boolean;
  /** What is done about one batch while the next is copied. */
  readonly #besideCopy: ReadonlySet<BatchEffect['do']>;

  constructor(context: EngineContext, reading: Connection) {
    this.#context = context;
    this.#reading = reading;
    this.#heartbeat = keepAlive(reading);
    this.#steps = new BatchSteps(context, reading);
    this.#overlaps = context.store.kind === 'mysql' && context.set.task.deleteDelaySeconds === 0;
    this.#besideCopy = new Set(['record', 'delete', 'settle', ...(this.#overlaps ? (['prove'] as const) : [])]);
  }

  async recover(): Promise<readonly BatchResult[]> {
    const { set, store, shard, lock } = this.#context;
    const left = await readUnfinished(lock.connection, set.task.table, { is: store.name }, shard);
    for (const batch of left) {
      const work = recoveredWork(set, batch);
      if (work) await this.#run(work);
    }
    return this.#finished.splice(0);
  }

  async archive(range: KeyRange, rows: number): Promise<readonly BatchResult[]> {
    const { set } = this.#context;
    const work = newWork(set, range, rows);
    const pending = await this.#takePending();
    // Opened before the deletion begins, since a ledger's row is no part of that transaction.
    await this.#run(work, (effect) => effect.do === 'copy');
    const [deleted, copied] = await Promise.allSettled([
      // Up to the point where the store would be asked for more than it can do meanwhile.
      pending ? this.#run(pending, (effect) => !this.#besideCopy.has(effect.do)) : undefined,
      this.#run(work, (effect) => this.#isCopied(effect)),
    ]);
    if (copied.status === 'fulfilled' && work.progress.end === null) {
      if (nextEffect(work.progress)?.do === 'wait') this.#waiting.push(dropsRows(set) ? work : letGo(work));
      else this.#pending = work;
    }
    if (deleted.status === 'rejected') throw deleted.reason;
    if (copied.status === 'rejected') throw copied.reason;
    // What only this run knows must not grow with the rows of the table.
    if (dropsRows(set) && this.#waiting.length > keptWaitingMax) await this.#finish(this.#waiting.shift());
    // A batch that was voided is taken away and made again only now.
    await this.#finish(pending);
    return this.#finished.splice(0);
  }

  async drain(): Promise<readonly BatchResult[]> {
    this.#steps.draining = true;
    await this.#finish(await this.#takePending());
    while (this.#waiting.length > 0) await this.#finish(this.#waiting.shift());
    await this.#steps.discardNext();
    this.#steps.draining = false;
    return this.#finished.splice(0);
  }

  async takeFinished(): Promise<readonly BatchResult[]> {
    return this.#finished.splice(0);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#heartbeat[Symbol.dispose]();
    await this.#reading[Symbol.asyncDispose]();
    await this.#steps[Symbol.asyncDispose]();
  }

  /** True before the effect that is left for when the next batch is copied. */
  #isCopied(effect: BatchEffect): boolean {
    if (effect.do === 'delete' || effect.do === 'wait') return true;
    return this.#overlaps && effect.do === 'record' && effect.to === 'copied';
  }

  /** The batch that waits for its deletion; proved again if that was long ago, as after a pause of the run. */
  async #takePending(): Promise<Work | null> {
    const pending = this.#pending;
    this.#pending = null;
    if (pending && !this.#overlaps) await this.#run(pending, (effect) => effect.do === 'delete');
    return pending;
  }

  async #finish(work: Work | null | undefined): Promise<void> {
    if (work) await this.#run(work);
  }

  /** Carries effects out until the batch has ended, or the next one is to be left. */
  async #run(work: Work, stop: (effect: BatchEffect) => boolean = () => false): Promise<void> {
    for (;;) {
      if (nextEffect(work.progress)?.do === 'delete' && performance.now() - work.provedAtMs > proofMs)
        work.progress = proveOnceMore(work.progress);
      const effect = nextEffect(work.progress);
      if (effect === null || stop(effect)) break;
      this.#context.signal.throwIfAborted();
      const outcome = await this.#steps.carryOut(work, effect);
      work.progress = afterEffect(work.progress, outcome);
      if (work.progress.end !== null) this.#ended(work);
    }
  }

  #ended(work: Work): void {
    const { set, store } = this.#context;
    const { end } = work.progress;
    const { id } = claimOf(work);
    if (end === 'unproved') {
      throw loaderError(
        'ARCHIVE_VERIFY_FAILED',
        `batch ${id} of ${set.task.table}: store ${store.name} does not give back what was put into it; nothing of it was deleted`,
        { details: { batch: id, store: store.name } },
      );
    }
    if (end === 'lost') {
      throw loaderError(
        'ARCHIVE_BATCH_FENCED',
        `batch ${id}: the connection was lost in its transaction, which was rolled back`,
        { hint: 'Run it again; the batch is verified, and nothing of it was deleted.' },
      );
    }
    if (end === 'deleted' || work.range) this.#finished.push(resultOf(set, work, end === 'deleted'));
    // Nothing is needed of it any more, and memory stays flat.
    work.rows = null;
    work.manifest = null;
  }
}
