import { execFile } from 'node:child_process';
import { access, mkdir, mkdtemp, readdir, readFile, rename, rm } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { inspectProgram, type ServerProgram } from './server-program.ts';

const run = promisify(execFile);
const patternOfServer = '^mariadb-server-core(-[0-9.]+)?$';

/**
 * MariaDB out of the Debian or Ubuntu packages for this very system, unpacked into the user's cache folder: no root
 * needed, nothing installed. The second call takes what the first unpacked.
 * @throws with the reason when this is neither Debian nor Ubuntu or the packages cannot be had
 */
export async function unpackedServer(): Promise<ServerProgram> {
  const home = join(cacheFolder(), 'mariadb', `${await systemName()}-${process.arch}`);
  const cached = await inspect(home).catch(() => undefined);
  if (cached !== undefined) return cached;
  await mkdir(join(home, '..'), { recursive: true });
  const draft = await mkdtemp(`${home}.draft-`);
  try {
    await downloadAndUnpack(draft);
    await inspect(draft);
    // What is there does not run, perhaps because the system was upgraded under it.
    await rm(home, { recursive: true, force: true });
    await rename(draft, home).catch(async (error: unknown) => {
      // Another process was faster: what it made is as good.
      await inspect(home).catch(() => {
        throw error;
      });
    });
    return await inspect(home);
  } finally {
    await rm(draft, { recursive: true, force: true });
  }
}

/** Where this project keeps what it can fetch again. */
export function cacheFolder(): string {
  return join(process.env['XDG_CACHE_HOME'] || join(homedir(), '.cache'), 'tableset');
}

async function inspect(home: string): Promise<ServerProgram> {
  return await inspectProgram(join(home, 'usr', 'sbin', 'mariadbd'), await libraryPath(home));
}

/** The folders of the unpacked libraries; those of the system's own are found after them. */
async function libraryPath(home: string): Promise<string> {
  const folders: string[] = [];
  for (const base of [join(home, 'usr', 'lib'), join(home, 'lib')]) {
    const entries = await readdir(base, { withFileTypes: true }).catch(() => []);
    folders.push(base, ...entries.filter((entry) => entry.isDirectory()).map((entry) => join(base, entry.name)));
  }
  return folders.join(':');
}

/** Packages fit one release of one distribution. */
async function systemName(): Promise<string> {
  const text = await readFile('/etc/os-release', 'utf8').catch(() => '');
  const field = (name: string) => new RegExp(`^${name}="?([^"\\n]*)`, 'm').exec(text)?.[1] ?? 'unknown';
  return `${field('ID')}-${field('VERSION_ID')}`;
}

async function downloadAndUnpack(draft: string): Promise<void> {
  for (const program of ['apt-get', 'apt-cache', 'dpkg']) {
    if (!(await onPath(program))) throw new Error(`${program} is not on PATH: this is neither Debian nor Ubuntu`);
  }
  const debs = join(draft, 'debs');
  await mkdir(debs);
  // The system's package lists may be missing, as in container images, or name versions that are gone.
  const privateLists = join(draft, 'apt');
  const failures: unknown[] = [];
  for (const options of [[], await privateOptions(privateLists)]) {
    try {
      if (options.length > 0) await apt('apt-get', [...options, 'update', '-qq'], debs);
      await download(options, debs);
      failures.length = 0;
      break;
    } catch (error) {
      failures.push(error);
    }
  }
  if (failures.length > 0) {
    const reason = failures.map((failure) => (failure instanceof Error ? failure.message : String(failure))).at(-1);
    throw new Error(`the packages could not be downloaded: ${reason}`, { cause: failures[0] });
  }
  for (const name of await readdir(debs)) await run('dpkg', ['-x', join(debs, name), draft]);
  await rm(debs, { recursive: true });
  await rm(privateLists, { recursive: true, force: true });
}

/** Options that make apt keep its lists in a folder of ours, for which it needs no root. */
async function privateOptions(folder: string): Promise<string[]> {
  await mkdir(join(folder, 'lists', 'partial'), { recursive: true });
  await mkdir(join(folder, 'cache', 'archives', 'partial'), { recursive: true });
  return ['-o', `Dir::State::Lists=${join(folder, 'lists')}`, '-o', `Dir::Cache=${join(folder, 'cache')}`];
}

/** Downloads the server's package and those of its dependencies that the system lacks; apt checks their hashes. */
async function download(options: readonly string[], folder: string): Promise<void> {
  const found = await apt('apt-cache', [...options, 'search', '--names-only', patternOfServer], folder);
  const names = found.split('\n').map((line) => line.split(' ')[0] ?? '');
  const server = names.filter((name) => name !== '').sort((a, b) => versionIn(b) - versionIn(a))[0];
  if (server === undefined) throw new Error('no package mariadb-server-core in the package lists');
  const simulated = await apt('apt-get', [...options, 'install', '-s', '--no-install-recommends', server], folder);
  const missing = [...simulated.matchAll(/^Inst (\S+) (?:\[\S*\] )?\((\S+)/gm)].map(
    ([, name, version]) => `${name}=${version}`,
  );
  // A server that is installed, but cannot be run from where it is, is downloaded all the same.
  const wanted = missing.some((entry) => entry.startsWith(`${server}=`)) ? missing : [...missing, server];
  await apt('apt-get', [...options, 'download', ...wanted], folder);
}

/** mariadb-server-core without a version is the distribution's newest. */
function versionIn(name: string): number {
  const version = /-(\d+)\.(\d+)$/.exec(name);
  return version === null ? Number.POSITIVE_INFINITY : Number(version[1]) * 1000 + Number(version[2]);
}

async function apt(program: string, args: readonly string[], folder: string): Promise<string> {
  // As root, apt would download as the user _apt, who may not write into the cache folder.
  const own = process.getuid?.() === 0 ? ['-o', 'APT::Sandbox::User=root'] : [];
  const env = { ...process.env, LC_ALL: 'C', DEBIAN_FRONTEND: 'noninteractive' };
  const { stdout } = await run(program, [...own, '-o', 'Debug::NoLocking=1', ...args], {
    cwd: folder,
    env,
    timeout: 300_000,
    maxBuffer: 16 * 1024 * 1024,
  });
  return stdout;
}

async function onPath(program: string): Promise<boolean> {
  for (const folder of (process.env['PATH'] ?? '').split(':')) {
    const found = await access(join(folder, program)).then(
      () => true,
      () => false,
    );
    if (found) return true;
  }
  return false;
}
