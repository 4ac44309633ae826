import { quoteIdentifier, quoteList, quoteTable } from '@tableset/common/database/quoting.ts';
import type {
  ColumnDefinition,
  ForeignKeyDefinition,
  TableDefinition,
} from '@tableset/common/database/table-definition.ts';
import { keyHashExpression } from './archive/key-columns.ts';
import { stagedColumn } from './staged-column.ts';
import { isSpatialType } from './values/spatial.ts';

/** What the statements of one table's load are made of. */
export interface LoadTarget {
  readonly definition: TableDefinition;
  /** Columns that identify a row, in order. */
  readonly key: readonly string[];
  /** Columns that the source feeds, in the order of the load text; the key is among them. */
  readonly columns: readonly ColumnDefinition[];
  /** Number of this load within the run: it tells its temporary tables from the others'. */
  readonly ordinal: number;
  /** Rows to be inserted that are older than this were archived and stay out; null where nothing was archived. A number for an integer column. */
  readonly archived: { readonly dateColumn: string; readonly before: string | bigint } | null;
}

/** What happens to a key, as the key table records it. */
export const operations = { insert: 1, update: 2, delete: 3, held: 4, inserted: 5 } as const;

/** The column of the key table that says what happens to a key, quoted. */
export const operationColumn = quoteIdentifier('tableset_operation');

/** The target table, quoted. */
export function targetTable(target: LoadTarget): string {
  return quoteTable(target.definition.schema, target.definition.name);
}

/** The temporary table that the source is staged in, quoted. */
export function stageTable(target: LoadTarget): string {
  return quoteIdentifier(`tableset_stage_${target.ordinal}`);
}

/** The temporary table of keys and what happens to them, quoted. */
export function keyTable(target: LoadTarget): string {
  return quoteIdentifier(`tableset_keys_${target.ordinal}`);
}

/** The temporary table of the digest's buckets that differ, quoted. */
export function bucketTable(target: LoadTarget): string {
  return quoteIdentifier(`tableset_buckets_${target.ordinal}`);
}

/** The temporary table of what held rows are referred to by, quoted. */
export function heldTable(target: LoadTarget): string {
  return quoteIdentifier(`tableset_held_${target.ordinal}`);
}

/** Character set and collation of the target, so that columns without their own inherit the same. */
function tableCharset(target: LoadTarget): string {
  const { collation } = target.definition;
  return collation === null ? '' : ` DEFAULT CHARACTER SET ${collation.split('_')[0]} COLLATE ${collation}`;
}

/** Temporary, so that it is not replicated, needs no rights on the schema's tables, and goes with its session whatever happens. */
export function createStage(target: LoadTarget): string {
  const columns = target.columns.map((column) => stagedColumn(target.definition, column));
  return `CREATE TEMPORARY TABLE ${stageTable(target)} (${columns.join(', ')}, PRIMARY KEY (${quoteList(target.key)})) ENGINE=InnoDB${tableCharset(target)}`;
}

/** The key table: one row for each key that something happens to. */
export function createKeys(target: LoadTarget): string {
  const columns = target.columns
    .filter((column) => target.key.includes(column.name))
    .map((column) => stagedColumn(target.definition, column));
  return `CREATE TEMPORARY TABLE ${keyTable(target)} (${columns.join(', ')}, ${operationColumn} TINYINT NOT NULL, PRIMARY KEY (${quoteList(target.key)})) ENGINE=InnoDB${tableCharset(target)}`;
}

/** `a`.`id` = `b`.`id` AND … over the key. */
export function keysMatch(target: LoadTarget, left: string, right: string): string {
  return target.key.map((name) => `${left}.${quoteIdentifier(name)} = ${right}.${quoteIdentifier(name)}`).join(' AND ');
}

/**
 * True where two stored values are the very same bytes, NULL equal to NULL. `=` would call `a` and `A`, 1.0 and 1 (JSON), -0 and 0 equal.
 */
