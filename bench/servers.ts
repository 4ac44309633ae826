import { randomBytes } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import mysql from 'mysql2/promise';
import { cacheFolder } from './data.ts';
import type { Flavour } from './options.ts';
import { capture } from './process.ts';

export const schemaName = 'bench';

/** A server in a container, and a second container on the host's network that holds the server's own client. */
export interface BenchServer extends AsyncDisposable {
  readonly flavour: Flavour;
  readonly version: string;
  /** The container's own address, so that no proxy stands between it and whoever loads. */
  readonly host: string;
  readonly port: number;
  readonly password: string;
  /** Where the client container sees the cache folder. */
  readonly clientFolder: string;
  readonly clientContainer: string;
  /** Runs statements one after the other; returns the first row of the last. */
  ask(...statements: readonly string[]): Promise<Readonly<Record<string, unknown>> | null>;
}

const images: Readonly<Record<Flavour, string>> = {
  mysql: process.env['BENCH_MYSQL_IMAGE'] || 'mysql:9.7',
  mariadb: process.env['BENCH_MARIADB_IMAGE'] || 'mariadb:11.8',
};

/** Everything as the images have it, but that both servers take local files and write a binary log of rows: MySQL does so by default. */
const serverArguments: Readonly<Record<Flavour, readonly string[]>> = {
  mysql: ['--local-infile=1'],
  mariadb: ['--local-infile=1', '--server-id=1', '--log-bin=binlog', '--binlog-format=ROW'],
};

const readyTimeoutMs = 120_000;
const clientFolder = '/bench';

/** A server that archives are written to has to keep what it acknowledged, which MariaDB with a binary log does not by default. */
const archiveArguments = ['--sync-binlog=1'];

/** Starts a server whose data lies on the container's own disk, or takes the one that an earlier run kept. */
export async function startServer(
  flavour: Flavour,
  keep: boolean,
  role: 'primary' | 'archive' = 'primary',
): Promise<BenchServer> {
  const base = role === 'primary' ? `tableset-bench-${flavour}` : `tableset-bench-${flavour}-${role}`;
  const name = `${base}${keep ? '' : `-${randomBytes(4).toString('hex')}`}`;
  const client = `${name}-client`;
  const password = 'bench';
  if (!keep || !(await isRunning(name))) {
    const variables = ['MYSQL_ROOT_PASSWORD', 'MARIADB_ROOT_PASSWORD'].flatMap((key) => ['-e', `${key}=${password}`]);
    const place = ['run', '-d', '--rm', '-v', `${cacheFolder}:${clientFolder}:ro`];
    await capture('docker', [
      ...place,
      ...['--name', name, ...variables],
      ...[images[flavour], ...serverArguments[flavour], ...(role === 'archive' ? archiveArguments : [])],
    ]);
    await capture('docker', [
      ...place,
      ...['--name', client, '--network', 'host', '--entrypoint', 'sleep'],
      ...[images[flavour], 'infinity'],
    ]);
  }
  const host = (await capture('docker', ['inspect', '-f', '{{.NetworkSettings.IPAddress}}', name])).trim();
  const port = 3306;
  const address = { host, port, user: 'root', password };
  const ask = async (...statements: readonly string[]) => {
    const connection = await mysql.createConnection(address);
    try {
      let rows: unknown;
      for (const sql of statements) [rows] = await connection.query(sql);
      // mysql2 gives an array of objects for whatever returns rows.
      return Array.isArray(rows) ? ((rows[0] ?? null) as Readonly<Record<string, unknown>> | null) : null;
    } finally {
      await connection.end();
    }
  };
  const version = await waitUntilReady(ask);
  // A kept server may be as its last bench left it.
  await ask('SET GLOBAL local_infile = 1', `CREATE DATABASE IF NOT EXISTS ${schemaName}`);
  return {
    flavour,
    version,
    host,
    port,
    password,
    clientFolder,
    clientContainer: client,
    ask: (...statements) => ask(`USE ${schemaName}`, ...statements),
    async [Symbol.asyncDispose]() {
      if (keep) return;
      await capture('docker', ['rm', '-f', '-v', client, name]);
    },
  };
}

async function isRunning(name: string): Promise<boolean> {
  const names = await capture('docker', ['ps', '--filter', `name=^${name}(-client)?$`, '--format', '{{.Names}}']);
  return names.trim().split('\n').length === 2;
}

async function waitUntilReady(ask: BenchServer['ask']): Promise<string> {
  const deadline = performance.now() + readyTimeoutMs;
  for (;;) {
    try {
      const row = await ask('SELECT VERSION() AS version');
      return String(row?.['version']).replace(/ .*/, '');
    } catch (error) {
      if (performance.now() > deadline) throw new Error('the server was not ready in time', { cause: error });
      await delay(250);
    }
  }
}
