import type { Connection } from '@tableset/common/database/connection.ts';
import type { Output } from '@tableset/common/output/output.ts';
import type { ServiceSettings } from '../../settings-service.ts';
import type { Delivery, WebhookTiming } from '../../webhooks/deliver.ts';
import type { ConfigFile, RunEndHook, StateDatabase } from '../contracts.ts';
import { serviceError } from '../errors.ts';
import type { Leadership } from '../leadership.ts';
import { asAppError } from '../run-error.ts';
import { type Keyring, parseKeyring } from '../security/keyring.ts';
import { MountedFile } from '../security/mounted-file.ts';
import { countedOf } from './changes.ts';
import {
  claimDelivery,
  dueHead,
  dueHeads,
  endTry,
  insertDeliveries,
  pruneDeliveries,
  type StoredDelivery,
  type TryEnd,
} from './delivery-rows.ts';
import { noticesOf } from './notices.ts';
import { sealAnew } from './receiver-rows.ts';
import { openReceivers, type Reach, type Receivers } from './receivers.ts';

/** Notices for webhooks, kept in the ledger until they are told or dead. */
export interface Outbox extends AsyncDisposable {
  /** Writes the notices of what a run changed, in the transaction that ends it, or ends a try of it. */
  readonly hook: RunEndHook;
  /** Keys that the API's receivers are stored with. @throws AppError SERVICE_ENCRYPTION_OFF */
  keys(): Keyring;
  /** Begins to deliver; on the leader alone. */
  start(): void;
  /** Looks now instead of at the next poll. */
  wake(): void;
}

export interface OutboxParts {
  readonly settings: ServiceSettings;
  readonly database: StateDatabase;
  readonly configFile: Pick<ConfigFile, 'current'>;
  readonly leadership: Leadership;
  readonly output: Output;
  /** For tests: all addresses of a name. */
  readonly resolve?: Delivery['resolve'];
}

/** What this replica writes is looked at at once; this is for retries, and what others leave. */
const pollMs = 5_000;
/** A run's end is committed right after its hook. */
const afterHookMs = 100;
const pauseSecondsMax = 3_600;
/** Beyond the time that a try may take: to write down how it ended. */
const leaseExtraSeconds = 30;
/** Receivers that are told at the same time. */
const workersMax = 8;
const pruneMs = 3_600_000;

/** @throws AppError for a WEBHOOK_URL or an ENCRYPTION_KEY_FILE that cannot be used */
export function openOutbox(parts: OutboxParts): Outbox {
  return new StoredOutbox(parts);
}

class StoredOutbox implements Outbox {
  readonly #parts: OutboxParts;
  readonly #receivers: Receivers;
  readonly #keyring: MountedFile<Keyring> | null;
  readonly #stop = new AbortController();
  /** By receiver: each is told one notice after the other. */
  readonly #workers = new Map<string, Promise<void>>();
  #timer: NodeJS.Timeout | null = null;
  #timerAt = Number.POSITIVE_INFINITY;
  #passing: Promise<void> | null = null;
  #started = false;
  #failed = false;
  #sealedWith = '';
  #prunedAt = Number.NEGATIVE_INFINITY;

  constructor(parts: OutboxParts) {
    this.#parts = parts;
    const { settings, configFile, output } = parts;
    const { encryptionKeyFile: path } = settings;
    const warn = (message: string, fields: Readonly<Record<string, unknown>>) => output.event('warn', message, fields);
    const parse = (text: string) => parseKeyring(text, path ?? '');
    this.#keyring = path === undefined ? null : new MountedFile({ path, setting: 'ENCRYPTION_KEY_FILE', parse, warn });
    this.#receivers = openReceivers(settings, configFile, () => this.keys());
    if (settings.webhookUrl?.startsWith('http:'))
      warn('a webhook is told over plain http', { webhook: new URL(settings.webhookUrl).origin });
  }

  readonly hook: RunEndHook = async (connection, run, result) => {
    // It was cancelled before anything of it began.
    if (run.startedAt === null) return;
    const receivers = await this.#receivers.list(connection);
    if (receivers.length === 0) return;
    const { database, settings } = this.#parts;
    const counted = await countedOf(connection, run, result, run.databaseKey === database.key);
    const notices = counted.flatMap((each) => noticesOf(run, each));
    for (const { key, tables } of receivers) {
      const concerned = notices.filter(({ table }) => tables?.has(table) ?? true);
      if (concerned.length > 0) await insertDeliveries(connection, key, run.id, concerned, settings.webhookAttempts);
    }
    if (notices.length > 0) this.#wakeIn(afterHookMs);
  };

