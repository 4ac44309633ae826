import type { Connection } from '@tableset/common/database/connection.ts';
import { classifyFault } from '@tableset/common/database/errno.ts';
import { missingOnSchema, readGrants } from '@tableset/common/database/grants.ts';
import { quoteIdentifier, quoteTable } from '@tableset/common/database/quoting.ts';
import { readTableDefinition } from '@tableset/common/database/read-table.ts';
import type { TableDefinition } from '@tableset/common/database/table-definition.ts';
import type { Output } from '@tableset/common/output/output.ts';
import type { ArchiveTask } from '../config/archive-config.ts';
import { checkArchiveSet, checkArchiveTable, findDateIndex, type Sight } from '../core/archive/archive-rules.ts';
import type { ArchiveSet } from '../core/archive/archive-set.ts';
import { findColumn } from '../core/archive/conditions.ts';
import { type Cutoff, cutoffOf } from '../core/archive/cutoff.ts';
import { findUnlisted } from '../core/archive/inbound-keys.ts';
import { createSelection, type Hold, type Selection, type SelectionOptions } from '../core/archive/selection.ts';
import { buildSet, unsuitable } from '../core/archive/table-set.ts';
import { loaderError } from '../errors.ts';
import { readHolds, warnOfHolds } from './holds.ts';
import { readInboundKeys } from './read-inbound-keys.ts';

/** A set that may be archived, and what of it. */
export interface PlannedSet {
  readonly set: ArchiveSet;
  readonly cutoff: Cutoff;
  /** On the root and on its children. */
  readonly holds: readonly Hold[];
  readonly byDate: boolean;
  readonly dateIndex: string | null;
  selection(options?: Partial<Pick<SelectionOptions, 'shard' | 'excluded' | 'byDate'>>): Selection;
}

export interface PlanOptions {
  /** The primary's clock, which every cut-off counts from. */
  readonly nowUtc: string;
  readonly output: Output;
  /** The conditions name single rows by their keys: they are looked for by the primary key. */
  readonly byKey?: boolean;
  /** Nothing is deleted by this plan, so that it does without the foreign keys of other schemas. */
  readonly onlyLooks?: boolean;
}

/** An index on the date is gone along if at most this share of the rows is older; more are faster along the primary key. */
const sparseShare = 1 / 3;

/**
 * Reads the tables of each task and refuses, before anything is copied, what could not be archived safely. Warns of rows that are never taken for their dates.
 * @throws AppError ARCHIVE_TABLE_UNSUITABLE, LOAD_TABLE_MISSING, SETTING_INVALID, HOLD_INVALID
 */
export async function planArchive(
  connection: Connection,
  tasks: readonly ArchiveTask[],
  options: PlanOptions,
): Promise<readonly PlannedSet[]> {
  const sight = await readSight(connection);
  const planned: PlannedSet[] = [];
  for (const task of tasks) planned.push(await planTask(connection, task, sight, options));
  if (!options.byKey) await warnOfHolds(connection, tasks, options.output);
  checkArchiveNames(planned);
  return planned;
}

async function planTask(
  connection: Connection,
  task: ArchiveTask,
  sight: Sight,
  { nowUtc, output, byKey = false, onlyLooks = false }: PlanOptions,
): Promise<PlannedSet> {
  const set = await readSet(connection, task, sight, onlyLooks);
  const { definition } = set.tables[0];
  const cutoff = cutoffOf(task, task.archiveAfterDays, nowUtc, findColumn(definition, task.dateColumn));
  const holds: Hold[] = [];
  for (const table of set.tables) holds.push(...(await readHolds(connection, table.definition)));
  const dateIndex = findDateIndex(definition, task.dateColumn);
  const byDate =
    !byKey &&
    dateIndex !== null &&
    (task.deleteAfterDays !== null || (await isSparse(connection, set, cutoff, dateIndex)));
  const selection: PlannedSet['selection'] = (more = {}) =>
    createSelection(set, { cutoff, holds, byDate, dateIndex, shard: null, ...more });
  // Where there is no index on the date, that reads the whole table.
  if (!byKey) await warnOfUndated(connection, set, selection(), output);
  return { set, cutoff, holds, byDate, dateIndex, selection };
}

/**
 * The tables of a task as a set, checked.
 * @throws AppError ARCHIVE_TABLE_UNSUITABLE, LOAD_TABLE_MISSING, SETTING_INVALID
 */
async function readSet(
  connection: Connection,
  task: ArchiveTask,
  sight: Sight,
  onlyLooks: boolean,
): Promise<ArchiveSet> {
  const names = [task.table, ...task.children.map(({ table }) => table)];
  const definitions: TableDefinition[] = [];
  for (const name of names) {
    const definition = await readTable(connection, name);
    const unlisted = onlyLooks ? null : await readUnlisted(connection, definition);
    checkArchiveTable(task, definition, sight, unlisted);
    definitions.push(definition);
  }
  const [root, ...children] = definitions;
  // There is one name at least.
  const set = buildSet(task, root as TableDefinition, children);
  checkArchiveSet(set);
  return set;
}

