import { migrationError } from '../../errors.ts';
import { assembleMigrations, type NamedFile } from './assemble.ts';
import { type FileName, isMigrationScript, parseFileName } from './file-name.ts';
import type { FolderEntry, MigrationFolder, MigrationFormat } from './migration.ts';
import { foreignMarkerOf, markersOf } from './sections.ts';

export interface ReadOptions {
  /** `auto`, the default, tells the format from the names and markers. */
  readonly format?: MigrationFormat | 'auto';
  /** Which of `N_name.mysql.sql` and `N_name.mariadb.sql` is read where there are both. Default `mysql`. */
  readonly server?: 'mysql' | 'mariadb';
  /** Values of Flyway's `${placeholders}`; `off` leaves them in the text, as Flyway's placeholderReplacement=false. */
  readonly placeholders?: Readonly<Record<string, string>> | 'off';
  /** As sql_mode NO_BACKSLASH_ESCAPES. */
  readonly noBackslashEscapes?: boolean;
}

type Family = 'numbered' | 'goose' | 'pair' | 'script' | 'flyway';
type PassedOver = { readonly name: string; readonly reason: string };

const familiesOf: Readonly<Record<MigrationFormat, readonly Family[]>> = {
  tableset: ['numbered', 'script'],
  dbmate: ['numbered'],
  goose: ['goose'],
  'golang-migrate': ['pair'],
  flyway: ['flyway'],
  knex: ['script'],
};
const exampleNames: Readonly<Record<MigrationFormat, string>> = {
  tableset: '0001_name.sql',
  dbmate: '20240131120000_name.sql',
  goose: '00001_name.sql',
  'golang-migrate': '000001_name.up.sql',
  flyway: 'V1__name.sql',
  knex: '20240131120000_name.js',
};

/**
 * Reads a migrations folder of any of the known tools. Pure: `entries` are all files below the folder, in any order.
 * Nothing that looks like a migration is left out silently: it is refused by name; the rest is listed in `passedOver`.
 * SQL is split only when a migration's `up()` or `down()` is called.
 * @throws AppError MIGRATION_NONE_FOUND, MIGRATION_NAME_UNREADABLE, MIGRATION_UNSUPPORTED, MIGRATION_FORMAT_MIXED,
 *   MIGRATION_DUPLICATE, MIGRATION_SECTION_INVALID
 */
export function readMigrationFolder(entries: readonly FolderEntry[], options: ReadOptions = {}): MigrationFolder {
  const wanted = options.format === 'auto' ? undefined : options.format;
  const passedOver: PassedOver[] = [];
  const files: NamedFile[] = [];
  const unreadable: FolderEntry[] = [];
  for (const original of [...entries].sort((left, right) => (left.name < right.name ? -1 : 1))) {
    const entry = once(original);
    const name = parseFileName(entry.name);
    if (name.family === 'unsupported') {
      throw migrationError('MIGRATION_UNSUPPORTED', `${entry.name} is ${name.what}, which is not carried out`);
    }
    const reason = reasonToPassOver(entry, name, wanted);
    if (reason !== undefined) passedOver.push({ name: entry.name, reason });
    else if (name.family === 'unreadable') unreadable.push(entry);
    else if (name.family !== 'passed-over') files.push({ entry, name });
  }
  const format = wanted ?? detectFormat(files, unreadable);
  refuseUnreadable(unreadable, format);
  if (files.length === 0) throw migrationError('MIGRATION_NONE_FOUND', 'the migrations folder holds no migration');
  for (const { entry, name } of files) checkFamily(entry, familyOf(entry, name), format);
  return { ...assembleMigrations(files, format, wanted !== undefined, options), passedOver };
}

function once(entry: FolderEntry): FolderEntry {
  let text: string | undefined;
  return {
    name: entry.name,
    text: () => {
      text ??= entry.text();
      return text;
    },
  };
}

function reasonToPassOver(entry: FolderEntry, name: FileName, wanted: MigrationFormat | undefined): string | undefined {
  if (name.family === 'passed-over') return name.reason;
  const isScript = /\.(?:ts|js|mjs|cjs)$/i.test(entry.name);
  if (isScript && wanted !== undefined && !familiesOf[wanted].includes('script')) return 'a script';
  if (isScript && !isMigrationScript(entry)) return 'a script without an exported up';
  if (!isScript && wanted === 'knex') return 'not a script';
  return undefined;
}

function familyOf(entry: FolderEntry, name: NamedFile['name']): Family {
  if (name.family !== 'numbered') return name.family;
  const text = entry.text();
  const foreign = foreignMarkerOf(text);
  if (foreign !== undefined) {
    const message = `${entry.name} is marked by ${JSON.stringify(foreign)}, of a tool whose files are not read`;
    throw migrationError('MIGRATION_UNSUPPORTED', message);
  }
  return markersOf(text) === 'goose' ? 'goose' : 'numbered';
}

/** Decides by all files together; two families in one folder are refused. */
function detectFormat(files: readonly NamedFile[], unreadable: readonly FolderEntry[]): MigrationFormat {
  const examples = new Map<Family, string>();
  for (const { entry, name } of files) {
    const family = familyOf(entry, name);
    if (!examples.has(family)) examples.set(family, entry.name);
  }
  const families = [...examples.keys()];
  const isTableset = families.every((family) => family === 'numbered' || family === 'script');
  if (families.length > 1 && !isTableset) {
    throw migrationError('MIGRATION_FORMAT_MIXED', `the folder mixes formats: ${[...examples.values()].join(', ')}`);
  }
  if (families.length > 1 || families[0] === undefined) return 'tableset';
  switch (families[0]) {
    case 'numbered': {
      const isMarked = files.every(({ entry }) => markersOf(entry.text()) === 'migrate');
      return isMarked && unreadable.length === 0 ? 'dbmate' : 'tableset';
    }
    case 'script':
      return 'knex';
    case 'pair':
      return 'golang-migrate';
    default:
      return families[0];
  }
}

function refuseUnreadable(unreadable: readonly FolderEntry[], format: MigrationFormat): void {
  const [first] = unreadable;
  if (first === undefined) return;
  const more = unreadable.length > 1 ? ` (and ${unreadable.length - 1} more)` : '';
  throw migrationError('MIGRATION_NAME_UNREADABLE', `the name of ${first.name}${more} gives no version`, {
    hint: `rename it like ${exampleNames[format]}, or move it out of the migrations folder`,
    details: { files: unreadable.map(({ name }) => name) },
  });
}

function checkFamily(entry: FolderEntry, family: Family, format: MigrationFormat): void {
  if (familiesOf[format].includes(family)) return;
  // A goose file is only told by its markers, so that one without them is a goose file with a mistake.
  if (format === 'goose' && family === 'numbered') return;
  const message = `${entry.name} is not a file of ${format}, whose files are named like ${exampleNames[format]}`;
  throw migrationError('MIGRATION_FORMAT_MIXED', message);
}
