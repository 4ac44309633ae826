import { expect } from 'vitest';
import { withValue } from '../render.ts';
import { databaseServiceEffects } from './database-service.ts';
import {
  accountEffects,
  databaseEffects,
  type Effect,
  imageEffects,
  loadEffects,
  podEffects,
  runEffects,
} from './shared.ts';

/** Every value of the chart database-load, and what it must bring about. */
export function databaseLoadEffects(): Record<string, Effect> {
  const job = 'CronJob spec.jobTemplate.spec';
  const pod = `${job}.template.spec`;
  const container = `${pod}.containers[database-load]`;
  const { extraVolumes, extraVolumeMounts, ...run } = runEffects('', container, pod);
  return {
    ...podEffects('CronJob', pod),
    ...imageEffects('image', container, 'database-load'),
    ...databaseEffects(container, pod, 'database-load'),
    ...loadEffects('', container, pod, 'database-load'),
    ...run,
    ...(extraVolumes && extraVolumeMounts ? { extraVolumes, extraVolumeMounts } : {}),
    chartFiles: {
      set: 'example/*',
      with: { config: { load: [] } },
      at: 'ConfigMap binaryData[products.csv]',
      is: expect.stringMatching(/^[A-Za-z0-9+/]+=*$/),
    },
    ...cronjobEffects('cronjob', 'CronJob', {}),
    ...verbEffects('archive'),
    'archive.cronjob.parallelism': {
      set: 4,
      with: { archive: { cronjob: { enabled: true } } },
      at: 'CronJob/database-load-archive spec.jobTemplate.spec.parallelism',
      is: 4,
    },
    ...verbEffects('purge'),
    ...storeEffects(),
    ...jobEffects(),
    ...toggleEffects(),
    ...databaseServiceEffects(),
  };
}

/** Values of the CronJob `object` that stand at `values`; `enabled` are those that it needs. */
function cronjobEffects(
  values: string,
  object: string,
  enabled: Readonly<Record<string, unknown>>,
): Record<string, Effect> {
  const job = `${object} spec.jobTemplate.spec`;
  const loads = values === 'cronjob';
  const rules = `${job}.podFailurePolicy.rules[1].onExitCodes.values`;
  const effect = (name: string, set: unknown, at: string, is: unknown = set): Record<string, Effect> => ({
    [`${values}.${name}`]: { set, with: enabled, at, is },
  });
  return {
    ...effect('schedule', '5 4 * * *', `${object} spec.schedule`),
    ...effect('timeZone', 'Europe/Berlin', `${object} spec.timeZone`),
    ...effect('concurrencyPolicy', 'Replace', `${object} spec.concurrencyPolicy`),
    ...effect('successfulJobsHistoryLimit', 1, `${object} spec.successfulJobsHistoryLimit`),
    ...effect('failedJobsHistoryLimit', 1, `${object} spec.failedJobsHistoryLimit`),
    ...effect('backoffLimit', 6, `${job}.backoffLimit`),
    ...effect('suspend', true, `${object} spec.suspend`),
    ...effect('startingDeadlineSeconds', 60, `${object} spec.startingDeadlineSeconds`),
    ...effect('activeDeadlineSeconds', 60, `${job}.activeDeadlineSeconds`),
    ...effect('ttlSecondsAfterFinished', 60, `${job}.ttlSecondsAfterFinished`),
    ...effect('annotations', { a: 'b' }, `${object} metadata.annotations.a`, 'b'),
    [`${values}.enabled`]: loads
      ? { set: false, at: object, is: undefined }
      : { set: true, at: `${object} kind`, is: 'CronJob' },
    // What deletes keeps its logs and is not tried again in vain, unless told otherwise.
    [`${values}.restartPolicy`]: {
      set: loads ? 'Never' : 'OnFailure',
      with: loads ? enabled : withValue(enabled, `${values}.podFailurePolicy.enabled`, false),
      at: `${job}.template.spec.restartPolicy`,
      is: loads ? 'Never' : 'OnFailure',
    },
    [`${values}.podFailurePolicy.enabled`]: {
      set: loads,
      with: loads ? withValue(enabled, `${values}.restartPolicy`, 'Never') : enabled,
      at: rules,
      is: loads ? [2, 3] : undefined,
    },
  };
}

function verbEffects(verb: 'archive' | 'purge'): Record<string, Effect> {
  const enabled = { [verb]: { cronjob: { enabled: true } } };
  const object = `CronJob/database-load-${verb}`;
  const pod = `${object} spec.jobTemplate.spec.template.spec`;
  const container = `${pod}.containers[database-load]`;
  const account = accountEffects(verb, container, pod, 'database-load');
  return {
    ...cronjobEffects(`${verb}.cronjob`, object, enabled),
    ...Object.fromEntries(Object.entries(account).map(([path, effect]) => [path, { ...effect, with: enabled }])),
    [`${verb}.tables`]: { set: ['orders'], with: enabled, at: `${container}.args`, is: [verb, '--table=orders'] },
    [`${verb}.extraArgs`]: { set: ['--dry-run'], with: enabled, at: `${container}.args`, is: [verb, '--dry-run'] },
  };
}

