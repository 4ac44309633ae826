import { type ChildProcess, spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { onTestFinished } from 'vitest';
import { programFile } from '../../test/program-file.ts';
import type { TestSchema, TestServer } from '../../test/servers.ts';

export type ArchiveVerb = 'archive' | 'purge' | 'restore' | 'verify' | 'status';

/** What the summary says of one table. */
export interface ArchivedTableSummary {
  readonly table: string;
  readonly matched: number;
  readonly archived: number;
  readonly verified: number;
  readonly deleted: number;
  readonly skipped: Readonly<Record<string, number>>;
}

export interface ArchiveSummary {
  readonly outcome?: string;
  readonly tables?: readonly ArchivedTableSummary[];
  readonly error?: { readonly code: string; readonly message: string; readonly hint: string };
  readonly [key: string]: unknown;
}

export interface ArchiveRun {
  /** Null when a signal ended it. */
  readonly exit: number | null;
  /** What `--json` printed; empty if the process was killed. */
  readonly summary: ArchiveSummary;
  readonly stderr: string;
  readonly seconds: number;
}

export interface StartedArchive {
  readonly child: ChildProcess;
  readonly ended: Promise<ArchiveRun>;
}

/** What `config.yaml` holds: `stores`, `archive`, `limits` and whatever else. */
export type ArchiveSections = Readonly<Record<string, unknown>>;

const program = programFile('loader');

/** Compiled once for all the runs of all the tests: half of a short run is compiling. */
const compileCache = join(import.meta.dirname, '../../node_modules/.cache/loader-tests');

/** Nothing may hang: a run that takes longer is killed, and its exit is then null. */
const timeoutMs = 60_000;

/** A configuration in a temporary folder, and the database that the verbs run on. */
export class ArchiveFolder {
  readonly path: string;
  readonly #environment: Readonly<Record<string, string>>;

  constructor(schema: Pick<TestSchema, 'environment'>, sections: ArchiveSections) {
    this.path = mkdtempSync(join(tmpdir(), 'archive-'));
    this.#environment = schema.environment;
    onTestFinished(() => rmSync(this.path, { recursive: true, force: true }));
    this.configure(sections);
  }

  configure(sections: ArchiveSections): void {
    // JSON is YAML.
    this.write('config.yaml', JSON.stringify(sections));
  }

  write(name: string, content: string | Uint8Array): void {
    mkdirSync(dirname(join(this.path, name)), { recursive: true });
    writeFileSync(join(this.path, name), content);
  }

  async read(name: string): Promise<string> {
    return await readFile(join(this.path, name), 'utf8');
  }

  /** Starts `loader VERB --json` with nothing of this process's environment but PATH. */
  start(
    verb: ArchiveVerb | 'load' = 'archive',
    words: readonly string[] = [],
    environment: Readonly<Record<string, string>> = {},
  ): StartedArchive {
    const started = performance.now();
    const config = join(this.path, 'config.yaml');
    const child = spawn(process.execPath, [program, verb, '--config', config, '--json', ...words], {
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
    const ended = new Promise<ArchiveRun>((resolve, reject) => {
      child.once('error', reject);
      child.once('close', (exit) => {
        clearTimeout(timer);
        // The program prints nothing else to stdout; half a document of a killed process is none.
        const summary = stdout.endsWith('}\n') ? (JSON.parse(stdout) as ArchiveSummary) : {};
        resolve({ exit, summary, stderr, seconds: (performance.now() - started) / 1000 });
      });
    });
    return { child, ended };
  }

  /** Runs `loader VERB --json` to its end. */
  run(
    verb: ArchiveVerb | 'load' = 'archive',
    words: readonly string[] = [],
    environment: Readonly<Record<string, string>> = {},
  ): Promise<ArchiveRun> {
    return this.start(verb, words, environment).ended;
  }

  /** Runs `loader archive` and fails unless it ends with exit 0 and counts that add up; returns the tables' counts. */
  async archive(words: readonly string[] = []): Promise<readonly ArchivedTableSummary[]> {
    const run = await this.run('archive', words);
    if (run.exit !== 0)
      throw new Error(`archive ended with ${run.exit}: ${JSON.stringify(run.summary)}\n${run.stderr}`);
    const tables = run.summary.tables ?? [];
    for (const each of tables) assertAddsUp(each, true);
    return tables;
  }

  /** Runs a verb and fails unless it ends with this exit and code; returns the run. */
  async refuse(
    exit: number,
    code: string,
    verb: ArchiveVerb = 'archive',
    words: readonly string[] = [],
  ): Promise<ArchiveRun> {
    const run = await this.run(verb, words);
    if (run.exit !== exit || run.summary.error?.code !== code)
      throw new Error(`${verb} ended with ${run.exit}: ${JSON.stringify(run.summary)}\n${run.stderr}`);
    return run;
  }
}

/** matched = archived + skipped; of a run that reached its goal also archived = verified = deleted. */
function assertAddsUp(counts: ArchivedTableSummary, goalReached: boolean): void {
  const skipped = Object.values(counts.skipped).reduce((sum, count) => sum + count, 0);
  const equal = counts.archived === counts.verified && counts.verified === counts.deleted;
  if (counts.matched !== counts.archived + skipped || (goalReached && !equal))
    throw new Error(`the counts do not add up: ${JSON.stringify(counts)}`);
}

/** A second schema on the same server for archive tables, which the first one's account may use. */
export async function archiveSchema(server: TestServer, schema: TestSchema): Promise<TestSchema> {
  const archive = await server.createSchema();
  await server.query(`GRANT ALL PRIVILEGES ON ${archive.name}.* TO ${schema.user}@'%'`);
  return archive;
}

/** Sections for archiving to a schema of the primary's own server. */
export function sameServer(
  archive: Pick<TestSchema, 'name'>,
  entries: readonly Readonly<Record<string, unknown>>[],
  limits: Readonly<Record<string, unknown>> = {},
): ArchiveSections {
  return {
    stores: { cold: { mysql: { name: archive.name } } },
    archive: entries.map((entry) => ({ dateColumn: 'created_at', archiveAfterDays: 30, store: 'cold', ...entry })),
    limits,
  };
}
