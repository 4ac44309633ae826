import { readFileSync } from 'node:fs';
import type { Readable } from 'node:stream';
import {
  type ConnectionOptions,
  createConnection,
  type Connection as DriverConnection,
  type FieldPacket,
  type QueryOptions,
  type ResultSetHeader,
} from 'mysql2';
import { AppError, commonError } from '../errors.ts';
import type { DatabaseSettings } from '../settings/database.ts';
import { classifyFault } from './errno.ts';
import { databaseFailure } from './failure.ts';
import { parseServerVersion, type ServerFacts } from './server.ts';

/** A value for a placeholder. Numbers beyond 2^53 come and go as text. */
export type Value = string | number | bigint | boolean | Buffer | null;
/** A row as the text protocol prints it; binary columns are Buffers. */
export type Row = Readonly<Record<string, string | Buffer | null>>;

export interface WriteResult {
  /** Rows really changed: the session does not count rows that were found but left as they were. */
  readonly affectedRows: number;
  /** The server's own text, such as `Records: 3  Deleted: 0  Skipped: 0  Warnings: 0`. */
  readonly info: string;
  readonly warnings: number;
}

export interface ConnectOptions {
  readonly signal?: AbortSignal;
  /** Allows LOAD DATA LOCAL INFILE on this connection; the client's capability is off otherwise. */
  readonly localInfile?: boolean;
  /** Seconds the server waits for row locks and metadata locks. */
  readonly lockWaitSeconds?: number;
  /** Connects without choosing the schema, for what must work before it exists. */
  readonly withoutSchema?: boolean;
}

/**
 * sql_mode of every session: strict, and 0 is a value like any other in an AUTO_INCREMENT column. Backslash escapes stay on,
 * on which the quoting of strings relies. Zero dates stay readable and writable, for rows that exist with them.
 */
export const sqlMode =
  'STRICT_TRANS_TABLES,STRICT_ALL_TABLES,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION,NO_AUTO_VALUE_ON_ZERO';

/** After this long without an answer, a second connection asks whether the statement still runs. */
const silenceMs = 30_000;
const connectTimeoutMs = 10_000;
/** How long a killed statement may take to end before its connection is broken. */
const killGraceMs = 5_000;
/** A dead node's session, and with it its lock, goes after this long. */
const idleSeconds = 60;

/** One session with everything pinned that could change what a statement means. Statements run one at a time. */
export class Connection implements AsyncDisposable {
  readonly server: ServerFacts;
  /** The server's id of this connection, as IS_USED_LOCK and the process list show it. */
  readonly id: number;
  readonly settings: DatabaseSettings;
  readonly #driver: DriverConnection;
  readonly #signal: AbortSignal | undefined;
  #lost: Error | null = null;
  #running = 0;
  #onLost: (error: Error) => void = () => {};
  #shields = 0;

  constructor(
    driver: DriverConnection,
    settings: DatabaseSettings,
    server: ServerFacts,
    id: number,
    signal: AbortSignal | undefined,
  ) {
    this.#driver = driver;
    this.settings = settings;
    this.server = server;
    this.id = id;
    this.#signal = signal;
    driver.on('error', (error) => {
      this.#lost = error;
      this.#onLost(error);
    });
  }

  /** True once the connection broke or was closed. */
  get lost(): boolean {
    return this.#lost !== null;
  }

  /** True while a statement is on its way. */
  get busy(): boolean {
    return this.#running > 0;
  }

  /** Runs a statement that returns rows. Every value is text or a Buffer, exactly as the server prints it. */
  async rows<R extends Row = Row>(sql: string, values: readonly Value[] = []): Promise<readonly R[]> {
    const result = await this.#send(sql, values);
    // A statement that returns no result set gives a header; no rows then.
    return Array.isArray(result) ? (result as unknown as R[]) : [];
  }

  /** The first row, or null. */
  async row<R extends Row = Row>(sql: string, values: readonly Value[] = []): Promise<R | null> {
    return (await this.rows<R>(sql, values))[0] ?? null;
  }

  /**
   * Runs a query and hands over its rows one by one as they arrive, never holding them all.
   * The callback must not wait and must not throw.
   */
  async eachRow(sql: string, onRow: (row: Row) => void): Promise<void> {
    await this.#send(sql, [], undefined, onRow);
  }

