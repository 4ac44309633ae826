/**
 * viewer: status and runs with their messages · operator: also trigger, retry, cancel · admin: everything ·
 * `table:NAME` (or `table:*`): the archived rows of that table.
 */
export const fixedRoles = ['viewer', 'operator', 'admin'] as const;
export type FixedRole = (typeof fixedRoles)[number];
export type Role = FixedRole | `table:${string}`;

/** Who asks, once it has been proved. */
export interface Principal {
  /** Client id, or `trigger` for the trigger's own token. */
  readonly name: string;
  readonly roles: ReadonlySet<Role>;
  /** Holder of the trigger's token: may use `trigger` routes, and nothing else. */
  readonly triggerOnly?: true;
}

/** What a route asks for. */
export type Access =
  | 'public'
  /** Open unless TRIGGER_TOKEN_FILE or JWT_SECRET_KEY_FILE is set; then the token, or a JWT with operator. */
  | 'trigger'
  /** This role or one above it. */
  | FixedRole
  /** admin, or the role of the table that the path parameter `table` names. */
  | 'table';

const above: Readonly<Record<FixedRole, readonly FixedRole[]>> = {
  viewer: ['viewer', 'operator', 'admin'],
  operator: ['operator', 'admin'],
  admin: ['admin'],
};

/** True if the roles give access; for `public` and `trigger` that is not a question of roles alone. */
export function allows(access: FixedRole | 'table', roles: ReadonlySet<Role>, table: string | null): boolean {
  if (access !== 'table') return above[access].some((role) => roles.has(role));
  return roles.has('admin') || roles.has('table:*') || (table !== null && roles.has(`table:${table}`));
}
