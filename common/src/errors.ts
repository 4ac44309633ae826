import { type ExitCode, exitCodes } from './exit-codes.ts';

/** What docs/errors.md says of one error code, and the exit code it ends the process with. */
export interface ErrorEntry {
  readonly exit: ExitCode;
  /** Why it happens, one sentence. */
  readonly cause: string;
  /** What to do about it, one sentence. */
  readonly remedy: string;
}

export type ErrorCatalogue = Readonly<Record<string, ErrorEntry>>;

export interface AppErrorOptions {
  readonly cause?: unknown;
  /** A remedy more specific than the catalogue's, with the names at hand. */
  readonly hint?: string;
  /** Machine-readable fields for the log line and the JSON summary; never secrets. */
  readonly details?: Readonly<Record<string, unknown>>;
}

/** The one error type that reaches a user: a documented code, a message that names the thing, and a remedy. */
export class AppError extends Error {
  override readonly name = 'AppError';
  readonly code: string;
  readonly exit: ExitCode;
  readonly hint: string;
  readonly details: Readonly<Record<string, unknown>>;

  constructor(code: string, entry: ErrorEntry, message: string, options: AppErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.code = code;
    this.exit = entry.exit;
    this.hint = options.hint ?? entry.remedy;
    this.details = options.details ?? {};
  }
}

/** The same error with a remedy that only a caller further out knows. */
export function withHint(error: AppError, hint: string): AppError {
  const { code, exit, message, cause, details } = error;
  return new AppError(code, { exit, cause: '', remedy: hint }, message, { cause, hint, details });
}

/**
 * Makes the constructor for one catalogue's errors, so that an undocumented code does not compile.
 * @example throw loadError('LOAD_SOURCE_EMPTY', `${path} holds no rows`, { hint: 'set allowEmpty: true' });
 */
export function errorFactory<Catalogue extends ErrorCatalogue>(catalogue: Catalogue) {
  return (code: keyof Catalogue & string, message: string, options?: AppErrorOptions): AppError =>
    // The index is a key of the catalogue by its type.
    new AppError(code, catalogue[code] as ErrorEntry, message, options);
}

/** Codes that both images can end with. */
export const commonErrors = {
  SETTING_UNKNOWN: {
    exit: exitCodes.usage,
    cause: 'A flag, verb or configuration key does not exist.',
    remedy: 'Use the nearest known name that the message gives, or see --help.',
  },
  SETTING_INVALID: {
    exit: exitCodes.usage,
    cause: 'A setting has a value that it does not take.',
    remedy: 'Give the setting a value of the kind that the message names.',
  },
  SETTING_MISSING: {
    exit: exitCodes.usage,
    cause: 'A required setting was given neither as flag, nor in the environment, nor in the file.',
    remedy: 'Set it in one of the ways that the message names.',
  },
  CONFIG_UNREADABLE: {
    exit: exitCodes.usage,
    cause: 'The configuration file or a file it names (password, CA) cannot be read.',
    remedy: 'Check the path, the mount and the permissions of the file.',
  },
  CONFIG_INVALID: {
    exit: exitCodes.usage,
    cause: 'The configuration file is not valid YAML or does not fit its schema.',
    remedy: 'Mend the line that the message points at; `loader validate` checks without touching anything.',
  },
  DATABASE_UNREACHABLE: {
    exit: exitCodes.transient,
    cause: 'The database server could not be reached before the deadline.',
    remedy: 'Check host, port and network policy; raise DB_WAIT_SECONDS if the server needs longer to start.',
  },
  DATABASE_ACCESS_DENIED: {
    exit: exitCodes.usage,
    cause: 'The server refused the user name and password.',
    remedy: 'Check DB_USER and DB_PASSWORD or DB_PASSWORD_FILE against the account on the server.',
  },
  DATABASE_GRANT_MISSING: {
    exit: exitCodes.usage,
    cause: 'The account lacks a privilege that the statement needs.',
    remedy: 'Grant what docs/operations.md lists for this image.',
  },
  DATABASE_UNKNOWN: {
    exit: exitCodes.usage,
    cause: 'The schema named by DB_NAME, or by the name of a store, does not exist on the server.',
    remedy: 'Create the schema or correct DB_NAME.',
  },
  DATABASE_TLS: {
    exit: exitCodes.usage,
    cause: 'The TLS handshake failed: certificate, host name, or the server offers no TLS.',
    remedy: 'Check DB_TLS and DB_TLS_CA_FILE against the certificate of the server.',
  },
  DATABASE_LOST: {
    exit: exitCodes.transient,
    cause: 'The connection to the database broke or fell silent during a statement.',
    remedy: 'Run it again; it goes on from the last safe point.',
  },
  DATABASE_READ_ONLY: {
    exit: exitCodes.transient,
    cause: 'The server is read-only, usually a replica or a primary that failed over.',
    remedy: 'Point DB_HOST at the primary and run it again.',
  },
  DATABASE_BUSY: {
    exit: exitCodes.transient,
    cause: 'Deadlocks, lock waits or too many connections outlasted the bounded retries.',
    remedy: 'Run it again when the load has passed; the message names the statement and, where known, the blocker.',
  },
  DATABASE_UNSUPPORTED: {
    exit: exitCodes.usage,
    cause: 'The server is older than the supported versions or not MySQL or MariaDB.',
    remedy: 'Use MySQL 8.0 or newer, or MariaDB 10.6 or newer.',
  },
  DATABASE_STATEMENT_FAILED: {
    exit: exitCodes.refused,
    cause: 'The server refused a statement for a reason that a retry does not change.',
    remedy: 'Read the number and text of the server error in the message.',
  },
  LOCK_BUSY: {
    exit: exitCodes.busy,
    cause: 'Another run holds the lock of this schema.',
    remedy: 'Wait for the run that the message names, or choose --on-busy wait or skip.',
  },
  LOCK_LOST: {
    exit: exitCodes.transient,
    cause: 'The connection that held the lock was lost, so the run stopped before its next write.',
    remedy: 'Run it again; it goes on from the last safe point.',
  },
  LOCK_NOT_CLUSTER_SAFE: {
    exit: exitCodes.usage,
    cause:
      'GET_LOCK does not exclude across the nodes of this cluster (Galera, multi-primary group replication, Vitess).',
    remedy: 'Send all writers to one node and set DB_SINGLE_WRITER=true to confirm it.',
  },
  LEDGER_FORMAT: {
    exit: exitCodes.refused,
    cause: 'The ledger tables were written by a newer version with an unknown format.',
    remedy: 'Use the image version that wrote them, or newer.',
  },
  LEDGER_INCOMPLETE: {
    exit: exitCodes.transient,
    cause:
      'The ledger tables are not there, or an older version made them, and the account may not make or alter them.',
    remedy:
      'Run migrator up of the same version first, or grant the account for one run what docs/operations.md lists for making the ledger.',
  },
  STOPPED: {
    exit: exitCodes.stopped,
    cause: 'SIGTERM or SIGINT asked the run to stop, and it did at a safe point.',
    remedy: 'Run it again; it goes on from there.',
  },
  INTERNAL: {
    exit: exitCodes.transient,
    cause: 'A fault of the program itself.',
    remedy: 'Report it with the log lines; nothing was published.',
  },
} as const satisfies ErrorCatalogue;

export const commonError = errorFactory(commonErrors);
