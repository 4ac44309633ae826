import { hash } from 'node:crypto';
import { serverErrno } from '@tableset/common/database/errno.ts';
import { replayed, rollBack } from '@tableset/common/database/transaction.ts';
import type { LockedSession } from '../catalogue/archive-run.ts';
import {
  exactStatementBytes,
  insertRows,
  type RestoreTarget,
  statementBytes,
  updateRow,
} from '../core/archive/restore-sql.ts';
import { loaderError } from '../errors.ts';
import type { ArchivedRow } from './choose-rows.ts';
import { conflictError } from './conflicts.ts';
import { differingColumns, existingRows } from './existing-rows.ts';
import type { RestoreTally } from './restore-counts.ts';

/** Rows of one table that are written together with others in one transaction, parents before children. */
export interface WritePart {
  readonly table: string;
  readonly target: RestoreTarget;
  readonly rows: readonly ArchivedRow[];
  /** They are held from being archived again. */
  readonly held: boolean;
}

const statementRowsMax = 500;
const keysToldMax = 20;
const statementBytesMax = 4 * 1024 * 1024;
/** A statement has more in it than its rows. */
const statementRoomBytes = 64 * 1024;

/**
 * Writes rows in one READ COMMITTED transaction of the lock's connection, reads them back by their hashes, and commits only if they are equal.
 * Rows that are there already stay as they are; deadlocks are played again, a bounded number of times.
 * @returns how many rows it wrote
 * @throws AppError RESTORE_CONFLICT, ARCHIVE_VERIFY_FAILED, ARCHIVE_VALUE_REFUSED, ARCHIVE_TABLE_UNSUITABLE; nothing of it is written then.
 */
export async function writeParts(
  parts: readonly WritePart[],
  session: LockedSession,
  overwrite: boolean,
  tally: RestoreTally,
): Promise<number> {
  const { connection, request } = session;
  const all = await replayed(
    connection,
    request.signal,
    () => writeOnce(parts, session, overwrite),
    (facts) => request.output.event('warn', 'restoring rows is tried again', facts),
  );
  for (const { table, ...written } of all) {
    const counts = tally.of(table);
    counts.restored += written.restored;
    counts.overwritten += written.overwritten;
    counts.unchanged += written.unchanged;
  }
  return all.reduce((sum, { restored, overwritten }) => sum + restored + overwritten, 0);
}

interface Written {
  readonly table: string;
  readonly restored: number;
  readonly overwritten: number;
  readonly unchanged: number;
}

async function writeOnce(
  parts: readonly WritePart[],
  session: LockedSession,
  overwrite: boolean,
): Promise<readonly Written[]> {
  const { connection } = session;
  await connection.run('START TRANSACTION');
  try {
    await session.lock.assertHeld();
    const written: Written[] = [];
    for (const part of parts) written.push(await writePart(part, session, overwrite));
    // A stop that came in between would leave it open whether the rows are there.
    await connection.uninterrupted(() => connection.run('COMMIT'));
    return written;
  } catch (error) {
    await rollBack(connection);
    throw error;
  }
}

async function writePart(part: WritePart, session: LockedSession, overwrite: boolean): Promise<Written> {
  const { connection } = session;
  const { table, target, rows } = part;
  const existing = await existingRows(connection, target, rows, true);
  const missing = rows.filter(({ key }) => !existing.has(key));
  const differing = rows.filter((row) => existing.has(row.key) && existing.get(row.key)?.hash !== row.hash);
  if (differing.length > 0 && !overwrite) {
    throw conflictError(differing.map(({ key }) => ({ table, key: existing.get(key)?.key ?? key, index: null })));
  }
  try {
    for (const piece of statementPieces(missing, table, target.binary, connection.server.maxAllowedPacketBytes)) {
      const { sql, values } = insertRows(
        target,
        piece.map(({ row }) => row),
      );
      await connection.run(sql, values);
    }
    for (const { row } of differing) {
      const { sql, values } = updateRow(target, row);
      await connection.run(sql, values);
    }
  } catch (error) {
    throw refusedByServer(error, table);
  }
  const written = [...missing, ...differing];
  await readBack(written, part, session);
  // Also what is there already: whoever asks for a row wants it to stay.
  if (part.held) await holdRows(table, rows, session);
  if (differing.length > 0) {
    session.request.output.event('warn', 'rows were overwritten, which nothing keeps', {
      table,
      rows: differing.length,
      keys: differing.slice(0, keysToldMax).map(({ key }) => key),
    });
  }
  return {
    table,
    restored: written.length,
    overwritten: differing.length,
    unchanged: rows.length - written.length,
  };
}

