import { hash } from 'node:crypto';
import { quoteIdentifier } from '@tableset/common/database/quoting.ts';
import type { ColumnDefinition } from '@tableset/common/database/table-definition.ts';
import { isBinaryType, isTextType } from '../values/column-codec.ts';
import { isSpatialType } from '../values/spatial.ts';

/*
 * The canonical form of a row, the same for the primary, every store and every format: a list of cells, one for each stored column in
 * the table's order. A cell is null, or bytes:
 *
 * - binary strings, BLOBs, VECTOR and spatial values: the stored bytes themselves (a spatial value with the four bytes of its reference system before);
 * - FLOAT and DOUBLE: the shortest decimal text of the value as a DOUBLE, with the sign of zero, which names each of them exactly;
 * - BIT: its value as a decimal number;
 * - everything else: the text that the server prints, in UTF-8 (JSON as the server normalises it, TIMESTAMP in UTC).
 *
 * A row's hash is the SHA-256 of its cells joined by the byte FF, NULL as the byte FE, and binary cells in upper-case hexadecimal digits. UTF-8 text
 * contains neither byte, so no two rows have the same text. The servers compute it themselves with SHA2(), so that a stored row is
 * proved without sending it.
 */

/** Null, or the bytes of a value in its canonical form. */
export type Cell = Buffer | null;
/** One cell for each stored column, in the table's order. */
export type CanonicalRow = readonly Cell[];

const fieldEnd = 0xff;
const nullMark = 0xfe;

/** True for columns whose cells are the stored bytes rather than text. */
export function isBinaryColumn(column: ColumnDefinition): boolean {
  return isBinaryType(column.dataType) || column.dataType === 'vector' || isSpatialType(column.dataType);
}

/**
 * SQL that gives a column's cell: selected over a utf8mb4 connection, its bytes are the cell.
 * @param alias of the table, unquoted; empty for none
 */
export function cellExpression(column: ColumnDefinition, alias = ''): string {
  const name = `${alias === '' ? '' : `${alias}.`}${quoteIdentifier(column.name)}`;
  const { dataType } = column;
  // A product keeps the sign of zero, where a sum loses it; a bare FLOAT prints too few digits.
  if (dataType === 'float' || dataType === 'double') return `(${name} * 1e0)`;
  if (dataType === 'bit') return `(${name} + 0)`;
  return name;
}

/**
 * SQL of the bytes that stand for a column in the text that a row's hash is made of; NULL stays NULL. Binary all of it: the marks between and
 * for NULL are no characters, and next to text a server would try to make them some.
 */
function hashedExpression(column: ColumnDefinition, alias: string): string {
  const cell = cellExpression(column, alias);
  if (isBinaryColumn(column)) return `CAST(HEX(${cell}) AS BINARY)`;
  if (isTextType(column.dataType) || column.dataType === 'enum' || column.dataType === 'set' || column.json) {
    // As bytes, so that columns of different collations can stand in one CONCAT.
    return `CAST(${column.characterSet === 'utf8mb4' ? cell : `CONVERT(${cell} USING utf8mb4)`} AS BINARY)`;
  }
  if (column.dataType === 'json') return `CAST(CAST(${cell} AS CHAR CHARACTER SET utf8mb4) AS BINARY)`;
  if (column.dataType === 'float' || column.dataType === 'double') return `CAST(${exactText(cell)} AS BINARY)`;
  // Straight to BINARY would give the inner bytes of a UUID or an address.
  return `CAST(CAST(${cell} AS CHAR) AS BINARY)`;
}

/**
 * The text of a double as the servers send it. MySQL's CAST cuts it at 22 characters, which takes digits off small and negative numbers, while its JSON has all
 * of them and `.0` behind a whole number. MariaDB ignores comments for MySQL 8, and casts with all digits.
 */
function exactText(cell: string): string {
  return `CAST(/*!80000 TRIM(TRAILING '.0' FROM CAST(CAST( */ ${cell} /*!80000 AS JSON) AS CHAR)) */ AS CHAR)`;
}

/**
 * SQL of a row's hash: 64 lower-case hexadecimal digits, or NULL (with warning 1301) for a row whose text is longer than the
 * server's max_allowed_packet, which nothing may then be done with. MariaDB gives NULL also for a single cell that is too long: IFNULL would take that
 * for the value, and CONCAT_WS leave it out, so that the hash would no longer tell such rows apart.
 */
export function rowHashExpression(columns: readonly ColumnDefinition[], alias = ''): string {
  const cells = columns.map((column) => {
    const expression = hashedExpression(column, alias);
    if (!column.nullable && !column.generated) return expression;
    return `IF(${alias === '' ? '' : `${alias}.`}${quoteIdentifier(column.name)} IS NULL, X'FE', ${expression})`;
  });
  return `SHA2(CONCAT(${cells.join(", X'FF', ")}), 256)`;
}

/** The hash of a row at hand, the same as `rowHashExpression` gives on the server. */
export function rowHash(row: CanonicalRow, binary: readonly boolean[]): string {
  const parts: Buffer[] = [];
  for (const [index, cell] of row.entries()) {
    if (index > 0) parts.push(fieldEndBytes);
    if (cell === null) parts.push(nullBytes);
    else parts.push(binary[index] ? Buffer.from(cell.toString('hex').toUpperCase(), 'latin1') : cell);
  }
  return hash('sha256', Buffer.concat(parts));
}

const fieldEndBytes = Buffer.of(fieldEnd);
const nullBytes = Buffer.of(nullMark);

/**
 * The digest of a table's rows in one batch, whatever their order: SHA-256 of their hashes in ascending order, each with a line feed, so
 * that `sort | sha256sum` gives it too.
 */
export function batchDigest(hashes: readonly string[]): string {
  return hash('sha256', hashes.length === 0 ? '' : `${hashes.toSorted().join('\n')}\n`);
}
