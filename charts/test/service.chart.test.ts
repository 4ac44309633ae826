import { describe, expect, test } from 'vitest';
import { parse } from 'yaml';
import { readTemplate, workerJob } from '../../loader/src/service/job/template.ts';
import { podsOf, restrictedFaults } from './pods.ts';
import { find, type Manifest, refusal, render, valueAt } from './render.ts';

const token = { triggerToken: { existingSecret: 'trigger' } };
const enabled = { enabled: true, ...token };
const config = { load: [{ table: 'products', source: 'products.csv' }] };
const containerOf = (manifests: readonly Manifest[]) =>
  valueAt(find(manifests, 'Deployment'), 'spec.template.spec.containers[database-load]');

/** The Job that the service would make from what the chart gives it. */
function workerOf(manifests: readonly Manifest[]) {
  const text = String(valueAt(find(manifests, 'ConfigMap', 'database-load-worker'), 'data[job.yaml]'));
  return workerJob(readTemplate(text, 'job.yaml', undefined, 60), { id: '12', token: '3' });
}

describe('the service', () => {
  test('is off by default, and then nothing of it is there', async () => {
    const kinds = (await render('database-load')).map(({ kind }) => kind);
    for (const kind of ['Deployment', 'Service', 'Role', 'PodDisruptionBudget']) expect(kinds).not.toContain(kind);
  });

  test('is refused without a token of any kind, and with keys that no Secret has', async () => {
    expect(await refusal('database-load', { service: { enabled: true } })).toContain(
      'service.triggerToken.existingSecret or service.api.existingSecret',
    );
    const service = { ...enabled, api: { encryptionKey: 'x' } };
    expect(await refusal('database-load', { service })).toContain('service.api.existingSecret, which is not set');
    await render('database-load', { values: { service: { enabled: true, api: { existingSecret: 'api' } } } });
  });

  test('schedules by itself only what no CronJob does, unless it is told to', async () => {
    const times = async (values: object) => {
      const env = valueAt(containerOf(await render('database-load', { values: { ...values } })), 'env');
      return ['CRON_SCHEDULE', 'ARCHIVAL_JOB_CRON', 'PURGE_JOB_CRON'].map((name) => valueAt(env, `[${name}].value`));
    };
    expect(await times({ service: enabled })).toEqual(['off', '0 2 * * *', '0 3 * * *']);
    const cronjob = { enabled: true };
    const others = { cronjob: { enabled: false }, archive: { cronjob }, purge: { cronjob } };
    expect(await times({ ...others, service: enabled })).toEqual(['0 */6 * * *', 'off', 'off']);
    const schedules = { load: '1 1 * * *', archive: '2 2 * * *', purge: 'off' };
    expect(await times({ service: { ...enabled, schedules } })).toEqual(['1 1 * * *', '2 2 * * *', 'off']);
  });

  test('alone and inline has no token, no role and no Lease', async () => {
    const manifests = await render('database-load', { values: { service: enabled } });
    expect(valueAt(find(manifests, 'Deployment'), 'spec.template.spec.automountServiceAccountToken')).toBe(false);
    expect(find(manifests, 'Role')).toBeUndefined();
    expect(valueAt(containerOf(manifests), 'env[LEASE_NAME]')).toBeUndefined();
  });

  test('with several pods may read and write its own Lease, and nothing else', async () => {
    const manifests = await render('database-load', { values: { service: { ...enabled, replicaCount: 2 } } });
    expect(valueAt(find(manifests, 'Role'), 'rules')).toEqual([
      { apiGroups: ['coordination.k8s.io'], resources: ['leases'], verbs: ['create'] },
      {
        apiGroups: ['coordination.k8s.io'],
        resources: ['leases'],
        resourceNames: ['database-load-service'],
        verbs: ['get', 'update'],
      },
    ]);
    expect(valueAt(containerOf(manifests), 'env[LEASE_NAME].value')).toBe('database-load-service');
  });

  test('with worker Jobs may make, read and delete Jobs and read pods and logs, in its own namespace', async () => {
    const manifests = await render('database-load', { values: { service: { ...enabled, worker: { kind: 'job' } } } });
    const rules = valueAt(find(manifests, 'Role'), 'rules');
    expect(Array.isArray(rules) && rules.slice(2)).toEqual([
      { apiGroups: ['batch'], resources: ['jobs'], verbs: ['create', 'get', 'delete'] },
      { apiGroups: [''], resources: ['pods'], verbs: ['list'] },
      { apiGroups: [''], resources: ['pods/log'], verbs: ['get'] },
    ]);
    expect(manifests.map(({ kind }) => kind)).not.toContain('ClusterRole');
    expect(valueAt(find(manifests, 'RoleBinding'), 'subjects')).toEqual([
      { kind: 'ServiceAccount', name: 'database-load-service', namespace: 'shop' },
    ]);
    // The workers themselves talk to no API server.
    const pod = workerOf(manifests).spec?.template.spec;
    expect([pod?.serviceAccountName, pod?.automountServiceAccountToken]).toEqual(['database-load', false]);
  });

  test('makes workers from the image, account, content and stores of the chart, under restricted pod security', async () => {
    const values = {
      config,
      stores: { existingClaim: 'cold', existingSecrets: ['bucket'] },
      networkPolicy: { enabled: true },
      service: {
        ...enabled,
        worker: { kind: 'job' },
        api: { existingSecret: 'api', encryptionKey: 'seal' },
        database: { user: 'worker', existingSecret: 'worker' },
      },
    };
    const manifests = await render('database-load', { values });
    const job = workerOf(manifests);
    const pods = podsOf([...manifests, JSON.parse(JSON.stringify(job))]);
    expect(pods.flatMap(restrictedFaults)).toEqual([]);
    const container: unknown = job.spec?.template.spec?.containers[0];
    expect(valueAt(container, 'image')).toBe('database-load:latest');
    expect(valueAt(container, 'args')).toEqual(['work', '--run', '12', '--token', '3']);
    expect(valueAt(container, 'env[DB_USER].value')).toBe('worker');
    expect(valueAt(container, 'env[ENCRYPTION_KEY_FILE].value')).toBe('/secrets/encryption/keys');
    for (const path of ['/config', '/archive', '/secrets/stores/bucket', '/secrets/encryption', '/secrets/database'])
      expect(valueAt(container, `volumeMounts[${path}]`), path).toBeDefined();
    // Neither the token of the trigger nor the key that signs tokens.
    expect(JSON.stringify(job)).not.toContain('"trigger"');
    expect(JSON.stringify(job)).not.toContain('jwt-key');
    const selector = valueAt(find(manifests, 'NetworkPolicy', 'database-load'), 'spec.podSelector.matchExpressions');
    expect(JSON.stringify(selector)).toContain('"worker"');
    expect(JSON.stringify(containerOf(manifests))).not.toMatch(/DB_PASSWORD"/);
  });

  test('its Service takes in its own pods alone, not those of Jobs, workers and CronJobs', async () => {
    const values = { job: { enabled: true }, service: { ...enabled, worker: { kind: 'job' } } };
    const manifests = await render('database-load', { values });
    const selector = valueAt(find(manifests, 'Service'), 'spec.selector') as Record<string, string>;
    const all = [...podsOf(manifests), ...podsOf([JSON.parse(JSON.stringify(workerOf(manifests)))])];
    const selected = all.filter(({ labels }) =>
      Object.entries(selector).every(([key, value]) => labels[key] === value),
    );
    expect(selected.map(({ owner }) => owner)).toEqual(['Deployment database-load-service']);
    expect(all.length).toBeGreaterThan(4);
  });

  test('is restarted by another template of its workers, and not by other content, which it reads again by itself', async () => {
    const checksum = async (values: object) => {
      const service = { ...enabled, worker: { kind: 'job' } };
      const manifests = await render('database-load', { values: { config, service, ...values } });
      return valueAt(find(manifests, 'Deployment'), 'spec.template.metadata.annotations[checksum/worker]');
    };
    const first = await checksum({});
    expect(await checksum({ config: { load: [{ table: 'prices', source: 'prices.csv' }] } })).toBe(first);
    expect(await checksum({ image: { tag: 'v2' } })).not.toBe(first);
  });

  test('has the time to stop what runs before it is killed', async () => {
    const manifests = await render('database-load', { values: { service: { ...enabled, shutdownSeconds: 300 } } });
    expect(valueAt(find(manifests, 'Deployment'), 'spec.template.spec.terminationGracePeriodSeconds')).toBe(323);
  });

  test('names of its objects and Jobs fit, whatever the release is called', async () => {
    const release = 'a-release-of-a-very-long-name-as-helm-still-takes-it';
    const service = { ...enabled, worker: { kind: 'job' } };
    const manifests = await render('database-load', { release, values: { service } });
    for (const each of manifests) expect(String(valueAt(each, 'metadata.name')).length).toBeLessThanOrEqual(63);
    const text = manifests.map((each) => valueAt(each, 'data[job.yaml]')).find((each) => each !== undefined);
    expect(String(parse(String(text)).metadata.name).length).toBeLessThanOrEqual(40);
  });
});
