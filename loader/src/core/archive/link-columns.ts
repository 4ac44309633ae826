import type { ColumnDefinition, TableDefinition } from '@tableset/common/database/table-definition.ts';
import { isTextType } from '../values/column-codec.ts';
import { isIntegerType } from '../values/integer.ts';
import type { ChildLink } from './archive-set.ts';
import { findColumn } from './conditions.ts';
import { refersTo, unsuitable } from './table-set.ts';

/**
 * Refuses a link whose columns do not compare alike everywhere. InnoDB compares a foreign key's columns as they are stored, an ENUM by its number and a DECIMAL by
 * its bytes, and statements compare values: a row that only the server takes for a child would be deleted along without a copy.
 * @throws AppError ARCHIVE_TABLE_UNSUITABLE
 */
export function checkLinkColumns(child: TableDefinition, parent: TableDefinition, link: ChildLink): void {
  for (const [place, name] of link.columns.entries()) {
    const parentName = link.parentColumns[place] ?? '';
    const [column, above] = [findColumn(child, name), findColumn(parent, parentName)];
    // Where the server compares nothing itself, integers of all sizes compare exactly.
    if (column && above && !isForeignKey(child, name, parent, parentName) && bothIntegers(column, above)) continue;
    if (column && above && isSameType(column, above)) continue;
    const why = `goes along by ${described(name, column)}, and in ${parent.name} it is ${described(parentName, above)}: what is equal there and here could differ, so that rows would be deleted without a copy, or with another parent`;
    throw unsuitable(child.name, why, 'Give both columns the same type, character set and collation.');
  }
}

function isForeignKey(child: TableDefinition, name: string, parent: TableDefinition, parentName: string): boolean {
  const folded = parentName.toLowerCase();
  return child.foreignKeys.some(
    (key) =>
      refersTo(key, parent) &&
      key.columns.some(
        (column, at) =>
          column.toLowerCase() === name.toLowerCase() && key.referencedColumns[at]?.toLowerCase() === folded,
      ),
  );
}

function bothIntegers(one: ColumnDefinition, other: ColumnDefinition): boolean {
  return isIntegerType(one.dataType) && isIntegerType(other.dataType);
}

/** Equal values are stored as equal bytes, and the other way round; texts and bytes may differ in length. */
function isSameType(one: ColumnDefinition, other: ColumnDefinition): boolean {
  if (one.characterSet !== other.characterSet || one.collation !== other.collation) return false;
  if (isText(one) && isText(other)) {
    // CHAR loses the blanks at its end and VARCHAR does not, which only collations with padding take for the same.
    return one.dataType === other.dataType || !/_nopad_|_0900_/.test(one.collation ?? '');
  }
  if (bytes.has(one.dataType) && bytes.has(other.dataType)) return true;
  return (
    one.dataType === other.dataType &&
    one.unsigned === other.unsigned &&
    one.numericPrecision === other.numericPrecision &&
    one.numericScale === other.numericScale &&
    one.datetimePrecision === other.datetimePrecision &&
    one.members.length === other.members.length &&
    one.members.every((member, place) => member === other.members[place])
  );
}

function isText({ dataType, characterSet }: ColumnDefinition): boolean {
  return isTextType(dataType) && characterSet !== null;
}

const bytes = new Set(['binary', 'varbinary']);

function described(name: string, column: ColumnDefinition | undefined): string {
  const collation = column?.collation ? ` COLLATE ${column.collation}` : '';
  return `${column?.name ?? name} (${column?.columnType ?? 'missing'}${collation})`;
}
