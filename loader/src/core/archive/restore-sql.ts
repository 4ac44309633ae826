import type { Value } from '@tableset/common/database/connection.ts';
import { quoteIdentifier, quoteList, quoteTable } from '@tableset/common/database/quoting.ts';
import type { ColumnDefinition, TableDefinition } from '@tableset/common/database/table-definition.ts';
import { type CanonicalRow, type Cell, cellExpression, isBinaryColumn, rowHashExpression } from './canonical.ts';
import type { ManifestColumn, ManifestTable } from './manifest.ts';
import { printsDigits } from './restore-cells.ts';
import { binaryColumns, dataTypeOf } from './restore-filter.ts';
import { primaryKey } from './table-set.ts';

/** How the rows of one table of a batch go into a table of the primary. */
export interface RestoreTarget {
  readonly definition: TableDefinition;
  /** The target's columns, one for each column of the manifest, in its order. */
  readonly columns: readonly ColumnDefinition[];
  readonly binary: readonly boolean[];
  readonly key: readonly ColumnDefinition[];
  /** Places in `columns` of those that an INSERT names: all but the generated ones. */
  readonly inserted: readonly number[];
  /** Places of those whose type has changed in a way in which the same value may be printed otherwise. */
  readonly adapted: readonly number[];
}

interface Statement {
  readonly sql: string;
  readonly values: readonly Value[];
}

/**
 * Fits a table of a manifest to the table that its rows are to go into.
 * @returns the target, or what speaks against it, one clause each that follows the table's name
 */
export function fitTarget(
  archived: Pick<ManifestTable, 'columns' | 'key'>,
  definition: TableDefinition,
  allowTriggers: boolean,
): RestoreTarget | readonly string[] {
  const refusals: string[] = [];
  const binary = binaryColumns(archived);
  const columns: ColumnDefinition[] = [];
  for (const [index, { name, type }] of archived.columns.entries()) {
    const column = definition.columns.find((each) => each.name === name);
    if (!column) refusals.push(`no longer has the column ${name}, which archived rows have values for`);
    else if (isBinaryColumn(column) !== binary[index]) {
      refusals.push(`has ${name} as ${column.columnType}; it was archived as ${type}`);
    } else columns.push(column);
  }
  const known = new Set(archived.columns.map(({ name }) => name));
  for (const column of definition.columns) {
    if (known.has(column.name) || column.generated || column.hasDefault) continue;
    refusals.push(`has the column ${column.name} since then, which has no default`);
  }
  refusals.push(...tableRefusals(archived.key, definition, allowTriggers));
  if (refusals.length > 0) return refusals;
  const key = archived.key.flatMap((name) => columns.filter((column) => column.name === name));
  const inserted = columns.flatMap((column, index) => (column.generated ? [] : [index]));
  const adapted = columns.flatMap((column, index) =>
    printsDigits(column) && !isType(column, archived.columns[index]) ? [index] : [],
  );
  return { definition, columns, binary, key, inserted, adapted };
}

/** True if every column that was archived has the very type that it had then, so that it takes back every value. */
export function hasArchivedTypes(target: RestoreTarget, archived: Pick<ManifestTable, 'columns'>): boolean {
  return target.columns.every((column, place) => isType(column, archived.columns[place]));
}

function isType(column: ColumnDefinition, archived: ManifestColumn | undefined): boolean {
  return column.columnType === archived?.type && column.characterSet === archived.characterSet;
}

function tableRefusals(key: readonly string[], definition: TableDefinition, allowTriggers: boolean): string[] {
  const refusals: string[] = [];
  const primary = primaryKey(definition);
  if (primary.join() !== key.join()) {
    refusals.push(`has the primary key (${primary.join(', ')}); it was archived by (${key.join(', ')})`);
  }
  if (definition.engine.toLowerCase() !== 'innodb') {
    refusals.push(`is a table of ${definition.engine}, which cannot roll back`);
  }
  const triggers = definition.triggers.filter(({ event }) => event !== 'DELETE').map(({ name }) => name);
  if (triggers.length > 0 && !allowTriggers) {
    refusals.push(`has triggers that would fire: ${triggers.join(', ')}; --allow-triggers lets them`);
  }
  return refusals;
}

/** Unique indexes beside the primary key that a row can be looked up by: over whole columns that are restored as they were. */
export function furtherUniqueKeys(
  target: RestoreTarget,
): readonly { name: string; columns: readonly ColumnDefinition[] }[] {
  return target.definition.indexes.flatMap(({ name, unique, parts }) => {
    if (!unique || name === 'PRIMARY' || parts.some((part) => part.column === null || part.prefix !== null)) return [];
    const columns = parts.flatMap((part) => target.columns.filter((column) => column.name === part.column));
    return columns.length === parts.length ? [{ name, columns }] : [];
  });
}

