import { migrationError } from '../errors.ts';
import { type Migration, type MigrationFolder, nothingToUndoMarker } from './formats/migration.ts';
import { compareInOrder, type HistoryRow, migrationStatus, type StatusEntry } from './status.ts';
import { unfinishedError } from './unfinished.ts';
import { canonicalVersion } from './version.ts';

export interface UpOptions {
  /** Go no further than this version. */
  readonly to?: string | undefined;
  /** Run migrations that are older than applied ones instead of refusing them. */
  readonly allowOutOfOrder?: boolean;
}

export interface UpPlan {
  /** What is to run, in order: a baseline on an empty history, versioned migrations, then repeatable ones. */
  readonly pending: readonly Migration[];
  /** Applied migrations newer than every file: the database is ahead of the image, and the caller decides. */
  readonly ahead: readonly HistoryRow[];
  /** The newest applied version, null when there is none. */
  readonly version: string | null;
}

/**
 * Decides what `up` runs.
 * @throws AppError MIGRATION_UNFINISHED, MIGRATION_EDITED, MIGRATION_MISSING, MIGRATION_OUT_OF_ORDER, MIGRATION_TARGET_UNKNOWN
 */
export function planUp(folder: MigrationFolder, history: readonly HistoryRow[], options: UpOptions = {}): UpPlan {
  const entries = migrationStatus(folder, history);
  refuseBroken(entries);
  const versioned = entries.filter(({ migration }) => migration?.kind !== 'repeatable');
  const target = options.to === undefined ? undefined : findTarget(versioned, options.to, 'up');
  const isWithin = (migration: Migration) => target === undefined || compareInOrder(folder, migration, target) <= 0;
  const outOfOrder = versioned.filter(
    ({ status, migration }) => status === 'out-of-order' && migration && isWithin(migration),
  );
  if (outOfOrder.length > 0 && options.allowOutOfOrder !== true) throw outOfOrderError(outOfOrder, versioned);
  const applied = versioned.filter(({ row }) => row !== undefined);
  const waiting = versioned.filter(({ status }) => status === 'pending' || status === 'out-of-order');
  const migrations = waiting.flatMap(({ migration }) => (migration && isWithin(migration) ? [migration] : []));
  const start = applied.length === 0 ? folder.baselines.findLast(isWithin) : undefined;
  const pending =
    start === undefined
      ? migrations
      : [start, ...migrations.filter((later) => compareInOrder(folder, later, start) > 0)];
  // Repeatable migrations may rely on the newest schema, so that they wait until it is reached.
  const isNewest = target === undefined || versioned.every((entry) => compareInOrder(folder, entry, target) <= 0);
  const repeatables = entries.filter(
    ({ migration, status }) => migration?.kind === 'repeatable' && status === 'pending',
  );
  return {
    pending: [...pending, ...(isNewest ? repeatables.flatMap(({ migration }) => migration ?? []) : [])],
    ahead: versioned.flatMap(({ status, row }) => (status === 'ahead' && row !== undefined ? [row] : [])),
    version: applied.at(-1)?.version ?? null,
  };
}

/**
 * Decides what `down --to V` undoes, newest first; V itself stays, and `0` undoes everything. Whether a script has a `down`
 * only the script can tell.
 * @throws AppError MIGRATION_UNFINISHED, MIGRATION_EDITED, MIGRATION_MISSING, MIGRATION_TARGET_UNKNOWN, MIGRATION_DOWN_MISSING
 */
export function planDown(folder: MigrationFolder, history: readonly HistoryRow[], to: string): Migration[] {
  const entries = migrationStatus(folder, history);
  refuseBroken(entries);
  const applied = entries.filter(({ row, migration }) => row !== undefined && migration?.kind !== 'repeatable');
  const target = canonicalVersion(to) === '0' ? undefined : findTarget(applied, to, 'down');
  const undone = applied.filter((entry) => target === undefined || compareInOrder(folder, entry, target) > 0).reverse();
  const ahead = undone.filter(({ migration }) => migration === undefined);
  if (ahead.length > 0) throw missingError(ahead);
  const migrations = undone.flatMap(({ migration }) => migration ?? []);
  refuseWithoutDown(folder, migrations);
  return migrations;
}

