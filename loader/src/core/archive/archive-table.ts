import { quoteIdentifier, quoteList, quoteTable } from '@tableset/common/database/quoting.ts';
import type { ServerFacts } from '@tableset/common/database/server.ts';
import type { ColumnDefinition, TableDefinition } from '@tableset/common/database/table-definition.ts';
import { loaderError } from '../../errors.ts';
import { isSpatialType } from '../values/spatial.ts';
import type { ArchivedTable } from './archive-set.ts';

export { archiveDrift } from './archive-drift.ts';

/** The column of every archive table that says which batch a row came with. */
export const batchColumnName = 'tableset_batch';

/**
 * CREATE TABLE for an archive: the source's columns as plain ones, keyed by primary key and batch, so that it takes every version of every row; nothing else, so that nothing
 * refuses, changes or fills a value.
 * @param server the archive's
 * @param collations all that the archive's server knows
 * @throws AppError ARCHIVE_STORE_UNSUITABLE for a type that the archive's server does not have
 */
export function createArchiveTable(
  table: ArchivedTable,
  schema: string,
  server: ServerFacts,
  collations: ReadonlySet<string>,
): string {
  const columns = table.columns.map((column) =>
    archiveColumn(column, server, collations, column.nullable || column.generated),
  );
  const batch = quoteIdentifier(batchColumnName);
  const lines = [
    ...columns,
    `${batch} BIGINT UNSIGNED NOT NULL`,
    `PRIMARY KEY (${quoteList([...table.key, batchColumnName])})`,
    `KEY ${batch} (${batch})`,
  ];
  return `CREATE TABLE ${quoteTable(schema, table.archiveName)} (\n  ${lines.join(',\n  ')}\n) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4`;
}

/**
 * ALTER TABLE that gives an archive the columns it lacks. They allow NULL, which older batches have there; a manifest says which columns its batch has.
 * @throws AppError ARCHIVE_STORE_UNSUITABLE as `createArchiveTable`
 */
export function addArchiveColumns(
  archive: Pick<TableDefinition, 'schema' | 'name'>,
  columns: readonly ColumnDefinition[],
  server: ServerFacts,
  collations: ReadonlySet<string>,
): string {
  const added = columns.map((column) => `ADD COLUMN ${archiveColumn(column, server, collations, true)}`);
  return `ALTER TABLE ${quoteTable(archive.schema, archive.name)} ${added.join(', ')}`;
}

function archiveColumn(
  column: ColumnDefinition,
  server: ServerFacts,
  collations: ReadonlySet<string>,
  nullable: boolean,
): string {
  const type = archiveType(column, server);
  const { characterSet, collation } = column;
  const text =
    characterSet === null || collation === null || column.dataType === 'json'
      ? ''
      : ` CHARACTER SET ${characterSet} COLLATE ${archiveCollation(characterSet, collation, collations)}`;
  // MariaDB has no such attribute; the values carry their reference system themselves.
  const srid = column.srid !== null && server.flavour === 'mysql' ? ` SRID ${column.srid}` : '';
  // A TIMESTAMP without NULL would be NOT NULL and fill itself on old servers.
  return `${quoteIdentifier(column.name)} ${type}${text} ${nullable ? 'NULL' : 'NOT NULL'}${srid}`;
}

const mariadbTypes = new Set(['uuid', 'inet4', 'inet6']);

/** The type as the archive's server writes it. */
function archiveType(column: ColumnDefinition, server: ServerFacts): string {
  const { dataType } = column;
  if (mariadbTypes.has(dataType) && server.flavour === 'mysql')
    throw unsuitableType(column, `MySQL has no type ${dataType}`);
  if (dataType === 'geomcollection') return 'geometrycollection';
  if (isSpatialType(dataType)) return dataType;
  // MariaDB's JSON checks its values; the text itself is what is kept.
  if (dataType === 'json' && server.flavour === 'mariadb') return 'longtext CHARACTER SET utf8mb4 COLLATE utf8mb4_bin';
  // Members stand in it as in a statement, escapes and all.
  if (dataType === 'enum' || dataType === 'set') return column.columnType;
  // Old temporal types carry a comment.
  return column.columnType.replaceAll(/\s*\/\*.*?\*\//g, '');
}

function unsuitableType(column: ColumnDefinition, why: string) {
  return loaderError('ARCHIVE_STORE_UNSUITABLE', `column ${column.name} is ${column.columnType}, and ${why}`, {
    hint: 'Archive to a server of the same kind, or to files.',
  });
}

/** The source's own collation, else one that tells every two texts apart: those without padding first, since the others take `a` and `a ` for equal. */
function archiveCollation(characterSet: string, collation: string, collations: ReadonlySet<string>): string {
  const choices = [collation, `${characterSet}_nopad_bin`, `${characterSet}_0900_bin`, `${characterSet}_bin`];
  return choices.find((choice) => collations.has(choice)) ?? `${characterSet}_bin`;
}
