import * as z from 'zod/mini';
import { serviceError } from '../errors.ts';
import { type Route, route } from '../http/route.ts';
import { runView, runViewSchema } from '../http/run-view.ts';
import {
  enqueuedAnswer,
  idempotencyKeySchema,
  orderOf,
  trigger,
  triggerAnswerSchema,
  triggerSchema,
} from '../http/trigger.ts';
import type { Principal } from '../roles.ts';
import { type RunTask, runStates, runTasks } from '../run-types.ts';
import { listAudit } from './audit-list.ts';
import { askerOf, idSchema, knownPrincipal, pageLimit, parsedTarget, targetSchema } from './common.ts';

const tag = 'Runs';
const path = '/api/v1/runs';
const params = z.strictObject({ id: idSchema });
const one = z.strictObject({ run: runViewSchema });
const taken = {
  202: { description: 'It waits its turn.', schema: triggerAnswerSchema },
  200: { description: 'The idempotency key was used before; this is its run.', schema: triggerAnswerSchema },
};

export const runRoutes: readonly Route[] = [
  route({
    method: 'GET',
    path,
    summary: 'Runs, newest first.',
    tag,
    access: 'viewer',
    query: z.strictObject({
      state: z.optional(z.enum(runStates)),
      task: z.optional(z.enum(runTasks)),
      trigger: z.optional(z.enum(['schedule', 'trigger', 'api', 'event', 'retry'])),
      before: z.optional(idSchema),
      limit: z.optional(pageLimit),
    }),
    responses: {
      200: {
        description: 'A page; `next` is the `before` of the next one.',
        schema: z.strictObject({ items: z.array(runViewSchema), next: z.nullable(z.string()) }),
      },
    },
    async handle({ query: { limit: given, ...filter }, service }) {
      const limit = Number(given ?? 50);
      // One more tells whether there is a next page.
      const runs = await service.registry.list({ ...without(filter), limit: Math.min(limit + 1, 200) });
      const items = runs.slice(0, limit).map((run) => runView(run, true));
      const more = runs.length > limit || (limit === 200 && runs.length === 200);
      return { body: { items, next: more ? (items.at(-1)?.id ?? null) : null } };
    },
  }),
  route({
    method: 'GET',
    path: `${path}/:id`,
    summary: 'One run.',
    tag,
    access: 'viewer',
    params,
    responses: { 200: { description: 'The run.', schema: one } },
    async handle({ params: { id }, service }) {
      const run = await service.registry.find(id);
      if (!run) throw noRun(id);
      return { body: { run: runView(run, true) } };
    },
  }),
  route({
    method: 'POST',
    path,
    summary: 'Starts a run as soon as its turn comes. Restore needs the role admin.',
    tag,
    access: 'operator',
    body: z.extend(triggerSchema, { target: z.optional(targetSchema) }),
    responses: taken,
    async handle({ body: { target, ...body }, principal, request, service }) {
      const by = knownPrincipal(principal);
      checkTask(body.task, by);
      const keyHeader = request.headers['idempotency-key'];
      const order = orderOf(body, { by, trigger: 'api', target: parsedTarget(target), keyHeader });
      return await trigger(service, order, true);
    },
  }),
  route({
    method: 'POST',
    path: `${path}/:id/retry`,
    summary: 'Starts a new run of what an ended one was for.',
    tag,
    access: 'operator',
    params,
    responses: { ...taken, 409: { description: 'The run has not ended.' } },
    async handle({ params: { id }, principal, request, service }) {
      const by = knownPrincipal(principal);
      const run = await service.registry.find(id);
      if (!run) throw noRun(id);
      checkTask(run.task, by);
      const retried = await service.queue.retry(id, by, keyOf(request.headers['idempotency-key']));
      if (!retried) throw serviceError('SERVICE_CONFLICT', `run ${id} has not ended`);
      return enqueuedAnswer(retried, true);
    },
  }),
  route({
    method: 'POST',
    path: `${path}/:id/cancel`,
    summary: 'Takes a waiting run out of the queue, or asks a running one to stop at its next safe point.',
    tag,
    access: 'operator',
    params,
    responses: {
      202: { description: 'It is cancelled, or will be.', schema: one },
      409: { description: 'The run has ended.' },
    },
    async handle({ params: { id }, principal, service }) {
      const run = await service.queue.cancel(id, knownPrincipal(principal));
      if (run) return { status: 202, body: { run: runView(run, true) } };
      if (!(await service.registry.find(id))) throw noRun(id);
      throw serviceError('SERVICE_CONFLICT', `run ${id} has ended`);
    },
  }),
  route({
    method: 'GET',
    path: '/api/v1/audit',
    summary: 'Who did what when, newest first.',
    tag: 'Audit',
    access: 'admin',
    query: z.strictObject({
      actor: z.optional(z.string().check(z.minLength(1), z.maxLength(128))),
      action: z.optional(z.string().check(z.regex(/^[a-z.]{1,64}$/))),
      before: z.optional(idSchema),
      limit: z.optional(pageLimit),
    }),
    responses: {
      200: {
        description: 'A page; `next` is the `before` of the next one.',
        schema: z.strictObject({
          items: z.array(
            z.strictObject({
              id: z.string(),
              at: z.iso.datetime(),
              actor: z.string(),
              action: z.string(),
              subject: z.string(),
              details: z.record(z.string(), z.unknown()),
            }),
          ),
          next: z.nullable(z.string()),
        }),
      },
    },
    async handle({ query: { limit: given, ...filter }, service }) {
      const limit = Number(given ?? 50);
      const entries = await service.database.use((connection) =>
        listAudit(connection, { ...filter, limit: limit + 1 }),
      );
      const items = entries.slice(0, limit);
      return { body: { items, next: entries.length > limit ? (items.at(-1)?.id ?? null) : null } };
    },
  }),
];

/** A restore writes rows back into production, so that it takes more than starting what is scheduled anyway. */
function checkTask(task: RunTask, by: Principal): void {
  if (task === 'restore' && !by.roles.has('admin'))
    throw serviceError('SERVICE_FORBIDDEN', `${askerOf(by)} does not have the role admin, which restore takes`);
}

function keyOf(header: string | string[] | undefined): string | null {
  if (header === undefined) return null;
  const key = idempotencyKeySchema.safeParse(header);
  if (key.success) return key.data;
  throw serviceError('SERVICE_REQUEST_INVALID', 'Idempotency-Key takes 1 to 200 printable characters without blanks');
}

function noRun(id: string) {
  return serviceError('SERVICE_NOT_FOUND', `there is no run ${id}`);
}

/** zod leaves out optional keys that are missing; the type says they may be undefined. */
function without<T extends object>(values: T): { [K in keyof T]: Exclude<T[K], undefined> } {
  return Object.fromEntries(Object.entries(values).filter(([, value]) => value !== undefined)) as never;
}
