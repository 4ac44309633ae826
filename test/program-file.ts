import { join } from 'node:path';
import { inject } from 'vitest';
import type { Program } from './find-bundles.ts';

/** The file to start a program with: its bundle where the run has found a fresh one, else its source. */
export function programFile(program: Program): string {
  return inject('bundles')?.[program] ?? join(import.meta.dirname, '..', program, 'src', 'main.ts');
}
