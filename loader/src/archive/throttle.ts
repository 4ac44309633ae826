import { connect, delay } from '@tableset/common/database/connect.ts';
import type { Connection } from '@tableset/common/database/connection.ts';
import { explainDatabaseError } from '@tableset/common/database/explain.ts';
import { AppError, commonError } from '@tableset/common/errors.ts';
import { exitCodes } from '@tableset/common/exit-codes.ts';
import type { Output } from '@tableset/common/output/output.ts';
import type { ArchiveLimits } from '../config/archive-config.ts';
import { isWithinWindow, windowText } from '../core/archive/window.ts';

/** How often what slows a run down is looked at, while it runs and while it waits. */
const lookMs = 500;
/** A server that is never idle, or a replica that stands still, ends the run after this long rather than never. */
const pauseMsMax = 30 * 60_000;

/** Why a run should wait, or end before everything is done. */
export interface Reason {
  readonly reason: string;
  readonly fields: Readonly<Record<string, unknown>>;
}

export interface Throttle extends AsyncDisposable {
  /**
   * Call it before each batch. It pauses in proportion to the time since its last return, then waits while replicas lag or the server is
   * busy, each wait logged once.
   * @returns null to go on, or why the run has to end now
   * @throws AppError SETTING_INVALID for a replica that is none, STOPPED
   */
  beforeBatch(): Promise<Reason | null>;
}

export interface ThrottleContext {
  readonly limits: ArchiveLimits;
  /** The connection that the work is done on. */
  readonly connection: Connection;
  readonly output: Output;
  readonly signal: AbortSignal;
  /** Milliseconds since 1970; for the window alone. */
  readonly now?: () => number;
}

/** Watches limits of time, lag and load; the run's time begins now. */
export function openThrottle(context: ThrottleContext): Throttle {
  const { limits, output, signal, now = Date.now } = context;
  const replicas = limits.maxReplicaLagSeconds === null ? [] : limits.replicas.map((at) => new Replica(at, context));
  const started = performance.now();
  let looked = Number.NEGATIVE_INFINITY;
  /** When the work began that the next pause is measured by. */
  let working: number | null = null;
  const timeIsUp = (): Reason | null => {
    const { maxRuntimeSeconds, window } = limits;
    if (maxRuntimeSeconds !== null && performance.now() - started >= maxRuntimeSeconds * 1000)
      return { reason: 'maxRuntime is over', fields: { maxRuntimeSeconds } };
    if (window !== null && !isWithinWindow(window, now()))
      return { reason: 'outside the window', fields: { window: windowText(window) } };
    return null;
  };
  const tooBusy = async (): Promise<Reason | null> => {
    for (const replica of replicas) {
      const lag = await replica.reasonToWait();
      if (lag) return lag;
    }
    return limits.maxThreadsRunning === null ? null : await threads(context.connection, limits.maxThreadsRunning);
  };
  const pauseAfterWork = async (): Promise<void> => {
    const { niceRatio, maxRuntimeSeconds } = limits;
    if (working === null || niceRatio === 0) return;
    const now = performance.now();
    const left = maxRuntimeSeconds === null ? pauseMsMax : started + maxRuntimeSeconds * 1000 - now;
    // Timers may end a millisecond early, and the time would then not be up.
    const pause = Math.ceil(Math.min((now - working) * niceRatio, left)) + 1;
    if (pause > 1) await delay(pause, signal);
  };
  const waitUntilIdle = async (): Promise<Reason | null> => {
    const told = new Set<string>();
    for (const waiting = performance.now(); ; ) {
      signal.throwIfAborted();
      const end = timeIsUp();
      if (end) return end;
      if (told.size === 0 && performance.now() - looked < lookMs) return null;
      const busy = await tooBusy();
      looked = performance.now();
      if (busy === null) return null;
      if (!told.has(busy.reason)) output.event('info', 'paused', { reason: busy.reason, ...busy.fields });
      told.add(busy.reason);
      if (performance.now() - waiting >= pauseMsMax)
        return { reason: `waited too long: ${busy.reason}`, fields: busy.fields };
      await delay(lookMs, signal);
    }
  };
  return {
    async beforeBatch() {
      await pauseAfterWork();
      const reason = await waitUntilIdle();
      working = performance.now();
      return reason;
    },
    async [Symbol.asyncDispose]() {
      for (const replica of replicas) await replica[Symbol.asyncDispose]();
    },
  };
}

async function threads(connection: Connection, maxThreadsRunning: number): Promise<Reason | null> {
  const row = await connection.row("SHOW GLOBAL STATUS LIKE 'Threads_running'");
  const threadsRunning = Number(row?.['Value']);
  return threadsRunning > maxThreadsRunning
    ? { reason: 'the server is busy', fields: { threadsRunning, maxThreadsRunning } }
    : null;
}

/** One replica whose lag is watched, over a connection that is opened when it is first asked. */
class Replica implements AsyncDisposable {
  readonly #at: { readonly host: string; readonly port: number };
  readonly #context: ThrottleContext;
  #connection: Connection | null = null;

  constructor(at: { readonly host: string; readonly port: number }, context: ThrottleContext) {
    this.#at = at;
    this.#context = context;
  }

  /** A replica that cannot be reached counts as one that lags: nobody knows how far behind it is. */
  async reasonToWait(): Promise<Reason | null> {
    const replica = `${this.#at.host}:${this.#at.port}`;
    const { maxReplicaLagSeconds } = this.#context.limits;
    let lag: number | null;
    try {
      lag = await this.#lagSeconds();
    } catch (error) {
      this.#context.signal.throwIfAborted();
      const known = error instanceof AppError ? error : explainDatabaseError(error);
      if (known?.exit !== exitCodes.transient) throw error;
      this.#connection?.destroy();
      this.#connection = null;
      return { reason: 'a replica does not answer', fields: { replica, code: known.code } };
    }
    if (lag === null) return { reason: 'replication is stopped', fields: { replica } };
    return lag > (maxReplicaLagSeconds ?? Number.POSITIVE_INFINITY)
      ? { reason: 'a replica lags', fields: { replica, lagSeconds: lag, maxReplicaLagSeconds } }
      : null;
  }

  /** The largest lag of its channels; null if one of them is stopped. */
  async #lagSeconds(): Promise<number | null> {
    const { connection: primary, signal } = this.#context;
    if (!this.#connection || this.#connection.lost) {
      this.#connection = await connect(
        { ...primary.settings, ...this.#at, waitSeconds: 0 },
        { signal, withoutSchema: true },
      );
    }
    const { server } = this.#connection;
    const rows = await this.#connection.rows(
      server.flavour === 'mariadb' ? 'SHOW ALL SLAVES STATUS' : this.#mysqlStatement(),
    );
    if (rows.length === 0) {
      throw commonError(
        'SETTING_INVALID',
        `limits.replicas names ${this.#at.host}:${this.#at.port}, which replicates nothing`,
      );
    }
    const lags = rows.map((row) => row['Seconds_Behind_Source'] ?? row['Seconds_Behind_Master'] ?? null);
    return lags.includes(null) ? null : Math.max(...lags.map(Number));
  }

  /** 8.0.22 has the new words, 8.4 no longer the old ones. */
  #mysqlStatement(): string {
    const [major, minor, patch] = this.#connection?.server.number ?? [0, 0, 0];
    return major > 8 || (major === 8 && (minor > 0 || patch >= 22)) ? 'SHOW REPLICA STATUS' : 'SHOW SLAVE STATUS';
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#connection?.[Symbol.asyncDispose]();
  }
}
