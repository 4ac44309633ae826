import { randomBytes } from 'node:crypto';
import type { Connection } from '@tableset/common/database/connection.ts';
import { loaderError } from '../errors.ts';

/**
 * True if both connections lead to the same server, whatever names and addresses they went by: a user lock of a random name that one of
 * them takes is seen by the other. Neither variables nor privileges are needed that some servers do not have.
 */
export async function isSameServer(primary: Connection, store: Connection): Promise<boolean> {
  const name = `tableset:same:${randomBytes(16).toString('hex')}`;
  const got = await primary.row('SELECT GET_LOCK(?, 0) AS got', [name]);
  if (got?.['got'] !== '1') return false;
  try {
    const seen = await store.row('SELECT IS_USED_LOCK(?) AS id', [name]);
    return seen?.['id'] === String(primary.id);
  } finally {
    await primary.run('DO RELEASE_LOCK(?)', [name]);
  }
}

/**
 * Refuses a server that cannot be written to, or that may forget what it acknowledged.
 * @param acceptNotDurable the operator has accepted the latter by name
 * @throws AppError ARCHIVE_STORE_UNSUITABLE
 */
export async function checkServer(
  connection: Connection,
  store: { readonly name: string; readonly acceptNotDurable: boolean },
): Promise<void> {
  const facts = await connection.row(
    'SELECT @@global.read_only AS readOnly, @@global.innodb_flush_log_at_trx_commit AS flush, @@global.log_bin AS logs, @@global.sync_binlog AS sync',
  );
  const where = `${connection.settings.host}:${connection.settings.port}`;
  if (facts?.['readOnly'] !== '0' && facts?.['readOnly'] !== 'OFF') {
    throw loaderError('ARCHIVE_STORE_UNSUITABLE', `store ${store.name}: the server ${where} is read-only`, {
      hint: 'Give the address of the server that takes writes.',
    });
  }
  const faults = [
    ...(facts?.['flush'] === '1' ? [] : [`innodb_flush_log_at_trx_commit is ${String(facts?.['flush'])}`]),
    ...(facts?.['logs'] === '1' && facts['sync'] !== '1' ? [`sync_binlog is ${String(facts['sync'])}`] : []),
  ];
  if (faults.length === 0 || store.acceptNotDurable) return;
  throw loaderError(
    'ARCHIVE_STORE_UNSUITABLE',
    `store ${store.name}: the server ${where} may forget what it acknowledged when it crashes: ${faults.join(', ')}, not 1`,
    {
      hint: 'Set both variables to 1 on the archive server, or accept the loss of archived rows by acceptNotDurable: true.',
    },
  );
}

/** Every collation that the server knows, by the names that SHOW CREATE TABLE uses. */
export async function readCollations(connection: Connection): Promise<ReadonlySet<string>> {
  const rows =
    connection.server.flavour === 'mariadb'
      ? await connection
          .rows('SELECT FULL_COLLATION_NAME AS name FROM information_schema.COLLATION_CHARACTER_SET_APPLICABILITY')
          // Before 10.10 the names were full ones anyway.
          .catch(() => connection.rows('SELECT COLLATION_NAME AS name FROM information_schema.COLLATIONS'))
      : await connection.rows('SELECT COLLATION_NAME AS name FROM information_schema.COLLATIONS');
  return new Set(rows.map((row) => String(row['name'])));
}
