import type { Connection } from '@tableset/common/database/connection.ts';
import type { ArchiveSet } from '../core/archive/archive-set.ts';
import {
  clearBatchKeys,
  createBatchKeys,
  dropBatchKeys,
  fillBatchKeys,
  type KeyRow,
} from '../core/archive/two-server-sql.ts';

/** Statements of more than this are slower to parse than to send in two. */
const statementBytes = 512 * 1024;

/** The temporary tables of keys of one connection, made when they are needed first. */
export class BatchKeys {
  readonly #connection: Connection;
  readonly #set: ArchiveSet;
  readonly #made = new Set<number>();

  constructor(connection: Connection, set: ArchiveSet) {
    this.#connection = connection;
    this.#set = set;
  }

  /** Puts the keys of one table of the set into its temporary table; not within a transaction, which it would end. */
  async fill(index: number, rows: readonly KeyRow[]): Promise<void> {
    const table = this.#set.tables[index];
    if (!table) throw new RangeError(`no table ${index} in the set`);
    if (this.#made.has(index)) await this.#connection.run(clearBatchKeys(index));
    else await this.#connection.run(createBatchKeys(table, index));
    this.#made.add(index);
    const bytesMax = Math.min(statementBytes, this.#connection.server.maxAllowedPacketBytes / 2);
    for (const statement of fillBatchKeys(table, index, rows, bytesMax)) await this.#connection.run(statement);
  }

  /** Takes the tables away again: the lock's connection goes on to other sets. */
  async drop(): Promise<void> {
    for (const index of this.#made) await this.#connection.run(dropBatchKeys(index));
    this.#made.clear();
  }
}
