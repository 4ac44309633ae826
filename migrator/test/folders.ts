import { AppError } from '@tableset/common/errors.ts';
import type { FolderEntry, MigrationFolder } from '../src/core/formats/migration.ts';
import { type ReadOptions, readMigrationFolder } from '../src/core/formats/read-folder.ts';

/** Entries of a folder from names to texts; a list of names gets a text that fits each. */
export function entries(files: Readonly<Record<string, string>> | readonly string[]): FolderEntry[] {
  const texts: Readonly<Record<string, string>> = Array.isArray(files)
    ? Object.fromEntries(files.map((name: string) => [name, textFor(name)]))
    : // The other member of the union; Array.isArray does not narrow readonly arrays away.
      (files as Readonly<Record<string, string>>);
  return Object.entries(texts).map(([name, text]) => ({ name, text: () => text }));
}

export function readFolder(
  files: Readonly<Record<string, string>> | readonly string[],
  options?: ReadOptions,
): MigrationFolder {
  return readMigrationFolder(entries(files), options);
}

/** The code and the message of the error that `run` ends with. */
export function refusal(run: () => unknown): readonly [code: string, message: string] {
  const error = refusalOf(run);
  return error === null ? ['none', ''] : [error.code, error.message];
}

/** The error that `run` must end with. */
export function refused(run: () => unknown): AppError {
  const error = refusalOf(run);
  if (error === null) throw new Error('it was not refused');
  return error;
}

function refusalOf(run: () => unknown): AppError | null {
  try {
    run();
  } catch (error) {
    if (error instanceof AppError) return error;
    throw error;
  }
  return null;
}

function textFor(name: string): string {
  return name.endsWith('.sql') ? `SELECT '${name}';` : `export async function up(knex) { await knex.raw('${name}'); }`;
}
