import { quoteIdentifier, quoteTable } from '@tableset/common/database/quoting.ts';
import type { ColumnDefinition, TableDefinition } from '@tableset/common/database/table-definition.ts';
import { isBinaryType, isTextType } from '../values/column-codec.ts';
import { isIntegerType } from '../values/integer.ts';
import { isSpatialType } from '../values/spatial.ts';
import type { ArchivedTable, ArchiveSet } from './archive-set.ts';
import { findColumn } from './conditions.ts';
import { dropsAnything } from './one-server-sql.ts';
import { primaryKey } from './table-set.ts';

/** How an archive no longer fits its table. */
export interface ArchiveDrift {
  /** Columns that it lacks and could be given. */
  readonly missing: readonly ColumnDefinition[];
  /** What it could not hold, one sentence each with the statement that mends it. */
  readonly refusals: readonly string[];
}

/**
 * Compares an archive table with its source: it must give back every value of every column as the same text or bytes, and keep apart every
 * two keys.
 */
export function archiveDrift(table: ArchivedTable, archive: TableDefinition): ArchiveDrift {
  const refusals = [...tableFaults(table, archive)];
  const missing: ColumnDefinition[] = [];
  for (const column of table.columns) {
    const kept = findColumn(archive, column.name);
    if (!kept) {
      missing.push(column);
      continue;
    }
    const fault = columnFault(column, kept, table.key.includes(column.name));
    if (fault !== null) {
      const modify = `ALTER TABLE ${quoteTable(archive.schema, archive.name)} MODIFY ${declaration(column)}`;
      refusals.push(`column ${column.name} ${fault}; run on the store: ${modify}`);
    }
  }
  for (const column of archive.columns) {
    if (column.name === 'tableset_batch' || column.hasDefault || column.generated) continue;
    if (findColumn(table.definition, column.name)) continue;
    const modify = `ALTER TABLE ${quoteTable(archive.schema, archive.name)} MODIFY ${declaration({ ...column, nullable: true })}`;
    refusals.push(
      `column ${column.name} is no longer in ${table.definition.name} and takes no NULL; run on the store: ${modify}`,
    );
  }
  return { missing, refusals };
}

/**
 * What the archives of a set would leave out by their own comparisons, one sentence each with the statement that mends it: when rows are left out the tables' own are
 * gone, so the archives must find each other's rows as the tables did.
 * @param archives in the order of the set
 */
export function linkDrift(set: ArchiveSet, archives: readonly TableDefinition[]): readonly string[] {
  return set.tables.flatMap((table, index) => {
    const { child } = table;
    if (child === null || !dropsAnything(set, table)) return [];
    return [
      ...collationFaults(table, archives[index], child.columns),
      ...collationFaults(set.tables[child.parent], archives[child.parent], child.parentColumns),
    ];
  });
}

function collationFaults(
  table: ArchivedTable | undefined,
  archive: TableDefinition | undefined,
  names: readonly string[],
): readonly string[] {
  if (!table || !archive) return [];
  return names.flatMap((name) => {
    const [source, kept] = [findColumn(table.definition, name), findColumn(archive, name)];
    if (!source || source.collation === kept?.collation) return [];
    const compared = `${archive.name}.${source.name} is compared by ${kept?.collation}, and in ${table.definition.name} by ${source.collation}, while settings leave out rows by it`;
    return [
      `${compared}; run on the store: ALTER TABLE ${quoteTable(archive.schema, archive.name)} MODIFY ${declaration(source)}`,
    ];
  });
}

function tableFaults(table: ArchivedTable, archive: TableDefinition): readonly string[] {
  const faults: string[] = [];
  if (archive.engine.toLowerCase() !== 'innodb')
    faults.push(`the archive is ${archive.engine}, which has no transactions`);
  if (archive.systemVersioned) faults.push('the archive is system-versioned');
  const batch = archive.columns.find((column) => column.name === 'tableset_batch');
  if (batch?.dataType !== 'bigint' || !batch.unsigned || batch.nullable)
    faults.push('the archive has no column tableset_batch BIGINT UNSIGNED NOT NULL');
  const wanted = [...table.key, 'tableset_batch'];
  const folded = (names: readonly string[]) =>
    names
      .map((name) => name.toLowerCase())
      .sort()
      .join('\0');
  if (folded(primaryKey(archive)) !== folded(wanted))
    faults.push(`the archive's primary key is not (${wanted.join(', ')}), so it could not take every version of a row`);
  const unique = archive.indexes.find((index) => index.unique && index.name !== 'PRIMARY');
  if (unique) faults.push(`the archive has the unique key ${unique.name}, which could refuse rows; drop it`);
  const [reference] = archive.foreignKeys;
  if (reference) faults.push(`the archive has the foreign key ${reference.name}, which could refuse rows; drop it`);
  // A cascade into the archive's own rows is no better.
  const [trigger] = archive.triggers;
  if (trigger) faults.push(`the archive has the trigger ${trigger.name}, which could change rows; drop it`);
  return faults;
}

