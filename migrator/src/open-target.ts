import type { Connection } from '@tableset/common/database/connection.ts';
import { classifyFault, serverErrno } from '@tableset/common/database/errno.ts';
import { databaseFailure } from '@tableset/common/database/failure.ts';
import { AppError } from '@tableset/common/errors.ts';
import type { Output } from '@tableset/common/output/output.ts';
import type { DatabaseSettings } from '@tableset/common/settings/database.ts';
import type { FolderEntry, MigrationFolder } from './core/formats/migration.ts';
import type { ReadOptions } from './core/formats/read-folder.ts';
import { listFiles, readFolderFor, readsByServer } from './migrations-folder.ts';
import { openSession } from './session.ts';

/** What every operation on the database is given. */
export interface Target {
  readonly database: DatabaseSettings;
  readonly directory: string;
  readonly read: ReadOptions;
}

export interface OpenOptions {
  readonly signal: AbortSignal;
  readonly output: Output;
  readonly lockTimeoutSeconds?: number;
}

/**
 * Opens the session, reads the folder, and does the work with both. What the server refuses on the way is told in the
 * documented terms.
 */
export async function withTarget<T>(
  target: Target,
  options: OpenOptions,
  work: (opened: OpenTarget) => Promise<T>,
): Promise<T> {
  await using opened = await openTarget(target, options);
  try {
    return await work(opened);
  } catch (error) {
    if (error instanceof AppError || (serverErrno(error) === null && classifyFault(error) === 'other')) throw error;
    const statement = error instanceof Error && 'sql' in error && typeof error.sql === 'string' ? error.sql : null;
    throw databaseFailure(error, { settings: target.database, statement: statement ?? 'a statement of the migrator' });
  }
}

export interface OpenTarget extends AsyncDisposable {
  readonly connection: Connection;
  readonly folder: MigrationFolder;
}

/**
 * Opens the session and reads the folder, both at once: the files are read while the server is still answering. What is
 * wrong with the folder is told first, whether or not the server ever answers.
 */
async function openTarget(target: Target, options: OpenOptions): Promise<OpenTarget> {
  const abandoned = new AbortController();
  const signal = AbortSignal.any([options.signal, abandoned.signal]);
  const opening = openSession(target.database, { ...options, signal });
  let files: readonly FolderEntry[];
  let folder: MigrationFolder;
  try {
    files = listFiles(target.directory);
    folder = readFolderFor(files, target.read, null);
  } catch (error) {
    abandoned.abort(error);
    await opening.then(
      (connection) => connection[Symbol.asyncDispose](),
      () => undefined,
    );
    throw error;
  }
  const connection = await opening;
  try {
    if (readsByServer(files)) folder = readFolderFor(files, target.read, connection.server.flavour);
    return { connection, folder, [Symbol.asyncDispose]: () => connection[Symbol.asyncDispose]() };
  } catch (error) {
    await connection[Symbol.asyncDispose]();
    throw error;
  }
}
