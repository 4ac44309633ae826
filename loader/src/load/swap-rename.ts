import type { Connection } from '@tableset/common/database/connection.ts';
import { quoteIdentifier, quoteList } from '@tableset/common/database/quoting.ts';
import { readTableDefinition } from '@tableset/common/database/read-table.ts';
import type { TableDefinition } from '@tableset/common/database/table-definition.ts';
import { type LoadTarget, targetTable } from '../core/load-sql.ts';
import { loaderError } from '../errors.ts';
import type { TableLoad } from './table-load.ts';
import { sha256 } from './table-state.ts';

const stagePrefix = 'tableset_stage_';
const oldPrefix = `${stagePrefix}old_`;

/** Names of a table's staging table and of the table while it is renamed away, quoted. Anything else that begins like them was left by a run that died. */
export function stageNames(table: string): { readonly stage: string; readonly old: string } {
  return { stage: quoteIdentifier(stagePrefix + suffix(table)), old: quoteIdentifier(oldPrefix + suffix(table)) };
}

function suffix(table: string): string {
  return sha256(table).slice(0, 16);
}

/**
 * Swaps the staging table in. MySQL does it under LOCK TABLES, so that no row can slip in between the check and the RENAME. MariaDB
 * refuses RENAME there (1192): rows that other sessions committed in between are then in the table that was renamed away, and are moved over.
 * @param names quoted names of the staging table, and of the table while it is renamed away
 * @returns how many rows were moved over
 * @throws AppError LOAD_TABLE_CHANGED if the table is no longer empty or no longer defined as it was
 */
export async function renameStage(
  connection: Connection,
  load: TableLoad,
  target: LoadTarget,
  names: { readonly stage: string; readonly old: string },
): Promise<number> {
  const { stage, old } = names;
  const table = targetTable(target);
  await checkDefinition(connection, load);
  const locks = connection.server.flavour === 'mysql';
  if (locks) await connection.run(`LOCK TABLES ${table} WRITE, ${stage} WRITE`);
  try {
    await checkEmpty(connection, table, load);
    await connection.run(`RENAME TABLE ${table} TO ${old}, ${stage} TO ${table}`);
  } finally {
    if (locks && !connection.lost) await connection.uninterrupted(() => connection.run('UNLOCK TABLES'));
  }
  // RENAME waited for every transaction that had touched the table, so that what is in it now stays as it is.
  return await connection.uninterrupted(async () => {
    const late = await moveLateRows(connection, load, target, old);
    await connection.run(`DROP TABLE ${old}`);
    return late;
  });
}

async function checkDefinition(connection: Connection, load: TableLoad): Promise<void> {
  const { schema, name } = load.definition;
  const facts = (definition: TableDefinition | null) =>
    JSON.stringify([definition?.createStatement, definition?.triggers, definition?.referencedBy]);
  if (facts(await readTableDefinition(connection, schema, name)) === facts(load.definition)) return;
  throw loaderError('LOAD_TABLE_CHANGED', `${load.task.table}: its definition changed while it was being loaded`);
}

async function checkEmpty(connection: Connection, table: string, load: TableLoad): Promise<void> {
  if (await connection.row(`SELECT 1 AS taken FROM ${table} LIMIT 1`)) {
    throw loaderError(
      'LOAD_TABLE_CHANGED',
      `${load.task.table} was empty and no longer is: something else writes to it`,
    );
  }
}

