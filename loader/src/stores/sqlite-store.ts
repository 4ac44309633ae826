import { DatabaseSync, type StatementSync } from 'node:sqlite';
import { quoteIdentifier } from '@tableset/common/database/quoting.ts';
import type { StoreSettings } from '../config/archive-config.ts';
import type { ArchivedTable } from '../core/archive/archive-set.ts';
import type { CanonicalRow } from '../core/archive/canonical.ts';
import type { Manifest, ManifestTable } from '../core/archive/manifest.ts';
import { damaged, manifestText, parseManifest } from './file-batches.ts';
import { valueRefused } from './formats/file-format.ts';
import { hashesOf } from './formats/row-hashes.ts';
import { assertDurable, proveWritable, sqliteFailure } from './sqlite-file.ts';
import { prepareSqliteTable, sqliteColumns } from './sqlite-prepare.ts';
import { batchColumn, rowIdName, sqliteCodec } from './sqlite-tables.ts';
import type { ArchiveStore, BatchName, StoredHash } from './store.ts';

type SqliteSettings = StoreSettings & { readonly kind: 'sqlite' };

/** A read ends at so many rows or, soon after, bytes. */
const readRowsMax = 1000;
const readBytesMax = 4 << 20;
const busyTimeoutMs = 5000;

/**
 * Opens a file of SQLite as a store: a table for each archived table, and `tableset_manifests`. A batch is collected in temporary tables and
 * goes into the file, rows and manifest, in one transaction when it is sealed. Nothing stays open between two calls, so that other
 * programs can read all the while.
 * @throws AppError STORE_UNAVAILABLE, ARCHIVE_STORE_UNSUITABLE
 */
export function openSqliteStore(settings: SqliteSettings, context: { readonly signal: AbortSignal }): ArchiveStore {
  let database: DatabaseSync | null = null;
  try {
    database = new DatabaseSync(settings.path, { timeout: busyTimeoutMs });
    assertDurable(database, settings.name);
    database.exec(
      'CREATE TABLE IF NOT EXISTS tableset_manifests (batch INTEGER PRIMARY KEY, root_table TEXT NOT NULL, manifest TEXT NOT NULL) STRICT',
    );
    return new SqliteStore(settings, database, context.signal);
  } catch (error) {
    database?.close();
    throw sqliteFailure(settings.name, `${settings.path} cannot be opened`, error);
  }
}

/** Rows of one table of the batch that is being written. */
interface Staged {
  readonly table: ArchivedTable;
  readonly name: string;
  rows: number;
}

class SqliteStore implements ArchiveStore {
  readonly kind = 'sqlite';
  readonly name: string;
  readonly #settings: SqliteSettings;
  readonly #database: DatabaseSync;
  readonly #signal: AbortSignal;
  #staged: { readonly batch: string; readonly tables: Map<string, Staged> } | null = null;

  constructor(settings: SqliteSettings, database: DatabaseSync, signal: AbortSignal) {
    this.name = settings.name;
    this.#settings = settings;
    this.#database = database;
    this.#signal = signal;
  }

  describe(): string {
    return `sqlite ${this.#settings.path}`;
  }

  async prepare(tables: readonly ArchivedTable[], evolve: 'refuse' | 'add-columns'): Promise<readonly string[]> {
    return this.#guard('its tables cannot be made ready', () =>
      this.#transaction(() => {
        proveWritable(this.#database);
        return tables.flatMap((table) => prepareSqliteTable(this.#database, this.#settings, table, evolve));
      }),
    );
  }

