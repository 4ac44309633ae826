import { Readable } from 'node:stream';
import type { Connection } from '@tableset/common/database/connection.ts';
import { serverErrno } from '@tableset/common/database/errno.ts';
import { quoteIdentifier, quoteList } from '@tableset/common/database/quoting.ts';
import type { ColumnDefinition } from '@tableset/common/database/table-definition.ts';
import { type CanonicalRow, isBinaryColumn } from '../core/archive/canonical.ts';
import type { RowPlan } from '../core/encoded-rows.ts';
import { ByteSink } from '../core/encoding/byte-sink.ts';
import { insertValues } from '../core/encoding/insert-values.ts';
import { wrapperOf } from '../core/encoding/server-expression.ts';
import { loadDataClauses } from '../core/load-sql.ts';
import { loaderError } from '../errors.ts';

/** Tab. */
const separator = 9;
/** Small enough that the server works on the first rows of a batch while the last are read. */
const chunkBytes = 64 * 1024;
const rowsPerInsertMax = 10_000;
/** Room in a packet for what stands around the rows of a statement. */
const packetReserveBytes = 64 * 1024;
const nullField = Buffer.from('\\N');

export interface WriteTarget {
  /** The archive table, quoted with its schema. */
  readonly archive: string;
  /** For messages. */
  readonly name: string;
  /** Of the table on the primary: what the cells are. */
  readonly columns: readonly ColumnDefinition[];
  /** Columns of its primary key, for messages. */
  readonly key: readonly string[];
  /** Digits. */
  readonly batch: string;
}

/** Rows as load text. */
interface Chunk {
  readonly bytes: Buffer;
  readonly rows: number;
}

/**
 * Writes rows into an archive table inside the connection's open transaction: by LOAD DATA LOCAL INFILE where both sides allow it, by INSERTs of
 * many rows otherwise. LOCAL makes the server lower errors to warnings and skip what it finds twice, so that anything
 * but as many rows as were sent, without a warning, is an error here.
 * @returns how many
 * @throws AppError ARCHIVE_VALUE_REFUSED; what the rows' own iteration throws
 */
export async function writeRows(
  connection: Connection,
  target: WriteTarget,
  rows: AsyncIterable<readonly CanonicalRow[]>,
): Promise<number> {
  const chunks = encode(target, rows, connection.server.flavour);
  return connection.server.localInfile
    ? await load(connection, target, chunks)
    : await insert(connection, target, chunks);
}

async function* encode(
  target: WriteTarget,
  rows: AsyncIterable<readonly CanonicalRow[]>,
  flavour: 'mysql' | 'mariadb',
): AsyncGenerator<Chunk, void> {
  const binary = target.columns.map(isBinaryColumn);
  // MariaDB has no negative zero, and would silently keep the other one.
  const floats =
    flavour === 'mariadb'
      ? target.columns.flatMap(({ dataType }, index) => (/^(float|double)$/.test(dataType) ? [index] : []))
      : [];
  const end = Buffer.from(`\t${target.batch}\n`);
  let sink = new ByteSink(chunkBytes + 4096, separator);
  let count = 0;
  for await (const batch of rows) {
    for (const row of batch) {
      for (const index of floats) if (row[index]?.equals(negativeZero)) throw refusedZero(target, row, index);
      encodeRow(sink, row, binary, end);
      count += 1;
      if (sink.length < chunkBytes) continue;
      yield { bytes: sink.bytes.subarray(0, sink.length), rows: count };
      // What was handed over is still being sent.
      sink = new ByteSink(chunkBytes + 4096, separator);
      count = 0;
    }
  }
  if (count > 0) yield { bytes: sink.bytes.subarray(0, sink.length), rows: count };
}

function encodeRow(sink: ByteSink, row: CanonicalRow, binary: readonly boolean[], end: Buffer): void {
  for (let index = 0; index < row.length; index++) {
    const cell = row[index];
    if (index > 0) sink.byte(separator);
    if (!cell) sink.copy(nullField, 0, nullField.length);
    else if (binary[index]) sink.hex(cell);
    else sink.escaped(cell, 0, cell.length);
  }
  sink.copy(end, 0, end.length);
}

async function load(connection: Connection, target: WriteTarget, chunks: AsyncIterable<Chunk>): Promise<number> {
  let sent = 0;
  // Each piece is a packet, and a row may be larger than one.
  const pieceBytes = Math.min(chunkBytes, connection.server.maxAllowedPacketBytes - packetReserveBytes / 64);
  async function* bytes() {
    for await (const chunk of chunks) {
      sent += chunk.rows;
      for (let at = 0; at < chunk.bytes.length; at += pieceBytes) yield chunk.bytes.subarray(at, at + pieceBytes);
    }
  }
  const fields = target.columns.map((column, index) =>
    wrapperOf(stored(column)) === null ? quoteIdentifier(column.name) : `@tableset_${index}`,
  );
  const assignments = target.columns.flatMap((column, index) => {
    const wrapper = wrapperOf(stored(column));
    return wrapper === null
      ? []
      : [`${quoteIdentifier(column.name)} = ${wrapper.before}@tableset_${index}${wrapper.after}`];
  });
  const sql = `LOAD DATA LOCAL INFILE 'tableset' INTO TABLE ${target.archive} ${loadDataClauses(separator)} (${fields.join(', ')}, tableset_batch)${assignments.length === 0 ? '' : ` SET ${assignments.join(', ')}`}`;
  const stream = Readable.from(bytes(), { objectMode: false, highWaterMark: chunkBytes });
  const result = await connection.load(sql, stream).catch((error: unknown) => {
    throw refusedValue(error, target);
  });
  const counts = /^Records: (\d+)\D+(\d+)\D+(\d+)\D+(\d+)/.exec(result.info)?.slice(1).map(Number);
  const [records = -1, , skipped = -1, warnings = -1] = counts ?? [];
  if (result.affectedRows === sent && records === sent && skipped === 0 && warnings === 0 && result.warnings === 0)
    return sent;
  const first = await connection.row('SHOW WARNINGS LIMIT 1');
  const said = first ? `${String(first['Code'])} ${String(first['Message'])}` : result.info;
  throw loaderError(
    'ARCHIVE_VALUE_REFUSED',
    `${target.name}: ${sent} rows were sent, of which the archive's server took ${result.affectedRows} and not all as they were: ${said}`,
  );
}

