import { type GrantScope, mayHave } from '@tableset/common/database/grants.ts';
import { quoteIdentifier, quoteString, quoteTable } from '@tableset/common/database/quoting.ts';
import type { ArchiveTask, StoreSettings } from '../../config/archive-config.ts';

/** Privileges on one thing. */
export interface NeededRight {
  readonly privileges: readonly string[];
  readonly on: GrantScope;
  /** What to grant them on where that is more. */
  readonly grantOn?: GrantScope;
}

export interface RightsQuestion {
  /** The primary's schema. */
  readonly schema: string;
  readonly tasks: readonly ArchiveTask[];
  readonly stores: readonly StoreSettings[];
  /** Works as one of several workers. */
  readonly shards: boolean;
  /** Names of tables that are in an archive's schema, in lower case; null if that is not known. */
  archived(schema: string): ReadonlySet<string> | null;
}

/**
 * What an archive run will need beyond reading: on the primary, and on archives that its own account reaches there. Rights that only what seldom happens takes are
 * left out: whoever holds them back on purpose may go on.
 */
export function neededRights({ schema, tasks, stores, shards, archived }: RightsQuestion): readonly NeededRight[] {
  const needed: NeededRight[] = [];
  const add = (privileges: readonly string[], on: GrantScope, grantOn = on) => needed.push({ privileges, on, grantOn });
  for (const task of tasks) {
    for (const table of [task.table, ...task.children.map((child) => child.table)]) add(['DELETE'], { schema, table });
  }
  add(['INSERT', 'UPDATE', 'DELETE'], { schema, table: 'tableset_batches' });
  add(['INSERT', 'UPDATE'], { schema, table: 'tableset_tables' });
  add(['INSERT', 'UPDATE'], { schema, table: 'tableset_runs' });
  if (shards) add(['INSERT', 'UPDATE', 'DELETE'], { schema, table: 'tableset_shards' });
  for (const task of tasks) {
    const store = stores.find(({ name }) => name === task.store);
    // A server that is named has an account of its own, and may still be this one.
    if (!store || (store.kind === 'mysql' && store.server !== null)) continue;
    if (store.kind !== 'mysql' || task.deleteDelaySeconds > 0) add(['CREATE TEMPORARY TABLES'], { schema });
    if (store.kind !== 'mysql') continue;
    const names = [task, ...task.children].map(({ archiveTable, table }) => archiveTable ?? table);
    const there = archived(store.schema);
    for (const table of [...names, 'tableset_manifests']) {
      const makes = there !== null && !there.has(table.toLowerCase()) ? ['CREATE'] : [];
      add(['SELECT', 'INSERT', ...makes], { schema: store.schema, table }, { schema: store.schema });
    }
  }
  return needed;
}

/**
 * Statements that grant what is plainly lacking, one for each table and one for an archive's schema.
 * @param account `user@host` as the server has it
 */
export function missingGrants(
  grants: readonly string[],
  needed: readonly NeededRight[],
  account: string,
): readonly string[] {
  const missing = new Map<string, Set<string>>();
  for (const { privileges, on, grantOn = on } of needed) {
    const lacks = privileges.filter((privilege) => !mayHave(grants, privilege, on));
    if (lacks.length === 0) continue;
    const place = placeOf(grantOn);
    const known = missing.get(place) ?? new Set<string>();
    missing.set(place, known);
    for (const each of lacks) known.add(each);
  }
  const at = account.lastIndexOf('@');
  const to = `${quoteString(account.slice(0, at))}@${quoteString(account.slice(at + 1))}`;
  return Array.from(missing, ([place, privileges]) => `GRANT ${[...privileges].join(', ')} ON ${place} TO ${to}`);
}

function placeOf({ schema, table }: GrantScope): string {
  if (schema === undefined) return '*.*';
  return table === undefined ? `${quoteIdentifier(schema)}.*` : quoteTable(schema, table);
}
