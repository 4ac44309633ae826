import { type ChildProcess, spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { attempt, eventually, expectThat } from './command.ts';
import { type Gate, gatedTable } from './gate.ts';
import { merged, type Scene, type Values } from './scene.ts';

const triggerToken = 'the-token-of-the-trigger-0001';
const clientSecret = 'the-secret-of-the-operator-0001';
const name = 'database-load-service';

/** Node opens its inspector at SIGUSR1, on the loopback of its pod. */
const abortByInspector = `
process.kill(1, 'SIGUSR1');
const ask = async () => {
  const list = await fetch('http://127.0.0.1:9229/json/list').then((answer) => answer.json()).catch(() => undefined);
  if (list === undefined) return setTimeout(ask, 100);
  const message = { id: 1, method: 'Runtime.evaluate', params: { expression: 'process.abort()' } };
  const socket = new WebSocket(list[0].webSocketDebuggerUrl);
  socket.onopen = () => socket.send(JSON.stringify(message));
  socket.onclose = () => process.exit();
};
ask();
setTimeout(() => process.exit(1), 20000);
`;

/** How a request was answered. */
export interface Answer {
  readonly status: number;
  readonly headers: Headers;
  readonly body: unknown;
}

/** What the ledger says of a run. */
export interface Run {
  readonly state: string;
  readonly attempt: number;
  readonly worker: string;
  readonly code: string;
}

/**
 * The chart's service with three tables to load: `gated_rows`, which waits at a gate, `fruit`, which takes a moment, and `broken`, whose source is.
 * Requests go through a port-forward, made anew when its pod is gone.
 */
export class ServiceUnderTest implements AsyncDisposable {
  readonly #scene: Scene;
  #forward: { readonly child: ChildProcess; readonly origin: string } | null = null;
  #keys = 0;
  #bearer = '';

  private constructor(scene: Scene) {
    this.#scene = scene;
  }

  /** Installs it and waits until it is ready. @param gate null for a configuration without the gated table */
  static async open(scene: Scene, gate: Gate | null, service: Values, more: Values = {}): Promise<ServiceUnderTest> {
    const hash = `sha256:${createHash('sha256').update(clientSecret).digest('hex')}`;
    const clients = JSON.stringify({ clients: [{ id: 'operator', secretHash: hash, roles: ['operator'] }] });
    const secret = (of: string, stringData: Values) => ({
      apiVersion: 'v1',
      kind: 'Secret',
      metadata: { name: of },
      stringData,
    });
    await scene.apply(
      secret('trigger', { token: triggerToken }),
      secret('api', { 'jwt-key': 'k'.repeat(48), 'clients.yaml': clients }),
    );
    await scene.sql(`${gatedTable}; CREATE TABLE fruit (id INT PRIMARY KEY, name VARCHAR(20) NOT NULL);
      CREATE TABLE broken (id INT PRIMARY KEY);`);
    const made = new ServiceUnderTest(scene);
    await made.install(gate, service, more);
    return made;
  }

  /** Installs or upgrades it. */
  async install(gate: Gate | null, service: Values, more: Values = {}): Promise<void> {
    const gated = gate?.values()['config'] ?? { load: [] };
    // The gate's own values.
    const { load, ...rest } = gated as { readonly load: readonly Values[] };
    const tables = [...load, { table: 'fruit', source: 'fruit.csv' }, { table: 'broken', source: 'broken.csv' }];
    const own: Values = {
      config: { ...rest, load: tables },
      files: { 'fruit.csv': 'id,name\n1,apple\n2,pear\n', 'broken.csv': 'id\nno number\n' },
      service: {
        enabled: true,
        triggerToken: { existingSecret: 'trigger' },
        api: { existingSecret: 'api' },
        resources: { requests: { cpu: '5m', memory: '64Mi' }, limits: { memory: '512Mi' } },
        readinessProbe: { httpGet: { path: '/ready', port: 'http' }, periodSeconds: 1 },
        preStopSleepSeconds: 0,
        schedules: { archive: 'off', purge: 'off' },
        extraEnv: [{ name: 'CONFIG_POLL_SECONDS', value: '1' }],
      },
    };
    await this.#scene.installLoad(merged(merged(own, { service }), more));
  }

  /** Starts a load of one table and returns the run's number. */
  async trigger(table: string): Promise<string> {
    const answer = await this.post('/trigger', {
      task: 'load',
      tables: [table],
      idempotencyKey: `key-${++this.#keys}`,
    });
    expectThat(answer.status === 202 || answer.status === 200, 'the trigger is taken', answer);
    // The service's own shape; a missing field fails the checks that follow.
    return (answer.body as { run: { id: string } }).run.id;
  }

  async post(path: string, body: Values): Promise<Answer> {
    return await this.#ask(path, body, triggerToken);
  }

  /** As the client that may operate runs. */
  async operate(path: string): Promise<Answer> {
    if (this.#bearer === '') {
      const login = { grant_type: 'client_credentials', client_id: 'operator', client_secret: clientSecret };
      const answer = await this.#ask('/api/v1/auth/token', login, null);
      expectThat(answer.status === 200, 'the client gets a token', answer);
      this.#bearer = (answer.body as { access_token: string }).access_token;
    }
    return await this.#ask(path, {}, this.#bearer);
  }

  /** What GET answers, as JSON or text. */
  async get(path: string): Promise<Answer> {
    return await this.#ask(path, null, null);
  }

  async run(id: string): Promise<Run> {
    const [row = []] = await this.#scene.sql(
      `SELECT state, attempt, COALESCE(worker, ''), COALESCE(JSON_UNQUOTE(JSON_EXTRACT(error, '$.code')), '') FROM tableset_service_runs WHERE id = ${Number(id)}`,
    );
    const [state = '', attempt, worker = '', code = ''] = row;
    return { state, attempt: Number(attempt), worker, code };
  }

  /** Waits until a run is in this state. */
  async runIn(id: string, state: string): Promise<Run> {
    return await eventually(`run ${id} is ${state}`, async () => {
      const run = await this.run(id);
      return run.state === state ? run : undefined;
    });
  }

  /** Names of the Jobs that were made for a run. */
  async jobsOf(id: string): Promise<readonly string[]> {
    const query = 'jsonpath={.items[*].metadata.name}';
    const names = await this.#scene.kubectl('get', 'jobs', '-l', `tableset/run=${id}`, '-o', query);
    return names.split(' ').filter((each) => each !== '');
  }

  /** Who holds the Lease: `POD_RANDOM`, another after each start of its process. */
  async leader(): Promise<string | undefined> {
    const query = 'jsonpath={.spec.holderIdentity}';
    return (await this.#scene.kubectl('get', 'lease', name, '-o', query)) || undefined;
  }

  /** Ends the process of a leader from one instant to the next, without a word to anybody: no signal can do that to the first process of a container. */
  async crash(leader: string): Promise<void> {
    const pod = leader.replace(/_[0-9a-f]{8}$/, '');
    const where = ['--context', this.#scene.context, '--namespace', this.#scene.namespace];
    // What becomes of this process, which goes with its container, says nothing.
    await attempt('kubectl', [...where, 'exec', pod, '--', '/nodejs/bin/node', '-e', abortByInspector]);
    await eventually(`${pod} has crashed`, async () => {
      const [container] = (await this.#scene.pod(pod)).status.containerStatuses ?? [];
      return (container?.restartCount ?? 0) > 0;
    });
  }

  async pods() {
    const pods = await this.#scene.pods('app.kubernetes.io/component=service');
    return pods.filter(({ metadata }) => metadata.deletionTimestamp === undefined);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#forward?.child.kill();
  }

  /** A request that does not come through is made again: triggers have keys, so that none counts twice. */
  async #ask(path: string, body: Values | null, bearer: string | null): Promise<Answer> {
    return await eventually(`${path} answers`, async () => {
      const origin = await this.#origin();
      try {
        const response = await fetch(`${origin}${path}`, {
          method: body === null ? 'GET' : 'POST',
          headers: {
            ...(body === null ? {} : { 'content-type': 'application/json' }),
            ...(bearer === null ? {} : { authorization: `Bearer ${bearer}` }),
          },
          ...(body === null ? {} : { body: JSON.stringify(body) }),
          signal: AbortSignal.timeout(20_000),
        });
        const text = await response.text();
        const json = /json/.test(response.headers.get('content-type') ?? '');
        return { status: response.status, headers: response.headers, body: json ? JSON.parse(text) : text };
      } catch (error) {
        this.#forward?.child.kill();
        this.#forward = null;
        throw error;
      }
    });
  }

  async #origin(): Promise<string> {
    if (this.#forward !== null) return this.#forward.origin;
    const where = ['--context', this.#scene.context, '--namespace', this.#scene.namespace];
    const child = spawn('kubectl', [...where, 'port-forward', `service/${name}`, ':80'], {
      stdio: ['ignore', 'pipe', 'ignore'],
    });
    const lines = createInterface({ input: child.stdout });
    const ended = once(child, 'close').then(() => ['']);
    const [line] = (await Promise.race([once(lines, 'line'), ended])) as [string];
    const address = /127\.0\.0\.1:\d+/.exec(line)?.[0];
    if (address === undefined) throw new Error('kubectl forwards no port');
    // Whatever else it prints.
    lines.on('line', () => {});
    this.#forward = { child, origin: `http://${address}` };
    return this.#forward.origin;
  }
}
