import { quoteIdentifier, quoteList } from '@tableset/common/database/quoting.ts';
import type { ArchivedTable } from '../core/archive/archive-set.ts';
import type { Cell } from '../core/archive/canonical.ts';
import type { CellKind } from './formats/cell-kind.ts';
import { cellKind, doubleText } from './formats/cell-kind.ts';

/*
 * How the columns of an archived table stand in SQLite, in STRICT tables: INTEGER for whole numbers that 64 bits with a sign hold; ANY for FLOAT
 * and DOUBLE, whose values are REAL there, while a column declared REAL would lose the sign of zero; BLOB for bytes; and TEXT with
 * the server's text for everything else, BIGINT UNSIGNED, BIT(64), DECIMAL and dates included.
 */
export type SqliteType = 'INTEGER' | 'ANY' | 'BLOB' | 'TEXT';

/** Column of every archive table beside those of its source. */
export const batchColumn = 'tableset_batch';

export interface SqliteCodec {
  readonly type: SqliteType;
  /** SQL that stores what `bind` gives for its `?`. */
  readonly parameter: string;
  /** SQL that gives what `cell` takes. */
  expression(name: string): string;
  /** Null for a cell that would not come back as it is. */
  bind(cell: Buffer): Buffer | number | null;
  cell(value: unknown): Cell;
}

/** @param columnType COLUMN_TYPE of the source */
export function sqliteCodec(columnType: string): SqliteCodec {
  const kind = cellKind(columnType);
  if (kind.kind === 'bytes') return blobCodec;
  if (kind.kind === 'float' || kind.kind === 'double') return realCodec;
  if (kind.kind === 'integer' && (kind.signed || kind.bits < 64 || isNarrowBit(columnType))) return integerCodec(kind);
  return textCodec;
}

function isNarrowBit(columnType: string): boolean {
  return /^bit\((\d|[1-5]\d|6[0-3])\)/i.test(columnType);
}

// Texts go as bytes both ways, so that a NUL in them neither ends them nor goes through UTF-16.
const textCodec: SqliteCodec = {
  type: 'TEXT',
  parameter: 'CAST(? AS TEXT)',
  expression: (name) => `CAST(${name} AS BLOB)`,
  bind: (cell) => cell,
  cell: bytes,
};

const blobCodec: SqliteCodec = {
  type: 'BLOB',
  parameter: '?',
  expression: (name) => name,
  bind: (cell) => cell,
  cell: bytes,
};

const realCodec: SqliteCodec = {
  type: 'ANY',
  parameter: '?',
  expression: (name) => name,
  bind(cell) {
    const text = cell.toString('latin1');
    const value = Number(text);
    return Number.isFinite(value) && doubleText(value) === text ? value : null;
  },
  cell: (value) => (value === null ? null : Buffer.from(doubleText(Number(value)), 'latin1')),
};

function integerCodec({ digits }: CellKind & { kind: 'integer' }): SqliteCodec {
  const form = /^(0|-?[1-9]\d{0,18})$/;
  return {
    type: 'INTEGER',
    parameter: 'CAST(CAST(? AS TEXT) AS INTEGER)',
    expression: (name) => `CAST(CAST(${name} AS TEXT) AS BLOB)`,
    bind(cell) {
      const text = cell.toString('latin1');
      const plain = digits > 1 ? text.replace(/^0+(?=\d)/, '') : text;
      if (!form.test(plain) || plain.padStart(digits, '0') !== text) return null;
      // The cast would take the nearest number that fits.
      return plain.length >= 19 && BigInt.asIntN(64, BigInt(plain)) !== BigInt(plain) ? null : Buffer.from(plain);
    },
    cell(value) {
      const text = bytes(value);
      return text === null || text.length >= digits ? text : Buffer.from(text.toString().padStart(digits, '0'));
    },
  };
}

function bytes(value: unknown): Cell {
  if (value === null) return null;
  if (value instanceof Uint8Array) return Buffer.from(value.buffer, value.byteOffset, value.length);
  throw new Error('the store holds another kind of value than was written');
}

/** The table that keeps a table's rows: nullable but for its key, so that columns can be added to it. */
export function createSqliteTable(table: ArchivedTable): readonly string[] {
  const columns = table.columns.map(({ name, columnType }) => {
    const required = table.key.includes(name) ? ' NOT NULL' : '';
    return `${quoteIdentifier(name)} ${sqliteCodec(columnType).type}${required}`;
  });
  columns.push(`${batchColumn} INTEGER NOT NULL`, `PRIMARY KEY (${quoteList([...table.key, batchColumn])})`);
  const name = quoteIdentifier(table.archiveName);
  const index = quoteIdentifier(`${table.archiveName} ${batchColumn}`);
  return [`CREATE TABLE ${name} (${columns.join(', ')}) STRICT`, `CREATE INDEX ${index} ON ${name} (${batchColumn})`];
}

/** A row of `pragma_table_info`. */
export interface SqliteColumn {
  readonly name: string;
  readonly type: string;
  readonly notnull: number;
  /** Place in the primary key from 1 on, 0 outside it. */
  readonly pk: number;
}

/** What is between an archive table and its source: columns to add, and what cannot be helped. */
export function sqliteDrift(
  table: ArchivedTable,
  found: readonly SqliteColumn[],
): { readonly missing: readonly string[]; readonly refusals: readonly string[] } {
  const folded = new Map(found.map((column) => [column.name.toLowerCase(), column]));
  const missing: string[] = [];
  const refusals: string[] = [];
  for (const column of table.columns) {
    const { type } = sqliteCodec(column.columnType);
    const there = folded.get(column.name.toLowerCase());
    folded.delete(column.name.toLowerCase());
    if (there === undefined) missing.push(`${quoteIdentifier(column.name)} ${type}`);
    else if (there.type !== type)
      refusals.push(`${column.name} is ${column.columnType}, kept as ${type}, and in the archive ${there.type}`);
  }
  const key = found.filter((column) => column.pk > 0).sort((a, b) => a.pk - b.pk);
  const wanted = [...table.key, batchColumn];
  if (key.map((column) => column.name.toLowerCase()).join('\0') !== wanted.join('\0').toLowerCase())
    refusals.push(`the archive's primary key is not (${wanted.join(', ')})`);
  for (const column of folded.values()) {
    if (column.notnull !== 0 && column.pk === 0)
      refusals.push(`the archive's column ${column.name} takes no NULL and is not in the table`);
  }
  return { missing, refusals };
}

/** A name for the number of a row that is none of its columns. */
export function rowIdName(columns: readonly string[]): string {
  const taken = new Set(columns.map((column) => column.toLowerCase()));
  const free = ['rowid', '_rowid_', 'oid'].find((name) => !taken.has(name));
  if (free === undefined) throw new RangeError('the table has columns of all the names rowid, _rowid_ and oid');
  return free;
}
