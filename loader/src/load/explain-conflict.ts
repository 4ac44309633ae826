import type { Connection, Row } from '@tableset/common/database/connection.ts';
import { classifyFault, serverErrno } from '@tableset/common/database/errno.ts';
import { clashingRows, orphanRows } from '../core/conflict-sql.ts';
import type { LoadTarget } from '../core/load-sql.ts';
import { loaderError } from '../errors.ts';

/** Rows that a message names. */
const namedMax = 3;

/** One row in a message: `id=7 country=XX`. */
export function describeRow(row: Row): string {
  return Object.entries(row)
    .map(([name, value]) => `${name}=${Buffer.isBuffer(value) ? `0x${value.toString('hex')}` : value}`)
    .join(' ');
}

/** The documented error for what a table's own constraints refused, with the rows at fault by name. Anything else comes back as it is. */
export async function explainConflict(
  error: unknown,
  target: LoadTarget,
  connection: Connection,
  doing: string,
): Promise<unknown> {
  const errno = serverErrno(error);
  if (errno === null || connection.lost) return error;
  const said = error instanceof Error ? error.message : String(error);
  const fail = (code: Parameters<typeof loaderError>[0], rows: readonly string[], hint?: string) =>
    loaderError(
      code,
      `${target.definition.name}: ${doing}: ${said}${rows.length > 0 ? `; rows such as ${rows.join('; ')}` : ''}`,
      { cause: error, ...(hint ? { hint } : {}) },
    );
  if (classifyFault(error) === 'duplicate-key')
    return fail('LOAD_UNIQUE_CONFLICT', await findClashes(target, connection));
  if (errno === 1452 || errno === 1216) return fail('LOAD_FOREIGN_KEY', await findOrphans(target, connection, []));
  if (errno === 1451 || errno === 1217)
    return fail('LOAD_FOREIGN_KEY', [], 'Rows of another table still refer to rows that the source no longer has.');
  if (errno === 3819 || errno === 4025) return fail('LOAD_CHECK_FAILED', []);
  return error;
}

async function findClashes(target: LoadTarget, connection: Connection): Promise<readonly string[]> {
  const fed = new Set(target.columns.map((column) => column.name));
  const indexes = target.definition.indexes.filter(
    ({ unique, parts }) => unique && parts.every(({ column }) => column !== null && fed.has(column)),
  );
  const rows: string[] = [];
  for (const index of indexes)
    rows.push(...(await connection.rows(clashingRows(target, index, namedMax))).map(describeRow));
  return rows.slice(0, namedMax);
}

/**
 * Staged rows that refer to rows which exist neither in the table referred to nor among what is staged of it.
 * @param staged targets of the same set that were staged before; empty once they were published
 */
export async function findOrphans(
  target: LoadTarget,
  connection: Connection,
  staged: readonly (LoadTarget | null)[],
): Promise<readonly string[]> {
  const fed = new Set(target.columns.map((column) => column.name));
  const rows: string[] = [];
  for (const reference of target.definition.foreignKeys) {
    const { referencedSchema, referencedTable } = reference;
    if (!reference.columns.every((name) => fed.has(name))) continue;
    const isSame = (definition: LoadTarget['definition']) =>
      definition.schema === referencedSchema && definition.name === referencedTable;
    // A server opens a temporary table once a statement, so what a table stages of itself cannot be looked up here.
    if (isSame(target.definition)) continue;
    const parent = staged.find((each) => each !== null && isSame(each.definition)) ?? null;
    rows.push(
      ...(await connection.rows(orphanRows(target, reference, parent, namedMax))).map(
        (row) => `${describeRow(row)} (${referencedTable} has no such row)`,
      ),
    );
  }
  return rows.slice(0, namedMax);
}
