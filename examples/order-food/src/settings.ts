import { readFile } from 'node:fs/promises';

export interface AppSettings {
  readonly port: number;
  readonly database: {
    readonly host: string;
    readonly port: number;
    readonly user: string;
    readonly password: string;
    readonly database: string;
  };
}

/** Reads PORT and DB_HOST, DB_PORT, DB_USER, DB_PASSWORD or DB_PASSWORD_FILE, DB_NAME. */
export async function readSettings(environment: NodeJS.ProcessEnv): Promise<AppSettings> {
  const passwordFile = environment['DB_PASSWORD_FILE'];
  return {
    port: portNumber('PORT', environment['PORT'], 8080),
    database: {
      host: environment['DB_HOST'] ?? '127.0.0.1',
      port: portNumber('DB_PORT', environment['DB_PORT'], 3306),
      user: environment['DB_USER'] ?? 'root',
      // Only the line end that editors add: a blank at the end belongs to the password.
      password: passwordFile
        ? (await readFile(passwordFile, 'utf8')).replace(/\r?\n$/, '')
        : (environment['DB_PASSWORD'] ?? ''),
      database: environment['DB_NAME'] ?? 'order_food',
    },
  };
}

/** Port 0 lets the system choose one. */
function portNumber(name: string, text: string | undefined, otherwise: number): number {
  if (text === undefined || text === '') return otherwise;
  const port = Number(text);
  if (!Number.isInteger(port) || port < 0 || port > 65535) throw new Error(`${name} takes a port number, not ${text}`);
  return port;
}