/** The table is as it would be had these rows been there before the load: their columns that the source feeds are overwritten, or none in mode insert. */
async function moveLateRows(connection: Connection, load: TableLoad, target: LoadTarget, old: string): Promise<number> {
  const [{ count } = { count: '0' }] = await connection.rows(`SELECT COUNT(*) AS count FROM ${old}`);
  if (count === '0') return 0;
  const table = targetTable(target);
  const columns = writableColumns(load.definition);
  const fed = new Set(target.columns.map((column) => column.name));
  const theirs = columns.filter((name) => !load.key.includes(name) && (load.task.mode === 'insert' || !fed.has(name)));
  const same = keysMatch(load.key);
  await connection.run('START TRANSACTION');
  try {
    if (theirs.length > 0) {
      const assignments = theirs.map((name) => `t.${quoteIdentifier(name)} = o.${quoteIdentifier(name)}`);
      await connection.run(`UPDATE ${table} t JOIN ${old} o ON ${same} SET ${assignments.join(', ')}`);
    }
    await connection.run(insertMissing(table, old, columns, load.key));
    // Whatever happens before the table is dropped, its rows are in one place.
    await connection.run(`DELETE FROM ${old}`);
    await connection.run('COMMIT');
    return Number(count);
  } catch (cause) {
    await connection.run('ROLLBACK');
    throw loaderError(
      'LOAD_TABLE_CHANGED',
      `${load.task.table} is loaded, but ${count} rows that another session wrote to it during the swap clash with it and are in ${old}`,
      { cause, hint: `Copy what is missing from ${old} into ${load.task.table}, then drop ${old}.` },
    );
  }
}

function keysMatch(key: readonly string[]): string {
  return key.map((name) => `o.${quoteIdentifier(name)} = t.${quoteIdentifier(name)}`).join(' AND ');
}

function insertMissing(table: string, old: string, columns: readonly string[], key: readonly string[]): string {
  const values = columns.map((name) => `o.${quoteIdentifier(name)}`);
  return `INSERT INTO ${table} (${quoteList(columns)}) SELECT ${values.join(', ')} FROM ${old} o LEFT JOIN ${table} t ON ${keysMatch(key)} WHERE t.${quoteIdentifier(key[0] ?? '')} IS NULL`;
}

function writableColumns(definition: TableDefinition): readonly string[] {
  return definition.columns.filter((column) => !column.generated).map((column) => column.name);
}

/**
 * Removes staging tables that a run which died left behind; call it under the lock. One that was renamed away and holds rows that another
 * session wrote gives them to the table that they belong to.
 */
export async function dropLeftovers(connection: Connection): Promise<void> {
  const rows = await connection.rows(
    'SELECT TABLE_NAME AS name FROM information_schema.TABLES WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME LIKE ?',
    [`${stagePrefix.replaceAll('_', '\\_')}%`],
  );
  for (const row of rows) {
    const name = String(row['name']);
    const table = quoteIdentifier(name);
    if (name.startsWith(oldPrefix) && (await connection.row(`SELECT 1 AS taken FROM ${table} LIMIT 1`)))
      await returnRows(connection, name);
    await connection.run(`DROP TABLE ${table}`);
  }
}

/** Moves the rows of a table that was renamed away into the one that took its place. */
async function returnRows(connection: Connection, name: string): Promise<void> {
  const schema = connection.settings.name;
  const tables = await connection.rows(
    'SELECT TABLE_NAME AS name FROM information_schema.TABLES WHERE TABLE_SCHEMA = ?',
    [schema],
  );
  const owner = tables.map((row) => String(row['name'])).find((each) => name === `${oldPrefix}${suffix(each)}`);
  const definition = owner === undefined ? null : await readTableDefinition(connection, schema, owner);
  const key = definition?.indexes.find((index) => index.name === 'PRIMARY')?.parts.map((part) => part.column ?? '');
  const old = quoteIdentifier(name);
  if (definition && key) {
    const table = quoteIdentifier(definition.name);
    const clash = await connection.row(`SELECT 1 AS taken FROM ${table} t JOIN ${old} o ON ${keysMatch(key)} LIMIT 1`);
    if (!clash) {
      await connection.run('START TRANSACTION');
      await connection.run(insertMissing(table, old, writableColumns(definition), key));
      await connection.run(`DELETE FROM ${old}`);
      await connection.run('COMMIT');
      return;
    }
  }
  throw loaderError(
    'LOAD_TABLE_CHANGED',
    `${name} holds rows that were written ${owner === undefined ? 'while a table' : `to ${owner} while it`} was being swapped by a run that died`,
    { hint: `Copy its rows into the table they belong to, then drop ${name}.` },
  );
}
