import { connect } from '@tableset/common/database/connect.ts';
import type { Connection } from '@tableset/common/database/connection.ts';
import { takeWorkerLock, type WorkerLock } from '@tableset/common/database/lock.ts';
import { readTableDefinition } from '@tableset/common/database/read-table.ts';
import { linkDrift } from '../core/archive/archive-drift.ts';
import { type BatchHints, batchHints } from '../core/archive/one-server-sql.ts';
import type { KeyRange } from '../core/archive/selection.ts';
import { loaderError } from '../errors.ts';
import { abandonBatch } from './abandon-batch.ts';
import { BatchIds, readUnfinished } from './batch-ledger.ts';
import type { BatchEngine, BatchResult, EngineContext } from './engine.ts';
import type { LaneContext } from './one-server-batch.ts';
import { OneServerLane } from './one-server-lane.ts';

/**
 * The engine for archives on the primary's own server. Each batch is one READ COMMITTED transaction, its ledger row included, so that there
 * is no state between copied and deleted that a crash could leave. The first goes through the lock's connection; if there are more, they go through
 * as many connections as `parallelBatches` says, each with the lock of a worker.
 */
export async function openOneServerEngine(context: EngineContext, archiveSchema: string): Promise<BatchEngine> {
  const hints = await readHints(context, archiveSchema);
  const ids = await BatchIds.open(context.lock.connection);
  const first = await OneServerLane.open({ ...context, hints, ids }, archiveSchema);
  return new OneServerEngine({ ...context, hints, ids }, archiveSchema, first);
}

/** @throws AppError ARCHIVE_DRIFT */
async function readHints({ set, lock, store }: EngineContext, archiveSchema: string): Promise<BatchHints> {
  const archives = [];
  for (const { archiveName } of set.tables) {
    const archive = await readTableDefinition(lock.connection, archiveSchema, archiveName);
    if (!archive) throw new RangeError(`the archive table ${archiveName} was not prepared`);
    archives.push(archive);
  }
  const refusals = linkDrift(set, archives);
  if (refusals.length > 0) {
    const table = set.task.table;
    throw loaderError('ARCHIVE_DRIFT', `store ${store.name}: ${refusals.join('; ')}`, { details: { table, refusals } });
  }
  return batchHints(set, archives);
}

/** A range that is being archived. */
interface Task {
  readonly lane: OneServerLane;
  readonly ended: Promise<void>;
}

class OneServerEngine implements BatchEngine {
  readonly #context: EngineContext & Pick<LaneContext, 'hints' | 'ids'>;
  readonly #archiveSchema: string;
  readonly #connection: Connection;
  readonly #first: OneServerLane;
  #watermarkRaised = false;
  readonly #resources = new AsyncDisposableStack();
  /** Those of workers, opened when there is more than one batch. */
  readonly #lanes: OneServerLane[] = [];
  readonly #tasks = new Set<Task>();
  readonly #finished: BatchResult[] = [];
  readonly #failures: unknown[] = [];

  constructor(
    context: EngineContext & Pick<LaneContext, 'hints' | 'ids'>,
    archiveSchema: string,
    first: OneServerLane,
  ) {
    this.#context = context;
    this.#archiveSchema = archiveSchema;
    this.#connection = context.lock.connection;
    this.#first = first;
  }

  /** A killed run of this engine leaves an empty row of the ledger; one of the other engine, whose store this was then, more than that. */
  async recover(): Promise<readonly BatchResult[]> {
    const { set, store, shard } = this.#context;
    const left = await readUnfinished(this.#connection, set.task.table, { is: store.name }, shard);
    for (const batch of left) await abandonBatch(this.#connection, set, store, batch);
    return [];
  }

  async archive(range: KeyRange, rows: number): Promise<readonly BatchResult[]> {
    // By itself, so that no row is deleted by anyone before the watermark stands.
    if (!this.#watermarkRaised || this.#context.parallelBatches === 1 || !this.#context.hints.parallel) {
      const results = await this.#first.archive(range, rows, !this.#watermarkRaised);
      if (results.length > 0) this.#watermarkRaised = true;
      return results;
    }
    if (this.#lanes.length === 0) await this.#openLanes();
    while (this.#tasks.size >= this.#lanes.length) await Promise.race([...this.#tasks].map(({ ended }) => ended));
    if (this.#failures.length > 0) await this.#allEnded();
    const busy = new Set([...this.#tasks].map(({ lane }) => lane));
    const lane = this.#lanes.find((each) => !busy.has(each));
    if (!lane) throw new RangeError('no lane is free');
    this.#start(lane, range, rows);
    return this.#finished.splice(0);
  }

  async drain(): Promise<readonly BatchResult[]> {
    await this.#allEnded();
    for (const lane of [this.#first, ...this.#lanes]) await lane.close(this.#connection);
    return this.#finished.splice(0);
  }

  async takeFinished(): Promise<readonly BatchResult[]> {
    await Promise.all([...this.#tasks].map(({ ended }) => ended));
    return this.#finished.splice(0);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all([...this.#tasks].map(({ ended }) => ended));
    for (const lane of [this.#first, ...this.#lanes]) {
      // The first error is the one to report; the next run takes the row away.
      await this.#connection.uninterrupted(() => lane.close(this.#connection)).catch(() => undefined);
    }
    await this.#resources.disposeAsync();
  }

  #start(lane: OneServerLane, range: KeyRange, rows: number): void {
    const ended = lane.archive(range, rows, false).then(
      (results) => void this.#finished.push(...results),
      (error: unknown) => void this.#failures.push(error),
    );
    const task: Task = { lane, ended: ended.then(() => void this.#tasks.delete(task)) };
    this.#tasks.add(task);
  }

  /** Waits for all batches that are under way; the first failure is the one to tell. */
  async #allEnded(): Promise<void> {
    await Promise.all([...this.#tasks].map(({ ended }) => ended));
    if (this.#failures.length > 0) throw this.#failures[0];
  }

  async #openLanes(): Promise<void> {
    const { lock, parallelBatches, signal } = this.#context;
    for (let worker = 1; worker <= parallelBatches; worker++) {
      const connection = this.#resources.use(await connect(lock.connection.settings, { signal, invalidDates: true }));
      const workerLock: WorkerLock = this.#resources.use(await takeWorkerLock(lock, connection, worker));
      this.#lanes.push(await OneServerLane.open({ ...this.#context, lock: workerLock }, this.#archiveSchema));
    }
  }
}
