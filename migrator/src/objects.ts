import type { Connection, Row } from '@tableset/common/database/connection.ts';
import { serverErrno } from '@tableset/common/database/errno.ts';
import { quoteIdentifier } from '@tableset/common/database/quoting.ts';
import type { DatabaseObject } from './step.ts';

/** Definitions of objects by `objectKey`, null for one that does not exist. */
export type Snapshot = Readonly<Record<string, string | null>>;

/** How each kind is shown, and the error numbers that say it is not there. */
const showKinds = {
  // SHOW CREATE TABLE shows views and sequences too, which share the namespace of tables.
  table: { statement: 'TABLE', missing: [1146, 1049] },
  view: { statement: 'TABLE', missing: [1146, 1049] },
  sequence: { statement: 'TABLE', missing: [1146, 1049] },
  procedure: { statement: 'PROCEDURE', missing: [1305, 1049] },
  function: { statement: 'FUNCTION', missing: [1305, 1049] },
  trigger: { statement: 'TRIGGER', missing: [1360, 1049] },
  event: { statement: 'EVENT', missing: [1539, 1049] },
} as const;

/** The key of an object in a snapshot: `table shop.orders`. Tables, views and sequences share one. */
export function objectKey(object: DatabaseObject): string {
  const kind = showKinds[object.kind].statement.toLowerCase();
  return `${kind} ${object.schema === null ? '' : `${object.schema}.`}${object.name}`;
}

/** The object as SQL names it. */
export function quotedObject(object: DatabaseObject): string {
  return object.schema === null
    ? quoteIdentifier(object.name)
    : `${quoteIdentifier(object.schema)}.${quoteIdentifier(object.name)}`;
}

/**
 * The normalised definitions of objects.
 * @returns null if one of them cannot be shown, so that nothing can be concluded from it later.
 */
export async function snapshotObjects(
  connection: Connection,
  objects: readonly DatabaseObject[],
): Promise<Snapshot | null> {
  const snapshot: Record<string, string | null> = {};
  for (const object of objects) {
    const definition = await showObject(connection, object);
    if (definition === undefined) return null;
    snapshot[objectKey(object)] = definition;
  }
  return snapshot;
}

/** The normalised definition, null if there is no such object, undefined if the server does not tell. */
async function showObject(connection: Connection, object: DatabaseObject): Promise<string | null | undefined> {
  const { statement, missing } = showKinds[object.kind];
  try {
    const row = await connection.row(`SHOW CREATE ${statement} ${quotedObject(object)}`);
    const definition = row === null ? undefined : definitionOf(row);
    return definition === undefined ? undefined : normaliseDefinition(definition);
  } catch (error) {
    const errno = serverErrno(error);
    if (errno === null) throw error;
    return missing.some((number) => number === errno) ? null : undefined;
  }
}

/** The column with the statement, whose name differs by kind; a routine whose body the account may not see has NULL there. */
function definitionOf(row: Row): string | undefined {
  for (const [column, value] of Object.entries(row)) {
    if (/^create |^sql original statement$/i.test(column)) return value === null ? undefined : String(value);
  }
  return undefined;
}

/** The definition without what changes by itself: the AUTO_INCREMENT counter. */
export function normaliseDefinition(definition: string): string {
  return definition.replace(/^(\).*?\bENGINE=\w+) AUTO_INCREMENT=\d+/m, '$1');
}

/** Whether two snapshots of the same objects are equal. */
export function sameSnapshot(a: Snapshot, b: Snapshot): boolean {
  const keys = new Set([...Object.keys(a), ...Object.keys(b)]);
  return [...keys].every((key) => a[key] === b[key]);
}
