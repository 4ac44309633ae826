import { Readable } from 'node:stream';
import type { Connection } from '@tableset/common/database/connection.ts';
import { classifyFault, serverErrno } from '@tableset/common/database/errno.ts';
import { quoteIdentifier, quoteList } from '@tableset/common/database/quoting.ts';
import type { EncodedChunk, Reject } from '../core/encoded-rows.ts';
import { rowStart } from '../core/encoding/decode-load-text.ts';
import { insertValues } from '../core/encoding/insert-values.ts';
import { loadsPlain, serverExpression } from '../core/encoding/server-expression.ts';
import { loadDataClauses } from '../core/load-sql.ts';
import { loaderError } from '../errors.ts';
import type { Duplicate } from './duplicates.ts';

export interface TableWriterOptions {
  readonly connection: Connection;
  /** The table to fill, quoted. */
  readonly table: string;
  /** Name of the table for messages. */
  readonly name: string;
  readonly localInfile: boolean;
  /** Chunks are written inside a transaction that the caller opened and ends; otherwise each chunk is one. */
  readonly inTransaction: boolean;
  readonly onReject: (reject: Reject) => void;
  /** Called for a row that a unique key keeps out. */
  readonly onDuplicate: (insert: (table: string) => Promise<void>) => Promise<Duplicate>;
}

/** Rows of a chunk, from where they are when the writer gets them. */
export type RowBlock = Omit<EncodedChunk, 'release'>;

/**
 * Fills one table with chunks of load text, by LOAD DATA LOCAL INFILE or by many-row INSERT with the same result.
 *
 * LOCAL makes the server ignore what strict mode would refuse and say so in warnings alone. So each chunk is a transaction (or
 * lies behind a savepoint): unless the server's own counts say that every row went in without a warning, it is rolled back and
 * its rows are inserted by strict statements, halved until the rows at fault stand alone.
 */
export class TableWriter {
  readonly #options: TableWriterOptions;
  /** Rows that are in the table. */
  written = 0;
  /** Rows left out because the very same row was there. */
  duplicates = 0;
  /** Rows of the chunk that were rejected in this attempt, and that were reported in one. */
  #refused = 0;
  #reported = 0;

  constructor(options: TableWriterOptions) {
    this.#options = options;
  }

  /**
   * Writes one chunk; calls on one writer must follow each other. Two streams into one table can deadlock where rows repeat keys; the
   * chunk that the server chose to roll back is then written again.
   */
  async write(block: RowBlock): Promise<void> {
    const { connection, inTransaction } = this.#options;
    const { written, duplicates } = this;
    this.#reported = 0;
    for (let attempt = 1; ; attempt++) {
      this.#refused = 0;
      try {
        return await this.#write(block);
      } catch (error) {
        if (inTransaction || attempt === attemptsMax || classifyFault(error) !== 'deadlock') throw error;
        await connection.run('ROLLBACK');
        this.written = written;
        this.duplicates = duplicates;
      }
    }
  }

  async #write(block: RowBlock): Promise<void> {
    const { connection, inTransaction, localInfile } = this.#options;
    await connection.run(inTransaction ? 'SAVEPOINT tableset_chunk' : 'START TRANSACTION');
    if (localInfile && (await this.#load(block))) {
      this.written += block.rows;
    } else {
      if (localInfile) await connection.run(inTransaction ? 'ROLLBACK TO SAVEPOINT tableset_chunk' : 'ROLLBACK');
      if (localInfile && !inTransaction) await connection.run('START TRANSACTION');
      await this.#insert(block);
    }
    await connection.run(inTransaction ? 'RELEASE SAVEPOINT tableset_chunk' : 'COMMIT');
  }

