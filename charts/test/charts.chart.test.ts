import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { parse } from 'yaml';
import { findHelm, findHelm3 } from '../../tools/programs/helm.ts';
import { schemaFaults } from '../../tools/programs/kubernetes-validate.ts';
import { orSkip } from './or-skip.ts';
import { podsOf, restrictedFaults } from './pods.ts';
import { chartsFolder, find, isRecord, parseManifests, refusal, render, renderText, run, valueAt } from './render.ts';

const everything = {
  'order-food': { replicaCount: 2, podAnnotations: { a: 'b' }, commonLabels: { team: 'food' } },
  'database-load': {
    config: { load: [{ table: 'products', source: 'products.csv' }] },
    chartFiles: 'example/*',
    commonLabels: { team: 'food' },
    cronjob: { restartPolicy: 'Never', podFailurePolicy: { enabled: true }, suspend: true },
    archive: {
      cronjob: { enabled: true, suspend: true, parallelism: 4 },
      database: { user: 'archiver' },
      tables: ['orders'],
    },
    purge: { cronjob: { enabled: true, restartPolicy: 'OnFailure', podFailurePolicy: { enabled: false } } },
    stores: { existingClaim: 'cold', existingSecrets: ['archive-db', 'bucket'] },
    job: { enabled: true },
    networkPolicy: { enabled: true },
    service: {
      enabled: true,
      replicaCount: 2,
      worker: { kind: 'job' },
      triggerToken: { existingSecret: 'trigger' },
      api: { existingSecret: 'api', encryptionKey: 'keys' },
      webhook: { existingSecret: 'webhook' },
      podDisruptionBudget: { enabled: true },
      serviceMonitor: { enabled: true },
    },
    prometheusRule: { enabled: true },
    grafanaDashboard: { enabled: true },
  },
  'demo-mysql': {},
  'test/consumer': {},
} as const;
const charts = Object.keys(everything) as (keyof typeof everything)[];
const ours = charts.filter((chart) => chart !== 'demo-mysql');

const helm3 = await findHelm3();

/** The versions that the charts promise to fit: Chart.yaml's oldest, to the newest. */
const kubernetesVersions = ['1.29', '1.30', '1.31', '1.32', '1.33', '1.34', '1.35', '1.36', '1.37'];