/** Why an archive's column could not give back what the source's holds; null if it can. */
function columnFault(source: ColumnDefinition, archive: ColumnDefinition, inKey: boolean): string | null {
  if (archive.generated) return 'is generated in the archive';
  if ((source.nullable || source.generated) && !archive.nullable) return 'takes no NULL in the archive';
  const types = `is ${source.columnType} and in the archive ${archive.columnType}`;
  if (!holds(source, archive)) return `${types}, which could not hold every value as it is`;
  if (source.characterSet === null || archive.characterSet === null || source.dataType === 'json') return null;
  const [from, to] = [charsetName(source.characterSet), charsetName(archive.characterSet)];
  if (from !== to && to !== 'utf8mb4') return `is in ${from} and in the archive in ${to}, which lacks characters`;
  if (inKey && !keepsApart(source.collation ?? '', archive.collation ?? ''))
    return `is compared by ${source.collation} and in the archive by ${archive.collation}, which could take different keys for equal`;
  return null;
}

const integerBytes: Readonly<Record<string, number>> = { tinyint: 1, smallint: 2, mediumint: 3, int: 4, bigint: 8 };

/** The archive's type takes every value of the source's and prints it with the same text. */
function holds(source: ColumnDefinition, archive: ColumnDefinition): boolean {
  const [from, to] = [source.dataType, archive.dataType];
  if (isIntegerType(from)) {
    if (!isIntegerType(to)) return false;
    // The zeros in front are part of the text.
    if (source.zerofill || archive.zerofill) return source.columnType === archive.columnType;
    const [have, room] = [integerBytes[from] ?? 8, integerBytes[to] ?? 0];
    if (source.unsigned === archive.unsigned) return room >= have;
    return source.unsigned && room > have;
  }
  if (from === 'decimal') {
    if (to !== 'decimal' || source.zerofill !== archive.zerofill || source.numericScale !== archive.numericScale)
      return false;
    if (source.zerofill) return source.columnType === archive.columnType;
    return (archive.numericPrecision ?? 0) >= (source.numericPrecision ?? 0) && (!archive.unsigned || source.unsigned);
  }
  if (from === 'float' || from === 'double') {
    if (source.columnType === archive.columnType) return true;
    const plain = !/[(]/.test(archive.columnType) && !archive.zerofill && !source.zerofill;
    return plain && (to === 'double' || to === from) && (!archive.unsigned || source.unsigned);
  }
  if (from === 'enum' || from === 'set') {
    return to === from && source.members.every((member, place) => member === archive.members[place]);
  }
  if (from === 'json') return to === 'json' || (to === 'longtext' && archive.characterSet === 'utf8mb4');
  if (isTextType(from)) return holdsText(source, archive);
  if (isBinaryType(from)) {
    if (!isBinaryType(to)) return false;
    // BINARY fills up with zero bytes.
    if (to === 'binary') return from === 'binary' && source.characterOctetLength === archive.characterOctetLength;
    return (archive.characterOctetLength ?? 0) >= (source.characterOctetLength ?? 0);
  }
  if (from === 'bit') return to === 'bit' && (archive.numericPrecision ?? 0) >= (source.numericPrecision ?? 0);
  if (isSpatialType(from)) {
    const anything = spatialName(to) === 'geometry' || spatialName(to) === spatialName(from);
    return isSpatialType(to) && anything && (archive.srid === null || archive.srid === source.srid);
  }
  if (from === 'vector') return to === from && source.columnType === archive.columnType;
  return to === from && source.datetimePrecision === archive.datetimePrecision;
}

function spatialName(dataType: string): string {
  return dataType === 'geomcollection' ? 'geometrycollection' : dataType;
}

const bytesPerCharacter: Readonly<Record<string, number>> = {
  utf8mb4: 4,
  utf8mb3: 3,
  ucs2: 2,
  utf16: 4,
  utf16le: 4,
  utf32: 4,
};

function holdsText(source: ColumnDefinition, archive: ColumnDefinition): boolean {
  if (!isTextType(archive.dataType)) return false;
  // CHAR loses the blanks at its end.
  if (archive.dataType === 'char' && source.dataType !== 'char') return false;
  const [from, to] = [charsetName(source.characterSet ?? ''), charsetName(archive.characterSet ?? '')];
  if (from === to) return (archive.characterOctetLength ?? 0) >= (source.characterOctetLength ?? 0);
  const characters = source.characterMaximumLength ?? 0;
  return (archive.characterOctetLength ?? 0) >= characters * (bytesPerCharacter[to] ?? 1);
}

function charsetName(name: string): string {
  return name === 'utf8' ? 'utf8mb3' : name;
}

/** Two keys that the source's collation tells apart are told apart by the archive's. */
function keepsApart(source: string, archive: string): boolean {
  const named = (name: string) => name.replace(/^utf8_/, 'utf8mb3_');
  if (named(source) === named(archive) || archive === 'binary') return true;
  if (!archive.endsWith('_bin')) return false;
  // A collation with padding takes `a` and `a ` for equal.
  const padless = (name: string) => /_nopad_|_0900_/.test(name);
  return padless(archive) || !padless(source);
}

/** A column as a statement that people run would declare it. */
function declaration(column: ColumnDefinition): string {
  const text =
    column.characterSet === null || column.dataType === 'json'
      ? ''
      : ` CHARACTER SET ${column.characterSet} COLLATE ${column.collation}`;
  return `${quoteIdentifier(column.name)} ${column.columnType}${text} ${column.nullable || column.generated ? 'NULL' : 'NOT NULL'}`;
}
