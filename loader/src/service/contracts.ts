import type { Connection } from '@tableset/common/database/connection.ts';
import type { Output } from '@tableset/common/output/output.ts';
import type { DatabaseSettings } from '@tableset/common/settings/database.ts';
import type { LoadConfig } from '../config/load-config.ts';
import type { ServiceSettings } from '../settings-service.ts';
import type { Records } from './api/records.ts';
import type { FactSource } from './facts.ts';
import type { ClientAddress } from './http/client-address.ts';
import type { Leadership } from './leadership.ts';
import type { Outbox } from './outbox/outbox.ts';
import type { Principal } from './roles.ts';
import type { RunOrder, RunRecord, RunResult, RunSpec, RunState, RunTarget, RunTask, RunTrigger } from './run-types.ts';
import type { Authenticator } from './security/authenticator.ts';

/*
 * What the parts of the service know of each other. Each has one implementation, made in serve.ts.
 */

/** Connections to the schema that holds the ledger and the service's own tables: few, opened when needed, closed when idle. */
export interface StateDatabase extends AsyncDisposable {
  /** `host:port/schema` */
  readonly key: string;
  /** False while the last attempt to reach it failed. */
  readonly reachable: boolean;
  /** Lends a connection. It goes back when `body` ends; one that broke is thrown away. Waits while all are lent. @throws AppError */
  use<T>(body: (connection: Connection) => Promise<T>): Promise<T>;
  /** The same within one READ COMMITTED transaction, rolled back if `body` throws; deadlocks are replayed, so `body` must be. */
  transaction<T>(body: (connection: Connection) => Promise<T>): Promise<T>;
}

/** The rows of `tableset_service_runs`. Every change is a compare-and-set on the state and the token. */
export interface RunRegistry {
  find(id: string): Promise<RunRecord | null>;
  /** Newest first. */
  list(filter: RunFilter): Promise<readonly RunRecord[]>;
  counts(): Promise<Readonly<Record<RunState, number>>>;
}

export interface RunFilter {
  readonly state?: RunState;
  readonly task?: RunTask;
  readonly trigger?: RunTrigger;
  /** Only runs with a smaller id: the next page. */
  readonly before?: string;
  /** 1 to 200. */
  readonly limit: number;
}

/** What becomes of an order. */
export type Enqueued =
  | { readonly outcome: 'queued'; readonly run: RunRecord }
  /** The idempotency key was used before for the same order: that run. */
  | { readonly outcome: 'known'; readonly run: RunRecord }
  /** The key was used before for something else. */
  | { readonly outcome: 'conflict'; readonly run: RunRecord }
  | { readonly outcome: 'full'; readonly retryAfterSeconds: number }
  /** The service is shutting down. */
  | { readonly outcome: 'closed' };

/** The one bounded queue, and the only way to start, retry and cancel runs. It lives in the ledger, so any replica takes orders. */
export interface RunQueue {
  /** @throws AppError SETTING_INVALID for tables that the target does not have; DATABASE_… while the ledger is out of reach */
  enqueue(order: RunRequest): Promise<Enqueued>;
  /** A new run of the same order. @returns null if there is no such run, or it has not ended */
  retry(id: string, by: Principal, idempotencyKey: string | null): Promise<Enqueued | null>;
  /** A queued run is cancelled at once, a running one asked to stop. @returns null if there is no such run or it has ended */
  cancel(id: string, by: Principal): Promise<RunRecord | null>;
  /** The service is shutting down: no orders are taken any more. */
  readonly closed: boolean;
  /** What runs now on this replica. */
  readonly running: readonly RunRecord[];
}

/** An order before the queue has completed it. */
export type RunRequest = Omit<RunOrder, 'databaseKey' | 'retryOf' | 'requestedBy' | 'idempotencyKey'> & {
  readonly by: Principal;
  /** As the asker gave it; at most 200 characters. */
  readonly idempotencyKey: string | null;
};

/**
 * Called in the transaction that ends a run (done, failed for good, cancelled) or puts it back for another try, so that what it writes stands exactly if
 * that does.
 * It must not wait for anything but this connection. Webhooks put their notices into the outbox here.
 */
