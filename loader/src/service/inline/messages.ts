import type { Fields, Level, Progress } from '@tableset/common/output/output.ts';
import type { RunResult, RunSpec } from '../run-types.ts';

/** What the service's main thread says to a worker thread. */
export type ToThread =
  | { readonly type: 'run'; readonly spec: RunSpec }
  | { readonly type: 'stop'; readonly why: 'cancelled' | 'shutdown' }
  | { readonly type: 'call'; readonly id: number; readonly name: string; readonly argument: unknown }
  | { readonly type: 'abort'; readonly id: number };

/** What a worker thread says. */
export type FromThread =
  | { readonly type: 'started' }
  | { readonly type: 'progress'; readonly progress: Progress }
  | { readonly type: 'event'; readonly level: Level; readonly message: string; readonly fields: Fields }
  | { readonly type: 'result'; readonly result: RunResult }
  | { readonly type: 'answer'; readonly id: number; readonly value: unknown }
  | { readonly type: 'failure'; readonly id: number; readonly error: PlainError };

/** An AppError as it crosses threads. */
export interface PlainError {
  readonly code: string;
  readonly exit: number;
  readonly message: string;
  readonly hint: string;
  readonly details: Readonly<Record<string, unknown>>;
}