  async write(batch: BatchName, table: ArchivedTable, rows: AsyncIterable<readonly CanonicalRow[]>): Promise<null> {
    const what = `batch ${batch.id} cannot be written`;
    const staged = this.#guard(what, () => this.#stage(batch, table));
    const codecs = table.columns.map((column) => sqliteCodec(column.columnType));
    const values = codecs.map((codec) => codec.parameter).join(', ');
    const insert = this.#guard(what, () =>
      this.#database.prepare(`INSERT INTO temp.${quoteIdentifier(staged.name)} VALUES (${values})`),
    );
    for await (const some of rows) {
      this.#guard(what, () =>
        this.#transaction(() => {
          for (const row of some) this.#insert(insert, batch, table, row, codecs);
        }, 'DEFERRED'),
      );
      staged.rows += some.length;
    }
    return null;
  }

  #insert(
    insert: StatementSync,
    batch: BatchName,
    table: ArchivedTable,
    row: CanonicalRow,
    codecs: readonly ReturnType<typeof sqliteCodec>[],
  ): void {
    const values = codecs.map((codec, place) => {
      const cell = row[place] ?? null;
      const value = cell === null ? null : codec.bind(cell);
      if (cell !== null && value === null) {
        const why = `SQLite could not give back as it is: ${cell.toString().slice(0, 80)}`;
        throw valueRefused({ store: this.name, batch: batch.id }, table, row, place, why);
      }
      return value;
    });
    insert.run(...values);
  }

  /** A temporary table for rows of the batch; what was collected of another batch was given up. */
  #stage(batch: BatchName, table: ArchivedTable): Staged {
    if (this.#staged?.batch !== batch.id) this.#discard();
    this.#staged ??= { batch: batch.id, tables: new Map() };
    const current = this.#staged;
    const staged = { table, name: `tableset_stage_${current.tables.size}`, rows: 0 };
    const columns = table.columns.map((column, place) => `c${place} ${sqliteCodec(column.columnType).type}`);
    this.#database.exec(
      `DROP TABLE IF EXISTS temp.${staged.name}; CREATE TEMP TABLE ${staged.name} (${columns.join(', ')}) STRICT`,
    );
    current.tables.set(table.archiveName, staged);
    return staged;
  }

  #discard(): void {
    for (const { name } of this.#staged?.tables.values() ?? [])
      this.#database.exec(`DROP TABLE IF EXISTS temp.${name}`);
    this.#staged = null;
  }

  async seal(batch: BatchName, manifest: Manifest): Promise<void> {
    this.#guard(`batch ${batch.id} cannot be sealed`, () => {
      const text = manifestText(manifest);
      const sealed = this.#manifestText(this.#database, batch);
      if (sealed === text) return;
      if (sealed !== null)
        throw damaged(this.name, batch, 'it is sealed already with another manifest, which was left as it is');
      assertDurable(this.#database, this.name);
      this.#transaction(() => {
        for (const table of manifest.tables) this.#publish(batch, table);
        this.#database
          .prepare('INSERT INTO tableset_manifests (batch, root_table, manifest) VALUES (?, ?, ?)')
          .run(idOf(batch), batch.rootTable, text);
      });
      this.#discard();
    });
  }

  #publish(batch: BatchName, { archiveName, table, rows }: ManifestTable): void {
    const staged = this.#staged?.batch === batch.id ? this.#staged.tables.get(archiveName) : undefined;
    if ((staged?.rows ?? 0) !== rows)
      throw damaged(this.name, batch, `${staged?.rows ?? 0} rows of ${table} were written, the manifest says ${rows}`);
    if (staged === undefined) return;
    const names = staged.table.columns.map((column) => quoteIdentifier(column.name));
    this.#database
      .prepare(
        `INSERT INTO ${quoteIdentifier(archiveName)} (${[...names, batchColumn].join(', ')}) SELECT *, ? FROM temp.${staged.name} ORDER BY rowid`,
      )
      .run(idOf(batch));
  }

  async *hashes(batch: BatchName, table: ManifestTable): AsyncGenerator<readonly StoredHash[], void> {
    yield* hashesOf(this.rows(batch, table), table);
  }

  async *rows(batch: BatchName, table: ManifestTable): AsyncGenerator<readonly CanonicalRow[], void> {
    const what = `batch ${batch.id} cannot be read`;
    // A connection of its own reads the file, not what this one still has in memory.
    using database = this.#guard(what, () => this.#reader());
    const codecs = table.columns.map((column) => sqliteCodec(column.type));
    const read = this.#guard(what, () => {
      const rowId = rowIdName(sqliteColumns(this.#database, table.archiveName).map((column) => column.name));
      const columns = table.columns.map(({ name }, place) => codecs[place]?.expression(quoteIdentifier(name)));
      const statement = database.prepare(
        `SELECT ${[rowId, ...columns].join(', ')} FROM ${quoteIdentifier(table.archiveName)}
         WHERE ${batchColumn} = ? AND ${rowId} > ? ORDER BY ${rowId} LIMIT ${readRowsMax}`,
      );
      statement.setReturnArrays(true);
      return statement;
    });
    for (let after: number | bigint = 0; ; ) {
      this.#signal.throwIfAborted();
      const rows: CanonicalRow[] = [];
      let bytes = 0;
      // Read to its end within one turn: a cursor that waits would hold its lock against the next batch.
      this.#guard(what, () => {
        for (const found of read.iterate(idOf(batch), after)) {
          const [rowId, ...values] = found as unknown as unknown[]; // arrays, as was set
          after = rowId as number; // rows are numbered from 1
          const row = values.map((value, place) => codecs[place]?.cell(value) ?? null);
          for (const cell of row) bytes += cell?.length ?? 0;
          rows.push(row);
          if (bytes >= readBytesMax) break;
        }
      });
      if (rows.length === 0) return;
      yield rows;
    }
  }

  async manifest(batch: BatchName): Promise<Manifest | null> {
    const text = this.#guard(`the manifest of batch ${batch.id} cannot be read`, () => {
      using database = this.#reader();
      return this.#manifestText(database, batch);
    });
    return text === null ? null : parseManifest(text, this.name, batch);
  }

  #manifestText(database: DatabaseSync, batch: BatchName): string | null {
    const row = database.prepare('SELECT manifest FROM tableset_manifests WHERE batch = ?').get(idOf(batch));
    return row === undefined ? null : String(row['manifest']);
  }

  async *batches(rootTable: string): AsyncGenerator<string, void> {
    yield* this.#guard('its batches cannot be listed', () =>
      this.#database
        .prepare('SELECT CAST(batch AS TEXT) AS id FROM tableset_manifests WHERE root_table = ? ORDER BY batch')
        .all(rootTable)
        .map((row) => String(row['id'])),
    );
  }

  async remove(batch: BatchName, tables: readonly Pick<ManifestTable, 'table' | 'archiveName'>[]): Promise<void> {
    this.#guard(`batch ${batch.id} cannot be taken away`, () => {
      if (this.#staged?.batch === batch.id) this.#discard();
      assertDurable(this.#database, this.name);
      this.#transaction(() => {
        this.#database.prepare('DELETE FROM tableset_manifests WHERE batch = ?').run(idOf(batch));
        for (const { archiveName } of tables) {
          if (sqliteColumns(this.#database, archiveName).length === 0) continue;
          this.#database
            .prepare(`DELETE FROM ${quoteIdentifier(archiveName)} WHERE ${batchColumn} = ?`)
            .run(idOf(batch));
        }
      });
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#database.isOpen) this.#database.close();
  }

  #reader(): DatabaseSync {
    return new DatabaseSync(this.#settings.path, { readOnly: true, timeout: busyTimeoutMs });
  }

  #transaction<T>(work: () => T, mode: 'IMMEDIATE' | 'DEFERRED' = 'IMMEDIATE'): T {
    this.#database.exec(`BEGIN ${mode}`);
    try {
      const result = work();
      this.#database.exec('COMMIT');
      return result;
    } catch (error) {
      // SQLite has rolled back by itself after some errors.
      if (this.#database.isTransaction) this.#database.exec('ROLLBACK');
      throw error;
    }
  }

  #guard<T>(what: string, work: () => T): T {
    this.#signal.throwIfAborted();
    try {
      return work();
    } catch (error) {
      throw sqliteFailure(this.name, what, error);
    }
  }
}

function idOf(batch: BatchName): bigint {
  if (!/^\d{1,19}$/.test(batch.id) || BigInt(batch.id) >= 2n ** 63n)
    throw new RangeError(`${JSON.stringify(batch.id)} is no batch's id`);
  return BigInt(batch.id);
}
