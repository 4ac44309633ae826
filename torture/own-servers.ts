import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { createServer } from 'node:net';
import { promisify } from 'node:util';
import type { Flavour } from '../test/server-pool.ts';
import { guardCommand } from '../tools/embedded-database/guard.ts';
import { waitUntilReady } from '../tools/embedded-database/running-server.ts';
import { connectAsRoot, type Server } from './schema.ts';

const run = promisify(execFile);

const images: Readonly<Record<Flavour, string>> = {
  mysql: process.env['TEST_MYSQL_IMAGE'] || 'mysql:9.7',
  mariadb: process.env['TEST_MARIADB_IMAGE'] || 'mariadb:11.8',
};

/** As in production: what is committed is on disk. */
const durable = ['--innodb-flush-log-at-trx-commit=1', '--sync-binlog=1', '--local-infile=1'];

/** A server that may be killed: its data lie on a disk, and it comes back at the same address. */
export interface OwnServer extends Server, AsyncDisposable {
  /** Ends its process as the kernel does. */
  kill(): Promise<void>;
  /** Resolves once it has recovered. */
  start(): Promise<void>;
  setReadOnly(on: boolean): Promise<void>;
}

export async function startOwnServer(flavour: Flavour): Promise<OwnServer> {
  const name = `torture-${flavour}-${randomBytes(4).toString('hex')}`;
  const [port, password] = [await freePort(), randomBytes(8).toString('hex')];
  const guard = guardCommand('docker', ['rm', '--force', '--volumes', name]);
  const binlog = flavour === 'mariadb' ? ['--log-bin=binlog', '--binlog-format=ROW'] : [];
  await run('docker', [
    ...['run', '--detach', '--name', name, '--publish', `127.0.0.1:${port}:3306`],
    ...['--env', `${flavour === 'mysql' ? 'MYSQL' : 'MARIADB'}_ROOT_PASSWORD=${password}`, images[flavour]],
    ...[flavour === 'mysql' ? 'mysqld' : 'mariadbd', ...durable, ...binlog],
  ]);
  const address = { host: '127.0.0.1', port, user: 'root', password };
  const version = await waitUntilReady(address);
  const server: Server = { flavour, version, address };
  return {
    ...server,
    kill: async () => void (await run('docker', ['kill', '--signal', 'KILL', name])),
    async start() {
      await run('docker', ['start', name]);
      await waitUntilReady(address);
    },
    async setReadOnly(on) {
      const connection = await connectAsRoot(server);
      const names = flavour === 'mysql' && on ? 'super_read_only' : 'read_only';
      await connection.query(`SET GLOBAL ${names} = ${on ? 1 : 0}`);
      await connection.end();
    },
    [Symbol.asyncDispose]: () => guard[Symbol.asyncDispose](),
  };
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  server.close();
  await once(server, 'close');
  if (typeof address !== 'object' || address === null) throw new Error('there is no free port');
  return address.port;
}
