import { crc32 } from 'node:zlib';
import { migrationError } from '../errors.ts';
import type { Migration, MigrationFolder } from './formats/migration.ts';
import { compareInOrder } from './status.ts';
import { canonicalVersion, compareVersions } from './version.ts';

/** The rows of another tool's history table, as the server returns them. */
export type ForeignHistory =
  /** `schema_migrations` of golang-migrate: at most one row. */
  | {
      readonly tool: 'golang-migrate';
      readonly rows: readonly { version: string | number | bigint; dirty: boolean | number }[];
    }
  /** `schema_migrations` of dbmate: a row for each version. */
  | { readonly tool: 'dbmate'; readonly rows: readonly { version: string | number | bigint }[] }
  /** `flyway_schema_history`. */
  | { readonly tool: 'flyway'; readonly rows: readonly FlywayRow[] }
  /** `knex_migrations`. */
  | { readonly tool: 'knex'; readonly rows: readonly { name: string }[] }
  /** `goose_db_version`, in the order of `id`. */
  | {
      readonly tool: 'goose';
      readonly rows: readonly { version_id: string | number | bigint; is_applied: boolean | number }[];
    };

export interface FlywayRow {
  readonly installed_rank: number;
  readonly version: string | null;
  readonly description: string;
  readonly type: string;
  readonly script: string;
  readonly checksum: number | null;
  readonly success: boolean | number;
}

export interface Adoption {
  /** The files that the other tool has applied, in order, to be recorded without running them. */
  readonly applied: readonly Migration[];
  /** A version that stands for all before it and has no file: Flyway's baseline. */
  readonly baseline: string | undefined;
}

/**
 * Maps what another tool recorded onto the files of the folder.
 * @throws AppError MIGRATION_ADOPT_DIRTY for a failed or unfinished migration, MIGRATION_ADOPT_NO_FILE naming what has no
 *   file, MIGRATION_ADOPT_CHECKSUM for a file that differs from Flyway's checksum
 */
export function adoptHistory(folder: MigrationFolder, history: ForeignHistory): Adoption {
  switch (history.tool) {
    case 'golang-migrate':
      return adoptGolangMigrate(folder, history.rows);
    case 'dbmate':
      return inOrder(
        folder,
        history.rows.map(({ version }) => fileOfVersion(folder, `${version}`)),
      );
    case 'flyway':
      return adoptFlyway(folder, history.rows);
    case 'knex':
      return inOrder(
        folder,
        history.rows.map(({ name }) => fileOfName(folder, name)),
      );
    case 'goose':
      return adoptGoose(folder, history.rows);
    default:
      return history satisfies never;
  }
}

/**
 * Flyway's checksum of a migration: CRC32 over the UTF-8 of its lines without their ends and without a byte-order mark, as a
 * signed 32-bit integer (org.flywaydb.core.internal.resolver.ChecksumCalculator).
 */
export function flywayChecksum(text: string): number {
  const unmarked = text.startsWith('\ufeff') ? text.slice(1) : text;
  return crc32(unmarked.replace(/\r\n|\r|\n/g, '')) | 0;
}

function adoptGolangMigrate(
  folder: MigrationFolder,
  rows: readonly { version: string | number | bigint; dirty: boolean | number }[],
): Adoption {
  const [row] = rows;
  if (row === undefined) return { applied: [], baseline: undefined };
  const newest = fileOfVersion(folder, `${row.version}`);
  if (row.dirty) throw dirty(`golang-migrate marked version ${row.version} (${newest.file}) as dirty`);
  return inOrder(
    folder,
    folder.migrations.filter((migration) => compareInOrder(folder, migration, newest) <= 0),
  );
}

function adoptGoose(
  folder: MigrationFolder,
  rows: readonly { version_id: string | number | bigint; is_applied: boolean | number }[],
): Adoption {
  // Older versions of goose record a way down as a further row, so that the last row of a version counts.
  const last = new Map(
    rows.map(({ version_id, is_applied }) => [canonicalVersion(`${version_id}`), Boolean(is_applied)]),
  );
  // Version 0 is the row with which goose starts its table.
  const versions = [...last].filter(([version, isApplied]) => isApplied && version !== '0').map(([version]) => version);
  return inOrder(
    folder,
    versions.map((version) => fileOfVersion(folder, version)),
  );
}

