import { connect } from '@tableset/common/database/connect.ts';
import type { Connection } from '@tableset/common/database/connection.ts';
import { classifyFault, type DatabaseFault, serverErrno } from '@tableset/common/database/errno.ts';
import { databaseFailure, excerpt } from '@tableset/common/database/failure.ts';
import { quoteIdentifier } from '@tableset/common/database/quoting.ts';
import { AppError, commonError } from '@tableset/common/errors.ts';
import type { DatabaseSettings } from '@tableset/common/settings/database.ts';
import { readPassword } from '../config/password.ts';
import type { OtherDatabase } from '../config/schema.ts';
import type { QuerySourceSettings } from '../config/source-settings.ts';
import { loaderError } from '../errors.ts';
import { type QueryColumn, queryColumns } from './query-columns.ts';
import { type QueryRow, streamRows } from './query-rows.ts';
import { unknownFingerprint } from './raw-files.ts';
import type { RecordSet, RecordSource, SourceContext } from './source.ts';

/** The server has no room for another row until we read: that may take as long as publishing elsewhere does. */
const readerPatienceSeconds = 3600;
const readOnlyTransaction = 1792;

/** The rows of one reading statement on another database, in one consistent snapshot. */
export function querySource(
  settings: QuerySourceSettings,
  context: Pick<SourceContext, 'databases' | 'env'>,
): RecordSource {
  const name = sourceName(settings.from);
  return {
    kind: 'records',
    describe: () => name,
    fingerprint: async () => unknownFingerprint,
    async open(signal): Promise<RecordSet> {
      const query = readingStatement(settings.query, name);
      const database = context.databases[settings.from];
      if (!database) throw commonError('CONFIG_INVALID', `there is no database ${settings.from} under databases`);
      const connection = await connectTo(settings.from, databaseSettings(settings.from, database, context.env), signal);
      try {
        return await openQuery(connection, query, settings.from, signal);
      } catch (error) {
        connection.destroy();
        // Whatever a stop interrupted, it is the stop that is told of.
        if (signal.aborted) throw signal.reason;
        throw failure(error, connection.settings, query, settings.from);
      }
    },
  };
}

async function openQuery(connection: Connection, query: string, from: string, signal: AbortSignal): Promise<RecordSet> {
  const name = sourceName(from);
  await connection.run(`SET SESSION net_write_timeout=${readerPatienceSeconds}`);
  await connection.run('SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ');
  await connection.run('START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY');
  const columns = await queryColumns(connection, query, name);
  checkColumns(columns, name);
  const sql = columns.some(({ float }) => float) ? withExactFloats(query, columns) : query;
  return {
    columns: columns.map(({ name: column, binary }) => ({ name: column, binary })),
    rows: rowsOf(connection, sql, columns, from, signal),
    [Symbol.asyncDispose]: () => connection[Symbol.asyncDispose](),
  };
}

async function* rowsOf(
  connection: Connection,
  sql: string,
  columns: readonly QueryColumn[],
  from: string,
  signal: AbortSignal,
): AsyncGenerator<readonly QueryRow[], void, undefined> {
  const floats = columns.flatMap(({ float }, index) => (float ? [index] : []));
  try {
    for await (const rows of streamRows(connection, sql, columns, signal)) {
      for (const row of rows) for (const index of floats) row[index] = shortestFloat(row[index] ?? null);
      yield rows;
    }
  } catch (error) {
    if (signal.aborted) throw signal.reason;
    throw failure(error, connection.settings, sql, from);
  } finally {
    // The server notices a closed connection only when it sends the next row, and a query may compute for hours until then.
    if (connection.lost) await endOnServer(connection);
  }
}

async function endOnServer({ settings, id }: Connection): Promise<void> {
  try {
    await using killer = await connect({ ...settings, waitSeconds: 0 });
    await killer.run(`KILL ${id}`);
  } catch {
    // It is gone already, or cannot be reached; either way it is not ours to wait for.
  }
}

/**
 * The statement without what surrounds it. Only its first word is looked at: the read-only transaction refuses the writes that
 * may hide further in, and the protocol takes one statement at a time.
 */
