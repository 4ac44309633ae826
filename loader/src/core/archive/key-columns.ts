import { quoteIdentifier } from '@tableset/common/database/quoting.ts';
import type { ColumnDefinition } from '@tableset/common/database/table-definition.ts';
import { isTextType } from '../values/column-codec.ts';
import { isIntegerType } from '../values/integer.ts';
import { cellExpression, isBinaryColumn } from './canonical.ts';
import type { SqlPart } from './conditions.ts';

/** A cell of a key as manifests, holds and the ledger write it: text, binary ones as upper-case hexadecimal digits. */
export function keyCell(value: string | Buffer | null | undefined): string {
  return Buffer.isBuffer(value) ? value.toString('hex').toUpperCase() : String(value);
}

/**
 * A key's cell as an expression that the server compares by the column's own type and order, exactly and by its index: a text
 * next to a number would be compared as DOUBLE. A SET is compared by its number, as its index is ordered.
 */
export function keyLiteral(column: ColumnDefinition, cell: string): SqlPart {
  const { dataType } = column;
  if (isIntegerType(dataType) || dataType === 'bit' || dataType === 'year') return { sql: '?', values: [BigInt(cell)] };
  if (dataType === 'decimal') {
    return { sql: `CAST(? AS DECIMAL(${column.numericPrecision ?? 65},${column.numericScale ?? 30}))`, values: [cell] };
  }
  if (isBinaryColumn(column)) return { sql: '?', values: [Buffer.from(cell, 'hex')] };
  if (dataType === 'set') return { sql: '?', values: [memberBits(column, cell)] };
  return { sql: '?', values: [cell] };
}

function memberBits(column: ColumnDefinition, cell: string): bigint {
  const chosen = new Set(cell === '' ? [] : cell.split(','));
  return column.members.reduce((bits, member, place) => (chosen.has(member) ? bits | (1n << BigInt(place)) : bits), 0n);
}

/** Columns and the cells of a point in their order. */
export interface OrderedCell {
  readonly column: ColumnDefinition;
  readonly cell: string;
}

/**
 * Rows after a point, or up to and with it, in the order of the columns. Written with ORs: neither server uses an index for all of
 * `(a, b) > (x, y)`.
 */
export function bound(cells: readonly OrderedCell[], side: 'after' | 'upto', alias: string): SqlPart {
  const [first, ...rest] = cells;
  if (!first) return { sql: 'TRUE', values: [] };
  const name = nameOf(first.column, alias);
  const literal = keyLiteral(first.column, first.cell);
  const beyond = strictly(first, side, alias);
  if (rest.length === 0) {
    if (side === 'after') return beyond;
    return first.column.dataType === 'enum'
      ? { sql: `(${beyond.sql} OR ${name} = ?)`, values: [...beyond.values, first.cell] }
      : { sql: `${name} <= ${literal.sql}`, values: literal.values };
  }
  const further = bound(rest, side, alias);
  return {
    sql: `(${beyond.sql} OR (${name} = ${literal.sql} AND ${further.sql}))`,
    values: [...beyond.values, ...literal.values, ...further.values],
  };
}

/** An ENUM is ordered by number and compared by text, and only single values of it are found by an index. */
function strictly({ column, cell }: OrderedCell, side: 'after' | 'upto', alias: string): SqlPart {
  const name = nameOf(column, alias);
  if (column.dataType !== 'enum') {
    const literal = keyLiteral(column, cell);
    return { sql: `${name} ${side === 'after' ? '>' : '<'} ${literal.sql}`, values: literal.values };
  }
  // Before the first member is the empty text of a value that was none.
  const ordered = column.members.includes('') ? column.members : ['', ...column.members];
  const place = ordered.indexOf(cell);
  // A guess would skip rows or take them twice.
  if (place < 0) throw new RangeError(`${JSON.stringify(cell)} is no member of ${column.name}`);
  const members = side === 'after' ? ordered.slice(place + 1) : ordered.slice(0, place);
  if (members.length === 0) return { sql: 'FALSE', values: [] };
  return { sql: `${name} IN (${members.map(() => '?').join(', ')})`, values: members };
}

function nameOf(column: ColumnDefinition, alias: string): string {
  return `${alias}.${quoteIdentifier(column.name)}`;
}

/** The row with exactly this key. */
export function isKey(cells: readonly OrderedCell[], alias: string): SqlPart {
  const parts = cells.map(({ column, cell }) => {
    const literal = keyLiteral(column, cell);
    return { sql: `${nameOf(column, alias)} = ${literal.sql}`, values: literal.values };
  });
  return { sql: `(${parts.map(({ sql }) => sql).join(' AND ')})`, values: parts.flatMap(({ values }) => values) };
}

/** SQL of a hold's `key_hash`: the SHA-256 of what `keyText` gives for the row's key, as 32 bytes. */
export function keyHashExpression(key: readonly ColumnDefinition[], alias: string): string {
  const cells = key.map((column) => {
    const cell = cellExpression(column, alias);
    if (isBinaryColumn(column)) return `'"', HEX(${cell}), '"'`;
    if (isTextType(column.dataType) || column.dataType === 'enum' || column.dataType === 'set')
      return `'"', ${escaped(cell)}, '"'`;
    return `'"', CAST(${cell} AS CHAR), '"'`;
  });
  return `UNHEX(SHA2(CONCAT('[', ${cells.join(", ',', ")}, ']'), 256))`;
}

/**
 * The inside of a JSON string as JavaScript writes it, as bytes, so that columns of different collations can stand in one CONCAT. JSON_QUOTE writes
 * control characters in a way of each server's own.
 */
function escaped(cell: string): string {
  const special = ['\\', '"', ...Array.from({ length: 0x20 }, (_, code) => String.fromCharCode(code))];
  return special.reduce((text, character) => {
    const code = Buffer.from(character).toString('hex').toUpperCase();
    return `REPLACE(${text}, X'${code}', X'${Buffer.from(JSON.stringify(character).slice(1, -1)).toString('hex')}')`;
  }, `CAST(CONVERT(${cell} USING utf8mb4) AS BINARY)`);
}
