import type { Connection as DriverConnection } from 'mysql2';
import { AppError } from '../errors.ts';
import type { DatabaseSettings } from '../settings/database.ts';
import { Connection } from './connection.ts';
import { ask, type DriverOptions, openDriver } from './driver.ts';
import { databaseFailure } from './failure.ts';
import { parseServerVersion, type ServerFacts } from './server.ts';
import { sqlMode } from './sql-mode.ts';

export { sqlMode } from './sql-mode.ts';

export interface ConnectOptions extends DriverOptions {
  readonly signal?: AbortSignal;
  /** Seconds the server waits for row locks and metadata locks. */
  readonly lockWaitSeconds?: number;
  /** Takes dates that never were, such as 31 February, as what they are: rows that hold them are to be moved. Loads refuse them. */
  readonly invalidDates?: boolean;
}

/** A dead node's session, and with it its lock, goes after this long. */
const idleSeconds = 60;

/**
 * Opens one session, waiting up to `settings.waitSeconds` for a server that is not up yet or has no room.
 * @throws AppError DATABASE_UNREACHABLE after the wait, DATABASE_ACCESS_DENIED, DATABASE_TLS, DATABASE_UNKNOWN or DATABASE_UNSUPPORTED at once.
 */
export async function connect(
  settings: DatabaseSettings,
  options: ConnectOptions & { onWait?: (reason: string) => void } = {},
): Promise<Connection> {
  const deadline = performance.now() + settings.waitSeconds * 1000;
  for (let attempt = 0; ; attempt++) {
    options.signal?.throwIfAborted();
    try {
      return await openSession(settings, options);
    } catch (error) {
      if (error instanceof AppError) throw error;
      const failure = databaseFailure(error, { settings, statement: null, lost: false });
      if (failure.exit !== 1 || performance.now() >= deadline) throw failure;
      options.onWait?.(failure.message);
      await delay(Math.min(250 * 2 ** Math.min(attempt, 4), deadline - performance.now() + 1), options.signal);
    }
  }
}

/** Waits, or throws the signal's reason as soon as it fires. */
export async function delay(ms: number, signal?: AbortSignal): Promise<void> {
  signal?.throwIfAborted();
  await new Promise<void>((resolve, reject) => {
    const timer = setTimeout(done, ms);
    function done() {
      signal?.removeEventListener('abort', aborted);
      resolve();
    }
    function aborted() {
      clearTimeout(timer);
      reject(signal?.reason);
    }
    signal?.addEventListener('abort', aborted, { once: true });
  });
}

async function openSession(settings: DatabaseSettings, options: ConnectOptions): Promise<Connection> {
  const driver = await openDriver(settings, options);
  try {
    const lockWait = options.lockWaitSeconds ?? 10;
    await ask(
      driver,
      `SET SESSION sql_mode='${options.invalidDates ? `${sqlMode},ALLOW_INVALID_DATES` : sqlMode}', time_zone='+00:00', wait_timeout=${idleSeconds}, lock_wait_timeout=${lockWait}, innodb_lock_wait_timeout=${lockWait}, net_read_timeout=600, net_write_timeout=600, sql_auto_is_null=0, foreign_key_checks=1, unique_checks=1, autocommit=1`,
    );
    await ask(driver, 'SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED');
    const facts =
      (
        await ask(
          driver,
          'SELECT VERSION() version, CONNECTION_ID() id, @@max_allowed_packet AS packet_bytes, @@local_infile AS local_files, @@lower_case_table_names AS name_case',
        )
      )[0] ?? {};
    const version = parseServerVersion(String(facts['version']));
    const server: ServerFacts = {
      ...version,
      clusterHazard: await clusterHazard(driver, version),
      maxAllowedPacketBytes: Number(facts['packet_bytes']),
      localInfile: String(facts['local_files']) === '1',
      lowerCaseTableNames: Number(facts['name_case']),
    };
    return new Connection(driver, settings, server, Number(facts['id']), options.signal);
  } catch (error) {
    driver.destroy();
    throw error;
  }
}

/** Galera and multi-primary group replication show in variables that other servers do not have, so the answer is empty there. */
async function clusterHazard(
  driver: DriverConnection,
  version: Pick<ServerFacts, 'flavour' | 'version'>,
): Promise<string | null> {
  if (/vitess/i.test(version.version)) return 'Vitess';
  const rows = await ask(
    driver,
    version.flavour === 'mariadb'
      ? "SHOW VARIABLES LIKE 'wsrep_on'"
      : "SHOW VARIABLES WHERE Variable_name IN ('wsrep_on','group_replication_single_primary_mode','group_replication_group_name')",
  );
  const variables = new Map(rows.map((row) => [String(row['Variable_name']), String(row['Value'])]));
  if (variables.get('wsrep_on') === 'ON') return 'Galera';
  if (variables.get('group_replication_group_name') && variables.get('group_replication_single_primary_mode') === 'OFF')
    return 'group replication in multi-primary mode';
  return null;
}
