import { type Effect, resources } from './shared.ts';

/** Every value of the chart demo-mysql, and what it must bring about. */
export function demoMysqlEffects(): Record<string, Effect> {
  const pod = 'Deployment spec.template.spec';
  const server = `${pod}.containers[mysql]`;
  return {
    nameOverride: { set: 'other', at: 'Deployment metadata.labels[app.kubernetes.io/name]', is: 'other' },
    fullnameOverride: { set: 'other', at: 'Service metadata.name', is: 'other' },
    'image.repository': { set: 'mariadb', at: `${server}.image`, is: 'mariadb:9.7' },
    'image.tag': { set: '8.4', at: `${server}.image`, is: 'mysql:8.4' },
    'image.pullPolicy': { set: 'Never', at: `${server}.imagePullPolicy`, is: 'Never' },
    database: { set: 'shop', at: `${server}.env[MYSQL_DATABASE].value`, is: 'shop' },
    user: { set: 'ada', at: `${server}.env[MYSQL_USER].value`, is: 'ada' },
    password: { set: 'p', at: 'Secret stringData.password', is: 'p' },
    rootPassword: { set: 'p', at: 'Secret stringData.root-password', is: 'p' },
    args: { set: ['--x'], at: `${server}.args`, is: ['--x'] },
    resources: { set: resources, at: `${server}.resources.limits.memory`, is: '3Gi' },
    podSecurityContext: { set: { fsGroup: 999 }, at: `${pod}.securityContext.fsGroup`, is: 999 },
    securityContext: { set: { runAsUser: 999 }, at: `${server}.securityContext.runAsUser`, is: 999 },
  };
}