/** @throws AppError ARCHIVE_VALUE_REFUSED for a row that no statement could carry, by its key. */
function* statementPieces(
  rows: readonly ArchivedRow[],
  table: string,
  binary: readonly boolean[],
  packetBytes: number,
): Generator<readonly ArchivedRow[]> {
  const roomBytes = packetBytes - statementRoomBytes;
  let piece: ArchivedRow[] = [];
  let bytes = 0;
  for (const row of rows) {
    let rowBytes = statementBytes(row.row);
    // The worst is assumed of texts; only where that is too much do they deserve a closer look.
    if (rowBytes > roomBytes) rowBytes = exactStatementBytes(row.row, binary);
    if (rowBytes > roomBytes) {
      throw loaderError(
        'ARCHIVE_VALUE_REFUSED',
        `${table}: the row ${row.key} takes ${rowBytes} bytes in a statement, and the server takes ${packetBytes}`,
        { hint: 'Raise max_allowed_packet on the primary for the restore.' },
      );
    }
    if (
      piece.length > 0 &&
      (piece.length >= statementRowsMax || bytes + rowBytes > Math.min(statementBytesMax, roomBytes))
    ) {
      yield piece;
      piece = [];
      bytes = 0;
    }
    piece.push(row);
    bytes += rowBytes;
  }
  if (piece.length > 0) yield piece;
}

/** Values that the table does not take as they are: 1048 NULL, 1264 range, 1265 truncated, 1292 wrong, 1366 character, 1406 too long, 1416 spatial, 3140 JSON, 3819 and 4025 check. */
const refusedValues = new Set([1048, 1264, 1265, 1292, 1366, 1406, 1416, 3140, 3643, 3819, 4025, 1690, 1526]);
/** 1062 and 1586 a unique key, 1216 and 1452 a parent that is not there, 1217 and 1451 a child that would lose its parent. */
const inTheWay = new Set([1062, 1586, 1216, 1452, 1217, 1451]);

function refusedByServer(error: unknown, table: string): unknown {
  const errno = serverErrno(error);
  const said = error instanceof Error ? error.message : String(error);
  if (errno !== null && inTheWay.has(errno)) {
    return loaderError('RESTORE_CONFLICT', `${table} does not take an archived row: ${said}`, {
      cause: error,
      hint: `${wayOut(errno)}, or restore into another table with --into.`,
    });
  }
  if (errno !== null && refusedValues.has(errno)) {
    return loaderError('ARCHIVE_TABLE_UNSUITABLE', `${table} no longer takes an archived row as it was: ${said}`, {
      cause: error,
      hint: 'Change the table as the message says, or restore into another table with --into.',
    });
  }
  return error;
}

function wayOut(errno: number): string {
  if (errno === 1216 || errno === 1452) return 'Bring back the row that it refers to first';
  if (errno === 1217 || errno === 1451)
    return 'Rows of other tables refer to the one that would be overwritten; change those first';
  return 'Another row holds the value; change it';
}

/** Rows that the server gives back otherwise than they were archived undo the transaction. */
async function readBack(rows: readonly ArchivedRow[], part: WritePart, session: LockedSession): Promise<void> {
  if (rows.length === 0) return;
  const { connection } = session;
  const { table, target } = part;
  const found = await existingRows(connection, target, rows, false);
  const wrong = rows.find((row) => found.get(row.key)?.hash !== row.hash || found.get(row.key)?.key !== row.key);
  if (!wrong) return;
  if (found.get(wrong.key)?.hash === null) {
    throw loaderError('ARCHIVE_VALUE_REFUSED', `${table}: the row ${wrong.key} is too large for the server to hash`, {
      hint: 'Raise max_allowed_packet on the primary for the restore.',
    });
  }
  const columns = await differingColumns(connection, target, wrong);
  const what = columns === null ? 'is not there' : `differs in ${columns.join(', ')}`;
  const json = target.columns.some(({ name, dataType }) => dataType === 'json' && columns?.includes(name));
  throw loaderError(
    'ARCHIVE_VERIFY_FAILED',
    `${table}: the row ${wrong.key} was restored and ${what} when it is read back`,
    {
      hint: json
        ? 'It was rolled back. MySQL parses the text of a JSON document that had a DECIMAL, a date or bytes in it to another; --into makes no difference. The archive has it as it was.'
        : 'It was rolled back. A trigger, a generated column or a changed type alters the row; restore into another table with --into.',
    },
  );
}

/** Keeps restored rows out of the next archive run; a row that is held already gets no second hold. */
async function holdRows(table: string, rows: readonly ArchivedRow[], session: LockedSession): Promise<void> {
  const { connection, runId } = session;
  for (let start = 0; start < rows.length; start += statementRowsMax) {
    const holds = new Map(
      rows.slice(start, start + statementRowsMax).map(({ key }) => [hash('sha256', key), key] as const),
    );
    const known = await connection.rows(
      `SELECT LOWER(HEX(key_hash)) AS hash FROM tableset_holds WHERE table_name = ? AND until IS NULL AND key_hash IN (${Array.from(holds, () => '?').join(', ')})`,
      [table, ...Array.from(holds.keys(), (digits) => Buffer.from(digits, 'hex'))],
    );
    for (const row of known) holds.delete(String(row['hash']));
    if (holds.size === 0) continue;
    await connection.run(
      `INSERT INTO tableset_holds (table_name, key_hash, key_text, reason, created_at, run_id) VALUES ${Array.from(holds, () => "(?, ?, ?, 'restored', UTC_TIMESTAMP(6), ?)").join(', ')}`,
      Array.from(holds).flatMap(([digits, key]) => [table, Buffer.from(digits, 'hex'), key, runId]),
    );
  }
}
