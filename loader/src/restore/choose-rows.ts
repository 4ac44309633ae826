import type { LedgerBatch } from '../archive/batch-ledger.ts';
import { type CanonicalRow, rowHash } from '../core/archive/canonical.ts';
import type { ManifestTable } from '../core/archive/manifest.ts';
import { binaryColumns, cellsReader, keyReader } from '../core/archive/restore-filter.ts';
import { keyText } from '../core/archive/selection.ts';
import { loaderError } from '../errors.ts';
import type { ArchiveStore } from '../stores/store.ts';
import { batchName, batchTables, verifyFailed } from '../verify/prove-batch.ts';
import type { RowLink } from './child-links.ts';
import type { ProofKeeper } from './proof-keeper.ts';
import type { SeenKeys } from './seen-keys.ts';

/** A row that is to be restored, proved to be one of its batch. */
export interface ArchivedRow {
  readonly row: CanonicalRow;
  /** The key's cells as JSON, which identifies the row. */
  readonly key: string;
  readonly hash: string;
}

export interface ChosenRows {
  /** Place of the table in the manifest; 0 is the root. */
  readonly place: number;
  readonly table: ManifestTable;
  readonly rows: readonly ArchivedRow[];
  /** Tables of the set before this one, whose rows come back along. */
  readonly parents: readonly string[];
  /** Rows that were asked for and have a newer version. */
  readonly superseded: number;
}

export interface RowChoice {
  /** Of the root's rows; null takes the whole batch. */
  readonly matches: ((row: CanonicalRow) => boolean) | null;
  /** By place in the manifest; null where the children stay in the archive. */
  readonly links: ((place: number) => Promise<readonly RowLink[]>) | null;
}

/** Rows are handed on in pieces of at most this many, and about this many bytes. */
const pieceRows = 500;
const pieceBytes = 4 * 1024 * 1024;

/**
 * The rows of a batch that are to be restored: those of the root that match, then, parents first, what belongs to them. Each table is proved as a
 * whole before any of its rows is handed on.
 * @throws AppError ARCHIVE_VERIFY_FAILED
 */
export async function* chooseRows(
  store: ArchiveStore,
  batch: LedgerBatch,
  choice: RowChoice,
  proofs: ProofKeeper,
  seen: SeenKeys,
): AsyncGenerator<ChosenRows> {
  const tables = batchTables(batch);
  const parents = new ParentCells();
  for (const [place, table] of tables.entries()) {
    if (place > 0 && (choice.links === null || parents.none)) return;
    const links = place === 0 || choice.links === null ? [] : await choice.links(place);
    const whole = choice.matches === null && !parents.left;
    const test = place === 0 ? choice.matches : whole ? null : parents.test(table, links);
    const proved = await proofs.hashes(store, batch, table);
    const children = choice.links === null ? [] : await linksTo(place, tables, choice.links);
    const keep = parents.keeper(place, table, children);
    for await (const piece of readTable(store, batch, table, test, proved)) {
      const rows = piece.filter(({ key }) => seen.take(table.table, key));
      for (const { row } of rows) keep(row);
      if (rows.length < piece.length) parents.left = true;
      const before = tables.slice(0, place).map((each) => each.table);
      yield { place, table, rows, parents: before, superseded: piece.length - rows.length };
    }
  }
}

async function linksTo(
  parent: number,
  tables: readonly ManifestTable[],
  links: (place: number) => Promise<readonly RowLink[]>,
): Promise<readonly RowLink[]> {
  const all: RowLink[] = [];
  for (let place = parent + 1; place < tables.length; place++) all.push(...(await links(place)));
  return all.filter((link) => link.parent === parent);
}

