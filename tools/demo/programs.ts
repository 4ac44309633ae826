import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { text } from 'node:stream/consumers';

const root = join(import.meta.dirname, '..', '..');

export interface TableCounts {
  readonly table: string;
  readonly read: number;
  readonly inserted: number;
  readonly updated: number;
  readonly deleted: number;
  readonly unchanged: number;
  readonly rejected: number;
  /** Rows of the source that were archived or purged, and so are not inserted again. */
  readonly held: number;
}

export interface LoadSummary {
  readonly outcome: string;
  readonly seconds: number;
  readonly tables: readonly TableCounts[];
}

export interface MigrateSummary {
  readonly outcome: string;
  readonly applied: readonly unknown[];
  readonly version: string | number | null;
}

/** What `loader archive` did with a table. */
export interface ArchiveCounts {
  readonly table: string;
  readonly matched: number;
  readonly archived: number;
  readonly verified: number;
  readonly deleted: number;
  readonly skipped: Readonly<Record<string, number>>;
}

export interface VerifyCounts {
  readonly table: string;
  readonly batches: number;
  readonly rows: number;
  readonly verified: number;
}

export interface RestoreCounts {
  readonly table: string;
  readonly matched: number;
  readonly restored: number;
  readonly unchanged: number;
  readonly conflicts: number;
}

export interface PurgeCounts {
  readonly table: string;
  readonly matched: number;
  readonly purged: number;
}

export interface StatusSummary {
  readonly batches: readonly {
    readonly batch: string;
    readonly store: string;
    readonly state: string;
    readonly oldest: string | null;
    readonly newest: string | null;
    readonly found: number | null;
  }[];
  readonly onPrimary: readonly { readonly table: string; readonly rows: number }[] | null;
}

interface Tables<Counts> {
  readonly tables: readonly Counts[];
}

/** Where the programs run: their settings, and the signal that ends them. */
export interface Surroundings {
  readonly environment: Readonly<Record<string, string>>;
  readonly signal: AbortSignal;
}

/** Runs `migrator up --json` and returns the summary that it prints. */
export async function migrate(surroundings: Surroundings): Promise<MigrateSummary> {
  const summary = await runProgram('migrator', ['up', '--json'], surroundings);
  // The shape of --json is a fixed interface; the demo checks each value that it shows.
  return summary as MigrateSummary;
}

/** Runs `loader load --json` and returns the summary that it prints. */
export async function load(config: string, surroundings: Surroundings): Promise<LoadSummary> {
  // As above.
  return (await runLoader('load', config, surroundings)) as LoadSummary;
}

/** Runs `loader archive --json`, and so on for the verbs below. */
export async function archive(
  config: string,
  surroundings: Surroundings,
  ...words: readonly string[]
): Promise<Tables<ArchiveCounts>> {
  return (await runLoader('archive', config, surroundings, words)) as Tables<ArchiveCounts>;
}

export async function verify(config: string, surroundings: Surroundings): Promise<Tables<VerifyCounts>> {
  return (await runLoader('verify', config, surroundings)) as Tables<VerifyCounts>;
}

export async function restore(
  config: string,
  surroundings: Surroundings,
  ...words: readonly string[]
): Promise<Tables<RestoreCounts>> {
  return (await runLoader('restore', config, surroundings, words)) as Tables<RestoreCounts>;
}

export async function purge(config: string, surroundings: Surroundings): Promise<Tables<PurgeCounts>> {
  return (await runLoader('purge', config, surroundings)) as Tables<PurgeCounts>;
}

export async function status(
  config: string,
  surroundings: Surroundings,
  ...words: readonly string[]
): Promise<StatusSummary> {
  return (await runLoader('status', config, surroundings, words)) as StatusSummary;
}

async function runLoader(
  verb: string,
  config: string,
  surroundings: Surroundings,
  words: readonly string[] = [],
): Promise<unknown> {
  return await runProgram('loader', [verb, '--config', config, '--json', ...words], surroundings);
}

/** Far more than any of the data sets takes. */
const programTimeoutMs = 240_000;

async function runProgram(name: string, args: readonly string[], surroundings: Surroundings): Promise<unknown> {
  const child = spawn(join(root, name, 'bin', name), args, {
    env: childEnvironment(surroundings),
    signal: surroundings.signal,
    stdio: ['ignore', 'pipe', 'pipe'],
    timeout: programTimeoutMs,
    killSignal: 'SIGKILL',
  });
  const [[code], stdout, stderr] = await Promise.all([once(child, 'exit'), text(child.stdout), text(child.stderr)]);
  const output = `\n${stdout}${stderr}`;
  if (code === null)
    throw new Error(`${name} ${args.join(' ')} had to be ended after ${programTimeoutMs / 1000} s${output}`);
  if (code !== 0) throw new Error(`${name} ${args.join(' ')} ended with exit code ${code}${output}`);
  return JSON.parse(stdout);
}

/** The settings of the shell that starts the demo must not reach the programs, which have settings of the same names. */
function childEnvironment({ environment }: Surroundings): NodeJS.ProcessEnv {
  const own = Object.entries(process.env).filter(
    ([name]) => !/^(DB|MIGRATIONS|LOADER?|LOCK|LOG)_|^ON_BUSY$/.test(name),
  );
  return { ...Object.fromEntries(own), ...environment };
}

/** The example app, running. */
export interface RunningApp extends AsyncDisposable {
  readonly url: string;
}

/** Starts the example app on a free port and waits until it listens; leaving its scope stops it. */
export async function startApp(surroundings: Surroundings): Promise<RunningApp> {
  const main = join(root, 'examples', 'order-food', 'src', 'main.ts');
  const child = spawn(process.execPath, [main], {
    env: { ...childEnvironment(surroundings), PORT: '0' },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  try {
    const port = await listeningPort(child, surroundings.signal);
    return { url: `http://127.0.0.1:${port}`, [Symbol.asyncDispose]: () => stopApp(child) };
  } catch (error) {
    await stopApp(child);
    throw error;
  }
}

async function listeningPort(child: ChildProcess & { readonly stdout: NodeJS.ReadableStream }, signal: AbortSignal) {
  const deadline = AbortSignal.any([signal, AbortSignal.timeout(20_000)]);
  for await (const line of createInterface({ input: child.stdout, signal: deadline })) {
    const event: unknown = JSON.parse(line);
    if (typeof event === 'object' && event !== null && 'port' in event) return Number(event.port);
  }
  throw new Error('the example app did not start');
}

async function stopApp(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const ended = once(child, 'exit');
  child.kill('SIGTERM');
  const impatience = setTimeout(() => child.kill('SIGKILL'), 5000);
  await ended;
  clearTimeout(impatience);
}
