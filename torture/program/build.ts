import { mkdir, readFile, rm } from 'node:fs/promises';
import { dirname, join, relative } from 'node:path';
import { pathToFileURL } from 'node:url';
import { build, type Plugin } from 'esbuild';
import { changeSource, type SourceChange } from './change.ts';

type Entry = typeof import('./entry.ts');

/** The programs of this checkout, built with changes. */
export interface Programs {
  readonly verbs: Entry;
  /** The loader and the migrator as programs of their own. */
  readonly mains: Readonly<Record<'loader' | 'migrator', string>>;
}

const root = join(import.meta.dirname, '../..');

/** Below node_modules, so that what is not bundled is found. One folder for each run, so that two runs do not meet. */
const folder = join(root, 'node_modules', '.cache', 'torture', String(process.pid));

/** Bundles the programs under a name and loads them. @throws Error if a change does not fit the sources */
export async function buildPrograms(name: string, changes: readonly SourceChange[]): Promise<Programs> {
  const outdir = join(folder, name);
  await mkdir(outdir, { recursive: true });
  const mains = { loader: join(outdir, 'loader.mjs'), migrator: join(outdir, 'migrator.mjs') };
  const changed = new Set<string>();
  await build({
    absWorkingDir: root,
    entryPoints: {
      entry: 'torture/program/entry.ts',
      loader: 'loader/src/main.ts',
      migrator: 'migrator/src/main.ts',
    },
    outdir,
    outExtension: { '.js': '.mjs' },
    bundle: true,
    splitting: true,
    format: 'esm',
    platform: 'node',
    target: 'node24',
    sourcemap: 'inline',
    plugins: [externalPackages, changingSources(changes, changed)],
    logLevel: 'warning',
  });
  const untouched = changes.find(({ file }) => !changed.has(file));
  if (untouched) throw new Error(`${untouched.file} is no part of the programs`);
  const entry: unknown = await import(pathToFileURL(join(outdir, 'entry.mjs')).href);
  // It was built from that very file.
  return { verbs: entry as Entry, mains };
}

/** Removes what this process has built. */
export async function removeBuilds(): Promise<void> {
  await rm(folder, { recursive: true, force: true });
}

const externalPackages: Plugin = {
  name: 'external packages',
  setup({ onResolve }) {
    onResolve({ filter: /^[^./]/ }, ({ path, kind }) =>
      kind === 'entry-point' || path.startsWith('@tableset/') ? undefined : { path, external: true },
    );
  },
};

function changingSources(changes: readonly SourceChange[], changed: Set<string>): Plugin {
  const files = new Set(changes.map(({ file }) => file));
  return {
    name: 'changing sources',
    setup({ onLoad }) {
      onLoad({ filter: /\.ts$/ }, async ({ path }) => {
        const file = relative(root, path);
        if (!files.has(file)) return undefined;
        changed.add(file);
        const contents = changeSource(file, await readFile(path, 'utf8'), changes);
        return { contents, loader: 'ts', resolveDir: dirname(path) };
      });
    },
  };
}
