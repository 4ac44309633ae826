import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import type { IncomingMessage } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { json as readJson } from 'node:stream/consumers';
import type { V1Job, V1Lease, V1Pod } from '@kubernetes/client-node';
import { onTestFinished } from 'vitest';
import { selfSigned } from '../../../../test/certificate.ts';
import { programFile } from '../../../../test/program-file.ts';
import { serve } from '../../http-server.ts';

const program = programFile('loader');

/** Compiled once for all the runs of all the tests. */
const compileCache = join(import.meta.dirname, '../../../../node_modules/.cache/loader-tests');

export const namespace = 'shop';

/** Texts of a template; anything a pod may have would do. */
export const template = {
  apiVersion: 'batch/v1',
  kind: 'Job',
  metadata: { name: 'loads-run', labels: { 'app.kubernetes.io/name': 'loads' } },
  spec: {
    backoffLimit: 0,
    template: {
      metadata: { labels: { 'app.kubernetes.io/component': 'worker' } },
      spec: {
        restartPolicy: 'Never',
        serviceAccountName: 'loads',
        containers: [
          {
            name: 'database-load',
            image: 'database-load:1',
            env: [{ name: 'DB_PASSWORD_FILE', value: '/secrets/database/password' }],
          },
        ],
      },
    },
  },
} as const;

export interface FakeJob {
  readonly job: V1Job;
  /** Its pod: a process of the program itself, with the arguments that the Job names. */
  readonly child: ChildProcess | null;
  exit: number | null;
  ended: boolean;
  log: string;
  readonly since: Date;
}

/**
 * The part of the API server that the service uses, over HTTP, with Jobs whose pods are processes of this machine. What real clusters add is tested
 * on a real one.
 */
export class FakeCluster {
  readonly jobs = new Map<string, FakeJob>();
  readonly leases = new Map<string, V1Lease>();
  /** Every Job that was ever made. */
  readonly made: V1Job[] = [];
  /** Answers these requests with that status: `POST jobs`. */
  readonly refusals = new Map<string, number>();
  readonly requests: string[] = [];
  /** Why pods do not start; null: they do. */
  waiting: { readonly reason: string; readonly message: string } | null = null;
  /** Of pods. */
  environment: Readonly<Record<string, string>> = {};
  readonly folder = mkdtempSync(join(tmpdir(), 'cluster-'));
  #version = 1;

