import { setTimeout as delay } from 'node:timers/promises';
import mysql from 'mysql2/promise';
import type { Guard } from './guard.ts';

export interface ServerAddress {
  readonly host: string;
  readonly port: number;
  readonly user: string;
  readonly password: string;
}

export interface RunningServer extends ServerAddress {
  readonly flavour: 'mysql' | 'mariadb';
  /** What SELECT VERSION() says. */
  readonly version: string;
  stop(): Promise<void>;
}

const readyTimeoutMs = 90_000;
const pollMs = 50;

/**
 * Waits until the server lets the account in.
 * @returns the server's version
 * @throws when the guarded program ends first or the server is not ready within 90 seconds
 */
export async function waitUntilReady(address: ServerAddress, guard?: Guard): Promise<string> {
  let ended = false;
  void guard?.ended.then(() => {
    ended = true;
  });
  const deadline = performance.now() + readyTimeoutMs;
  for (;;) {
    try {
      return await askVersion(address);
    } catch (error) {
      if (ended) throw new Error(`the server ended during its start:\n${guard?.output() ?? ''}`, { cause: error });
      if (performance.now() > deadline) throw new Error('the server was not ready in time', { cause: error });
    }
    await delay(pollMs);
  }
}

/** Connects once and asks for the version. */
export async function askVersion(address: ServerAddress): Promise<string> {
  const connection = await mysql.createConnection({ ...address, connectTimeout: 5000 });
  try {
    const [rows] = await connection.query<mysql.RowDataPacket[]>('SELECT VERSION() AS version');
    return String(rows[0]?.['version']);
  } finally {
    connection.destroy();
  }
}
