import { migrationError } from '../../errors.ts';
import { type Statement, splitStatements } from '../split-statements.ts';
import { canonicalVersion, compareCanonicalVersions } from '../version.ts';
import type { FlywayName, NumberedName, PairName, ScriptName } from './file-name.ts';
import {
  type FolderEntry,
  type Migration,
  type MigrationFolder,
  type MigrationFormat,
  migrationChecksum,
  saysNothingToUndo,
  withoutMark,
} from './migration.ts';
import { replacePlaceholders } from './placeholders.ts';
import type { ReadOptions } from './read-folder.ts';
import {
  parseGooseSections,
  parseMigrateSections,
  type Section,
  type Sections,
  sectionStatements,
} from './sections.ts';

export interface NamedFile {
  readonly entry: FolderEntry;
  readonly name: NumberedName | PairName | ScriptName | FlywayName;
}

type Assembled = Omit<MigrationFolder, 'passedOver'>;
type File<Name> = { readonly entry: FolderEntry; readonly name: Name };

/** Makes migrations of files that all belong to `format`. */
export function assembleMigrations(
  files: readonly NamedFile[],
  format: MigrationFormat,
  isChosen: boolean,
  options: ReadOptions,
): Assembled {
  if (format === 'flyway') return assembleFlyway(files, options);
  if (format === 'golang-migrate') return byVersion(format, assemblePairs(files, options));
  const preferred = preferDialect(files.flatMap(numberedOrScript), options, () => '');
  const scripts = preferred.flatMap(({ entry, name }) => (name.family === 'script' ? [{ entry, name }] : []));
  if (format === 'knex') return assembleKnex(scripts, isChosen);
  const dated = scripts.find(({ name }) => !name.isNumbered);
  if (dated !== undefined) {
    throw migrationError(
      'MIGRATION_FORMAT_MIXED',
      `${dated.entry.name} has a version that only knex reads, beside SQL files`,
    );
  }
  const migrations = preferred.map(({ entry, name }) =>
    name.family === 'script'
      ? scriptMigration(entry, name.version, name.name)
      : markedMigration(entry, name, format, options),
  );
  return byVersion(format, migrations);
}

function numberedOrScript({ entry, name }: NamedFile): File<NumberedName | ScriptName>[] {
  return name.family === 'numbered' || name.family === 'script' ? [{ entry, name }] : [];
}

function byVersion(format: MigrationFormat, migrations: readonly Migration[]): Assembled {
  return { format, order: 'version', migrations: sortedUnique(migrations), repeatables: [], baselines: [] };
}

/** @throws AppError MIGRATION_DUPLICATE naming both files */
function sortedUnique(migrations: readonly Migration[]): Migration[] {
  const sorted = [...migrations].sort((left, right) =>
    compareCanonicalVersions(left.version ?? '0', right.version ?? '0'),
  );
  sorted.forEach((migration, index) => {
    const next = sorted[index + 1];
    if (next !== undefined && next.version === migration.version)
      throw duplicate(migration.version ?? '', migration.file, next.file);
  });
  return sorted;
}

function duplicate(version: string, ...files: readonly string[]) {
  return migrationError('MIGRATION_DUPLICATE', `${files.join(' and ')} both have the version ${version}`);
}

/**
 * Where a version has a file for this server, one for its kin and one for all, keeps the nearest. Only files of one name
 * are variants of each other; others with the same version stay and are refused as duplicates.
 */
function preferDialect<Name extends { version: string; name: string; dialect: 'mysql' | 'mariadb' | undefined }>(
  files: readonly File<Name>[],
  { server = 'mysql' }: ReadOptions,
  detail: (name: Name) => string,
): File<Name>[] {
  const ranks = server === 'mariadb' ? ['mariadb', 'mysql', undefined] : ['mysql', undefined];
  const kept = new Map<string, File<Name>[]>();
  for (const file of files) {
    const rank = ranks.indexOf(file.name.dialect);
    if (rank === -1) continue;
    const key = JSON.stringify([canonicalVersion(file.name.version), file.name.name, detail(file.name)]);
    const rival = kept.get(key)?.[0];
    const rivalRank = rival === undefined ? rank : ranks.indexOf(rival.name.dialect);
    if (rival === undefined || rank < rivalRank) kept.set(key, [file]);
    else if (rank === rivalRank) kept.get(key)?.push(file);
  }
  return [...kept.values()].flat();
}

