import type { Connection, Row, Value } from '@tableset/common/database/connection.ts';
import type { Notice } from '../../webhooks/notice.ts';
import { isoTime } from '../run-rows.ts';

/** waiting → told | dead; a dead one that is replayed waits again. */
export const deliveryStates = ['waiting', 'told', 'dead'] as const;
export type DeliveryState = (typeof deliveryStates)[number];

/** One row of `tableset_service_deliveries`: one notice for one receiver. Times are ISO 8601 in UTC. */
export interface StoredDelivery {
  readonly id: string;
  readonly receiver: string;
  readonly notice: Notice;
  /** Of the service. */
  readonly runId: string;
  readonly state: DeliveryState;
  readonly token: string;
  readonly attempts: number;
  readonly attemptsMax: number;
  readonly nextAt: string;
  readonly reason: string | null;
  readonly createdAt: string;
  readonly finishedAt: string | null;
}

const columns =
  'id, receiver, event_id, run_id, table_name, body, state, token, attempts, attempts_max, next_at, reason, created_at, finished_at';

/** Notices of one receiver that may wait at once; those beyond are dead letters from the start. */
export const waitingMax = 10_000;

/** Puts notices into the outbox; one that is there already stays as it is. */
export async function insertDeliveries(
  connection: Connection,
  receiver: string,
  runId: string,
  notices: readonly Notice[],
  attemptsMax: number,
): Promise<void> {
  const count = await connection.row(
    "SELECT COUNT(*) AS waiting FROM tableset_service_deliveries WHERE state = 'waiting' AND receiver = ?",
    [receiver],
  );
  let room = waitingMax - Number(count?.['waiting']);
  for (const { id, table, body } of notices) {
    const fits = room-- > 0;
    // Updating a column to itself leaves a row that is there as it is, and unlike IGNORE hides no other fault.
    await connection.run(
      `INSERT INTO tableset_service_deliveries (receiver, event_id, run_id, table_name, body, state, token, attempts, attempts_max, next_at, reason, created_at, finished_at)
       VALUES (?, ?, ?, ?, ?, ?, 0, 0, ?, UTC_TIMESTAMP(6), ?, UTC_TIMESTAMP(6), ${fits ? 'NULL' : 'UTC_TIMESTAMP(6)'})
       ON DUPLICATE KEY UPDATE state = state`,
      [
        ...[receiver, id, runId, table, body.toString('utf8'), fits ? 'waiting' : 'dead', attemptsMax],
        fits ? null : `${waitingMax} others wait for this receiver`,
      ],
    );
  }
}

/** The oldest notice that waits for each receiver, where it is due: each is told in order. */
export async function dueHeads(connection: Connection): Promise<readonly StoredDelivery[]> {
  const names = columns
    .split(', ')
    .map((name) => `each_one.${name}`)
    .join(', ');
  const rows = await connection.rows(
    `SELECT ${names} FROM (SELECT MIN(id) AS id FROM tableset_service_deliveries WHERE state = 'waiting' GROUP BY receiver) head
     JOIN tableset_service_deliveries each_one ON each_one.id = head.id WHERE each_one.next_at <= UTC_TIMESTAMP(6)`,
  );
  return rows.map(stored);
}

/** The same for one receiver. */
export async function dueHead(connection: Connection, receiver: string): Promise<StoredDelivery | null> {
  const row = await connection.row(
    `SELECT ${columns}, next_at <= UTC_TIMESTAMP(6) AS due FROM tableset_service_deliveries WHERE state = 'waiting' AND receiver = ? ORDER BY id LIMIT 1`,
    [receiver],
  );
  return row && String(row['due']) === '1' ? stored(row) : null;
}

/** Takes a notice for one try, for as long as that may take. Null: another was quicker. */
export async function claimDelivery(
  connection: Connection,
  { id, token }: StoredDelivery,
  leaseSeconds: number,
): Promise<StoredDelivery | null> {
  const { affectedRows } = await connection.run(
    `UPDATE tableset_service_deliveries SET token = token + 1, attempts = attempts + 1, next_at = UTC_TIMESTAMP(6) + INTERVAL ? SECOND
     WHERE id = ? AND token = ? AND state = 'waiting' AND next_at <= UTC_TIMESTAMP(6)`,
    [leaseSeconds, id, token],
  );
  return affectedRows === 1 ? await findDelivery(connection, id) : null;
}

export type TryEnd =
  | { readonly outcome: 'told' }
  | { readonly outcome: 'dead'; readonly reason: string }
  | { readonly outcome: 'again'; readonly reason: string; readonly afterSeconds: number }
  /** It was stopped: the try does not count. */
  | { readonly outcome: 'released' };

