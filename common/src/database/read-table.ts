import type { Connection, Row } from './connection.ts';
import { classifyFault } from './errno.ts';
import { quoteIdentifier, quoteTable } from './quoting.ts';
import { atLeast } from './server.ts';
import type {
  ColumnDefinition,
  ForeignKeyDefinition,
  IndexDefinition,
  TableDefinition,
  TriggerDefinition,
} from './table-definition.ts';

/**
 * Reads what the server knows of one base table.
 * @returns null if the schema has no such base table (a view is none).
 */
export async function readTableDefinition(
  connection: Connection,
  schema: string,
  table: string,
): Promise<TableDefinition | null> {
  const facts = await connection.row(
    `SELECT TABLE_NAME AS name, ENGINE AS engine, CREATE_TIME AS created, TABLE_COLLATION AS collation, TABLE_TYPE AS type, CREATE_OPTIONS AS options
     FROM information_schema.TABLES WHERE TABLE_SCHEMA = ? AND TABLE_NAME = ?`,
    [schema, table],
  );
  if (!facts || (facts['type'] !== 'BASE TABLE' && facts['type'] !== 'SYSTEM VERSIONED')) return null;
  const name = string(facts['name']);
  const created = await connection.row(`SHOW CREATE TABLE ${quoteTable(schema, name)}`);
  return {
    schema,
    name,
    engine: string(facts['engine']),
    createTime: text(facts['created']),
    createStatement: withoutCounter(string(created?.['Create Table'])),
    collation: text(facts['collation']),
    systemVersioned: facts['type'] === 'SYSTEM VERSIONED',
    partitioned: /partitioned/i.test(string(facts['options'])),
    columns: await readColumns(connection, schema, name),
    indexes: await readIndexes(connection, schema, name),
    foreignKeys: await readForeignKeys(connection, 'k.TABLE_SCHEMA = ? AND k.TABLE_NAME = ?', schema, name),
    referencedBy: await readForeignKeys(
      connection,
      'k.REFERENCED_TABLE_SCHEMA = ? AND k.REFERENCED_TABLE_NAME = ?',
      schema,
      name,
    ),
    triggers: await readTriggers(connection, schema, name),
  };
}

/** SHOW CREATE TABLE without the counter, which changes with the rows and not with the definition. */
export function withoutCounter(createStatement: string): string {
  return createStatement.replace(/(\n\)[^\n]*?) AUTO_INCREMENT=\d+/, '$1');
}

async function readColumns(
  connection: Connection,
  schema: string,
  table: string,
): Promise<readonly ColumnDefinition[]> {
  const { server } = connection;
  const srid = server.flavour === 'mysql' ? 'SRS_ID' : 'NULL';
  const rows = await connection.rows(
    `SELECT COLUMN_NAME AS name, ORDINAL_POSITION AS position, DATA_TYPE AS dataType, COLUMN_TYPE AS columnType, IS_NULLABLE AS nullable,
       COLUMN_DEFAULT AS defaultValue, EXTRA AS extra, CHARACTER_MAXIMUM_LENGTH AS characters, CHARACTER_OCTET_LENGTH AS octets,
       NUMERIC_PRECISION AS numericPrecision, NUMERIC_SCALE AS numericScale, DATETIME_PRECISION AS fraction,
       CHARACTER_SET_NAME AS characterSet, COLLATION_NAME AS collation, GENERATION_EXPRESSION AS generation, ${srid} AS srid
     FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = ? AND TABLE_NAME = ? ORDER BY ORDINAL_POSITION`,
    [schema, table],
  );
  const checkedJson =
    server.flavour === 'mariadb' ? await readJsonChecks(connection, schema, table) : new Set<string>();
  return rows.map((row) => column(row, checkedJson));
}

