import type { DatabaseSync } from 'node:sqlite';
import { quoteIdentifier } from '@tableset/common/database/quoting.ts';
import type { ArchivedTable } from '../core/archive/archive-set.ts';
import { loaderError } from '../errors.ts';
import { batchColumn, createSqliteTable, rowIdName, type SqliteColumn, sqliteDrift } from './sqlite-tables.ts';

/**
 * Makes the table that keeps a table's rows, or what it lacks. Call it in a transaction.
 * @returns what it did, one sentence each
 * @throws AppError ARCHIVE_STORE_UNSUITABLE, ARCHIVE_DRIFT
 */
export function prepareSqliteTable(
  database: DatabaseSync,
  store: { readonly name: string; readonly path: string },
  table: ArchivedTable,
  evolve: 'refuse' | 'add-columns',
): readonly string[] {
  const { archiveName, definition } = table;
  const unsuitable = whyUnsuitable(database, table);
  if (unsuitable !== null)
    throw loaderError('ARCHIVE_STORE_UNSUITABLE', `store ${store.name}: ${definition.name}: ${unsuitable}`);
  const found = sqliteColumns(database, archiveName);
  if (found.length === 0) {
    for (const statement of createSqliteTable(table)) database.exec(statement);
    return [`created ${archiveName} for ${definition.name}`];
  }
  const { missing, refusals } = sqliteDrift(table, found);
  const name = `${store.path}: ${archiveName}`;
  if (refusals.length > 0) {
    throw loaderError(
      'ARCHIVE_DRIFT',
      `store ${store.name}: ${name} cannot hold ${definition.name} any more: ${refusals.join('; ')}`,
      { hint: 'Set archiveTable to another name, so that a new table is made.', details: { refusals } },
    );
  }
  if (missing.length === 0) return [];
  const statements = missing.map((column) => `ALTER TABLE ${quoteIdentifier(archiveName)} ADD COLUMN ${column}`);
  if (evolve === 'refuse') {
    throw loaderError(
      'ARCHIVE_DRIFT',
      `store ${store.name}: ${name} lacks columns that ${definition.name} has: ${missing.join(', ')}`,
      { hint: `Run on the store: ${statements.join('; ')}; or set evolve: add-columns.` },
    );
  }
  for (const statement of statements) database.exec(statement);
  return [`added ${missing.join(', ')} to ${archiveName}`];
}

/** None for a table that is not there. */
export function sqliteColumns(database: DatabaseSync, archiveName: string): readonly SqliteColumn[] {
  return database
    .prepare('SELECT name, type, "notnull", pk FROM pragma_table_info(?)')
    .all(archiveName) as unknown as SqliteColumn[]; // the columns that were asked for
}

/** Why SQLite cannot have a table of this kind, which compares names without regard to case. */
function whyUnsuitable(database: DatabaseSync, { archiveName, columns }: ArchivedTable): string | null {
  if (/^(sqlite_|tableset_)/i.test(archiveName)) return `${archiveName} is a name that the store keeps for itself`;
  if (columns.some((column) => column.name.toLowerCase() === batchColumn)) return `it has a column ${batchColumn}`;
  if (columns.length > 1900) return `it has ${columns.length} columns, and SQLite takes 2000`;
  const other = database
    .prepare("SELECT name FROM sqlite_schema WHERE type IN ('table', 'view') AND lower(name) = lower(?) AND name <> ?")
    .get(archiveName, archiveName)?.['name'];
  if (other !== undefined) return `the store has ${other}, which SQLite takes for the same name`;
  rowIdName(columns.map((column) => column.name));
  return null;
}
