import * as z from 'zod/mini';
import { askerOf, idSchema, pageLimit } from '../api/common.ts';
import { serviceError } from '../errors.ts';
import { type Route, route } from '../http/route.ts';
import {
  deliveryStates,
  findDelivery,
  listDeliveries,
  replayDeliveries,
  replayDelivery,
  replayMax,
  type StoredDelivery,
} from './delivery-rows.ts';
import {
  deleteReceiver,
  findReceiver,
  insertReceiver,
  listReceivers,
  receiversMax,
  type StoredReceiver,
} from './receiver-rows.ts';
import { checkedAddress } from './receivers.ts';

const tag = 'Webhooks';
const path = '/api/v1/webhooks';
const params = z.strictObject({ id: idSchema });
const secretBytesMin = 16;

const receiverView = z.strictObject({
  id: z.string(),
  /** Scheme, host and port of the address; the rest of it is never shown. */
  origin: z.string(),
  tables: z.nullable(z.array(z.string())),
  timeoutSeconds: z.number(),
  createdAt: z.iso.datetime(),
  createdBy: z.string(),
});

const deliveryView = z.strictObject({
  id: z.string(),
  /** `env`, `file:HASH` or `api:ID`. */
  receiver: z.string(),
  /** As the header Tableset-Event-Id has it. */
  event: z.string(),
  run: z.string(),
  table: z.string(),
  state: z.enum(deliveryStates),
  attempts: z.int(),
  attemptsMax: z.int(),
  nextAt: z.nullable(z.iso.datetime()),
  /** Why the last try failed. */
  reason: z.nullable(z.string()),
  createdAt: z.iso.datetime(),
  finishedAt: z.nullable(z.iso.datetime()),
});

