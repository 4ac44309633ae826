import { quoteIdentifier } from '@tableset/common/database/quoting.ts';
import type { ColumnDefinition } from '@tableset/common/database/table-definition.ts';
import { loaderError } from '../../errors.ts';
import type { ArchivedTable } from './archive-set.ts';
import type { SqlPart } from './conditions.ts';
import { type CopiedRows, keyCells } from './one-server-sql.ts';

/*
 * A JSON document of MySQL may hold values that JSON has no form for: DECIMAL, dates and times, bytes. They print as a number or a string, so that two
 * documents of the same text need not be the same, and what is parsed from the text is another. MariaDB's JSON is text, and these columns are none of its.
 */

/** What MySQL parses from the text of a document again. */
const plainTypes = "('OBJECT', 'ARRAY', 'STRING', 'INTEGER', 'UNSIGNED INTEGER', 'DOUBLE', 'BOOLEAN', 'NULL')";

/** The columns that an archive holds as the text of their documents. What is generated is made anew and not given back. */
export function jsonColumns(columns: readonly ColumnDefinition[]): readonly ColumnDefinition[] {
  return columns.filter((column) => column.dataType === 'json' && !column.generated);
}

/**
 * SQL that is true for a document that its text does not give back as it was. A count, since MySQL takes EXISTS over JSON_TABLE for true; and from
 * the document itself, since JSON_EXTRACT of all values is slow for one that is deep.
 */
export function holdsTypedValue(column: ColumnDefinition, alias: string): string {
  const name = `${alias}.${quoteIdentifier(column.name)}`;
  const within = ['$**.*', '$**[*]'].map(
    (path) =>
      `(SELECT COUNT(*) FROM JSON_TABLE(${name}, '${path}' COLUMNS (v JSON PATH '$')) j WHERE JSON_TYPE(j.v) NOT IN ${plainTypes}) > 0`,
  );
  return `IFNULL(JSON_TYPE(${name}) NOT IN ${plainTypes} OR ${within.join(' OR ')}, 0)`;
}

/** The first row of a batch with such a document, with the cells of its key and the column's name as `tableset_column`; null if no column could have one. */
export function typedJsonRow(table: ArchivedTable, { archive, indexHint, where }: CopiedRows): SqlPart | null {
  const columns = jsonColumns(table.columns);
  if (columns.length === 0) return null;
  const conditions = columns.map((column) => holdsTypedValue(column, 'a'));
  const cases = conditions.map((condition) => `WHEN ${condition} THEN ?`);
  return {
    sql: `SELECT ${keyCells(table, 'a')}, CASE ${cases.join(' ')} END AS tableset_column FROM ${archive} a${indexHint} WHERE ${where.sql} AND (${conditions.join(' OR ')}) LIMIT 1`,
    values: [...columns.map(({ name }) => name), ...where.values],
  };
}

/** The error for a row with such a document. */
export function typedJsonRefused(table: string, key: readonly string[], column: string) {
  const [name, quoted] = [quoteIdentifier(table), quoteIdentifier(column)];
  return loaderError(
    'ARCHIVE_VALUE_REFUSED',
    `${table}: the row with key ${JSON.stringify(key)} has a JSON document in ${column} with a DECIMAL, a date, a time or bytes in it, which its text does not give back`,
    {
      hint: `UPDATE ${name} SET ${quoted} = CAST(CAST(${quoted} AS CHAR) AS JSON) WHERE … makes it plain JSON where that is meant.`,
      details: { table, key, column },
    },
  );
}
