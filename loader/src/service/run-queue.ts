import { createHash } from 'node:crypto';
import type { Connection } from '@tableset/common/database/connection.ts';
import { classifyFault } from '@tableset/common/database/errno.ts';
import { commonError } from '@tableset/common/errors.ts';
import { nearestName } from '@tableset/common/settings/nearest.ts';
import type { Audit, Enqueued, RunEndHook, RunQueue, RunRequest, StateDatabase, Targets } from './contracts.ts';
import type { Dispatcher } from './dispatcher.ts';
import { serviceError } from './errors.ts';
import type { Principal } from './roles.ts';
import { runError } from './run-error.ts';
import { endRun, findRun } from './run-registry.ts';
import { runColumns, runRecord, targetText } from './run-rows.ts';
import type { RunOrder, RunRecord } from './run-types.ts';

export interface QueueParts {
  readonly database: StateDatabase;
  readonly targets: Targets;
  readonly dispatcher: Pick<Dispatcher, 'closed' | 'prepare' | 'queued' | 'ended' | 'wake' | 'running'>;
  readonly audit: Audit;
  readonly endHooks: readonly RunEndHook[];
  readonly queueSize: number;
  readonly runAttempts: number;
}

/** Told to whoever finds the queue full: about how long a short run takes. */
const retryAfterSeconds = 5;

/** The queue's intake. Orders of this replica are taken one after the other, so that the limit is exact here; replicas may each exceed it by one. */
export function openRunQueue(parts: QueueParts): RunQueue {
  const oneAtATime = serializer();
  return {
    enqueue: async (request) => {
      const order = await completeOrder(parts, request);
      return await oneAtATime(async () => await enqueue(parts, order));
    },
    retry: async (id, by, idempotencyKey) => {
      const run = await parts.database.use((connection) => findRun(connection, id));
      if (!run || run.state === 'queued' || run.state === 'running') return null;
      const { task, target, databaseKey, tables, options } = run;
      const key = idempotencyKey === null ? null : `${by.name}:${idempotencyKey}`;
      const same = { task, target, databaseKey, tables, options };
      const order: RunOrder = { ...same, trigger: 'retry', requestedBy: by.name, idempotencyKey: key, retryOf: id };
      return await oneAtATime(async () => await enqueue(parts, order));
    },
    cancel: async (id, by) => await cancel(parts, id, by),
    get closed() {
      return parts.dispatcher.closed;
    },
    get running() {
      return parts.dispatcher.running;
    },
  };
}

async function completeOrder({ targets }: QueueParts, request: RunRequest): Promise<RunOrder> {
  const { task, target, tables, options, trigger, by, idempotencyKey } = request;
  const facts = await targets.describe(target);
  const known = facts.tables[task];
  if (known.length === 0)
    throw serviceError('SERVICE_REQUEST_INVALID', `the configuration has no tables for ${task}`, {
      hint: 'Add tables to the configuration first.',
    });
  for (const table of tables ?? []) {
    if (known.includes(table)) continue;
    const near = nearestName(table, known);
    throw serviceError(
      'SERVICE_REQUEST_INVALID',
      `tables names ${JSON.stringify(table)}, which the configuration does not have for ${task}${near ? `; did you mean ${near}?` : ''}`,
    );
  }
  return {
    task,
    target,
    databaseKey: facts.databaseKey,
    tables,
    options,
    trigger,
    requestedBy: by.name,
    idempotencyKey: idempotencyKey === null ? null : `${by.name}:${idempotencyKey}`,
    retryOf: null,
  };
}

async function enqueue(
  { database, dispatcher, audit, queueSize, runAttempts }: QueueParts,
  order: RunOrder,
): Promise<Enqueued> {
  if (dispatcher.closed) return { outcome: 'closed' };
  dispatcher.prepare(order.databaseKey);
  const hash = orderHash(order);
  const enqueued = await database.transaction(async (connection): Promise<Enqueued> => {
    const known = await knownRun(connection, order, hash);
    if (known) return known;
    const row = await connection.row("SELECT COUNT(*) AS waiting FROM tableset_service_runs WHERE state = 'queued'");
    if (Number(row?.['waiting']) >= queueSize) return { outcome: 'full', retryAfterSeconds };
    try {
      await insertRun(connection, order, hash, runAttempts);
    } catch (error) {
      // Another replica took the same key in between.
      const raced = classifyFault(error) === 'duplicate-key' ? await knownRun(connection, order, hash) : null;
      if (raced) return raced;
      throw error;
    }
    const id = String((await connection.row('SELECT LAST_INSERT_ID() AS id'))?.['id']);
    const { task, target, tables, trigger, retryOf, requestedBy: actor } = order;
    const details = { task, target: targetText(target), tables, trigger, ...(retryOf === null ? {} : { retryOf }) };
    const action = retryOf === null ? 'run.trigger' : 'run.retry';
    await audit.record(connection, { actor, action, subject: `run ${id}`, details });
    const run = await findRun(connection, id);
    if (!run) throw commonError('INTERNAL', `run ${id} is not there after it was written`);
    return { outcome: 'queued', run };
  });
  if (enqueued.outcome === 'queued') dispatcher.queued(enqueued.run);
  return enqueued;
}

