import { randomUUID } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import type { V1Lease } from '@kubernetes/client-node';
import type { Output } from '@tableset/common/output/output.ts';
import type { Leadership } from '../leadership.ts';
import { asAppError } from '../run-error.ts';
import type { Cluster } from './cluster.ts';

export interface LeaseParts {
  readonly cluster: Cluster;
  readonly name: string;
  readonly replica: string;
  readonly output: Output;
  readonly pace?: Partial<LeasePace>;
}

/** Milliseconds, as client-go has them. */
export interface LeasePace {
  /** A lease that nobody has renewed for so long may be taken. */
  readonly lease: number;
  /** A leader that could not renew for so long leads no more: well before another may. */
  readonly renewDeadline: number;
  /** How often a leader renews, and the others look. */
  readonly retry: number;
}

const standardPace: LeasePace = { lease: 15_000, renewDeadline: 10_000, retry: 4_000 };

/** Elects one of several replicas by a Lease. */
export async function openLeaseLeadership(parts: LeaseParts): Promise<Leadership> {
  const { V1MicroTime } = await import('@kubernetes/client-node');
  return new LeaseLeadership(parts, () => new V1MicroTime());
}

/**
 * The way of client-go: whoever holds the Lease renews it; the others take it once they have seen it unchanged, by their own clock, for as long as it
 * lasts. Clocks are never compared. The API server lets one of two simultaneous writes through. Two leaders for a moment would do no harm: each run is
 * claimed by compare-and-set.
 */
class LeaseLeadership implements Leadership {
  readonly #parts: LeaseParts;
  readonly #pace: LeasePace;
  readonly #now: () => Date;
  /** A restarted container has its pod's name, and is another. */
  readonly #identity: string;
  readonly #listeners: ((leader: boolean) => void)[] = [];
  readonly #stopped = new AbortController();
  readonly #loop: Promise<void>;
  #lease: V1Lease | null = null;
  #seen = { version: '', at: 0 };
  /** Until when this replica leads, on the clock of `performance.now`. */
  #leadsUntil = 0;
  #told = false;
  #complaint = '';
  #expiry: NodeJS.Timeout | null = null;

  constructor(parts: LeaseParts, now: () => Date) {
    this.#parts = parts;
    this.#pace = { ...standardPace, ...parts.pace };
    this.#now = now;
    this.#identity = `${parts.replica}_${randomUUID().slice(0, 8)}`;
    this.#loop = this.#run();
  }

  get leader(): boolean {
    return performance.now() < this.#leadsUntil;
  }

  get holder(): string | null {
    return this.#lease?.spec?.holderIdentity?.replace(/_[0-9a-f]{8}$/, '') || null;
  }

  onChange(listener: (leader: boolean) => void): void {
    this.#listeners.push(listener);
    if (this.leader) listener(true);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stopped.abort();
    await this.#loop;
    if (this.#expiry) clearTimeout(this.#expiry);
    if (!this.leader || this.#lease === null) return;
    this.#leadsUntil = 0;
    const spec = { ...this.#lease.spec, holderIdentity: '', leaseDurationSeconds: 1, renewTime: this.#now() };
    // Else the next leader only waits until it is over.
    await this.#parts.cluster.replaceLease({ ...this.#lease, spec }).catch(() => {});
  }

  async #run(): Promise<void> {
    const { signal } = this.#stopped;
    while (!signal.aborted) {
      try {
        await this.#acquireOrRenew();
        this.#complaint = '';
      } catch (error) {
        const { code, message } = asAppError(error);
        if (this.#complaint !== code)
          this.#parts.output.event('warn', 'the Lease cannot be read or renewed', { code, error: message });
        this.#complaint = code;
      }
      this.#tell();
      await delay(this.#pace.retry, undefined, { signal }).catch(() => {});
    }
  }

  async #acquireOrRenew(): Promise<void> {
    const { cluster, name } = this.#parts;
    // What was asked before counts, not when the answer came.
    const askedAt = performance.now();
    // A leader knows the Lease as it has last written it.
    const lease = this.leader && this.#lease !== null ? this.#lease : await cluster.lease(name);
    if (lease === null) {
      const spec = { ...this.#term(), acquireTime: this.#now(), leaseTransitions: 0 };
      return this.#lead(askedAt, await cluster.createLease({ metadata: { name }, spec }));
    }
    this.#lease = lease;
    const version = lease.metadata?.resourceVersion ?? '';
    if (version !== this.#seen.version) this.#seen = { version, at: performance.now() };
    const holder = lease.spec?.holderIdentity;
    if (holder === this.#identity) {
      const renewed = { ...lease, spec: { ...lease.spec, ...this.#term() } };
      return this.#lead(askedAt, await cluster.replaceLease(renewed));
    }
    this.#leadsUntil = 0;
    const lasts = (lease.spec?.leaseDurationSeconds ?? 0) * 1000;
    if (holder && performance.now() - this.#seen.at < lasts) return;
    const leaseTransitions = (lease.spec?.leaseTransitions ?? 0) + 1;
    const taken = { ...lease, spec: { ...lease.spec, ...this.#term(), acquireTime: this.#now(), leaseTransitions } };
    this.#lead(askedAt, await cluster.replaceLease(taken));
  }

  #term() {
    const leaseDurationSeconds = Math.ceil(this.#pace.lease / 1000);
    return { holderIdentity: this.#identity, leaseDurationSeconds, renewTime: this.#now() };
  }

  /** @param lease as the server has it now; null: another was quicker */
  #lead(since: number, lease: V1Lease | null): void {
    this.#lease = lease;
    if (lease === null) return;
    this.#leadsUntil = since + this.#pace.renewDeadline;
    // A request that hangs must not keep the end from being told.
    if (this.#expiry) clearTimeout(this.#expiry);
    this.#expiry = setTimeout(() => this.#tell(), this.#leadsUntil - performance.now() + 1);
    this.#expiry.unref();
  }

  #tell(): void {
    const { leader } = this;
    if (leader === this.#told) return;
    this.#told = leader;
    this.#parts.output.event('info', leader ? 'this replica leads' : 'this replica leads no more', {
      holder: this.holder,
    });
    for (const listener of this.#listeners) listener(leader);
  }
}
