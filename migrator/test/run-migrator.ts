import { type ChildProcess, spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { onTestFinished } from 'vitest';
import { programFile } from '../../test/program-file.ts';

export interface MigratorRun {
  /** Null when a signal ended it. */
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
  /** What `--json` printed. */
  readonly summary: Readonly<Record<string, unknown>>;
  /** The error of a failed run. */
  readonly error: Readonly<Record<string, unknown>>;
}

export interface StartedMigrator {
  readonly child: ChildProcess;
  readonly ended: Promise<MigratorRun>;
  /** Settles when stderr has shown the text. */
  said(text: string): Promise<void>;
}

const program = programFile('migrator');

/** Compiled once for all the runs of all the tests: half of a short run is compiling. */
const compileCache = join(import.meta.dirname, '../../node_modules/.cache/migrator-tests');

/** A folder of migrations for one test, removed after it. */
export function migrationsFolder(files: Readonly<Record<string, string>>): string {
  const folder = mkdtempSync(join(tmpdir(), 'migrations-'));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  addFiles(folder, files);
  return folder;
}

export function addFiles(folder: string, files: Readonly<Record<string, string>>): void {
  for (const [name, text] of Object.entries(files)) {
    mkdirSync(dirname(join(folder, name)), { recursive: true });
    writeFileSync(join(folder, name), text);
  }
}

/** Starts the program with `--json`, with nothing of this process's environment but PATH. */
export function startMigrator(
  environment: Readonly<Record<string, string>>,
  folder: string,
  words: readonly string[] = ['up'],
): StartedMigrator {
  const child = spawn(process.execPath, [program, ...words, '--json'], {
    env: {
      PATH: process.env['PATH'],
      NODE_COMPILE_CACHE: compileCache,
      MIGRATIONS_DIR: folder,
      DB_WAIT_SECONDS: '5',
      ...environment,
    },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let stdout = '';
  let stderr = '';
  const listeners = new Set<() => void>();
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    stdout += text;
  });
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    stderr += text;
    for (const listener of listeners) listener();
  });
  const ended = new Promise<MigratorRun>((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (code) => {
      const summary = stdout.startsWith('{') ? parseObject(stdout) : {};
      const { error } = summary;
      resolve({ code, stdout, stderr, summary, error: isObject(error) ? error : {} });
    });
  });
  const said = (text: string) =>
    new Promise<void>((resolve, reject) => {
      const look = () => {
        if (stderr.includes(text)) resolve();
      };
      listeners.add(look);
      child.once('close', () => {
        look();
        reject(new Error(`ended without saying ${text}:\n${stdout}${stderr}`));
      });
      look();
    });
  return { child, ended, said };
}

/** Runs the program to its end. */
export function runMigrator(
  environment: Readonly<Record<string, string>>,
  folder: string,
  words: readonly string[] = ['up'],
): Promise<MigratorRun> {
  return startMigrator(environment, folder, words).ended;
}

function parseObject(text: string): Readonly<Record<string, unknown>> {
  const value: unknown = JSON.parse(text);
  return isObject(value) ? value : {};
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null;
}
