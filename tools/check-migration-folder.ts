/**
 * Prints what the migrator reads in a folder of migrations: format, migrations, statements by kind. Touches no database.
 *
 *     node tools/check-migration-folder.ts FOLDER [--format FORMAT] [--server mysql|mariadb] [--list]
 */
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join, relative } from 'node:path';
import process from 'node:process';
import { parseArgs } from 'node:util';
import { AppError } from '@tableset/common/errors.ts';
import { classifyStatement } from '@tableset/migrator/src/core/classify-statement.ts';
import {
  decodeMigration,
  type FolderEntry,
  type Migration,
  migrationFormats,
} from '@tableset/migrator/src/core/formats/migration.ts';
import { readMigrationFolder } from '@tableset/migrator/src/core/formats/read-folder.ts';
import type { Statement } from '@tableset/migrator/src/core/split-statements.ts';

interface Check {
  readonly migration: Migration;
  readonly up: readonly Statement[];
  readonly down: readonly Statement[];
}

function main(): number {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      format: { type: 'string', default: 'auto' },
      server: { type: 'string', default: 'mysql' },
      list: { type: 'boolean' },
    },
  });
  const [folder] = positionals;
  const format = [...migrationFormats, 'auto' as const].find((known) => known === values.format);
  const server = (['mysql', 'mariadb'] as const).find((known) => known === values.server);
  if (folder === undefined || format === undefined || server === undefined) {
    console.error(
      `usage: check-migration-folder FOLDER [--format ${migrationFormats.join('|')}] [--server mysql|mariadb] [--list]`,
    );
    return 2;
  }
  try {
    const read = readMigrationFolder(entriesOf(folder), { format, server });
    const checks = [...read.migrations, ...read.repeatables, ...read.baselines].map(check);
    if (values.list === true) checks.forEach(printMigration);
    printSummary(folder, read.format, checks, read.passedOver);
    return 0;
  } catch (error) {
    if (!(error instanceof AppError)) throw error;
    console.error(`${folder}: ${error.code}: ${error.message} (${error.hint})`);
    return 3;
  }
}

function entriesOf(folder: string): FolderEntry[] {
  // Mounted ConfigMaps hold symbolic links to files, and a link to a folder that is not descended into.
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => statSync(join(entry.parentPath, entry.name)).isFile())
    .map((entry) => {
      const path = join(entry.parentPath, entry.name);
      const name = relative(folder, path);
      return { name, text: () => decodeMigration(readFileSync(path), name) };
    });
}

function check(migration: Migration): Check {
  return { migration, up: migration.up(), down: migration.down?.() ?? [] };
}

function printMigration({ migration, up, down }: Check): void {
  console.log(`${migration.id}\t${migration.kind}\t${up.length} up\t${down.length} down\t${migration.file}`);
  for (const { line, text } of up)
    console.log(`\t${line}\t${classifyStatement(text).kind}\t${text.replace(/\s+/g, ' ').slice(0, 100)}`);
}

function printSummary(
  folder: string,
  format: string,
  checks: readonly Check[],
  passedOver: readonly { readonly name: string; readonly reason: string }[],
): void {
  const statements = checks.flatMap(({ up }) => up);
  const kinds = Object.entries(Object.groupBy(statements, ({ text }) => classifyStatement(text).kind))
    .map(([kind, of]) => `${kind} ${of?.length ?? 0}`)
    .sort();
  const reasons = Object.entries(Object.groupBy(passedOver, ({ reason }) => reason)).map(
    ([reason, of]) => `${of?.length ?? 0} ${reason}`,
  );
  const downs = checks.reduce((sum, { down }) => sum + down.length, 0);
  console.log(`${folder}: ${format}, ${checks.length} migrations, ${statements.length} statements up, ${downs} down`);
  if (kinds.length > 0) console.log(`  ${kinds.join(', ')}`);
  if (reasons.length > 0) console.log(`  passed over: ${reasons.join(', ')}`);
}

process.exitCode = main();
