/**
 * What the error numbers of MySQL and MariaDB mean to a run. Sources: MySQL 8.4 Server Error Message Reference and
 * MariaDB Error Code Reference; decisions are made by number only, never by message text.
 */

/** The whole transaction was rolled back by the server: replay it. 1213 deadlock, 1614 XA deadlock, 1020 MariaDB's snapshot isolation, 1047 Galera not ready, 3101 and 3572 group replication and NOWAIT. */
const transactionRolledBack = new Set([1213, 1614, 1020, 1047, 3101]);

/** Only the statement was rolled back: ROLLBACK first, then replay. 1205 lock wait timeout. */
const statementTimedOut = new Set([1205, 3572]);

/** The statement was interrupted: 1317 killed, 3024 and 1969 statement timeouts, 1028 sort aborted. */
const interrupted = new Set([1317, 3024, 1969, 1028]);

/** The server has no room for another connection now. */
const tooManyConnections = new Set([1040, 1203, 1226]);

/** The server ended the connection: 1927 killed, 4031 idle too long, 1053 shutting down, 1079, 1152–1161 broken communication. */
const connectionEnded = new Set([1927, 4031, 1053, 1079, 1152, 1158, 1159, 1160, 1161]);

/** The server refuses writes: 1290 --read-only, 1792 read-only transaction, 1836 running in read-only mode. */
const readOnly = new Set([1290, 1792, 1836]);

/** The account lacks a privilege. 1044 schema, 1142 table, 1143 column, 1227 global, 1370 routine, 1419 log_bin_trust_function_creators. */
const grantMissing = new Set([1044, 1142, 1143, 1227, 1370, 1419, 1410]);

/** System errors by which a server is not there now. */
const unreachable = new Set([
  'ECONNREFUSED',
  'ETIMEDOUT',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'ENOTFOUND',
  'EAI_AGAIN',
  'ECONNRESET',
  'EPIPE',
  'PROTOCOL_CONNECTION_LOST',
  'EHOSTDOWN',
  'ECONNABORTED',
]);

export type DatabaseFault =
  | 'deadlock'
  | 'lock-wait'
  | 'interrupted'
  | 'too-many-connections'
  | 'connection-lost'
  | 'read-only'
  | 'grant-missing'
  | 'access-denied'
  | 'unknown-schema'
  | 'missing-table'
  | 'duplicate-key'
  | 'packet-too-large'
  | 'tls'
  | 'disk-full'
  | 'other';

/** The error number of a server error, or null for an error of the network or the program. */
export function serverErrno(error: unknown): number | null {
  if (!(error instanceof Error)) return null;
  const errno = 'errno' in error ? error.errno : null;
  if (typeof errno === 'number') return errno > 0 ? errno : null;
  // The last word of a server that ends an idle session comes outside of any statement, and mysql2 gives its number as the code.
  return 'code' in error && typeof error.code === 'number' && error.code > 0 ? error.code : null;
}

function systemCode(error: unknown): string | null {
  return error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : null;
}

/** Sorts a failure of mysql2 or of the server into what a run does about it. */
export function classifyFault(error: unknown): DatabaseFault {
  const errno = serverErrno(error);
  const code = systemCode(error);
  if (errno !== null) {
    if (transactionRolledBack.has(errno)) return 'deadlock';
    if (statementTimedOut.has(errno)) return 'lock-wait';
    if (interrupted.has(errno)) return 'interrupted';
    if (tooManyConnections.has(errno)) return 'too-many-connections';
    if (connectionEnded.has(errno)) return 'connection-lost';
    if (readOnly.has(errno)) return 'read-only';
    if (grantMissing.has(errno)) return 'grant-missing';
    if (errno === 1045 || errno === 1698 || errno === 1251 || errno === 3118) return 'access-denied';
    if (errno === 1049) return 'unknown-schema';
    if (errno === 1146 || errno === 1932) return 'missing-table';
    if (errno === 1062 || errno === 1586) return 'duplicate-key';
    if (errno === 1153) return 'packet-too-large';
    if (errno === 1021 || errno === 1114 || errno === 3 || errno === 28) return 'disk-full';
    if (errno === 3159) return 'tls';
    return 'other';
  }
  if (code === null) return 'other';
  if (
    code === 'HANDSHAKE_NO_SSL_SUPPORT' ||
    code === 'HANDSHAKE_SSL_ERROR' ||
    /^(ERR_TLS|CERT_|UNABLE_TO|SELF_SIGNED|DEPTH_ZERO|ERR_SSL)/.test(code)
  )
    return 'tls';
  return unreachable.has(code) ? 'connection-lost' : 'other';
}
