import { describe, expect, test } from 'vitest';
import { podsOf } from './pods.ts';
import { find, isRecord, type Manifest, refusal, render, valueAt } from './render.ts';

const toggled = (databaseMigration: boolean, databaseLoad: boolean) => ({
  initContainers: { databaseMigration: { enabled: databaseMigration }, databaseLoad: { enabled: databaseLoad } },
});

function initContainerNames(manifests: readonly Manifest[]): unknown[] {
  const containers = valueAt(find(manifests, 'Deployment'), 'spec.template.spec.initContainers');
  return Array.isArray(containers) ? containers.map((container: unknown) => valueAt(container, 'name')) : [];
}

function volumeNames(manifests: readonly Manifest[]): unknown[] {
  const volumes = valueAt(find(manifests, 'Deployment'), 'spec.template.spec.volumes');
  return Array.isArray(volumes) ? volumes.map((volume: unknown) => valueAt(volume, 'name')) : [];
}

describe('init containers', () => {
  test.each([
    [true, true, ['database-migration', 'database-load']],
    [true, false, ['database-migration']],
    [false, true, ['database-load']],
    [false, false, []],
  ])('migration %s and load %s: %j', async (migration, load, names) => {
    const manifests = await render('order-food', { values: toggled(migration, load) });
    expect(initContainerNames(manifests)).toEqual(names);
    const volumes = volumeNames(manifests).map((name) => String(name).replace(/-[^-]+$/, ''));
    expect(new Set(volumes)).toEqual(new Set([...names, 'order-food']));
  });

  test('those of the user stand before and after, and may use templates', async () => {
    const named = (name: string) => ({ name, image: 'x:1', args: ['{{ .Release.Name }}'] });
    const values = { extraInitContainers: { before: [named('proxy')], after: [named('warm-up')] } };
    const manifests = await render('order-food', { values, release: 'order-food-1' });
    expect(initContainerNames(manifests)).toEqual(['proxy', 'database-migration', 'database-load', 'warm-up']);
    expect(valueAt(find(manifests, 'Deployment'), 'spec.template.spec.initContainers[proxy].args[0]')).toBe(
      'order-food-1',
    );
  });

  test('an account of its own is the container’s alone', async () => {
    const own = { user: 'migrator', existingSecret: 'ddl', passwordKey: 'pw' };
    const values = { initContainers: { databaseMigration: { database: own } } };
    const spec = valueAt(find(await render('order-food', { values }), 'Deployment'), 'spec.template.spec');
    expect(valueAt(spec, 'initContainers[database-migration].env[DB_USER].value')).toBe('migrator');
    expect(valueAt(spec, 'initContainers[database-load].env[DB_USER].value')).toBe('order_food');
    expect(valueAt(spec, 'volumes[database-migration-password].secret.secretName')).toBe('ddl');
    expect(valueAt(spec, 'volumes[database-load-password].secret.secretName')).toBe('demo-mysql');
  });

  test('new content restarts the pods, and a new version of the chart alone does not', async () => {
    const checksum = async (values: Readonly<Record<string, unknown>>) =>
      valueAt(
        find(await render('order-food', { values }), 'Deployment'),
        'spec.template.metadata.annotations[checksum/tableset]',
      );
    const files = (text: string) => ({
      initContainers: { databaseMigration: { migrations: { chartFiles: '', files: { '1_a.sql': text } } } },
    });
    expect(await checksum(files('SELECT 1'))).not.toBe(await checksum(files('SELECT 2')));
    expect(await checksum({})).toBe(await checksum({ replicaCount: 4 }));
    const template = valueAt(find(await render('order-food'), 'Deployment'), 'spec.template.metadata');
    expect(JSON.stringify(template)).not.toContain('helm.sh/chart');
  });
});