function markedMigration(
  entry: FolderEntry,
  name: NumberedName,
  format: MigrationFormat,
  options: ReadOptions,
): Migration {
  const text = withoutMark(entry.text());
  const parse = format === 'goose' ? parseGooseSections : parseMigrateSections;
  const sections = parse(text, entry.name);
  return sqlMigration(entry, name, text, sections, options);
}

function sqlMigration(
  entry: FolderEntry,
  { version, name }: { version: string; name: string },
  text: string,
  { up, down }: Sections,
  options: ReadOptions,
): Migration {
  const canonical = canonicalVersion(version);
  const split = (section: Section) => sectionStatements(section, entry.name, options.noBackslashEscapes);
  return {
    id: canonical,
    version: canonical,
    name,
    file: entry.name,
    kind: 'sql',
    checksum: migrationChecksum(text),
    text,
    up: memo(() => split(up)),
    down: down && memo(() => split(down)),
    nothingToUndo: () => down?.blocks.some(({ start, end }) => saysNothingToUndo(text.slice(start, end))) ?? false,
    transaction: { up: up.transaction, down: down?.transaction ?? true },
  };
}

function scriptMigration(entry: FolderEntry, version: string, name: string): Migration {
  const text = withoutMark(entry.text());
  const canonical = canonicalVersion(version);
  return {
    id: canonical,
    version: canonical,
    name,
    file: entry.name,
    kind: 'script',
    checksum: migrationChecksum(text),
    text,
    up: () => [],
    down: undefined,
    nothingToUndo: () => false,
    transaction: { up: true, down: true },
  };
}

function assemblePairs(files: readonly NamedFile[], options: ReadOptions): Migration[] {
  const pairs = files.flatMap(({ entry, name }) => (name.family === 'pair' ? [{ entry, name }] : []));
  const preferred = preferDialect(pairs, options, ({ direction }) => direction);
  const downs = new Map<string, File<PairName>>();
  for (const file of preferred.filter(({ name }) => name.direction === 'down')) {
    const version = canonicalVersion(file.name.version);
    const other = downs.get(version);
    if (other !== undefined) throw duplicate(version, other.entry.name, file.entry.name);
    downs.set(version, file);
  }
  const ups = preferred.filter(({ name }) => name.direction === 'up');
  const versions = new Set(ups.map(({ name }) => canonicalVersion(name.version)));
  const orphan = [...downs].find(([version]) => !versions.has(version))?.[1];
  if (orphan !== undefined) {
    const message = `${orphan.entry.name} has no file for the way up beside it`;
    throw migrationError('MIGRATION_SECTION_INVALID', message, { hint: 'put its .up.sql back, or remove it' });
  }
  return ups.map((up) => pairMigration(up, downs.get(canonicalVersion(up.name.version)), options));
}

function pairMigration(up: File<PairName>, down: File<PairName> | undefined, options: ReadOptions): Migration {
  const text = withoutMark(up.entry.text());
  const split = (file: File<PairName>) => (): Statement[] => [
    ...splitStatements(file.entry.text(), splitOptions(file.entry, options)),
  ];
  return {
    ...scriptMigration(up.entry, up.name.version, up.name.name),
    kind: 'sql',
    text,
    up: memo(split(up)),
    down: down && memo(split(down)),
    nothingToUndo: () => down !== undefined && saysNothingToUndo(down.entry.text()),
    transaction: { up: up.name.transaction, down: down?.name.transaction ?? true },
  };
}

function splitOptions(entry: FolderEntry, { noBackslashEscapes = false }: ReadOptions) {
  return { file: entry.name, noBackslashEscapes };
}

