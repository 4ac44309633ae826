import type { Connection } from '@tableset/common/database/connection.ts';
import { classifyFault } from '@tableset/common/database/errno.ts';
import type {
  ColumnDefinition,
  ForeignKeyDefinition,
  TableDefinition,
} from '@tableset/common/database/table-definition.ts';
import type { Cell } from '../core/archive/canonical.ts';
import { cellText } from '../core/archive/restore-filter.ts';
import { findReferenced, foundColumns, type RestoreTarget } from '../core/archive/restore-sql.ts';
import type { ArchivedRow } from './choose-rows.ts';

/** Values looked up in one statement. */
const lookupValues = 500;

/** An archived row that cannot come in because the row that it refers to is not there. */
export interface MissingParent {
  /** Key of the archived row as JSON. */
  readonly key: string;
  /** The table that it refers to. */
  readonly parent: string;
}

/**
 * Rows whose parents are neither in their tables nor among what comes back with them. Tables that the account may not read are left to the
 * server's own check.
 * @param restored tables whose rows come back along; those are not looked into
 * @param find a table of the primary; null where it is not there or not to be seen
 */
export async function missingParents(
  connection: Connection,
  target: RestoreTarget,
  rows: readonly ArchivedRow[],
  restored: readonly string[],
  find: (schema: string, table: string) => Promise<TableDefinition | null>,
): Promise<readonly MissingParent[]> {
  const missing = new Map<string, MissingParent>();
  const { definition } = target;
  for (const reference of definition.foreignKeys) {
    const { referencedSchema, referencedTable } = reference;
    if (referencedSchema === definition.schema && [...restored, definition.name].includes(referencedTable)) continue;
    const parent = await find(referencedSchema, referencedTable);
    if (!parent) continue;
    const lookup = referenceLookup(reference, target, parent);
    if (!lookup) continue;
    for (let start = 0; start < rows.length; start += lookupValues) {
      const values = valuesOf(rows.slice(start, start + lookupValues), lookup);
      for (const key of await withoutParent(connection, lookup, values)) {
        missing.set(key, { key, parent: referencedTable });
      }
    }
  }
  return Array.from(missing.values());
}

interface ReferenceLookup {
  readonly parent: TableDefinition;
  readonly parentColumns: readonly ColumnDefinition[];
  readonly places: readonly number[];
  readonly binary: readonly boolean[];
}

/** Null if the reference is by columns that the archived rows do not have. */
function referenceLookup(
  reference: ForeignKeyDefinition,
  target: RestoreTarget,
  parent: TableDefinition,
): ReferenceLookup | null {
  const places = reference.columns.map((name) => target.columns.findIndex((column) => column.name === name));
  const parentColumns = reference.referencedColumns.flatMap((name) =>
    parent.columns.filter((column) => column.name === name),
  );
  if (places.includes(-1) || parentColumns.length !== places.length) return null;
  return { parent, parentColumns, places, binary: places.map((place) => target.binary[place] ?? false) };
}

interface ReferredValue {
  readonly cells: readonly Cell[];
  /** Of the rows that refer to it. */
  readonly keys: string[];
}

/** The distinct values that the rows refer to, by their texts; a NULL among them refers to nothing. */
function valuesOf(rows: readonly ArchivedRow[], { places, binary }: ReferenceLookup): Map<string, ReferredValue> {
  const values = new Map<string, ReferredValue>();
  for (const { row, key } of rows) {
    const cells = places.map((place) => row[place] ?? null);
    if (cells.includes(null)) continue;
    const text = JSON.stringify(cells.map((cell, at) => cellText(cell, binary[at] ?? false)));
    const known = values.get(text);
    if (known) known.keys.push(key);
    else values.set(text, { cells, keys: [key] });
  }
  return values;
}

/** Keys of the rows whose value the parent does not have. */
async function withoutParent(
  connection: Connection,
  lookup: ReferenceLookup,
  values: Map<string, ReferredValue>,
): Promise<readonly string[]> {
  if (values.size === 0) return [];
  try {
    const found = await findTexts(
      connection,
      lookup,
      Array.from(values.values(), ({ cells }) => cells),
    );
    if (found.length >= values.size) return [];
    for (const text of found) values.delete(text);
    const keys: string[] = [];
    // The parent may write the same value in another way, so that each of the rest is asked for by itself.
    for (const { cells, keys: own } of values.values()) {
      if ((await findTexts(connection, lookup, [cells])).length === 0) keys.push(...own);
    }
    return keys;
  } catch (error) {
    if (classifyFault(error) === 'grant-missing') return [];
    throw error;
  }
}

async function findTexts(
  connection: Connection,
  { parent, parentColumns, binary }: ReferenceLookup,
  cells: readonly (readonly Cell[])[],
): Promise<readonly string[]> {
  const { sql, values } = findReferenced(parent, parentColumns, cells);
  const rows = await connection.rows(sql, values);
  const texts = rows.map((row) =>
    JSON.stringify(
      parentColumns.map((_, place) => {
        const cell = row[foundColumns.key(place)] ?? null;
        return typeof cell === 'string' ? cell : cellText(cell, binary[place] ?? false);
      }),
    ),
  );
  // What is referred to need not be unique on MySQL.
  return Array.from(new Set(texts));
}