/** What InnoDB knows beyond the definition; undefined without PROCESS, which that takes. */
async function readUnlisted(connection: Connection, definition: TableDefinition): Promise<string | null | undefined> {
  try {
    const keys = await readInboundKeys(connection, [definition]);
    return findUnlisted(definition, keys, connection.server.lowerCaseTableNames);
  } catch (error) {
    if (classifyFault(error) === 'grant-missing') return undefined;
    throw error;
  }
}

async function readTable(connection: Connection, name: string): Promise<TableDefinition> {
  const schema = connection.settings.name;
  const definition = await readTableDefinition(connection, schema, name);
  if (definition) return definition;
  const row = await connection.row(
    'SELECT TABLE_TYPE AS type FROM information_schema.TABLES WHERE TABLE_SCHEMA = ? AND TABLE_NAME = ?',
    [schema, name],
  );
  if (row)
    throw unsuitable(name, `is no base table but a ${String(row['type']).toLowerCase()}`, 'Archive a base table.');
  throw loaderError('LOAD_TABLE_MISSING', `schema ${schema} has no table ${name}`);
}

/**
 * Triggers show only to who may make them: on the schema, or on the very table. MariaDB shows foreign keys only to who has more than SELECT on
 * their table.
 */
export async function readSight(connection: Connection): Promise<Sight> {
  const schema = connection.settings.name;
  const grants = await readGrants(connection);
  const has = (privilege: string) => missingOnSchema(grants, schema, [privilege]).length === 0;
  const tables = new Set(
    grants.flatMap((line) => {
      const [, list = '', of = '', table = ''] = tableGrant.exec(line) ?? [];
      const privileges = list.split(',').map((each) => each.trim().toUpperCase());
      const sees = privileges.includes('TRIGGER') || privileges.includes('ALL PRIVILEGES');
      return sees && of.replaceAll('``', '`') === schema ? [table.replaceAll('``', '`').toLowerCase()] : [];
    }),
  );
  const more = connection.server.flavour === 'mariadb' ? ['TRIGGER', 'INSERT', 'UPDATE', 'DELETE', 'REFERENCES'] : [];
  return {
    schema: has('SELECT') && (more.length === 0 || more.some(has)),
    needed: more.length === 0 ? 'SELECT' : 'SELECT, TRIGGER',
    triggers: (table) => has('TRIGGER') || tables.has(table.toLowerCase()),
  };
}

const tableGrant = /^GRANT (.+?) ON (?:TABLE )?`((?:[^`]|``)+)`\.`((?:[^`]|``)+)` TO /;

/** By the servers' own estimates, which cost two dives into the index; forced to an index, MySQL would not look and say 1. */
async function isSparse(connection: Connection, set: ArchiveSet, cutoff: Cutoff, dateIndex: string): Promise<boolean> {
  const { definition } = set.tables[0];
  const table = quoteTable(definition.schema, definition.name);
  const date = quoteIdentifier(set.task.dateColumn);
  const older = set.task.dateType === 'date' ? cutoff.value : BigInt(cutoff.value);
  const estimate = async (index: string, where: string, values: readonly (string | bigint)[]) => {
    const explain = connection.server.flavour === 'mysql' ? 'EXPLAIN FORMAT=TRADITIONAL' : 'EXPLAIN';
    const rows = await connection.rows(
      `${explain} SELECT ${date} FROM ${table} USE INDEX (${quoteIdentifier(index)})${where}`,
      values,
    );
    return Number(rows[0]?.['rows'] ?? 0);
  };
  const all = await estimate('PRIMARY', '', []);
  return (await estimate(dateIndex, ` WHERE ${date} < ?`, [older])) <= all * sparseShare;
}

async function warnOfUndated(
  connection: Connection,
  set: ArchiveSet,
  selection: Selection,
  output: Output,
): Promise<void> {
  const { sql, values } = selection.undatedCounts();
  const row = await connection.row(sql, values);
  const counts = Object.fromEntries(Object.entries(row ?? {}).map(([name, count]) => [name, Number(count)]));
  if (Object.values(counts).every((count) => count === 0)) return;
  output.event('warn', 'rows without a usable date are never archived', {
    table: set.task.table,
    column: set.task.dateColumn,
    ...counts,
  });
}

/** Two tables must not share an archive table: rows with equal keys would be taken for versions of each other. */
function checkArchiveNames(planned: readonly PlannedSet[]): void {
  const owners = new Map<string, string>();
  for (const { set } of planned) {
    for (const { archiveName, definition } of set.tables) {
      const place = `${set.task.store}\0${archiveName.toLowerCase()}`;
      const owner = owners.get(place) ?? definition.name;
      if (owner !== definition.name) {
        const why = `and ${owner} would share the archive table ${archiveName} of store ${set.task.store}`;
        throw unsuitable(definition.name, why, 'Give one of them another archiveTable.');
      }
      owners.set(place, owner);
    }
  }
}
