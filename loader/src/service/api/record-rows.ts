import type { Connection, Row, Value } from '@tableset/common/database/connection.ts';
import { classifyFault } from '@tableset/common/database/errno.ts';
import { serviceError } from '../errors.ts';
import { isoTime } from '../run-rows.ts';
import type { RecordSettings } from './record-schema.ts';

/** A row of `tableset_service_archival`. Times are ISO 8601 in UTC. */
export interface ArchivalRecord {
  readonly id: string;
  readonly version: string;
  readonly databaseKey: string;
  readonly table: string;
  readonly enabled: boolean;
  readonly settings: RecordSettings;
  /** Sealed; null: none was given. */
  readonly primaryPassword: string | null;
  readonly archivalPassword: string | null;
  readonly createdAt: string;
  readonly createdBy: string;
  readonly updatedAt: string;
  readonly updatedBy: string;
}

/** What is written of a record. */
export type RecordContent = Pick<ArchivalRecord, 'databaseKey' | 'table' | 'enabled' | 'settings'>;
export type SealedPasswords = Pick<ArchivalRecord, 'primaryPassword' | 'archivalPassword'>;

const columns =
  'id, version, database_key, table_name, enabled, settings, primary_password, archival_password, created_at, created_by, updated_at, updated_by';

export async function findRecord(connection: Connection, id: string, lock = false): Promise<ArchivalRecord | null> {
  const row = await connection.row(
    `SELECT ${columns} FROM tableset_service_archival WHERE id = ?${lock ? ' FOR UPDATE' : ''}`,
    [id],
  );
  return row ? recordOf(row) : null;
}

/** Oldest first. */
export async function listRecords(
  connection: Connection,
  { after, limit }: { readonly after: string; readonly limit: number },
): Promise<readonly ArchivalRecord[]> {
  const rows = await connection.rows(
    `SELECT ${columns} FROM tableset_service_archival WHERE id > ? ORDER BY id LIMIT ${Math.trunc(limit)}`,
    [after],
  );
  return rows.map(recordOf);
}

/** Writes a new one without its passwords, which are sealed for its id. @throws AppError SERVICE_CONFLICT */
export async function insertRecord(connection: Connection, content: RecordContent, by: string): Promise<string> {
  await orConflict(content, () =>
    connection.run(
      `INSERT INTO tableset_service_archival (version, database_key, table_name, enabled, settings, created_at, created_by, updated_at, updated_by)
       VALUES (1, ?, ?, ?, ?, UTC_TIMESTAMP(6), ?, UTC_TIMESTAMP(6), ?)`,
      [...contentValues(content), by, by],
    ),
  );
  return String((await connection.row('SELECT LAST_INSERT_ID() AS id'))?.['id']);
}

/** Replaces one that was read under a lock. @throws AppError SERVICE_CONFLICT */
export async function updateRecord(
  connection: Connection,
  id: string,
  content: RecordContent,
  passwords: SealedPasswords,
  by: string,
): Promise<void> {
  await orConflict(content, () =>
    connection.run(
      `UPDATE tableset_service_archival SET version = version + 1, database_key = ?, table_name = ?, enabled = ?, settings = ?,
         primary_password = ?, archival_password = ?, updated_at = UTC_TIMESTAMP(6), updated_by = ? WHERE id = ?`,
      [...contentValues(content), passwords.primaryPassword, passwords.archivalPassword, by, id],
    ),
  );
}

export async function writePasswords(connection: Connection, id: string, passwords: SealedPasswords): Promise<void> {
  await connection.run(
    'UPDATE tableset_service_archival SET primary_password = ?, archival_password = ? WHERE id = ?',
    [passwords.primaryPassword, passwords.archivalPassword, id],
  );
}

export async function deleteRecord(connection: Connection, id: string): Promise<void> {
  await connection.run('DELETE FROM tableset_service_archival WHERE id = ?', [id]);
}

/** Ids of records with a password that is sealed by another key, a bounded number. */
export async function recordsOfOtherKeys(connection: Connection, keyId: string): Promise<readonly string[]> {
  const own = `v1:${keyId}:%`;
  const rows = await connection.rows(
    'SELECT id FROM tableset_service_archival WHERE primary_password NOT LIKE ? OR archival_password NOT LIKE ? ORDER BY id LIMIT 1000',
    [own, own],
  );
  return rows.map((row) => String(row['id']));
}

function contentValues({ databaseKey, table, enabled, settings }: RecordContent): readonly Value[] {
  return [databaseKey, table, enabled, JSON.stringify(settings)];
}

async function orConflict({ databaseKey, table }: RecordContent, write: () => Promise<unknown>): Promise<void> {
  try {
    await write();
  } catch (error) {
    if (classifyFault(error) !== 'duplicate-key') throw error;
    throw serviceError('SERVICE_CONFLICT', `another record archives ${table} of ${databaseKey} already`, {
      cause: error,
      hint: 'Change that one, or delete it first.',
    });
  }
}

function recordOf(row: Row): ArchivalRecord {
  const text = (name: string) => row[name]?.toString() ?? null;
  return {
    id: String(row['id']),
    version: String(row['version']),
    databaseKey: String(row['database_key']),
    table: String(row['table_name']),
    enabled: String(row['enabled']) === '1',
    // Only this module writes it, from what the schema gave.
    settings: JSON.parse(String(row['settings'])) as RecordSettings,
    primaryPassword: text('primary_password'),
    archivalPassword: text('archival_password'),
    createdAt: isoTime(text('created_at')) ?? '',
    createdBy: String(row['created_by']),
    updatedAt: isoTime(text('updated_at')) ?? '',
    updatedBy: String(row['updated_by']),
  };
}