  /** Runs a statement that writes. */
  async run(sql: string, values: readonly Value[] = []): Promise<WriteResult> {
    return writeResult(await this.#send(sql, values));
  }

  /** Runs LOAD DATA LOCAL INFILE with the stream as the file, whatever path the server asks for. */
  async load(sql: string, stream: Readable): Promise<WriteResult> {
    return writeResult(await this.#send(sql, [], stream));
  }

  /** The driver's connection, for knex in TypeScript migrations; it carries the same session. */
  get driver(): DriverConnection {
    return this.#driver;
  }

  /**
   * Runs steps that a stop must not cut: a rollback and the ledger's last word after it, or a swap that has begun. A stop that was asked for
   * meanwhile takes effect at the next statement outside.
   */
  async uninterrupted<T>(steps: () => Promise<T>): Promise<T> {
    this.#shields++;
    try {
      return await steps();
    } finally {
      this.#shields--;
    }
  }

  /** Breaks the connection without waiting; the server rolls back what was open. */
  destroy(): void {
    this.#lost ??= new Error('closed');
    this.#driver.destroy();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#lost || this.busy) return this.destroy();
    this.#lost = new Error('closed');
    await new Promise<void>((resolve) => {
      // A server that does not answer the farewell must not hold up the exit.
      const timer = setTimeout(() => {
        this.#driver.destroy();
        resolve();
      }, 2_000);
      this.#driver.end(() => {
        clearTimeout(timer);
        resolve();
      });
    });
  }

  async #send(sql: string, values: readonly Value[], stream?: Readable, onRow?: (row: Row) => void): Promise<unknown> {
    if (this.#lost) throw databaseFailure(this.#lost, { settings: this.settings, statement: sql, lost: true });
    const signal = this.#shields > 0 ? undefined : this.#signal;
    signal?.throwIfAborted();
    this.#running++;
    const watch = watchSilence(this.settings, this.id, (error) => {
      this.#lost = error;
      this.#driver.destroy();
    });
    let giveUp: NodeJS.Timeout | undefined;
    const onAbort = () => {
      void killStatement(this.settings, this.id);
      // A server that waits for the client's packets does not notice KILL QUERY; breaking the connection rolls back as well.
      giveUp = setTimeout(() => watch.fail(new Error('the statement did not end when it was killed')), killGraceMs);
    };
    signal?.addEventListener('abort', onAbort, { once: true });
    try {
      return await new Promise<unknown>((resolve, reject) => {
        watch.failed.catch(reject);
        // A query without a callback hears of a lost connection only here.
        this.#onLost = reject;
        const options = {
          sql,
          values: [...values],
          typeCast: bytesCast,
          ...(stream ? { infileStreamFactory: () => stream.on('data', watch.touch) } : {}),
        };
        if (onRow) {
          eachRow(this.#driver, options, onRow, watch.touch, resolve, reject);
          return;
        }
        this.#driver.query(options, (error: Error | null, result: unknown, fields: unknown) => {
          if (error) return reject(error);
          // The driver gives fields exactly where it gives rows.
          if (Array.isArray(fields)) decodeRows(result as Record<string, unknown>[], fields as FieldPacket[]);
          resolve(result);
        });
        if (stream) {
          // The driver ends the file as if it were complete when its stream breaks: break the connection instead.
          stream.once('error', (error) => {
            reject(error);
            this.destroy();
          });
        }
      });
    } catch (error) {
      if (signal?.aborted) throw stopped(signal, error);
      if (error instanceof AppError) throw error;
      // The driver only ever rejects with an Error.
      const failure = error as Error & { sql?: string };
      if (classifyFault(error) === 'connection-lost') this.#lost ??= failure;
      // The driver's copy of the statement has the values in it; messages may show the statement only.
      failure.sql = sql;
      failedOn.set(failure, this.settings);
      throw failure;
    } finally {
      this.#running--;
      watch.stop();
      clearTimeout(giveUp);
      signal?.removeEventListener('abort', onAbort);
    }
  }
}

/** Without a callback the driver emits rows instead of collecting them. */
function eachRow(
  driver: DriverConnection,
  options: QueryOptions,
  onRow: (row: Row) => void,
  touch: () => void,
  resolve: (value: null) => void,
  reject: (error: Error) => void,
): void {
  let fields: readonly FieldPacket[] = [];
  const query = driver.query(options);
  query.on('fields', (found) => {
    // The type declaration says one packet; the driver hands over the list of them.
    fields = found as unknown as readonly FieldPacket[];
  });
  query.on('result', (row) => {
    touch();
    decodeRows([row as Record<string, unknown>], fields);
    onRow(row as unknown as Row);
  });
  query.on('error', reject);
  query.on('end', () => resolve(null));
}