describe('environments and images', () => {
  test('an entry of extraEnv replaces ours, and no name stands twice', async () => {
    const extraEnv = [{ name: 'DB_HOST', value: 'other' }];
    const values = {
      extraEnv,
      initContainers: { databaseMigration: { extraEnv }, databaseLoad: { extraEnv } },
    };
    for (const chart of ['order-food', 'database-load']) {
      const manifests = await render(chart, { values: chart === 'order-food' ? values : { extraEnv } });
      for (const pod of podsOf(manifests).filter(({ owner }) => !owner.startsWith('Pod order-food'))) {
        for (const container of [pod.spec['initContainers'], pod.spec['containers']].flat().filter(isRecord)) {
          // Every container of ours has an environment.
          const environment = container['env'] as { name: string; value: string }[];
          const names = environment.map(({ name }) => name);
          expect(names).toHaveLength(new Set(names).size);
          expect(environment.find(({ name }) => name === 'DB_HOST')?.value).toBe('other');
        }
      }
    }
  });

  test('a name that stands twice in extraEnv is refused', async () => {
    const extraEnv = [
      { name: 'A', value: '1' },
      { name: 'A', value: '2' },
    ];
    expect(await refusal('database-load', { extraEnv })).toContain('A stands there twice');
  });

  test('the global registry goes before every other, and global pull secrets come first', async () => {
    const values = {
      global: { imageRegistry: 'mirror.example', imagePullSecrets: ['all'] },
      image: { registry: 'ghcr.io/x' },
      imagePullSecrets: ['mine'],
    };
    for (const chart of ['order-food', 'database-load']) {
      for (const pod of podsOf(await render(chart, { values }))) {
        expect(pod.spec['imagePullSecrets']).toEqual([{ name: 'all' }, { name: 'mine' }]);
        for (const container of [pod.spec['initContainers'], pod.spec['containers']].flat().filter(isRecord)) {
          expect(container['image']).toMatch(/^mirror\.example\//);
        }
      }
    }
  });

  test('image.pullPolicy and image.registry hold for the init containers too', async () => {
    const values = { image: { pullPolicy: 'Never', registry: 'ghcr.io/x' } };
    const spec = valueAt(find(await render('order-food', { values }), 'Deployment'), 'spec.template.spec');
    for (const container of ['database-migration', 'database-load']) {
      expect(valueAt(spec, `initContainers[${container}].imagePullPolicy`)).toBe('Never');
      expect(valueAt(spec, `initContainers[${container}].image`)).toBe(`ghcr.io/x/${container}:latest`);
    }
  });

  test('a digest with pullPolicy Never is refused, and so is an image without tag and digest', async () => {
    const digest = `sha256:${'0'.repeat(64)}`;
    expect(await refusal('database-load', { image: { digest, pullPolicy: 'Never' } })).toContain('pullPolicy Never');
    expect(await refusal('order-food', { image: { tag: '' } })).toContain('image: set tag or digest');
  });

  test('no password is in any environment or argument, and no token is mounted', async () => {
    for (const chart of ['order-food', 'database-load']) {
      for (const pod of podsOf(await render(chart))) {
        expect(JSON.stringify(pod.spec)).not.toMatch(/DB_PASSWORD"/);
        expect(pod.spec['automountServiceAccountToken']).toBe(false);
      }
    }
  });
});

describe('faults in values are refused by name', () => {
  const load = (values: Readonly<Record<string, unknown>>) => refusal('database-load', values);
  test('two sources of content', async () => {
    expect(await load({ config: { load: [] }, existingConfigMap: 'x' })).toContain('existingConfigMap goes with none');
    expect(await load({ files: { a: 'b' } })).toContain('set config too');
    const migrations = { files: { '1_a.sql': 'x' }, existingConfigMap: 'x', chartFiles: '' };
    const values = { initContainers: { databaseMigration: { migrations } } };
    expect(await refusal('order-food', values)).toContain('files and existingConfigMap are set');
  });
  test('a certificate authority that nothing checks', async () => {
    expect(await load({ database: { tlsCaSecret: 'ca' } })).toContain('database.tls=verify');
  });
  test('a pod failure policy with OnFailure, which Kubernetes refuses', async () => {
    expect(await load({ cronjob: { podFailurePolicy: { enabled: true } } })).toContain('cronjob.restartPolicy=Never');
  });
  test('words that are none of those that are known', async () => {
    expect(await load({ cronjob: { concurrencyPolicy: 'forbid' } })).toMatch(/cronjob[/.]concurrencyPolicy/);
    expect(await load({ onBusy: 'sleep' })).toMatch(/onBusy/);
    expect(await load({ cronjob: { startingDeadlineSeconds: 5 } })).toMatch(/cronjob[/.]startingDeadlineSeconds/);
  });
});

describe('the CronJob and the Job', () => {
  test('have the names, the labels and the defaults that users rely on', async () => {
    const cronjob = find(await render('database-load'), 'CronJob', 'database-load');
    expect(valueAt(cronjob, 'spec')).toMatchObject({
      schedule: '0 */6 * * *',
      timeZone: 'Etc/UTC',
      concurrencyPolicy: 'Forbid',
      successfulJobsHistoryLimit: 3,
      failedJobsHistoryLimit: 3,
      startingDeadlineSeconds: 3600,
      jobTemplate: { spec: { backoffLimit: 2, template: { spec: { restartPolicy: 'OnFailure' } } } },
    });
    // A Job made by kubectl create job --from takes the first; its pods have the second.
    for (const at of ['spec.jobTemplate.metadata.labels', 'spec.jobTemplate.spec.template.metadata.labels']) {
      expect(valueAt(cronjob, at)).toMatchObject({ 'app.kubernetes.io/name': 'database-load' });
    }
    const deployment = find(await render('order-food'), 'Deployment', 'order-food');
    expect(valueAt(deployment, 'spec.template.metadata.labels')).toMatchObject({
      'app.kubernetes.io/name': 'order-food',
    });
  });

  test('start no pod beside one that is on its way out: it would find the lock held and call itself done', async () => {
    const enabled = { enabled: true };
    const values = { job: enabled, archive: { cronjob: enabled }, purge: { cronjob: enabled } };
    const manifests = await render('database-load', { values });
    const specs = manifests.flatMap((each) => {
      if (each['kind'] === 'CronJob') return [valueAt(each, 'spec.jobTemplate.spec')];
      return each['kind'] === 'Job' ? [valueAt(each, 'spec')] : [];
    });
    expect(specs).toHaveLength(4);
    for (const spec of specs) expect(valueAt(spec, 'podReplacementPolicy')).toBe('Failed');
  });

  test('what people change with kubectl is rendered only when it is set', async () => {
    expect(valueAt(find(await render('database-load'), 'CronJob'), 'spec')).not.toHaveProperty('suspend');
    expect(valueAt(find(await render('order-food'), 'Deployment'), 'spec')).not.toHaveProperty('replicas');
  });

  test('a Job of other content has another name, and one of the same content the same template', async () => {
    const changes = [
      {},
      { job: { rerun: 'again' } },
      { config: { load: [{ table: 'a', source: 'a.csv' }] } },
      { config: { load: [{ table: 'b', source: 'a.csv' }] } },
      { config: { load: [{ table: 'b', source: 'a.csv' }] }, files: { 'a.csv': 'id\n1\n' } },
      { image: { tag: 'v2' } },
      { resources: { limits: { memory: '1Gi' } } },
      { podLabels: { a: 'b' } },
      { job: { backoffLimit: 1 } },
    ];
    const jobs = await Promise.all(
      changes.map(async (values) => {
        const job = { enabled: true, ...('job' in values ? values.job : {}) };
        return find(await render('database-load', { values: { ...values, job } }), 'Job');
      }),
    );
    expect(new Set(jobs.map((job) => valueAt(job, 'metadata.name'))).size).toBe(changes.length);
    const values = { job: { enabled: true }, commonLabels: {}, cronjob: { schedule: '1 1 * * *' } };
    expect(valueAt(find(await render('database-load', { values }), 'Job'), 'metadata.name')).toBe(
      valueAt(jobs[0], 'metadata.name'),
    );
  });

  test('names stay within what Kubernetes takes for a CronJob, whatever the release is called', async () => {
    const release = 'a-release-of-a-very-long-name-as-helm-still-takes-it';
    const enabled = { enabled: true };
    for (const chart of ['order-food', 'database-load']) {
      for (const manifest of await render(chart, {
        release,
        values:
          chart === 'order-food' ? {} : { job: enabled, archive: { cronjob: enabled }, purge: { cronjob: enabled } },
      })) {
        const limit = manifest['kind'] === 'CronJob' ? 52 : 63;
        expect(String(valueAt(manifest, 'metadata.name')).length).toBeLessThanOrEqual(limit);
      }
    }
  });

  test('their pods run under the same NetworkPolicy', async () => {
    const enabled = { enabled: true };
    const values = { networkPolicy: enabled, job: enabled, archive: { cronjob: enabled }, purge: { cronjob: enabled } };
    const manifests = await render('database-load', { values });
    const selector = valueAt(find(manifests, 'NetworkPolicy'), 'spec.podSelector.matchLabels') as Record<
      string,
      string
    >;
    const expressions = valueAt(find(manifests, 'NetworkPolicy'), 'spec.podSelector.matchExpressions');
    const pods = podsOf(manifests).filter(({ owner }) => !owner.startsWith('Pod '));
    expect(pods).toHaveLength(4);
    for (const pod of pods) {
      expect(pod.labels).toMatchObject(selector);
      const component = pod.labels['app.kubernetes.io/component'];
      expect(expressions).toEqual([
        { key: 'app.kubernetes.io/component', operator: 'In', values: expect.arrayContaining([component]) },
      ]);
    }
  });
});

describe('archive and purge', () => {
  const enabled = { cronjob: { enabled: true } };
  const both = { archive: enabled, purge: enabled };
  const jobOf = (cronjob: Manifest | undefined) => valueAt(cronjob, 'spec.jobTemplate.spec.template.spec');

  test('are off by default, and then CronJobs of their own with the names and times that users rely on', async () => {
    const names = (manifests: readonly Manifest[]) =>
      manifests.filter(({ kind }) => kind === 'CronJob').map((each) => valueAt(each, 'metadata.name'));
    expect(names(await render('database-load'))).toEqual(['database-load']);
    const manifests = await render('database-load', { values: both });
    expect(names(manifests)).toEqual(['database-load', 'database-load-archive', 'database-load-purge']);
    for (const [verb, schedule] of [
      ['archive', '0 2 * * *'],
      ['purge', '0 3 * * *'],
    ]) {
      const cronjob = find(manifests, 'CronJob', `database-load-${verb}`);
      expect(valueAt(cronjob, 'spec')).toMatchObject({ schedule, timeZone: 'Etc/UTC', concurrencyPolicy: 'Forbid' });
      const container = valueAt(jobOf(cronjob), 'containers[database-load]');
      expect(valueAt(container, 'args')).toEqual([verb]);
      expect(valueAt(container, 'env[ON_BUSY].value')).toBe('skip');
      expect(valueAt(container, 'env[RUN_TRIGGER].value')).toBe('cron');
      expect(valueAt(container, 'env[LOAD_IF_CHANGED]')).toBeUndefined();
      expect(valueAt(cronjob, 'spec.jobTemplate.metadata.labels')).toMatchObject({
        'app.kubernetes.io/name': 'database-load',
        'app.kubernetes.io/component': verb,
      });
    }
  });

  test('differ from the pods that load in their arguments, labels, account, stores and restarts alone', async () => {
    const stores = { existingClaim: 'cold', existingSecrets: ['archive-db'] };
    const values = { ...both, stores, tables: ['products'], extraArgs: ['--x'], ifChanged: true };
    const manifests = await render('database-load', { values });
    const load = jobOf(find(manifests, 'CronJob', 'database-load')) as Record<string, unknown>;
    for (const verb of ['archive', 'purge']) {
      const pod = jobOf(find(manifests, 'CronJob', `database-load-${verb}`)) as Record<string, unknown>;
      const { containers: _theirs, volumes: _volumes, restartPolicy: _restart, ...rest } = pod;
      const { containers: _own, volumes: _ownVolumes, restartPolicy: _ownRestart, ...ownRest } = load;
      expect(rest).toEqual(ownRest);
      expect(valueAt(pod, 'containers[0].args')).toEqual([verb]);
      expect(valueAt(pod, 'containers[0].volumeMounts[/archive]')).toEqual({ name: 'store', mountPath: '/archive' });
      for (const key of ['image', 'resources', 'securityContext'])
        expect(valueAt(pod, `containers[0].${key}`)).toEqual(valueAt(load, `containers[0].${key}`));
    }
    expect(JSON.stringify(load)).not.toContain('archive-db');
    expect(JSON.stringify(load)).not.toContain('"cold"');
  });

  test('leave the pods that load as they were', async () => {
    const spec = async (values: object) =>
      valueAt(find(await render('database-load', { values: { ...values } }), 'CronJob'), 'spec');
    expect(await spec(both)).toEqual(await spec({}));
  });

  test('are tried again, but not where a limit of time has ended them', async () => {
    const tries = async (limits: object, more: object = {}) => {
      const values = { config: { load: [], limits }, archive: { cronjob: { enabled: true, ...more } } };
      const manifests = await render('database-load', { values });
      return valueAt(find(manifests, 'CronJob', 'database-load-archive'), 'spec.jobTemplate.spec.backoffLimit');
    };
    expect(await tries({ batchRows: 100 })).toBe(2);
    expect(await tries({ maxRuntime: '2h' })).toBe(0);
    expect(await tries({ window: '01:00-05:00' })).toBe(0);
    expect(await tries({ maxRuntime: '2h' }, { backoffLimit: 1 })).toBe(1);
    expect(await tries({}, { backoffLimit: 0 })).toBe(0);
  });

  test('archive with several pods is an Indexed Job whose pods share the tables, and whose tries are those of all', async () => {
    const values = { archive: { cronjob: { enabled: true, parallelism: 3 }, extraArgs: ['--lock-wait-seconds=9'] } };
    const manifests = await render('database-load', { values });
    const job = valueAt(find(manifests, 'CronJob', 'database-load-archive'), 'spec.jobTemplate.spec');
    expect(job).toMatchObject({ completionMode: 'Indexed', completions: 3, parallelism: 3, backoffLimit: 6 });
    const args = valueAt(job, 'template.spec.containers[0].args');
    expect(args).toEqual(['archive', '--shards=3', '--lock-wait-seconds=9']);
    const alone = await render('database-load', { values: both });
    for (const verb of ['archive', 'purge']) {
      const spec = valueAt(find(alone, 'CronJob', `database-load-${verb}`), 'spec.jobTemplate.spec');
      for (const key of ['completionMode', 'completions', 'parallelism']) expect(valueAt(spec, key)).toBeUndefined();
    }
    const most = { archive: { cronjob: { enabled: true, parallelism: 65 } } };
    expect(await refusal('database-load', most)).toContain('/archive/cronjob/parallelism');
  });

  test('keep the logs of tries that failed, and are not tried again after exit 2 and 3', async () => {
    const manifests = await render('database-load', { values: both });
    for (const verb of ['archive', 'purge']) {
      const job = valueAt(find(manifests, 'CronJob', `database-load-${verb}`), 'spec.jobTemplate.spec');
      expect(valueAt(job, 'template.spec.restartPolicy')).toBe('Never');
      expect(valueAt(job, 'podFailurePolicy.rules')).toMatchObject([
        { action: 'Ignore', onPodConditions: [{ type: 'DisruptionTarget' }] },
        { action: 'FailJob', onExitCodes: { containerName: 'database-load', values: [2, 3] } },
      ]);
    }
  });

  test('name the value that is wrong', async () => {
    const cronjob = { enabled: true, restartPolicy: 'OnFailure' };
    expect(await refusal('database-load', { purge: { cronjob } })).toContain('purge.cronjob.restartPolicy=Never');
  });
});

describe('upgrades', () => {
  test('no value changes a selector, so that every upgrade is one that Kubernetes takes', async () => {
    const values = {
      commonLabels: { team: 'food' },
      podLabels: { a: 'b' },
      image: { tag: 'v2' },
      replicaCount: 3,
      service: { port: 81 },
    };
    const [before, after] = [await render('order-food'), await render('order-food', { values })];
    for (const [kind, at] of [
      ['Deployment', 'spec.selector'],
      ['Service', 'spec.selector'],
    ] as const) {
      expect(valueAt(find(after, kind), at)).toEqual(valueAt(find(before, kind), at));
    }
  });

  test('the Service takes in the pods of the app alone, not those of Jobs and tests', async () => {
    const manifests = await render('order-food');
    const selector = valueAt(find(manifests, 'Service'), 'spec.selector') as Record<string, string>;
    const selected = podsOf(manifests).filter((pod) =>
      Object.entries(selector).every(([key, value]) => pod.labels[key] === value),
    );
    expect(selected.map(({ owner }) => owner)).toEqual(['Deployment order-food']);
  });

  test('preStop sleep is left out where Kubernetes does not know it yet', async () => {
    const lifecycle = async (kubernetesVersion: string) =>
      valueAt(
        find(await render('order-food', { kubernetesVersion }), 'Deployment'),
        'spec.template.spec.containers[order-food].lifecycle',
      );
    expect(await lifecycle('1.29.0')).toBeUndefined();
    expect(await lifecycle('1.30.0')).toBeDefined();
  });
});