async function insert(connection: Connection, target: WriteTarget, chunks: AsyncIterable<Chunk>): Promise<number> {
  const { maxAllowedPacketBytes, flavour } = connection.server;
  const columns = [...target.columns.map(stored), batchColumn];
  const plan: RowPlan = {
    columns: columns.map((column) => ({ column, field: 0, fieldName: null, mapping: null })),
    fields: [],
    separator,
  };
  const head = `INSERT INTO ${target.archive} (${quoteList(columns.map((column) => column.name))}) VALUES `;
  const limits = {
    bytesMax: Math.max(1024, Math.min(maxAllowedPacketBytes - packetReserveBytes, 1024 * 1024)),
    rowsMax: rowsPerInsertMax,
  };
  let written = 0;
  for await (const chunk of chunks) {
    const block = { source: target.name, plan, bytes: chunk.bytes, rows: chunk.rows, lines: new Uint32Array() };
    for (const { values, rows } of insertValues(block, flavour, limits)) {
      if (rows === 1 && values.length > maxAllowedPacketBytes - packetReserveBytes / 2) throw tooLong(target, values);
      const result = await connection.run(head + values.toString('utf8')).catch((error: unknown) => {
        throw refusedValue(error, target);
      });
      if (result.affectedRows !== rows || result.warnings !== 0) {
        throw loaderError(
          'ARCHIVE_VALUE_REFUSED',
          `${target.name}: ${rows} rows were sent, and the archive's server took ${result.affectedRows} with ${result.warnings} warnings`,
        );
      }
      written += rows;
    }
  }
  return written;
}

/** Spatial cells are the very bytes that the server stores, which it takes without looking at their reference system again. */
function stored(column: ColumnDefinition): ColumnDefinition {
  return isBinaryColumn(column) ? { ...column, dataType: 'longblob' } : column;
}

/** Of every archive table, behind the columns of the primary. */
const batchColumn: ColumnDefinition = {
  name: 'tableset_batch',
  position: 0,
  dataType: 'bigint',
  columnType: 'bigint unsigned',
  unsigned: true,
  zerofill: false,
  nullable: false,
  hasDefault: false,
  characterMaximumLength: null,
  characterOctetLength: null,
  numericPrecision: 20,
  numericScale: 0,
  datetimePrecision: null,
  characterSet: null,
  collation: null,
  members: [],
  generated: false,
  autoIncrement: false,
  invisible: false,
  json: false,
  srid: null,
};

const negativeZero = Buffer.from('-0');

function refusedZero(target: WriteTarget, row: CanonicalRow, index: number) {
  const cells = target.key.map((name) => String(row[target.columns.findIndex((column) => column.name === name)]));
  return loaderError(
    'ARCHIVE_VALUE_REFUSED',
    `${target.name}: the row with key ${JSON.stringify(cells)} has a negative zero in ${target.columns[index]?.name ?? ''}, which MariaDB cannot keep`,
    { hint: 'Set it to 0 in that row, or archive to MySQL or to files.' },
  );
}

function tooLong(target: WriteTarget, values: Buffer) {
  return loaderError(
    'ARCHIVE_VALUE_REFUSED',
    `${target.name}: a row takes ${values.length} bytes as a statement, more than the archive server's max_allowed_packet; it begins with ${values.toString('utf8', 0, 60)}`,
    { hint: 'Raise max_allowed_packet on the archive server, or allow local_infile there.' },
  );
}

/** What a row's values cause is told as that; everything else stays what it is. */
function refusedValue(error: unknown, target: WriteTarget): unknown {
  const errno = serverErrno(error);
  if (errno === null || !valueFaults.has(errno)) return error;
  return loaderError(
    'ARCHIVE_VALUE_REFUSED',
    `${target.name}: the archive's server refused a row: ${errno} ${error instanceof Error ? error.message : ''}`,
    { cause: error },
  );
}

/** Errors that a row's values cause: out of range, cut, no such date, no such character, no such member, twice the same key, no geometry, no JSON. */
const valueFaults = new Set([
  1048, 1062, 1264, 1265, 1292, 1300, 1366, 1367, 1406, 1411, 1416, 1690, 3037, 3055, 3140, 3141, 3548, 3617, 3643,
  3819, 4025, 4161, 6138,
]);
