import type { Connection } from '@tableset/common/database/connection.ts';
import { quoteTable } from '@tableset/common/database/quoting.ts';
import { withoutCounter } from '@tableset/common/database/read-table.ts';
import type { TableDefinition } from '@tableset/common/database/table-definition.ts';
import type { ArchiveSet } from '../core/archive/archive-set.ts';
import { loaderError } from '../errors.ts';

/** Triggers and foreign keys of others are looked for again after this long. */
const neighboursMs = 1000;
/** But so seldom that it takes at most this share of the time: MariaDB opens every table to find them. */
const neighboursShareMax = 0.02;

/**
 * Finds out whether tables are still what the run was planned for. Call it inside the deleting transaction, once that has touched all of
 * them: no DDL gets in before it ends.
 */
export class DefinitionGuard {
  readonly #set: ArchiveSet;
  #neighboursDue = 0;

  constructor(set: ArchiveSet) {
    this.#set = set;
  }

  /** @throws AppError ARCHIVE_TABLE_CHANGED */
  async check(connection: Connection): Promise<void> {
    await assertDefinitions(connection, this.#set);
    const started = performance.now();
    if (started < this.#neighboursDue) return;
    for (const { definition } of this.#set.tables) await assertNeighbours(connection, definition);
    const took = performance.now() - started;
    this.#neighboursDue = performance.now() + Math.max(neighboursMs, took / neighboursShareMax);
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

/** What SHOW CREATE TABLE does not show, and a DELETE would set off. */
async function assertNeighbours(connection: Connection, definition: TableDefinition): Promise<void> {
  const { schema, name } = definition;
  const triggers = await connection.rows(
    'SELECT TRIGGER_NAME AS name FROM information_schema.TRIGGERS WHERE EVENT_OBJECT_SCHEMA = ? AND EVENT_OBJECT_TABLE = ?',
    [schema, name],
  );
  const knownTriggers = new Set(definition.triggers.map((trigger) => trigger.name));
  if (triggers.some((row) => !knownTriggers.has(String(row['name'])))) throw changed(definition, 'list of triggers');
  const references = await connection.rows(
    `SELECT TABLE_SCHEMA AS childSchema, TABLE_NAME AS child, CONSTRAINT_NAME AS name FROM information_schema.KEY_COLUMN_USAGE
     WHERE REFERENCED_TABLE_SCHEMA = ? AND REFERENCED_TABLE_NAME = ?`,
    [schema, name],
  );
  const knownReferences = new Set(definition.referencedBy.map((each) => `${each.schema}.${each.table}.${each.name}`));
  if (references.some((row) => !knownReferences.has(`${row['childSchema']}.${row['child']}.${row['name']}`)))
    throw changed(definition, 'list of foreign keys to it');
}

function changed({ name }: TableDefinition, what: string) {
  return loaderError('ARCHIVE_TABLE_CHANGED', `${name}: its ${what} is no longer what it was when the run began`, {
    details: { table: name },
  });
}
