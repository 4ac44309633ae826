import { delay } from '@tableset/common/database/connect.ts';
import type { Connection } from '@tableset/common/database/connection.ts';
import type { BatchEffect, BatchOutcome, LedgerState } from '../core/archive/batch-machine.ts';
import type { BatchName } from '../stores/store.ts';
import { type BatchClaim, BatchIds, changeState, discardBatch, openBatch, takeOver } from './batch-ledger.ts';
import { DefinitionGuard } from './definition-guard.ts';
import type { EngineContext } from './engine.ts';
import { settleBatch } from './settle.ts';
import { copyBatch, PrimaryClock, type Reader } from './two-server-copy.ts';
import { deleteBatch } from './two-server-delete.ts';
import { BatchKeys } from './two-server-keys.ts';
import { proveBatch } from './two-server-proof.ts';
import { claimOf, factsOf, manifestOf, storedTables, type Work } from './two-server-work.ts';

/**
 * What the effects of `batch-machine` do to the primary and to the store. Effects of two batches may be under way at a time: what they do on the lock's
 * connection is done one after the other.
 */
export class BatchSteps implements AsyncDisposable {
  readonly #context: EngineContext;
  readonly #connection: Connection;
  readonly #reader: Reader;
  readonly #keys: BatchKeys;
  readonly #guard: DefinitionGuard;
  /** A statement of another batch must not get into a transaction. */
  #lane: Promise<unknown> = Promise.resolve();
  #watermarkRaised = false;
  /** A row of the ledger that was opened by the commit of a deletion, for the batch after the next. */
  #next: BatchClaim | null = null;
  /** Asked for with the first batch. */
  #ids: BatchIds | null = null;
  /** No further batch is to come. */
  draining = false;

  /** @param reading a second connection to the primary, for what is read while the lock's deletes */
  constructor(context: EngineContext, reading: Connection) {
    this.#context = context;
    this.#connection = context.lock.connection;
    this.#reader = {
      connection: reading,
      keys: new BatchKeys(reading, context.set),
      clock: new PrimaryClock(reading),
    };
    this.#keys = new BatchKeys(this.#connection, context.set);
    this.#guard = new DefinitionGuard(context.set);
  }

  /** Carries one effect out; what throws ends the run. */
  async carryOut(work: Work, effect: BatchEffect): Promise<BatchOutcome> {
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
        await this.#context.store.remove(this.#name(work), storedTables(this.#context.set, work));
        return 'done';
      default:
        return effect satisfies never;
    }
  }

  /** Gives back the row of the ledger that was opened for a batch that did not come. */
  async discardNext(): Promise<void> {
    if (this.#next) await discardBatch(this.#connection, this.#next);
    this.#next = null;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#connection.lost) return;
    // The first error is the one to report; the tables go with the session.
    await this.#connection
      .uninterrupted(async () => {
        await this.discardNext();
        await this.#keys.drop();
      })
      .catch(() => undefined);
  }

  #inLane<T>(step: () => Promise<T>): Promise<T> {
    const done = this.#lane.then(step);
    // Whoever waits for the step hears of its failure; the next step is tried all the same.
    this.#lane = done.catch(() => undefined);
    return done;
  }

  async #open(): Promise<BatchClaim> {
    this.#ids ??= await BatchIds.open(this.#connection);
    const { set, store, runId, cutoff, shard } = this.#context;
    return await openBatch(this.#connection, {
      id: this.#ids.next(),
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
        work.provedAtMs = performance.now();
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
      await changeState(this.#connection, claim, from, 'verified', factsOf(work));
      work.recordedVerified = true;
      return;
    }
    await changeState(this.#connection, claim, from, to, to === 'copied' ? factsOf(work) : {});
  }

  async #prove(work: Work): Promise<BatchOutcome> {
    const begun = work.proof;
    work.proof = null;
    const found = await (begun ?? proveBatch(this.#context, this.#name(work), manifestOf(work), work.rows));
    if (!found) return 'differs';
    work.rows ??= found;
    if (!begun) work.provedAtMs = performance.now();
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
        next = this.#next === null && !this.draining ? await this.#open() : null;
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

  #name(work: Work): BatchName {
    return { id: claimOf(work).id, rootTable: this.#context.set.task.table };
  }
}
