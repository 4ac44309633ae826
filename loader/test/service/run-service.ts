import { type ChildProcess, spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { onTestFinished } from 'vitest';
import { programFile } from '../../../test/program-file.ts';
import type { TestSchema } from '../../../test/servers.ts';
import type { RunView } from '../../src/service/http/run-view.ts';
import type { StatusDocument } from '../../src/service/http/status.ts';

const program = programFile('loader');

/** Compiled once for all the runs of all the tests. */
const compileCache = join(import.meta.dirname, '../../../node_modules/.cache/loader-tests');

/** Nothing may hang. */
const waitMs = 30_000;

export interface Answer {
  readonly status: number;
  readonly headers: Headers;
  /** Parsed where it is JSON, else the text. */
  readonly body: unknown;
}

export interface Problem {
  readonly type: string;
  readonly status: number;
  readonly code: string;
  readonly detail: string;
  readonly remedy: string;
  readonly errors?: readonly { readonly path: string; readonly message: string }[];
}

/** A configuration and its files in a temporary folder, and the database that a service works on. */
export class ServiceFolder {
  readonly path: string;
  readonly #environment: Readonly<Record<string, string>>;

  constructor(schema: Pick<TestSchema, 'environment'>, sections: Readonly<Record<string, unknown>>) {
    this.path = mkdtempSync(join(tmpdir(), 'service-'));
    this.#environment = schema.environment;
    onTestFinished(() => rmSync(this.path, { recursive: true, force: true }));
    this.configure(sections);
  }

  /** JSON is YAML. */
  configure(sections: Readonly<Record<string, unknown>>): void {
    this.write('config.yaml', JSON.stringify(sections));
  }

  write(name: string, content: string): void {
    mkdirSync(dirname(join(this.path, name)), { recursive: true });
    writeFileSync(join(this.path, name), content);
  }

  /** Starts `loader serve` on a port of its own, without schedules unless they are given, and waits until it listens. */
  async start(
    environment: Readonly<Record<string, string>> = {},
    words: readonly string[] = ['serve'],
  ): Promise<Service> {
    const service = new Service(this.#spawn(words, environment));
    onTestFinished(() => service.kill());
    await service.listening;
    return service;
  }

  /** Starts it and waits until it takes orders. */
  async ready(environment: Readonly<Record<string, string>> = {}): Promise<Service> {
    const service = await this.start(environment);
    await until('the service is ready', async () => (await service.get('/ready')).status === 200);
    return service;
  }

  /** Runs another verb with `--json` to its end. */
  async run(
    words: readonly string[],
  ): Promise<{ readonly exit: number | null; readonly summary: Record<string, unknown> }> {
    const child = this.#spawn([...words, '--json'], {});
    let stdout = '';
    child.stdout?.setEncoding('utf8').on('data', (text: string) => {
      stdout += text;
    });
    const exit = await new Promise<number | null>((resolve) => child.once('close', resolve));
    return { exit, summary: JSON.parse(stdout) as Record<string, unknown> };
  }

  #spawn(words: readonly string[], environment: Readonly<Record<string, string>>): ChildProcess {
    return spawn(process.execPath, [program, ...words, '--config', join(this.path, 'config.yaml')], {
      env: {
        PATH: process.env['PATH'],
        NODE_COMPILE_CACHE: compileCache,
        DB_WAIT_SECONDS: '5',
        HEALTH_SERVER_HOST: '127.0.0.1',
        HEALTH_SERVER_PORT: '0',
        CRON_SCHEDULE: 'off',
        ARCHIVAL_JOB_CRON: 'off',
        PURGE_JOB_CRON: 'off',
        RUN_RETRY_SECONDS: '0',
        ...this.#environment,
        ...environment,
      },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
  }
}

/** A service that runs as a process of its own. */
export class Service {
  readonly child: ChildProcess;
  readonly listening: Promise<void>;
  /** Exit code; null when a signal ended it. */
  readonly ended: Promise<number | null>;
  #origin = '';
  #log = '';

  constructor(child: ChildProcess) {
    this.child = child;
    this.ended = new Promise((resolve) => child.once('close', resolve));
    this.listening = new Promise((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error(`it does not listen: ${this.#log}`)), waitMs);
      const read = (text: string) => {
        this.#log += text;
        const address = /"address":"(http:[^"]+)"/.exec(this.#log)?.[1];
        if (address === undefined || this.#origin !== '') return;
        this.#origin = address;
        clearTimeout(timer);
        resolve();
      };
      child.stdout?.setEncoding('utf8').on('data', read);
      child.stderr?.setEncoding('utf8').on('data', read);
      child.once('close', (exit) => {
        clearTimeout(timer);
        reject(new Error(`it ended with ${exit}: ${this.#log}`));
      });
    });
  }

  /** `http://127.0.0.1:PORT` */
  get origin(): string {
    return this.#origin;
  }

  /** Everything that it printed. */
  get log(): string {
    return this.#log;
  }

  async fetch(path: string, options: RequestInit = {}): Promise<Answer> {
    const response = await fetch(`${this.#origin}${path}`, { ...options, signal: AbortSignal.timeout(waitMs) });
    const text = await response.text();
    const json = /json/.test(response.headers.get('content-type') ?? '') && text !== '';
    return { status: response.status, headers: response.headers, body: json ? JSON.parse(text) : text };
  }

  async get(path: string, headers: Readonly<Record<string, string>> = {}): Promise<Answer> {
    return await this.fetch(path, { headers });
  }

  async post(path: string, body: unknown, headers: Readonly<Record<string, string>> = {}): Promise<Answer> {
    return await this.fetch(path, {
      method: 'POST',
      headers: { 'content-type': 'application/json', ...headers },
      body: JSON.stringify(body),
    });
  }

  /** Triggers a run and fails unless it is taken; returns its id. */
  async trigger(body: Readonly<Record<string, unknown>>): Promise<string> {
    const answer = await this.post('/trigger', body);
    if (answer.status !== 202) throw new Error(`POST /trigger: ${answer.status} ${JSON.stringify(answer.body)}`);
    return (answer.body as { run: RunView }).run.id;
  }

  async status(): Promise<StatusDocument> {
    return (await this.get('/status')).body as StatusDocument;
  }

  kill(signal: NodeJS.Signals = 'SIGKILL'): void {
    this.child.kill(signal);
  }
}

/** What the ledger says of a run. */
export async function runRow(schema: TestSchema, id: string): Promise<Record<string, unknown>> {
  const [row] = await schema.query('SELECT * FROM tableset_service_runs WHERE id = ?', [id]);
  if (!row) throw new Error(`there is no run ${id}`);
  return { ...row };
}

/** Waits until a run is in one of the states, and returns its row. */
export async function runIn(schema: TestSchema, id: string, ...states: string[]): Promise<Record<string, unknown>> {
  let row: Record<string, unknown> = {};
  await until(`run ${id} is ${states.join(' or ')}`, async () => {
    row = await runRow(schema, id);
    return states.includes(String(row['state']));
  });
  return row;
}

/** Waits until it holds; fails after half a minute. */
export async function until(what: string, holds: () => boolean | Promise<boolean>): Promise<void> {
  for (const deadline = performance.now() + waitMs; ; ) {
    if (await holds()) return;
    if (performance.now() > deadline) throw new Error(`it did not come to pass within ${waitMs} ms: ${what}`);
    await delay(50);
  }
}
