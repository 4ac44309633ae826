import * as z from 'zod/mini';
import type { ServiceContext } from '../contracts.ts';
import type { Facts } from '../facts.ts';
import { asAppError } from '../run-error.ts';
import { type RunRecord, runTasks } from '../run-types.ts';
import { progressSchema } from './run-view.ts';

const time = z.nullable(z.iso.datetime());
const runBrief = z.strictObject({
  id: z.string(),
  task: z.enum(runTasks),
  tables: z.nullable(z.array(z.string())),
  trigger: z.string(),
  state: z.string(),
  attempt: z.int(),
  createdAt: z.iso.datetime(),
  startedAt: time,
  finishedAt: time,
  seconds: z.nullable(z.number()),
  /** Code of the error it ended with, or of its last try. */
  code: z.nullable(z.string()),
  remedy: z.nullable(z.string()),
  progress: progressSchema,
});

/** What GET /status answers. It is open to anybody, so that nothing in it quotes a row: codes and remedies, no messages. */
export const statusSchema = z.strictObject({
  version: z.string(),
  replica: z.string(),
  startedAt: z.iso.datetime(),
  uptimeSeconds: z.int(),
  leader: z.strictObject({ self: z.boolean(), holder: z.nullable(z.string()) }),
  ready: z.boolean(),
  /** Why it is not ready. */
  reasons: z.array(z.string()),
  config: z.strictObject({
    path: z.string(),
    loadedAt: z.iso.datetime(),
    hash: z.string(),
    /** Why what the file holds now is not taken. */
    problem: z.nullable(z.strictObject({ at: z.iso.datetime(), code: z.string(), message: z.string() })),
  }),
  database: z.strictObject({ reachable: z.boolean(), code: z.nullable(z.string()) }),
  queue: z.strictObject({ waiting: z.nullable(z.int()), size: z.int() }),
  /** By state; null while the database is away. */
  runs: z.nullable(z.record(z.string(), z.int())),
  tasks: z.array(
    z.strictObject({
      task: z.enum(runTasks),
      cron: z.nullable(z.string()),
      timeZone: z.nullable(z.string()),
      nextAt: time,
      last: z.nullable(z.strictObject({ state: z.string(), finishedAt: z.iso.datetime() })),
      lastSuccessAt: time,
      failuresSinceSuccess: z.int(),
    }),
  ),
  /** Begun and not ended, on any replica. */
  running: z.array(runBrief),
  /** Newest first. */
  recent: z.array(runBrief),
  lastErrors: z.array(
    z.strictObject({ run: z.string(), task: z.string(), at: time, code: z.string(), remedy: z.string() }),
  ),
  tables: z.array(
    z.strictObject({
      table: z.string(),
      loadedAt: time,
      ageSeconds: z.nullable(z.number()),
      rows: z.nullable(z.number()),
    }),
  ),
  /** Notices that wait, and dead letters; null while the database is away. */
  webhooks: z.nullable(z.strictObject({ waiting: z.int(), dead: z.int() })),
  lastVerifiedRestoreAt: time,
});
export type StatusDocument = z.output<typeof statusSchema>;

const lastErrorsMax = 10;

export async function statusDocument(service: ServiceContext): Promise<StatusDocument> {
  const { configFile, settings, leadership, startedAt, database, now } = service;
  const { facts, code } = await readFacts(service);
  const { path, loadedAt, hash } = configFile.current;
  const reasons = notReady(service);
  const recent = (facts?.recent ?? []).map((run) => brief(service, run));
  return {
    version: service.version,
    replica: service.replica,
    startedAt: startedAt.toISOString(),
    uptimeSeconds: Math.floor((now() - startedAt.getTime()) / 1000),
    leader: { self: leadership.leader, holder: leadership.holder },
    ready: reasons.length === 0,
    reasons: [...reasons],
    config: { path, loadedAt, hash, problem: configFile.problem && { ...configFile.problem } },
    database: { reachable: database.reachable, code },
    queue: { waiting: facts?.counts.queued ?? null, size: settings.queueSize },
    runs: facts && { ...facts.counts },
    tasks: taskStates(service, facts),
    running: recent.filter(({ state }) => state === 'running'),
    recent,
    lastErrors: recent
      .filter(({ state, code: error }) => state === 'failed' && error !== null)
      .slice(0, lastErrorsMax)
      .map((run) => ({
        run: run.id,
        task: run.task,
        at: run.finishedAt,
        code: run.code ?? '',
        remedy: run.remedy ?? '',
      })),
    tables: (facts?.tables ?? []).map((each) => ({ ...each })),
    webhooks: facts && { ...facts.webhooks },
    lastVerifiedRestoreAt: facts?.lastVerifiedRestoreAt ?? null,
  };
}

/** Why the service is not ready to take orders; empty if it is. */
export function notReady({ database, tablesReady, queue }: ServiceContext): readonly string[] {
  const reasons: string[] = [];
  if (queue.closed) reasons.push('it is shutting down');
  if (!database.reachable) reasons.push('the database cannot be reached');
  else if (!tablesReady()) reasons.push('its tables are not made yet');
  return reasons;
}

async function readFacts({ facts }: ServiceContext): Promise<{ facts: Facts | null; code: string | null }> {
  try {
    return { facts: await facts.read(), code: null };
  } catch (error) {
    return { facts: null, code: asAppError(error).code };
  }
}

function taskStates({ schedules }: ServiceContext, facts: Facts | null): StatusDocument['tasks'] {
  const byTask = new Map(schedules.list().map((each) => [each.task, each]));
  return runTasks.map((task) => {
    const schedule = byTask.get(task);
    const known = facts?.tasks[task];
    return {
      task,
      cron: schedule?.cron ?? null,
      timeZone: schedule?.timeZone ?? null,
      nextAt: schedule?.nextAt ?? null,
      last: known?.last ?? null,
      lastSuccessAt: known?.lastSuccessAt ?? null,
      failuresSinceSuccess: known?.failuresSinceSuccess ?? 0,
    };
  });
}

function brief({ queue }: ServiceContext, run: RunRecord): StatusDocument['recent'][number] {
  // This replica's own runs are known to the moment.
  const progress = queue.running.find(({ id }) => id === run.id)?.progress ?? run.progress;
  const { startedAt, finishedAt } = run;
  return {
    id: run.id,
    task: run.task,
    tables: run.tables && [...run.tables],
    trigger: run.trigger,
    state: run.state,
    attempt: run.attempt,
    createdAt: run.createdAt,
    startedAt,
    finishedAt,
    seconds: startedAt && finishedAt ? (Date.parse(finishedAt) - Date.parse(startedAt)) / 1000 : null,
    code: run.error?.code ?? null,
    remedy: run.error?.hint ?? null,
    progress: run.state === 'running' ? progress : null,
  };
}
