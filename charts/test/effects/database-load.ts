import { expect } from 'vitest';
import { databaseEffects, type Effect, imageEffects, loadEffects, podEffects, runEffects } from './shared.ts';

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
    ...cronjobEffects(job),
    ...jobEffects(),
    ...toggleEffects(),
  };
}

function cronjobEffects(job: string): Record<string, Effect> {
  return {
    'cronjob.enabled': { set: false, at: 'CronJob', is: undefined },
    'cronjob.schedule': { set: '5 4 * * *', at: 'CronJob spec.schedule', is: '5 4 * * *' },
    'cronjob.timeZone': { set: 'Europe/Berlin', at: 'CronJob spec.timeZone', is: 'Europe/Berlin' },
    'cronjob.concurrencyPolicy': { set: 'Replace', at: 'CronJob spec.concurrencyPolicy', is: 'Replace' },
    'cronjob.successfulJobsHistoryLimit': { set: 1, at: 'CronJob spec.successfulJobsHistoryLimit', is: 1 },
    'cronjob.failedJobsHistoryLimit': { set: 1, at: 'CronJob spec.failedJobsHistoryLimit', is: 1 },
    'cronjob.backoffLimit': { set: 6, at: `${job}.backoffLimit`, is: 6 },
    'cronjob.restartPolicy': { set: 'Never', at: `${job}.template.spec.restartPolicy`, is: 'Never' },
    'cronjob.suspend': { set: true, at: 'CronJob spec.suspend', is: true },
    'cronjob.startingDeadlineSeconds': { set: 60, at: 'CronJob spec.startingDeadlineSeconds', is: 60 },
    'cronjob.activeDeadlineSeconds': { set: 60, at: `${job}.activeDeadlineSeconds`, is: 60 },
    'cronjob.ttlSecondsAfterFinished': { set: 60, at: `${job}.ttlSecondsAfterFinished`, is: 60 },
    'cronjob.podFailurePolicy.enabled': {
      set: true,
      with: { cronjob: { restartPolicy: 'Never' } },
      at: `${job}.podFailurePolicy.rules[1].onExitCodes.values`,
      is: [2, 3],
    },
    'cronjob.annotations': { set: { a: 'b' }, at: 'CronJob metadata.annotations.a', is: 'b' },
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