/** Where each failed statement ran, for the message. */
const failedOn = new WeakMap<Error, DatabaseSettings>();

/** The documented error for what a `Connection` threw; null for anything else. */
export function explainDatabaseError(error: unknown): AppError | null {
  const settings = error instanceof Error ? failedOn.get(error) : undefined;
  if (!settings) return null;
  const statement = error instanceof Error && 'sql' in error ? String(error.sql) : '';
  return databaseFailure(error, { settings, statement });
}

function writeResult(result: unknown): WriteResult {
  // mysql2 gives a ResultSetHeader for whatever returns no rows.
  const header = (Array.isArray(result) ? (result.at(-1) ?? {}) : result) as Partial<ResultSetHeader>;
  return { affectedRows: header.affectedRows ?? 0, info: header.info ?? '', warnings: header.warningStatus ?? 0 };
}

function stopped(signal: AbortSignal, cause: unknown): AppError {
  return signal.reason instanceof AppError
    ? signal.reason
    : commonError('STOPPED', 'stopped while a statement ran', { cause });
}

/**
 * Watches one statement. A long ALTER is silent for hours and must not be cut off, while a dead peer is silent for ever: so
 * after a silence a second connection asks whether the server still runs the statement, and only a no, or no answer, ends it.
 */
function watchSilence(settings: DatabaseSettings, id: number, onDead: (error: Error) => void) {
  let timer: NodeJS.Timeout;
  let ended = false;
  let last = Date.now();
  let fail: (error: Error) => void = () => {};
  const failed = new Promise<never>((_, reject) => {
    fail = reject;
  });
  failed.catch(() => {
    // The statement's own promise reports it; this one only must not count as unhandled.
  });
  const end = (error: Error) => {
    onDead(error);
    fail(error);
  };
  const check = async () => {
    if (Date.now() - last < silenceMs) return arm();
    const alive = await connectionLives(settings, id);
    if (ended) return;
    if (alive) {
      last = Date.now();
      return arm();
    }
    const error = Object.assign(
      new Error(`no answer for ${silenceMs / 1000} s and the server no longer runs the statement`),
      { code: 'PROTOCOL_CONNECTION_LOST' },
    );
    end(error);
  };
  const arm = () => {
    timer = setTimeout(() => void check(), silenceMs);
    timer.unref();
  };
  arm();
  return {
    failed,
    /** Breaks the connection. */
    fail: end,
    touch: () => {
      last = Date.now();
    },
    stop: () => {
      ended = true;
      clearTimeout(timer);
    },
  };
}

async function connectionLives(settings: DatabaseSettings, id: number): Promise<boolean> {
  try {
    const driver = await open(settings, { withoutSchema: true });
    try {
      const rows = await ask(
        driver,
        `SELECT 1 FROM information_schema.PROCESSLIST WHERE ID = ${id} AND COMMAND <> 'Sleep'`,
      );
      return rows.length > 0;
    } finally {
      driver.destroy();
    }
  } catch {
    // No answer within the connect timeout means that the server, or the way to it, is gone.
    return false;
  }
}

async function killStatement(settings: DatabaseSettings, id: number): Promise<void> {
  try {
    const driver = await open(settings, { withoutSchema: true });
    await ask(driver, `KILL QUERY ${id}`).finally(() => driver.destroy());
  } catch {
    // The statement then ends by itself or with the process; stopping goes on either way.
  }
}

/**
 * Opens one session, waiting up to `settings.waitSeconds` for a server that is not up yet or has no room.
 * @throws AppError DATABASE_UNREACHABLE after the wait, DATABASE_ACCESS_DENIED, DATABASE_TLS, DATABASE_UNKNOWN or DATABASE_UNSUPPORTED at once.
 */
