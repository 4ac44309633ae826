import { type Dirent, readdirSync, readFileSync, realpathSync, statSync } from 'node:fs';
import { join, sep } from 'node:path';
import { commonError } from '@tableset/common/errors.ts';
import { decodeMigration, type FolderEntry, type MigrationFolder } from './core/formats/migration.ts';
import { type ReadOptions, readMigrationFolder } from './core/formats/read-folder.ts';
import { migrationError } from './errors.ts';

/** Flyway sorts scripts into folders; deeper trees than this are no migrations. */
const depthMax = 6;

/**
 * The files below a folder, as `readMigrationFolder` takes them. Their content is read when it is first asked for.
 * @throws AppError CONFIG_UNREADABLE for a folder or file that cannot be read, MIGRATION_NAME_UNREADABLE for a link out of it
 */
export function listFiles(directory: string): readonly FolderEntry[] {
  return entriesBelow(directory, '', depthMax);
}

/** Names that say for which of the two servers a file is. */
const dialectName = /\.(?:mysql|mariadb)\./i;

/** Whether the folder reads differently on the two servers. */
export function readsByServer(files: readonly FolderEntry[]): boolean {
  return files.some((file) => dialectName.test(file.name));
}

/** The migrations for a server; null where that is not known yet: MariaDB takes files of both dialects, so that this look finds whatever is wrong. */
export function readFolderFor(
  files: readonly FolderEntry[],
  options: ReadOptions,
  server: 'mysql' | 'mariadb' | null,
): MigrationFolder {
  return readMigrationFolder(files, { ...options, server: server ?? 'mariadb' });
}

function entriesBelow(root: string, prefix: string, depth: number): FolderEntry[] {
  const entries: FolderEntry[] = [];
  for (const entry of listFolder(root, prefix)) {
    // Hidden names hold other things: `.git`, and the `..data` of a mounted ConfigMap, whose files stand beside it as links.
    if (entry.name.startsWith('.') || entry.name === 'node_modules') continue;
    const name = `${prefix}${entry.name}`;
    const path = join(root, name);
    const kind = entry.isSymbolicLink() ? followLink(root, path) : entry;
    if (kind.isDirectory() && depth > 0) entries.push(...entriesBelow(root, `${name}/`, depth - 1));
    else if (kind.isFile()) entries.push({ name, text: once(() => readText(path, name)) });
  }
  return entries;
}

function listFolder(root: string, prefix: string): Dirent[] {
  try {
    return readdirSync(join(root, prefix), { withFileTypes: true });
  } catch (cause) {
    throw commonError('CONFIG_UNREADABLE', `MIGRATIONS_DIR is ${root}, which cannot be read (${codeOf(cause)})`, {
      cause,
    });
  }
}

/** What a link stands for; it may lead within the folder only, as a ConfigMap's do. */
function followLink(root: string, path: string) {
  try {
    const target = realpathSync(path);
    if (target.startsWith(realpathSync(root) + sep)) return statSync(target);
  } catch (cause) {
    throw commonError('CONFIG_UNREADABLE', `${path} is a link that leads nowhere (${codeOf(cause)})`, { cause });
  }
  throw migrationError('MIGRATION_NAME_UNREADABLE', `${path} is a link that leads out of the migrations folder`, {
    hint: 'Put the file itself into the folder.',
  });
}

function readText(path: string, name: string): string {
  let bytes: Buffer;
  try {
    bytes = readFileSync(path);
  } catch (cause) {
    throw commonError('CONFIG_UNREADABLE', `${path} cannot be read (${codeOf(cause)})`, { cause });
  }
  return decodeMigration(bytes, name);
}

function codeOf(error: unknown): string {
  return error instanceof Error && 'code' in error ? String(error.code) : 'unknown error';
}

function once(read: () => string): () => string {
  let text: string | null = null;
  return () => {
    text ??= read();
    return text;
  };
}
