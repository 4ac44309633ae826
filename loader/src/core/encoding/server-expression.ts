import type { ColumnDefinition } from '@tableset/common/database/table-definition.ts';
import type { ServerFlavour } from '../encoded-rows.ts';
import { isBinaryType } from '../values/column-codec.ts';
import { isSpatialType } from '../values/spatial.ts';

/** True if LOAD DATA reads the column's field into the column as it is, so that no user variable and no SET is needed. */
export function loadsPlain(column: ColumnDefinition): boolean {
  return wrapperOf(column) === null;
}

/**
 * The SQL expression that turns a field's text into the column's value, for LOAD DATA's SET clause and INSERT's VALUES. NULL stays NULL.
 * The two servers take the same expressions; the parameter keeps callers from assuming so.
 * @param placeholder SQL of the text: `@v1`, `?` or a literal
 */
export function serverExpression(column: ColumnDefinition, _server: ServerFlavour, placeholder: string): string {
  const wrapper = wrapperOf(column);
  return wrapper === null ? placeholder : `${wrapper.before}${placeholder}${wrapper.after}`;
}

/** What stands before and behind a field's text in SQL; null if nothing does. */
export function wrapperOf(column: ColumnDefinition): { readonly before: string; readonly after: string } | null {
  const { dataType } = column;
  if (isBinaryType(dataType) || dataType === 'vector') return { before: 'UNHEX(', after: ')' };
  if (dataType === 'bit') return { before: 'CAST(', after: ' AS UNSIGNED)' };
  if (isSpatialType(dataType)) return { before: 'ST_GeomFromWKB(UNHEX(', after: `), ${column.srid ?? 0})` };
  return null;
}

/**
 * The SQL expression that prints a stored value as the load text has it, for fingerprints on both sides. Null for types of which the server keeps no
 * canonical text: FLOAT and DOUBLE (compare as DOUBLE) and JSON on MySQL (compare with CAST(text AS JSON)).
 * @param expression SQL of the stored value, usually the quoted column
 */
export function canonicalExpression(
  column: ColumnDefinition,
  server: ServerFlavour,
  expression: string,
): string | null {
  const { dataType } = column;
  if (dataType === 'float' || dataType === 'double') return null;
  if (dataType === 'json' || column.json) return server === 'mysql' ? null : `CAST(${expression} AS CHAR)`;
  if (isBinaryType(dataType) || dataType === 'vector') return `HEX(${expression})`;
  if (dataType === 'bit') return `CAST(${expression} + 0 AS CHAR)`;
  if (isSpatialType(dataType)) return `HEX(ST_AsWKB(${expression}))`;
  return `CAST(${expression} AS CHAR)`;
}
