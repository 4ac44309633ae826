import type { LedgerBatch } from '../archive/batch-ledger.ts';
import type { CanonicalRow } from '../core/archive/canonical.ts';
import type { ManifestColumn, ManifestTable } from '../core/archive/manifest.ts';
import { cellsReader } from '../core/archive/restore-filter.ts';
import { loaderError } from '../errors.ts';
import type { RowLink } from './child-links.ts';

/** Places of equal cells on the left and on the right, by the columns' collations; null if the primary has not got one of them. */
export type EqualCells = (
  columns: readonly ManifestColumn[],
  left: readonly (readonly string[])[],
  right: readonly (readonly string[])[],
) => Promise<readonly (readonly [number, number])[] | null>;

/** The cells of a link in the parents of a batch, as JSON: true if a row with them is taken. */
type ParentCells = Map<string, boolean>;

/** Which rows of a batch are taken and which are left, for the children that refer to them. */
export class LinkedRows {
  readonly #batch: LedgerBatch;
  readonly #equal: EqualCells;
  readonly #parents = new Map<string, ParentCells>();
  #taken = 0;
  #left = 0;

  constructor(batch: LedgerBatch, equal: EqualCells) {
    this.#batch = batch;
    this.#equal = equal;
  }

  get none(): boolean {
    return this.#taken === 0;
  }

  /** True once a row was left out, so that what belongs to it must stay out too. */
  get left(): boolean {
    return this.#left > 0;
  }

  /** Makes the function that remembers what children refer to of a parent's row. */
  keeper(place: number, table: ManifestTable, links: readonly RowLink[]): (row: CanonicalRow, taken: boolean) => void {
    const readers = links.map((link) => {
      const cells: ParentCells = new Map();
      this.#parents.set(linkName({ ...link, parent: place }), cells);
      const read = cellsReader(table, link.parentColumns);
      return (row: CanonicalRow, taken: boolean) => {
        const name = JSON.stringify(read(row));
        cells.set(name, taken || cells.get(name) === true);
      };
    });
    return (row, taken) => {
      if (taken) this.#taken++;
      else this.#left++;
      for (const read of readers) read(row, taken);
    };
  }

  /**
   * Makes the test which children belong to rows that were taken. The primary says so where their cells are not written alike.
   * @throws AppError ARCHIVE_TABLE_UNSUITABLE if nothing says which rows do; the test the same for a row that belongs to none of its batch
   */
  test(
    table: ManifestTable,
    links: readonly RowLink[],
  ): (rows: readonly CanonicalRow[]) => Promise<readonly boolean[]> {
    if (links.length === 0) {
      throw loaderError(
        'ARCHIVE_TABLE_UNSUITABLE',
        `nothing says which rows of ${table.table} belong to which of its parent: neither a foreign key nor its entry under children`,
        { hint: 'Give the entry its columns by on, or restore whole batches with --batch.' },
      );
    }
    const tests = links.map((link) => this.#linkTest(table, link));
    return async (rows) => {
      const answers: (readonly (boolean | null)[])[] = [];
      for (const test of tests) answers.push(await test(rows));
      return rows.map((_, index) => {
        const own = answers.map((answer) => answer[index] ?? null);
        if (own.every((answer) => answer === null)) throw this.#orphan(table);
        return own.includes(true);
      });
    };
  }

  /** Makes the test whether rows belong to one that is taken; null for those that belong to none. */
  #linkTest(
    table: ManifestTable,
    link: RowLink,
  ): (rows: readonly CanonicalRow[]) => Promise<readonly (boolean | null)[]> {
    const parents: ParentCells = this.#parents.get(linkName(link)) ?? new Map();
    const read = cellsReader(table, link.columns);
    const columns = link.columns.flatMap((name) => table.columns.find((column) => column.name === name) ?? []);
    // Cells that no parent has in just this way.
    const others = new Map<string, boolean | null>();
    return async (rows) => {
      const names = rows.map((row) => {
        const cells = read(row);
        return cells.includes(null) ? null : JSON.stringify(cells);
      });
      const unknown = new Set(names.filter((name) => name !== null && !parents.has(name) && !others.has(name)));
      // The type guard is lost in the filter above.
      await this.#askFor(columns, parents, Array.from(unknown) as readonly string[], others);
      return names.map((name) => (name === null ? null : (parents.get(name) ?? others.get(name) ?? null)));
    };
  }

  async #askFor(
    columns: readonly ManifestColumn[],
    parents: ParentCells,
    unknown: readonly string[],
    others: Map<string, boolean | null>,
  ): Promise<void> {
    for (const name of unknown) others.set(name, null);
    // Without a collation the same value is always written alike.
    if (unknown.length === 0 || columns.every(({ collation }) => collation === null)) return;
    // NULL refers to nothing.
    const names = Array.from(parents.keys()).filter((name) => !cellsOf(name).includes(null));
    const pairs = await this.#equal(columns, unknown.map(wholeCells), names.map(wholeCells));
    for (const [child, parent] of pairs ?? []) {
      const name = unknown[child] ?? '';
      others.set(name, parents.get(names[parent] ?? '') === true || others.get(name) === true);
    }
  }

  #orphan(table: ManifestTable) {
    return loaderError(
      'ARCHIVE_TABLE_UNSUITABLE',
      `batch ${this.#batch.id} has a row of ${table.table} that belongs to no parent in it, as the tables are linked and compare texts now: which of its rows to restore is not known`,
      { hint: 'Restore the whole batch with --batch.' },
    );
  }
}

function cellsOf(name: string): readonly (string | null)[] {
  // Written above, by JSON.stringify of such a list.
  return JSON.parse(name) as readonly (string | null)[];
}

/** Cells of which none is NULL. */
function wholeCells(name: string): readonly string[] {
  return cellsOf(name).map((cell) => cell ?? '');
}

function linkName(link: RowLink): string {
  return JSON.stringify([link.parent, link.parentColumns]);
}