function storeEffects(): Record<string, Effect> {
  const archive = { cronjob: { enabled: true } };
  const pod = 'CronJob/database-load-archive spec.jobTemplate.spec.template.spec';
  const mounts = `${pod}.containers[database-load].volumeMounts`;
  return {
    'stores.existingClaim': {
      set: 'cold',
      with: { archive },
      at: `${pod}.volumes[store].persistentVolumeClaim.claimName`,
      is: 'cold',
    },
    'stores.mountPath': {
      set: '/cold',
      with: { archive, stores: { existingClaim: 'cold' } },
      at: `${mounts}[/cold].name`,
      is: 'store',
    },
    'stores.existingSecrets': {
      set: ['archive-db'],
      with: { archive },
      at: `${mounts}[/secrets/stores/archive-db]`,
      is: { name: 'store-secret-0', mountPath: '/secrets/stores/archive-db', readOnly: true },
    },
  };
}

function jobEffects(): Record<string, Effect> {
  const enabled = { job: { enabled: true } };
  const name = expect.stringMatching(/^database-load-[0-9a-f]{10}$/);
  return {
    'job.enabled': { set: true, at: 'Job metadata.name', is: name },
    // That another text is another name stands in a test of its own.
    'job.rerun': { set: 'again', with: enabled, at: 'Job metadata.name', is: name },
    'job.backoffLimit': { set: 6, with: enabled, at: 'Job spec.backoffLimit', is: 6 },
    'job.restartPolicy': { set: 'Never', with: enabled, at: 'Job spec.template.spec.restartPolicy', is: 'Never' },
    'job.activeDeadlineSeconds': { set: 60, with: enabled, at: 'Job spec.activeDeadlineSeconds', is: 60 },
    'job.ttlSecondsAfterFinished': { set: 60, with: enabled, at: 'Job spec.ttlSecondsAfterFinished', is: 60 },
    'job.annotations': { set: { a: 'b' }, with: enabled, at: 'Job metadata.annotations.a', is: 'b' },
  };
}

function toggleEffects(): Record<string, Effect> {
  const policy = { networkPolicy: { enabled: true } };
  const rule = { prometheusRule: { enabled: true } };
  const dashboard = { grafanaDashboard: { enabled: true } };
  const peers = [{ podSelector: { matchLabels: { app: 'mysql' } } }];
  const egress = { ports: [{ port: 443, protocol: 'TCP' }] };
  const first = 'PrometheusRule spec.groups[0].rules[0]';
  const archive = { cronjob: { enabled: true } };
  return {
    'networkPolicy.enabled': { set: true, at: 'NetworkPolicy metadata.name', is: 'database-load' },
    'networkPolicy.databasePeers': { set: peers, with: policy, at: 'NetworkPolicy spec.egress[1].to', is: peers },
    'networkPolicy.extraEgress': { set: [egress], with: policy, at: 'NetworkPolicy spec.egress[2]', is: egress },
    'prometheusRule.enabled': { set: true, at: 'PrometheusRule metadata.name', is: 'database-load' },
    'prometheusRule.labels': { set: { a: 'b' }, with: rule, at: 'PrometheusRule metadata.labels.a', is: 'b' },
    'prometheusRule.alertLabels': { set: { a: 'b' }, with: rule, at: `${first}.labels.a`, is: 'b' },
    'prometheusRule.severity': { set: 'critical', with: rule, at: `${first}.labels.severity`, is: 'critical' },
    'prometheusRule.staleAfterSeconds': {
      set: 1_234_567,
      with: rule,
      at: `${first}.expr`,
      is: expect.stringContaining('> 1234567\n'),
    },
    'prometheusRule.archiveStaleAfterSeconds': {
      set: 1_234_567,
      with: { ...rule, archive },
      at: 'PrometheusRule spec.groups[0].rules[5].expr',
      is: expect.stringContaining('> 1234567\n'),
    },
    'grafanaDashboard.enabled': { set: true, at: 'ConfigMap metadata.name', is: 'database-load-dashboard' },
    'grafanaDashboard.labels': { set: { a: 'b' }, with: dashboard, at: 'ConfigMap metadata.labels.a', is: 'b' },
    'grafanaDashboard.annotations': {
      set: { folder: 'b' },
      with: dashboard,
      at: 'ConfigMap metadata.annotations.folder',
      is: 'b',
    },
  };
}
