import type { Connection, Row } from '@tableset/common/database/connection.ts';
import type { StatementTarget } from './core/classify-statement.ts';
import type { DatabaseObject } from './step.ts';

/** Who is, or may be, in the way. */
export interface Blockers {
  /** One phrase for each session. */
  readonly lines: readonly string[];
  /** What to do or to grant, or null for the usual remedy. */
  readonly hint: string | null;
}

const listedMax = 5;

/**
 * Looks for the session whose locks a statement did not get. MySQL's performance_schema proves it, as do MariaDB's where it is
 * on and its plugin metadata_lock_info; elsewhere the open transactions and sessions of the schema are named as candidates.
 */
export async function describeBlockers(
  connection: Connection,
  objects: readonly DatabaseObject[],
  target: StatementTarget | undefined,
): Promise<Blockers> {
  const names = new Set([...objects.map((object) => object.name), ...(target ? [target.name] : [])]);
  const missing: string[] = [];
  for (const source of [metadataLocks, metadataLockPlugin, openTransactions, processes]) {
    const found = await source.read(connection).catch(() => null);
    if (found === null) {
      if (source.needs !== null) missing.push(source.needs);
      continue;
    }
    const matching = found.filter((row) => names.has(String(row['object'])));
    const rows = (matching.length > 0 ? matching : found).slice(0, listedMax);
    if (rows.length === 0) continue;
    const proven = source.proves && matching.length > 0;
    return { lines: rows.map((row) => sentence(row, proven)), hint: hintOf(rows, proven, missing) };
  }
  return {
    lines: ['which session holds them cannot be seen with the grants of this account'],
    hint: `Grant ${missing.join(' or ')} to the migrator's account to have the session named.`,
  };
}

function sentence(row: Row, proven: boolean): string {
  const who = `connection ${row['id']} (${row['user']}@${row['host']})`;
  const what = row['object'] ? `${proven ? 'holds' : 'may hold'} ${row['lock']} on ${row['object']}` : 'may hold it';
  const doing = row['info'] ? `runs: ${String(row['info']).replace(/\s+/g, ' ').slice(0, 120)}` : 'is idle';
  return `${who} ${what}, ${doing}, since ${row['seconds'] ?? '?'} s`;
}

function hintOf(rows: readonly Row[], proven: boolean, missing: readonly string[]): string | null {
  const ids = [...new Set(rows.map((row) => String(row['id'])))];
  if (proven) return `Let it finish, or end it with KILL ${ids[0]}, then run again.`;
  return missing.length === 0
    ? null
    : `These are candidates; to have the one named that holds the lock, grant ${missing.join(' or ')}.`;
}

interface Source {
  /** Whether it shows locks rather than who might have them. */
  readonly proves: boolean;
  /** What the account would need to read it; null if nothing helps. */
  readonly needs: string | null;
  read(connection: Connection): Promise<readonly Row[]>;
}

const metadataLocks: Source = {
  proves: true,
  needs: 'SELECT ON performance_schema.metadata_locks and SELECT ON performance_schema.threads',
  read: (connection) =>
    connection.rows(
      `SELECT t.PROCESSLIST_ID AS id, t.PROCESSLIST_USER AS user, t.PROCESSLIST_HOST AS host, t.PROCESSLIST_TIME AS seconds,
        t.PROCESSLIST_INFO AS info, l.LOCK_TYPE AS \`lock\`, l.OBJECT_NAME AS object
        FROM performance_schema.metadata_locks AS l JOIN performance_schema.threads AS t ON t.THREAD_ID = l.OWNER_THREAD_ID
        WHERE l.LOCK_STATUS = 'GRANTED' AND l.OBJECT_SCHEMA = ? AND l.OBJECT_NAME IS NOT NULL AND t.PROCESSLIST_ID <> CONNECTION_ID()
        ORDER BY t.PROCESSLIST_TIME DESC LIMIT 200`,
      [connection.settings.name],
    ),
};

const metadataLockPlugin: Source = {
  proves: true,
  needs: null,
  read: (connection) =>
    connection.rows(
      `SELECT p.ID AS id, p.USER AS user, p.HOST AS host, p.TIME AS seconds, p.INFO AS info, l.LOCK_MODE AS \`lock\`, l.TABLE_NAME AS object
        FROM information_schema.METADATA_LOCK_INFO AS l JOIN information_schema.PROCESSLIST AS p ON p.ID = l.THREAD_ID
        WHERE l.TABLE_SCHEMA = ? AND p.ID <> CONNECTION_ID() ORDER BY p.TIME DESC LIMIT 200`,
      [connection.settings.name],
    ),
};

const openTransactions: Source = {
  proves: false,
  needs: 'PROCESS ON *.*',
  read: (connection) =>
    connection.rows(
      `SELECT p.ID AS id, p.USER AS user, p.HOST AS host, TIMESTAMPDIFF(SECOND, x.trx_started, NOW()) AS seconds, p.INFO AS info
        FROM information_schema.INNODB_TRX AS x JOIN information_schema.PROCESSLIST AS p ON p.ID = x.trx_mysql_thread_id
        WHERE p.ID <> CONNECTION_ID() AND (p.DB = ? OR p.DB IS NULL) ORDER BY x.trx_started LIMIT 20`,
      [connection.settings.name],
    ),
};

const processes: Source = {
  proves: false,
  needs: null,
  read: (connection) =>
    connection.rows(
      `SELECT ID AS id, USER AS user, HOST AS host, TIME AS seconds, INFO AS info FROM information_schema.PROCESSLIST
        WHERE ID <> CONNECTION_ID() AND DB = ? AND COMMAND NOT IN ('Daemon', 'Binlog Dump') ORDER BY TIME DESC LIMIT 20`,
      [connection.settings.name],
    ),
};
