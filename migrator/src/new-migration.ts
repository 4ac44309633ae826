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
  /** What the file is about, in words. */
  readonly name: string;
  readonly now: Date;
}

/**
 * `migrator new NAME`: makes an empty migration in the format and numbering of the folder. Never overwrites a file.
 * @throws AppError SETTING_INVALID for a name without letters or digits
 */
export function newMigration(settings: NewSettings): VerbResult {
  const words = settings.name
    .toLowerCase()
    .replace(/[^\p{L}\p{N}]+/gu, '_')
    .replace(/^_+|_+$/g, '');
  if (words === '') {
    throw commonError('SETTING_INVALID', `NAME was given ${JSON.stringify(settings.name)}; it takes words`);
  }
  mkdirSync(settings.directory, { recursive: true });
  const folder = readFolder(settings);
  const format = folder?.format ?? (settings.read.format === 'auto' ? undefined : settings.read.format) ?? 'tableset';
  const files = filesOf(format, nextVersion(folder, settings.now), words, folder);
  for (const [name, content] of files) writeFileSync(join(settings.directory, name), content, { flag: 'wx' });
  const names = files.map(([name]) => name);
  return { summary: { outcome: 'done', files: names }, lines: names.map((name) => join(settings.directory, name)) };
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

function filesOf(
  format: MigrationFormat,
  version: string,
  words: string,
  folder: MigrationFolder | null,
): readonly NewFile[] {
  const stem = `${version}_${words}`;
  switch (format) {
    case 'tableset':
    case 'dbmate':
      return [[`${stem}.sql`, '-- migrate:up\n\n-- migrate:down\n']];
    case 'goose':
      return [[`${stem}.sql`, '-- +goose Up\n\n-- +goose Down\n']];
    case 'golang-migrate':
      return [
        [`${stem}.up.sql`, ''],
        [`${stem}.down.sql`, ''],
      ];
    case 'flyway':
      return [[`V${version}__${words}.sql`, '']];
    case 'knex':
      return [knexFile(stem, folder)];
    default:
      return format satisfies never;
  }
}

/** In the language of the newest file. */
function knexFile(stem: string, folder: MigrationFolder | null): NewFile {
  const newest = folder?.migrations.at(-1);
  const ending = /\.(?:[cm]?js|[cm]?ts)$/.exec(newest?.file ?? '')?.[0] ?? '.ts';
  if (/ts$/.test(ending)) {
    const body = (direction: string) => `export async function ${direction}(knex: Knex): Promise<void> {}\n`;
    return [`${stem}${ending}`, `import type { Knex } from 'knex';\n\n${body('up')}\n${body('down')}`];
  }
  const exported = /\bexports\b/.test(newest?.text ?? '') || ending === '.cjs';
  const body = (direction: string) =>
    exported ? `exports.${direction} = async function (knex) {};\n` : `export async function ${direction}(knex) {}\n`;
  return [`${stem}${ending}`, `${body('up')}\n${body('down')}`];
}
