/** Bundles each image's program into its dist folder: `node tools/build.ts [WORKSPACE…]`, by default both. */
import { execFile } from 'node:child_process';
import { access, mkdir, mkdtemp, readdir, rename, rm, stat, utimes } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { build } from 'esbuild';
import { bundleFormat, mergeStart } from './merge-start.ts';
import { slimBundle } from './slim-bundle.ts';

const run = promisify(execFile);

const root = join(import.meta.dirname, '..');
const images = ['migrator', 'loader'];

/** What is started by its own name beside the program: the service's worker thread. */
const furtherEntries: Readonly<Record<string, readonly string[]>> = {
  loader: [join('loader', 'src', 'service', 'inline', 'service-thread.ts')],
};

/** Database drivers that knex names in its dialects and that this project never loads. */
const unusedDrivers = [
  'better-sqlite3',
  'mariadb',
  'mysql',
  'oracledb',
  'pg',
  'pg-native',
  'pg-query-stream',
  'sqlite3',
  'tedious',
];

/**
 * Bundled CommonJS modules call require for Node's own modules. The minifier does not know of the names in here, so they
 * are ones that it never makes up.
 */
const requireForCommonJs =
  "import{createRequire as createRequireForBundle}from'node:module';const require=createRequireForBundle(import.meta.url);";

/** Old chunks stay this long, because a program that still runs may load one of them lazily. */
const chunkRetentionMs = 3_600_000;

/**
 * Bundles one workspace. Chunks are named by their content and main.mjs is renamed into place last, so that dist is
 * whole at every instant, also while builds run in parallel.
 * @returns the total size of what was written, without source maps, in bytes
 */
async function buildImage(workspace: string): Promise<number> {
  const startedAt = new Date();
  const dist = join(root, workspace, 'dist');
  await mkdir(dist, { recursive: true });
  const draft = await mkdtemp(join(root, workspace, 'dist', '.draft-'));
  try {
    const { metafile } = await build({
      absWorkingDir: root,
      entryPoints: [join(workspace, 'src', 'main.ts'), ...(furtherEntries[workspace] ?? [])],
      entryNames: '[name]',
      outdir: draft,
      ...bundleFormat,
      chunkNames: 'chunk-[name]-[hash]',
      // The bundler's own binary cannot be bundled; where it is needed, it is loaded from node_modules.
      external: [...unusedDrivers, 'esbuild'],
      banner: { js: requireForCommonJs },
      plugins: [slimBundle],
      logLevel: 'warning',
    });
    await mergeStart(draft, 'main.mjs', metafile);
    // A bundle that does not even start must not take the place of one that does.
    await run(process.execPath, [join(draft, 'main.mjs'), '--help']);
    const names = (await readdir(draft)).sort((a, b) => Number(isEntry(a)) - Number(isEntry(b)));
    let bytes = 0;
    for (const name of names) {
      const path = join(draft, name);
      // The launchers compare the bundle's time with the sources': a source saved during the build must count as newer.
      await utimes(path, startedAt, startedAt);
      if (!name.endsWith('.map')) bytes += (await stat(path)).size;
      await rename(path, join(dist, name));
    }
    await removeOldChunks(dist, new Set(names), startedAt.getTime() - chunkRetentionMs);
    return bytes;
  } finally {
    await rm(draft, { recursive: true, force: true });
  }
}

function isEntry(name: string): boolean {
  return name === 'main.mjs';
}

async function removeOldChunks(dist: string, keep: ReadonlySet<string>, before: number): Promise<void> {
  for (const name of await readdir(dist)) {
    if (keep.has(name)) continue;
    const path = join(dist, name);
    // Another build may have removed it, or its draft folder, in between.
    const facts = await stat(path).catch(() => undefined);
    if (facts !== undefined && facts.mtimeMs < before) await rm(path, { recursive: true, force: true });
  }
}

for (const workspace of process.argv.length > 2 ? process.argv.slice(2) : images) {
  await access(join(root, workspace, 'src', 'main.ts'));
  const startedMs = performance.now();
  const bytes = await buildImage(workspace);
  const tookMs = Math.round(performance.now() - startedMs);
  console.log(`${workspace}/dist: ${(bytes / 1e6).toFixed(1)} MB in ${tookMs} ms`);
}