export function sameValue(column: ColumnDefinition, left: string, right: string): string {
  const name = quoteIdentifier(column.name);
  const a = `${left}.${name}`;
  const b = `${right}.${name}`;
  if (exactTypes.has(column.dataType)) return `${a} <=> ${b}`;
  if (column.dataType === 'enum' || column.dataType === 'set') return `${a} + 0 <=> ${b} + 0`;
  if (column.dataType === 'float' || column.dataType === 'double') {
    // `<=>` compares every bit but the sign of zero, which the angle has: ±π. A text rounds FLOAT, and not every server's shows the sign.
    return `(${a} <=> ${b} AND ATAN2(${a}, -1) <=> ATAN2(${b}, -1))`;
  }
  if (column.json && column.characterSet === null)
    return `CAST(CAST(${a} AS CHAR) AS BINARY) <=> CAST(CAST(${b} AS CHAR) AS BINARY)`;
  if (isSpatialType(column.dataType)) return `HEX(${a}) <=> HEX(${b})`;
  return `CAST(${a} AS BINARY) <=> CAST(${b} AS BINARY)`;
}

/** Types in which equal by `<=>` means stored equally. */
const exactTypes = new Set([
  'tinyint',
  'smallint',
  'mediumint',
  'int',
  'bigint',
  'decimal',
  'date',
  'datetime',
  'timestamp',
  'time',
  'year',
  'bit',
  'uuid',
  'inet4',
  'inet6',
]);

/**
 * Finds what is new and what differs: one pass over the stage, looking up the target by key. Keys differ too when their
 * collation calls them equal and their bytes are not.
 */
export function findUpserts(target: LoadTarget, mode: 'upsert' | 'insert' | 'mirror'): string {
  const isNew = `t.${quoteIdentifier(target.key[0] ?? '')} IS NULL`;
  const differs = `NOT (${target.columns.map((column) => sameValue(column, 's', 't')).join(' AND ')})`;
  const operation = target.archived
    ? `IF(${isOlder(target.archived)}, ${operations.held}, ${operations.insert})`
    : `${operations.insert}`;
  return `INSERT INTO ${keyTable(target)} (${quoteList(target.key)}, ${operationColumn}) SELECT ${target.key.map((name) => `s.${quoteIdentifier(name)}`).join(', ')}, IF(${isNew}, ${operation}, ${operations.update})
    FROM ${stageTable(target)} s LEFT JOIN ${targetTable(target)} t ON ${keysMatch(target, 's', 't')}
    WHERE ${mode === 'insert' ? isNew : `${isNew} OR ${differs}`}`;
}

/** Zero dates and zeros are no dates: archiving never takes such rows, so they are no rows that come back. */
function isOlder({ dateColumn, before }: NonNullable<LoadTarget['archived']>): string {
  const date = `s.${quoteIdentifier(dateColumn)}`;
  const isDate = typeof before === 'bigint' ? `${date} > 0` : `MONTH(${date}) > 0 AND DAYOFMONTH(${date}) > 0`;
  return `${isDate} AND ${date} < ?`;
}

/** Values of the placeholders of `findUpserts`. */
export function findUpsertsValues(target: LoadTarget): readonly (string | bigint)[] {
  return target.archived ? [target.archived.before] : [];
}

/** Finds the target's rows that the source no longer has, within the buckets that differ if there was a digest. */
export function findDeletes(target: LoadTarget, bucket: string | null): string {
  const within = bucket === null ? '' : ` AND ${bucket} IN (SELECT bucket FROM ${bucketTable(target)})`;
  return `INSERT INTO ${keyTable(target)} (${quoteList(target.key)}, ${operationColumn}) SELECT ${target.key.map((name) => `t.${quoteIdentifier(name)}`).join(', ')}, ${operations.delete}
    FROM ${targetTable(target)} t LEFT JOIN ${stageTable(target)} s ON ${keysMatch(target, 's', 't')}
    WHERE s.${quoteIdentifier(target.key[0] ?? '')} IS NULL${within}`;
}

