import type { Connection, Row } from '@tableset/common/database/connection.ts';
import { cellText } from '../core/archive/restore-filter.ts';
import {
  findCells,
  findRows,
  findUnique,
  foundColumns,
  furtherUniqueKeys,
  type RestoreTarget,
} from '../core/archive/restore-sql.ts';
import { keyText } from '../core/archive/selection.ts';
import type { ArchivedRow } from './choose-rows.ts';

/** Rows looked up in one statement. */
const lookupRows = 500;

/** A row of the table, by its key as JSON. */
export interface ExistingRow {
  readonly key: string;
  /** Null if the server could not make it. */
  readonly hash: string | null;
}

/**
 * The rows that the table has under the keys of archived ones, by the archived row's key: also under a key of other bytes that the collation calls
 * equal.
 * @param lock keeps them as they are until the transaction ends
 */
export async function existingRows(
  connection: Connection,
  target: RestoreTarget,
  rows: readonly ArchivedRow[],
  lock: boolean,
): Promise<ReadonlyMap<string, ExistingRow>> {
  const found = new Map<string, ExistingRow>();
  for (let start = 0; start < rows.length; start += lookupRows) {
    const part = rows.slice(start, start + lookupRows);
    const existing = await find(connection, target, part, lock);
    const keys = new Set(part.map(({ key }) => key));
    for (const row of existing) if (keys.has(row.key)) found.set(row.key, row);
    if (existing.every(({ key }) => keys.has(key))) continue;
    // Some are written in another way, so that each of the rest is asked for by itself.
    for (const row of part) {
      const [other] = found.has(row.key) ? [] : await find(connection, target, [row], lock);
      if (other) found.set(row.key, other);
    }
  }
  return found;
}

async function find(
  connection: Connection,
  target: RestoreTarget,
  rows: readonly ArchivedRow[],
  lock: boolean,
): Promise<readonly ExistingRow[]> {
  const { sql, values } = findRows(
    target,
    rows.map(({ row }) => row),
    lock,
  );
  return (await connection.rows(sql, values)).map((row) => existingRow(row, target));
}

function existingRow(row: Row, target: RestoreTarget): ExistingRow {
  const cells = target.key.map((column, place) => {
    const cell = row[foundColumns.key(place)] ?? null;
    return (
      (typeof cell === 'string' ? cell : cellText(cell, target.binary[target.columns.indexOf(column)] ?? false)) ?? ''
    );
  });
  const hash = row[foundColumns.hash] ?? null;
  return { key: keyText(cells), hash: hash === null ? null : String(hash) };
}

/** An archived row that cannot come in because another row holds its value of a unique key. */
export interface UniqueConflict {
  readonly index: string;
  /** Key of the other row. */
  readonly key: string;
}

/** Rows with other keys that hold what is unique of these rows. */
export async function uniqueConflicts(
  connection: Connection,
  target: RestoreTarget,
  rows: readonly ArchivedRow[],
): Promise<readonly UniqueConflict[]> {
  const conflicts: UniqueConflict[] = [];
  const keys = new Set(rows.map(({ key }) => key));
  for (const { name, columns } of furtherUniqueKeys(target)) {
    for (let start = 0; start < rows.length; start += lookupRows) {
      const part = rows.slice(start, start + lookupRows).map(({ row }) => row);
      const statement = findUnique(target, columns, part);
      if (!statement) continue;
      for (const row of await connection.rows(statement.sql, statement.values)) {
        const { key } = existingRow(row, target);
        if (!keys.has(key)) conflicts.push({ index: name, key });
      }
    }
  }
  return conflicts;
}

/** Names of the columns in which a row of the table differs from an archived one; null if the row is not there. */
export async function differingColumns(
  connection: Connection,
  target: RestoreTarget,
  archived: ArchivedRow,
): Promise<readonly string[] | null> {
  const { sql, values } = findCells(target, archived.row);
  const row = await connection.row(sql, values);
  if (!row) return null;
  return target.columns.flatMap(({ name }, place) => {
    const binary = target.binary[place] ?? false;
    const cell = row[`c${place}`] ?? null;
    const text = typeof cell === 'string' ? cell : cellText(cell, binary);
    return text === cellText(archived.row[place] ?? null, binary) ? [] : [name];
  });
}