export const outboxRoutes: readonly Route[] = [
  route({
    method: 'GET',
    path,
    summary:
      'Receivers that were made here, without their secrets. Those of the configuration file and WEBHOOK_URL are not among them.',
    tag,
    access: 'admin',
    responses: {
      200: { description: 'All of them.', schema: z.strictObject({ items: z.array(receiverView), next: z.null() }) },
    },
    async handle({ service }) {
      return { body: { items: (await service.database.use(listReceivers)).map(viewOfReceiver), next: null } };
    },
  }),
  route({
    method: 'POST',
    path,
    summary: 'Has an address told of every change. It must be public, or be named in WEBHOOK_ALLOWED_HOSTS.',
    tag,
    access: 'admin',
    body: z.strictObject({
      url: z.string().check(z.minLength(1), z.maxLength(2000)),
      /** What notices are signed with. */
      secret: z.string().check(z.minLength(secretBytesMin), z.maxLength(1000)),
      tables: z.optional(
        z.array(z.string().check(z.minLength(1), z.maxLength(64))).check(z.minLength(1), z.maxLength(500)),
      ),
      timeoutSeconds: z.optional(z.int().check(z.gte(1), z.lte(120))),
    }),
    responses: {
      201: { description: 'The receiver.', schema: receiverView },
      409: { description: 'There are too many.' },
    },
    async handle({ body, principal, service }) {
      const { database, outbox, audit, settings } = service;
      const url = checkedAddress(body.url, settings.webhookAllowedHosts);
      const by = askerOf(principal);
      const keys = outbox.keys();
      const made = await database.transaction(async (connection) => {
        const { secret, tables = null, timeoutSeconds = 5 } = body;
        const id = await insertReceiver(connection, { url, secret, tables, timeoutSeconds, by }, keys);
        const receiver = id === null ? null : await findReceiver(connection, id);
        if (!receiver) throw serviceError('SERVICE_CONFLICT', `there are ${receiversMax} receivers already`);
        const details = { origin: url.origin, tables, timeoutSeconds };
        await audit.record(connection, {
          actor: by,
          action: 'webhook.create',
          subject: `webhook ${receiver.id}`,
          details,
        });
        return receiver;
      });
      return { status: 201, headers: { location: `${path}/${made.id}` }, body: viewOfReceiver(made) };
    },
  }),
  route({
    method: 'DELETE',
    path: `${path}/:id`,
    summary: 'Tells a receiver nothing more; what still waits for it becomes dead letters.',
    tag,
    access: 'admin',
    params,
    responses: { 204: { description: 'It is gone.' } },
    async handle({ params: { id }, principal, service }) {
      await service.database.transaction(async (connection) => {
        const receiver = await findReceiver(connection, id);
        if (!receiver || !(await deleteReceiver(connection, id)))
          throw serviceError('SERVICE_NOT_FOUND', `there is no receiver ${id}`);
        const details = { origin: receiver.origin };
        await service.audit.record(connection, {
          actor: askerOf(principal),
          action: 'webhook.delete',
          subject: `webhook ${id}`,
          details,
        });
      });
      service.outbox.wake();
      return { status: 204 };
    },
  }),
  route({
    method: 'GET',
    path: `${path}/deliveries`,
    summary: 'Notices of changes and what became of them, newest first; `state=dead` has those that were given up.',
    tag,
    access: 'viewer',
    query: z.strictObject({
      state: z.optional(z.enum(deliveryStates)),
      before: z.optional(idSchema),
      limit: z.optional(pageLimit),
    }),
    responses: {
      200: {
        description: 'A page; `next` is the `before` of the next one.',
        schema: z.strictObject({ items: z.array(deliveryView), next: z.nullable(z.string()) }),
      },
    },
    async handle({ query: { state, before, limit: given }, service }) {
      const limit = Number(given ?? 50);
      // One more tells whether there is a next page.
      const found = await service.database.use((connection) =>
        listDeliveries(connection, { state, before, limit: limit + 1 }),
      );
      const items = found.slice(0, limit).map(viewOfDelivery);
      return { body: { items, next: found.length > limit ? (items.at(-1)?.id ?? null) : null } };
    },
  }),
  route({
    method: 'POST',
    path: `${path}/deliveries/replay`,
    summary: `Tells dead letters again, the oldest first, at most ${replayMax} at once; all of them, or those of a receiver or a run.`,
    tag,
    access: 'operator',
    body: z.strictObject({
      /** As `receiver` of a delivery has it. */
      receiver: z.optional(z.string().check(z.minLength(1), z.maxLength(64))),
      run: z.optional(idSchema),
    }),
    responses: {
      202: {
        description: 'They wait their turn; `left` says how many dead letters there are still.',
        schema: z.strictObject({ replayed: z.int(), left: z.int() }),
      },
    },
    async handle({ body: { receiver, run }, principal, service }) {
      const { database, settings, audit, outbox } = service;
      const result = await database.transaction(async (connection) => {
        const done = await replayDeliveries(connection, { receiver, run }, settings.webhookAttempts);
        if (done.replayed > 0)
          await audit.record(connection, {
            actor: askerOf(principal),
            action: 'webhook.replay',
            subject: 'deliveries',
            details: { ...(receiver ? { receiver } : {}), ...(run ? { run } : {}), replayed: done.replayed },
          });
        return done;
      });
      outbox.wake();
      return { status: 202, body: result };
    },
  }),
  route({
    method: 'POST',
    path: `${path}/deliveries/:id/replay`,
    summary: 'Tells a dead letter again, with the same id and body.',
    tag,
    access: 'operator',
    params,
    responses: {
      202: { description: 'It waits its turn.', schema: z.strictObject({ delivery: deliveryView }) },
      409: { description: 'It is not dead.' },
    },
    async handle({ params: { id }, principal, service }) {
      const { database, settings, audit, outbox } = service;
      const replayed = await database.transaction(async (connection) => {
        const replays = await replayDelivery(connection, id, settings.webhookAttempts);
        const delivery = await findDelivery(connection, id);
        if (!delivery) throw serviceError('SERVICE_NOT_FOUND', `there is no delivery ${id}`);
        if (!replays) throw serviceError('SERVICE_CONFLICT', `delivery ${id} is ${delivery.state}, not dead`);
        const details = { receiver: delivery.receiver, event: delivery.notice.id };
        await audit.record(connection, {
          actor: askerOf(principal),
          action: 'webhook.replay',
          subject: `delivery ${id}`,
          details,
        });
        return delivery;
      });
      outbox.wake();
      return { status: 202, body: { delivery: viewOfDelivery(replayed) } };
    },
  }),
];

function viewOfReceiver({
  id,
  origin,
  tables,
  timeoutMs,
  createdAt,
  createdBy,
}: StoredReceiver): z.output<typeof receiverView> {
  return { id, origin, tables: tables && [...tables], timeoutSeconds: timeoutMs / 1000, createdAt, createdBy };
}

function viewOfDelivery(delivery: StoredDelivery): z.output<typeof deliveryView> {
  const { id, receiver, notice, runId, state, attempts, attemptsMax, nextAt, reason, createdAt, finishedAt } = delivery;
  return {
    id,
    receiver,
    event: notice.id,
    run: runId,
    table: notice.table,
    state,
    attempts,
    attemptsMax,
    nextAt: state === 'waiting' ? nextAt : null,
    reason,
    createdAt,
    finishedAt,
  };
}
