import type { TableDefinition } from '@tableset/common/database/table-definition.ts';

export type LoadOrder =
  | { readonly ok: true; readonly sets: readonly (readonly TableDefinition[])[] }
  /** Tables that reference each other in a circle, in its order. */
  | { readonly ok: false; readonly cycle: readonly string[] };

/**
 * Groups tables that foreign keys link, each group with parents before children; groups and unrelated tables keep the order
 * they came in. A table's reference to itself links nothing.
 */
export function loadOrder(tables: readonly TableDefinition[]): LoadOrder {
  const byName = new Map(tables.map((table) => [tableKey(table), table]));
  const parents = new Map(tables.map((table) => [table, parentsOf(table, byName)]));
  const sorted: TableDefinition[] = [];
  const state = new Map<TableDefinition, 'open' | 'done'>();
  const path: TableDefinition[] = [];
  const visit = (table: TableDefinition): readonly string[] | null => {
    if (state.get(table) === 'done') return null;
    if (state.get(table) === 'open') return path.slice(path.indexOf(table)).map((member) => member.name);
    state.set(table, 'open');
    path.push(table);
    for (const parent of parents.get(table) ?? []) {
      const cycle = visit(parent);
      if (cycle) return cycle;
    }
    path.pop();
    state.set(table, 'done');
    sorted.push(table);
    return null;
  };
  for (const table of tables) {
    const cycle = visit(table);
    if (cycle) return { ok: false, cycle };
  }
  return { ok: true, sets: linkedSets(tables, sorted, parents) };
}

function parentsOf(table: TableDefinition, byName: ReadonlyMap<string, TableDefinition>): readonly TableDefinition[] {
  const found = table.foreignKeys.map((key) => byName.get(`${key.referencedSchema}.${key.referencedTable}`));
  return found.filter((parent) => parent !== undefined && parent !== table) as TableDefinition[]; // undefined is filtered out
}

function tableKey(table: TableDefinition): string {
  return `${table.schema}.${table.name}`;
}

function linkedSets(
  tables: readonly TableDefinition[],
  sorted: readonly TableDefinition[],
  parents: ReadonlyMap<TableDefinition, readonly TableDefinition[]>,
): readonly (readonly TableDefinition[])[] {
  const leader = new Map<TableDefinition, TableDefinition>(tables.map((table) => [table, table]));
  const find = (table: TableDefinition): TableDefinition => {
    const next = leader.get(table) ?? table;
    return next === table ? table : find(next);
  };
  for (const [table, above] of parents) {
    for (const parent of above) leader.set(find(table), find(parent));
  }
  const sets = Map.groupBy(sorted, find);
  return tables
    .map((table) => find(table))
    .filter((root, index, all) => all.indexOf(root) === index)
    .map((root) => sets.get(root) ?? []);
}