export type RunEndHook = (connection: Connection, run: RunRecord, result: RunResult) => Promise<void>;

/** Told of what happens to runs on this replica, after the fact; for the page, metrics and waiters. Must not throw or wait. */
export type RunListener = (event: {
  readonly kind: 'queued' | 'started' | 'progress' | 'ended';
  readonly run: RunRecord;
}) => void;

/** Work that would block the event loop but is no run, such as reading a page of archived rows; done in a thread of its own. */
export interface BackgroundCalls {
  /** @param name a function of `inline/thread-calls.ts` @throws AppError as the function threw it */
  call<T>(name: string, argument: unknown, signal?: AbortSignal): Promise<T>;
}

/** What is to be run when, by the clock. */
export interface Schedules {
  list(): readonly ScheduleState[];
}

export interface ScheduleState {
  readonly task: RunTask;
  readonly cron: string;
  readonly timeZone: string;
  /** ISO 8601 in UTC, jitter included; null where nothing of the configuration asks for the task, or the schedule is off. */
  readonly nextAt: string | null;
}

/** The configuration file, as it was when it was last found good. */
export interface ConfigFile {
  readonly current: LoadedConfig;
  /** Null: the file is as `current`; else why it is not taken. */
  readonly problem: { readonly at: string; readonly code: string; readonly message: string } | null;
  onChange(listener: (config: LoadedConfig) => void): void;
}

export interface LoadedConfig {
  readonly path: string;
  readonly text: string;
  readonly config: LoadConfig;
  /** SHA-256 of the text. */
  readonly hash: string;
  readonly loadedAt: string;
}

/** What a target stands for: the file, or a record of the API with its passwords deciphered. Records are the API's part. */
export interface Targets {
  /** Database of a target and the tables each task can be asked for. @throws AppError SETTING_INVALID for a record that does not exist */
  describe(target: RunTarget): Promise<TargetFacts>;
  /** Everything to run it with; called when the run starts, so that it has what is configured then. */
  spec(run: RunRecord): Promise<RunSpec>;
  /** Targets that schedules and event archiving go over: the file, and every enabled record. */
  all(): Promise<readonly RunTarget[]>;
}

export interface TargetFacts {
  readonly databaseKey: string;
  readonly tables: Readonly<Record<RunTask, readonly string[]>>;
}

/** Who did what when; a row of `tableset_service_audit`. Never secrets. */
export interface AuditEntry {
  /** Name of the principal; for schedules `schedule`. */
  readonly actor: string;
  /** run.trigger, run.retry, run.cancel, archival.create, archival.update, archival.delete, token.issue, token.refuse, webhook.replay … */
  readonly action: string;
  /** `run 12`, `archival 3`. */
  readonly subject: string;
  readonly details: Readonly<Record<string, unknown>>;
}

export interface Audit {
  /** Writes on the connection that makes the change, in its transaction. */
  record(connection: Connection, entry: AuditEntry): Promise<void>;
}

/** Everything that routes can reach. */
export interface ServiceContext {
  readonly settings: ServiceSettings;
  /** Reads the password's file anew at each call. @throws AppError */
  readonly databaseSettings: () => DatabaseSettings;
  readonly version: string;
  /** Name of this replica. */
  readonly replica: string;
  readonly startedAt: Date;
  readonly database: StateDatabase;
  readonly configFile: ConfigFile;
  readonly targets: Targets;
  readonly registry: RunRegistry;
  readonly queue: RunQueue;
  /** What /status and /metrics show, read at most every two seconds. */
  readonly facts: FactSource;
  /** The tables of the service have been made, or were there. */
  readonly tablesReady: () => boolean;
  readonly schedules: Schedules;
  readonly leadership: Leadership;
  readonly calls: BackgroundCalls;
  readonly audit: Audit;
  readonly authenticator: Authenticator;
  /** Who asks, for limits and the audit trail. */
  readonly clientAddress: ClientAddress;
  readonly records: Records;
  readonly outbox: Outbox;
  /** Milliseconds since 1970. */
  readonly now: () => number;
  readonly output: Output;
  /** Fires when the service is to end. */
  readonly signal: AbortSignal;
}