  /** @returns it and its kubeconfig, until the test ends */
  static async start(): Promise<FakeCluster> {
    const cluster = new FakeCluster();
    const certificate = selfSigned();
    const server = await serve((request, response) => {
      cluster.#answer(request).then(
        ({ status, body }) => {
          const text = typeof body === 'string' ? body : JSON.stringify(body);
          response
            .writeHead(status, { 'content-type': typeof body === 'string' ? 'text/plain' : 'application/json' })
            .end(text);
        },
        (error: unknown) => response.writeHead(500).end(String(error)),
      );
    }, certificate);
    onTestFinished(async () => {
      for (const { child } of cluster.jobs.values()) child?.kill('SIGKILL');
      await server[Symbol.asyncDispose]();
      rmSync(cluster.folder, { recursive: true, force: true });
    });
    const authority = Buffer.from(certificate.certificate).toString('base64');
    const config = {
      apiVersion: 'v1',
      kind: 'Config',
      clusters: [{ name: 'fake', cluster: { server: server.origin, 'certificate-authority-data': authority } }],
      users: [{ name: 'service', user: { token: 'a-token' } }],
      contexts: [{ name: 'fake', context: { cluster: 'fake', user: 'service', namespace } }],
      'current-context': 'fake',
    };
    writeFileSync(cluster.kubeconfig, JSON.stringify(config));
    writeFileSync(cluster.templateFile, JSON.stringify(template));
    return cluster;
  }

  get kubeconfig(): string {
    return join(this.folder, 'kubeconfig');
  }

  get templateFile(): string {
    return join(this.folder, 'template.json');
  }

  /** What a service needs to use it. */
  serviceEnvironment(): Record<string, string> {
    return { WORKER: 'job', WORKER_TEMPLATE_FILE: this.templateFile, KUBECONFIG: this.kubeconfig };
  }

  async #answer(request: IncomingMessage): Promise<{ readonly status: number; readonly body: unknown }> {
    const { pathname: path, searchParams } = new URL(request.url ?? '/', 'http://fake');
    const [kind = '', name = '', part = ''] =
      new RegExp(`/namespaces/${namespace}/([a-z]+)(?:/([^/]+))?(?:/(log))?$`).exec(path)?.slice(1) ?? [];
    const what = `${request.method} ${kind}`;
    this.requests.push(what);
    const refused = this.refusals.get(what);
    if (refused !== undefined) return this.#status(refused, `${kind} is forbidden: no`);
    const sent = request.method === 'POST' || request.method === 'PUT' ? await readJson(request) : null;
    if (kind === 'jobs') return this.#jobs(request.method ?? '', name, sent as V1Job);
    if (kind === 'leases') return this.#leases(request.method ?? '', name, sent as V1Lease);
    if (kind === 'pods' && part === 'log') return { status: 200, body: this.jobs.get(name)?.log ?? '' };
    if (kind === 'pods') {
      const job = /job-name=(.+)$/.exec(searchParams.get('labelSelector') ?? '')?.[1] ?? '';
      const found = this.jobs.get(job);
      return { status: 200, body: { kind: 'PodList', apiVersion: 'v1', items: found ? [this.#pod(job, found)] : [] } };
    }
    return this.#status(404, 'not found');
  }

  #jobs(method: string, name: string, sent: V1Job) {
    if (method === 'POST') {
      const made = sent.metadata?.name ?? '';
      if (this.jobs.has(made)) return this.#status(409, 'already exists');
      this.made.push(sent);
      this.#run(made, sent);
      return { status: 201, body: sent };
    }
    const found = this.jobs.get(name);
    if (!found) return this.#status(404, `jobs "${name}" not found`);
    if (method === 'DELETE') {
      found.child?.kill('SIGTERM');
      if (found.child === null || found.ended) this.jobs.delete(name);
      else found.child.once('close', () => this.jobs.delete(name));
      return { status: 200, body: { kind: 'Status', apiVersion: 'v1', status: 'Success' } };
    }
    const type = found.exit === 0 ? 'Complete' : 'Failed';
    const condition = { type, status: 'True', ...(found.exit === 0 ? {} : { reason: 'BackoffLimitExceeded' }) };
    return { status: 200, body: { ...found.job, status: found.ended ? { conditions: [condition] } : { active: 1 } } };
  }

  #run(name: string, job: V1Job): void {
    const args = job.spec?.template.spec?.containers[0]?.args ?? [];
    const child = this.waiting
      ? null
      : spawn(process.execPath, [program, ...args], {
          env: { PATH: process.env['PATH'], NODE_COMPILE_CACHE: compileCache, ...this.environment },
          stdio: ['ignore', 'pipe', 'pipe'],
        });
    const entry: FakeJob = { job, child, exit: null, ended: false, log: '', since: new Date() };
    this.jobs.set(name, entry);
    const read = (text: string) => {
      entry.log += text;
    };
    child?.stdout.setEncoding('utf8').on('data', read);
    child?.stderr.setEncoding('utf8').on('data', read);
    child?.once('close', (exit) => {
      entry.exit = exit ?? 137;
      entry.ended = true;
    });
  }

  #pod(job: string, { ended, exit, since, child }: FakeJob): V1Pod {
    const state = ended
      ? { terminated: { exitCode: exit ?? 0, reason: exit === 0 ? 'Completed' : 'Error' } }
      : child === null
        ? { waiting: this.waiting ?? {} }
        : { running: {} };
    const container = { name: 'database-load', state, ready: !ended, restartCount: 0, image: '', imageID: '' };
    const phase = ended ? (exit === 0 ? 'Succeeded' : 'Failed') : child === null ? 'Pending' : 'Running';
    return { metadata: { name: job, creationTimestamp: since }, status: { phase, containerStatuses: [container] } };
  }

  #leases(method: string, name: string, sent: V1Lease) {
    const key = method === 'POST' ? (sent.metadata?.name ?? '') : name;
    const found = this.leases.get(key);
    if (method === 'GET') return found ? { status: 200, body: found } : this.#status(404, 'not found');
    if (method === 'POST' && found) return this.#status(409, 'already exists');
    if (method === 'PUT' && found?.metadata?.resourceVersion !== sent.metadata?.resourceVersion)
      return this.#status(409, 'the object has been modified');
    const written = { ...sent, metadata: { ...sent.metadata, resourceVersion: String(this.#version++) } };
    this.leases.set(key, written);
    return { status: 200, body: written };
  }

  #status(code: number, message: string) {
    return { status: code, body: { kind: 'Status', apiVersion: 'v1', status: 'Failure', code, message } };
  }
}
