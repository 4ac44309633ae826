import { hostname } from 'node:os';
import { AppError, commonError } from '../errors.ts';
import type { Connection } from './connection.ts';
import { classifyFault, serverErrno } from './errno.ts';
import {
  type LedgerVersion,
  ledgerComment,
  ledgerFormat,
  ledgerMark,
  ledgerRevision,
  ledgerVersion,
} from './ledger-format.ts';
import { createLedgerTable, ledgerTables, ledgerView } from './ledger-schema.ts';
import { quoteIdentifier } from './quoting.ts';

/** The ledger's format in the schema, or null if it is not there (or only in part). */
export async function readLedgerFormat(connection: Connection): Promise<number | null> {
  return (await readLedgerVersion(connection))?.format ?? null;
}

async function readLedgerVersion(connection: Connection): Promise<LedgerVersion | null> {
  const row = await connection.row(
    'SELECT TABLE_COMMENT AS comment FROM information_schema.TABLES WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = ?',
    [ledgerMark],
  );
  return row ? ledgerVersion(String(row['comment'])) : null;
}

/** True if the ledger is not there, or lacks what this version would add to it. */
export async function isLedgerOutdated(connection: Connection): Promise<boolean> {
  const version = await readLedgerVersion(connection);
  return version === null || (version.format === ledgerFormat && version.revision < ledgerRevision);
}

/** Others may make the same things at the same time: then it is looked again. */
const attemptsMax = 5;

/**
 * Makes the ledger if it is missing, and adds to an older one what it lacks; call it under the lock. Again and again it does no harm. One that a
 * newer version added to is left alone.
 * @param least revision that the caller can do with; by default the newest
 * @returns what the ledger still lacks because the account has no right to make it; the caller can do without
 * @throws AppError LEDGER_FORMAT if a newer version wrote it that this one does not understand; LEDGER_INCOMPLETE
 */
export async function ensureLedger(connection: Connection, least: number = ledgerRevision): Promise<readonly string[]> {
  const version = await readLedgerVersion(connection);
  if (version !== null && version.format > ledgerFormat) {
    throw commonError(
      'LEDGER_FORMAT',
      `the ledger in schema ${connection.settings.name} has format ${version.format}; this version knows up to ${ledgerFormat}`,
    );
  }
  if (version !== null && version.revision >= ledgerRevision) return [];
  for (let attempt = 1; ; attempt++) {
    const lacking = await findLacking(connection);
    try {
      for (const { sql } of lacking) await connection.run(sql);
      // One that was made just now has it already.
      if (!lacking.some(({ what }) => what === ledgerMark))
        await connection.run(`ALTER TABLE ${ledgerMark} COMMENT = '${ledgerComment}'`);
      return [];
    } catch (error) {
      // Without any ledger it is a matter of rights alone, and the server's refusal names the first table.
      if (version !== null && classifyFault(error) === 'grant-missing')
        return withoutRights(connection, await findLacking(connection), least, error);
      if (attempt >= attemptsMax || !madeByOthers.has(serverErrno(error) ?? 0)) throw error;
    }
  }
}

/** 1050 table, 1060 column, 1061 key: it is there already. */
const madeByOthers = new Set([1050, 1060, 1061]);

interface Lacking {
  /** The first revision that had any of it. */
  readonly since: number;
  /** For people. */
  readonly what: string;
  readonly sql: string;
}

/** What is not there, as far as the account can see, in the order in which it is to be made: the table with the mark comes last. */
async function findLacking(connection: Connection): Promise<readonly Lacking[]> {
  const columns = await present(connection, 'COLUMNS', 'COLUMN_NAME');
  const keys = await present(connection, 'STATISTICS', 'INDEX_NAME');
  const lacking = ledgerTables.flatMap((table): Lacking | [] => {
    const { name, parts } = table;
    const there = columns.get(name);
    if (there === undefined) return { since: table.since, what: name, sql: createLedgerTable(table) };
    const missing = parts.filter(
      (part) => !(part.kind === 'column' ? there : (keys.get(name) ?? new Set())).has(part.name),
    );
    if (missing.length === 0) return [];
    return {
      since: Math.min(...missing.map((part) => part.since)),
      what: `${name} (${missing.map((part) => part.name).join(', ')})`,
      sql: `ALTER TABLE ${name} ${missing.map((part) => `ADD ${part.sql}`).join(', ')}`,
    };
  });
  if (columns.has(ledgerView.name)) return lacking;
  // Apps read it; no verb needs it.
  const view = { since: Number.POSITIVE_INFINITY, what: ledgerView.name, sql: ledgerView.sql };
  const marked = lacking.findIndex(({ what }) => what === ledgerMark);
  return marked < 0 ? [...lacking, view] : lacking.toSpliced(marked, 0, view);
}

