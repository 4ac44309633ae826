import { type ChildProcess, spawn } from 'node:child_process';
import { readdir, readFile } from 'node:fs/promises';
import { Agent, get } from 'node:http';
import { setTimeout as delay } from 'node:timers/promises';
import { bundle, databaseEnv, node } from './programs.ts';
import type { BenchServer } from './servers.ts';

const clockTicksPerSecond = 100;
const readyMs = 60_000;

/** `loader serve` as the image runs it, on a port of its own. */
export class ServiceProcess implements AsyncDisposable {
  readonly origin: string;
  readonly #child: ChildProcess;
  readonly #started: ((runId: string) => void)[] = [];

  private constructor(child: ChildProcess, origin: string) {
    this.#child = child;
    this.origin = origin;
    let rest = '';
    child.stdout?.on('data', (text: string) => {
      const lines = (rest + text).split('\n');
      rest = lines.pop() ?? '';
      for (const line of lines) {
        if (!line.includes('"run started"')) continue;
        // One JSON document a line.
        const { run } = JSON.parse(line) as { run: string };
        for (const listener of this.#started) listener(run);
      }
    });
  }

  static async start(server: BenchServer, config: string): Promise<ServiceProcess> {
    const child = spawn(node, [bundle('loader'), 'serve', '--config', config], {
      env: {
        ...databaseEnv(server),
        HEALTH_SERVER_HOST: '127.0.0.1',
        HEALTH_SERVER_PORT: '0',
        CRON_SCHEDULE: 'off',
        RATE_LIMIT_PER_MINUTE: '1000000',
      },
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    child.stdout?.setEncoding('utf8');
    const origin = await new Promise<string>((resolve, reject) => {
      let log = '';
      const read = (text: string) => {
        log += text;
        const found = /"address":"(http:[^"]+)"/.exec(log)?.[1];
        if (found === undefined) return;
        child.stdout?.off('data', read);
        resolve(found);
      };
      child.stdout?.on('data', read);
      child.once('close', (exit) => reject(new Error(`the service ended with ${exit}: ${log}`)));
    });
    const service = new ServiceProcess(child, origin);
    for (const deadline = performance.now() + readyMs; ; await delay(100)) {
      if ((await fetch(`${origin}/ready`)).ok) return service;
      if (performance.now() > deadline) throw new Error('the service does not get ready');
    }
  }

  get pid(): number {
    return this.#child.pid ?? 0;
  }

  /** Triggers a load. @returns the run's id, or null if the queue is full */
  async trigger(): Promise<string | null> {
    const response = await fetch(`${this.origin}/trigger`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ task: 'load' }),
    });
    const body = await response.text();
    if (response.status === 429) return null;
    if (response.status !== 202) throw new Error(`POST /trigger: ${response.status} ${body}`);
    // The service's own answer.
    return (JSON.parse(body) as { run: { id: string } }).run.id;
  }

  /** Milliseconds from sending a trigger to the line that says that the run works. */
  async triggerToStartMs(): Promise<number> {
    const begun = new Map<string, number>();
    const listener = (run: string) => void begun.set(run, performance.now());
    this.#started.push(listener);
    const sent = performance.now();
    const id = await this.trigger();
    if (id === null) throw new Error('the queue is full');
    while (!begun.has(id)) await delay(1);
    this.#started.splice(this.#started.indexOf(listener), 1);
    return (begun.get(id) ?? Number.NaN) - sent;
  }

  /** Waits until nothing waits or runs. @throws Error if a run failed */
  async settled(): Promise<void> {
    for (;;) {
      // The service's own answer.
      const { runs } = (await (await fetch(`${this.origin}/status`)).json()) as { runs: Record<string, number> | null };
      if ((runs?.['failed'] ?? 0) > 0) throw new Error('a run failed');
      if (runs && runs['queued'] === 0 && runs['running'] === 0) return;
      await delay(500);
    }
  }

  /**
   * Asks /health at a constant rate, whether answers come or not.
   * @returns milliseconds of each answer, from when it was due
   */
  async health(perSecond: number, seconds: number): Promise<readonly number[]> {
    const agent = new Agent({ keepAlive: true, maxSockets: 32 });
    const answers: Promise<number>[] = [];
    const started = performance.now();
    for (let sent = 0; sent < perSecond * seconds; ) {
      const dueMs = started + (sent * 1000) / perSecond;
      if (dueMs > performance.now()) {
        await delay(1);
        continue;
      }
      sent++;
      answers.push(
        new Promise((resolve, reject) => {
          get(`${this.origin}/health`, { agent }, (response) => {
            response.resume().once('end', () => resolve(performance.now() - dueMs));
          }).once('error', reject);
        }),
      );
    }
    const times = await Promise.all(answers);
    agent.destroy();
    return times;
  }

  async facts(): Promise<{ readonly residentMiB: number; readonly files: number; readonly cpuSeconds: number }> {
    const files = (await readdir(`/proc/${this.pid}/fd`)).length;
    const fields = (await readFile(`/proc/${this.pid}/stat`, 'utf8')).split(') ')[1]?.split(' ') ?? [];
    // utime and stime, the 14th and 15th field.
    const cpuSeconds = (Number(fields[11]) + Number(fields[12])) / clockTicksPerSecond;
    return { residentMiB: await residentMiB(this.pid), files, cpuSeconds };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#child.exitCode !== null) return;
    const closed = new Promise((resolve) => this.#child.once('close', resolve));
    this.#child.kill('SIGTERM');
    await closed;
  }
}

/** Resident memory of a Node that does nothing. */
export async function bareNodeMiB(): Promise<number> {
  const child = spawn(node, ['-e', 'setTimeout(() => {}, 60000)'], { stdio: 'ignore' });
  await delay(2_000);
  const found = await residentMiB(child.pid ?? 0);
  child.kill();
  return found;
}

async function residentMiB(pid: number): Promise<number> {
  const status = await readFile(`/proc/${pid}/status`, 'utf8');
  return Number(/^VmRSS:\s+(\d+)/m.exec(status)?.[1]) / 1024;
}