/** Writes down how a try ended, unless another has the notice by now. */
export async function endTry(connection: Connection, { id, token }: StoredDelivery, end: TryEnd): Promise<void> {
  const write = async (assignments: string, values: readonly Value[]) => {
    await connection.run(
      `UPDATE tableset_service_deliveries SET ${assignments}, token = token + 1 WHERE id = ? AND token = ? AND state = 'waiting'`,
      [...values, id, token],
    );
  };
  switch (end.outcome) {
    case 'told':
      return await write("state = 'told', reason = NULL, finished_at = UTC_TIMESTAMP(6)", []);
    case 'dead':
      return await write("state = 'dead', reason = ?, finished_at = UTC_TIMESTAMP(6)", [end.reason.slice(0, 500)]);
    case 'again':
      return await write('reason = ?, next_at = UTC_TIMESTAMP(6) + INTERVAL ? SECOND', [
        end.reason.slice(0, 500),
        end.afterSeconds,
      ]);
    case 'released':
      return await write('attempts = attempts - 1, next_at = UTC_TIMESTAMP(6)', []);
    default:
      return end satisfies never;
  }
}

/** Lets a dead letter wait again, with all its tries. @returns false if it is not dead */
export async function replayDelivery(connection: Connection, id: string, attemptsMax: number): Promise<boolean> {
  const { affectedRows } = await connection.run(
    `UPDATE tableset_service_deliveries SET state = 'waiting', token = token + 1, attempts = 0, attempts_max = ?, next_at = UTC_TIMESTAMP(6), finished_at = NULL
     WHERE id = ? AND state = 'dead'`,
    [attemptsMax, id],
  );
  return affectedRows === 1;
}

/** Dead letters that are replayed at once. */
export const replayMax = 1_000;

/**
 * Lets dead letters wait again, the oldest first, as many as there is room for, at most `replayMax`.
 * @param only those of a receiver, or of a run of the service
 * @returns how many wait again, and how many of these dead letters are left
 */
export async function replayDeliveries(
  connection: Connection,
  only: { readonly receiver?: string | undefined; readonly run?: string | undefined },
  attemptsMax: number,
): Promise<{ readonly replayed: number; readonly left: number }> {
  const conditions = [
    "state = 'dead'",
    ...(only.receiver ? ['receiver = ?'] : []),
    ...(only.run ? ['run_id = ?'] : []),
  ];
  const dead = conditions.join(' AND ');
  const values = [...(only.receiver ? [only.receiver] : []), ...(only.run ? [only.run] : [])];
  const fullest = await connection.row(
    "SELECT COALESCE(MAX(waiting), 0) AS waiting FROM (SELECT COUNT(*) AS waiting FROM tableset_service_deliveries WHERE state = 'waiting' GROUP BY receiver) each_one",
  );
  const room = Math.min(replayMax, Math.max(0, waitingMax - Number(fullest?.['waiting'])));
  const { affectedRows } = await connection.run(
    `UPDATE tableset_service_deliveries SET state = 'waiting', token = token + 1, attempts = 0, attempts_max = ?, next_at = UTC_TIMESTAMP(6), finished_at = NULL
     WHERE ${dead} ORDER BY id LIMIT ${room}`,
    [attemptsMax, ...values],
  );
  const rest = await connection.row(`SELECT COUNT(*) AS dead FROM tableset_service_deliveries WHERE ${dead}`, values);
  return { replayed: affectedRows, left: Number(rest?.['dead']) };
}

export async function findDelivery(connection: Connection, id: string): Promise<StoredDelivery | null> {
  const row = await connection.row(`SELECT ${columns} FROM tableset_service_deliveries WHERE id = ?`, [id]);
  return row ? stored(row) : null;
}

export interface DeliveryFilter {
  readonly state?: DeliveryState | undefined;
  /** Only those with a smaller id: the next page. */
  readonly before?: string | undefined;
  readonly limit: number;
}

/** Newest first. */
export async function listDeliveries(
  connection: Connection,
  { state, before, limit }: DeliveryFilter,
): Promise<readonly StoredDelivery[]> {
  const conditions = [...(state ? ['state = ?'] : []), ...(before ? ['id < ?'] : [])];
  const rows = await connection.rows(
    `SELECT ${columns} FROM tableset_service_deliveries ${conditions.length === 0 ? '' : `WHERE ${conditions.join(' AND ')}`} ORDER BY id DESC LIMIT ${Math.trunc(limit)}`,
    [...(state ? [state] : []), ...(before ? [before] : [])],
  );
  return rows.map(stored);
}

/** Deletes what ended long ago, a bounded number at once. @returns how many went */
export async function pruneDeliveries(connection: Connection, days: number): Promise<number> {
  const { affectedRows } = await connection.run(
    'DELETE FROM tableset_service_deliveries WHERE finished_at < UTC_TIMESTAMP(6) - INTERVAL ? DAY ORDER BY finished_at LIMIT 1000',
    [days],
  );
  return affectedRows;
}

function stored(row: Row): StoredDelivery {
  const text = (name: string) => row[name]?.toString() ?? '';
  return {
    id: text('id'),
    receiver: text('receiver'),
    notice: { id: text('event_id'), table: text('table_name'), body: Buffer.from(text('body')) },
    runId: text('run_id'),
    // Only this module writes it.
    state: text('state') as DeliveryState,
    token: text('token'),
    attempts: Number(row['attempts']),
    attemptsMax: Number(row['attempts_max']),
    nextAt: isoTime(text('next_at')) ?? '',
    reason: row['reason'] === null ? null : text('reason'),
    createdAt: isoTime(text('created_at')) ?? '',
    finishedAt: row['finished_at'] === null ? null : isoTime(text('finished_at')),
  };
}
