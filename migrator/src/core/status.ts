import type { Migration, MigrationFolder } from './formats/migration.ts';
import type { Unfinished } from './unfinished.ts';
import { canonicalVersion, compareCanonicalVersions } from './version.ts';

/** One row of the ledger's history of migrations, as far as planning needs it. */
export interface HistoryRow {
  /** Null for repeatable migrations. */
  readonly version: string | null;
  readonly name: string;
  /** Null when it was recorded without a file. */
  readonly checksum: string | null;
  /** `rolled-back` is as if it had never been applied. */
  readonly state: 'applied' | 'running' | 'failed' | 'rolled-back';
  /** Whether the row stands for all versions up to its own. */
  readonly baseline?: boolean;
  /** How it stands if it was begun and did not finish, whatever `state` makes of it for planning. */
  readonly unfinished?: Unfinished;
}

export type MigrationStatus =
  | 'applied'
  /** Not applied, and nothing newer is. */
  | 'pending'
  /** Not applied, although something newer is. */
  | 'out-of-order'
  /** Applied, and its file has another checksum now. */
  | 'edited'
  /** Applied, without a file, although newer files are there. */
  | 'missing'
  /** Applied, without a file, and newer than every file. */
  | 'ahead'
  /** Older than a baseline, so that it never runs. */
  | 'covered'
  | 'running'
  | 'failed';

export interface StatusEntry {
  readonly version: string | null;
  readonly name: string;
  readonly status: MigrationStatus;
  readonly migration?: Migration;
  readonly row?: HistoryRow;
}

/** Compares every file with every row, in the order in which the migrations run; repeatable migrations last. */
export function migrationStatus(folder: MigrationFolder, history: readonly HistoryRow[]): StatusEntry[] {
  const rows = history.filter(({ state }) => state !== 'rolled-back').map(withCanonicalVersion);
  const versioned = rows.filter(({ version }) => version !== null);
  // Baselines take their rows first: a versioned file may have the same version.
  const known = [
    ...folder.baselines.filter((baseline) => isRecorded(baseline, folder, versioned)),
    ...folder.migrations,
  ];
  const rowsByKey = Map.groupBy(versioned, (row) => keyOf(folder, row));
  const matched = new Set<HistoryRow>();
  const files = known.map((migration) => {
    const row = rowsByKey
      .get(keyOf(folder, migration))
      ?.find((candidate) => !matched.has(candidate) && isRowOf(candidate, migration));
    if (row !== undefined) matched.add(row);
    return { migration, row };
  });
  files.sort((left, right) => compareInOrder(folder, left.migration, right.migration));
  const orphans = versioned.filter((row) => !matched.has(row));
  const newest = files.at(-1)?.migration;
  const newestApplied = findNewest(folder, [
    ...files.flatMap(({ migration, row }) => (row === undefined ? [] : [migration])),
    ...orphans,
  ]);
  const baseline = findNewest(
    folder,
    versioned.filter((row) => row.baseline === true),
  );
  const entries = files.map(({ migration, row }) => fileEntry(folder, migration, row, newestApplied, baseline));
  const orphanEntries = orphans.map((row) => orphanEntry(folder, row, newest));
  entries.push(...orphanEntries);
  entries.sort((left, right) => compareInOrder(folder, left, right));
  return [...entries, ...folder.repeatables.map((migration) => repeatableEntry(migration, rows))];
}

/** Orders as the tool of the folder does: by version, or by name where that is knex's. */
export function compareInOrder(folder: MigrationFolder, left: Positioned, right: Positioned): number {
  if (folder.order === 'name') return left.name === right.name ? 0 : left.name < right.name ? -1 : 1;
  return compareCanonicalVersions(left.version ?? '0', right.version ?? '0');
}

export interface Positioned {
  readonly version?: string | null | undefined;
  readonly name: string;
}

function withCanonicalVersion(row: HistoryRow): HistoryRow {
  return row.version === null ? row : { ...row, version: canonicalVersion(row.version) };
}

/** By what a row is found: knex knows its migrations by name. */
function keyOf(folder: MigrationFolder, { version, name }: Positioned): string {
  return folder.order === 'name' ? name : (version ?? '');
}

// A baseline and a versioned migration may share a version; only one of them was applied.
function isRowOf(row: HistoryRow, migration: Migration): boolean {
  return migration.kind !== 'baseline' || row.baseline === true;
}

function isRecorded(baseline: Migration, folder: MigrationFolder, rows: readonly HistoryRow[]): boolean {
  const row = rows.find((candidate) => candidate.version === baseline.version && isRowOf(candidate, baseline));
  if (row === undefined) return false;
  // The verb `baseline` records the versioned file of the same version.
  const hasVersioned = folder.migrations.some(({ version }) => version === baseline.version);
  return !hasVersioned || row.checksum === baseline.checksum;
}

function findNewest<Item extends Positioned>(folder: MigrationFolder, items: readonly Item[]): Item | undefined {
  return items.reduce<Item | undefined>(
    (newest, item) => (newest === undefined || compareInOrder(folder, item, newest) > 0 ? item : newest),
    undefined,
  );
}

function fileEntry(
  folder: MigrationFolder,
  migration: Migration,
  row: HistoryRow | undefined,
  newestApplied: Positioned | undefined,
  baseline: Positioned | undefined,
): StatusEntry {
  const { version = null, name } = migration;
  if (row !== undefined) return { version, name, status: appliedStatus(row, migration), migration, row };
  const isBefore = (other: Positioned | undefined) =>
    other !== undefined && compareInOrder(folder, migration, other) <= 0;
  const status = isBefore(baseline) ? 'covered' : isBefore(newestApplied) ? 'out-of-order' : 'pending';
  return { version, name, status, migration };
}

function appliedStatus(row: HistoryRow, migration: Migration): MigrationStatus {
  if (row.state === 'running' || row.state === 'failed') return row.state;
  return row.checksum !== null && row.checksum !== migration.checksum ? 'edited' : 'applied';
}

function orphanEntry(folder: MigrationFolder, row: HistoryRow, newest: Positioned | undefined): StatusEntry {
  const base = { version: row.version, name: row.name, row };
  if (row.state === 'running' || row.state === 'failed') return { ...base, status: row.state };
  // A baseline needs no file, and a newer baseline file stands for the files before it that were removed.
  const isCovered = folder.baselines.some((baseline) => compareInOrder(folder, row, baseline) <= 0);
  if (row.baseline === true || isCovered) return { ...base, status: 'applied' };
  const isAhead = newest === undefined || compareInOrder(folder, row, newest) > 0;
  return { ...base, status: isAhead ? 'ahead' : 'missing' };
}

function repeatableEntry(migration: Migration, rows: readonly HistoryRow[]): StatusEntry {
  const row = rows.find(({ version, name }) => version === null && name === migration.name);
  const base = { version: null, name: migration.name, migration };
  if (row === undefined) return { ...base, status: 'pending' };
  const status = appliedStatus(row, migration);
  return { ...base, row, status: status === 'edited' ? 'pending' : status };
}
