import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { parse } from 'yaml';
import { type Cluster, chartsFolder, databaseNamespace, imageTag } from './cluster.ts';
import { attempt, type CommandResult, command, eventually } from './command.ts';

export type Values = Readonly<Record<string, unknown>>;

/** One product as the shop lists it. */
export interface Product {
  readonly id: number;
  readonly price: string;
}

/** What a pod's container did last. */
export interface ContainerEnd {
  readonly exitCode: number;
  readonly message: string;
  readonly startedAt: string;
  readonly finishedAt: string;
}

interface ContainerStatus {
  readonly name: string;
  readonly restartCount: number;
  readonly state: {
    readonly terminated?: ContainerEnd;
    readonly running?: object;
    readonly waiting?: { reason: string };
  };
  readonly lastState: { readonly terminated?: ContainerEnd };
}

/** The fields of a pod that cases look at. */
export interface Pod {
  readonly metadata: {
    readonly name: string;
    readonly labels: Readonly<Record<string, string>>;
    readonly uid: string;
    readonly deletionTimestamp?: string;
  };
  readonly spec: { readonly initContainers?: readonly { readonly name: string }[] };
  readonly status: {
    readonly phase: string;
    readonly conditions?: readonly { readonly type: string; readonly status: string }[];
    readonly initContainerStatuses?: readonly ContainerStatus[];
    readonly containerStatuses?: readonly ContainerStatus[];
  };
}

/** A namespace with `enforce: restricted` and a schema of its own, for one case; both go when the case ends. */
export class Scene {
  readonly namespace: string;
  readonly schema: string;
  readonly #cluster: Cluster;

  private constructor(cluster: Cluster, name: string) {
    this.#cluster = cluster;
    this.namespace = `${databaseNamespace}-${name}`;
    this.schema = `e2e_${name.replaceAll('-', '_')}`;
  }

  static async open(cluster: Cluster, name: string): Promise<Scene> {
    const scene = new Scene(cluster, name);
    await scene.close();
    const password = `pass-${name}`;
    const enforce = { 'pod-security.kubernetes.io/enforce': 'restricted' };
    await scene.apply(
      { apiVersion: 'v1', kind: 'Namespace', metadata: { name: scene.namespace, labels: enforce } },
      { apiVersion: 'v1', kind: 'Secret', metadata: { name: 'database' }, stringData: { password } },
    );
    await cluster.sql(
      `CREATE DATABASE ${scene.schema}; CREATE USER '${scene.schema}'@'%' IDENTIFIED BY '${password}';
       GRANT ALL ON ${scene.schema}.* TO '${scene.schema}'@'%';
       GRANT PROCESS ON *.* TO '${scene.schema}'@'%';`,
    );
    return scene;
  }

