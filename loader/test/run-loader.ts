import { type ChildProcess, spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { onTestFinished } from 'vitest';
import { programFile } from '../../test/program-file.ts';
import type { TestSchema } from '../../test/servers.ts';

/** What the summary says of one table. */
export interface TableSummary {
  readonly table: string;
  readonly read: number;
  readonly inserted: number;
  readonly updated: number;
  readonly deleted: number;
  readonly unchanged: number;
  readonly rejected: number;
  readonly held: number;
  readonly publish: 'delta' | 'swap' | 'direct' | null;
}

export interface LoaderSummary {
  readonly outcome?: string;
  readonly tables?: readonly TableSummary[];
  readonly error?: { readonly code: string; readonly message: string; readonly hint: string };
  readonly [key: string]: unknown;
}

export interface LoaderRun {
  /** Null when a signal ended it. */
  readonly exit: number | null;
  /** What `--json` printed; empty if the process was killed. */
  readonly summary: LoaderSummary;
  readonly stderr: string;
  readonly seconds: number;
}

export interface StartedLoader {
  readonly child: ChildProcess;
  readonly ended: Promise<LoaderRun>;
}

/** One entry of `load:`; `source` names a file of the folder. */
export interface LoadEntry {
  readonly table: string;
  readonly source: unknown;
  readonly [key: string]: unknown;
}

const program = programFile('loader');

/** Compiled once for all the runs of all the tests: half of a short run is compiling. */
const compileCache = join(import.meta.dirname, '../../node_modules/.cache/loader-tests');

/** Nothing may hang: a run that takes longer is killed, and its exit is then null. */
const timeoutMs = 30_000;

/** A configuration and its files in a temporary folder, and the database that the program runs on. */
export class LoaderFolder {
  readonly path: string;
  readonly #environment: Readonly<Record<string, string>>;

  constructor(schema: Pick<TestSchema, 'environment'>, entries: readonly LoadEntry[], files: Files = {}) {
    this.path = mkdtempSync(join(tmpdir(), 'loader-'));
    this.#environment = schema.environment;
    onTestFinished(() => rmSync(this.path, { recursive: true, force: true }));
    this.configure(entries);
    this.write(files);
  }

  configure(entries: readonly LoadEntry[]): void {
    // JSON is YAML.
    this.write({ 'config.yaml': JSON.stringify({ load: entries }) });
  }

  write(files: Files): void {
    for (const [name, content] of Object.entries(files)) {
      mkdirSync(dirname(join(this.path, name)), { recursive: true });
      writeFileSync(join(this.path, name), content);
    }
  }

  /** Starts `loader load --json` with nothing of this process's environment but PATH. */
  start(words: readonly string[] = [], environment: Readonly<Record<string, string>> = {}): StartedLoader {
    const started = performance.now();
    const config = join(this.path, 'config.yaml');
    const child = spawn(process.execPath, [program, 'load', '--config', config, '--json', ...words], {
      env: {
        PATH: process.env['PATH'],
        NODE_COMPILE_CACHE: compileCache,
        DB_WAIT_SECONDS: '5',
        ...this.#environment,
        ...environment,
      },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    const timer = setTimeout(() => child.kill('SIGKILL'), timeoutMs);
    let stdout = '';
    let stderr = '';
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      stdout += text;
    });
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      stderr += text;
    });
    const ended = new Promise<LoaderRun>((resolve, reject) => {
      child.once('error', reject);
      child.once('close', (exit) => {
        clearTimeout(timer);
        // The program prints nothing else to stdout; half a document of a killed process is none.
        const summary = stdout.endsWith('}\n') ? (JSON.parse(stdout) as LoaderSummary) : {};
        resolve({ exit, summary, stderr, seconds: (performance.now() - started) / 1000 });
      });
    });
    return { child, ended };
  }

  /** Runs `loader load --json` to its end. */
  run(words: readonly string[] = [], environment: Readonly<Record<string, string>> = {}): Promise<LoaderRun> {
    return this.start(words, environment).ended;
  }

  /** Runs it and fails unless it ends with exit 0 and sums that add up; returns the tables' counts. */
  async load(
    words: readonly string[] = [],
    environment: Readonly<Record<string, string>> = {},
  ): Promise<readonly TableSummary[]> {
    const run = await this.run(words, environment);
    if (run.exit !== 0) throw new Error(`loader ended with ${run.exit}: ${JSON.stringify(run.summary)}\n${run.stderr}`);
    const tables = run.summary.tables ?? [];
    for (const each of tables) {
      const sum = each.inserted + each.updated + each.unchanged + each.rejected + each.held;
      if (sum !== each.read || Math.min(each.unchanged, each.inserted, each.updated) < 0)
        throw new Error(`the counts do not add up: ${JSON.stringify(each)}`);
    }
    return tables;
  }

  /** Runs it and fails unless it ends with this exit and code; returns the run. */
  async refuse(exit: number, code: string, words: readonly string[] = []): Promise<LoaderRun> {
    const run = await this.run(words);
    if (run.exit !== exit || run.summary.error?.code !== code)
      throw new Error(`loader ended with ${run.exit}: ${JSON.stringify(run.summary)}\n${run.stderr}`);
    return run;
  }
}

type Files = Readonly<Record<string, string | Uint8Array>>;

/** CSV of rows: NULL is an empty field, every other value is quoted. */
export function csv(columns: readonly string[], rows: readonly (readonly (string | number | null)[])[]): string {
  const field = (value: string | number | null) => (value === null ? '' : `"${String(value).replaceAll('"', '""')}"`);
  return [columns, ...rows].map((row) => `${row.map(field).join(',')}\n`).join('');
}