async function knownRun(connection: Connection, order: RunOrder, hash: string): Promise<Enqueued | null> {
  if (order.idempotencyKey === null) return null;
  const row = await connection.row(
    `SELECT ${runColumns}, request_hash FROM tableset_service_runs WHERE idempotency_key = ?`,
    [order.idempotencyKey],
  );
  if (!row) return null;
  return { outcome: row['request_hash'] === hash ? 'known' : 'conflict', run: runRecord(row) };
}

async function insertRun(connection: Connection, order: RunOrder, hash: string, attemptsMax: number): Promise<void> {
  await connection.run(
    `INSERT INTO tableset_service_runs (task, target, database_key, table_names, options, \`trigger\`, requested_by, idempotency_key, request_hash, state,
       attempt, attempts_max, token, created_at, not_before, retry_of)
     VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, 'queued', 0, ?, 0, UTC_TIMESTAMP(6), UTC_TIMESTAMP(6), ?)`,
    [
      order.task,
      targetText(order.target),
      order.databaseKey,
      order.tables === null ? null : JSON.stringify(order.tables),
      JSON.stringify(order.options),
      order.trigger,
      order.requestedBy.slice(0, 128),
      order.idempotencyKey,
      hash,
      attemptsMax,
      order.retryOf,
    ],
  );
}

/** What an idempotency key stands for. */
function orderHash({ task, target, tables, options, retryOf }: RunOrder): string {
  const sorted = Object.entries(options).toSorted(([a], [b]) => (a < b ? -1 : 1));
  return createHash('sha256')
    .update(JSON.stringify([task, targetText(target), tables, sorted, retryOf]))
    .digest('hex');
}

async function cancel(parts: QueueParts, id: string, by: Principal): Promise<RunRecord | null> {
  const { database, dispatcher, audit, endHooks } = parts;
  const cancelled = await database.transaction(async (connection) => {
    const locked = await connection.row(`SELECT ${runColumns} FROM tableset_service_runs WHERE id = ? FOR UPDATE`, [
      id,
    ]);
    const run = locked ? runRecord(locked) : null;
    if (!run || (run.state !== 'queued' && run.state !== 'running')) return null;
    await audit.record(connection, { actor: by.name, action: 'run.cancel', subject: `run ${id}`, details: {} });
    if (run.state === 'running') {
      await connection.run(
        'UPDATE tableset_service_runs SET cancel_requested_at = COALESCE(cancel_requested_at, UTC_TIMESTAMP(6)) WHERE id = ?',
        [id],
      );
      return await findRun(connection, id);
    }
    // As if it had been claimed and ended at once, under a token of its own.
    await connection.run(
      "UPDATE tableset_service_runs SET state = 'running', token = token + 1, cancel_requested_at = UTC_TIMESTAMP(6) WHERE id = ?",
      [id],
    );
    const claimed = await findRun(connection, id);
    const error = cancelledError(by.name);
    const ended =
      claimed && (await endRun(connection, claimed, { state: 'cancelled', summary: null, error, logTail: null }));
    if (ended) for (const hook of endHooks) await hook(connection, ended, { state: 'cancelled', error, summary: null });
    return ended;
  });
  if (cancelled?.state === 'running') dispatcher.wake();
  else if (cancelled) dispatcher.ended(cancelled);
  return cancelled;
}

function cancelledError(by: string) {
  return runError(serviceError('SERVICE_RUN_CANCELLED', `cancelled by ${by} before it began`));
}

/** Runs functions one after the other, in the order they came. */
function serializer(): <T>(body: () => Promise<T>) => Promise<T> {
  let last: Promise<unknown> = Promise.resolve();
  return async (body) => {
    const turn = last.then(body, body);
    last = turn.catch(() => {});
    return await turn;
  };
}
