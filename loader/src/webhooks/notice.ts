import { createHmac } from 'node:crypto';

/** What a run changed in one table, once it is committed. */
export interface TableChange {
  readonly runId: string;
  readonly table: string;
  readonly inserted: number;
  readonly updated: number;
  readonly deleted: number;
  /** When it was committed, ISO 8601 in UTC. */
  readonly at: string;
}

/** One notice as it is sent: the same bytes at every try. */
export interface Notice {
  /** The same for every try of the same change, so that a receiver can tell a repetition. */
  readonly id: string;
  readonly table: string;
  readonly body: Buffer;
}

export function noticeOf(change: TableChange): Notice {
  const id = `${change.runId}:${change.table}`;
  const { runId, table, inserted, updated, deleted, at } = change;
  const body = JSON.stringify({ id, event: 'table.changed', runId, table, inserted, updated, deleted, at });
  return { id, table, body: Buffer.from(body) };
}

/**
 * The value of the Tableset-Signature header: `t=SECONDS,v1=HEX`, where HEX is the HMAC-SHA256 of `SECONDS.BODY`. The receiver computes the
 * same over the raw body, compares in constant time, and refuses times that are more than a few minutes off (a replay).
 */
export function signatureHeader(secret: string, body: Buffer, seconds: number): string {
  const digest = createHmac('sha256', secret).update(`${seconds}.`).update(body).digest('hex');
  return `t=${seconds},v1=${digest}`;
}
