import { connect } from '@tableset/common/database/connect.ts';
import type { Connection } from '@tableset/common/database/connection.ts';
import { classifyFault } from '@tableset/common/database/errno.ts';
import { explainDatabaseError } from '@tableset/common/database/explain.ts';
import { AppError, commonError } from '@tableset/common/errors.ts';
import type { DatabaseSettings } from '@tableset/common/settings/database.ts';
import type { StateDatabase } from './contracts.ts';

/** Connections at once; more wait. */
const connectionsMax = 4;
const waitersMax = 1_000;
/** An idle connection older than this is tried before it is lent, and closed after `closeAfterMs`. */
const tryAfterMs = 5_000;
const closeAfterMs = 30_000;
const sweepMs = 10_000;
const replaysMax = 5;

/** `host:port/schema`, as runs name their database. */
export function databaseKey({ host, port, name }: Pick<DatabaseSettings, 'host' | 'port' | 'name'>): string {
  return `${host}:${port}/${name}`;
}

/** Opens nothing yet: connections are made when they are first needed, with settings read anew, so that a changed password is taken up. */
export function openStateDatabase(readSettings: () => DatabaseSettings, signal: AbortSignal): ConnectionPool {
  return new ConnectionPool(readSettings, signal);
}

export class ConnectionPool implements StateDatabase {
  readonly key: string;
  readonly #readSettings: () => DatabaseSettings;
  readonly #signal: AbortSignal;
  readonly #idle: { readonly connection: Connection; readonly since: number }[] = [];
  readonly #waiters: (() => void)[] = [];
  readonly #sweeper: NodeJS.Timeout;
  #lent = 0;
  #reachable = false;
  #closed = false;

  constructor(readSettings: () => DatabaseSettings, signal: AbortSignal) {
    this.#readSettings = readSettings;
    this.#signal = signal;
    this.key = databaseKey(readSettings());
    this.#sweeper = setInterval(() => this.#closeIdle(), sweepMs);
    this.#sweeper.unref();
  }

  get reachable(): boolean {
    return this.#reachable;
  }

  async use<T>(body: (connection: Connection) => Promise<T>): Promise<T> {
    const connection = await this.#borrow();
    try {
      return await body(connection);
    } catch (error) {
      throw error instanceof AppError ? error : (explainDatabaseError(error) ?? error);
    } finally {
      this.#giveBack(connection);
    }
  }

  async transaction<T>(body: (connection: Connection) => Promise<T>): Promise<T> {
    return await this.use(async (connection) => {
      for (let attempt = 1; ; attempt++) {
        await connection.run('START TRANSACTION');
        try {
          const result = await body(connection);
          await connection.run('COMMIT');
          return result;
        } catch (error) {
          if (!connection.lost) await connection.run('ROLLBACK').catch(() => connection.destroy());
          const fault = classifyFault(error);
          if ((fault !== 'deadlock' && fault !== 'lock-wait') || attempt >= replaysMax || connection.lost) throw error;
        }
      }
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closed = true;
    clearInterval(this.#sweeper);
    for (const wake of this.#waiters.splice(0)) wake();
    await Promise.all(this.#idle.splice(0).map(({ connection }) => connection[Symbol.asyncDispose]()));
  }

  async #borrow(): Promise<Connection> {
    while (this.#lent >= connectionsMax && !this.#closed) {
      if (this.#waiters.length >= waitersMax)
        throw commonError('DATABASE_BUSY', `${waitersMax} requests wait for a connection to ${this.key}`);
      await new Promise<void>((resolve) => this.#waiters.push(resolve));
    }
    if (this.#closed) throw commonError('STOPPED', 'the service is ending');
    this.#lent++;
    try {
      const connection = (await this.#usableIdle()) ?? (await this.#open());
      this.#reachable = true;
      return connection;
    } catch (error) {
      this.#reachable = false;
      this.#lent--;
      this.#waiters.shift()?.();
      throw error;
    }
  }

  async #usableIdle(): Promise<Connection | null> {
    for (let entry = this.#idle.pop(); entry; entry = this.#idle.pop()) {
      const { connection, since } = entry;
      if (connection.lost) continue;
      if (Date.now() - since < tryAfterMs) return connection;
      try {
        await connection.run('DO 1');
        return connection;
      } catch {
        connection.destroy();
      }
    }
    return null;
  }

  async #open(): Promise<Connection> {
    // Whoever asks is answered that the database is away rather than kept waiting for it.
    return await connect({ ...this.#readSettings(), waitSeconds: 0 }, { signal: this.#signal, lockWaitSeconds: 5 });
  }

  #giveBack(connection: Connection): void {
    this.#lent--;
    if (connection.lost || connection.busy || this.#closed) connection.destroy();
    else this.#idle.push({ connection, since: Date.now() });
    this.#waiters.shift()?.();
  }

  /** The most recently used stay: they are lent first. */
  #closeIdle(): void {
    const now = Date.now();
    while (this.#idle[0] && now - this.#idle[0].since > closeAfterMs)
      void this.#idle.shift()?.connection[Symbol.asyncDispose]();
  }
}
