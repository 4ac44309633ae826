import type { Readable } from 'node:stream';
import type { Connection as DriverConnection, FieldPacket, QueryOptions, ResultSetHeader } from 'mysql2';
import { AppError, commonError } from '../errors.ts';
import type { DatabaseSettings } from '../settings/database.ts';
import { bytesCast, decodeResult, decodeRows, type Row } from './driver.ts';
import { classifyFault } from './errno.ts';
import { failedOn } from './explain.ts';
import { databaseFailure } from './failure.ts';
import type { ServerFacts } from './server.ts';
import { killStatement, watchSilence } from './silence.ts';

export type { Row } from './driver.ts';
export { explainDatabaseError } from './explain.ts';

/** A value for a placeholder. Numbers beyond 2^53 come and go as text. */
export type Value = string | number | bigint | boolean | Buffer | null;
export interface WriteResult {
  /** Rows really changed: the session does not count rows that were found but left as they were. */
  readonly affectedRows: number;
  /** The server's own text, such as `Records: 3  Deleted: 0  Skipped: 0  Warnings: 0`. */
  readonly info: string;
  readonly warnings: number;
}

/** How long a killed statement may take to end before its connection is broken. */
const killGraceMs = 5_000;

/** One session with everything pinned that could change what a statement means. Statements run one at a time. */
export class Connection implements AsyncDisposable {
  readonly server: ServerFacts;
  /** The server's id of this connection, as IS_USED_LOCK and the process list show it. */
  readonly id: number;
  readonly settings: DatabaseSettings;
  readonly #driver: DriverConnection;
  readonly #signal: AbortSignal | undefined;
  #lost: Error | null = null;
  #running = 0;
  #onLost: (error: Error) => void = () => {};
  #shields = 0;

  constructor(
    driver: DriverConnection,
    settings: DatabaseSettings,
    server: ServerFacts,
    id: number,
    signal: AbortSignal | undefined,
  ) {
    this.#driver = driver;
    this.settings = settings;
    this.server = server;
    this.id = id;
    this.#signal = signal;
    driver.on('error', (error) => {
      this.#lost = error;
      this.#onLost(error);
    });
  }

  /** True once the connection broke or was closed. */
  get lost(): boolean {
    return this.#lost !== null;
  }

  /** True while a statement is on its way. */
  get busy(): boolean {
    return this.#running > 0;
  }

  /** Runs a statement that returns rows. Every value is text or a Buffer, exactly as the server prints it. */
  async rows<R extends Row = Row>(sql: string, values: readonly Value[] = []): Promise<readonly R[]> {
    const result = await this.#send(sql, values);
    // A statement that returns no result set gives a header; no rows then.
    return Array.isArray(result) ? (result as unknown as R[]) : [];
  }

  /** The first row, or null. */
  async row<R extends Row = Row>(sql: string, values: readonly Value[] = []): Promise<R | null> {
    return (await this.rows<R>(sql, values))[0] ?? null;
  }

  /**
   * Runs a query and hands over its rows one by one as they arrive, never holding them all.
   * The callback must not wait and must not throw.
   */
  async eachRow(sql: string, onRow: (row: Row) => void): Promise<void> {
    await this.#send(sql, [], undefined, onRow);
  }

  /** Runs a statement that writes. */
  async run(sql: string, values: readonly Value[] = []): Promise<WriteResult> {
    return writeResult(await this.#send(sql, values));
  }

  /** Runs LOAD DATA LOCAL INFILE with the stream as the file, whatever path the server asks for. */
  async load(sql: string, stream: Readable): Promise<WriteResult> {
    return writeResult(await this.#send(sql, [], stream));
  }

  /** The driver's connection, for knex in TypeScript migrations; it carries the same session. */
  get driver(): DriverConnection {
    return this.#driver;
  }

  /**
   * Runs steps that a stop must not cut: a rollback and the ledger's last word after it, or a swap that has begun. A stop that was asked for
   * meanwhile takes effect at the next statement outside.
   */
  async uninterrupted<T>(steps: () => Promise<T>): Promise<T> {
    this.#shields++;
    try {
      return await steps();
    } finally {
      this.#shields--;
    }
  }

  /** Breaks the connection without waiting; the server rolls back what was open. */
  destroy(): void {
    this.#lost ??= new Error('closed');
    this.#driver.destroy();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#lost || this.busy) return this.destroy();
    this.#lost = new Error('closed');
    await new Promise<void>((resolve) => {
      // A server that does not answer the farewell must not hold up the exit.
      const timer = setTimeout(() => {
        this.#driver.destroy();
        resolve();
      }, 2_000);
      this.#driver.end(() => {
        clearTimeout(timer);
        resolve();
      });
    });
  }

