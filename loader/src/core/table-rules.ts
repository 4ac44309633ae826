import { quoteIdentifier } from '@tableset/common/database/quoting.ts';
import type { ColumnDefinition, IndexDefinition, TableDefinition } from '@tableset/common/database/table-definition.ts';
import type { LoadTable } from '../config/load-config.ts';
import { loaderError } from '../errors.ts';

/**
 * Finds the columns that identify a row: those of the setting if a unique key without NULLs covers exactly them, else the primary key.
 * @throws AppError LOAD_KEY_UNSUITABLE naming the table and what would do.
 */
export function loadKey(task: LoadTable, definition: TableDefinition): readonly string[] {
  const wanted =
    task.key ??
    definition.indexes.find((index) => index.name === 'PRIMARY')?.parts.map((part) => part.column ?? '') ??
    null;
  if (wanted === null) {
    throw loaderError('LOAD_KEY_UNSUITABLE', `${task.table} has no primary key, and key is not set`);
  }
  const names = wanted.map((name) => columnNamed(task, definition, name).name);
  const match = definition.indexes.find(
    (index) => index.parts.every((part) => part.column !== null && part.prefix === null) && isUniqueOver(index, names),
  );
  if (!match)
    throw loaderError('LOAD_KEY_UNSUITABLE', `${task.table} has no unique key over exactly (${names.join(', ')})`);
  const nullable = definition.columns.find((column) => names.includes(column.name) && column.nullable);
  if (nullable)
    throw loaderError(
      'LOAD_KEY_UNSUITABLE',
      `${task.table}: key column ${nullable.name} allows NULL, so it does not identify rows`,
    );
  const inexact = definition.columns.find(
    (column) => names.includes(column.name) && (column.dataType === 'float' || column.dataType === 'double'),
  );
  if (inexact)
    throw loaderError(
      'LOAD_KEY_UNSUITABLE',
      `${task.table}: key column ${inexact.name} is ${inexact.columnType}, which does not compare exactly`,
    );
  return names;
}

function columnNamed(task: LoadTable, definition: TableDefinition, name: string): ColumnDefinition {
  const found = definition.columns.find((column) => column.name.toLowerCase() === name.toLowerCase());
  if (!found) throw loaderError('LOAD_KEY_UNSUITABLE', `${task.table} has no column ${name}, which key names`);
  return found;
}

/**
 * Refuses tables that cannot be loaded safely, before anything is read.
 * @param seesSchema the account may read every table of the schema
 * @throws AppError LOAD_TABLE_UNSUITABLE naming the table and the reason.
 */
export function checkTable(task: LoadTable, definition: TableDefinition, seesSchema: boolean): void {
  const refuse = (why: string, hint: string) => {
    throw loaderError('LOAD_TABLE_UNSUITABLE', `${task.table} ${why}`, { hint });
  };
  if (definition.engine.toLowerCase() !== 'innodb') {
    refuse(
      `is ${definition.engine || 'no base table'}, which has no transactions`,
      'Convert it with ALTER TABLE … ENGINE=InnoDB.',
    );
  }
  if (definition.name.startsWith('tableset_')) refuse('belongs to the ledger', 'Load a table of your own.');
  if (definition.systemVersioned)
    refuse('is system-versioned', 'Load a plain table instead; its history would record every refresh.');
  if (task.mode !== 'mirror') return;
  if (!seesSchema) {
    refuse(
      'cannot be mirrored: the account sees only some tables of the schema, so a foreign key that cascades into another one would go unseen',
      `GRANT SELECT ON ${quoteIdentifier(definition.schema)}.* to the account.`,
    );
  }
  const cascade = definition.referencedBy.find((key) => key.onDelete !== 'RESTRICT' && key.onDelete !== 'NO ACTION');
  if (cascade) {
    refuse(
      `cannot be mirrored: foreign key ${cascade.name} of ${cascade.table} says ON DELETE ${cascade.onDelete}, so deleting here would change rows there past every guard`,
      'Use mode upsert, or make the foreign key ON DELETE RESTRICT.',
    );
  }
}

export type PublishMode = 'delta' | 'swap' | 'direct';

/**
 * What an account needs on the whole schema to swap a table: it makes, fills and renames tables, and must see every trigger and foreign key
 * that the table could lose.
 */
export function swapPrivileges(server: 'mysql' | 'mariadb'): readonly string[] {
  const both = ['SELECT', 'INSERT', 'CREATE', 'DROP', 'ALTER', 'INDEX', 'TRIGGER'];
  return server === 'mysql' ? [...both, 'LOCK TABLES'] : both;
}

