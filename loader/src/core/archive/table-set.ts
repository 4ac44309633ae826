import { hash } from 'node:crypto';
import type { ForeignKeyDefinition, TableDefinition } from '@tableset/common/database/table-definition.ts';
import type { AppError } from '@tableset/common/errors.ts';
import type { ArchiveChild, ArchiveTask } from '../../config/archive-config.ts';
import { loaderError } from '../../errors.ts';
import type { ArchivedTable, ArchiveSet, ChildLink } from './archive-set.ts';
import { findColumn } from './conditions.ts';

/** A table as a set has it. */
export function archivedTableOf(
  definition: TableDefinition,
  archiveName: string | null,
  child: ChildLink | null,
): ArchivedTable {
  return {
    definition,
    columns: definition.columns,
    key: primaryKey(definition),
    archiveName: archiveName ?? definition.name,
    fingerprint: fingerprintOf(definition),
    child,
  };
}

/** Columns of the primary key in its order; none if there is no such key. */
export function primaryKey(definition: TableDefinition): readonly string[] {
  const primary = definition.indexes.find((index) => index.name === 'PRIMARY');
  return primary?.parts.flatMap((part) => part.column ?? []) ?? [];
}

/** SHA-256 in hex of names, types, character sets and order of the columns, and the key: what a batch must not outlive. */
export function fingerprintOf(definition: TableDefinition): string {
  const columns = definition.columns.map((column) => [
    column.name,
    column.columnType,
    column.characterSet,
    column.collation,
    column.nullable,
    column.generated,
    column.json,
    column.srid,
  ]);
  return hash('sha256', JSON.stringify({ columns, key: primaryKey(definition) }));
}

/** The refusal of a table, by its name. */
export function unsuitable(table: string, why: string, hint?: string): AppError {
  return loaderError('ARCHIVE_TABLE_UNSUITABLE', `${table} ${why}`, { ...(hint ? { hint } : {}), details: { table } });
}

/**
 * Finds out how the tables of a task hang together and puts them in order, parents first. A child goes under another child that it refers to rather than
 * under the root, unless that reference may be NULL and the root's may not.
 * @param children definitions in the order of `task.children`
 * @throws AppError ARCHIVE_TABLE_UNSUITABLE
 */
export function buildSet(task: ArchiveTask, root: TableDefinition, children: readonly TableDefinition[]): ArchiveSet {
  const members = [root, ...children];
  const twice = members.find((each, place) => members.some((other, at) => at < place && other.name === each.name));
  if (twice) throw unsuitable(twice.name, `is named twice in the set of ${root.name}`, 'Name each table once.');
  const links = new Map<TableDefinition, Link>();
  for (const [place, child] of children.entries()) {
    const settings = task.children[place];
    if (!settings) throw new RangeError(`no settings for ${child.name}`);
    links.set(child, findLink(child, settings, members));
  }
  const order = parentsFirst(members, links);
  const tables = order.map((definition) => {
    const link = links.get(definition);
    if (!link) return archivedTableOf(definition, task.archiveTable, null);
    const { settings, columns, parentColumns } = link;
    const child = { settings, parent: order.indexOf(link.parent), columns, parentColumns };
    return archivedTableOf(definition, settings.archiveTable, child);
  });
  const names = tables.map(({ archiveName }) => archiveName.toLowerCase());
  const clash = tables.find(({ archiveName }, place) => names.indexOf(archiveName.toLowerCase()) < place);
  if (clash) {
    const why = `would share its archive table ${clash.archiveName} with another table of the set`;
    throw unsuitable(clash.definition.name, why, 'Give it an archiveTable of its own.');
  }
  const [first, ...rest] = tables;
  // `order` has the root at least.
  return { task, tables: [first as ArchivedTable, ...rest] };
}

interface Link {
  readonly settings: ArchiveChild;
  readonly parent: TableDefinition;
  readonly columns: readonly string[];
  readonly parentColumns: readonly string[];
}