  /** Removes namespace, schema and account, and waits until they are gone. */
  async close(): Promise<void> {
    const patience = ['--ignore-not-found', '--wait', '--timeout', '300s'];
    await command('kubectl', this.#where('delete', 'namespace', this.namespace, ...patience));
    await this.#cluster.sql(`DROP DATABASE IF EXISTS ${this.schema}; DROP USER IF EXISTS '${this.schema}'@'%';`);
  }

  get context(): string {
    return this.#cluster.context;
  }

  kubectl(...args: readonly string[]): Promise<string> {
    return command('kubectl', this.#where(...args));
  }

  async apply(...objects: readonly Values[]): Promise<void> {
    const input = objects.map((object) => `---\n${JSON.stringify(object)}\n`).join('');
    await command('kubectl', this.#where('apply', '--filename', '-'), { input });
  }

  /** Installs or upgrades a release; `values` go before those that every case has. */
  async helm(verb: string, chart: string, values: Values = {}, ...flags: readonly string[]): Promise<CommandResult> {
    const release = chart.split('/').at(-1) ?? chart;
    const all = [verb, release, join(chartsFolder, chart), '--kube-context', this.#cluster.context];
    const args = [...all, '--namespace', this.namespace, '--values', '-', '--timeout', '300s', ...flags];
    return await attempt(this.#cluster.helm, args, { input: JSON.stringify(values) });
  }

  /** The same, and it must succeed. */
  async install(chart: string, values: Values, ...flags: readonly string[]): Promise<void> {
    const { code, stderr } = await this.helm('upgrade', chart, values, '--install', '--reset-values', ...flags);
    if (code !== 0) throw new Error(`helm did not install ${chart}: ${stderr}`);
  }

  /** Runs a release's own tests. */
  async helmTest(release: string): Promise<void> {
    const where = ['--kube-context', this.#cluster.context, '--namespace', this.namespace];
    const printed = await command(this.#cluster.helm, ['test', release, '--timeout', '300s', ...where]);
    if (!/Phase: +Succeeded/.test(printed)) throw new Error(`the tests of ${release} did not succeed:\n${printed}`);
  }

  async uninstall(...releases: readonly string[]): Promise<void> {
    const where = ['--kube-context', this.#cluster.context, '--namespace', this.namespace];
    await command(this.#cluster.helm, ['uninstall', ...releases, '--wait', '--timeout', '300s', ...where]);
  }

  /** The CronJob that loads the example shop's data, and the ConfigMap that the shop's init container reads. */
  async installLoad(values: Values = {}): Promise<void> {
    const shop = await readFile(join(chartsFolder, '..', 'examples/order-food/kubernetes/database-load.yaml'), 'utf8');
    const own = {
      image: { tag: imageTag, pullPolicy: 'Never' },
      database: this.database(),
      resources: small,
      // The standard schedule could come due in the middle of a case.
      cronjob: { schedule: '0 0 1 1 *' },
    };
    // Values that bring a configuration of their own do not want the shop's files.
    const content = values['config'] === undefined ? parse(shop) : {};
    await this.install('database-load', merged({ ...content, ...own }, values), '--wait');
  }

  /** The shop itself. */
  async installApp(values: Values = {}, ...flags: readonly string[]): Promise<void> {
    await this.install('order-food', this.appValues(values), ...flags);
  }

  /** Values of the shop as every case has them, with these over them. */
  appValues(values: Values = {}): Values {
    const container = { image: { tag: imageTag }, resources: small };
    const own = {
      image: { tag: imageTag, pullPolicy: 'Never' },
      database: this.database(),
      resources: small,
      readinessProbe: { httpGet: { path: '/health', port: 'http' }, periodSeconds: 1 },
      initContainers: { databaseMigration: container, databaseLoad: container },
    };
    return merged(own, values);
  }

  database(): Values {
    const host = `demo-mysql.${databaseNamespace}`;
    return { host, name: this.schema, user: this.schema, existingSecret: 'database' };
  }

  sql(statements: string): Promise<readonly (readonly string[])[]> {
    return this.#cluster.sql(statements, this.schema);
  }

  /** One number out of the database. */
  async count(query: string): Promise<number> {
    const [row] = await this.sql(query);
    return Number(row?.[0]);
  }

  async pods(selector: string): Promise<readonly Pod[]> {
    // kubectl prints what the API server has.
    const list = JSON.parse(await this.kubectl('get', 'pods', '--selector', selector, '-o', 'json')) as {
      items: Pod[];
    };
    return list.items;
  }

  async pod(name: string): Promise<Pod> {
    // kubectl prints what the API server has.
    return JSON.parse(await this.kubectl('get', 'pod', name, '-o', 'json')) as Pod;
  }

  /** What the shop answers through the API server's proxy. */
  async products(): Promise<readonly Product[]> {
    const path = `/api/v1/namespaces/${this.namespace}/services/order-food:80/proxy/products`;
    // The example's own shape; a missing field fails the checks that follow.
    return (JSON.parse(await this.kubectl('get', '--raw', path)) as { products: Product[] }).products;
  }

  /** Starts a run by hand, as people do. @returns the Job's name */
  async runNow(name: string): Promise<string> {
    await this.kubectl('create', 'job', name, '--from=cronjob/database-load');
    return name;
  }

  /** Waits for a Job's end. */
  async jobEnd(name: string, seconds = 300): Promise<'Complete' | 'Failed'> {
    return await eventually(
      `job ${name} ends`,
      async () => {
        const query = 'jsonpath={range .status.conditions[?(@.status=="True")]}{.type} {end}';
        const types = (await this.kubectl('get', 'job', name, '-o', query)).split(' ');
        return (['Complete', 'Failed'] as const).find((type) => types.includes(type));
      },
      seconds,
    );
  }

  /** What to look at after a case failed. */
  async diagnosis(): Promise<string> {
    const parts = await Promise.all(
      [
        ['get', 'deployments,statefulsets,cronjobs,jobs,pods', '-o', 'wide'],
        ['get', 'events', '--sort-by', '.lastTimestamp', '--field-selector', 'type=Warning'],
        ['logs', '-l', 'app.kubernetes.io/name=order-food', '-c', 'database-migration', '--tail', '5', '--prefix'],
        ['logs', '-l', 'app.kubernetes.io/name=order-food', '-c', 'database-load', '--tail', '5', '--prefix'],
        ['logs', '-l', 'app.kubernetes.io/name=database-load', '--tail', '5', '--prefix'],
        ['logs', '-l', 'app.kubernetes.io/component=test', '--tail', '20', '--prefix'],
      ].map(async (args) => {
        const { stdout, stderr } = await attempt('kubectl', this.#where(...args));
        return `$ kubectl ${args.join(' ')}\n${stdout.slice(-6000)}${stderr.slice(-1000)}`;
      }),
    );
    return parts.join('\n');
  }

  #where(...args: readonly string[]): readonly string[] {
    return ['--context', this.#cluster.context, '--namespace', this.namespace, ...args];
  }
}

/** Little enough that twenty pods fit on the node beside other cases. */
const small = { requests: { cpu: '5m', memory: '32Mi' }, limits: { memory: '256Mi' } };

/** Maps are merged, everything else of the second goes before the first. */
export function merged(first: Values, second: Values): Values {
  const result: Record<string, unknown> = { ...first };
  for (const [key, value] of Object.entries(second)) {
    const before = result[key];
    result[key] = isMap(before) && isMap(value) ? merged(before, value) : value;
  }
  return result;
}

function isMap(value: unknown): value is Values {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** How a container of a pod ended last, also while it waits to be started again. */
export function endOf(pod: Pod, container: string): ContainerEnd | undefined {
  const all = [...(pod.status.initContainerStatuses ?? []), ...(pod.status.containerStatuses ?? [])];
  const status = all.find((each) => each.name === container);
  return status?.state.terminated ?? status?.lastState.terminated;
}

export function isReady(pod: Pod): boolean {
  return pod.status.conditions?.some(({ type, status }) => type === 'Ready' && status === 'True') ?? false;
}
