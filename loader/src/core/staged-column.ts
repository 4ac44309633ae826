import { quoteIdentifier } from '@tableset/common/database/quoting.ts';
import type { ColumnDefinition, TableDefinition } from '@tableset/common/database/table-definition.ts';

/**
 * The definition line of each column, verbatim as SHOW CREATE TABLE prints it: the exact type, character set, collation and
 * spatial reference, which information_schema gives only in pieces.
 */
export function columnLines(createStatement: string): ReadonlyMap<string, string> {
  const lines = createStatement.split('\n').map((line) => /^ {2}`((?:[^`]|``)+)` (.*?),?$/.exec(line));
  return new Map(lines.flatMap((match) => (match ? [[(match[1] ?? '').replaceAll('``', '`'), match[2] ?? '']] : [])));
}

/** Inside of a string literal as SHOW CREATE TABLE prints it. */
const literal = "'(?:[^'\\\\]|''|\\\\.)*'";
const typeForm = new RegExp(
  `^\\w+(?:\\((?:[^')]|${literal})*\\))?(?: (?:unsigned|zerofill|CHARACTER SET \\w+|COLLATE \\w+))*`,
  's',
);
const literals = new RegExp(literal, 'gs');

/** A column's type and NULL or NOT NULL for a temporary table: without what fills, checks, hides or explains values. */
export function stagedColumn(definition: TableDefinition, column: ColumnDefinition): string {
  const line = columnLines(definition.createStatement).get(column.name) ?? '';
  const type = typeForm.exec(line)?.[0] ?? '';
  const reference = /\/\*!80003 (SRID \d+) \*\//.exec(line.slice(type.length).replaceAll(literals, "''"))?.[1];
  const nullable = column.nullable ? 'NULL DEFAULT NULL' : 'NOT NULL';
  return [quoteIdentifier(column.name), type, nullable, ...(reference ? [reference] : [])].join(' ');
}
