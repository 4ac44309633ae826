import { join } from 'node:path';
import { findHelm } from '../tools/programs/helm.ts';
import { attempt, command, eventually } from './command.ts';

const root = join(import.meta.dirname, '..');
export const chartsFolder = join(root, 'charts');
const local = /^(minikube|kind-.*|docker-desktop|devcluster)$/;

/** The namespace of the one server that all cases have a schema of their own on. */
export const databaseNamespace = 'tableset-e2e';
export const imageTag = 'e2e';

/** The cluster that the cases run on. */
export interface Cluster {
  readonly context: string;
  readonly helm: string;
  /** Runs SQL as root; rows as texts. */
  sql(statements: string, schema?: string): Promise<readonly (readonly string[])[]>;
}

/** The current context, if it is a local one. @throws for any other */
export async function connectCluster(): Promise<Cluster> {
  const { code, stdout } = await attempt('kubectl', ['config', 'current-context']);
  const context = stdout.trim();
  if (code !== 0) throw new Error('kubectl has no current context: start a cluster, for example minikube start');
  if (!local.test(context)) {
    throw new Error(`the cases run on a local cluster only, and ${context} is none: kubectl config use-context …`);
  }
  await command('kubectl', ['--context', context, 'get', '--raw', '/readyz']);
  return { context, helm: await findHelm(), sql: (statements, schema) => sql(context, statements, schema) };
}

/** Builds the three images and hands them to the cluster's node, with the tag that the cases use. */
export async function buildImages(cluster: Cluster): Promise<void> {
  await command(join(root, 'deploy.sh'), ['build', '--context', cluster.context, '--tag', imageTag]);
}

/** Starts the database server, unless it runs already. */
export async function startDatabase(cluster: Cluster): Promise<void> {
  await handOverServer(cluster);
  const values = {
    args: ['--max-connections=400', '--skip-name-resolve'],
    resources: { requests: { cpu: '50m', memory: '256Mi' }, limits: { memory: '2Gi' } },
  };
  const chart = join(chartsFolder, 'demo-mysql');
  const where = ['--kube-context', cluster.context, '--namespace', databaseNamespace];
  const install = [
    'upgrade',
    '--install',
    'demo-mysql',
    chart,
    ...where,
    '--create-namespace',
    '--wait',
    '--timeout',
    '300s',
    '--values',
    '-',
  ];
  await command(cluster.helm, install, { input: JSON.stringify(values) });
  await eventually('the database server answers', async () => {
    await cluster.sql('SELECT 1');
    return true;
  });
}

/** Removes the database server and its namespace; cases have removed their own. */
export async function removeDatabase(cluster: Cluster): Promise<void> {
  const patience = ['--ignore-not-found', '--wait', '--timeout', '300s'];
  await command('kubectl', ['--context', cluster.context, 'delete', 'namespace', databaseNamespace, ...patience]);
}

/** Where images cannot be pulled, IMAGE_LOAD hands over those that the local Docker engine has. */
async function handOverServer(cluster: Cluster): Promise<void> {
  const load = process.env['IMAGE_LOAD'];
  if (!load) return;
  const image = 'mysql:9.7';
  const names = '{range .items[*]}{range .status.images[*]}{.names}{"\\n"}{end}{end}';
  const known = await command('kubectl', ['--context', cluster.context, 'get', 'nodes', '-o', `jsonpath=${names}`]);
  if (known.includes(image)) return;
  await command('sh', ['-c', `${load} "$1"`, 'sh', image]);
}

async function sql(context: string, statements: string, schema?: string): Promise<readonly (readonly string[])[]> {
  const client = 'MYSQL_PWD="$MYSQL_ROOT_PASSWORD" exec mysql --user=root --batch --skip-column-names';
  const where = ['--context', context, '--namespace', databaseNamespace];
  const run = ['exec', '--stdin', 'deployment/demo-mysql', '--', 'sh', '-c', `${client} ${schema ?? ''}`];
  const printed = await command('kubectl', [...where, ...run], { input: statements });
  return printed
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => line.split('\t'));
}
