import type { Fields, Level, Progress } from '@tableset/common/output/output.ts';
import type { DatabaseSettings, LockSettings } from '@tableset/common/settings/database.ts';

/** What the service can be asked to do: the verbs that write, and verify. */
export const runTasks = ['load', 'archive', 'purge', 'restore', 'verify'] as const;
export type RunTask = (typeof runTasks)[number];

/**
 * queued → running → done | failed | cancelled; running → queued again for another attempt, or when the process that did it has died.
 * `retry` makes a new run that names the old one.
 */
export const runStates = ['queued', 'running', 'done', 'failed', 'cancelled'] as const;
export type RunState = (typeof runStates)[number];

/** Who asked. */
export type RunTrigger = 'schedule' | 'trigger' | 'api' | 'event' | 'retry';

/** What a run works on: the configuration file, or one record of the API's archival configuration. */
export type RunTarget = { readonly kind: 'file' } | { readonly kind: 'record'; readonly id: string };

/** What differs from run to run; each task takes its own part and refuses the others. */
export interface RunOptions {
  /** load: leave alone what is as it was at the last load. */
  readonly ifChanged?: boolean;
  /** archive: only the root row with this primary key (text per key column), whatever its age. */
  readonly key?: readonly string[];
  /** restore: COLUMN=VALUE, all of which must hold. */
  readonly where?: readonly string[];
  /** restore: dates in UTC. */
  readonly from?: string;
  readonly to?: string;
  /** restore, verify: digits. */
  readonly batch?: string;
  /** restore */
  readonly overwrite?: boolean;
  /** verify: restore a sample into scratch tables. */
  readonly drill?: boolean;
}

/** What is put into the queue. */
export interface RunOrder {
  readonly task: RunTask;
  readonly target: RunTarget;
  /** `host:port/schema`: runs of one database go one after the other. */
  readonly databaseKey: string;
  /** Null: all of the task's tables. */
  readonly tables: readonly string[] | null;
  readonly options: RunOptions;
  readonly trigger: RunTrigger;
  /** A client's id, `schedule`, or `trigger` for whoever holds the trigger's token. */
  readonly requestedBy: string;
  /** With the asker's name in front, so that no asker sees another's run; null: none. */
  readonly idempotencyKey: string | null;
  readonly retryOf: string | null;
}

/** One row of `tableset_service_runs`. Times are ISO 8601 in UTC. */
export interface RunRecord extends RunOrder {
  /** Digits. */
  readonly id: string;
  readonly state: RunState;
  /** Counted from 1 when it is first claimed. */
  readonly attempt: number;
  readonly attemptsMax: number;
  /** Raised at each claim; whoever holds a stale one changes nothing. */
  readonly token: string;
  /** Replica that works on it. */
  readonly owner: string | null;
  /** Name of its Kubernetes Job; null inline. */
  readonly worker: string | null;
  readonly createdAt: string;
  /** Not claimed before this: the pause before another attempt. */
  readonly notBefore: string;
  readonly startedAt: string | null;
  readonly finishedAt: string | null;
  readonly cancelRequestedAt: string | null;
  readonly progress: RunProgress | null;
  /** As `--json` prints it. */
  readonly summary: RunSummary | null;
  readonly error: RunError | null;
  /** Last log lines of a worker Job. */
  readonly logTail: string | null;
}

export interface RunProgress extends Progress {
  readonly at: string;
}

export interface RunSummary {
  /** done, skipped, refused, unfinished, failed, stopped. */
  readonly outcome: string;
  readonly seconds: number;
  readonly tables: readonly Fields[];
  readonly [key: string]: unknown;
}

export interface RunError {
  readonly code: string;
  readonly message: string;
  readonly hint: string;
  /** As the one-shot would exit; 1 and 75 are worth another attempt. */
  readonly exit: number;
}

/** How a run ended, as its runner tells it. */
export type RunResult =
  | { readonly state: 'done'; readonly summary: RunSummary; readonly logTail?: string }
  | {
      readonly state: 'failed' | 'cancelled';
      readonly error: RunError;
      readonly summary: RunSummary | null;
      readonly logTail?: string;
    }
  /** Stopped at a safe point because the service ends: it goes back into the queue, and the attempt does not count. */
  | { readonly state: 'stopped' }
  /** Let go of while it runs: its row stays as it is, and whoever finds its lease over adopts it. */
  | { readonly state: 'released' };

/** Everything a worker needs, with secrets; it never leaves the process, and never goes into a Job's spec. */
export interface RunSpec {
  readonly run: RunRecord;
  /** Text of the configuration that was validated; JSON is YAML. */
  readonly configText: string;
  /** For messages and relative paths. */
  readonly configPath: string;
  /** Secrets that `passwordEnv` in the text names, beside the process's own environment. */
  readonly env: Readonly<Record<string, string>>;
  readonly database: DatabaseSettings;
  readonly lock: LockSettings;
  readonly temporaryDirectory: string;
}

export interface RunObserver {
  /** The worker has begun; `worker` is a Job's name, null inline. */
  started(worker: string | null): void;
  progress(progress: Progress): void;
  /** A log line of the run, redacted. */
  event(level: Level, message: string, fields: Fields): void;
}
