import { readFileSync } from 'node:fs';
import { connect as connectSocket, isIP, type Socket } from 'node:net';
import {
  type ConnectionOptions,
  createConnection,
  type Connection as DriverConnection,
  type FieldPacket,
} from 'mysql2';
import { commonError } from '../errors.ts';
import type { DatabaseSettings } from '../settings/database.ts';

/** A row as the text protocol prints it; binary columns are Buffers. */
export type Row = Readonly<Record<string, string | Buffer | null>>;

export interface DriverOptions {
  /** Allows LOAD DATA LOCAL INFILE on this connection; the client's capability is off otherwise. */
  readonly localInfile?: boolean;
  /** Connects without choosing the schema, for what must work before it exists. */
  readonly withoutSchema?: boolean;
}

const connectTimeoutMs = 10_000;

/** Runs one short statement of our own on a bare connection. */
export async function ask(driver: DriverConnection, sql: string): Promise<readonly Row[]> {
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

/** Connects and authenticates; nothing of the session is pinned yet. */
export async function openDriver(settings: DatabaseSettings, options: DriverOptions): Promise<DriverConnection> {
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

function driverOptions(settings: DatabaseSettings, options: DriverOptions): ConnectionOptions {
  return {
    host: settings.host,
    port: settings.port,
    user: settings.user,
    password: settings.password,
    ...(options.withoutSchema ? {} : { database: settings.name }),
    ...(settings.tls === 'disable' ? {} : { ssl: tlsOptions(settings) }),
    ...(settings.tls === 'verify' && isIP(settings.host) > 0 ? { stream: () => addressSocket(settings) } : {}),
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
export const bytesCast: NonNullable<ConnectionOptions['typeCast']> = (field) =>
  typeof field === 'function' ? null : field.buffer();

/** Type ids of the protocol: VARCHAR, BIT, the four BLOBs, VAR_STRING, STRING, VECTOR. */
const stringTypes = new Set([15, 249, 250, 251, 252, 253, 254, 242]);
const bitType = 16;
const geometryType = 255;
/** Collation id 63 is `binary`. */
const binaryCharset = 63;

/** Decodes what a statement gave: rows, or the several results of a CALL, some of them without fields. */
export function decodeResult(
  result: unknown,
  fields: readonly (FieldPacket | readonly FieldPacket[] | undefined)[],
): void {
  if (fields.every((field) => field !== undefined && !Array.isArray(field))) {
    // The driver gives a flat list of fields exactly where it gives a flat list of rows.
    decodeRows(result as Record<string, unknown>[], fields as FieldPacket[]);
    return;
  }
  fields.forEach((each, index) => {
    // Likewise result by result.
    if (Array.isArray(each)) decodeRows((result as Record<string, unknown>[][])[index] ?? [], each as FieldPacket[]);
  });
}

/** Text for everything but binary strings, BIT and spatial values: no number is rounded, no date shifted, no JSON parsed. */
export function decodeRows(rows: readonly Record<string, unknown>[], fields: readonly FieldPacket[]): void {
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

/**
 * A socket that knows the address it was asked for. Between mysql2, which names no host to TLS for an address, and Node, which then
 * checks the certificate against `localhost`, a certificate for localhost would pass for any address; Node asks the socket for `_host` first.
 */
function addressSocket(settings: DatabaseSettings): Socket {
  const socket = connectSocket(settings.port, settings.host);
  socket.setNoDelay(true);
  socket.setKeepAlive(true, 10_000);
  return Object.assign(socket, { _host: settings.host });
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
