import { execFile } from 'node:child_process';
import { readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { makeFolder, programOnPath } from '../../tools/programs/cache.ts';
import { cacheFolder } from '../data.ts';
import { timed } from '../process.ts';
import type { BenchServer } from '../servers.ts';

const run = promisify(execFile);

/** pt-archiver and what of Perl and MariaDB's connector it needs; the rest is in every Debian. */
const packages = ['percona-toolkit', 'libdbi-perl', 'libdbd-mysql-perl', 'libterm-readkey-perl', 'libmariadb3'];

export interface PtArchiver {
  readonly command: readonly [program: string, ...args: string[]];
  readonly env: Readonly<Record<string, string>>;
  readonly version: string;
}

/**
 * pt-archiver from PATH, else out of Debian's packages, unpacked into the cache folder without installing them.
 * @throws Error when there is neither, or when its driver cannot be loaded
 */
export async function findPtArchiver(): Promise<PtArchiver> {
  try {
    const onPath = await programOnPath('pt-archiver');
    return await checked(onPath === undefined ? await unpacked() : { command: [onPath], env: {} });
  } catch (error) {
    const hint = 'Archiving is not measured without it: install percona-toolkit, or run this on Debian with network.';
    throw new Error(`pt-archiver is neither on PATH nor to be had from Debian's packages. ${hint}`, { cause: error });
  }
}

async function unpacked(): Promise<Omit<PtArchiver, 'version'>> {
  const folder = await makeFolder(join(cacheFolder, 'percona-toolkit'), async (draft) => {
    // As root, apt would download as the user _apt, who may not write here.
    const own = process.getuid?.() === 0 ? ['-o', 'APT::Sandbox::User=root'] : [];
    const download = () => run('apt-get', [...own, 'download', '-qq', ...packages], { cwd: draft });
    // Package lists may be missing, as in container images.
    await download().catch(async () => {
      await run('apt-get', ['update', '-qq']);
      await download();
    });
    for (const name of (await readdir(draft)).filter((name) => name.endsWith('.deb'))) {
      await run('dpkg', ['-x', join(draft, name), draft]);
      await rm(join(draft, name));
    }
  });
  const library = join(folder, 'usr', 'lib');
  const [triplet = ''] = (await readdir(library)).filter((name) => name.includes('linux'));
  const perls = (await readdir(join(library, triplet, 'perl5'))).map((name) => join(library, triplet, 'perl5', name));
  return {
    command: ['perl', join(folder, 'usr', 'bin', 'pt-archiver')],
    env: {
      PERL5LIB: [...perls, join(folder, 'usr', 'share', 'perl5')].join(':'),
      LD_LIBRARY_PATH: join(library, triplet),
      // Where the connector finds how to log in with caching_sha2_password.
      MARIADB_PLUGIN_DIR: join(library, triplet, 'libmariadb3', 'plugin'),
    },
  };
}

async function checked({ command, env }: Omit<PtArchiver, 'version'>): Promise<PtArchiver> {
  await timed('perl', ['-MDBD::mysql', '-e', '1'], env);
  const [program, ...args] = command;
  const { stdout } = await timed(program, [...args, '--version'], env);
  return { command, env, version: stdout.trim() };
}

export interface PtTask {
  readonly from: BenchServer;
  readonly table: readonly [schema: string, table: string];
  /** A table of the same server or another, or a file. */
  readonly to:
    | { readonly server: BenchServer; readonly table: readonly [schema: string, table: string] }
    | { readonly file: string };
  readonly where: string;
  /** Beside where it reads and writes. */
  readonly args: readonly string[];
}

/** Runs pt-archiver to its end, as a whole process, by unencrypted TCP like everybody; returns the seconds. */
export async function runPtArchiver(pt: PtArchiver, task: PtTask): Promise<number> {
  const to = 'file' in task.to ? ['--file', task.to.file] : ['--dest', `${dsn(task.to.server, task.to.table)},L=1`];
  const [program, ...first] = pt.command;
  const args = [
    '--source',
    dsn(task.from, task.table),
    ...to,
    '--where',
    task.where,
    '--no-version-check',
    ...task.args,
  ];
  const { seconds } = await timed(program, [...first, ...args], pt.env);
  return seconds;
}

function dsn({ host, port, password }: BenchServer, [schema, table]: readonly [string, string]): string {
  return `h=${host},P=${port},u=root,p=${password},A=utf8mb4,D=${schema},t=${table}`;
}
