import type { Connection } from '@tableset/common/database/connection.ts';
import type { TableDefinition } from '@tableset/common/database/table-definition.ts';
import type { RestoreTarget } from '../core/archive/restore-sql.ts';
import type { ArchivedRow } from './choose-rows.ts';
import type { Conflict } from './conflicts.ts';
import { differingColumns, existingRows, uniqueConflicts } from './existing-rows.ts';
import { missingParents } from './missing-parents.ts';

export interface Comparison {
  /** Rows that would be written, those in the place of others included. */
  readonly restored: number;
  readonly overwritten: number;
  readonly unchanged: number;
  /** Rows that would not. */
  readonly refused: number;
  readonly conflicts: readonly Conflict[];
}

export interface ComparisonOptions {
  /** For people. */
  readonly table: string;
  readonly overwrite: boolean;
  /** Tables whose rows come back along. */
  readonly alongside: readonly string[];
  readonly referenced: (schema: string, table: string) => Promise<TableDefinition | null>;
}

/** Compares archived rows with the table that they are to go into; writes and locks nothing. */
export async function compareRows(
  connection: Connection,
  target: RestoreTarget,
  rows: readonly ArchivedRow[],
  options: ComparisonOptions,
): Promise<Comparison> {
  const { table, overwrite, alongside, referenced } = options;
  const conflicts: Conflict[] = [];
  const refused = new Set<string>();
  const existing = await existingRows(connection, target, rows, false);
  const differing = rows.filter((row) => {
    const other = existing.get(row.key);
    return other !== undefined && (other.hash !== row.hash || other.key !== row.key);
  });
  for (const row of differing) {
    conflicts.push({ table, key: existing.get(row.key)?.key ?? row.key, index: null });
    if (!overwrite) refused.add(row.key);
    else {
      const followers = await followersOf(connection, target, row);
      if (followers === null) continue;
      conflicts.push({ table, key: row.key, index: null, followers });
      refused.add(row.key);
    }
  }
  const written = rows.filter((row) => !existing.has(row.key) || (overwrite && differing.includes(row)));
  const others = await uniqueConflicts(connection, target, written);
  conflicts.push(...others.map(({ index, key }) => ({ table, key, index })));
  for (const { key, parent } of await missingParents(connection, target, written, alongside, referenced)) {
    conflicts.push({ table, key, index: null, parent });
    refused.add(key);
  }
  // Which of the rows the others are in the way of, only the server's collations tell: as many are counted.
  const accepted = written.filter(({ key }) => !refused.has(key)).slice(others.length);
  const unchanged = existing.size - differing.length;
  return {
    restored: accepted.length,
    overwritten: accepted.filter(({ key }) => existing.has(key)).length,
    unchanged,
    refused: rows.length - accepted.length - unchanged,
    conflicts,
  };
}

/** Tables whose rows the server would change along with a row that is overwritten, by ON UPDATE; null if none. */
async function followersOf(connection: Connection, target: RestoreTarget, row: ArchivedRow): Promise<string | null> {
  const following = target.definition.referencedBy.filter(
    ({ onUpdate }) => !/^(?:RESTRICT|NO ACTION)$/i.test(onUpdate),
  );
  if (following.length === 0) return null;
  const columns = await differingColumns(connection, target, row);
  const hit = following.filter(({ referencedColumns }) => referencedColumns.some((name) => columns?.includes(name)));
  return hit.length === 0 ? null : Array.from(new Set(hit.map(({ table }) => table))).join(', ');
}
