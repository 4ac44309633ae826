import type { TableDefinition } from '@tableset/common/database/table-definition.ts';
import { AppError } from '@tableset/common/errors.ts';
import type { ArchiveTask } from '../config/archive-config.ts';
import type { ArchiveSet } from '../core/archive/archive-set.ts';
import type { ManifestTable } from '../core/archive/manifest.ts';
import { buildSet } from '../core/archive/table-set.ts';

/** How a table's rows belong to those of one before it. */
export interface RowLink {
  /** Place of the parent in the manifest. */
  readonly parent: number;
  readonly columns: readonly string[];
  readonly parentColumns: readonly string[];
}

/**
 * The set as archiving links it now; null if it does not hang together any more, which does not stop a restore: foreign keys then have
 * to do.
 */
export async function currentSet(
  task: ArchiveTask,
  definition: (table: string) => Promise<TableDefinition>,
): Promise<ArchiveSet | null> {
  try {
    const children: TableDefinition[] = [];
    for (const { table } of task.children) children.push(await definition(table));
    return buildSet(task, await definition(task.table), children);
  } catch (error) {
    if (error instanceof AppError && error.code === 'ARCHIVE_TABLE_UNSUITABLE') return null;
    throw error;
  }
}

/**
 * The links of one child of a batch to the tables before it: as the set has it, else its foreign keys as they are now.
 * @param definition of the child on the primary
 * @returns empty if nothing tells which of its rows belong to which parents
 */
export function childLinks(
  tables: readonly ManifestTable[],
  place: number,
  set: ArchiveSet | null,
  definition: TableDefinition,
): readonly RowLink[] {
  const child = tables[place];
  if (!child) return [];
  const before = tables.slice(0, place);
  const member = set?.tables.find((table) => table.definition.name === child.table)?.child;
  const references = member
    ? [{ ...member, table: set?.tables[member.parent]?.definition.name }]
    : definition.foreignKeys
        .filter((key) => key.referencedSchema === definition.schema)
        .map(({ columns, referencedColumns, referencedTable }) => ({
          columns,
          parentColumns: referencedColumns,
          table: referencedTable,
        }));
  return references.flatMap(({ columns, parentColumns, table }) => {
    const parent = before.findIndex((each) => each.table === table);
    const above = before[parent];
    // Archived rows may lack a column that links them today.
    return above && hasColumns(child, columns) && hasColumns(above, parentColumns)
      ? [{ parent, columns, parentColumns }]
      : [];
  });
}

function hasColumns(table: ManifestTable, names: readonly string[]): boolean {
  return names.every((name) => table.columns.some((column) => column.name === name));
}
