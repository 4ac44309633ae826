import { accountEffects, type Effect } from './shared.ts';

const object = 'Deployment/database-load-service';
const pod = `${object} spec.template.spec`;
const container = `${pod}.containers[database-load]`;
const service = 'Service/database-load-service';
const on = { enabled: true, triggerToken: { existingSecret: 'trigger' } };

/** An effect of a value of `service`, which needs these others beside the service itself. */
function effect(name: string, set: unknown, at: string, is: unknown = set, more: object = {}): Record<string, Effect> {
  return { [`service.${name}`]: { set, with: { service: { ...on, ...more } }, at, is } };
}

function variable(name: string, set: unknown, variableName: string, more: object = {}): Record<string, Effect> {
  return effect(name, set, `${container}.env[${variableName}].value`, String(set), more);
}

/** Values of `service` in the chart database-load. */
export function databaseServiceEffects(): Record<string, Effect> {
  return {
    ...runEffects(),
    ...workerEffects(),
    ...accessEffects(),
    ...objectEffects(),
  };
}

function runEffects(): Record<string, Effect> {
  const account = Object.entries(accountEffects('service', container, pod, 'database-load'));
  return {
    'service.enabled': {
      set: true,
      with: { service: { triggerToken: { existingSecret: 'trigger' } } },
      at: `${object} metadata.name`,
      is: 'database-load-service',
    },
    ...effect('replicaCount', 3, `${object} spec.replicas`),
    ...variable('schedules.load', '5 * * * *', 'CRON_SCHEDULE'),
    ...variable('schedules.archive', '5 4 * * *', 'ARCHIVAL_JOB_CRON'),
    ...variable('schedules.purge', 'off', 'PURGE_JOB_CRON'),
    ...variable('schedules.verify', '0 4 * * 0', 'VERIFY_JOB_CRON'),
    ...variable('schedules.timeZone', 'Europe/Berlin', 'SCHEDULE_TIME_ZONE'),
    ...variable('queueSize', 7, 'QUEUE_SIZE'),
    ...variable('runAttempts', 5, 'RUN_ATTEMPTS'),
    ...variable('runTimeoutSeconds', 60, 'RUN_TIMEOUT_SECONDS'),
    ...variable('shutdownSeconds', 60, 'SHUTDOWN_SECONDS'),
    ...effect('preStopSleepSeconds', 9, `${container}.lifecycle.preStop.sleep.seconds`),
    ...Object.fromEntries(account.map(([path, each]) => [path, { ...each, with: { service: on } }])),
    ...effect('resources', { limits: { memory: '3Gi' } }, `${container}.resources.limits.memory`, '3Gi'),
    ...effect('extraEnv', [{ name: 'HISTORY_DAYS', value: '7' }], `${container}.env[HISTORY_DAYS].value`, '7'),
    ...effect('readinessProbe', { tcpSocket: { port: 'http' } }, `${container}.readinessProbe.tcpSocket.port`, 'http'),
    ...effect('livenessProbe', { tcpSocket: { port: 'http' } }, `${container}.livenessProbe.tcpSocket.port`, 'http'),
  };
}

function workerEffects(): Record<string, Effect> {
  const job = { worker: { kind: 'job' } };
  const contains = (text: string) => ({ asymmetricMatch: (other: unknown) => String(other).includes(text) });
  const template = 'ConfigMap/database-load-worker data[job.yaml]';
  return {
    ...variable('worker.kind', 'job', 'WORKER'),
    ...effect('worker.ttlSecondsAfterFinished', 77, template, contains('ttlSecondsAfterFinished: 77'), job),
    ...effect('worker.resources', { limits: { memory: '4Gi' } }, template, contains('memory: 4Gi'), job),
    'service.rbac.create': {
      set: false,
      with: { service: { ...on, ...job } },
      at: 'Role/database-load-service',
      is: undefined,
    },
  };
}

function accessEffects(): Record<string, Effect> {
  const api = { api: { existingSecret: 'keys' } };
  const webhook = { webhook: { existingSecret: 'hook' } };
  const items = (volume: string) => `${pod}.volumes[${volume}].secret.items`;
  return {
    ...effect('triggerToken.existingSecret', 'other', `${pod}.volumes[service-trigger].secret.secretName`),
    ...effect('triggerToken.key', 'word', items('service-trigger'), [{ key: 'word', path: 'token' }]),
    ...effect('api.existingSecret', 'keys', `${pod}.volumes[service-api].secret.secretName`),
    ...effect('api.jwtKey', 'jwt', `${items('service-api')}[0].key`, 'jwt', api),
    ...effect('api.clientsKey', 'people', `${items('service-api')}[1].key`, 'people', api),
    ...effect('api.encryptionKey', 'seal', items('service-encryption'), [{ key: 'seal', path: 'keys' }], api),
    ...effect('webhook.existingSecret', 'hook', `${pod}.volumes[service-webhook].secret.secretName`),
    ...effect('webhook.urlKey', 'to', `${container}.env[WEBHOOK_URL].valueFrom.secretKeyRef.key`, 'to', webhook),
    ...effect('webhook.secretKey', 'seal', items('service-webhook'), [{ key: 'seal', path: 'secret' }], webhook),
    ...effect('serviceAccount.create', false, `${pod}.serviceAccountName`, 'default'),
    ...effect('serviceAccount.name', 'robot', 'ServiceAccount/robot metadata.name'),
    ...effect(
      'serviceAccount.annotations',
      { a: 'b' },
      'ServiceAccount/database-load-service metadata.annotations.a',
      'b',
    ),
  };
}

function objectEffects(): Record<string, Effect> {
  const budget = { podDisruptionBudget: { enabled: true } };
  const monitor = { serviceMonitor: { enabled: true } };
  const policy = 'NetworkPolicy/database-load-service';
  const peers = [{ podSelector: { matchLabels: { app: 'shop' } } }];
  const guarded = { networkPolicy: { enabled: true }, service: { ...on, worker: { kind: 'job' } } };
  return {
    ...effect('type', 'NodePort', `${service} spec.type`),
    ...effect('port', 8000, `${service} spec.ports[http].port`),
    ...effect('annotations', { a: 'b' }, `${service} metadata.annotations.a`, 'b'),
    ...effect('podDisruptionBudget.enabled', true, 'PodDisruptionBudget metadata.name', 'database-load-service'),
    ...effect('podDisruptionBudget.maxUnavailable', '50%', 'PodDisruptionBudget spec.maxUnavailable', '50%', budget),
    ...effect('serviceMonitor.enabled', true, 'ServiceMonitor metadata.name', 'database-load-service'),
    ...effect('serviceMonitor.labels', { a: 'b' }, 'ServiceMonitor metadata.labels.a', 'b', monitor),
    ...effect('serviceMonitor.interval', '10s', 'ServiceMonitor spec.endpoints[0].interval', '10s', monitor),
    'networkPolicy.servicePeers': { set: peers, with: guarded, at: `${policy} spec.ingress[0].from`, is: peers },
    'networkPolicy.apiServerPeers': { set: peers, with: guarded, at: `${policy} spec.egress[2].to`, is: peers },
  };
}
