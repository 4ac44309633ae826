import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { cacheFolder } from '../embedded-database/debian-packages.ts';
import { makeFolder } from './cache.ts';

const run = promisify(execFile);

/** The library that `docker compose config` reads files with, and its own small command. */
const library = 'github.com/compose-spec/compose-go/v2/cmd@v2.16.2';

/** Checks a file with these variables set. @throws with what is wrong with it */
type ComposeCheck = (file: string, environment: Readonly<Record<string, string>>) => Promise<void>;

/**
 * What checks a Compose file: `docker compose config`, which also fills in variables and looks for what the file refers to; else the library that it is
 * made of, which checks the schema, built by Go and kept in the cache folder: that takes half a minute the first time.
 * @throws when there is neither Docker Compose nor Go
 */
export async function findComposeCheck(): Promise<ComposeCheck> {
  const plugin = await run('docker', ['compose', 'version']).then(
    () => true,
    () => false,
  );
  const program = plugin ? 'docker' : await composeGo();
  return async (file, environment) => {
    // The library's command sees no variables; told so, it leaves them as they stand.
    const words = plugin
      ? ['compose', '--file', file, '--profile', '*', 'config', '--quiet']
      : ['-no-interpolation', file];
    await run(program, words, { env: { ...process.env, ...environment } });
  };
}

async function composeGo(): Promise<string> {
  const name = `compose-go-${library.split('@')[1]}`;
  const folder = await makeFolder(join(cacheFolder(), 'programs', name), async (draft) => {
    const env = { ...process.env, GOBIN: draft, CGO_ENABLED: '0' };
    await run('go', ['install', library], { cwd: draft, env, maxBuffer: 64 * 1024 ** 2 });
  });
  return join(folder, 'cmd');
}
