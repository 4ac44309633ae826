import { execFile } from 'node:child_process';
import { access, mkdir, mkdtemp, readFile, realpath, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { guardProgram } from './guard.ts';
import { type RunningServer, waitUntilReady } from './running-server.ts';

const run = promisify(execFile);

/** A server program on this machine: installed, or unpacked into a folder with the libraries it needs. */
export interface ServerProgram {
  readonly path: string;
  readonly flavour: 'mysql' | 'mariadb';
  /** What `--version` prints. */
  readonly version: string;
  readonly libraryPath?: string;
}

export interface ProgramOptions {
  readonly binlog: boolean;
  readonly args: readonly string[];
  readonly password: string;
}

/** Asks a server program for its version; throws when it cannot run here. */
export async function inspectProgram(path: string, libraryPath?: string): Promise<ServerProgram> {
  const { stdout } = await run(path, ['--no-defaults', '--version'], { env: environment(libraryPath) });
  const version = stdout.trim();
  const flavour = /mariadb/i.test(version) ? 'mariadb' : 'mysql';
  return { path, flavour, version, ...(libraryPath === undefined ? {} : { libraryPath }) };
}

/** Makes a data folder and runs the program on it, on a free port of 127.0.0.1 alone, as the current user. */
export async function runProgram(program: ServerProgram, options: ProgramOptions): Promise<RunningServer> {
  const folder = await mkdtemp(join(shortTemporaryFolder(), 'tableset-db-'));
  try {
    const common = await commonArguments(program, folder);
    await initialise(program, folder, common);
    const initFile = join(folder, 'accounts.sql');
    await writeFile(initFile, accountStatements(program.flavour, options.password), { mode: 0o600 });
    const port = await freePort();
    const args = [
      ...common,
      `--port=${port}`,
      '--bind-address=127.0.0.1',
      `--init-file=${initFile}`,
      '--skip-name-resolve',
      '--max-connections=500',
      '--innodb-buffer-pool-size=256M',
      '--innodb-flush-log-at-trx-commit=2',
      ...binlogArguments(program.flavour, options.binlog),
      ...options.args,
    ];
    const guard = guardProgram(folder, program.path, args, environment(program.libraryPath));
    const server = { host: '127.0.0.1', port, user: 'root', password: options.password };
    try {
      const version = await waitUntilReady(server, guard);
      return { ...server, version, flavour: program.flavour, stop: async () => await guard[Symbol.asyncDispose]() };
    } catch (error) {
      await guard[Symbol.asyncDispose]();
      throw error;
    }
  } catch (error) {
    await rm(folder, { recursive: true, force: true });
    throw error;
  }
}

/** The path of a socket may have about 100 characters, which some systems' folders for temporary files exceed. */
function shortTemporaryFolder(): string {
  return tmpdir().length > 60 ? '/tmp' : tmpdir();
}

function environment(libraryPath: string | undefined): NodeJS.ProcessEnv {
  return libraryPath === undefined ? process.env : { ...process.env, LD_LIBRARY_PATH: libraryPath };
}

async function commonArguments(program: ServerProgram, folder: string): Promise<string[]> {
  const args = [
    '--no-defaults',
    `--datadir=${join(folder, 'data')}`,
    `--socket=${join(folder, 'sock')}`,
    `--pid-file=${join(folder, 'pid')}`,
    `--tmpdir=${folder}`,
  ];
  // Both servers refuse to run as root unless told so.
  if (process.getuid?.() === 0) args.push('--user=root');
  if (program.flavour === 'mariadb') {
    const share = await shareFolder(program.path);
    args.push(`--lc-messages-dir=${share}`, `--character-sets-dir=${join(share, 'charsets')}`);
  } else {
    // The X protocol's port is fixed, and another server may have it.
    args.push('--mysqlx=OFF');
  }
  return args;
}

/** Where MariaDB keeps its messages and the statements that make its system tables. */
async function shareFolder(path: string): Promise<string> {
  const base = dirname(dirname(await realpath(path)));
  for (const name of ['mysql', 'mariadb']) {
    const candidate = join(base, 'share', name);
    if (await exists(join(candidate, 'charsets'))) return candidate;
  }
  throw new Error(`${path} comes without its files in ${join(base, 'share')}`);
}

async function initialise(program: ServerProgram, folder: string, common: readonly string[]): Promise<void> {
  const env = environment(program.libraryPath);
  if (program.flavour === 'mysql') {
    await run(program.path, [...common, '--initialize-insecure'], { env });
    return;
  }
  await mkdir(join(folder, 'data', 'mysql'), { recursive: true });
  const args = [...common, '--bootstrap', '--log-warnings=0', '--max-allowed-packet=8M', '--innodb-log-file-size=16M'];
  const done = run(program.path, args, { env, maxBuffer: 16 * 1024 * 1024 });
  done.child.stdin?.on('error', () => {});
  done.child.stdin?.end(await systemTableStatements(await shareFolder(program.path)));
  await done;
}

/** What mariadb-install-db feeds to the server, without the help texts; that script needs more packages. */
async function systemTableStatements(share: string): Promise<string> {
  const parts = [
    'CREATE DATABASE IF NOT EXISTS mysql;\nUSE mysql;\nSET @auth_root_socket=NULL;\nSET @skip_auth_anonymous=1;\n',
  ];
  for (const name of ['system_tables', 'performance_tables', 'system_tables_data', 'sys_schema']) {
    // MariaDB 11 renamed the files.
    const path = join(share, `mariadb_${name}.sql`);
    const text = await readFile((await exists(path)) ? path : join(share, `mysql_${name}.sql`), 'utf8');
    // Accounts for the machine's own name, which mariadb-install-db leaves out the same way.
    parts.push(text.replace(/^.*@current_hostname.*$/gm, ''));
  }
  return parts.join('\n');
}

/** Run before the first connection is let in, so that there is no moment without a password. */
function accountStatements(flavour: 'mysql' | 'mariadb', password: string): string {
  const secret = `'${password.replaceAll('\\', '\\\\').replaceAll("'", "''")}'`;
  return [
    ...(flavour === 'mariadb'
      ? ["DELETE FROM mysql.global_priv WHERE User = '' OR Host NOT IN ('localhost', '%');"]
      : []),
    'FLUSH PRIVILEGES;',
    `ALTER USER root@localhost IDENTIFIED BY ${secret};`,
    // Without name look-ups a connection from 127.0.0.1 is not one from localhost.
    `CREATE USER IF NOT EXISTS root@'%' IDENTIFIED BY ${secret};`,
    "GRANT ALL PRIVILEGES ON *.* TO root@'%' WITH GRANT OPTION;",
    '',
  ].join('\n');
}

function binlogArguments(flavour: 'mysql' | 'mariadb', binlog: boolean): string[] {
  if (binlog)
    return ['--server-id=1', '--log-bin=binlog', '--binlog-format=ROW', '--log-bin-trust-function-creators=1'];
  return flavour === 'mysql' ? ['--skip-log-bin'] : [];
}

/** A port that was free just now. */
async function freePort(): Promise<number> {
  const { promise, resolve, reject } = Promise.withResolvers<number>();
  const probe = createServer();
  probe.once('error', reject);
  probe.listen(0, '127.0.0.1', () => {
    const address = probe.address();
    probe.close(() =>
      address !== null && typeof address === 'object' ? resolve(address.port) : reject(new Error('no port')),
    );
  });
  return await promise;
}

async function exists(path: string): Promise<boolean> {
  return await access(path).then(
    () => true,
    () => false,
  );
}
