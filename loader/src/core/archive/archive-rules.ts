import { quoteIdentifier } from '@tableset/common/database/quoting.ts';
import type { ColumnDefinition, TableDefinition } from '@tableset/common/database/table-definition.ts';
import { commonError } from '@tableset/common/errors.ts';
import type { ArchiveTask } from '../../config/archive-config.ts';
import { isBinaryType, isTextType } from '../values/column-codec.ts';
import { isIntegerType } from '../values/integer.ts';
import { isSpatialType } from '../values/spatial.ts';
import type { ArchivedTable, ArchiveSet } from './archive-set.ts';
import { conditionFault, findColumn } from './conditions.ts';
import { checkLinkColumns } from './link-columns.ts';
import { primaryKey, unsuitable } from './table-set.ts';

/** What the account may see, without which a refusal could not be told. */
export interface Sight {
  /** It may read every table of the schema, and so sees every foreign key. */
  readonly schema: boolean;
  /** The privileges on the schema that would let it. */
  readonly needed: string;
  /** It sees the triggers of this table. */
  triggers(table: string): boolean;
}

/**
 * Refuses one table that could not be archived safely, root or child, whatever it hangs together with.
 * @param unlisted the table, as `schema/table`, of a foreign key to this one that its definition does not list; null if it lists all, undefined if the account may not know
 * @throws AppError ARCHIVE_TABLE_UNSUITABLE
 */
export function checkArchiveTable(
  task: ArchiveTask,
  definition: TableDefinition,
  sight: Sight,
  unlisted: string | null | undefined,
): void {
  const refuse = (why: string, hint: string) => {
    throw unsuitable(definition.name, why, hint);
  };
  if (definition.name.toLowerCase().startsWith('tableset_'))
    refuse('belongs to the ledger', 'Archive a table of your own.');
  if (definition.engine.toLowerCase() !== 'innodb')
    refuse(`is ${definition.engine}, which has no transactions`, 'Convert it with ALTER TABLE … ENGINE=InnoDB.');
  if (definition.systemVersioned)
    refuse('is system-versioned: its history would keep every row that is deleted', 'Archive a plain table.');
  checkKey(definition);
  for (const column of definition.columns) {
    if (!isKnownType(column))
      refuse(
        `has column ${column.name} of type ${column.columnType}, of which nothing is known`,
        'Archive a table without it.',
      );
    if (column.name.toLowerCase() === 'tableset_batch')
      refuse('has a column tableset_batch, the name that the archive gives to its own', 'Rename the column.');
  }
  if (!sight.schema) {
    const why =
      'cannot be archived: the account sees only some tables of the schema, so a foreign key that cascades into another one would go unseen';
    refuse(why, `GRANT ${sight.needed} ON ${quoteIdentifier(definition.schema)}.* to the account.`);
  }
  if (unlisted === undefined) {
    const why =
      'cannot be archived: the account does not see foreign keys of other schemas, which could delete their rows along without a copy';
    refuse(why, 'GRANT PROCESS ON *.* to the account.');
  } else if (unlisted !== null) {
    const why = `is referred to by ${unlisted.replace('/', '.')}, whose foreign key the account does not see: rows of it could be changed or deleted without a copy`;
    refuse(why, 'Take that foreign key away; a table of another schema cannot go along.');
  }
  if (task.allowDeleteTriggers) return;
  if (!sight.triggers(definition.name)) {
    const grant = `GRANT TRIGGER ON ${quoteIdentifier(definition.schema)}.* to the account`;
    refuse('cannot be archived: the account does not see its triggers', `${grant}, or set allowDeleteTriggers: true.`);
  }
  const trigger = definition.triggers.find(({ event }) => event.toUpperCase() === 'DELETE');
  if (trigger) {
    const why = `has the trigger ${trigger.name}, which every archived row would set off`;
    refuse(why, 'Set allowDeleteTriggers: true if that is meant.');
  }
}

function checkKey(definition: TableDefinition): void {
  const key = primaryKey(definition);
  if (key.length === 0) {
    const nullable = definition.indexes.find(
      (index) =>
        index.unique && index.parts.some(({ column }) => column !== null && findColumn(definition, column)?.nullable),
    );
    const also = nullable ? ` (its unique key ${nullable.name} allows NULL, so it does not identify rows)` : '';
    throw unsuitable(definition.name, `has no primary key${also}`, 'Give it a primary key.');
  }
  const primary = definition.indexes.find((index) => index.name === 'PRIMARY');
  const part = primary?.parts.find(({ prefix }) => prefix !== null);
  if (part)
    throw unsuitable(
      definition.name,
      `has only the beginning of ${part.column} in its primary key`,
      'Use whole columns.',
    );
  for (const name of key) {
    const column = findColumn(definition, name);
    if (column?.dataType !== 'float' && column?.dataType !== 'double') continue;
    const why = `has ${name} (${column.columnType}) in its primary key, which does not compare exactly`;
    throw unsuitable(definition.name, why, 'Make it a DECIMAL or an integer.');
  }
}

const otherTypes = new Set(
  'decimal float double bit date datetime timestamp time year enum set uuid inet4 inet6 vector json'.split(' '),
);

function isKnownType({ dataType }: ColumnDefinition): boolean {
  return (
    isIntegerType(dataType) ||
    isTextType(dataType) ||
    isBinaryType(dataType) ||
    isSpatialType(dataType) ||
    otherTypes.has(dataType)
  );
}

/**
 * Refuses a set whose deletes would reach rows outside it, or whose settings do not fit its tables.
 * @throws AppError ARCHIVE_TABLE_UNSUITABLE, SETTING_INVALID
 */