function column(row: Row, checkedJson: ReadonlySet<string>): ColumnDefinition {
  const columnType = string(row['columnType']);
  const dataType = string(row['dataType']).toLowerCase();
  const extra = string(row['extra']).toLowerCase();
  const name = string(row['name']);
  const nullable = row['nullable'] === 'YES';
  const autoIncrement = extra.includes('auto_increment');
  return {
    name,
    position: Number(row['position']),
    dataType,
    columnType,
    unsigned: /\bunsigned\b/i.test(columnType),
    zerofill: /\bzerofill\b/i.test(columnType),
    nullable,
    hasDefault: nullable || autoIncrement || row['defaultValue'] !== null,
    characterMaximumLength: number(row['characters']),
    characterOctetLength: number(row['octets']),
    numericPrecision: number(row['numericPrecision']),
    numericScale: number(row['numericScale']),
    datetimePrecision: number(row['fraction']),
    characterSet: text(row['characterSet']),
    collation: text(row['collation']),
    members: dataType === 'enum' || dataType === 'set' ? parseMembers(columnType) : [],
    generated:
      string(row['generation']) !== '' ||
      /\b(virtual|stored|persistent) generated\b|\bgenerated\b/.test(extra.replace('default_generated', '')),
    autoIncrement,
    invisible: extra.includes('invisible'),
    json: dataType === 'json' || (dataType === 'longtext' && checkedJson.has(name)),
    srid: number(row['srid']),
  };
}

/** MariaDB's JSON is a longtext whose check says json_valid(`column`). */
async function readJsonChecks(connection: Connection, schema: string, table: string): Promise<ReadonlySet<string>> {
  const rows = await connection.rows(
    "SELECT CHECK_CLAUSE AS clause FROM information_schema.CHECK_CONSTRAINTS WHERE CONSTRAINT_SCHEMA = ? AND TABLE_NAME = ? AND CHECK_CLAUSE LIKE 'json_valid(%'",
    [schema, table],
  );
  const names = rows.map((row) =>
    /^json_valid\(`((?:[^`]|``)+)`\)$/i.exec(string(row['clause']))?.[1]?.replaceAll('``', '`'),
  );
  return new Set(names.filter((name) => name !== undefined));
}

/**
 * The members of `enum('a','b''c')`, unescaped as both servers write them whatever the sql_mode: quotes doubled; backslash, newline, carriage
 * return and NUL by a backslash.
 */
export function parseMembers(columnType: string): readonly string[] {
  const inner = /^(?:enum|set)\((.*)\)/is.exec(columnType)?.[1] ?? '';
  return Array.from(inner.matchAll(/'((?:[^'\\]|''|\\.)*)'/gs), (match) =>
    (match[1] ?? '').replaceAll(/''|\\(.)/gs, (whole, escaped: string | undefined) =>
      escaped === undefined ? "'" : (controlCharacters[escaped] ?? (escaped === '\\' ? '\\' : whole)),
    ),
  );
}

const controlCharacters: Readonly<Record<string, string>> = { n: '\n', r: '\r', '0': '\0' };

async function readIndexes(connection: Connection, schema: string, table: string): Promise<readonly IndexDefinition[]> {
  const expression = connection.server.flavour === 'mysql' && atLeast(connection.server, 8, 0, 13);
  const rows = await connection.rows(
    `SELECT INDEX_NAME AS name, NON_UNIQUE AS nonUnique, COLUMN_NAME AS columnName, SUB_PART AS prefix, INDEX_TYPE AS type${expression ? ', EXPRESSION AS expression' : ''}
     FROM information_schema.STATISTICS WHERE TABLE_SCHEMA = ? AND TABLE_NAME = ? ORDER BY INDEX_NAME, SEQ_IN_INDEX`,
    [schema, table],
  );
  const byName = Map.groupBy(rows, (row) => string(row['name']));
  return Array.from(byName, ([name, parts]) => ({
    name,
    unique: parts[0]?.['nonUnique'] === '0',
    type: string(parts[0]?.['type']),
    parts: parts.map((part) => ({ column: text(part['columnName']), prefix: number(part['prefix']) })),
  }));
}

