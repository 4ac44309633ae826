import * as z from 'zod/mini';
import type { Enqueued, RunRequest, ServiceContext } from '../contracts.ts';
import { serviceError } from '../errors.ts';
import type { Principal } from '../roles.ts';
import type { RunTarget } from '../run-types.ts';
import { runTasks } from '../run-types.ts';
import type { RouteAnswer } from './route.ts';
import { runView, runViewSchema } from './run-view.ts';

const text = (max: number) => z.string().check(z.minLength(1), z.maxLength(max));

/** Header or body: printable ASCII without blanks. */
export const idempotencyKeySchema = z.string().check(z.regex(/^[\x21-\x7e]{1,200}$/));

export const runOptionsSchema = z.strictObject({
  ifChanged: z.optional(z.boolean()),
  where: z.optional(z.array(text(1000).check(z.regex(/^[^=]+=/))).check(z.maxLength(20))),
  from: z.optional(text(40)),
  to: z.optional(text(40)),
  batch: z.optional(z.string().check(z.regex(/^\d{1,20}$/))),
  overwrite: z.optional(z.boolean()),
  drill: z.optional(z.boolean()),
});

/** What a trigger takes. */
export const triggerSchema = z.strictObject({
  task: z.enum(runTasks),
  tables: z.optional(z.array(text(64)).check(z.minLength(1), z.maxLength(500))),
  options: z.optional(runOptionsSchema),
  idempotencyKey: z.optional(idempotencyKeySchema),
});
export type TriggerBody = z.output<typeof triggerSchema>;

export const triggerAnswerSchema = z.strictObject({
  run: runViewSchema,
  /** The idempotency key was used before: this is the run of then. */
  known: z.boolean(),
});

/** Options that each task takes; others are refused rather than ignored. */
const optionsOf = {
  load: ['ifChanged'],
  archive: [],
  purge: [],
  restore: ['where', 'from', 'to', 'batch', 'overwrite'],
  verify: ['batch', 'drill'],
} as const satisfies Record<TriggerBody['task'], readonly string[]>;

/**
 * The order that a body stands for.
 * @throws AppError SERVICE_REQUEST_INVALID
 */
export function orderOf(
  body: TriggerBody,
  asked: {
    readonly by: Principal;
    readonly trigger: RunRequest['trigger'];
    readonly target: RunTarget;
    /** The header `Idempotency-Key`. */
    readonly keyHeader: string | string[] | undefined;
  },
): RunRequest {
  const { task, tables, options = {} } = body;
  const takes: readonly string[] = optionsOf[task];
  for (const name of Object.keys(options))
    if (!takes.includes(name)) throw invalid(`options.${name} means nothing for ${task}`);
  if (task === 'restore') {
    if (tables?.length !== 1) throw invalid('restore takes exactly one table');
    if (!options.where?.length && !options.from && !options.to && !options.batch)
      throw invalid('restore takes what is to come back: where, from and to, or batch');
  }
  const header = asked.keyHeader === undefined ? undefined : idempotencyKeySchema.safeParse(asked.keyHeader);
  if (header && !header.success) throw invalid('Idempotency-Key takes 1 to 200 printable characters without blanks');
  if (header && body.idempotencyKey !== undefined && header.data !== body.idempotencyKey)
    throw invalid('Idempotency-Key and idempotencyKey differ');
  return {
    task,
    target: asked.target,
    tables: tables ?? null,
    options: given(options),
    trigger: asked.trigger,
    by: asked.by,
    idempotencyKey: header?.data ?? body.idempotencyKey ?? null,
  };
}

/** Puts an order into the queue and answers for it. */
export async function trigger(service: ServiceContext, order: RunRequest, withMessages: boolean): Promise<RouteAnswer> {
  return enqueuedAnswer(await service.queue.enqueue(order), withMessages);
}

/** @throws AppError SERVICE_QUEUE_FULL, SERVICE_SHUTTING_DOWN, SERVICE_IDEMPOTENCY_REUSED */
export function enqueuedAnswer(enqueued: Enqueued, withMessages: boolean): RouteAnswer {
  switch (enqueued.outcome) {
    case 'queued':
      return { status: 202, body: { run: runView(enqueued.run, withMessages), known: false } };
    case 'known':
      return { status: 200, body: { run: runView(enqueued.run, withMessages), known: true } };
    case 'conflict':
      throw serviceError(
        'SERVICE_IDEMPOTENCY_REUSED',
        `the idempotency key stands for run ${enqueued.run.id}, which was asked for otherwise`,
      );
    case 'full': {
      const { retryAfterSeconds } = enqueued;
      throw serviceError('SERVICE_QUEUE_FULL', 'as many runs wait as the queue takes', {
        details: { retryAfterSeconds },
      });
    }
    case 'closed':
      throw serviceError('SERVICE_SHUTTING_DOWN', 'the service is ending');
    default:
      return enqueued satisfies never;
  }
}

/** zod leaves out optional keys that are missing; the type says they may be undefined. */
function given(options: z.output<typeof runOptionsSchema>): RunRequest['options'] {
  return Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined));
}

function invalid(message: string) {
  return serviceError('SERVICE_REQUEST_INVALID', message);
}
