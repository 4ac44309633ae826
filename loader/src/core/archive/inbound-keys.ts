import type { TableDefinition } from '@tableset/common/database/table-definition.ts';

/** A foreign key to a table from any schema, whether the account has a right on that schema or not. Both names are `schema/table`. */
export interface InboundKey {
  readonly child: string;
  readonly parent: string;
}

/**
 * The table, as `schema/table`, of a foreign key to this one that its definition does not list; null if it lists them all. Names of constraints are
 * left out, since servers make up the name that they give to InnoDB in several ways: a key that replaced another of the same table is in that table's own definition.
 */
export function findUnlisted(
  definition: Pick<TableDefinition, 'schema' | 'name' | 'referencedBy'>,
  keys: readonly InboundKey[],
  lowerCaseTableNames: number,
): string | null {
  const folded = (name: string) => (lowerCaseTableNames === 0 ? name : name.toLowerCase());
  const parent = folded(`${definition.schema}/${definition.name}`);
  const listed = definition.referencedBy.map(({ schema, table }) => folded(`${schema}/${table}`));
  for (const key of keys) {
    if (folded(key.parent) !== parent) continue;
    const at = listed.indexOf(folded(key.child));
    if (at < 0) return key.child;
    listed.splice(at, 1);
  }
  return null;
}
