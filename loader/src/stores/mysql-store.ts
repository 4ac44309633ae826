import { isDeepStrictEqual } from 'node:util';
import { connect } from '@tableset/common/database/connect.ts';
import type { Connection, Value } from '@tableset/common/database/connection.ts';
import { keepAlive } from '@tableset/common/database/keep-alive.ts';
import { quoteTable } from '@tableset/common/database/quoting.ts';
import { readTableDefinition } from '@tableset/common/database/read-table.ts';
import type { ColumnDefinition } from '@tableset/common/database/table-definition.ts';
import type { Fields } from '@tableset/common/output/output.ts';
import type { DatabaseSettings } from '@tableset/common/settings/database.ts';
import type { StoreSettings } from '../config/archive-config.ts';
import type { ArchivedTable } from '../core/archive/archive-set.ts';
import { type CanonicalRow, cellExpression, isBinaryColumn, rowHashExpression } from '../core/archive/canonical.ts';
import { keyCell } from '../core/archive/key-columns.ts';
import type { Manifest, ManifestTable } from '../core/archive/manifest.ts';
import { loaderError } from '../errors.ts';
import { damaged } from './file-batches.ts';
import { readCells } from './mysql-store-cells.ts';
import { digits, orMissing, storeFailure } from './mysql-store-errors.ts';
import { checkServer, isSameServer } from './mysql-store-open.ts';
import { prepareTables } from './mysql-store-prepare.ts';
import { writeRows } from './mysql-store-write.ts';
import type { ArchiveStore, BatchName, StoredHash } from './store.ts';

export interface MysqlStoreContext {
  /** A connection to the primary that nothing runs on just now. */
  readonly primary: Connection;
  readonly signal: AbortSignal;
  readonly warn: (message: string, fields: Fields) => void;
}

type MysqlSettings = StoreSettings & { readonly kind: 'mysql' };

/**
 * Opens a schema of MySQL or MariaDB as a store: each archived table is a table there, each batch the rows with its id, and
 * `tableset_manifests` beside them says which batches are sealed.
 * @throws AppError ARCHIVE_STORE_UNSUITABLE for a server that is read-only or may forget what it acknowledged; DATABASE_UNREACHABLE and the like
 */
export async function openMysqlStore(settings: MysqlSettings, context: MysqlStoreContext): Promise<MysqlStore> {
  const { name: _, ...primary } = context.primary.settings;
  const address: DatabaseSettings = { ...(settings.server ?? primary), name: settings.schema };
  const open = () =>
    connect(address, {
      signal: context.signal,
      localInfile: true,
      invalidDates: true,
      onWait: (reason) => context.warn('waiting for the store', { store: settings.name, reason }),
    });
  const connection = await open();
  try {
    const sameServer = await isSameServer(context.primary, connection);
    // On the primary's own server a batch is one transaction with its deletion: either both survive or neither.
    await checkServer(connection, { ...settings, acceptNotDurable: settings.acceptNotDurable || sameServer });
    return new MysqlStore(settings, context, open, connection, sameServer);
  } catch (error) {
    await connection[Symbol.asyncDispose]();
    throw error;
  }
}

/** A connection of the store, and what keeps it from being closed for its silence. */
interface Session {
  readonly connection: Connection;
  readonly heartbeat: Disposable;
}

export class MysqlStore implements ArchiveStore {
  readonly kind = 'mysql';
  readonly name: string;
  readonly sameServer: boolean;
  readonly #settings: MysqlSettings;
  readonly #context: MysqlStoreContext;
  readonly #open: () => Promise<Connection>;
  #writer: Session;
  /** Reads what is committed, on a session that never saw it before; also takes away other batches while one is being written. */
  #reader: Session | null = null;
  #openingReader: Promise<Session> | null = null;
  #closed = false;
  /** The batch whose transaction is open. */
  #writing: string | null = null;
  /** Columns of archive tables by name, as they are in the store. */
  readonly #columns = new Map<string, ReadonlyMap<string, ColumnDefinition>>();

  constructor(
    settings: MysqlSettings,
    context: MysqlStoreContext,
    open: () => Promise<Connection>,
    connection: Connection,
    sameServer: boolean,
  ) {
    this.name = settings.name;
    this.sameServer = sameServer;
    this.#settings = settings;
    this.#context = context;
    this.#open = open;
    this.#writer = { connection, heartbeat: keepAlive(connection) };
  }

  describe(): string {
    const { host, port } = this.#writer.connection.settings;
    return `mysql ${host}:${port}/${this.#settings.schema}`;
  }

