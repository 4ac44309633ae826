import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { databaseEnv, node } from './programs.ts';
import type { BenchServer } from './servers.ts';

/** The 99th percentiles of so many reads and as many writes by key. */
export interface ForegroundTimes {
  readonly count: number;
  readonly readMs: number;
  readonly writeMs: number;
}

/**
 * Lets the foreground client work on the rows of some keys while something else is done.
 * @throws Error if it ended before it was told to
 */
export async function withForeground(
  server: BenchServer,
  keys: readonly [first: number, last: number],
  work: () => Promise<unknown>,
): Promise<ForegroundTimes> {
  const args = [join(import.meta.dirname, 'foreground.ts'), ...keys.map(String)];
  const child = spawn(node, args, {
    stdio: ['ignore', 'pipe', 'inherit'],
    env: { PATH: process.env['PATH'] ?? '', ...databaseEnv(server) },
  });
  const closed = once(child, 'close');
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  try {
    const ready = await lines.next();
    if (ready.value !== 'ready') throw new Error('the foreground client did not start');
    await work();
  } finally {
    child.kill('SIGTERM');
    await closed;
  }
  const { value } = await lines.next();
  if (typeof value !== 'string') throw new Error('the foreground client ended before it was told to');
  // It is this bench's own program.
  return JSON.parse(value) as ForegroundTimes;
}