function assembleFlyway(files: readonly NamedFile[], options: ReadOptions): Assembled {
  const named = files.flatMap(({ entry, name }) => (name.family === 'flyway' ? [{ entry, name }] : []));
  const withPrefix = (prefix: FlywayName['prefix']) => named.filter(({ name }) => name.prefix === prefix);
  const undos = new Map(
    sortedUnique(withPrefix('U').map((file) => flywayMigration(file, 'sql', undefined, options))).map((undo) => [
      undo.version,
      undo,
    ]),
  );
  const versioned = (prefix: 'V' | 'B', kind: 'sql' | 'baseline') =>
    sortedUnique(
      withPrefix(prefix).map((file) => {
        const undo = kind === 'sql' ? undos.get(canonicalVersion(file.name.version ?? '')) : undefined;
        return flywayMigration(file, kind, undo, options);
      }),
    );
  const repeatables = withPrefix('R').map((file) => flywayMigration(file, 'repeatable', undefined, options));
  repeatables.sort((left, right) => (left.name < right.name ? -1 : 1));
  repeatables.forEach((one, index) => {
    const next = repeatables[index + 1];
    if (next?.id === one.id) throw duplicate(one.id, one.file, next.file);
  });
  return {
    format: 'flyway',
    order: 'version',
    migrations: versioned('V', 'sql'),
    repeatables,
    baselines: versioned('B', 'baseline'),
  };
}

function flywayMigration(
  { entry, name }: File<FlywayName>,
  kind: 'sql' | 'repeatable' | 'baseline',
  undo: Migration | undefined,
  options: ReadOptions,
): Migration {
  const text = withoutMark(entry.text());
  const version = name.version === undefined ? undefined : canonicalVersion(name.version);
  const filled = () => replacePlaceholders(text, options.placeholders, entry.name);
  return {
    id: version ?? `R__${name.name}`,
    version,
    name: name.name,
    file: entry.name,
    kind,
    // A repeatable migration runs again when the values change too.
    checksum: migrationChecksum(kind === 'repeatable' && typeof options.placeholders === 'object' ? filled() : text),
    text,
    up: memo(() => [...splitStatements(filled(), splitOptions(entry, options))]),
    down: undo?.up,
    nothingToUndo: () => undo !== undefined && saysNothingToUndo(undo.text),
    transaction: { up: true, down: true },
  };
}

/**
 * knex runs files in the order of their names and knows them by name, so that the version is only a label: where several
 * share one, a number made of the name is put behind it, which stays the same whatever files are added.
 */
function assembleKnex(scripts: readonly File<ScriptName>[], isChosen: boolean): Assembled {
  const byName = [...scripts].sort((left, right) => (left.entry.name < right.entry.name ? -1 : 1));
  if (byName.every(({ name }) => name.isNumbered) && !isChosen) {
    const migrations = sortedUnique(byName.map(({ entry, name }) => scriptMigration(entry, name.version, name.base)));
    const at = migrations.findIndex(({ file }, index) => file !== byName[index]?.entry.name);
    if (at === -1) return byVersion('knex', migrations);
    const message = `knex runs ${byName[at]?.entry.name} before ${migrations[at]?.file}, tableset the other way round`;
    throw migrationError('MIGRATION_FORMAT_MIXED', message, { hint: 'choose with MIGRATIONS_FORMAT=knex or tableset' });
  }
  const counts = Map.groupBy(byName, ({ name }) => canonicalVersion(name.version));
  const migrations = byName.map(({ entry, name }) => {
    const isShared = (counts.get(canonicalVersion(name.version))?.length ?? 0) > 1;
    return scriptMigration(entry, isShared ? `${name.version}.${checksumOf(name.base)}` : name.version, name.base);
  });
  return { format: 'knex', order: 'name', migrations, repeatables: [], baselines: [] };
}

// Loaded here, because only folders of knex with shared versions need it, and every start pays for what is imported above.
function checksumOf(text: string): number {
  return process.getBuiltinModule('node:zlib').crc32(text);
}

function memo<Value>(make: () => Value): () => Value {
  let made: { value: Value } | undefined;
  return () => {
    made ??= { value: make() };
    return made.value;
  };
}
