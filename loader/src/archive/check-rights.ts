import type { Connection } from '@tableset/common/database/connection.ts';
import { serverErrno } from '@tableset/common/database/errno.ts';
import { readGrants } from '@tableset/common/database/grants.ts';
import { type AppError, commonError } from '@tableset/common/errors.ts';
import type { ArchiveConfig, ArchiveTask } from '../config/archive-config.ts';
import { missingGrants, neededRights } from '../core/archive/needed-rights.ts';

export interface RightsRequest {
  readonly tasks: readonly ArchiveTask[];
  readonly config: Pick<ArchiveConfig, 'stores'>;
  readonly shards?: number | null;
}

export interface MissingRights {
  /** Statements that grant them. */
  readonly missing: readonly string[];
  readonly error: AppError;
}

/**
 * Looks whether the account may do all that archiving the tasks will take, so that a run does not end at its first delete for a right that it lacks.
 * @returns null if nothing is plainly missing, or if the grants cannot be read
 */
export async function findMissingRights(connection: Connection, request: RightsRequest): Promise<MissingRights | null> {
  const grants = await grantsOf(connection);
  if (grants === null) return null;
  const { tasks, shards = null } = request;
  const { stores } = request.config;
  const schemas = new Map<string, ReadonlySet<string>>();
  const unseen: string[] = [];
  for (const store of stores) {
    if (store.kind !== 'mysql' || store.server !== null || !tasks.some((task) => task.store === store.name)) continue;
    schemas.set(store.schema, await tablesOf(connection, store.schema));
    if (!(await isSeen(connection, store.schema))) unseen.push(`stores.${store.name}.mysql.name`);
  }
  const needed = neededRights({
    schema: connection.settings.name,
    tasks,
    stores,
    shards: shards !== null,
    archived: (schema) => schemas.get(schema) ?? null,
  });
  const account = String((await connection.row('SELECT CURRENT_USER() AS account'))?.['account']);
  const missing = missingGrants(grants, needed, account);
  if (missing.length === 0) return null;
  const also = unseen.length === 0 ? '' : ` If a schema is not there at all, correct ${unseen.join(', ')}.`;
  const message = `user ${account} lacks rights that archiving takes: ${summary(missing)}`;
  const error = commonError('DATABASE_GRANT_MISSING', message, {
    hint: `${missing.join('; ')};${also}`,
    details: { missing },
  });
  return { missing, error };
}

/** @throws AppError DATABASE_GRANT_MISSING */
export async function checkRights(connection: Connection, request: RightsRequest): Promise<void> {
  const rights = await findMissingRights(connection, request);
  if (rights) throw rights.error;
}

/** `DELETE ON shop.orders` and so on. */
function summary(statements: readonly string[]): string {
  return statements.map((statement) => statement.replace(/^GRANT (.*) TO .*$/s, '$1').replaceAll('`', '')).join(', ');
}

/** Null where the server does not show them. */
async function grantsOf(connection: Connection): Promise<readonly string[] | null> {
  try {
    return await readGrants(connection);
  } catch (error) {
    // What the server refuses to tell is no reason to refuse.
    if (connection.lost || serverErrno(error) === null) throw error;
    return null;
  }
}

async function tablesOf(connection: Connection, schema: string): Promise<ReadonlySet<string>> {
  const rows = await connection.rows(
    'SELECT TABLE_NAME AS name FROM information_schema.TABLES WHERE TABLE_SCHEMA = ?',
    [schema],
  );
  return new Set(rows.map((row) => String(row['name']).toLowerCase()));
}

async function isSeen(connection: Connection, schema: string): Promise<boolean> {
  const row = await connection.row('SELECT 1 AS found FROM information_schema.SCHEMATA WHERE SCHEMA_NAME = ?', [
    schema,
  ]);
  return row !== null;
}