/** An INSERT of rows with every column that takes a value. */
export function insertRows(target: RestoreTarget, rows: readonly CanonicalRow[]): Statement {
  const { definition, columns, inserted } = target;
  const names = inserted.flatMap((place) => columns[place]?.name ?? []);
  const row = `(${names.map(() => '?').join(', ')})`;
  return {
    sql: `INSERT INTO ${quoteTable(definition.schema, definition.name)} (${quoteList(names)}) VALUES ${rows.map(() => row).join(', ')}`,
    values: rows.flatMap((cells) => inserted.map((place) => placedValue(target, place, cells))),
  };
}

/** Puts an archived row in the place of the one under its key; the key's columns too, whose bytes may differ where the collation calls them equal. */
export function updateRow(target: RestoreTarget, row: CanonicalRow): Statement {
  const { definition, columns, inserted } = target;
  const assignments = inserted.map((place) => `${quoteIdentifier(columns[place]?.name ?? '')} = ?`);
  const where = whereColumns(target.key, [cellsOf(target, target.key, row)]);
  return {
    sql: `UPDATE ${quoteTable(definition.schema, definition.name)} SET ${assignments.join(', ')} WHERE ${where.sql}`,
    values: [...inserted.map((place) => placedValue(target, place, row)), ...where.values],
  };
}

function placedValue(target: RestoreTarget, place: number, row: CanonicalRow): Value {
  const column = target.columns[place];
  return column ? insertValue(column, row[place] ?? null) : null;
}

/** Names of the columns that `findRows` gives: the key's cells by number, and the row's hash. */
export const foundColumns = { key: (place: number) => `k${place}`, hash: 'row_hash' } as const;

/** Finds the rows under the keys of these rows: their keys' cells and hashes. They stay locked until the transaction ends. */
export function findRows(target: RestoreTarget, rows: readonly CanonicalRow[], lock: boolean): Statement {
  // In a table that has become small the server would rather read, and lock, all of it.
  return find(target, target.key, rows, 'FORCE INDEX (PRIMARY) ', lock);
}

/** Finds the rows that hold these rows' values of a unique key; null if the values of none can collide, being NULL in part. */
export function findUnique(
  target: RestoreTarget,
  columns: readonly ColumnDefinition[],
  rows: readonly CanonicalRow[],
): Statement | null {
  const whole = rows.filter((row) => cellsOf(target, columns, row).every((cell) => cell !== null));
  return whole.length === 0 ? null : find(target, columns, whole, '', false);
}

/** Finds the rows of a table that is referred to which have these values: the cells of the columns, by `foundColumns.key`. */
export function findReferenced(
  definition: TableDefinition,
  columns: readonly ColumnDefinition[],
  values: readonly (readonly Cell[])[],
): Statement {
  const cells = columns.map((column, place) => `${cellExpression(column, 't')} AS ${foundColumns.key(place)}`);
  const where = whereColumns(columns, values);
  return {
    sql: `SELECT ${cells.join(', ')} FROM ${quoteTable(definition.schema, definition.name)} AS t WHERE ${where.sql}`,
    values: where.values,
  };
}

function find(
  target: RestoreTarget,
  by: readonly ColumnDefinition[],
  rows: readonly CanonicalRow[],
  indexHint: string,
  lock: boolean,
): Statement {
  const { definition, key, columns } = target;
  const cells = key.map((column, place) => `${cellExpression(column, 't')} AS ${foundColumns.key(place)}`);
  const where = whereColumns(
    by,
    rows.map((row) => cellsOf(target, by, row)),
  );
  return {
    sql: `SELECT ${cells.join(', ')}, ${rowHashExpression(columns, 't')} AS ${foundColumns.hash} FROM ${quoteTable(definition.schema, definition.name)} AS t ${indexHint}WHERE ${where.sql}${lock ? ' FOR UPDATE' : ''}`,
    values: where.values,
  };
}

/** All rows of a table with their hashes, for scratch tables. */
export function allHashes(target: RestoreTarget): string {
  const { definition, columns } = target;
  return `SELECT ${rowHashExpression(columns)} AS ${foundColumns.hash} FROM ${quoteTable(definition.schema, definition.name)}`;
}

/** The cells of one row, column by column, to say which of them differ. */
export function findCells(target: RestoreTarget, row: CanonicalRow): Statement {
  const cells = target.columns.map((column, place) => `${cellExpression(column, 't')} AS c${place}`);
  const where = whereColumns(target.key, [cellsOf(target, target.key, row)]);
  const { schema, name } = target.definition;
  return {
    sql: `SELECT ${cells.join(', ')} FROM ${quoteTable(schema, name)} AS t WHERE ${where.sql}`,
    values: where.values,
  };
}

function cellsOf(target: RestoreTarget, columns: readonly ColumnDefinition[], row: CanonicalRow): readonly Cell[] {
  return columns.map((column) => row[target.columns.indexOf(column)] ?? null);
}

