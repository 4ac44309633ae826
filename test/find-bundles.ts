import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { TestProject } from 'vitest/node';

/** A program of this repository, by the name of its workspace. */
export type Program = 'migrator' | 'loader';

declare module 'vitest' {
  interface ProvidedContext {
    /** The bundles that tests start instead of the sources. */
    readonly bundles?: Readonly<Partial<Record<Program, string>>>;
  }
}

const programs: readonly Program[] = ['migrator', 'loader'];
const root = join(import.meta.dirname, '..');

/**
 * Finds the bundles that tests start: those that are as new as everything they were made from. A bundle, as the images have it, starts with little more than half
 * the CPU time that its sources take, and what database tests mostly do is start programs. Where one is older, as while somebody works on it, tests start the sources.
 */
export default async function setup(project: TestProject): Promise<void> {
  const bundles: Partial<Record<Program, string>> = {};
  // Whoever watches changes sources after this.
  for (const program of project.vitest.config.watch ? [] : programs) {
    const bundle = join(root, program, 'dist', 'main.mjs');
    const made = await changeMs(bundle);
    if (made === 0 || (await newestSourceMs(program)) > made)
      console.log(`Tests start the ${program}'s sources: its bundle is older than they are (npm run build).`);
    else bundles[program] = bundle;
  }
  project.provide('bundles', bundles);
}

async function newestSourceMs(program: Program): Promise<number> {
  const builders = ['build.ts', 'slim-bundle.ts', 'merge-start.ts'].map((name) => join('tools', name));
  const parts = ['package-lock.json', ...builders];
  for (const folder of [join('common', 'src'), join(program, 'src')]) {
    // Folders too: a file that is gone leaves nothing else behind.
    parts.push(folder, ...(await readdir(join(root, folder), { recursive: true })).map((name) => join(folder, name)));
  }
  return Math.max(...(await Promise.all(parts.map((part) => changeMs(join(root, part))))));
}

/** When a file was last written, in milliseconds; 0 if it is not there. */
async function changeMs(path: string): Promise<number> {
  return await stat(path).then(
    ({ mtimeMs }) => mtimeMs,
    () => 0,
  );
}
