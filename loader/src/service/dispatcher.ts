import type { Output } from '@tableset/common/output/output.ts';
import { type Active, endedAtOnce, laterObserver, observe, openActive } from './active-run.ts';
import type { RunEndHook, RunListener, StateDatabase, Targets } from './contracts.ts';
import { serviceError } from './errors.ts';
import type { Leadership } from './leadership.ts';
import { timedOut, writeEnd } from './run-end.ts';
import { asAppError, runError } from './run-error.ts';
import { claimRun, leaseSeconds, type OpenRun, openRuns, renewLease, takeOverRun } from './run-registry.ts';
import type { RunObserver, RunRecord, RunResult } from './run-types.ts';
import type { RunHandle, Runner } from './runner.ts';

export interface DispatcherParts {
  readonly database: StateDatabase;
  readonly targets: Targets;
  readonly runner: Runner;
  readonly leadership: Leadership;
  /** Names this process: the replica, and something that no other process of that name has. */
  readonly owner: string;
  readonly endHooks: readonly RunEndHook[];
  readonly listeners: readonly RunListener[];
  readonly runRetrySeconds: number;
  readonly runTimeoutSeconds: number;
  readonly output: Output;
}

/** Orders of this replica are looked at at once; this is for those of others, and of `loader retry`. */
const pollMs = 2_000;
/** While the database is away. */
const pollMsMax = 10_000;
const openRunsMax = 300;
/** Runs at once on this replica, each on a database of its own. */
const activeMax = 8;
const renewMs = (leaseSeconds * 1000) / 3;
/** How long a worker may take to its next safe point. */
export const stopGraceMs = 10_000;
/** How long the end of a run is tried to be written while the database is away. */
const endTriesMs = 600_000;

/**
 * Hands queued runs to the runner, one per database at a time, in the order they came, and sees to it that each ends exactly once in the
 * ledger: every write is a compare-and-set on the run's token, so that whoever lost a run changes nothing any more.
 */
export class Dispatcher {
  readonly #parts: DispatcherParts;
  readonly #active = new Map<string, Active>();
  #closed = false;
  #timer: NodeJS.Timeout | null = null;
  #polling: Promise<void> | null = null;
  #again = false;
  #failures = 0;

  constructor(parts: DispatcherParts) {
    this.#parts = parts;
  }

  /** True once no orders are taken any more. */
  get closed(): boolean {
    return this.#closed;
  }

  get running(): readonly RunRecord[] {
    return Array.from(this.#active.values(), ({ run }) => run);
  }

  start(): void {
    this.#parts.leadership.onChange((leader) => {
      if (leader) this.wake();
      else for (const active of this.#active.values()) active.handle?.release();
    });
    this.wake();
  }

