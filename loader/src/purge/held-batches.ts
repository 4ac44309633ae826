import { hash } from 'node:crypto';
import type { Connection } from '@tableset/common/database/connection.ts';
import { quoteString } from '@tableset/common/database/quoting.ts';
import type { LedgerBatch } from '../archive/batch-ledger.ts';
import { heldKey } from '../archive/holds.ts';
import type { Condition } from '../config/archive-config.ts';
import type { ManifestTable } from '../core/archive/manifest.ts';
import { binaryColumns, dataTypeOf } from '../core/archive/restore-filter.ts';
import { parsePredicate } from '../core/archive/retention.ts';
import { keyText } from '../core/archive/selection.ts';
import { isIntegerType } from '../core/values/integer.ts';
import { loaderError } from '../errors.ts';
import type { ArchiveStore } from '../stores/store.ts';
import { batchName, batchTables } from '../verify/prove-batch.ts';
import { anyMatches } from './held-texts.ts';

const keysPerQuery = 500;
const inForce = '(until IS NULL OR until > UTC_TIMESTAMP(6))';

interface TableHolds {
  readonly byKey: boolean;
  readonly predicates: readonly (readonly Condition[])[];
}

/** Tells which batches hold a row that must be kept. Keys stay in the database, where there may be millions of them. */
export class HeldBatches {
  readonly #connection: Connection;
  readonly #tables: ReadonlyMap<string, TableHolds>;
  readonly #written = new Map<string, Promise<readonly (readonly string[])[]>>();
  /** The latest hold that was there when these were read. */
  readonly newestHold: string;

  private constructor(connection: Connection, tables: ReadonlyMap<string, TableHolds>, newestHold: string) {
    this.#connection = connection;
    this.#tables = tables;
    this.newestHold = newestHold;
  }

  /** Reads which tables have holds in force. @throws AppError HOLD_INVALID */
  static async read(connection: Connection): Promise<HeldBatches> {
    const newest = await newestHold(connection);
    const keys = await connection.rows(
      `SELECT DISTINCT table_name FROM tableset_holds WHERE key_hash IS NOT NULL AND ${inForce}`,
    );
    const predicates = await connection.rows(
      `SELECT CAST(id AS CHAR) AS id, table_name, predicate FROM tableset_holds WHERE key_hash IS NULL AND ${inForce}`,
    );
    const names = new Set([...keys, ...predicates].map((row) => String(row['table_name'])));
    const tables = new Map(
      Array.from(names, (name) => {
        const own = predicates.filter((row) => row['table_name'] === name);
        return [
          name,
          {
            byKey: keys.some((row) => row['table_name'] === name),
            predicates: own.map((row) => understood(String(row['id']), name, row['predicate']?.toString() ?? '')),
          },
        ];
      }),
    );
    return new HeldBatches(connection, tables, newest);
  }

  /** True if there is nothing to look for. */
  get none(): boolean {
    return this.#tables.size === 0;
  }

