import type { Connection } from '@tableset/common/database/connection.ts';
import { serverErrno } from '@tableset/common/database/errno.ts';
import type { ManifestColumn } from '../core/archive/manifest.ts';

type Cells = readonly string[];

/** Statements stay small: at most this many on each side, and about this many bytes. */
const sideRows = 250;
const sideBytes = 1024 * 1024;
/** Unknown character set; collation that is not of the character set; unknown collation. */
const unknownCollation = new Set([1115, 1253, 1273]);

/**
 * Lets the server say which cells are equal, each column by its own collation; columns without one are compared as they are written. No imitation in
 * the program would be right: `ø` is `o` for one collation and a letter of its own for another.
 * @param columns of the cells on either side, in their order
 * @returns places on the left and on the right; null if the server has not got one of the collations
 */
export async function equalCells(
  connection: Connection,
  columns: readonly Pick<ManifestColumn, 'characterSet' | 'collation'>[],
  left: readonly Cells[],
  right: readonly Cells[],
): Promise<readonly (readonly [number, number])[] | null> {
  const pairs: (readonly [number, number])[] = [];
  const names = columns.flatMap(({ characterSet, collation }) => (collation ? [characterSet ?? '', collation] : []));
  if (!names.every((name) => /^\w+$/.test(name))) return null;
  const equal = columns.map((_, place) => `l.c${place} = r.c${place}`).join(' AND ');
  for (const [start, some] of pieces(left)) {
    for (const [other, others] of pieces(right)) {
      const rows = await connection
        .rows(
          `SELECT CAST(l.i AS CHAR) AS l, CAST(r.i AS CHAR) AS r FROM (${listed(some, columns)}) l JOIN (${listed(others, columns)}) r ON ${equal}`,
          [...some.flat(), ...others.flat()],
        )
        .catch((error) => {
          if (unknownCollation.has(serverErrno(error) ?? 0)) return null;
          throw error;
        });
      if (rows === null) return null;
      for (const row of rows) pairs.push([start + Number(row['l']), other + Number(row['r'])]);
    }
  }
  return pairs;
}

function listed(
  rows: readonly Cells[],
  columns: readonly Pick<ManifestColumn, 'characterSet' | 'collation'>[],
): string {
  const cells = columns.map(({ characterSet, collation }, place) =>
    collation ? `CONVERT(? USING ${characterSet}) COLLATE ${collation} AS c${place}` : `CAST(? AS BINARY) AS c${place}`,
  );
  return rows.map((_, place) => `SELECT ${[`${place} AS i`, ...cells].join(', ')}`).join(' UNION ALL ');
}

function* pieces(rows: readonly Cells[]): Generator<readonly [number, readonly Cells[]]> {
  let start = 0;
  let bytes = 0;
  for (const [place, row] of rows.entries()) {
    const own = row.reduce((sum, cell) => sum + Buffer.byteLength(cell), 0);
    if (place > start && (place - start >= sideRows || bytes + own > sideBytes)) {
      yield [start, rows.slice(start, place)];
      start = place;
      bytes = 0;
    }
    bytes += own;
  }
  if (start < rows.length) yield [start, rows.slice(start)];
}