  /** An order is being written down: whatever its worker needs is started meanwhile, where its turn will come at once. */
  prepare(databaseKey: string): void {
    if (this.#closed || !this.#parts.leadership.leader || this.#active.size >= activeMax) return;
    for (const { run } of this.#active.values()) if (run.databaseKey === databaseKey) return;
    this.#parts.runner.prepare?.(databaseKey);
  }

  queued(run: RunRecord): void {
    this.#tell('queued', run);
    this.wake();
  }

  ended(run: RunRecord): void {
    this.#tell('ended', run);
  }

  /** Looks at the queue now instead of at the next poll. */
  wake(): void {
    if (this.#polling) {
      this.#again = true;
      return;
    }
    if (this.#timer) clearTimeout(this.#timer);
    this.#timer = null;
    this.#polling = this.#poll().finally(() => {
      this.#polling = null;
      if (this.#closed && this.#active.size === 0) return;
      if (this.#again) {
        this.#again = false;
        this.wake();
      } else {
        const ms = Math.min(pollMs * 2 ** Math.min(this.#failures, 4), pollMsMax);
        this.#timer = setTimeout(() => this.wake(), ms);
      }
    });
  }

  /** Takes no more orders and begins no more runs; lets what runs go on until the deadline, then stops it. @returns false if anything had to be stopped */
  async close(deadlineMs: number): Promise<boolean> {
    this.#closed = true;
    await this.#polling;
    // Jobs go on by themselves, and the next leader adopts them at once: there is nothing to wait for.
    if (this.#parts.runner.kind === 'job') for (const active of this.#active.values()) active.handle?.release();
    const all = () => Promise.all(Array.from(this.#active.values(), ({ settled }) => settled));
    let timer: NodeJS.Timeout | undefined;
    const deadline = new Promise<'late'>((resolve) => {
      timer = setTimeout(() => resolve('late'), deadlineMs);
    });
    const drained = (await Promise.race([all(), deadline])) !== 'late';
    clearTimeout(timer);
    if (!drained) {
      for (const active of this.#active.values()) active.handle?.stop('shutdown', stopGraceMs);
      await all();
    }
    if (this.#timer) clearTimeout(this.#timer);
    return drained;
  }

  async #poll(): Promise<void> {
    const { database, leadership, output } = this.#parts;
    try {
      await this.#renew();
      if (this.#closed || !leadership.leader) return;
      const open = await database.use((connection) => openRuns(connection, openRunsMax));
      this.#cancelWhereAsked(open);
      const busy = new Set(open.filter(({ run }) => run.state === 'running').map(({ run }) => run.databaseKey));
      for (const each of open) {
        if (this.#closed || !leadership.leader) break;
        if (each.abandoned && !this.#active.has(each.run.id)) await this.#takeOver(each.run);
        else if (
          each.run.state === 'queued' &&
          each.due &&
          !busy.has(each.run.databaseKey) &&
          this.#active.size < activeMax
        ) {
          busy.add(each.run.databaseKey);
          await this.#claim(each.run);
        }
      }
      if (this.#failures > 0) output.event('info', 'the database is back');
      this.#failures = 0;
    } catch (error) {
      const known = asAppError(error);
      if (this.#failures === 0 && known.code !== 'STOPPED')
        output.event('error', 'the queue cannot be read', { code: known.code, error: known.message });
      this.#failures++;
    }
  }

  #cancelWhereAsked(open: readonly OpenRun[]): void {
    for (const { run } of open) {
      const active = this.#active.get(run.id);
      if (!active || active.stopping || run.cancelRequestedAt === null || run.token !== active.run.token) continue;
      active.stopping = true;
      active.run = { ...active.run, cancelRequestedAt: run.cancelRequestedAt };
      active.handle?.stop('cancelled', stopGraceMs);
    }
  }

  async #renew(): Promise<void> {
    const now = performance.now();
    for (const active of this.#active.values()) {
      if (now - active.renewedAt < renewMs) continue;
      const { run, worker, handle } = active;
      const owned = await this.#parts.database.use((connection) => renewLease(connection, run, worker));
      active.renewedAt = now;
      if (owned || !this.#active.has(run.id)) continue;
      this.#parts.output.event('warn', 'another replica has taken a run over', { run: run.id });
      active.stopping = true;
      handle?.stop('shutdown', 0);
    }
  }

  async #claim(queued: RunRecord): Promise<void> {
    const { database, owner, targets, runner } = this.#parts;
    const run = await database.use((connection) => claimRun(connection, queued, owner));
    if (!run) return;
    try {
      const spec = await targets.spec(run);
      this.#follow(run, (observer) => runner.start(spec, observer));
    } catch (error) {
      this.#follow(run, () => endedAtOnce({ state: 'failed', error: runError(asAppError(error)), summary: null }));
    }
  }

  async #takeOver(abandoned: RunRecord): Promise<void> {
    const { database, owner, runner, output } = this.#parts;
    const run = await database.use((connection) => takeOverRun(connection, abandoned, owner));
    if (!run) return;
    const before = abandoned.owner;
    const { observer, become } = laterObserver();
    const handle = await runner.adopt(run, observer);
    output.event('warn', handle ? 'a run was adopted' : 'a run was left behind and is done again', {
      run: run.id,
      owner: before,
    });
    const error = runError(serviceError('SERVICE_RUN_LOST', `${before ?? 'its process'} has gone`));
    const lost: RunResult = { state: 'failed', error, summary: null };
    this.#follow(run, (own) => {
      become(own);
      return handle ?? endedAtOnce(lost);
    });
  }

  #follow(run: RunRecord, begin: (observer: RunObserver) => RunHandle): void {
    const active = openActive(run);
    const { output, database } = this.#parts;
    const tell = (kind: 'started' | 'progress') => this.#tell(kind, active.run);
    const handle = begin(observe(active, { output, database, tell, wake: () => this.wake() }));
    const followed = Object.assign(active, { handle });
    this.#active.set(run.id, followed);
    active.timer = setTimeout(() => {
      active.timedOut = true;
      active.stopping = true;
      handle.stop('cancelled', stopGraceMs);
    }, this.#parts.runTimeoutSeconds * 1000);
    active.settled = handle.result.then((result) => this.#settle(active, result));
  }

  async #settle(active: Active, result: RunResult): Promise<void> {
    if (active.timer) clearTimeout(active.timer);
    const { output } = this.#parts;
    const deadline = performance.now() + endTriesMs;
    const verdict = active.timedOut ? timedOut(result, this.#parts.runTimeoutSeconds) : result;
    for (let attempt = 0; ; attempt++) {
      try {
        const written = await writeEnd(this.#parts, active.run, verdict);
        if (written) this.#tell(written.kind, written.run);
        break;
      } catch (error) {
        const { code, message } = asAppError(error);
        output.event('error', 'the end of a run could not be written', { run: active.run.id, code, error: message });
        // Whoever takes the run over then does it again, which finds it done.
        if (performance.now() > deadline || this.#closed) break;
        await new Promise((resolve) => setTimeout(resolve, Math.min(500 * 2 ** attempt, 10_000)));
      }
    }
    this.#active.delete(active.run.id);
    this.wake();
  }

  #tell(kind: 'queued' | 'started' | 'progress' | 'ended', run: RunRecord): void {
    for (const listener of this.#parts.listeners) listener({ kind, run });
  }
}
