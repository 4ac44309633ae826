import { expect } from 'vitest';
import {
  accountEffects,
  databaseEffects,
  type Effect,
  imageEffects,
  loadEffects,
  mount,
  podEffects,
  resources,
  runEffects,
  security,
  volume,
} from './shared.ts';

/** Every value of the chart order-food, and what it must bring about. */
export function orderFoodEffects(): Record<string, Effect> {
  const pod = 'Deployment spec.template.spec';
  const app = `${pod}.containers[order-food]`;
  const migration = `${pod}.initContainers[database-migration]`;
  const load = `${pod}.initContainers[database-load]`;
  const migrationKey = 'initContainers.databaseMigration';
  const loadKey = 'initContainers.databaseLoad';
  const noChartFiles = { initContainers: { databaseMigration: { migrations: { chartFiles: '' } } } };
  const sidecar = { name: 'proxy', image: 'proxy:1', restartPolicy: 'Always' };
  const spread = [{ maxSkew: 1, topologyKey: 'zone', whenUnsatisfiable: 'ScheduleAnyway' }];
  const probe = { tcpSocket: { port: 1 } };
  return {
    ...podEffects('Deployment', pod),
    ...imageEffects('image', app, 'order-food'),
    replicaCount: { set: 3, at: 'Deployment spec.replicas', is: 3 },
    'service.type': { set: 'NodePort', at: 'Service spec.type', is: 'NodePort' },
    'service.port': { set: 81, at: 'Service spec.ports[http].port', is: 81 },
    'service.annotations': { set: { a: 'b' }, at: 'Service metadata.annotations.a', is: 'b' },
    'strategy.type': { set: 'Recreate', at: 'Deployment spec.strategy', is: { type: 'Recreate' } },
    'strategy.rollingUpdate': {
      set: { maxSurge: 2 },
      at: 'Deployment spec.strategy.rollingUpdate.maxSurge',
      is: 2,
    },
    progressDeadlineSeconds: { set: 60, at: 'Deployment spec.progressDeadlineSeconds', is: 60 },
    readinessProbe: { set: probe, at: `${app}.readinessProbe.tcpSocket.port`, is: 1 },
    livenessProbe: { set: probe, at: `${app}.livenessProbe.tcpSocket.port`, is: 1 },
    preStopSleepSeconds: { set: 9, at: `${app}.lifecycle.preStop.sleep.seconds`, is: 9 },
    resources: { set: resources, at: `${app}.resources.limits.memory`, is: '3Gi' },
    securityContext: { set: security, at: `${app}.securityContext.runAsUser`, is: 1000 },
    extraEnv: { set: [{ name: 'X', value: 'y' }], at: `${app}.env[X].value`, is: 'y' },
    extraVolumes: { set: [volume], at: `${pod}.volumes[mine]`, is: volume },
    extraVolumeMounts: { set: [mount], at: `${app}.volumeMounts[/mine]`, is: mount },
    topologySpreadConstraints: { set: spread, at: `${pod}.topologySpreadConstraints`, is: spread },
    ...databaseEffects(migration, pod, 'database-migration'),
    'extraInitContainers.before': { set: [sidecar], at: `${pod}.initContainers[0]`, is: sidecar },
    'extraInitContainers.after': { set: [sidecar], at: `${pod}.initContainers[2]`, is: sidecar },
    [`${migrationKey}.enabled`]: { set: false, at: `${migration}`, is: undefined },
    ...imageEffects(`${migrationKey}.image`, migration, 'database-migration'),
    ...accountEffects(migrationKey, migration, pod, 'database-migration'),
    [`${migrationKey}.migrations.files`]: {
      set: { '1_a.sql': 'SELECT 1;\n' },
      with: noChartFiles,
      at: 'ConfigMap data[1_a.sql]',
      is: 'SELECT 1;\n',
    },
    [`${migrationKey}.migrations.chartFiles`]: { set: '', at: 'ConfigMap data', is: undefined },
    [`${migrationKey}.migrations.existingConfigMap`]: {
      set: 'theirs',
      with: noChartFiles,
      at: `${pod}.volumes[database-migration-files].configMap.name`,
      is: 'theirs',
    },
    [`${migrationKey}.migrations.volume`]: {
      set: { persistentVolumeClaim: { claimName: 'c' } },
      with: noChartFiles,
      at: `${pod}.volumes[database-migration-files].persistentVolumeClaim.claimName`,
      is: 'c',
    },
    [`${migrationKey}.format`]: { set: 'goose', at: `${migration}.env[MIGRATIONS_FORMAT].value`, is: 'goose' },
    [`${migrationKey}.ahead`]: { set: 'fail', at: `${migration}.env[MIGRATIONS_AHEAD].value`, is: 'fail' },
    [`${migrationKey}.outOfOrder`]: { set: true, at: `${migration}.env[MIGRATIONS_OUT_OF_ORDER].value`, is: 'true' },
    [`${migrationKey}.lockTimeoutSeconds`]: {
      set: 3,
      at: `${migration}.env[MIGRATIONS_LOCK_TIMEOUT_SECONDS].value`,
      is: '3',
    },
    [`${migrationKey}.lockRetries`]: { set: 3, at: `${migration}.env[MIGRATIONS_LOCK_RETRIES].value`, is: '3' },
    [`${migrationKey}.ddlBudgetRows`]: {
      set: 25_000_000,
      at: `${migration}.env[MIGRATIONS_DDL_BUDGET_ROWS].value`,
      is: '25000000',
    },
    ...runEffects(migrationKey, migration, pod),
    [`${loadKey}.enabled`]: { set: false, at: `${load}`, is: undefined },
    ...imageEffects(`${loadKey}.image`, load, 'database-load'),
    ...accountEffects(loadKey, load, pod, 'database-load'),
    [`${loadKey}.chartFiles`]: {
      set: 'migrations/0004*',
      with: { initContainers: { databaseLoad: { config: { load: [] }, existingConfigMap: '' } } },
      at: 'ConfigMap/order-food-load binaryData[0004_order_index.sql]',
      is: expect.stringMatching(/^[A-Za-z0-9+/]+=*$/),
    },
    ...loadEffects(loadKey, load, pod, 'order-food-load'),
  };
}