function readingStatement(query: string, name: string): string {
  const statement = query.replace(/[\s;]+$/, '');
  const start = statement.replace(/^(?:\s+|\(|--[ \t].*(?:\n|$)|#.*(?:\n|$)|\/\*(?!!|M!)[\s\S]*?\*\/)*/, '');
  if (!/^(?:select|with)\b/i.test(start))
    throw loaderError('LOAD_QUERY_REFUSED', `${name} does not start with SELECT or WITH`);
  return statement;
}

function checkColumns(columns: readonly QueryColumn[], name: string): void {
  const seen = new Set<string>();
  for (const column of columns) {
    if (column.name === '') throw loaderError('LOAD_QUERY_REFUSED', `${name} has a column without a name`);
    if (seen.has(column.name))
      throw loaderError('LOAD_QUERY_REFUSED', `${name} has two columns of the name ${column.name}`);
    // Characters beyond the basic plane can be in an alias, but not in the quoted name that a derived table's column needs.
    if (column.float && /[\0\u{10000}-\u{10FFFF}]/u.test(column.name)) {
      throw loaderError(
        'LOAD_QUERY_REFUSED',
        `${name} has a column whose name cannot be quoted: ${JSON.stringify(column.name)}`,
      );
    }
    seen.add(column.name);
  }
}

/**
 * FLOAT is printed with six digits (16777216 as 16777200): as DOUBLE the server prints all that it holds. MariaDB then leaves out an
 * ORDER BY without LIMIT, which rows that are told apart by their keys do not need.
 */
function withExactFloats(query: string, columns: readonly QueryColumn[]): string {
  const list = columns.map(({ name, float }) => {
    const column = quoteIdentifier(name);
    return float ? `CAST(q.${column} AS DOUBLE) AS ${column}` : `q.${column}`;
  });
  return `SELECT ${list.join(', ')} FROM (${query}\n) AS q`;
}

/** The shortest decimal that gives the same FLOAT back: 0.10000000149011612 is 0.1. */
export function shortestFloat(text: string | Buffer | null): string | Buffer | null {
  if (typeof text !== 'string') return text;
  const value = Number(text);
  for (let digits = 6; digits <= 9; digits++) {
    const shorter = Number(value.toPrecision(digits));
    if (Math.fround(shorter) === value) return Object.is(shorter, -0) ? '-0' : String(shorter);
  }
  return text;
}

function databaseSettings(name: string, database: OtherDatabase, env: SourceContext['env']): DatabaseSettings {
  const { host, port, user, tls } = database;
  return {
    host,
    port,
    user,
    password: readPassword(`databases.${name}`, database, env),
    name: database.name,
    tls,
    tlsCaFile: database.tlsCaFile,
    waitSeconds: 60,
    singleWriter: false,
  };
}

function sourceName(from: string): string {
  return `query on ${from}`;
}

/** Connects; the remedies of a failure are in this database's section, not in DB_HOST and the like. */
async function connectTo(from: string, settings: DatabaseSettings, signal: AbortSignal): Promise<Connection> {
  try {
    return await connect(settings, { signal });
  } catch (error) {
    const code = (
      [
        'DATABASE_UNREACHABLE',
        'DATABASE_ACCESS_DENIED',
        'DATABASE_GRANT_MISSING',
        'DATABASE_UNKNOWN',
        'DATABASE_TLS',
      ] as const
    ).find((candidate) => error instanceof AppError && error.code === candidate);
    if (code === undefined || !(error instanceof AppError)) throw error;
    throw commonError(code, `${sourceName(from)}: ${error.message}`, {
      cause: error,
      hint: `Check host, port, account, schema name and TLS under databases.${from}.`,
      details: error.details,
    });
  }
}

/** What the server says of the statement itself; a retry does not change it. */
const refusals: readonly DatabaseFault[] = ['other', 'missing-table', 'unknown-schema', 'grant-missing'];

function failure(error: unknown, settings: DatabaseSettings, statement: string, from: string): unknown {
  if (error instanceof AppError) return error;
  const name = sourceName(from);
  const errno = serverErrno(error);
  if (errno === readOnlyTransaction)
    return loaderError('LOAD_QUERY_REFUSED', `${name} would write, which its read-only transaction refuses`, {
      cause: error,
    });
  if (errno === null || !(error instanceof Error) || !refusals.includes(classifyFault(error)))
    return databaseFailure(error, { settings, statement });
  return loaderError('LOAD_QUERY_REFUSED', `${name} was refused by its server: ${errno} ${error.message}`, {
    cause: error,
    hint: `Mend the query, or databases.${from}: it asks ${settings.host}:${settings.port} as ${settings.user} in the schema ${settings.name}.`,
    details: { errno, statement: excerpt(statement) },
  });
}