/** A key that is to be updated although the bucket that its row in the table lies in agrees with the source, if there is one. */
export function findConfirmedUpdates(target: LoadTarget, bucket: string): string {
  return `SELECT ${target.key.map((name) => `t.${quoteIdentifier(name)}`).join(', ')} FROM ${keyTable(target)} k STRAIGHT_JOIN ${targetTable(target)} t ON ${keysMatch(target, 'k', 't')}
    WHERE k.${operationColumn} = ${operations.update} AND ${bucket} NOT IN (SELECT bucket FROM ${bucketTable(target)}) LIMIT 1`;
}

export function countOperations(target: LoadTarget): string {
  return `SELECT ${operationColumn} AS operation, COUNT(*) AS count FROM ${keyTable(target)} GROUP BY ${operationColumn}`;
}

/** Some keys of one operation, for the dry run's report. */
export function sampleKeys(target: LoadTarget, operation: number, limit: number): string {
  return `SELECT ${quoteList(target.key)} FROM ${keyTable(target)} WHERE ${operationColumn} = ${operation} ORDER BY ${quoteList(target.key)} LIMIT ${limit}`;
}

/** Deletes by key list, never by range. */
export function publishDeletes(target: LoadTarget): string {
  return `DELETE t FROM ${keyTable(target)} k STRAIGHT_JOIN ${targetTable(target)} t ON ${keysMatch(target, 'k', 't')} WHERE k.${operationColumn} = ${operations.delete}`;
}

/** Updates every fed column of the keys that differ, the key too: its bytes may differ where its collation calls it equal. */
export function publishUpdates(target: LoadTarget): string {
  const assignments = target.columns.map(
    (column) => `t.${quoteIdentifier(column.name)} = s.${quoteIdentifier(column.name)}`,
  );
  return `${updateJoin(target)} SET ${assignments.join(', ')} WHERE k.${operationColumn} = ${operations.update}`;
}

/**
 * First of two steps for swapped unique values: where a column of a further unique key changes, the nullable ones of them become NULL,
 * which clashes with nothing.
 * @param clashing the columns of further unique keys, at least one of them nullable
 */
export function clearUniques(target: LoadTarget, clashing: readonly ColumnDefinition[]): string {
  const changed = clashing.map((column) => `NOT (${sameValue(column, 's', 't')})`).join(' OR ');
  const nullable = clashing.filter((column) => column.nullable);
  return `${updateJoin(target)} SET ${nullable.map((column) => `t.${quoteIdentifier(column.name)} = NULL`).join(', ')} WHERE k.${operationColumn} = ${operations.update} AND (${changed})`;
}

/** First of two steps for JSON documents that the server calls equal although their text differs: they become another document. */
export function blankJson(target: LoadTarget, documents: readonly ColumnDefinition[]): string {
  const hidden = documents.map((column) => {
    const name = quoteIdentifier(column.name);
    return { name, changes: `(t.${name} = s.${name} AND NOT (${sameValue(column, 's', 't')}))` };
  });
  const blanks = hidden.map(({ name, changes }) => `t.${name} = IF(${changes}, CAST('"tableset"' AS JSON), t.${name})`);
  return `${updateJoin(target)} SET ${blanks.join(', ')} WHERE k.${operationColumn} = ${operations.update} AND (${hidden.map(({ changes }) => changes).join(' OR ')})`;
}

/** `UPDATE` of the keys, the stage and the target, joined. */
function updateJoin(target: LoadTarget): string {
  return `UPDATE ${keyTable(target)} k STRAIGHT_JOIN ${stageTable(target)} s ON ${keysMatch(target, 'k', 's')} STRAIGHT_JOIN ${targetTable(target)} t ON ${keysMatch(target, 'k', 't')}`;
}

