import type { Connection } from '@tableset/common/database/connection.ts';
import { serverErrno } from '@tableset/common/database/errno.ts';
import { quoteTable } from '@tableset/common/database/quoting.ts';
import { withoutCounter } from '@tableset/common/database/read-table.ts';
import type { TableDefinition } from '@tableset/common/database/table-definition.ts';
import type { ArchiveSet } from '../core/archive/archive-set.ts';
import { findUnlisted } from '../core/archive/inbound-keys.ts';
import { loaderError } from '../errors.ts';
import { readInboundKeys } from './read-inbound-keys.ts';

/** Finds out, inside every deleting transaction, whether tables are still what the run was planned for. */
export class DefinitionGuard {
  readonly #set: ArchiveSet;

  constructor(set: ArchiveSet) {
    this.#set = set;
  }

  /**
   * Call it once the transaction has touched all of the tables: none is altered or gets a trigger before that ends.
   * @throws AppError ARCHIVE_TABLE_CHANGED
   */
  async check(connection: Connection): Promise<void> {
    await assertDefinitions(connection, this.#set);
    for (const { definition } of this.#set.tables) await assertTriggers(connection, definition);
    await assertForeignKeys(connection, this.#set);
  }

  /**
   * Call it after the deletes, before they are committed. MySQL lets nobody refer to a table that a transaction has touched, but MariaDB does: what the deletes set off
   * there is still to be seen, and is rolled back.
   * @throws AppError ARCHIVE_TABLE_CHANGED
   */
  async confirm(connection: Connection): Promise<void> {
    if (connection.server.flavour === 'mariadb') await assertForeignKeys(connection, this.#set);
  }
}

/** @throws AppError ARCHIVE_TABLE_CHANGED if a table is not defined as it was when the run began. */
export async function assertDefinitions(connection: Connection, set: ArchiveSet): Promise<void> {
  for (const { definition } of set.tables) {
    const row = await connection.row(`SHOW CREATE TABLE ${quoteTable(definition.schema, definition.name)}`);
    if (withoutCounter(String(row?.['Create Table'])) !== definition.createStatement)
      throw changed(definition, 'definition');
  }
}

/** 1054 unknown column, 1146 no such table, 1412 definition changed, 1136 column count, 1364 no default. */
const changedDefinition = new Set([1054, 1136, 1146, 1364, 1412]);

/** What failed because a table was changed meanwhile is told as that. */
export async function explained(connection: Connection, set: ArchiveSet, error: unknown): Promise<unknown> {
  const errno = serverErrno(error);
  if (errno === null || !changedDefinition.has(errno)) return error;
  try {
    await assertDefinitions(connection, set);
    return error;
  } catch (changed) {
    return changed;
  }
}

/** A table's own definition does not show its triggers, which a DELETE would set off. */
async function assertTriggers(connection: Connection, definition: TableDefinition): Promise<void> {
  const { schema, name } = definition;
  const triggers = await connection.rows(
    'SELECT TRIGGER_NAME AS name FROM information_schema.TRIGGERS WHERE EVENT_OBJECT_SCHEMA = ? AND EVENT_OBJECT_TABLE = ?',
    [schema, name],
  );
  const knownTriggers = new Set(definition.triggers.map((trigger) => trigger.name));
  if (triggers.some((row) => !knownTriggers.has(String(row['name'])))) throw changed(definition, 'list of triggers');
}

/** Nor does it show the foreign keys to the table, past which a DELETE would reach other tables. */
async function assertForeignKeys(connection: Connection, { tables }: ArchiveSet): Promise<void> {
  const definitions = tables.map(({ definition }) => definition);
  const keys = await readInboundKeys(connection, definitions);
  for (const definition of definitions)
    if (findUnlisted(definition, keys, connection.server.lowerCaseTableNames) !== null)
      throw changed(definition, 'list of foreign keys to it');
}

function changed({ name }: TableDefinition, what: string) {
  return loaderError('ARCHIVE_TABLE_CHANGED', `${name}: its ${what} is no longer what it was when the run began`, {
    details: { table: name },
  });
}
