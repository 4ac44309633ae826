import { execFile } from 'node:child_process';
import { readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { cacheFolder } from '../embedded-database/debian-packages.ts';
import { makeFolder, programOnPath } from './cache.ts';

const run = promisify(execFile);

/**
 * A program from PATH, else out of a Debian or Ubuntu package, unpacked into the cache folder without installing it.
 * @throws when there is neither
 */
export async function findProgram(name: string, fromPackage: string): Promise<string> {
  const onPath = await programOnPath(name);
  if (onPath !== undefined) return onPath;
  const folder = await makeFolder(join(cacheFolder(), 'programs', fromPackage), async (draft) => {
    const download = () => run('apt-get', ['download', '-qq', fromPackage], { cwd: draft });
    // Package lists may be missing, as in container images.
    await download().catch(async () => {
      await run('apt-get', ['update', '-qq']);
      await download();
    });
    for (const file of await readdir(draft)) {
      await run('dpkg', ['-x', join(draft, file), draft]);
      await rm(join(draft, file));
    }
  });
  return join(folder, 'usr', 'bin', name);
}