export function publishInserts(target: LoadTarget): string {
  const names = target.columns.map((column) => column.name);
  return `INSERT INTO ${targetTable(target)} (${quoteList(names)}) SELECT ${names.map((name) => `s.${quoteIdentifier(name)}`).join(', ')}
    FROM ${keyTable(target)} k STRAIGHT_JOIN ${stageTable(target)} s ON ${keysMatch(target, 'k', 's')} WHERE k.${operationColumn} = ${operations.insert}`;
}

/** Inserts the rows whose parents in the same table are there, are themselves, or are NULL. */
export function insertableChildren(target: LoadTarget, references: readonly ForeignKeyDefinition[]): string {
  const joins = references.map((reference, index) => {
    const match = reference.columns.map(
      (name, part) =>
        `p${index}.${quoteIdentifier(reference.referencedColumns[part] ?? '')} = s.${quoteIdentifier(name)}`,
    );
    return ` LEFT JOIN ${targetTable(target)} p${index} ON ${match.join(' AND ')}`;
  });
  const allowed = references.map((reference, index) => {
    const nulls = reference.columns.map((name) => `s.${quoteIdentifier(name)} IS NULL`);
    const itself = reference.columns.map(
      (name, part) => `s.${quoteIdentifier(name)} = s.${quoteIdentifier(reference.referencedColumns[part] ?? '')}`,
    );
    return `(${nulls.join(' OR ')} OR (${itself.join(' AND ')}) OR p${index}.${quoteIdentifier(reference.referencedColumns[0] ?? '')} IS NOT NULL)`;
  });
  const [select, where] = publishInserts(target).split(' WHERE ');
  return `${select}${joins.join('')} WHERE ${where} AND ${allowed.join(' AND ')}`;
}

/** Takes the keys that are in the table now off the list of inserts. */
export function markInserted(target: LoadTarget): string {
  return `UPDATE ${keyTable(target)} k STRAIGHT_JOIN ${targetTable(target)} t ON ${keysMatch(target, 'k', 't')} SET k.${operationColumn} = ${operations.inserted} WHERE k.${operationColumn} = ${operations.insert}`;
}

/** Deletes the listed rows that no row of the same table refers to, which a row itself may do. */
export function deletableChildren(target: LoadTarget, references: readonly ForeignKeyDefinition[]): string {
  const referring = references.map((reference, index) => {
    const match = reference.columns.map(
      (name, part) =>
        `c${index}.${quoteIdentifier(name)} = t.${quoteIdentifier(reference.referencedColumns[part] ?? '')}`,
    );
    return ` LEFT JOIN ${targetTable(target)} c${index} ON ${match.join(' AND ')}`;
  });
  const free = references.map((reference, index) => `c${index}.${quoteIdentifier(reference.columns[0] ?? '')} IS NULL`);
  return `DELETE t FROM ${keyTable(target)} k STRAIGHT_JOIN ${targetTable(target)} t ON ${keysMatch(target, 'k', 't')}${referring.join('')}
    WHERE k.${operationColumn} = ${operations.delete} AND ${free.join(' AND ')}`;
}

/** Takes away what the listed rows refer to within their table, where that may be NULL: InnoDB deletes no row that refers to itself. */
export function forgetReferences(target: LoadTarget, references: readonly ForeignKeyDefinition[]): string | null {
  const nullable = new Set(target.definition.columns.filter((column) => column.nullable).map((column) => column.name));
  const columns = references.flatMap((reference) => reference.columns.filter((name) => nullable.has(name)).slice(0, 1));
  if (columns.length === 0) return null;
  return `UPDATE ${keyTable(target)} k STRAIGHT_JOIN ${targetTable(target)} t ON ${keysMatch(target, 'k', 't')}
    SET ${columns.map((name) => `t.${quoteIdentifier(name)} = NULL`).join(', ')} WHERE k.${operationColumn} = ${operations.delete}`;
}

/**
 * Marks as held the rows to be inserted whose parent is not in its table and is itself held: a parent that is missing for any other
 * reason stays an error of the foreign key.
 */