/** Why a table cannot be swapped, or null if it can: RENAME must leave nothing behind that belongs to the table. */
export function swapObstacle(definition: TableDefinition): string | null {
  if (definition.foreignKeys.length > 0 || definition.referencedBy.length > 0) return 'it has foreign keys in or out';
  if (definition.triggers.length > 0) return 'it has triggers';
  if (definition.partitioned) return 'it is partitioned';
  if (/\bCHECK \(/i.test(definition.createStatement.replaceAll(/CHECK \(json_valid\(`(?:[^`]|``)+`\)\)/gi, '')))
    return 'it has CHECK constraints';
  if (/\b(?:DATA|INDEX) DIRECTORY\b|\bTABLESPACE\b/i.test(definition.createStatement))
    return 'it lies in a place of its own';
  return null;
}

/**
 * Chooses how a table is published. An empty table without ties is swapped in, another empty one is filled in one transaction, and
 * one with rows gets the differences.
 * @throws AppError LOAD_PUBLISH_REFUSED if the setting asks for a mode that is not safe here.
 */
export function publishMode(
  task: LoadTable,
  definition: TableDefinition,
  state: {
    readonly empty: boolean;
    readonly dryRun: boolean;
    /** Rows of the table, or of one that it refers to, were archived. */
    readonly archived: boolean;
    readonly linked: boolean;
    /** What the account lacks for a swap. */
    readonly missing: readonly string[];
  },
): PublishMode {
  const refuse = (why: string) => {
    throw loaderError('LOAD_PUBLISH_REFUSED', `${task.table}: publish: ${task.publish} is not safe here: ${why}`);
  };
  const counter = definition.columns.find((column) => column.autoIncrement);
  const counts = counter !== undefined && !loadKey(task, definition).includes(counter.name);
  // What has been archived must not come back, which only the comparison sees.
  const plain = state.empty && !state.archived;
  const obstacle =
    swapObstacle(definition) ??
    (counts ? `${counter?.name} numbers its rows, in the order of the source only where one stream fills it` : null) ??
    (state.missing.length > 0 ? `the account lacks ${state.missing.join(', ')} on the schema` : null);
  const selfReference = definition.foreignKeys.some(
    (key) => key.referencedTable === definition.name && key.referencedSchema === definition.schema,
  );
  if (task.publish === 'swap' && !state.dryRun && (!plain || obstacle !== null))
    refuse(obstacle ?? 'the table is not empty');
  if (task.publish === 'direct' && !state.dryRun && !plain) refuse('the table is not empty');
  if (task.publish === 'delta' || !plain || state.dryRun) return 'delta';
  if (task.publish === 'direct') return 'direct';
  if (obstacle === null && !state.linked) return 'swap';
  // Rows that refer to later rows of their own table need the comparison's waves.
  return selfReference ? 'delta' : 'direct';
}

/** True for a unique index over exactly these columns, in whatever order. */
export function isUniqueOver(index: IndexDefinition, columns: readonly string[]): boolean {
  const indexed = index.parts.map((part) => part.column ?? '');
  return index.unique && indexed.sort().join('\0') === [...columns].sort().join('\0');
}

/** Further unique keys than the one that rows are matched by: their values can clash between rows. */
export function furtherUniqueColumns(definition: TableDefinition, key: readonly string[]): readonly string[] {
  const further = definition.indexes.filter((index) => index.unique && !isUniqueOver(index, key));
  return [
    ...new Set(
      further.flatMap((index) =>
        index.parts.flatMap((part) => (part.column === null || key.includes(part.column) ? [] : [part.column])),
      ),
    ),
  ];
}

/**
 * The guards on deletions.
 * @throws AppError LOAD_TOO_MANY_DELETES before anything is published.
 */
export function checkDeletes(task: LoadTable, deletes: number, rowsBefore: number): void {
  const { rows, percent } = task.maxDeletes;
  const share = rowsBefore === 0 ? 0 : (deletes / rowsBefore) * 100;
  const over =
    rows !== null && deletes > rows
      ? `at most ${rows} rows may be`
      : percent !== null && share > percent
        ? `at most ${percent} % may be`
        : null;
  if (over === null) return;
  throw loaderError(
    'LOAD_TOO_MANY_DELETES',
    `${task.table}: ${deletes} of ${rowsBefore} rows (${share.toFixed(1)} %) would be deleted, ${over} (maxDeletes)`,
  );
}
