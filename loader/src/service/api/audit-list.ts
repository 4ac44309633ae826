import type { Connection, Value } from '@tableset/common/database/connection.ts';
import { isoTime } from '../run-rows.ts';

/** One row of the audit trail. */
export interface AuditRow {
  readonly id: string;
  /** ISO 8601 in UTC. */
  readonly at: string;
  readonly actor: string;
  readonly action: string;
  readonly subject: string;
  readonly details: Readonly<Record<string, unknown>>;
}

export interface AuditFilter {
  readonly actor?: string | undefined;
  readonly action?: string | undefined;
  /** Only rows with a smaller id. */
  readonly before?: string | undefined;
  readonly limit: number;
}

/** Newest first. */
export async function listAudit(connection: Connection, filter: AuditFilter): Promise<readonly AuditRow[]> {
  const conditions: string[] = [];
  const values: Value[] = [];
  const where = (condition: string, value: string | undefined) => {
    if (value === undefined) return;
    conditions.push(condition);
    values.push(value);
  };
  where('actor = ?', filter.actor);
  where('action = ?', filter.action);
  where('id < ?', filter.before);
  const rows = await connection.rows(
    `SELECT id, at, actor, action, subject, details FROM tableset_service_audit ${conditions.length === 0 ? '' : `WHERE ${conditions.join(' AND ')}`}
     ORDER BY id DESC LIMIT ${Math.trunc(filter.limit)}`,
    values,
  );
  return rows.map((row) => ({
    id: String(row['id']),
    at: isoTime(String(row['at'])) ?? '',
    actor: String(row['actor']),
    action: String(row['action']),
    subject: String(row['subject']),
    // Written by `audit.ts` from an object.
    details: JSON.parse(String(row['details'])) as Record<string, unknown>,
  }));
}
