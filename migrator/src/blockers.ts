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
  async read(connection) {
    const open = await connection.rows(
      `SELECT CAST(trx_mysql_thread_id AS CHAR) AS id, TIMESTAMPDIFF(SECOND, trx_started, NOW()) AS seconds
        FROM information_schema.INNODB_TRX ORDER BY trx_started LIMIT 200`,
    );
    const others = new Map((await sessions(connection)).map((session) => [session['id'], session]));
    return open
      .flatMap(({ id, seconds = null }) => {
        const session = others.get(id ?? null);
        return session ? [{ ...session, seconds }] : [];
      })
      .slice(0, 20);
  },
};

const processes: Source = {
  proves: false,
  needs: null,
  read: async (connection) =>
    (await sessions(connection))
      .filter(({ schema }) => schema !== null)
      .sort((a, b) => Number(b['seconds']) - Number(a['seconds']))
      .slice(0, 20),
};

/** Other sessions on this schema or on none. Not by information_schema: there MySQL fails (3854) as soon as any session's statement has an emoji in it. */
async function sessions(connection: Connection): Promise<readonly Row[]> {
  const all = await connection.rows('SHOW FULL PROCESSLIST');
  return all
    .filter(
      (row) =>
        row['Id'] !== String(connection.id) &&
        (row['db'] === connection.settings.name || row['db'] === null) &&
        !['Daemon', 'Binlog Dump'].includes(String(row['Command'])),
    )
    .map((row) => ({
      id: row['Id'] ?? null,
      user: row['User'] ?? null,
      host: row['Host'] ?? null,
      schema: row['db'] ?? null,
      seconds: row['Time'] ?? null,
      info: row['Info'] ?? null,
    }));
}
