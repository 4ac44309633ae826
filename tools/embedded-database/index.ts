import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { access, constants, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { unpackedServer } from './debian-packages.ts';
import { guardCommand } from './guard.ts';
import { askVersion, type RunningServer, waitUntilReady } from './running-server.ts';
import { inspectProgram, runProgram } from './server-program.ts';

const run = promisify(execFile);

/** How a server was found or made. */
export type DatabaseWay = 'given' | 'path' | 'packages' | 'docker';

export interface DatabaseOptions {
  /** With a binary log; default false. Servers that were given are taken as they are. */
  readonly binlog?: boolean;
  /** Further arguments of the server program. */
  readonly args?: readonly string[];
  /** Which of the two servers it must be; default: either. */
  readonly flavour?: 'mysql' | 'mariadb';
  /** The ways to try, in this order; default: all. */
  readonly ways?: readonly DatabaseWay[];
}

/** A running server; leaving its scope stops it and removes its files, unless it was given. */
export interface Database extends RunningServer, AsyncDisposable {
  readonly kind: DatabaseWay;
}

const allWays: readonly DatabaseWay[] = ['given', 'path', 'packages', 'docker'];
const dockerImages = { mariadb: 'mariadb:11.8', mysql: 'mysql:9.7' };

/** What is needed to make this work, where nothing did. */
const advice = [
  'There are four ways to give this project a database:',
  '  - your own: DB_HOST, DB_PORT, DB_USER and DB_PASSWORD or DB_PASSWORD_FILE, an account that may create schemas',
  '  - MariaDB or MySQL installed, with mariadbd or mysqld on PATH',
  '  - Debian or Ubuntu: MariaDB is unpacked from their packages into the cache folder, without root',
  '  - Docker',
].join('\n');

/**
 * Finds or makes a database server: DB_HOST and friends, else a server program on PATH, else MariaDB unpacked from
 * the distribution's packages, else Docker.
 * @example await using database = await startDatabase({ binlog: true });
 * @throws an error that says of each way why it did not work
 */
export async function startDatabase(options: DatabaseOptions = {}): Promise<Database> {
  const reasons: string[] = [];
  for (const way of options.ways ?? allWays) {
    try {
      const server = await starters[way](options);
      if (server === undefined) continue;
      return { ...server, kind: way, [Symbol.asyncDispose]: server.stop };
    } catch (error) {
      // A server that the user named must be that one, not another found instead.
      if (way === 'given') throw error;
      reasons.push(`  - ${way}: ${error instanceof Error ? error.message : String(error)}`);
    }
  }
  throw new Error(
    ['No database server could be found or made:', ...reasons, ...(options.ways === undefined ? [advice] : [])].join(
      '\n',
    ),
  );
}

type Starter = (options: DatabaseOptions) => Promise<RunningServer | undefined>;

const starters: Readonly<Record<DatabaseWay, Starter>> = {
  async given() {
    const host = process.env['DB_HOST'];
    if (host === undefined || host === '') return undefined;
    const passwordFile = process.env['DB_PASSWORD_FILE'];
    const address = {
      host,
      port: Number(process.env['DB_PORT'] ?? 3306),
      user: process.env['DB_USER'] ?? 'root',
      password: passwordFile ? (await readFile(passwordFile, 'utf8')).trimEnd() : (process.env['DB_PASSWORD'] ?? ''),
    };
    const version = await askVersion(address).catch((error: unknown) => {
      const reason = error instanceof Error ? error.message : String(error);
      throw new Error(
        `the server ${host}:${address.port} that DB_HOST names did not let ${address.user} in: ${reason}`,
      );
    });
    return { ...address, version, flavour: flavourOf(version), stop: async () => {} };
  },

  async path(options) {
    const found: string[] = [];
    for (const path of await serverPrograms()) {
      const program = await inspectProgram(path);
      found.push(path);
      if (options.flavour !== undefined && program.flavour !== options.flavour) continue;
      return await runProgram(program, programOptions(options));
    }
    throw new Error(
      found.length === 0 ? 'neither mariadbd nor mysqld is on PATH' : `${found.join(', ')} is another server`,
    );
  },

  async packages(options) {
    if (options.flavour === 'mysql') throw new Error('the packages are those of MariaDB');
    return await runProgram(await unpackedServer(), programOptions(options));
  },

  docker: startContainer,
};

function programOptions(options: DatabaseOptions) {
  return { binlog: options.binlog ?? false, args: options.args ?? [], password: randomPassword() };
}

function randomPassword(): string {
  return randomBytes(12).toString('hex');
}

function flavourOf(version: string): 'mysql' | 'mariadb' {
  return /mariadb/i.test(version) ? 'mariadb' : 'mysql';
}

/** Server programs on PATH and in the folders for them that are on the PATH of root alone. */
async function serverPrograms(): Promise<string[]> {
  const folders = [...(process.env['PATH'] ?? '').split(':'), '/usr/sbin', '/usr/local/sbin', '/usr/libexec'];
  const found = new Set<string>();
  for (const name of ['mariadbd', 'mysqld']) {
    for (const folder of folders.filter((entry) => entry !== '')) {
      const path = join(folder, name);
      const usable = await access(path, constants.X_OK).then(
        () => true,
        () => false,
      );
      if (usable) found.add(path);
    }
  }
  return [...found];
}

async function startContainer(options: DatabaseOptions): Promise<RunningServer> {
  const flavour = options.flavour ?? 'mariadb';
  const password = randomPassword();
  const binlog = flavour === 'mariadb' && options.binlog === true ? ['--log-bin', '--binlog-format=ROW'] : [];
  const { stdout } = await docker(
    [
      ...['run', '--detach', '--rm', '--publish', '127.0.0.1::3306', '--env', `${flavour.toUpperCase()}_ROOT_PASSWORD`],
      ...[dockerImages[flavour], ...binlog, ...(options.args ?? [])],
    ],
    { ...process.env, [`${flavour.toUpperCase()}_ROOT_PASSWORD`]: password },
  );
  const id = stdout.trim();
  const guard = guardCommand('docker', ['rm', '--force', '--volumes', id]);
  try {
    const published = (await docker(['port', id, '3306/tcp'])).stdout.trim().split('\n')[0] ?? '';
    const address = { host: '127.0.0.1', port: Number(published.split(':').at(-1)), user: 'root', password };
    const version = await waitUntilReady(address);
    return { ...address, version, flavour, stop: async () => await guard[Symbol.asyncDispose]() };
  } catch (error) {
    await guard[Symbol.asyncDispose]();
    throw error;
  }
}

async function docker(args: readonly string[], env: NodeJS.ProcessEnv = process.env) {
  return await run('docker', args, { env, timeout: 300_000 });
}
