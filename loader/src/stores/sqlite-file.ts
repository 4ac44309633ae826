import type { DatabaseSync } from 'node:sqlite';
import { AppError } from '@tableset/common/errors.ts';
import { loaderError } from '../errors.ts';

/**
 * EXTRA is FULL and makes the end of the journal durable too, without which a power cut could undo what was committed.
 * @throws AppError ARCHIVE_STORE_UNSUITABLE
 */
export function assertDurable(database: DatabaseSync, store: string): void {
  // SQLite ignores a setting that it cannot have, so what it says afterwards counts.
  database.exec('PRAGMA journal_mode = DELETE; PRAGMA synchronous = EXTRA; PRAGMA fullfsync = ON');
  const [journal, synchronous] = [pragma(database, 'journal_mode'), Number(pragma(database, 'synchronous'))];
  if ((journal === 'delete' || journal === 'wal') && synchronous >= 2) return;
  throw loaderError(
    'ARCHIVE_STORE_UNSUITABLE',
    `store ${store}: SQLite runs with journal_mode ${journal} and synchronous ${synchronous}, and may forget what it committed`,
    { hint: 'Use a file of its own on a volume that other programs leave alone.' },
  );
}

/** Writes what is there already: a transaction of a file that may only be read begins without an error. */
export function proveWritable(database: DatabaseSync): void {
  database.exec(`PRAGMA user_version = ${Number(pragma(database, 'user_version'))}`);
}

/** Result codes of SQLite, of which the extended ones have more bits above. */
const codes = { corrupt: 11, full: 13, constraint: 19, notADatabase: 26 } as const;

/** A failure of SQLite as the store's; errors with a code of ours, and faults of the program, as they are. */
export function sqliteFailure(store: string, what: string, error: unknown): unknown {
  if (error instanceof AppError || !isSqliteError(error)) return error;
  const code = error.errcode & 0xff;
  const details = { store, errcode: error.errcode };
  const message = `store ${store}: ${what}: ${error.errstr} (SQLite ${error.errcode})`;
  if (code === codes.corrupt || code === codes.notADatabase || code === codes.constraint)
    return loaderError('ARCHIVE_VERIFY_FAILED', message, { cause: error, details });
  const hint = code === codes.full ? 'Make room on the volume, then run it again.' : 'Check the file and its volume.';
  return loaderError('STORE_UNAVAILABLE', message, { cause: error, hint, details });
}

function pragma(database: DatabaseSync, name: string): string {
  return String(Object.values(database.prepare(`PRAGMA ${name}`).get() ?? {})[0]);
}

function isSqliteError(error: unknown): error is Error & { errcode: number; errstr: string } {
  return error instanceof Error && 'errcode' in error && typeof error.errcode === 'number';
}