async function readForeignKeys(
  connection: Connection,
  where: string,
  schema: string,
  table: string,
): Promise<readonly ForeignKeyDefinition[]> {
  const rows = await connection.rows(
    `SELECT k.CONSTRAINT_NAME AS name, k.TABLE_SCHEMA AS childSchema, k.TABLE_NAME AS child, k.COLUMN_NAME AS columnName,
       k.REFERENCED_TABLE_SCHEMA AS parentSchema, k.REFERENCED_TABLE_NAME AS parent, k.REFERENCED_COLUMN_NAME AS parentColumn,
       r.DELETE_RULE AS onDelete, r.UPDATE_RULE AS onUpdate
     FROM information_schema.KEY_COLUMN_USAGE k LEFT JOIN information_schema.REFERENTIAL_CONSTRAINTS r
       ON r.CONSTRAINT_SCHEMA = k.CONSTRAINT_SCHEMA AND r.CONSTRAINT_NAME = k.CONSTRAINT_NAME AND r.TABLE_NAME = k.TABLE_NAME
     WHERE ${where} AND k.REFERENCED_TABLE_NAME IS NOT NULL ORDER BY k.TABLE_SCHEMA, k.TABLE_NAME, k.CONSTRAINT_NAME, k.ORDINAL_POSITION`,
    [schema, table],
  );
  const groups = Map.groupBy(rows, (row) => `${row['childSchema']}.${row['child']}.${row['name']}`);
  const keys: ForeignKeyDefinition[] = [];
  for (const parts of groups.values()) {
    const first = parts[0] ?? {};
    const key = { name: string(first['name']), schema: string(first['childSchema']), table: string(first['child']) };
    const onDelete = text(first['onDelete']);
    const rules =
      onDelete === null ? await readRules(connection, key) : { onDelete, onUpdate: string(first['onUpdate']) };
    keys.push({
      ...key,
      columns: parts.map((part) => string(part['columnName'])),
      referencedSchema: string(first['parentSchema']),
      referencedTable: string(first['parent']),
      referencedColumns: parts.map((part) => string(part['parentColumn'])),
      ...rules,
    });
  }
  return keys;
}

/** MariaDB hides the rules from accounts that may only read the child, but prints them with its definition. */
async function readRules(
  connection: Connection,
  { name, schema, table }: Pick<ForeignKeyDefinition, 'name' | 'schema' | 'table'>,
): Promise<Pick<ForeignKeyDefinition, 'onDelete' | 'onUpdate'>> {
  let created: Row | null = null;
  try {
    created = await connection.row(`SHOW CREATE TABLE ${quoteTable(schema, table)}`);
  } catch (error) {
    // Rights on some of its columns show that there is a key, and no more.
    if (classifyFault(error) !== 'grant-missing') throw error;
  }
  return foreignKeyRules(string(created?.['Create Table']), name);
}

/** What SHOW CREATE TABLE says of a foreign key's rules: RESTRICT is what the servers leave out, and UNKNOWN stands for a key that is not there. */
export function foreignKeyRules(
  createStatement: string,
  name: string,
): Pick<ForeignKeyDefinition, 'onDelete' | 'onUpdate'> {
  const start = `  CONSTRAINT ${quoteIdentifier(name)} FOREIGN KEY `;
  const line = createStatement.split('\n').find((each) => each.startsWith(start));
  if (line === undefined) return { onDelete: 'UNKNOWN', onUpdate: 'UNKNOWN' };
  // Names, which may say anything, are all in backquotes.
  const words = line.replaceAll(/`(?:[^`]|``)*`/g, '');
  const rule = (event: string) =>
    new RegExp(` ON ${event} (RESTRICT|NO ACTION|CASCADE|SET NULL|SET DEFAULT)`).exec(words)?.[1] ?? 'RESTRICT';
  return { onDelete: rule('DELETE'), onUpdate: rule('UPDATE') };
}

async function readTriggers(
  connection: Connection,
  schema: string,
  table: string,
): Promise<readonly TriggerDefinition[]> {
  const rows = await connection.rows(
    'SELECT TRIGGER_NAME AS name, ACTION_TIMING AS timing, EVENT_MANIPULATION AS event FROM information_schema.TRIGGERS WHERE EVENT_OBJECT_SCHEMA = ? AND EVENT_OBJECT_TABLE = ?',
    [schema, table],
  );
  return rows.map((row) => ({ name: string(row['name']), timing: string(row['timing']), event: string(row['event']) }));
}

type Cell = string | Buffer | null | undefined;

function text(cell: Cell): string | null {
  return cell === null || cell === undefined ? null : cell.toString();
}

function string(cell: Cell): string {
  return text(cell) ?? '';
}

function number(cell: Cell): number | null {
  const value = text(cell);
  return value === null ? null : Number(value);
}