/** One column by IN, several by OR of ANDs: both go by the index on both servers. */
function whereColumns(columns: readonly ColumnDefinition[], rows: readonly (readonly Cell[])[]): Statement {
  const terms = columns.map(comparedTerm);
  const [only] = columns;
  const values = rows.flatMap((cells) =>
    // There is a cell for each column.
    cells.map((cell, place) => comparedValue(columns[place] as ColumnDefinition, cell)),
  );
  if (only && columns.length === 1) {
    return { sql: `${quoteIdentifier(only.name)} IN (${rows.map(() => terms[0]).join(', ')})`, values };
  }
  const row = `(${columns.map((column, place) => `${quoteIdentifier(column.name)} = ${terms[place]}`).join(' AND ')})`;
  return { sql: rows.map(() => row).join(' OR '), values };
}

/** A placeholder whose value has the column's own type, so that no comparison goes through a DOUBLE. */
function comparedTerm(column: ColumnDefinition): string {
  if (column.dataType !== 'decimal') return '?';
  return `CAST(? AS DECIMAL(${column.numericPrecision ?? 65}, ${column.numericScale ?? 0}))`;
}

const integers = new Set(['tinyint', 'smallint', 'mediumint', 'int', 'bigint', 'bit', 'year']);

function comparedValue(column: ColumnDefinition, cell: Cell): Value {
  if (cell === null || isBinaryColumn(column)) return cell;
  const text = cell.toString('utf8');
  if (integers.has(column.dataType)) return BigInt(text);
  if (column.dataType === 'float' || column.dataType === 'double') return Number(text);
  return text;
}

/** The value that makes a column hold this cell again. */
function insertValue(column: ColumnDefinition, cell: Cell): Value {
  if (cell === null || isBinaryColumn(column)) return cell;
  const text = cell.toString('utf8');
  // A text would be taken for the bits themselves.
  return column.dataType === 'bit' ? BigInt(text) : text;
}

/** For the session that restores: dates that never were could be stored once, and come back as they are. */
export const restoreSession = "SET SESSION sql_mode = CONCAT(@@SESSION.sql_mode, ',ALLOW_INVALID_DATES')";

/** About how many bytes the row takes in a statement: binary cells twice their length, and texts at worst. */
export function statementBytes(row: CanonicalRow): number {
  return row.reduce((sum, cell) => sum + (cell === null ? 4 : cell.length * 2 + 4), 0);
}

/** The characters that the driver writes as two. */
const escaped = new Set(Buffer.from('\0\b\t\n\r\x1a"\'\\', 'latin1'));

/** How many bytes the row takes in a statement; looks at each byte of its texts. */
export function exactStatementBytes(row: CanonicalRow, binary: readonly boolean[]): number {
  return row.reduce((sum, cell, place) => {
    if (cell === null) return sum + 4;
    if (binary[place]) return sum + cell.length * 2 + 4;
    let bytes = cell.length + 4;
    for (const byte of cell) if (escaped.has(byte)) bytes++;
    return sum + bytes;
  }, 0);
}

/**
 * A table for the rows of a manifest's table where the primary's own no longer fits them: the archived columns and their key, nothing else.
 * @throws RangeError for a type that no server prints.
 */
export function createFromManifest(
  schema: string,
  name: string,
  archived: Pick<ManifestTable, 'columns' | 'key'>,
): string {
  const lines = archived.columns.map((column) => `  ${quoteIdentifier(column.name)} ${typeOf(column)}`);
  const key = `  PRIMARY KEY (${quoteList(archived.key)})`;
  return `CREATE TABLE ${quoteTable(schema, name)} (\n${[...lines, key].join(',\n')}\n) ENGINE=InnoDB`;
}

function typeOf(column: ManifestColumn): string {
  // It comes out of the ledger, where others may write: nothing but a type may stand in a statement.
  if (
    !/^[a-z_0-9]+(?:\((?:\d+(?:,\d+)?|'(?:[^'\\]|'')*'(?:,'(?:[^'\\]|'')*')*)\))?(?: unsigned)?(?: zerofill)?$/i.test(
      column.type,
    )
  ) {
    throw new RangeError(`${JSON.stringify(column.type)} is no type of a column`);
  }
  const text = column.characterSet !== null && dataTypeOf(column) !== 'json';
  const names = text ? [column.characterSet, column.collation].filter((each) => each !== null) : [];
  if (names.some((each) => !/^\w+$/.test(each))) throw new RangeError(`${names.join(' ')} is no character set`);
  const charset = names.length === 2 ? ` CHARACTER SET ${names[0]} COLLATE ${names[1]}` : '';
  return `${column.type}${charset} ${column.nullable ? 'NULL' : 'NOT NULL'}`;
}