  async #send(sql: string, values: readonly Value[], stream?: Readable, onRow?: (row: Row) => void): Promise<unknown> {
    if (this.#lost) throw databaseFailure(this.#lost, { settings: this.settings, statement: sql, lost: true });
    const signal = this.#shields > 0 ? undefined : this.#signal;
    signal?.throwIfAborted();
    this.#running++;
    const watch = watchSilence(this.settings, this.id, (error) => {
      this.#lost = error;
      this.#driver.destroy();
    });
    let giveUp: NodeJS.Timeout | undefined;
    const onAbort = () => {
      void killStatement(this.settings, this.id);
      // A server that waits for the client's packets does not notice KILL QUERY; breaking the connection rolls back as well.
      giveUp = setTimeout(() => watch.fail(new Error('the statement did not end when it was killed')), killGraceMs);
    };
    signal?.addEventListener('abort', onAbort, { once: true });
    try {
      return await new Promise<unknown>((resolve, reject) => {
        watch.failed.catch(reject);
        // A query without a callback hears of a lost connection only here.
        this.#onLost = reject;
        const options = {
          sql,
          values: [...values],
          typeCast: bytesCast,
          ...(stream ? { infileStreamFactory: () => stream.on('data', watch.touch) } : {}),
        };
        if (onRow) {
          eachRow(this.#driver, options, onRow, watch.touch, resolve, reject);
          return;
        }
        this.#driver.query(options, (error: Error | null, result: unknown, fields: unknown) => {
          if (error) return reject(error);
          // The driver gives fields exactly where it gives rows.
          if (Array.isArray(fields)) decodeResult(result, fields as FieldPacket[]);
          resolve(result);
        });
        if (stream) {
          // The driver ends the file as if it were complete when its stream breaks: break the connection instead.
          stream.once('error', (error) => {
            reject(error);
            this.destroy();
          });
        }
      });
    } catch (error) {
      if (signal?.aborted) throw stopped(signal, error);
      if (error instanceof AppError) throw error;
      // The driver only ever rejects with an Error.
      const failure = error as Error & { sql?: string };
      if (classifyFault(error) === 'connection-lost') this.#lost ??= failure;
      // The driver's copy of the statement has the values in it; messages may show the statement only.
      failure.sql = sql;
      failedOn.set(failure, this.settings);
      throw failure;
    } finally {
      this.#running--;
      watch.stop();
      clearTimeout(giveUp);
      signal?.removeEventListener('abort', onAbort);
    }
  }
}

/** Without a callback the driver emits rows instead of collecting them. */
function eachRow(
  driver: DriverConnection,
  options: QueryOptions,
  onRow: (row: Row) => void,
  touch: () => void,
  resolve: (value: null) => void,
  reject: (error: Error) => void,
): void {
  let fields: readonly FieldPacket[] = [];
  const query = driver.query(options);
  query.on('fields', (found) => {
    // The type declaration says one packet; the driver hands over the list of them.
    fields = found as unknown as readonly FieldPacket[];
  });
  query.on('result', (row) => {
    touch();
    decodeRows([row as Record<string, unknown>], fields);
    onRow(row as unknown as Row);
  });
  query.on('error', reject);
  query.on('end', () => resolve(null));
}

function writeResult(result: unknown): WriteResult {
  // mysql2 gives a ResultSetHeader for whatever returns no rows.
  const header = (Array.isArray(result) ? (result.at(-1) ?? {}) : result) as Partial<ResultSetHeader>;
  return { affectedRows: header.affectedRows ?? 0, info: header.info ?? '', warnings: header.warningStatus ?? 0 };
}

function stopped(signal: AbortSignal, cause: unknown): AppError {
  return signal.reason instanceof AppError
    ? signal.reason
    : commonError('STOPPED', 'stopped while a statement ran', { cause });
}