export async function connect(
  settings: DatabaseSettings,
  options: ConnectOptions & { onWait?: (reason: string) => void } = {},
): Promise<Connection> {
  const deadline = Date.now() + settings.waitSeconds * 1000;
  for (let attempt = 0; ; attempt++) {
    options.signal?.throwIfAborted();
    try {
      return await openSession(settings, options);
    } catch (error) {
      if (error instanceof AppError) throw error;
      const failure = databaseFailure(error, { settings, statement: null, lost: false });
      if (failure.exit !== 1 || Date.now() >= deadline) throw failure;
      options.onWait?.(failure.message);
      await delay(Math.min(250 * 2 ** Math.min(attempt, 4), deadline - Date.now() + 1), options.signal);
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
  const driver = await open(settings, options);
  try {
    const lockWait = options.lockWaitSeconds ?? 10;
    await ask(
      driver,
      `SET SESSION sql_mode='${sqlMode}', time_zone='+00:00', wait_timeout=${idleSeconds}, lock_wait_timeout=${lockWait}, innodb_lock_wait_timeout=${lockWait}, net_read_timeout=600, net_write_timeout=600, sql_auto_is_null=0, foreign_key_checks=1, unique_checks=1, autocommit=1`,
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

async function ask(driver: DriverConnection, sql: string): Promise<readonly Row[]> {
  return await new Promise((resolve, reject) => {
    const options = { sql, timeout: connectTimeoutMs, typeCast: bytesCast };
    driver.query(options, (error: Error | null, rows: unknown, fields: unknown) => {
      if (error) return reject(error);
      if (!Array.isArray(fields)) return resolve([]);
      decodeRows(rows as Record<string, unknown>[], fields as FieldPacket[]);
      resolve(rows as Row[]);
    });
  });
}

async function open(settings: DatabaseSettings, options: ConnectOptions): Promise<DriverConnection> {
  const driver = createConnection(driverOptions(settings, options));
  await new Promise<void>((resolve, reject) => {
    driver.once('error', reject);
    driver.connect((error) => {
      driver.off('error', reject);
      if (error) {
        // Otherwise a socket that never connected keeps the process alive.
        driver.destroy();
        reject(error);
      } else resolve();
    });
  });
  return driver;
}

function driverOptions(settings: DatabaseSettings, options: ConnectOptions): ConnectionOptions {
  return {
    host: settings.host,
    port: settings.port,
    user: settings.user,
    password: settings.password,
    ...(options.withoutSchema ? {} : { database: settings.name }),
    ...(settings.tls === 'disable' ? {} : { ssl: tlsOptions(settings) }),
    charset: 'utf8mb4',
    timezone: 'Z',
    connectTimeout: connectTimeoutMs,
    enableKeepAlive: true,
    keepAliveInitialDelay: 10_000,
    multipleStatements: false,
    stringifyObjects: true,
    supportBigNumbers: true,
    // FOUND_ROWS would count rows that an UPDATE leaves as they are.
    flags: options.localInfile ? ['-FOUND_ROWS'] : ['-FOUND_ROWS', '-LOCAL_FILES'],
  };
}

/** Every value arrives as the bytes that the server sent; `decodeRows` then makes text of them. */
const bytesCast: NonNullable<ConnectionOptions['typeCast']> = (field) =>
  typeof field === 'function' ? null : field.buffer();

/** Type ids of the protocol: VARCHAR, BIT, the four BLOBs, VAR_STRING, STRING, VECTOR. */
const stringTypes = new Set([15, 249, 250, 251, 252, 253, 254, 242]);
const bitType = 16;
const geometryType = 255;
/** Collation id 63 is `binary`. */
const binaryCharset = 63;

/** Text for everything but binary strings, BIT and spatial values: no number is rounded, no date shifted, no JSON parsed. */
function decodeRows(rows: readonly Record<string, unknown>[], fields: readonly FieldPacket[]): void {
  for (const field of fields) {
    const type = field.columnType ?? field.type ?? 0;
    const binary =
      type === bitType || type === geometryType || (stringTypes.has(type) && field.characterSet === binaryCharset);
    if (binary) continue;
    for (const row of rows) {
      const value = row[field.name];
      if (Buffer.isBuffer(value)) row[field.name] = value.toString('utf8');
    }
  }
}

function tlsOptions(settings: DatabaseSettings): NonNullable<Exclude<ConnectionOptions['ssl'], string>> {
  if (settings.tls === 'require') return { rejectUnauthorized: false, minVersion: 'TLSv1.2' };
  let ca: string | undefined;
  if (settings.tlsCaFile !== undefined) {
    try {
      ca = readFileSync(settings.tlsCaFile, 'utf8');
    } catch (cause) {
      throw commonError('CONFIG_UNREADABLE', `DB_TLS_CA_FILE names ${settings.tlsCaFile}, which cannot be read`, {
        cause,
      });
    }
  }
  // Without verifyIdentity mysql2 accepts any certificate that the authority signed, for whatever host.
  return { ...(ca === undefined ? {} : { ca }), rejectUnauthorized: true, verifyIdentity: true, minVersion: 'TLSv1.2' };
}