  /** True if the server took every row as it was. */
  async #load(block: RowBlock): Promise<boolean> {
    const { connection, table } = this.#options;
    const { flavour } = connection.server;
    const targets = block.plan.columns.map(({ column }, index) =>
      loadsPlain(column) ? quoteIdentifier(column.name) : `@tableset_${index}`,
    );
    const assignments = block.plan.columns.flatMap(({ column }, index) =>
      loadsPlain(column)
        ? []
        : [`${quoteIdentifier(column.name)} = ${serverExpression(column, flavour, `@tableset_${index}`)}`],
    );
    const set = assignments.length === 0 ? '' : ` SET ${assignments.join(', ')}`;
    const sql = `LOAD DATA LOCAL INFILE 'tableset' INTO TABLE ${table} ${loadDataClauses(block.plan.separator)} (${targets.join(', ')})${set}`;
    const file = Readable.from(slices(block.bytes), { objectMode: false, highWaterMark: sliceBytes });
    const result = await connection.load(sql, file).catch((error: unknown) => {
      // A function in SET, such as that of spatial values, refuses outright what others only warn of.
      if (isRowFault(error)) return null;
      throw error;
    });
    if (result === null) return false;
    const counts = /^Records: (\d+)\D+(\d+)\D+(\d+)\D+(\d+)/.exec(result.info);
    if (!counts)
      throw loaderError(
        'LOAD_COUNTS_DIFFER',
        `${this.#options.name}: the server said ${JSON.stringify(result.info)} of a LOAD DATA`,
      );
    const [records, , skipped, warnings] = counts.slice(1).map(Number);
    return (
      records === block.rows &&
      result.affectedRows === block.rows &&
      skipped === 0 &&
      warnings === 0 &&
      result.warnings === 0
    );
  }

  /** Inserts the block's rows by strict statements; halves what the server refuses until the rows at fault stand alone. */
  async #insert(block: RowBlock): Promise<void> {
    const { connection, name, table } = this.#options;
    const prefix = `INSERT INTO ${table} (${quoteList(block.plan.columns.map(({ column }) => column.name))}) VALUES `;
    const bytesMax = Math.min(connection.server.maxAllowedPacketBytes - 65_536, statementBytes);
    for (const { values, firstRow, rows } of insertValues(block, connection.server.flavour, {
      bytesMax,
      rowsMax: 10_000,
    })) {
      const statement = prefix + values.toString('utf8');
      const bytes = prefix.length + values.length;
      if (rows === 1 && bytes > connection.server.maxAllowedPacketBytes - packetReserveBytes) {
        this.#reject(
          partOf(block, firstRow, 1),
          `the row takes ${bytes} bytes as a statement, more than the server's max_allowed_packet of ${connection.server.maxAllowedPacketBytes}`,
        );
        continue;
      }
      try {
        const result = await connection.run(statement);
        if (result.affectedRows !== rows || result.warnings !== 0) {
          throw loaderError(
            'LOAD_COUNTS_DIFFER',
            `${name}: ${rows} rows were sent, ${result.affectedRows} went in, with ${result.warnings} warnings`,
          );
        }
        this.written += rows;
      } catch (error) {
        if (!isRowFault(error)) throw error;
        const part = partOf(block, firstRow, rows);
        if (rows === 1) await this.#refuse(part, prefix, statement.slice(prefix.length), error);
        else {
          await this.#insert(partOf(part, 0, rows >>> 1));
          await this.#insert(partOf(part, rows >>> 1, rows - (rows >>> 1)));
        }
      }
    }
  }

  async #refuse(block: RowBlock, prefix: string, values: string, error: Error): Promise<void> {
    const { connection, name, onDuplicate, table } = this.#options;
    const line = block.lines[0] ?? 0;
    if (serverErrno(error) === 1062) {
      const insert = async (into: string) => void (await connection.run(prefix.replace(table, into) + values));
      const duplicate = await onDuplicate(insert);
      if (duplicate === 'same') {
        this.duplicates++;
        return;
      }
      throw duplicate === 'different'
        ? loaderError(
            'LOAD_DUPLICATE_KEY',
            `${name}: ${block.source}:${line} has a key that another, different row has (${plainMessage(error)})`,
          )
        : loaderError(
            'LOAD_UNIQUE_CONFLICT',
            `${name}: ${block.source}:${line} has a value that another row has (${plainMessage(error)})`,
          );
    }
    if (serverErrno(error) === 1452) {
      throw loaderError(
        'LOAD_FOREIGN_KEY',
        `${name}: ${block.source}:${line} refers to a row that does not exist (${error.message})`,
      );
    }
    this.#reject(block, `the server refused the row: ${serverErrno(error)} ${error.message}`);
  }

  #reject(block: RowBlock, reason: string): void {
    // Rows that an earlier attempt at the chunk reported are not reported again.
    if (++this.#refused <= this.#reported) return;
    this.#reported++;
    const line = block.lines[0] ?? 0;
    this.#options.onReject({ source: block.source, line, column: null, field: null, reason, value: null });
  }
}

/** The server's text without the names of our own temporary tables, which mean nothing to a reader. */
function plainMessage(error: Error): string {
  return error.message.replaceAll(/\btableset_(?:stage|duplicate)_\w+\./g, '');
}

/** Some of a block's rows. */
function partOf(block: RowBlock, firstRow: number, rows: number): RowBlock {
  const start = rowStart(block.bytes, firstRow);
  const end = start + rowStart(block.bytes.subarray(start), rows);
  return {
    ...block,
    bytes: block.bytes.subarray(start, end),
    rows,
    lines: block.lines.subarray(firstRow, firstRow + rows),
  };
}

const attemptsMax = 5;
/** Room in a packet for what stands around a statement. */
const packetReserveBytes = 1024;
/** A multi-row statement grows to about this many bytes. */
const statementBytes = 1024 * 1024;
const sliceBytes = 256 * 1024;

function* slices(bytes: Buffer): Generator<Buffer> {
  for (let start = 0; start < bytes.length; start += sliceBytes) yield bytes.subarray(start, start + sliceBytes);
}

/**
 * Errors that one row's values cause: 1048, 1062, 1264, 1265, 1292, 1364, 1366, 1406, 1411, 1416, 1452, 3140, 3819, 3667, 4025 and the like.
 * A transaction goes on after them, while others end the run.
 */
function isRowFault(error: unknown): error is Error {
  const errno = serverErrno(error);
  return errno !== null && rowFaults.has(errno);
}

const rowFaults = new Set([
  1048, 1062, 1136, 1264, 1265, 1292, 1300, 1364, 1366, 1367, 1406, 1411, 1416, 1452, 1690, 3037, 3055, 3140, 3141,
  3157, 3548, 3643, 3819, 3617, 4025, 4161, 6138,
]);
