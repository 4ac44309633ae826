import { delay } from '@tableset/common/database/connect.ts';
import type { Connection } from '@tableset/common/database/connection.ts';
import { classifyFault, serverErrno } from '@tableset/common/database/errno.ts';
import { attemptsFor, batchAttempts, rollBack } from '@tableset/common/database/transaction.ts';
import { halved } from '../core/archive/batch-size.ts';
import type { KeyRange } from '../core/archive/selection.ts';
import { loaderError } from '../errors.ts';
import { type BatchClaim, discardBatch, openBatch } from './batch-ledger.ts';
import { DefinitionGuard, explained } from './definition-guard.ts';
import type { BatchResult } from './engine.ts';
import { batchTransaction, type LaneContext } from './one-server-batch.ts';
import { settleBatch } from './settle.ts';

/** 1153 packet, 1197 transaction cache of the binary log, 1206 table of locks, 3100 group replication's transaction limit. */
const tooLarge = new Set([1153, 1197, 1206, 3100]);

/** One connection that archives range after range, each in a transaction of its own; ranges of other lanes may be under way at the same time. */
export class OneServerLane {
  readonly #context: LaneContext;
  readonly #archiveSchema: string;
  readonly #connection: Connection;
  /** The ledger's row that the next batch takes. */
  #next: BatchClaim | null = null;
  readonly #guard: DefinitionGuard;

  private constructor(context: LaneContext, archiveSchema: string) {
    this.#context = context;
    this.#archiveSchema = archiveSchema;
    this.#connection = context.lock.connection;
    this.#guard = new DefinitionGuard(context.set);
  }

  static async open(context: LaneContext, archiveSchema: string): Promise<OneServerLane> {
    const { connection } = context.lock;
    // Batch digests are made by the server in one text.
    await connection.run('SET SESSION group_concat_max_len = ?', [connection.server.maxAllowedPacketBytes]);
    return new OneServerLane(context, archiveSchema);
  }

  /**
   * Archives the rows of a range that match.
   * @param raiseWatermark whether the first transaction says how far the archive goes
   * @returns a batch, several if it was too large for the server, none if nothing matched any more
   */
  async archive(range: KeyRange, rows: number, raiseWatermark: boolean): Promise<readonly BatchResult[]> {
    const { output, signal } = this.#context;
    for (let attempt = 1; ; attempt++) {
      signal.throwIfAborted();
      this.#next ??= await this.#openNext();
      try {
        const result = await this.#once(this.#next, range, rows, raiseWatermark);
        return result ? [result] : [];
      } catch (error) {
        const errno = serverErrno(error);
        if (this.#connection.lost) throw error;
        if (errno !== null && tooLarge.has(errno)) return await this.#split(range, rows, raiseWatermark, error);
        if (attempt >= attemptsFor(error, batchAttempts))
          throw await explained(this.#connection, this.#context.set, error);
        output.event('warn', 'the batch was rolled back and is tried again', { attempt, errno });
        // Spread, so that two who met once do not meet again.
        await delay(50 * 2 ** attempt + Math.random() * 50, signal);
      }
    }
  }

  /**
   * Gives back the row that the next batch would have taken.
   * @param lock the connection that holds the schema's lock, for when the lane has lost its own after its last commit
   */
  async close(lock: Connection): Promise<void> {
    const connection = this.#connection.lost ? lock : this.#connection;
    if (this.#next && !connection.lost) await discardBatch(connection, this.#next);
    this.#next = null;
  }

  #openNext(): Promise<BatchClaim> {
    const { set, store, runId, cutoff, shard } = this.#context;
    return openBatch(this.#connection, {
      id: this.#context.ids.next(),
      runId,
      table: set.task.table,
      store: store.name,
      cutoff: cutoff.utc,
      shard,
    });
  }

  /** One transaction; null if no row of the range matches any more. */
  async #once(claim: BatchClaim, range: KeyRange, rows: number, raiseWatermark: boolean): Promise<BatchResult | null> {
    const started = performance.now();
    const connection = this.#connection;
    let spent = 0;
    const spend = (rows: number) => {
      this.#context.spend(rows);
      spent = rows;
    };
    try {
      await connection.run('START TRANSACTION');
      const batch = await batchTransaction(this.#context, this.#archiveSchema, claim, range, {
        spend,
        raiseWatermark,
        rows,
        guard: this.#guard,
      });
      if (batch === null) {
        await rollBack(connection);
        return null;
      }
      // In the same transaction, which saves a commit for each batch.
      const next = await this.#openNext();
      await this.#commit(claim);
      this.#next = next;
      return { ...batch, seconds: (performance.now() - started) / 1000 };
    } catch (error) {
      // What was rolled back was not spent.
      this.#context.spend(-spent);
      await rollBack(connection);
      throw error;
    }
  }

  /** Returns once the batch is known to be committed, also if only a look into the ledger told so; the connection is lost then. */
  async #commit(claim: BatchClaim): Promise<void> {
    const connection = this.#connection;
    try {
      await connection.uninterrupted(() => connection.run('COMMIT'));
    } catch (error) {
      // Rolled back by the server, which says so; whatever else it is, the commit may have happened.
      if (!connection.lost && classifyFault(error) === 'deadlock') throw error;
      const { output, signal } = this.#context;
      if ((await settleBatch(connection, claim, { output, signal })) !== 'deleted') throw error;
    }
  }

  /** Makes two batches of one that was too large for the server. */
  async #split(
    range: KeyRange,
    rows: number,
    raiseWatermark: boolean,
    error: unknown,
  ): Promise<readonly BatchResult[]> {
    const half = halved(rows);
    const { selection, output } = this.#context;
    if (half === null) throw this.#refusedRow(range, error);
    const { sql, values } = selection.nextRange(range.after, half);
    const row = await this.#connection.row(sql, values);
    if (!row) return [];
    output.event('warn', 'the batch was too large for the server and is split', { rows, errno: serverErrno(error) });
    const first = selection.readRange(range.after, row);
    const rest = { after: first.range.last, last: range.last };
    const results = [
      ...(await this.archive(first.range, first.rows, raiseWatermark)),
      ...(await this.archive(rest, Math.max(1, rows - first.rows), raiseWatermark)),
    ];
    return results.map((result) => ({ ...result, halvedTo: Math.min(half, result.halvedTo ?? half) }));
  }

  #refusedRow(range: KeyRange, cause: unknown) {
    return loaderError(
      'ARCHIVE_VALUE_REFUSED',
      `${this.#context.set.task.table}: the row with key ${JSON.stringify(range.last.key)}, with what goes along with it, is larger than the server takes in one transaction`,
      {
        cause,
        hint: 'Raise max_allowed_packet or max_binlog_cache_size on the server, or leave such rows out with where.',
      },
    );
  }
}
