import { AppError, commonError } from '../errors.ts';
import type { DatabaseSettings } from '../settings/database.ts';
import { classifyFault, serverErrno } from './errno.ts';

interface FailureContext {
  readonly settings: DatabaseSettings;
  /** The statement that failed, or null while connecting. */
  readonly statement: string | null;
  /** The connection was lost before the statement was sent. */
  readonly lost?: boolean;
}

/** Turns what mysql2 or the server threw into the documented error: names host, account, schema or statement, never the password. */
export function databaseFailure(error: unknown, context: FailureContext): AppError {
  if (error instanceof AppError) return error;
  const { host, port, user, name } = context.settings;
  const where = `${host}:${port}`;
  const errno = serverErrno(error);
  const said = `${errno === null ? '' : `${errno} `}${error instanceof Error ? error.message : String(error)}`;
  const options = {
    cause: error,
    details: {
      ...(errno === null ? {} : { errno }),
      ...(context.statement === null ? {} : { statement: excerpt(context.statement) }),
    },
  };
  const during = context.statement === null ? '' : ` in: ${excerpt(context.statement)}`;
  switch (classifyFault(error)) {
    case 'access-denied':
      return commonError('DATABASE_ACCESS_DENIED', `${where} refused user ${user} (${errno})`, options);
    case 'unknown-schema':
      return commonError('DATABASE_UNKNOWN', `schema ${name} does not exist on ${where}`, options);
    case 'grant-missing':
      return commonError(
        'DATABASE_GRANT_MISSING',
        context.statement === null
          ? `user ${user} has no rights on schema ${name} on ${where}, or it does not exist (${errno})`
          : `${said}${during}`,
        options,
      );
    case 'tls':
      return commonError('DATABASE_TLS', `TLS with ${where}: ${said}`, options);
    case 'too-many-connections':
      return commonError('DATABASE_UNREACHABLE', `${where} has no room for another connection (${errno})`, options);
    case 'connection-lost':
      return context.statement === null
        ? commonError('DATABASE_UNREACHABLE', `${where} does not answer (${said})`, options)
        : commonError(
            'DATABASE_LOST',
            `the connection to ${where} was lost${context.lost ? ' before' : during || ' in a statement'} (${said})`,
            options,
          );
    case 'read-only':
      return commonError('DATABASE_READ_ONLY', `${where} is read-only (${said})`, options);
    case 'deadlock':
    case 'lock-wait':
    case 'interrupted':
      return commonError('DATABASE_BUSY', `${said}${during}`, options);
    case 'disk-full':
      return commonError('DATABASE_BUSY', `the server has no room left (${said})${during}`, {
        ...options,
        hint: 'Free space on the server, then run it again.',
      });
    case 'missing-table':
    case 'duplicate-key':
    case 'packet-too-large':
      return commonError('DATABASE_STATEMENT_FAILED', `${said}${during}`, options);
    case 'other':
      return errno === null
        ? context.statement === null && error instanceof Error && 'code' in error
          ? commonError('DATABASE_UNREACHABLE', `${where}: ${said}`, options)
          : commonError('INTERNAL', said, options)
        : commonError('DATABASE_STATEMENT_FAILED', `${said}${during}`, options);
  }
}

/** The start of a statement on one line, for messages; rows and the passwords of account statements are left out. */
export function excerpt(statement: string, characters = 160): string {
  const line = statement
    .replace(/\s+/g, ' ')
    .trim()
    .replace(/\bVALUES ?\(.*$/i, 'VALUES (…)')
    .replace(/\b(IDENTIFIED\b.*?|PASSWORD\b\s*(?:=|\()?\s*)('(?:[^'\\]|\\.|'')*'|"(?:[^"\\]|\\.|"")*")/gi, "$1'…'");
  return line.length <= characters ? line : `${line.slice(0, characters - 1)}…`;
}