async function present(
  connection: Connection,
  view: 'COLUMNS' | 'STATISTICS',
  column: string,
): Promise<ReadonlyMap<string, ReadonlySet<string>>> {
  const found = new Map<string, Set<string>>();
  const rows = await connection.rows(
    `SELECT TABLE_NAME AS name, ${column} AS part FROM information_schema.${view} WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME LIKE 'tableset\\_%'`,
  );
  for (const row of rows) {
    const name = String(row['name']);
    found.set(name, (found.get(name) ?? new Set()).add(String(row['part'])));
  }
  return found;
}

/** Whoever may not make what is lacking goes on without it, if an older ledger does as well. */
function withoutRights(
  connection: Connection,
  lacking: readonly Lacking[],
  least: number,
  cause: unknown,
): readonly string[] {
  const needed = lacking.filter(({ since }) => since <= least).map(({ what }) => what);
  if (needed.length === 0) return lacking.map(({ what }) => what);
  const { name, user } = connection.settings;
  throw commonError(
    'LEDGER_INCOMPLETE',
    `the ledger in schema ${name} lacks ${needed.join(', ')}, and user ${user} may not add it`,
    {
      cause,
      hint: `Run migrator up of the same version first, or for this one run GRANT SELECT, INSERT, UPDATE, CREATE, ALTER, CREATE VIEW, DROP ON ${quoteIdentifier(name)}.* to the account.`,
      details: { missing: needed },
    },
  );
}

export interface RunStart {
  /** migrate, load, archive … */
  readonly kind: string;
  /** cli, init, cron, manual, service. */
  readonly trigger: string;
  readonly version: string;
}

/**
 * Writes the row of a run that begins, and returns its id. Call it on the connection that holds the lock.
 * @param beside connections of other runs that work at the same time
 */
export async function startRun(connection: Connection, run: RunStart, beside: readonly number[] = []): Promise<string> {
  // Whoever holds the lock is alone but for those: other runs that never ended were killed.
  const others = beside.length === 0 ? '' : ` AND connection_id NOT IN (${beside.map(() => '?').join(', ')})`;
  await connection.run(
    `UPDATE tableset_runs SET finished_at = UTC_TIMESTAMP(6), outcome = 'lost' WHERE finished_at IS NULL${others}`,
    beside,
  );
  await connection.run(
    'INSERT INTO tableset_runs (kind, `trigger`, host, connection_id, version, started_at) VALUES (?, ?, ?, CONNECTION_ID(), ?, UTC_TIMESTAMP(6))',
    [run.kind, run.trigger, hostname(), run.version],
  );
  const row = await connection.row('SELECT LAST_INSERT_ID() AS id');
  return String(row?.['id']);
}

export interface RunEnd {
  readonly outcome: string;
  readonly counts: unknown;
  readonly sourceHash?: string | null;
  readonly settingsHash?: string | null;
  readonly error?: AppError | null;
}

/** Completes the row of a run. */
export async function finishRun(connection: Connection, id: string, end: RunEnd): Promise<void> {
  await connection.run(
    'UPDATE tableset_runs SET finished_at = UTC_TIMESTAMP(6), outcome = ?, counts = ?, source_hash = ?, settings_hash = ?, error_code = ?, error_message = ? WHERE id = ?',
    [
      end.outcome,
      JSON.stringify(end.counts),
      end.sourceHash ?? null,
      end.settingsHash ?? null,
      end.error?.code ?? null,
      end.error?.message.slice(0, 4000) ?? null,
      id,
    ],
  );
}

/** True if the failure means that the ledger, or a table, is not there yet: a bounded wait, never a refusal. */
export function isMissingTable(error: unknown): boolean {
  return (
    classifyFault(error) === 'missing-table' ||
    (error instanceof AppError && classifyFault(error.cause) === 'missing-table')
  );
}
