import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { promisify } from 'node:util';
import { cacheFolder } from '../embedded-database/debian-packages.ts';
import { makeFolder } from './cache.ts';

const run = promisify(execFile);
const version = '1.37.0';

/** Reads pairs of a version and an object on stdin, prints a line for each that does not fit. */
const program = `
import json, sys
import kubernetes_validate
for version, manifest in json.load(sys.stdin):
    try:
        kubernetes_validate.validate(manifest, version, strict=True)
    except kubernetes_validate.ValidationError as error:
        path = '.'.join(str(step) for step in error.path)
        print(version, manifest['kind'], manifest['metadata']['name'], path, error.message)
`;

/**
 * Checks objects against the schemas of Kubernetes versions, offline: a Python package carries them, kept in the cache folder.
 * @param objects pairs of a version such as 1.34 and an object
 * @returns what does not fit, empty when all is well
 * @throws when Python or the package cannot be had, or there is no schema for a kind
 */
export async function schemaFaults(objects: readonly (readonly [version: string, object: unknown])[]): Promise<string> {
  const packages = await makeFolder(join(cacheFolder(), `kubernetes-validate-${version}`), async (draft) => {
    const install = ['-m', 'pip', 'install', '--quiet', '--target', draft, `kubernetes-validate==${version}`];
    await run('python3', install, { cwd: draft });
  });
  const child = spawn('python3', ['-c', program], {
    stdio: ['pipe', 'pipe', 'inherit'],
    env: { ...process.env, PYTHONPATH: packages },
  });
  child.stdin.end(JSON.stringify(objects));
  // The exit code comes with the event.
  const [printed, [code]] = await Promise.all([text(child.stdout), once(child, 'close') as Promise<[number | null]>]);
  if (code !== 0) throw new Error('kubernetes-validate ended with an error of its own, see above');
  return printed;
}
