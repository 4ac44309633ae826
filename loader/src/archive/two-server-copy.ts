import type { Connection } from '@tableset/common/database/connection.ts';
import type { ArchivedTable } from '../core/archive/archive-set.ts';
import { batchDigest, type CanonicalRow, type Cell, isBinaryColumn } from '../core/archive/canonical.ts';
import type { SqlPart } from '../core/archive/conditions.ts';
import { toUtc } from '../core/archive/cutoff.ts';
import { typedJsonRefused } from '../core/archive/json-values.ts';
import { keyCell } from '../core/archive/key-columns.ts';
import { type Manifest, type ManifestTable, manifestFormat } from '../core/archive/manifest.ts';
import type { KeyRange } from '../core/archive/selection.ts';
import { createStatistics } from '../core/archive/statistics.ts';
import { type KeyRow, keyColumns, readChildren, readRoot, rowFacts } from '../core/archive/two-server-sql.ts';
import { loaderError } from '../errors.ts';
import { readCells } from '../stores/mysql-store-cells.ts';
import type { BatchName } from '../stores/store.ts';
import type { EngineContext } from './engine.ts';
import type { BatchKeys } from './two-server-keys.ts';

/** A batch as it was copied: what its manifest says, and every row that is to be deleted, by table of the set. */
export interface CopiedBatch {
  readonly manifest: Manifest;
  readonly rows: readonly (readonly KeyRow[])[];
}

/** The connection that reads the primary while the lock's connection deletes, and its tables of keys. */
export interface Reader {
  readonly connection: Connection;
  readonly keys: BatchKeys;
  readonly clock: PrimaryClock;
}

/** The primary's clock, asked once and carried on by this machine's: it says when a batch was made, and decides nothing. */
export class PrimaryClock {
  readonly #connection: Connection;
  #asked: { readonly ms: number; readonly at: number } | null = null;

  constructor(connection: Connection) {
    this.#connection = connection;
  }

  /** UTC, `YYYY-MM-DD HH:MM:SS.ffffff`. */
  async now(): Promise<string> {
    if (!this.#asked) {
      const row = await this.#connection.row('SELECT CAST(UTC_TIMESTAMP(3) AS CHAR) AS now');
      this.#asked = { ms: Date.parse(`${String(row?.['now']).replace(' ', 'T')}Z`), at: performance.now() };
    }
    const time = new Date(this.#asked.ms + performance.now() - this.#asked.at);
    return `${time.toISOString().slice(0, -1).replace('T', ' ')}000`;
  }
}

/**
 * Copies the rows of a range with all that hangs on them into the store, without locks.
 * @param excluded keys of root rows that are left out, as JSON texts
 * @returns null if no row is left to be copied
 * @throws AppError ARCHIVE_VALUE_REFUSED for a row that no archive could give back
 */
export async function copyBatch(
  context: EngineContext,
  reader: Reader,
  batch: BatchName,
  range: KeyRange,
  excluded: ReadonlySet<string>,
): Promise<CopiedBatch | null> {
  const { set, selection } = context;
  const parents = new Set(set.tables.map((table) => table.child?.parent));
  const rows: (readonly KeyRow[])[] = [];
  const tables: ManifestTable[] = [];
  for (const [index, table] of set.tables.entries()) {
    const query = table.child === null ? readRoot(table, selection, range) : readChildren(set, table, table.child);
    const copy = new TableCopy(context, table, excluded);
    const described = await copy.write(reader, batch, query);
    if (described === null) return null;
    if (parents.has(index)) await reader.keys.fill(index, copy.rows);
    rows.push(copy.rows);
    tables.push(described);
  }
  const { host, port, name } = reader.connection.settings;
  const manifest: Manifest = {
    format: manifestFormat,
    batch: batch.id,
    program: context.program,
    source: `${host}:${port}/${name}`,
    run: context.runId,
    cutoff: context.cutoff.utc,
    createdAt: await reader.clock.now(),
    tables,
  };
  return { manifest, rows };
}

/** One table of a batch on its way into the store. */
class TableCopy {
  readonly #context: EngineContext;
  readonly #table: ArchivedTable;
  readonly #excluded: ReadonlySet<string>;
  readonly #key: readonly { readonly index: number; readonly binary: boolean }[];
  /** Rows of the batch, those that go without a copy among them. */
  readonly rows: KeyRow[] = [];
  #first: readonly string[] | null = null;
  #last: readonly string[] | null = null;
  #oldest: Cell = null;
  #newest: Cell = null;
  readonly #dateIndex: number;
  /** What reading the primary failed with: a store would tell of it as its own fault. */
  #readFailure: { readonly error: unknown } | null = null;