export function checkArchiveSet(set: ArchiveSet): void {
  const [root] = set.tables;
  checkDate(set.task, root.definition);
  for (const condition of set.task.where) {
    const fault = conditionFault(condition, root.definition);
    if (fault !== null) throw invalid(set.task, `where ${fault}`);
  }
  for (const table of set.tables) {
    checkReferences(set, table);
    checkChild(set, table);
  }
}

function checkReferences(set: ArchiveSet, table: ArchivedTable): void {
  const { definition } = table;
  for (const key of definition.referencedBy) {
    if (key.schema === definition.schema && key.table === definition.name) {
      const why = `refers to itself by the foreign key ${key.name}, so a row could not go before those that refer to it`;
      throw unsuitable(definition.name, why, 'Archive a table without such a key, or take the key away.');
    }
    const member = key.schema === definition.schema && set.tables.find((each) => each.definition.name === key.table);
    const restricts = ['RESTRICT', 'NO ACTION'].includes(key.onDelete.toUpperCase());
    if (!member) {
      const other = key.schema === definition.schema ? key.table : `${key.schema}.${key.table}`;
      const effect = restricts
        ? 'rows of it would stop the delete'
        : 'rows of it would be changed or deleted without a copy';
      const why = `is referred to by ${other} (foreign key ${key.name}, ON DELETE ${key.onDelete}), which is not archived along: ${effect}`;
      const hint =
        key.schema === definition.schema
          ? `Add ${key.table} to the children of ${set.task.table}.`
          : 'A table of another schema cannot go along.';
      throw unsuitable(definition.name, why, hint);
    }
    const link = member.child;
    const isLink =
      link !== null &&
      set.tables[link.parent] === table &&
      link.columns.length === key.columns.length &&
      key.columns.every((name, at) => link.parentColumns[link.columns.indexOf(name)] === key.referencedColumns[at]);
    if (!isLink && !restricts) {
      const why = `refers to ${definition.name} by the foreign key ${key.name}, ON DELETE ${key.onDelete}, but goes along by other columns: rows could be changed or deleted without a copy`;
      throw unsuitable(key.table, why, 'Make that foreign key ON DELETE RESTRICT.');
    }
  }
}

function checkChild(set: ArchiveSet, table: ArchivedTable): void {
  if (table.child === null) return;
  const { settings, parent } = table.child;
  const above = set.tables[parent]?.definition;
  if (above) checkLinkColumns(table.definition, above, table.child);
  if (settings.when && above) {
    const column = findColumn(above, settings.when.column);
    const about = `when of ${settings.table} names ${settings.when.column}`;
    if (!column) throw invalid(set.task, `${about}, which its parent ${above.name} has not`);
    if (!isIntegerType(column.dataType) && !['decimal', 'float', 'double', 'year'].includes(column.dataType))
      throw invalid(set.task, `${about}, which is ${column.columnType} and no number`);
  }
  if (settings.resolutionSeconds === null) return;
  const column = settings.dateColumn === null ? undefined : findColumn(table.definition, settings.dateColumn);
  if (!column || !(dateTypes.has(column.dataType) || isIntegerType(column.dataType)))
    throw invalid(
      set.task,
      `resolutionSeconds of ${settings.table} takes a dateColumn of it that is a date or an integer`,
    );
}

const dateTypes = new Set(['date', 'datetime', 'timestamp']);

function checkDate(task: ArchiveTask, root: TableDefinition): void {
  const column = findColumn(root, task.dateColumn);
  if (!column) throw invalid(task, `dateColumn names ${task.dateColumn}, which ${root.name} has not`);
  const what = `dateColumn ${column.name} is ${column.columnType}`;
  if (task.dateType === 'date' && !dateTypes.has(column.dataType)) {
    const hint = isIntegerType(column.dataType) ? '; set dateType to epoch-seconds or epoch-milliseconds' : '';
    throw invalid(task, `${what}, which is no date${hint}`);
  }
  if (task.dateType !== 'date' && !isIntegerType(column.dataType))
    throw invalid(task, `${what}, and dateType ${task.dateType} takes an integer`);
  const wallClock = column.dataType === 'date' || column.dataType === 'datetime';
  if (!wallClock && task.dateZone !== 'UTC')
    throw invalid(task, `${what}, which has no zone of its own; leave dateZone out`);
}

function invalid(task: ArchiveTask, why: string) {
  return commonError('SETTING_INVALID', `${task.position}: ${task.table}: ${why}`);
}

/**
 * The index that begins with the date and goes on with the primary key as far as it goes on: InnoDB adds the rest of the key itself. Null if there is none that the
 * servers would use.
 */
export function findDateIndex(definition: TableDefinition, dateColumn: string): string | null {
  const date = findColumn(definition, dateColumn)?.name;
  const rest = primaryKey(definition).filter((name) => name !== date);
  const found = definition.indexes.filter((index) => {
    const [first, ...further] = index.parts;
    return (
      index.type.toUpperCase() === 'BTREE' &&
      index.parts.every(({ prefix }) => prefix === null) &&
      first?.column === date &&
      further.every(({ column }, at) => column !== null && column === rest[at]) &&
      isUsable(definition, index.name)
    );
  });
  return found.toSorted((a, b) => a.parts.length - b.parts.length)[0]?.name ?? null;
}

/** An invisible (MySQL) or ignored (MariaDB) index cannot be forced, and a descending column gives another order. */
function isUsable(definition: TableDefinition, name: string): boolean {
  const start = name === 'PRIMARY' ? '  PRIMARY KEY (' : `KEY ${quoteIdentifier(name)} (`;
  const line = definition.createStatement.split('\n').find((each) => each.includes(start)) ?? '';
  return !/\bINVISIBLE\b|\bIGNORED\b|` DESC\b/.test(line.slice(line.indexOf(start) + start.length));
}
