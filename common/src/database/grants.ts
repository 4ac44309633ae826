import type { Connection } from './connection.ts';

/** SHOW GRANTS of the account, the roles in force included. */
export async function readGrants(connection: Connection): Promise<readonly string[]> {
  const rows = await connection.rows('SHOW GRANTS');
  return rows.map((row) => String(Object.values(row)[0]));
}

const identifier = '\\*|`(?:[^`]|``)+`';
const statement = new RegExp(`^(GRANT|REVOKE) (.+?) ON (?:TABLE )?(${identifier})\\.(${identifier}) (?:TO|FROM) `);

/**
 * Those of the wanted privileges that the account does not have on every table of the schema. Privileges on single tables do not
 * count, since they do not show what other tables there are. In doubt a privilege is missing.
 */
export function missingOnSchema(
  grants: readonly string[],
  schema: string,
  wanted: readonly string[],
): readonly string[] {
  const found: { level: 'global' | 'schema' | 'pattern'; verb: string; privileges: readonly string[] }[] = [];
  for (const line of grants) {
    const [, verb = '', list = '', pattern = '', table = ''] = statement.exec(line) ?? [];
    if (table !== '*') continue;
    const name = unquoted(pattern);
    const level = pattern === '*' ? 'global' : literal(name) === schema ? 'schema' : 'pattern';
    if (level === 'pattern' && !matches(name, schema)) continue;
    found.push({ level, verb, privileges: list.split(',').map((each) => each.trim().toUpperCase()) });
  }
  const named = found.some(({ level, verb }) => level === 'schema' && verb === 'GRANT');
  const held = new Set<string>();
  for (const { level, verb, privileges } of found) {
    // Only the most specific entry for a schema counts.
    if (verb === 'GRANT' && !(level === 'pattern' && named)) for (const each of privileges) held.add(each);
  }
  for (const { verb, privileges } of found) {
    if (verb !== 'REVOKE') continue;
    for (const each of [...privileges, 'ALL PRIVILEGES']) held.delete(each);
  }
  return held.has('ALL PRIVILEGES') ? [] : wanted.filter((privilege) => !held.has(privilege));
}

/** What a privilege is needed on: a table, or every table of a schema where there is no name; neither: the server. */
export interface GrantScope {
  readonly schema?: string;
  readonly table?: string;
}

/**
 * False only if it is plain from the grants that the account lacks the privilege there: in doubt it may have it. Of some columns counts as of all, and names as
 * equal whatever their case.
 */
export function mayHave(grants: readonly string[], privilege: string, { schema, table }: GrantScope): boolean {
  const names = (list: string) => {
    const privileges = list.split(/,(?![^(]*\))/).map((each) => each.replace(/\(.*/, '').trim().toUpperCase());
    return privileges.includes(privilege) || privileges.some((each) => each === 'ALL' || each === 'ALL PRIVILEGES');
  };
  const found = grants.map((line) => {
    const [, verb = '', list = '', onSchema = '', onTable = ''] = statement.exec(line) ?? [];
    return { verb, onSchema, onTable, fits: names(list) };
  });
  const isSchema = (pattern: string) =>
    schema !== undefined && matches(unquoted(pattern).toLowerCase(), schema.toLowerCase());
  return found.some(({ verb, onSchema, onTable, fits }) => {
    if (verb !== 'GRANT' || !fits) return false;
    if (onSchema === '*') return !found.some((each) => each.verb === 'REVOKE' && each.fits && isSchema(each.onSchema));
    if (!isSchema(onSchema)) return false;
    return onTable === '*' || (table !== undefined && unquoted(onTable).toLowerCase() === table.toLowerCase());
  });
}

function unquoted(name: string): string {
  return name.slice(1, -1).replaceAll('``', '`');
}

function literal(pattern: string): string {
  return pattern.replaceAll(/\\([\\%_])/g, '$1');
}

/** Schema names in GRANT are patterns: `%` any text, `_` any character, a backslash before either makes it plain. */
function matches(pattern: string, schema: string): boolean {
  const source = pattern.replaceAll(/\\?[\s\S]/g, (part) => {
    if (part === '%') return '.*';
    if (part === '_') return '.';
    return (part.length === 2 ? part.slice(1) : part).replace(/[.*+?^${}()|[\]\\]/, '\\$&');
  });
  return new RegExp(`^${source}$`, 's').test(schema);
}