  keys(): Keyring {
    if (this.#keyring) return this.#keyring.value;
    throw serviceError('SERVICE_ENCRYPTION_OFF', 'a receiver cannot be stored or read: ENCRYPTION_KEY_FILE is not set');
  }

  start(): void {
    this.#started = true;
    this.wake();
  }

  wake(): void {
    this.#wakeIn(0);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort();
    if (this.#timer) clearTimeout(this.#timer);
    await this.#passing;
    await Promise.all(this.#workers.values());
  }

  #wakeIn(ms: number): void {
    const at = performance.now() + ms;
    if (!this.#started || this.#stop.signal.aborted || at >= this.#timerAt) return;
    if (this.#timer) clearTimeout(this.#timer);
    this.#timerAt = at;
    this.#timer = setTimeout(() => {
      this.#timerAt = Number.POSITIVE_INFINITY;
      const before = this.#passing ?? Promise.resolve();
      this.#passing = before.then(() => this.#pass()).finally(() => this.#wakeIn(pollMs));
    }, ms);
  }

  async #pass(): Promise<void> {
    const { database, leadership, output } = this.#parts;
    if (!leadership.leader || this.#stop.signal.aborted) return;
    try {
      await this.#housekeeping();
      for (const { receiver } of await database.use(dueHeads)) {
        if (this.#workers.size >= workersMax) break;
        if (this.#workers.has(receiver)) continue;
        const worker = this.#tellInOrder(receiver).finally(() => this.#workers.delete(receiver));
        this.#workers.set(receiver, worker);
      }
      this.#failed = false;
    } catch (error) {
      const { code, message } = asAppError(error);
      if (!this.#failed) output.event('warn', 'the outbox of webhooks cannot be read', { code, error: message });
      this.#failed = true;
    }
  }

  /** Tells one receiver what waits for it until there is nothing more, or it does not take it. Never rejects. */
  async #tellInOrder(receiver: string): Promise<void> {
    const { database, leadership, output } = this.#parts;
    try {
      while (leadership.leader && !this.#stop.signal.aborted) {
        const head = await database.use((connection) => dueHead(connection, receiver));
        if (!head) return;
        const end = await this.#tell(head);
        if (end === null) return;
        if (end.outcome === 'again') return this.#wakeIn(end.afterSeconds * 1000);
      }
    } catch (error) {
      const { code, message } = asAppError(error);
      // Whatever was being told is told again once its lease is over.
      output.event('warn', 'a notice could not be seen to', { code, error: message });
    } finally {
      // What came for it meanwhile was passed over.
      this.#wakeIn(pollMs);
    }
  }

  /** @returns null: another has the notice */
  async #tell(head: StoredDelivery): Promise<TryEnd | null> {
    const { database, output } = this.#parts;
    const reach = await this.#reach(head.receiver);
    const timeoutMs = 'timeoutMs' in reach ? reach.timeoutMs : 0;
    const leaseSeconds = Math.ceil(timeoutMs / 1000) + leaseExtraSeconds;
    const claimed = await database.use((connection) => claimDelivery(connection, head, leaseSeconds));
    if (!claimed) return null;
    const end = 'timeoutMs' in reach ? await this.#try(reach, claimed) : this.#failure(claimed, reach.reason, null);
    await database.use((connection) => endTry(connection, claimed, end));
    const fields = {
      delivery: claimed.id,
      webhook: 'name' in reach ? reach.name : head.receiver,
      table: claimed.notice.table,
    };
    if (end.outcome === 'dead')
      output.event('error', 'a notice is given up and can be replayed', {
        code: 'WEBHOOK_FAILED',
        ...fields,
        reason: end.reason,
      });
    else if (end.outcome === 'again')
      output.event('warn', 'a webhook does not take a notice, which is tried again', {
        ...fields,
        reason: end.reason,
        attempt: claimed.attempts,
        afterSeconds: end.afterSeconds,
      });
    return end;
  }

  async #reach(receiver: string): Promise<Reach | { readonly reason: string }> {
    try {
      const reach = await this.#parts.database.use((connection) => this.#receivers.reach(connection, receiver));
      return reach ?? { reason: 'the receiver is no longer configured' };
    } catch (error) {
      const known = asAppError(error);
      // Without the ledger nothing of this can be written down either.
      if (known.code.startsWith('DATABASE_') || known.code === 'INTERNAL' || known.code === 'STOPPED') throw error;
      return { reason: known.message };
    }
  }

  async #try(reach: Reach, claimed: StoredDelivery): Promise<TryEnd> {
    const { resolve } = this.#parts;
    const { tryDelivery, webhookTiming } = await import('../../webhooks/deliver.ts');
    const timing: WebhookTiming = webhookTiming;
    const delivery = { ...reach, timing, ...(resolve ? { resolve } : {}) };
    const answer = await tryDelivery(delivery, claimed.notice, this.#stop.signal);
    if (answer.kind === 'told') return { outcome: 'told' };
    if (this.#stop.signal.aborted) return { outcome: 'released' };
    if (answer.kind === 'refused') return { outcome: 'dead', reason: answer.reason };
    return this.#failure(claimed, answer.reason, answer.waitMs);
  }

  #failure({ attempts, attemptsMax }: StoredDelivery, reason: string, waitMs: number | null): TryEnd {
    if (attempts >= attemptsMax) return { outcome: 'dead', reason: `${reason}; tried ${attempts} times` };
    const pause = Math.max(this.#parts.settings.webhookRetrySeconds * 2 ** (attempts - 1), (waitMs ?? 0) / 1000);
    return { outcome: 'again', reason, afterSeconds: Math.min(Math.ceil(pause), pauseSecondsMax) };
  }

  async #housekeeping(): Promise<void> {
    const { database, settings } = this.#parts;
    const keyring = this.#keyring?.value;
    if (keyring && keyring.newest !== this.#sealedWith) {
      await database.transaction(async (connection) => await this.#sealAnew(connection, keyring));
      this.#sealedWith = keyring.newest;
    }
    if (performance.now() - this.#prunedAt < pruneMs) return;
    this.#prunedAt = performance.now();
    // A bounded number at once; what is left goes in an hour.
    for (let round = 0; round < 10; round++)
      if ((await database.use((connection) => pruneDeliveries(connection, settings.historyDays))) === 0) return;
  }

  async #sealAnew(connection: Connection, keyring: Keyring): Promise<void> {
    const unreadable = await sealAnew(connection, keyring);
    if (unreadable > 0)
      this.#parts.output.event('warn', 'stored receivers cannot be read with the keys there are', {
        receivers: unreadable,
      });
  }
}