/** A down part without statements would be reported as done although nothing was undone, unless it says so itself. */
function refuseWithoutDown(folder: MigrationFolder, migrations: readonly Migration[]): void {
  const without = migrations.filter(
    ({ kind, down, nothingToUndo }) => kind !== 'script' && !nothingToUndo() && (down?.().length ?? 0) === 0,
  );
  const [first] = without;
  if (first === undefined) return;
  const isEmpty = first.down !== undefined;
  const files = without.map(({ file }) => file).join(', ');
  const message = isEmpty
    ? `${files} cannot be undone: the down part holds no statement`
    : `${files} cannot be undone: there is no down part`;
  // Of these two formats the checksum does not cover the way down, which is a file of its own.
  const accept =
    folder.format === 'golang-migrate' || folder.format === 'flyway'
      ? ''
      : `, accept the edit by \`migrator resolve ${first.id} --as applied\``;
  throw migrationError('MIGRATION_DOWN_MISSING', message, {
    details: { files: without.map(({ file }) => file) },
    hint: `Write the way down of ${first.file}, or the line \`${nothingToUndoMarker}\` as all of it${accept}, and run down again; or undo the change by a new migration.`,
  });
}

function refuseBroken(entries: readonly StatusEntry[]): void {
  const unfinished = entries.find(({ status }) => status === 'running' || status === 'failed');
  if (unfinished !== undefined) {
    const { version, name, row, migration } = unfinished;
    const nothingKnown = { label: name, direction: 'up' as const, error: null, inDoubt: true };
    throw unfinishedError(row?.unfinished ?? { id: version ?? `R__${name}`, ...nothingKnown }, migration !== undefined);
  }
  const edited = entries.filter(({ status }) => status === 'edited');
  if (edited.length > 0) throw editedError(edited);
  // What was begun and is not applied is told of by whoever goes on with it.
  const missing = entries.filter(({ status, row }) => status === 'missing' && row?.unfinished === undefined);
  if (missing.length > 0) throw missingError(missing);
}

function editedError(edited: readonly StatusEntry[]) {
  const files = edited.map(({ migration, row }) => ({
    file: migration?.file,
    applied: row?.checksum,
    now: migration?.checksum,
  }));
  const list = files.map(({ file, applied, now }) => `${file} (applied as ${applied}, now ${now})`).join(', ');
  const accept = edited.map(({ version, name }) => `\`migrator resolve ${version ?? `R__${name}`} --as applied\``);
  return migrationError('MIGRATION_EDITED', `edited after it was applied: ${list}`, {
    details: { files },
    hint: `Restore what was applied and put the change into a new migration; or, if the schema already is as it now says, accept it as it stands by ${accept.join(', ')}, which tableset_runs records.`,
  });
}

function missingError(missing: readonly StatusEntry[]) {
  const list = missing.map(({ version, name }) => `${version} (${name})`).join(', ');
  return migrationError('MIGRATION_MISSING', `applied, but without a file: ${list}`);
}

function outOfOrderError(late: readonly StatusEntry[], entries: readonly StatusEntry[]) {
  const newest = entries.findLast(({ row }) => row !== undefined);
  const message = `${filesOf(late)} ${late.length === 1 ? 'was' : 'were'} never applied, but the newer ${newest?.version} was`;
  return migrationError('MIGRATION_OUT_OF_ORDER', message);
}

function findTarget(entries: readonly StatusEntry[], to: string, verb: 'up' | 'down'): StatusEntry {
  const version = canonicalVersion(to);
  const target = entries.find((entry) => entry.version !== null && canonicalVersion(entry.version) === version);
  if (target !== undefined) return target;
  const known = entries.slice(-3).map((entry) => entry.version);
  const what = verb === 'up' ? 'no migration has the version' : 'no applied migration has the version';
  throw migrationError('MIGRATION_TARGET_UNKNOWN', `${what} ${to}; the newest are ${known.join(', ') || 'none'}`);
}

function filesOf(entries: readonly StatusEntry[]): string {
  return entries.map(({ migration, version, name }) => migration?.file ?? `${version} (${name})`).join(', ');
}
