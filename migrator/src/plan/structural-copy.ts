import type { Connection } from '@tableset/common/database/connection.ts';
import { serverErrno } from '@tableset/common/database/errno.ts';
import { quoteIdentifier, quoteTable } from '@tableset/common/database/quoting.ts';
import { classifyStatement } from '../core/classify-statement.ts';

/** What makes the objects of a schema anew elsewhere, in an order that works but for views, which may need each other. */
export interface Structure {
  readonly tables: readonly Definition[];
  readonly views: readonly Definition[];
  readonly programs: readonly Definition[];
  /** Left out, with the reason: they would reach beyond the copy, or cannot be read. */
  readonly leftOut: readonly { readonly name: string; readonly reason: string }[];
}

interface Definition {
  readonly name: string;
  readonly statement: string;
}

/** Reads the definitions of everything in the connection's schema, without rows. The schema must be the default one. */
export async function readStructure(connection: Connection): Promise<Structure> {
  const schema = connection.settings.name;
  const tables: Definition[] = [];
  const views: Definition[] = [];
  const programs: Definition[] = [];
  const leftOut: { name: string; reason: string }[] = [];
  const add = async (list: Definition[], kind: string, column: RegExp, name: string) => {
    const statement = await show(connection, kind, column, name);
    if (statement === null)
      leftOut.push({ name, reason: 'its definition cannot be read with the grants of this account' });
    else if (kind !== 'TABLE' && classifyStatement(statement).leaves.some((leave) => leave !== 'CREATE EVENT')) {
      leftOut.push({ name, reason: 'it names another schema, or this one, explicitly' });
    } else list.push({ name, statement });
  };
  for (const { name, type } of await namesOf(
    connection,
    schema,
    'TABLES',
    'TABLE_SCHEMA',
    'TABLE_NAME',
    'TABLE_TYPE',
  )) {
    if (/VIEW/.test(type)) await add(views, 'VIEW', /^create view$/i, name);
    else await add(tables, 'TABLE', /^create table$/i, name);
  }
  const routines = await namesOf(connection, schema, 'ROUTINES', 'ROUTINE_SCHEMA', 'ROUTINE_NAME', 'ROUTINE_TYPE');
  for (const { name, type } of routines) {
    if (type === 'PROCEDURE' || type === 'FUNCTION') await add(programs, type, /^create (procedure|function)$/i, name);
  }
  const triggers = await namesOf(
    connection,
    schema,
    'TRIGGERS',
    'TRIGGER_SCHEMA',
    'TRIGGER_NAME',
    'EVENT_MANIPULATION',
  );
  for (const { name } of triggers) await add(programs, 'TRIGGER', /^sql original statement$/i, name);
  return { tables, views, programs, leftOut };
}

/** Makes the structure in the default schema, foreign keys unchecked. @returns what could not be made, with the server's word */
export async function makeStructure(
  connection: Connection,
  structure: Structure,
): Promise<readonly { readonly name: string; readonly reason: string }[]> {
  const failed: { name: string; reason: string }[] = [];
  for (const { statement } of structure.tables) await connection.run(statement);
  let waiting = [...structure.views];
  for (let before = -1; waiting.length > 0 && waiting.length !== before; ) {
    before = waiting.length;
    const still: Definition[] = [];
    for (const view of waiting) if (!(await made(connection, view))) still.push(view);
    waiting = still;
  }
  for (const { name } of waiting) failed.push({ name, reason: 'it needs what is not in the copy' });
  for (const program of structure.programs) {
    if (!(await made(connection, program)))
      failed.push({ name: program.name, reason: 'it needs what is not in the copy' });
  }
  return failed;
}

async function made(connection: Connection, { statement }: Definition): Promise<boolean> {
  try {
    await connection.run(withoutDefiner(statement));
    return true;
  } catch (error) {
    if (serverErrno(error) === null || connection.lost) throw error;
    return false;
  }
}

/** Without its definer the object belongs to this account, which may not make objects of others. */
function withoutDefiner(statement: string): string {
  return statement.replace(/\bDEFINER\s*=\s*(`(?:[^`]|``)*`|'[^']*'|\S+?)@(`(?:[^`]|``)*`|'[^']*'|\S+)\s/i, '');
}

async function namesOf(
  connection: Connection,
  schema: string,
  table: string,
  schemaColumn: string,
  nameColumn: string,
  typeColumn: string,
): Promise<readonly { readonly name: string; readonly type: string }[]> {
  const rows = await connection.rows(
    `SELECT ${nameColumn} AS name, ${typeColumn} AS type FROM information_schema.${table} WHERE ${schemaColumn} = ? ORDER BY 1`,
    [schema],
  );
  const all = rows.map((row) => ({ name: String(row['name']), type: String(row['type']) }));
  return all.filter(({ name }) => !name.startsWith('tableset_'));
}

async function show(connection: Connection, kind: string, column: RegExp, name: string): Promise<string | null> {
  // A view shows its own schema's names unqualified only where that schema is the default one.
  const object = kind === 'VIEW' ? quoteIdentifier(name) : quoteTable(connection.settings.name, name);
  const row = await connection.row(`SHOW CREATE ${kind} ${object}`);
  const found = Object.entries(row ?? {}).find(([key]) => column.test(key));
  return found?.[1] === null || found?.[1] === undefined ? null : String(found[1]);
}
