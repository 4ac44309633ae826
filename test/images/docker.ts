import { execFile, spawnSync } from 'node:child_process';
import { promisify } from 'node:util';

const run = promisify(execFile);

export const imageNames = ['database-migration', 'database-load', 'order-food'] as const;
export type ImageName = (typeof imageNames)[number];
const dockerfiles: Readonly<Record<ImageName, string>> = {
  'database-migration': 'migrator/Dockerfile',
  'database-load': 'loader/Dockerfile',
  'order-food': 'examples/order-food/Dockerfile',
};
/** A tag of the tests' own, so that what people built stays. */
export const testTag = 'image-test';

/** Runs docker. @returns what it printed @throws with its own words */
export async function docker(...args: readonly string[]): Promise<string> {
  return (await run('docker', [...args], { maxBuffer: 64 * 1024 ** 2, encoding: 'utf8' })).stdout;
}

/** Builds one image, or another target of its Dockerfile, as the README says. @returns its name */
export async function buildImage(image: ImageName, target?: string): Promise<string> {
  const name = target === undefined ? `${image}:${testTag}` : `${image}-${target}:${testTag}`;
  const chosen = target === undefined ? [] : ['--target', target];
  await docker('build', '--quiet', '--tag', name, '--file', dockerfiles[image], ...chosen, '.');
  return name;
}

export interface Ended {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** What `enforce: restricted` and the charts ask of a container, and the machine's own network for the test servers. */
const restricted = ['--rm', '--network', 'host', '--read-only', '--tmpfs', '/tmp', '--cap-drop', 'ALL'];

/** Runs an image to its end, restricted as the charts restrict it. */
export function runImage(image: string, options: readonly string[], args: readonly string[]): Ended {
  const all = ['run', ...restricted, '--security-opt', 'no-new-privileges', ...options, image, ...args];
  const { status, stdout, stderr } = spawnSync('docker', all, { encoding: 'utf8', maxBuffer: 64 * 1024 ** 2 });
  return { code: status, stdout, stderr };
}

export function environmentOptions(environment: Readonly<Record<string, string>>): readonly string[] {
  return Object.entries(environment).flatMap(([name, value]) => ['--env', `${name}=${value}`]);
}