function findLink(child: TableDefinition, settings: ArchiveChild, members: readonly TableDefinition[]): Link {
  const [root] = members;
  const references = child.foreignKeys.flatMap((key) => {
    const parent = members.find((each) => each !== child && refersTo(key, each));
    return parent ? [{ key, parent }] : [];
  });
  if (settings.on !== null) return declaredLink(child, settings, settings.on, members, references);
  const required = ({ key }: { readonly key: ForeignKeyDefinition }) =>
    key.columns.every((name) => findColumn(child, name)?.nullable === false);
  const tiers = [
    references.filter((each) => each.parent !== root && required(each)),
    references.filter((each) => each.parent === root && required(each)),
    references.filter((each) => each.parent !== root),
    references,
  ];
  const best = tiers.find((tier) => tier.length > 0) ?? [];
  const [chosen] = best;
  if (!chosen) {
    const why = `is to go along with ${root?.name}, but no foreign key of it refers to a table of the set`;
    throw unsuitable(child.name, why, 'Set on: {its column: column of the parent}.');
  }
  if (best.length > 1) {
    const names = best.map(({ key, parent }) => `${key.name} (to ${parent.name})`).join(', ');
    throw unsuitable(child.name, `refers to the set in several ways: ${names}`, 'Set on to say which one counts.');
  }
  const { key, parent } = chosen;
  checkUnique(child, parent, key.referencedColumns);
  return { settings, parent, columns: key.columns, parentColumns: key.referencedColumns };
}

function declaredLink(
  child: TableDefinition,
  settings: ArchiveChild,
  on: Readonly<Record<string, string>>,
  members: readonly TableDefinition[],
  references: readonly { readonly key: ForeignKeyDefinition; readonly parent: TableDefinition }[],
): Link {
  const columns = Object.keys(on).map((name) => {
    const column = findColumn(child, name);
    if (!column) throw unsuitable(child.name, `has no column ${name}, which on names`);
    return column.name;
  });
  const wanted = Object.values(on);
  const said = references.find(
    ({ key }) =>
      key.columns.length === columns.length &&
      key.columns.every((name, at) => same(key.referencedColumns[at], wanted[columns.indexOf(name)])),
  );
  const parent =
    said?.parent ?? members.find((each) => each !== child && wanted.every((name) => findColumn(each, name)));
  if (!parent) throw unsuitable(child.name, `is to go along by (${wanted.join(', ')}), which no table of the set has`);
  const parentColumns = wanted.map((name) => findColumn(parent, name)?.name ?? name);
  checkUnique(child, parent, parentColumns);
  return { settings, parent, columns, parentColumns };
}

/** Both servers let a foreign key refer to what is not unique, if they are told to. */
function checkUnique(child: TableDefinition, parent: TableDefinition, parentColumns: readonly string[]): void {
  const identifies = parent.indexes.some(
    (index) =>
      index.unique &&
      index.parts.every(
        ({ column, prefix }) => column !== null && prefix === null && parentColumns.some((each) => same(each, column)),
      ),
  );
  if (identifies) return;
  const why = `is to go along by ${parent.name} (${parentColumns.join(', ')}), which is not unique there, so a row could have two parents`;
  throw unsuitable(child.name, why, 'Let it refer to columns that cover a unique key of the parent.');
}

function same(one: string | undefined, other: string | undefined): boolean {
  return one !== undefined && one.toLowerCase() === other?.toLowerCase();
}

/** True if a foreign key refers to this table. */
export function refersTo(key: ForeignKeyDefinition, table: TableDefinition): boolean {
  return key.referencedSchema === table.schema && key.referencedTable === table.name;
}

/** By the links and by every other foreign key among the tables, since deletes go the other way. */
function parentsFirst(
  members: readonly TableDefinition[],
  links: ReadonlyMap<TableDefinition, Link>,
): readonly TableDefinition[] {
  const order: TableDefinition[] = [];
  const open: TableDefinition[] = [];
  const visit = (table: TableDefinition) => {
    if (order.includes(table)) return;
    if (open.includes(table)) {
      const circle = [...open.slice(open.indexOf(table)), table].map(({ name }) => name).join(' → ');
      const why = `cannot be archived with its set: the tables refer to each other in a circle (${circle})`;
      throw unsuitable(table.name, why, 'Take one of the foreign keys away, or archive without that child.');
    }
    open.push(table);
    const parents = members.filter(
      (each) =>
        each !== table && (links.get(table)?.parent === each || table.foreignKeys.some((key) => refersTo(key, each))),
    );
    for (const parent of parents) visit(parent);
    open.pop();
    order.push(table);
  };
  for (const table of members) visit(table);
  return order;
}