describe.each(charts)('%s', (chart) => {
  const variants = [{}, everything[chart]];

  test('renders the same bytes twice', async () => {
    for (const values of variants) {
      expect(await renderText(chart, { values })).toBe(await renderText(chart, { values }));
    }
  });

  test('has no hook but helm test', async () => {
    for (const values of variants) {
      const hooks = (await render(chart, { values })).map((each) =>
        valueAt(each, 'metadata.annotations[helm.sh/hook]'),
      );
      expect(hooks.filter((hook) => hook !== undefined && hook !== 'test')).toEqual([]);
    }
  });

  test('helm lint --strict has nothing to say', async () => {
    const printed = await run(await findHelm(), ['lint', '--strict', '--quiet', join(chartsFolder, chart)]);
    expect(printed.trim()).toBe('');
  });

  test('renders the same out of its package', async () => {
    const helm = await findHelm();
    const folder = await mkdtemp(join(tmpdir(), 'tableset-package-'));
    try {
      const printed = await run(helm, ['package', join(chartsFolder, chart), '--destination', folder]);
      const packaged = printed.match(/saved it to: (\S+)/)?.[1] ?? '';
      const name = chart.split('/').at(-1) ?? '';
      const args = ['template', name, packaged, '--namespace', 'shop', '--kube-version', '1.34.0'];
      expect(await run(helm, args)).toBe(await renderText(chart));
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  });

  test('fits the schemas of every Kubernetes version that is promised', async (context) => {
    const objects: [string, unknown][] = [];
    for (const version of kubernetesVersions) {
      for (const values of variants) {
        const manifests = await render(chart, { values, kubernetesVersion: `${version}.0` });
        // The Prometheus operator's kinds have no schema among Kubernetes' own.
        const theirs = ['PrometheusRule', 'ServiceMonitor'];
        const known = manifests.filter((each) => !theirs.includes(String(each['kind'])));
        objects.push(...known.map((each): [string, unknown] => [version, each]));
      }
    }
    expect(await orSkip(context, () => schemaFaults(objects))).toBe('');
  });

  test('labels of pods are those that selectors ask for', async () => {
    const manifests = await render(chart, { values: everything[chart] });
    const all = [
      ...podsOf(manifests).map((pod) => pod.labels),
      ...manifests.map((each) => valueAt(each, 'metadata.labels')),
    ];
    for (const each of manifests) {
      const own = valueAt(each, 'spec.template.metadata.labels');
      const selector = valueAt(each, 'spec.selector.matchLabels');
      // Budgets and monitors ask for what other objects have.
      const labels = isRecord(own) ? [own] : all;
      if (isRecord(selector)) expect(labels).toContainEqual(expect.objectContaining(selector));
    }
  });

  if (helm3 !== undefined) {
    test('Helm 3 renders what Helm 4 does', async () => {
      for (const values of variants) {
        const three = await renderText(chart, { values, helm: helm3 });
        expect(parseManifests(three)).toEqual(await render(chart, { values }));
      }
    });
  }
});

test('a schema fault is found', async (context) => {
  const pod = { apiVersion: 'v1', kind: 'Pod', metadata: { name: 'a' }, spec: { containers: 1 } };
  expect(await orSkip(context, () => schemaFaults([['1.34', pod]]))).toContain('1.34 Pod a spec.containers');
});

test.each(ours)('pods of %s pass the restricted security standard', async (chart) => {
  const pods = podsOf(await render(chart, { values: everything[chart] }));
  expect(pods.length).toBeGreaterThan(0);
  expect(pods.flatMap(restrictedFaults)).toEqual([]);
});

test('a pod that the restricted standard refuses is found', async () => {
  const values = { securityContext: { allowPrivilegeEscalation: true, runAsNonRoot: null } };
  expect(podsOf(await render('database-load', { values })).flatMap(restrictedFaults)).not.toEqual([]);
  expect(podsOf(await render('demo-mysql')).flatMap(restrictedFaults)).not.toEqual([]);
});

test('every README has the values of its chart, and the library has the lines that the consumer chart uses', async () => {
  const readme = await readFile(join(chartsFolder, 'database-init', 'README.md'), 'utf8');
  const template = await readFile(join(chartsFolder, 'test', 'consumer', 'templates', 'statefulset.yaml'), 'utf8');
  const lines = [...readme.matchAll(/^ +\{\{- include .*$/gm)].map(([line]) => line.trim());
  expect(lines).toHaveLength(2);
  for (const line of lines) expect(template).toContain(line);
  const meta: unknown = parse(await readFile(join(chartsFolder, 'test', 'consumer', 'Chart.yaml'), 'utf8'));
  expect(valueAt(meta, 'dependencies[database-init].import-values')).toEqual(['tableset']);
  expect(readme).toContain('import-values: [tableset]');
});

test("a consumer's values under tableset win over the library's", async () => {
  const values = {
    tableset: { database: { host: 'elsewhere' }, initContainers: { databaseLoad: { enabled: false } } },
  };
  const containers = valueAt(
    find(await render('test/consumer', { values }), 'StatefulSet'),
    'spec.template.spec.initContainers',
  );
  expect(valueAt(containers, '[database-migration].env[DB_HOST].value')).toBe('elsewhere');
  expect(valueAt(containers, '[database-migration].image')).toBe('database-migration:latest');
  expect(Array.isArray(containers) && containers.length).toBe(1);
});

test('a value under tableset that the library does not know is refused by name, at every level', async () => {
  const unknown = (tableset: object) => refusal('test/consumer', { tableset });
  expect(await unknown({ databse: {} })).toContain('tableset.databse is not known; there are database, ');
  const initContainers = { databaseLoad: { image: { tagg: 'v1' } } };
  expect(await unknown({ initContainers })).toContain('tableset.initContainers.databaseLoad.image.tagg is not known');
  const free = { resources: { limits: { cpu: 1 } }, config: { load: [] }, existingConfigMap: '' };
  await render('test/consumer', { values: { tableset: { initContainers: { databaseLoad: free } } } });
});

test('the values of the example shop load what its configuration for the command line loads', async () => {
  const example = join(chartsFolder, '..', 'examples', 'order-food');
  const read = async (path: string): Promise<unknown> => parse(await readFile(join(example, path), 'utf8'));
  const config = await read('config.yaml');
  const values = await read('kubernetes/database-load.yaml');
  const flat = JSON.parse(JSON.stringify(config).replaceAll('"data/', '"'));
  expect(valueAt(values, 'config')).toEqual(flat);
  const manifests = await render('database-load', isRecord(values) ? { values } : {});
  const files = Object.keys(valueAt(find(manifests, 'ConfigMap'), 'binaryData') ?? {});
  for (const entry of flat.load) expect(files).toContain(entry.source);
});