/** Rows of one table that the test takes, in pieces. */
async function* readTable(
  store: ArchiveStore,
  batch: LedgerBatch,
  table: ManifestTable,
  test: ((row: CanonicalRow) => boolean) | null,
  proved: ReadonlySet<string>,
): AsyncGenerator<readonly ArchivedRow[]> {
  const binary = binaryColumns(table);
  const keyOf = keyReader(table);
  let piece: ArchivedRow[] = [];
  let bytes = 0;
  for await (const rows of store.rows(batchName(batch), table)) {
    for (const row of rows) {
      if (test && !test(row)) continue;
      const hash = rowHash(row, binary);
      const key = keyText(keyOf(row));
      // The store was read twice, and must say the same twice.
      if (!proved.has(hash)) {
        const what = `the row ${key} is none of those that were proved a moment ago`;
        throw verifyFailed([{ batch: batch.id, store: store.name, table: table.table, what }]);
      }
      piece.push({ row, key, hash });
      bytes += row.reduce((sum, cell) => sum + (cell?.length ?? 0), 0);
      if (piece.length < pieceRows && bytes < pieceBytes) continue;
      yield piece;
      piece = [];
      bytes = 0;
    }
  }
  if (piece.length > 0) yield piece;
}

/** Which values of parents' columns were taken, for the children that refer to them. */
class ParentCells {
  readonly #taken = new Map<string, Set<string>>();
  #rows = 0;
  /** True once a row was left out, so that what belongs to it must stay out too. */
  left = false;

  get none(): boolean {
    return this.#rows === 0;
  }

  /** Makes the function that remembers what children refer to of a parent's row. */
  keeper(place: number, table: ManifestTable, links: readonly RowLink[]): (row: CanonicalRow) => void {
    const readers = links.map((link) => {
      const values = new Set<string>();
      this.#taken.set(linkName({ ...link, parent: place }), values);
      const read = comparedCells(table, link.parentColumns);
      return (row: CanonicalRow) => values.add(JSON.stringify(read(row)));
    });
    return (row) => {
      this.#rows++;
      for (const read of readers) read(row);
    };
  }

  /**
   * Makes the test whether a child's row belongs to a row that was taken.
   * @throws AppError ARCHIVE_TABLE_UNSUITABLE if nothing says which rows do
   */
  test(table: ManifestTable, links: readonly RowLink[]): (row: CanonicalRow) => boolean {
    if (links.length === 0) {
      throw loaderError(
        'ARCHIVE_TABLE_UNSUITABLE',
        `nothing says which rows of ${table.table} belong to which of its parent: neither a foreign key nor its entry under children`,
        { hint: 'Give the entry its columns by on, or restore whole batches with --batch.' },
      );
    }
    const tests = links.map((link) => {
      const values = this.#taken.get(linkName(link));
      const read = comparedCells(table, link.columns);
      return (row: CanonicalRow) => {
        const cells = read(row);
        return !cells.includes(null) && values?.has(JSON.stringify(cells)) === true;
      };
    });
    return (row) => tests.some((test) => test(row));
  }
}

function linkName(link: RowLink): string {
  return JSON.stringify([link.parent, link.parentColumns]);
}

/** The cells of a foreign key's columns in a form in which those are the same that their collations call equal. */
function comparedCells(
  table: ManifestTable,
  names: readonly string[],
): (row: CanonicalRow) => readonly (string | null)[] {
  const read = cellsReader(table, names);
  const folds = names.map((name) => foldOf(table.columns.find((column) => column.name === name)?.collation ?? null));
  return (row) => read(row).map((cell, place) => (cell === null ? null : (folds[place]?.(cell) ?? cell)));
}

function foldOf(collation: string | null): (text: string) => string {
  if (collation === null || /_bin$|^binary$/.test(collation)) return (text) => text;
  const plain = (text: string) => text.normalize('NFKD').trimEnd();
  if (/_cs$/.test(collation)) return plain;
  const withoutCase = (text: string) => plain(text).toUpperCase().toLowerCase();
  if (/_as_ci$/.test(collation)) return withoutCase;
  return (text) => withoutCase(text).replace(/\p{M}/gu, '');
}