  constructor(context: EngineContext, table: ArchivedTable, excluded: ReadonlySet<string>) {
    this.#context = context;
    this.#table = table;
    this.#excluded = excluded;
    this.#key = keyColumns(table).map((column) => ({
      index: table.columns.indexOf(column),
      binary: isBinaryColumn(column),
    }));
    const { dateColumn } = context.set.task;
    this.#dateIndex = table.child === null ? table.columns.findIndex((column) => column.name === dateColumn) : -1;
  }

  /** @returns null if it is the root and has no rows */
  async write(reader: Reader, batch: BatchName, query: SqlPart): Promise<ManifestTable | null> {
    const statistics = createStatistics(this.#table.columns);
    const batches = this.#read(reader, query);
    // A root without rows must not leave an empty file behind.
    const first = await batches.next();
    if (first.done && this.#table.child === null) return null;
    async function* rows() {
      if (!first.done) yield first.value;
      yield* batches;
    }
    async function* counted() {
      for await (const each of rows()) {
        for (const row of each) statistics.add(row);
        yield each;
      }
    }
    let file: ManifestTable['file'];
    try {
      file = await this.#context.store.write(batch, this.#table, counted());
    } catch (error) {
      throw this.#readFailure ? this.#readFailure.error : error;
    } finally {
      await batches.return(undefined);
    }
    return this.#describe(statistics.result(), file);
  }

  /** The rows that go into the store; what is known of them is kept. */
  async *#read(reader: Reader, query: SqlPart): AsyncGenerator<readonly CanonicalRow[], void> {
    const facts = rowFacts(this.#table);
    const child = this.#table.child !== null;
    const width = child ? facts.place + 1 : facts.unfit + 1;
    const columns = this.#table.columns.length;
    try {
      const batches = readCells(reader.connection, query.sql, query.values, width, this.#context.signal);
      for await (const batch of batches) {
        const kept: CanonicalRow[] = [];
        for (const row of batch) {
          const key = this.#key.map(({ index, binary }) => keyCell(binary ? row[index] : String(row[index])));
          if (this.#excluded.size > 0 && !child && this.#excluded.has(JSON.stringify(key))) continue;
          const hash = this.#checkedHash(row[facts.hash] ?? null, Number(String(row[facts.unfit])), key);
          const keep = !child || (isOne(row[facts.kept]) && isOne(row[facts.place]));
          const root = child ? Number(String(row[facts.root])) : this.rows.length;
          this.rows.push({ key, hash, root, kept: keep });
          if (!keep) continue;
          const cells = row.slice(0, columns);
          this.#note(key, cells);
          kept.push(cells);
        }
        if (kept.length > 0) yield kept;
      }
    } catch (error) {
      this.#readFailure = { error };
      throw error;
    }
  }

  /** @param unfit place of the column that no archive could give back, from 1; 0 for none */
  #checkedHash(hash: Cell, unfit: number, key: readonly string[]): string {
    const { name } = this.#table.definition;
    if (hash === null) {
      throw loaderError(
        'ARCHIVE_VALUE_REFUSED',
        `${name}: the row with key ${JSON.stringify(key)} is longer than the server's max_allowed_packet, so that its copy cannot be proved`,
        { hint: 'Raise max_allowed_packet on the server, or leave such rows out with where.' },
      );
    }
    const column = this.#table.columns[unfit - 1];
    if (column?.dataType === 'json') throw typedJsonRefused(name, key, column.name);
    if (column) {
      throw loaderError(
        'ARCHIVE_VALUE_REFUSED',
        `${name}: the row with key ${JSON.stringify(key)} has an ENUM whose value is no member, which no archive can give back`,
        { hint: 'Give the column a member in that row, or leave such rows out with where.' },
      );
    }
    return hash.toString('latin1');
  }

  #note(key: readonly string[], cells: CanonicalRow): void {
    this.#first ??= key;
    this.#last = key;
    const date = cells[this.#dateIndex];
    if (!date) return;
    // Copies: cells are parts of packets that are used again.
    if (this.#oldest === null || compareDates(date, this.#oldest) < 0) this.#oldest = Buffer.from(date);
    if (this.#newest === null || compareDates(date, this.#newest) > 0) this.#newest = Buffer.from(date);
  }

  #describe(statistics: ManifestTable['statistics'], file: ManifestTable['file']): ManifestTable {
    const { definition, archiveName, fingerprint, columns, key } = this.#table;
    const kept = this.rows.filter((row) => row.kept);
    const { task } = this.#context.set;
    const utc = (cell: Buffer) => toUtc(task, cell.toString('latin1'));
    return {
      table: definition.name,
      archiveName,
      fingerprint,
      columns: columns.map(({ name, columnType, characterSet, collation, nullable, generated }) => ({
        name,
        type: columnType,
        characterSet,
        collation,
        nullable,
        generated,
      })),
      key,
      rows: kept.length,
      keys: this.#first && this.#last ? { first: this.#first, last: this.#last } : null,
      dates: this.#oldest && this.#newest ? { oldest: utc(this.#oldest), newest: utc(this.#newest) } : null,
      sha256: batchDigest(kept.map((row) => row.hash)),
      dropped: this.rows.length - kept.length,
      statistics,
      file,
    };
  }
}

const one = 0x31;

/** A flag that the server printed as `1`. */
function isOne(cell: Cell | undefined): boolean {
  return cell?.length === 1 && cell[0] === one;
}

/** Dates as text have one length each and order like their bytes; seconds since 1970 may differ in length, and in sign. */
function compareDates(a: Buffer, b: Buffer): number {
  if (a.includes(0x2d, 1)) return Buffer.compare(a, b);
  return Number(a.toString('latin1')) - Number(b.toString('latin1'));
}
