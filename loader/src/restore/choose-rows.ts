import type { LedgerBatch } from '../archive/batch-ledger.ts';
import { type CanonicalRow, rowHash } from '../core/archive/canonical.ts';
import type { ManifestTable } from '../core/archive/manifest.ts';
import { binaryColumns, keyReader } from '../core/archive/restore-filter.ts';
import { keyText } from '../core/archive/selection.ts';
import type { ArchiveStore } from '../stores/store.ts';
import { batchName, batchTables, verifyFailed } from '../verify/prove-batch.ts';
import type { RowLink } from './child-links.ts';
import { type EqualCells, LinkedRows } from './linked-rows.ts';
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
  /** Which cells of links are equal, as the primary says. */
  readonly equal: EqualCells;
}

/** Which of some rows are taken. */
type RowTest = (rows: readonly CanonicalRow[]) => Promise<readonly boolean[]>;

/** Rows are handed on in pieces of at most this many, and about this many bytes. */
const pieceRows = 500;
const pieceBytes = 4 * 1024 * 1024;

/**
 * The rows of a batch that are to be restored: those of the root that match, then, parents first, what belongs to them. Each table is proved as a
 * whole before any of its rows is handed on. Of a batch whose root rows are all taken every row comes along.
 * @throws AppError ARCHIVE_VERIFY_FAILED, ARCHIVE_TABLE_UNSUITABLE if it is not known which children belong to the rows
 */
export async function* chooseRows(
  store: ArchiveStore,
  batch: LedgerBatch,
  choice: RowChoice,
  proofs: ProofKeeper,
  seen: SeenKeys,
): AsyncGenerator<ChosenRows> {
  const tables = batchTables(batch);
  const parents = new LinkedRows(batch, choice.equal);
  for (const [place, table] of tables.entries()) {
    if (place > 0 && (choice.links === null || parents.none)) return;
    const links = place === 0 || choice.links === null ? [] : await choice.links(place);
    const test = place === 0 ? rootTest(choice.matches) : parents.left ? parents.test(table, links) : null;
    const proved = await proofs.hashes(store, batch, table);
    const children = choice.links === null ? [] : await linksTo(place, tables, choice.links);
    const keep = parents.keeper(place, table, children);
    const leave = (row: CanonicalRow) => keep(row, false);
    for await (const piece of readTable(store, batch, table, { test, leave }, proved)) {
      const rows: ArchivedRow[] = [];
      for (const archived of piece) {
        const taken = seen.take(table.table, archived.key);
        keep(archived.row, taken);
        if (taken) rows.push(archived);
      }
      const before = tables.slice(0, place).map((each) => each.table);
      yield { place, table, rows, parents: before, superseded: piece.length - rows.length };
    }
  }
}

function rootTest(matches: RowChoice['matches']): RowTest | null {
  return matches && (async (rows) => rows.map(matches));
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

/** Rows of one table that the test takes, in pieces; the others are left. */
async function* readTable(
  store: ArchiveStore,
  batch: LedgerBatch,
  table: ManifestTable,
  { test, leave }: { readonly test: RowTest | null; readonly leave: (row: CanonicalRow) => void },
  proved: ReadonlySet<string>,
): AsyncGenerator<readonly ArchivedRow[]> {
  const binary = binaryColumns(table);
  const keyOf = keyReader(table);
  let piece: ArchivedRow[] = [];
  let bytes = 0;
  for await (const rows of store.rows(batchName(batch), table)) {
    const taken = test && (await test(rows));
    for (const [index, row] of rows.entries()) {
      if (taken && !taken[index]) {
        leave(row);
        continue;
      }
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