  /** True if one of the batch's rows, in whichever table, is held. */
  async isHeld(open: () => Promise<ArchiveStore>, batch: LedgerBatch): Promise<boolean> {
    for (const table of batchTables(batch)) {
      const holds = this.#tables.get(table.table);
      if (!holds) continue;
      const store = await open();
      if (holds.byKey && (await this.#isKeyHeld(store, batch, table))) return true;
      if (holds.byKey && (await this.#isWrittenKeyHeld(store, batch, table))) return true;
      if (holds.predicates.length === 0) continue;
      const rows = store.rows(batchName(batch), table);
      if (await anyMatches(this.#connection, table, holds.predicates, rows)) return true;
    }
    return false;
  }

  async #isKeyHeld(store: ArchiveStore, batch: LedgerBatch, table: ManifestTable): Promise<boolean> {
    const binary = binaryColumns(table);
    const upperCase = table.key.map(
      (name) => binary[table.columns.findIndex((column) => column.name === name)] ?? false,
    );
    let hashes: Buffer[] = [];
    for await (const rows of store.hashes(batchName(batch), table)) {
      for (const { key } of rows) {
        const cells = key.map((cell, place) => (upperCase[place] ? cell.toUpperCase() : cell));
        hashes.push(hash('sha256', keyText(cells), 'buffer'));
        if (hashes.length < keysPerQuery) continue;
        if (await this.#anyHeld(table.table, hashes)) return true;
        hashes = [];
      }
    }
    return hashes.length > 0 && (await this.#anyHeld(table.table, hashes));
  }

  /**
   * A key that somebody wrote may be another text than the archived one and still mean it, as a collation has it.
   * @throws AppError HOLD_INVALID
   */
  async #isWrittenKeyHeld(store: ArchiveStore, batch: LedgerBatch, table: ManifestTable): Promise<boolean> {
    const columns = table.key.flatMap((name) => table.columns.find((column) => column.name === name) ?? []);
    const whole = columns.every((column) => isIntegerType(dataTypeOf(column)));
    const name = JSON.stringify([table.table, whole]);
    const known = this.#written.get(name) ?? this.#writtenKeys(table.table, whole);
    this.#written.set(name, known);
    const keys = await known;
    if (keys.length === 0) return false;
    // Made when the table had another key: which row it means is not known.
    if (keys.some((cells) => cells.length !== columns.length)) return true;
    const predicates = keys.map((cells) =>
      cells.map((value, place): Condition => ({ column: table.key[place] ?? '', operator: '=', value })),
    );
    const binary = binaryColumns({ columns });
    const rows = async function* () {
      for await (const hashes of store.hashes(batchName(batch), table))
        yield hashes.map(({ key }) => key.map((cell, place) => Buffer.from(cell, binary[place] ? 'hex' : 'utf8')));
    };
    return await anyMatches(this.#connection, { columns }, predicates, rows());
  }

  /** Keys that people wrote; where the key is of integers, those only that are written in a way of their own: the others have been found by their hashes. */
  async #writtenKeys(table: string, whole: boolean): Promise<readonly (readonly string[])[]> {
    const keys: (readonly string[])[] = [];
    const faults: { readonly hold: string; readonly fault: string }[] = [];
    await this.#connection.eachRow(
      `SELECT CAST(id AS CHAR) AS id, key_text, key_hash FROM tableset_holds
       WHERE table_name = ${quoteString(table)} AND key_hash IS NOT NULL AND run_id IS NULL AND ${inForce}`,
      (row) => {
        const cells = heldKey(row);
        if (typeof cells !== 'string') {
          if (!whole || !cells.every((cell) => /^(?:0|-?[1-9]\d*)$/.test(cell))) keys.push(cells);
        } else if (faults.length === 0) faults.push({ hold: String(row['id']), fault: cells });
      },
    );
    const [invalid] = faults;
    if (invalid) {
      const { hold, fault } = invalid;
      throw loaderError('HOLD_INVALID', `hold ${hold} on ${table}: ${fault}`, { details: { table, hold } });
    }
    return keys;
  }

  async #anyHeld(table: string, hashes: readonly Buffer[]): Promise<boolean> {
    const row = await this.#connection.row(
      `SELECT 1 AS held FROM tableset_holds WHERE table_name = ? AND key_hash IN (${hashes.map(() => '?').join(',')}) AND ${inForce} LIMIT 1`,
      [table, ...hashes],
    );
    return row !== null;
  }
}

/** Id of the latest hold, to see whether one was made meanwhile. */
export async function newestHold(connection: Connection): Promise<string> {
  const row = await connection.row('SELECT CAST(COALESCE(MAX(id), 0) AS CHAR) AS id FROM tableset_holds');
  return String(row?.['id']);
}

function understood(id: string, table: string, text: string): readonly Condition[] {
  const predicate = parsePredicate(text);
  if (predicate) return predicate;
  throw loaderError(
    'HOLD_INVALID',
    `hold ${id} of ${table} has neither a key nor a predicate that can be read: ${JSON.stringify(text)}`,
  );
}
