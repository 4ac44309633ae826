import type { Connection } from '@tableset/common/database/connection.ts';
import { quoteTable } from '@tableset/common/database/quoting.ts';
import { readTableDefinition } from '@tableset/common/database/read-table.ts';
import type { ArchivedTable } from '../core/archive/archive-set.ts';
import { addArchiveColumns, archiveDrift, createArchiveTable } from '../core/archive/archive-table.ts';
import { loaderError } from '../errors.ts';
import { readCollations } from './mysql-store-open.ts';

/** What is said of the store in messages, and whether it may be where the tables themselves are. */
interface Store {
  readonly name: string;
  readonly sameServer: boolean;
}

/**
 * Makes the archive tables and `tableset_manifests` in the connection's schema as far as they are missing.
 * @returns what was done, one sentence each
 * @throws AppError ARCHIVE_DRIFT, ARCHIVE_STORE_UNSUITABLE
 */
export async function prepareTables(
  connection: Connection,
  store: Store,
  tables: readonly ArchivedTable[],
  evolve: 'refuse' | 'add-columns',
): Promise<readonly string[]> {
  for (const table of tables) refuseItself(connection, store, table);
  // Asked first: an account without the right to make tables may find them made.
  const manifests = await connection.row(
    "SELECT 1 FROM information_schema.TABLES WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = 'tableset_manifests'",
  );
  if (!manifests) await connection.run(createManifests(connection.settings.name));
  const collations = await readCollations(connection);
  const done: string[] = [];
  for (const table of tables) done.push(...(await prepareTable(connection, store, table, evolve, collations)));
  return done;
}

function createManifests(schema: string): string {
  return `CREATE TABLE IF NOT EXISTS ${quoteTable(schema, 'tableset_manifests')} (batch BIGINT UNSIGNED NOT NULL PRIMARY KEY, root_table VARCHAR(64) NOT NULL,
    manifest LONGTEXT NOT NULL, KEY root_table (root_table, batch)) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin`;
}

function refuseItself(
  { settings, server }: Connection,
  store: Store,
  { definition, archiveName }: ArchivedTable,
): void {
  const folded = (name: string) => (server.lowerCaseTableNames === 0 ? name : name.toLowerCase());
  const same =
    store.sameServer &&
    folded(settings.name) === folded(definition.schema) &&
    folded(archiveName) === folded(definition.name);
  if (!same) return;
  throw loaderError(
    'ARCHIVE_STORE_UNSUITABLE',
    `store ${store.name}: the archive of ${definition.name} would be the table itself`,
    { hint: 'Set archiveTable to another name, or use another schema.' },
  );
}

async function prepareTable(
  connection: Connection,
  store: Store,
  table: ArchivedTable,
  evolve: 'refuse' | 'add-columns',
  collations: ReadonlySet<string>,
): Promise<readonly string[]> {
  const { archiveName, definition } = table;
  const { server, settings } = connection;
  const where = `${settings.name}.${archiveName}`;
  const found = await readTableDefinition(connection, settings.name, archiveName);
  if (!found) {
    await connection.run(createArchiveTable(table, settings.name, server, collations));
    return [`created ${where} for ${definition.name}`];
  }
  const { missing, refusals } = archiveDrift(table, found);
  if (refusals.length > 0) {
    throw loaderError(
      'ARCHIVE_DRIFT',
      `store ${store.name}: ${where} cannot hold ${definition.name} any more: ${refusals.join('; ')}`,
      { details: { table: definition.name, refusals } },
    );
  }
  if (missing.length === 0) return [];
  const statement = addArchiveColumns(found, missing, server, collations);
  const names = missing.map((column) => column.name).join(', ');
  if (evolve === 'refuse') {
    throw loaderError(
      'ARCHIVE_DRIFT',
      `store ${store.name}: ${where} lacks columns that ${definition.name} has: ${names}`,
      {
        hint: `Run on the store: ${statement}; or set evolve: add-columns.`,
        details: { table: definition.name, statement },
      },
    );
  }
  await connection.run(statement);
  return [`added ${names} to ${where}`];
}
