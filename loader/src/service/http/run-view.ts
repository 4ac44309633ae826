import * as z from 'zod/mini';
import { targetText } from '../run-rows.ts';
import { type RunRecord, runStates, runTasks } from '../run-types.ts';

const time = z.nullable(z.iso.datetime());

/** How far a run that works has come; null for others. */
export const progressSchema = z.nullable(
  z.strictObject({
    label: z.string(),
    done: z.number(),
    total: z.nullable(z.number()),
    unit: z.string(),
    at: z.iso.datetime(),
  }),
);

/** A run as the API shows it. */
export const runViewSchema = z.strictObject({
  id: z.string(),
  task: z.enum(runTasks),
  /** `file`, or `record:ID`. */
  target: z.string(),
  tables: z.nullable(z.array(z.string())),
  options: z.record(z.string(), z.unknown()),
  trigger: z.enum(['schedule', 'trigger', 'api', 'event', 'retry']),
  requestedBy: z.string(),
  state: z.enum(runStates),
  attempt: z.int(),
  attemptsMax: z.int(),
  createdAt: z.iso.datetime(),
  notBefore: z.iso.datetime(),
  startedAt: time,
  finishedAt: time,
  cancelRequestedAt: time,
  worker: z.nullable(z.string()),
  progress: progressSchema,
  summary: z.nullable(z.record(z.string(), z.unknown())),
  error: z.nullable(z.strictObject({ code: z.string(), message: z.string(), remedy: z.string() })),
  logTail: z.nullable(z.string()),
  retryOf: z.nullable(z.string()),
});
export type RunView = z.output<typeof runViewSchema>;

/**
 * What a run shows of itself.
 * @param withMessages false leaves out what may quote rows: messages, counts and log lines
 */
export function runView(run: RunRecord, withMessages: boolean): RunView {
  const { error } = run;
  return {
    id: run.id,
    task: run.task,
    target: targetText(run.target),
    tables: run.tables === null ? null : [...run.tables],
    options: withMessages ? { ...run.options } : {},
    trigger: run.trigger,
    requestedBy: run.requestedBy,
    state: run.state,
    attempt: run.attempt,
    attemptsMax: run.attemptsMax,
    createdAt: run.createdAt,
    notBefore: run.notBefore,
    startedAt: run.startedAt,
    finishedAt: run.finishedAt,
    cancelRequestedAt: run.cancelRequestedAt,
    worker: run.worker,
    progress: run.progress,
    summary: withMessages && run.summary !== null ? { ...run.summary } : null,
    error: error && { code: error.code, message: withMessages ? error.message : '', remedy: error.hint },
    logTail: withMessages ? run.logTail : null,
    retryOf: run.retryOf,
  };
}
