import type { Connection, Row } from '@tableset/common/database/connection.ts';
import { isoTime } from '../run-rows.ts';
import { type Keyring, keyIdOf } from '../security/keyring.ts';
import type { ReceiverFilter } from './receivers.ts';

/** Receivers that the API may make. */
export const receiversMax = 100;

/** One row of `tableset_service_webhooks`. */
export interface StoredReceiver {
  readonly id: string;
  readonly origin: string;
  readonly sealedUrl: string;
  readonly sealedSecret: string;
  readonly tables: readonly string[] | null;
  readonly timeoutMs: number;
  /** ISO 8601 in UTC. */
  readonly createdAt: string;
  readonly createdBy: string;
}

export interface NewReceiver {
  readonly url: URL;
  readonly secret: string;
  readonly tables: readonly string[] | null;
  readonly timeoutSeconds: number;
  readonly by: string;
}

const columns = 'id, origin, url, secret, table_names, timeout_seconds, created_at, created_by';

/** What sealed text of the API's receiver belongs to. */
export function urlPlace(id: string): string {
  return `webhook ${id} url`;
}

export function secretPlace(id: string): string {
  return `webhook ${id} secret`;
}

export async function receiverFilters(connection: Connection): Promise<readonly ReceiverFilter[]> {
  return (await listReceivers(connection)).map(({ id, tables }) => ({
    key: `api:${id}`,
    tables: tables && new Set(tables),
  }));
}

/** Oldest first; there are few. */
export async function listReceivers(connection: Connection): Promise<readonly StoredReceiver[]> {
  const rows = await connection.rows(
    `SELECT ${columns} FROM tableset_service_webhooks ORDER BY id LIMIT ${receiversMax}`,
  );
  return rows.map(stored);
}

export async function findReceiver(connection: Connection, id: string): Promise<StoredReceiver | null> {
  const row = await connection.row(`SELECT ${columns} FROM tableset_service_webhooks WHERE id = ?`, [id]);
  return row ? stored(row) : null;
}

/** @returns its id; null: there are as many as there may be */
export async function insertReceiver(
  connection: Connection,
  { url, secret, tables, timeoutSeconds, by }: NewReceiver,
  keys: Keyring,
): Promise<string | null> {
  const count = await connection.row('SELECT COUNT(*) AS receivers FROM tableset_service_webhooks');
  if (Number(count?.['receivers']) >= receiversMax) return null;
  await connection.run(
    "INSERT INTO tableset_service_webhooks (origin, url, secret, table_names, timeout_seconds, created_at, created_by) VALUES (?, '', '', ?, ?, UTC_TIMESTAMP(6), ?)",
    [url.origin, tables && JSON.stringify(tables), timeoutSeconds, by.slice(0, 128)],
  );
  const id = String((await connection.row('SELECT LAST_INSERT_ID() AS id'))?.['id']);
  // Sealed text names the row that it belongs to.
  await writeSealed(connection, id, keys.seal(url.href, urlPlace(id)), keys.seal(secret, secretPlace(id)));
  return id;
}

/** Seals what another key sealed with the newest one. @returns how many could not be read */
export async function sealAnew(connection: Connection, keys: Keyring): Promise<number> {
  let unreadable = 0;
  for (const { id, sealedUrl, sealedSecret } of await listReceivers(connection)) {
    if (keyIdOf(sealedUrl) === keys.newest && keyIdOf(sealedSecret) === keys.newest) continue;
    try {
      const url = keys.open(sealedUrl, urlPlace(id));
      const secret = keys.open(sealedSecret, secretPlace(id));
      await writeSealed(connection, id, keys.seal(url, urlPlace(id)), keys.seal(secret, secretPlace(id)));
    } catch (error) {
      if (!(error instanceof Error && 'code' in error && error.code === 'SERVICE_SECRET_UNREADABLE')) throw error;
      unreadable++;
    }
  }
  return unreadable;
}

/** @returns false: there is no such receiver */
export async function deleteReceiver(connection: Connection, id: string): Promise<boolean> {
  return (await connection.run('DELETE FROM tableset_service_webhooks WHERE id = ?', [id])).affectedRows === 1;
}

async function writeSealed(connection: Connection, id: string, url: string, secret: string): Promise<void> {
  await connection.run('UPDATE tableset_service_webhooks SET url = ?, secret = ? WHERE id = ?', [url, secret, id]);
}

function stored(row: Row): StoredReceiver {
  const text = (name: string) => row[name]?.toString() ?? '';
  return {
    id: text('id'),
    origin: text('origin'),
    sealedUrl: text('url'),
    sealedSecret: text('secret'),
    // Written by this module from such a list.
    tables: row['table_names'] === null ? null : (JSON.parse(text('table_names')) as string[]),
    timeoutMs: Number(row['timeout_seconds']) * 1000,
    createdAt: isoTime(text('created_at')) ?? '',
    createdBy: text('created_by'),
  };
}
