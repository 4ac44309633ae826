import type { Connection } from '@tableset/common/database/connection.ts';
import { equalCells } from '../archive/collated.ts';
import type { Condition } from '../config/archive-config.ts';
import type { CanonicalRow } from '../core/archive/canonical.ts';
import type { ManifestTable } from '../core/archive/manifest.ts';
import { cellsReader } from '../core/archive/restore-filter.ts';
import { type AskedTexts, askedTexts, mayBeHeld } from '../core/archive/retention.ts';

type Table = Pick<ManifestTable, 'columns'>;

/** The server is not asked about longer texts, in bytes: they may be held. */
const textBytesMax = 1024 * 1024;

/**
 * True if one of the predicates may hold for one of the rows. Which texts are equal says the primary, by the collation that the column had;
 * where it has not got that, and wherever else it is not known, the row is taken for held.
 * @param pieces of a table's rows
 */
export async function anyMatches(
  connection: Connection,
  table: Table,
  predicates: readonly (readonly Condition[])[],
  pieces: AsyncIterable<readonly CanonicalRow[]>,
): Promise<boolean> {
  const asked = askedTexts(predicates, table);
  let answers = new Map<string, boolean | null>();
  const tests = predicates.map((predicate) =>
    mayBeHeld(predicate, table, (column, cell, value) =>
      // What was not answered true is known to be different, unless it was not answered at all.
      answers.get(textName(column.name, cell, null)) === null
        ? null
        : answers.get(textName(column.name, cell, value)) === true || mayBeConverted(column.characterSet, value),
    ),
  );
  for await (const rows of pieces) {
    answers = new Map();
    for (const texts of asked) await ask(connection, table, texts, rows, answers);
    if (rows.some((row) => tests.some((test) => test(row)))) return true;
  }
  return false;
}

/** A text that the column's character set has not got makes the server compare in another one, by another collation. */
function mayBeConverted(characterSet: string | null, value: string): boolean {
  return !/^utf8/.test(characterSet ?? '') && !/^[ -~]*$/.test(value);
}

async function ask(
  connection: Connection,
  table: Table,
  { column, values }: AskedTexts,
  rows: readonly CanonicalRow[],
  answers: Map<string, boolean | null>,
): Promise<void> {
  const read = cellsReader(table, [column.name]);
  const distinct = Array.from(new Set(rows.flatMap((row) => read(row)[0] ?? [])));
  const cells = distinct.filter((cell) => Buffer.byteLength(cell) <= textBytesMax);
  const pairs = await equalCells(
    connection,
    [column],
    cells.map((cell) => [cell]),
    values.map((value) => [value]),
  );
  for (const cell of distinct)
    if (pairs === null || Buffer.byteLength(cell) > textBytesMax) answers.set(textName(column.name, cell, null), null);
  for (const [left, right] of pairs ?? [])
    answers.set(textName(column.name, cells[left] ?? '', values[right] ?? ''), true);
}

function textName(column: string, cell: string, value: string | null): string {
  return JSON.stringify([column, cell, value]);
}
