import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { AppError, commonError } from '@tableset/common/errors.ts';
import type { VerbResult } from '@tableset/common/program.ts';
import type { MigrationFolder, MigrationFormat } from './core/formats/migration.ts';
import { type ReadOptions, readMigrationFolder } from './core/formats/read-folder.ts';
import { listFiles } from './migrations-folder.ts';

export interface NewSettings {
  readonly directory: string;
  readonly read: ReadOptions;
  /** What the file is about, in words; an ending .sql, .ts or .js says what kind of file it is to be. */
  readonly name: string;
  readonly now: Date;
}

/**
 * `migrator new NAME`: makes an empty migration in the format and numbering of the folder. Never overwrites a file.
 * @throws AppError SETTING_INVALID for a name without letters or digits, or with an ending that the folder's format does not have
 */
export function newMigration(settings: NewSettings): VerbResult {
  const ending = /\.(?:sql|[cm]?js|ts)$/i.exec(settings.name)?.[0].toLowerCase();
  const words = settings.name
    .slice(0, settings.name.length - (ending?.length ?? 0))
    .toLowerCase()
    .replace(/[^\p{L}\p{N}]+/gu, '_')
    .replace(/^_+|_+$/g, '');
  if (words === '') {
    throw commonError('SETTING_INVALID', `NAME was given ${JSON.stringify(settings.name)}; it takes words`);
  }
  mkdirSync(settings.directory, { recursive: true });
  const folder = readFolder(settings);
  const format = folder?.format ?? (settings.read.format === 'auto' ? undefined : settings.read.format) ?? 'tableset';
  refuseEnding(settings.name, ending, format);
  const stem = { version: nextVersion(folder, settings.now), words };
  const files =
    ending === undefined || ending === '.sql'
      ? filesOf(format, stem, folder)
      : [scriptFile(`${stem.version}_${words}`, ending, folder)];
  for (const [name, content] of files) writeFileSync(join(settings.directory, name), content, { flag: 'wx' });
  const names = files.map(([name]) => name);
  return { summary: { outcome: 'done', files: names }, lines: names.map((name) => join(settings.directory, name)) };
}

/** A script beside the files of a tool that has none would be passed over, or be taken for a mixture. */
function refuseEnding(name: string, ending: string | undefined, format: MigrationFormat): void {
  const isSql = ending === undefined || ending === '.sql';
  const takesScripts = format === 'tableset' || format === 'dbmate' || format === 'knex';
  if (isSql ? ending === undefined || format !== 'knex' : takesScripts) return;
  throw commonError(
    'SETTING_INVALID',
    `NAME was given ${JSON.stringify(name)}; the folder is one of ${format}, which has no ${ending} files`,
  );
}

function readFolder({ directory, read }: NewSettings): MigrationFolder | null {
  try {
    return readMigrationFolder(listFiles(directory), { ...read, server: 'mariadb' });
  } catch (error) {
    if (error instanceof AppError && error.code === 'MIGRATION_NONE_FOUND') return null;
    throw error;
  }
}

/** The next number as wide as the newest one has it, or the time where the folder goes by time. */
function nextVersion(folder: MigrationFolder | null, now: Date): string {
  const newest = folder?.migrations.at(-1);
  if (newest?.version === undefined) return folder === null ? '0001' : stamp(now);
  if (!/^\d{1,9}$/.test(newest.version)) return stamp(now);
  const width = /\d+/.exec(newest.file)?.[0].length ?? 1;
  return String(Number(newest.version) + 1).padStart(width, '0');
}

function stamp(now: Date): string {
  return now.toISOString().replace(/\D/g, '').slice(0, 14);
}

type NewFile = readonly [name: string, content: string];

/** None of these lines is the marker itself: an untouched template is no way down. */
const downComment =
  '-- What undoes it; where there is nothing to undo, this line alone instead: `-- nothing to undo`\n';

function filesOf(
  format: MigrationFormat,
  { version, words }: { readonly version: string; readonly words: string },
  folder: MigrationFolder | null,
): readonly NewFile[] {
  const stem = `${version}_${words}`;
  switch (format) {
    case 'tableset':
    case 'dbmate':
      return [[`${stem}.sql`, `-- migrate:up\n\n-- migrate:down\n${downComment}`]];
    case 'goose':
      return [[`${stem}.sql`, `-- +goose Up\n\n-- +goose Down\n${downComment}`]];
    case 'golang-migrate':
      return [
        [`${stem}.up.sql`, ''],
        [`${stem}.down.sql`, downComment],
      ];
    case 'flyway':
      return [[`V${version}__${words}.sql`, '']];
    case 'knex':
      return [scriptFile(stem, endingOf(folder), folder)];
    default:
      return format satisfies never;
  }
}

/** The language of the newest file. */
function endingOf(folder: MigrationFolder | null): string {
  return /\.(?:[cm]?js|[cm]?ts)$/.exec(folder?.migrations.at(-1)?.file ?? '')?.[0] ?? '.ts';
}

const scriptDownComment =
  '// Without a `down` it cannot be undone. Where there is nothing to undo, leave the function empty.\n';

/** `down` stands as a comment: an empty one that nobody wrote would count as a way down. */
function scriptFile(stem: string, ending: string, folder: MigrationFolder | null): NewFile {
  if (/ts$/.test(ending)) {
    const body = (direction: string) => `export async function ${direction}(knex: Knex): Promise<void> {}\n`;
    return [
      `${stem}${ending}`,
      `import type { Knex } from 'knex';\n\n${body('up')}\n${scriptDownComment}// ${body('down')}`,
    ];
  }
  const newest = folder?.migrations.findLast(({ file }) => file.endsWith('.js'))?.text ?? '';
  const exported = ending === '.cjs' || (ending === '.js' && /\bexports\b/.test(newest));
  const body = (direction: string) =>
    exported ? `exports.${direction} = async function (knex) {};\n` : `export async function ${direction}(knex) {}\n`;
  return [`${stem}${ending}`, `${body('up')}\n${scriptDownComment}// ${body('down')}`];
}