function adoptFlyway(folder: MigrationFolder, rows: readonly FlywayRow[]): Adoption {
  const applied = new Map<string, FlywayRow>();
  let baseline: string | undefined;
  for (const row of [...rows].sort((left, right) => left.installed_rank - right.installed_rank)) {
    const id = row.version === null ? `R__${row.description}` : canonicalVersion(row.version);
    const isUndone = row.type.startsWith('UNDO') || row.type === 'DELETE';
    if (row.type === 'SCHEMA') continue;
    if (!row.success) throw dirty(`Flyway recorded ${row.script} as failed`);
    if (isUndone) applied.delete(id);
    else if (row.type === 'BASELINE' && row.version !== null) baseline = canonicalVersion(row.version);
    else applied.set(id, row);
  }
  const files = [...applied].flatMap(([, row]) => flywayFile(folder, row) ?? []);
  const adoption = inOrder(folder, files);
  return { ...adoption, baseline };
}

function flywayFile(folder: MigrationFolder, row: FlywayRow): Migration | undefined {
  const file = row.version === null ? flywayRepeatable(folder, row) : fileOfFlywayVersion(folder, row);
  if (file === undefined || file.kind === 'script' || row.checksum === null) return file;
  const now = flywayChecksum(file.text);
  if (now === row.checksum) return file;
  // A repeatable migration that changed is simply due again.
  if (row.version === null) return undefined;
  const message = `${file.file} has Flyway's checksum ${now}, but was applied with ${row.checksum}`;
  throw migrationError('MIGRATION_ADOPT_CHECKSUM', message, {
    details: { file: file.file, applied: row.checksum, now },
  });
}

function fileOfFlywayVersion(folder: MigrationFolder, row: FlywayRow): Migration {
  if (row.type === 'SQL_BASELINE') {
    const baseline = folder.baselines.find(({ version }) => version === canonicalVersion(row.version ?? '0'));
    if (baseline !== undefined) return baseline;
  }
  return fileOfVersion(folder, row.version ?? '0', row.script);
}

// A removed repeatable migration leaves its row behind, and nothing is missing.
function flywayRepeatable(folder: MigrationFolder, row: FlywayRow): Migration | undefined {
  return folder.repeatables.find(({ name }) => name.replaceAll('_', ' ') === row.description);
}

/** Rows may hold the ending that a compiled or renamed script had when knex ran it. */
function fileOfName(folder: MigrationFolder, name: string): Migration {
  const base = withoutEnding(name);
  const file =
    folder.migrations.find((migration) => migration.file === name) ??
    folder.migrations.find((migration) => withoutEnding(migration.file) === base);
  if (file === undefined) throw noFile(name, folder);
  return file;
}

function withoutEnding(name: string): string {
  return name.replace(/\.(?:ts|js|mjs|cjs)$/, '');
}

function fileOfVersion(folder: MigrationFolder, version: string, label = version): Migration {
  const canonical = canonicalVersion(version);
  const file = folder.migrations.find((migration) => migration.version === canonical);
  if (file === undefined) throw noFile(label, folder);
  return file;
}

function inOrder(folder: MigrationFolder, files: readonly Migration[]): Adoption {
  const position = (file: Migration) => {
    const at = folder.migrations.indexOf(file);
    return at === -1 ? (file.kind === 'baseline' ? -1 : folder.migrations.length) : at;
  };
  const applied = [...new Set(files)].sort((left, right) => position(left) - position(right));
  return { applied, baseline: undefined };
}

function dirty(message: string) {
  return migrationError('MIGRATION_ADOPT_DIRTY', message);
}

function noFile(label: string, folder: MigrationFolder) {
  const newest = folder.migrations.at(-1);
  const isNewer =
    newest?.version !== undefined && /^[\d._]+$/.test(label) && compareVersions(label, newest.version) > 0;
  const why = isNewer ? `; the newest file is ${newest?.file}, so that this image may be older than the database` : '';
  return migrationError('MIGRATION_ADOPT_NO_FILE', `the recorded migration ${label} has no file in the folder${why}`);
}