  async prepare(tables: readonly ArchivedTable[], evolve: 'refuse' | 'add-columns'): Promise<readonly string[]> {
    return await this.#guard('its tables cannot be made ready', async () => {
      const connection = await this.#forWriting();
      await this.#rollBack();
      this.#columns.clear();
      return await prepareTables(connection, this, tables, evolve);
    });
  }

  async write(batch: BatchName, table: ArchivedTable, rows: AsyncIterable<readonly CanonicalRow[]>): Promise<null> {
    return await this.#guard(`batch ${batch.id} cannot be written`, async () => {
      const connection = await this.#forWriting();
      if (this.#writing !== batch.id) {
        await this.#rollBack();
        await connection.run('START TRANSACTION');
        this.#writing = batch.id;
      }
      const { columns, archiveName, definition, key } = table;
      const archive = this.#table(archiveName);
      await writeRows(connection, { archive, name: definition.name, columns, key, batch: digits(batch.id) }, rows);
      return null;
    });
  }

  async seal(batch: BatchName, manifest: Manifest): Promise<void> {
    await this.#guard(`batch ${batch.id} cannot be sealed`, async () => {
      if (this.#writing !== batch.id) {
        // Called again after it was done, or after its transaction was lost.
        const sealed = await this.manifest(batch);
        if (sealed && isDeepStrictEqual(sealed, manifest)) return;
        if (sealed)
          throw damaged(this.name, batch, 'it is sealed already with another manifest, which was left as it is');
        throw loaderError(
          'STORE_UNAVAILABLE',
          `store ${this.name}: the rows of batch ${batch.id} were lost before it was sealed`,
        );
      }
      const { connection } = this.#writer;
      await connection.run(
        `INSERT INTO ${this.#table('tableset_manifests')} (batch, root_table, manifest) VALUES (${digits(batch.id)}, ?, ?)`,
        [batch.rootTable, JSON.stringify(manifest)],
      );
      await connection.run('COMMIT');
      this.#writing = null;
    });
  }

  async *hashes(batch: BatchName, table: ManifestTable): AsyncGenerator<readonly StoredHash[], void> {
    const columns = await this.#columnsOf(batch, table);
    // A key's columns are among the table's.
    const key = table.key.map((name) => columns.find((column) => column.name === name) as ColumnDefinition);
    const binary = key.map(isBinaryColumn);
    const cells = key.map((column) => cellExpression(column));
    const batches = this.#select(batch, table, [...cells, rowHashExpression(columns)]);
    for await (const rows of batches) {
      yield rows.map((row) => {
        const texts = row.slice(0, key.length).map((cell, index) => keyCell(binary[index] ? cell : String(cell)));
        const hash = row[key.length];
        if (!hash) throw this.#tooLong(batch, table, texts);
        return { key: texts, hash: hash.toString('latin1') };
      });
    }
  }

  async digest(
    batch: BatchName,
    table: ManifestTable,
  ): Promise<{ readonly rows: number; readonly sha256: string | null }> {
    const hash = rowHashExpression(await this.#columnsOf(batch, table));
    return await this.#guard(`batch ${batch.id} cannot be read`, async () => {
      const connection = await this.#forReading();
      const row = await connection.row(
        `SELECT COUNT(*) AS found, SHA2(CONCAT(GROUP_CONCAT(${hash} ORDER BY ${hash} SEPARATOR '\n'), '\n'), 256) AS digest ${this.#from(batch, table)}`,
      );
      return { rows: Number(row?.['found']), sha256: row?.['digest'] == null ? null : String(row['digest']) };
    });
  }

  async *rows(batch: BatchName, table: ManifestTable): AsyncGenerator<readonly CanonicalRow[], void> {
    const columns = await this.#columnsOf(batch, table);
    yield* this.#select(
      batch,
      table,
      columns.map((column) => cellExpression(column)),
    );
  }

  async manifest(batch: BatchName): Promise<Manifest | null> {
    return await this.#guard(`the manifest of batch ${batch.id} cannot be read`, async () => {
      const connection = await this.#forReading();
      const row = await orMissing(
        connection.row(`SELECT manifest FROM ${this.#table('tableset_manifests')} WHERE batch = ${digits(batch.id)}`),
      );
      // Only this program writes manifests.
      return row ? (JSON.parse(String(row['manifest'])) as Manifest) : null;
    });
  }

  async *batches(rootTable: string): AsyncGenerator<string, void> {
    const page = 1000;
    for (let after = '0'; ; ) {
      const ids: readonly string[] = await this.#guard('its batches cannot be listed', async () => {
        const connection = await this.#forReading();
        const rows = await orMissing(
          connection.rows(
            `SELECT CAST(batch AS CHAR) AS id FROM ${this.#table('tableset_manifests')} WHERE root_table = ? AND batch > ${after} ORDER BY batch LIMIT ${page}`,
            [rootTable],
          ),
        );
        return (rows ?? []).map((row) => String(row['id']));
      });
      yield* ids;
      if (ids.length < page) return;
      after = digits(ids.at(-1) ?? '0');
    }
  }

  async remove(batch: BatchName, tables: readonly Pick<ManifestTable, 'table' | 'archiveName'>[]): Promise<void> {
    await this.#guard(`batch ${batch.id} cannot be taken away`, async () => {
      if (this.#writing === batch.id) await this.#rollBack();
      const connection = await this.#forReading();
      await connection.run('START TRANSACTION');
      for (const name of ['tableset_manifests', ...new Set(tables.map((table) => table.archiveName))]) {
        const column = name === 'tableset_manifests' ? 'batch' : 'tableset_batch';
        await orMissing(connection.run(`DELETE FROM ${this.#table(name)} WHERE ${column} = ${digits(batch.id)}`));
      }
      await connection.run('COMMIT');
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closed = true;
    for (const session of [this.#writer, this.#reader]) {
      session?.heartbeat[Symbol.dispose]();
      await session?.connection[Symbol.asyncDispose]();
    }
  }

  /** The rows of a batch as cells of these expressions. */
  async *#select(batch: BatchName, table: ManifestTable, expressions: readonly string[]) {
    const sql = `SELECT ${expressions.join(', ')} ${this.#from(batch, table)}`;
    const values: readonly Value[] = [];
    try {
      const connection = await this.#forReading();
      yield* readCells(connection, sql, values, expressions.length, this.#context.signal);
    } catch (error) {
      throw storeFailure(this.name, `batch ${batch.id} cannot be read`, error);
    }
  }

  /** The store's own definitions of a manifest's columns, in its order. */
  async #columnsOf(batch: BatchName, table: ManifestTable): Promise<readonly ColumnDefinition[]> {
    const known = this.#columns.get(table.archiveName) ?? (await this.#readColumns(batch, table.archiveName));
    return table.columns.map(({ name }) => {
      const column = known.get(name);
      if (column) return column;
      throw loaderError(
        'ARCHIVE_VERIFY_FAILED',
        `store ${this.name}: ${table.archiveName} no longer has the column ${name} that batch ${batch.id} was written with`,
      );
    });
  }

  async #readColumns(batch: BatchName, archiveName: string): Promise<ReadonlyMap<string, ColumnDefinition>> {
    return await this.#guard(`batch ${batch.id} cannot be read`, async () => {
      const found = await readTableDefinition(await this.#forReading(), this.#settings.schema, archiveName);
      if (!found) {
        throw loaderError(
          'ARCHIVE_VERIFY_FAILED',
          `store ${this.name}: the table ${archiveName} that holds batch ${batch.id} is not there any more`,
        );
      }
      const columns = new Map(found.columns.map((column) => [column.name, column]));
      this.#columns.set(archiveName, columns);
      return columns;
    });
  }

  #tooLong(batch: BatchName, table: ManifestTable, key: readonly string[]) {
    return loaderError(
      'ARCHIVE_VALUE_REFUSED',
      `store ${this.name}: the row of ${table.table} with key ${JSON.stringify(key)} in batch ${batch.id} is longer than the store's max_allowed_packet, so that it cannot be proved`,
      { hint: 'Raise max_allowed_packet on the archive server.' },
    );
  }

  #from(batch: BatchName, { archiveName }: ManifestTable): string {
    return `FROM ${this.#table(archiveName)} WHERE tableset_batch = ${digits(batch.id)}`;
  }

  #table(name: string): string {
    return quoteTable(this.#settings.schema, name);
  }

  async #forWriting(): Promise<Connection> {
    if (this.#writer.connection.lost) {
      this.#writing = null;
      this.#writer.heartbeat[Symbol.dispose]();
      const connection = await this.#open();
      this.#writer = { connection, heartbeat: keepAlive(connection) };
    }
    return this.#writer.connection;
  }

  async #forReading(): Promise<Connection> {
    if (this.#reader && !this.#reader.connection.lost) return this.#reader.connection;
    // Two batches may be proved at once: with a session each, one would stay open for ever.
    this.#openingReader ??= this.#openReader().finally(() => {
      this.#openingReader = null;
    });
    return (await this.#openingReader).connection;
  }

  async #openReader(): Promise<Session> {
    this.#reader?.heartbeat[Symbol.dispose]();
    this.#reader = null;
    const connection = await this.#open();
    // Digests are made of one text.
    await connection.run('SET SESSION group_concat_max_len = ?', [connection.server.maxAllowedPacketBytes]);
    if (this.#closed) {
      // What was read for is over, and nobody is left to close it.
      connection.destroy();
      throw loaderError('STORE_UNAVAILABLE', `store ${this.name} is closed`);
    }
    this.#reader = { connection, heartbeat: keepAlive(connection) };
    return this.#reader;
  }

  async #rollBack(): Promise<void> {
    if (this.#writing === null) return;
    this.#writing = null;
    const { connection } = this.#writer;
    if (!connection.lost) await connection.uninterrupted(() => connection.run('ROLLBACK'));
  }

  async #guard<T>(what: string, work: () => Promise<T>): Promise<T> {
    try {
      return await work();
    } catch (error) {
      throw storeFailure(this.name, what, error);
    }
  }
}
