import { createHash } from 'node:crypto';
import { readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { build, type Metafile, type Plugin } from 'esbuild';

/** What all files of a bundle are. */
export const bundleFormat = {
  bundle: true,
  splitting: true,
  format: 'esm',
  platform: 'node',
  target: 'node24',
  minify: true,
  sourcemap: true,
  metafile: true,
  outExtension: { '.js': '.mjs' },
} as const;

/** What esbuild puts into the names of chunks. */
const hashLength = 8;

/**
 * Puts all chunks that a program needs before it does anything into one: every file costs a start as much as 20 KB of code do, and splitting
 * makes two dozen of them. The other chunks go on importing them by their own files, which now pass on what is in the one.
 * Programs wait for their work at the top level of their entry, so that stays a file of its own: who imports it waits for its end.
 * @param folder of the bundle, which has one program by the name of `entry` and is changed in place
 */
export async function mergeStart(folder: string, entry: string, { outputs }: Metafile): Promise<void> {
  const byName = new Map(Object.entries(outputs).map(([path, output]) => [basename(path), output]));
  const start = new Set<string>();
  const add = (name: string): void => {
    for (const { path, kind, external } of byName.get(name)?.imports ?? []) {
      const next = basename(path);
      if (external === true || kind !== 'import-statement' || start.has(next)) continue;
      start.add(next);
      add(next);
    }
  };
  add(entry);
  const draft = join(folder, '.start');
  const result = await build({
    absWorkingDir: folder,
    // Each reaches every chunk of the start, so that these all end in the one chunk that is shared.
    entryPoints: [entry, ...start].map((name) => ({ in: `${stubPrefix}${name}`, out: name.replace(/\.mjs$/, '') })),
    outdir: draft,
    ...bundleFormat,
    chunkNames: 'chunk-start-[hash]',
    plugins: [stubs(folder, start)],
    logLevel: 'warning',
  });
  const shared = Object.keys(result.metafile.outputs)
    .map((path) => basename(path))
    .filter((name) => name.startsWith('chunk-start-') && name.endsWith('.mjs'));
  const [merged, ...further] = shared;
  if (merged === undefined || further.length > 0)
    throw new Error(`the start is in ${shared.length} chunks, not in one`);
  for (const name of await readdir(draft)) await rename(join(draft, name), join(folder, name));
  await rm(draft, { recursive: true });
  await renameChunks(folder, merged);
}

const stubPrefix = 'start-of:';

/** A file that imports all of the start and passes on what one of its files exports; whatever else that imports stays outside. */
function stubs(folder: string, start: ReadonlySet<string>): Plugin {
  const all = [...start].map((name) => `import './${name}';`).join('');
  return {
    name: 'start-stubs',
    setup({ onResolve, onLoad }) {
      onResolve({ filter: new RegExp(`^${stubPrefix}`) }, ({ path }) => ({
        path: path.slice(stubPrefix.length),
        namespace: 'stub',
      }));
      onLoad({ filter: /.*/, namespace: 'stub' }, ({ path }) => ({
        contents: start.has(path) ? `${all}export * from './${path}';` : `${all}import './${path}';`,
        resolveDir: folder,
        loader: 'js',
      }));
      onResolve({ filter: /^\.\/chunk-/ }, ({ path, kind }) =>
        kind === 'import-statement' && start.has(basename(path)) ? undefined : { path, external: true },
      );
    },
  };
}

/**
 * Renames the other chunks by what the merged one is: a program that still runs while dist is replaced must not find
 * chunks of the new one by the names of its own. Names keep their length, so that source maps stay right.
 */
async function renameChunks(folder: string, merged: string): Promise<void> {
  const files = await readdir(folder);
  const names = new Map<string, string>();
  for (const name of files) {
    const [, stem = '', hash = ''] = /^(chunk-.+-)([0-9A-Z]+)\.mjs$/.exec(name) ?? [];
    if (hash.length !== hashLength || name === merged) continue;
    const renamed = createHash('sha256').update(hash).update(merged).digest('hex').slice(0, hashLength).toUpperCase();
    names.set(name, `${stem}${renamed}.mjs`);
  }
  for (const file of files) {
    const own = file.replace(/\.map$/, '');
    const path = join(folder, file);
    const content = await readFile(path, 'utf8');
    const changed = content.replaceAll(/chunk-[\w.-]+?-[0-9A-Z]{8}\.mjs/g, (name) => names.get(name) ?? name);
    if (changed !== content) await writeFile(path, changed);
    const target = names.get(own);
    if (target !== undefined) await rename(path, join(folder, file.replace(own, target)));
  }
}