export function holdOrphans(target: LoadTarget, reference: ForeignKeyDefinition, parent: LoadTarget): string {
  const to = (alias: string) =>
    reference.columns
      .map(
        (name, part) =>
          `${alias}.${quoteIdentifier(reference.referencedColumns[part] ?? '')} = s.${quoteIdentifier(name)}`,
      )
      .join(' AND ');
  return `UPDATE ${keyTable(target)} k STRAIGHT_JOIN ${stageTable(target)} s ON ${keysMatch(target, 'k', 's')}
    STRAIGHT_JOIN ${stageTable(parent)} q ON ${to('q')} STRAIGHT_JOIN ${keyTable(parent)} h ON ${keysMatch(parent, 'h', 'q')}
    SET k.${operationColumn} = ${operations.held} WHERE k.${operationColumn} = ${operations.insert} AND h.${operationColumn} = ${operations.held}`;
}

/** The temporary table of the keys that were archived row by row, quoted. */
export function archivedKeyTable(target: LoadTarget): string {
  return quoteIdentifier(`tableset_archived_${target.ordinal}`);
}

/** Lists the hashes of the keys of the batches that `where` chooses: each has one row. */
export function listArchivedKeys({ definition, ...target }: LoadTarget, where: string): string {
  return `INSERT INTO ${archivedKeyTable({ definition, ...target })} (key_hash) SELECT DISTINCT UNHEX(SHA2(first_key, 256)) FROM ${quoteTable(definition.schema, 'tableset_batches')} WHERE ${where}`;
}

/** Marks as held the rows to be inserted whose primary key is listed; null if the source does not feed all of it. */
export function holdArchivedKeys(target: LoadTarget): string | null {
  const primary = target.definition.indexes.find(({ name }) => name === 'PRIMARY');
  const key = (primary?.parts ?? []).flatMap((part) => target.columns.find(({ name }) => name === part.column) ?? []);
  if (primary === undefined || key.length < primary.parts.length) return null;
  return `UPDATE ${keyTable(target)} k STRAIGHT_JOIN ${stageTable(target)} s ON ${keysMatch(target, 'k', 's')} STRAIGHT_JOIN ${archivedKeyTable(target)} a ON a.key_hash = ${keyHashExpression(key, 's')}
    SET k.${operationColumn} = ${operations.held} WHERE k.${operationColumn} = ${operations.insert}`;
}

/** The values by which rows of the same table would refer to the rows that are held now. */
export function createHeld(target: LoadTarget, reference: ForeignKeyDefinition): string {
  const names = reference.referencedColumns.map((name) => `s.${quoteIdentifier(name)}`);
  return `CREATE TEMPORARY TABLE ${heldTable(target)} ENGINE=InnoDB SELECT ${names.join(', ')} FROM ${keyTable(target)} k STRAIGHT_JOIN ${stageTable(target)} s ON ${keysMatch(target, 'k', 's')} WHERE k.${operationColumn} = ${operations.held}`;
}

/** Marks as held the rows to be inserted that refer to a held row of the same table. */
export function holdChildrenOfHeld(target: LoadTarget, reference: ForeignKeyDefinition): string {
  const match = reference.columns.map(
    (name, part) => `h.${quoteIdentifier(reference.referencedColumns[part] ?? '')} = s.${quoteIdentifier(name)}`,
  );
  return `UPDATE ${keyTable(target)} k STRAIGHT_JOIN ${stageTable(target)} s ON ${keysMatch(target, 'k', 's')} STRAIGHT_JOIN ${heldTable(target)} h ON ${match.join(' AND ')}
    SET k.${operationColumn} = ${operations.held} WHERE k.${operationColumn} = ${operations.insert}`;
}

/** How the load text is read: never the session's or the server's defaults. */
export function loadDataClauses(separator: number): string {
  const character = separator === 9 ? '\\t' : String.fromCharCode(separator);
  return `CHARACTER SET utf8mb4 FIELDS TERMINATED BY '${character}' ENCLOSED BY '' ESCAPED BY '\\\\' LINES STARTING BY '' TERMINATED BY '\\n'`;
}
