import type { Case } from '../case.ts';
import { expectThat } from '../command.ts';

/** What a quota often asks of every container. */
const hard = { pods: '10', 'requests.cpu': '2', 'requests.memory': '2Gi', 'limits.cpu': '8', 'limits.memory': '4Gi' };
const resources = { requests: { cpu: '5m', memory: '32Mi' }, limits: { cpu: '1', memory: '256Mi' } };
/** As OpenShift sets it: any user, in the root group. */
const podSecurityContext = { runAsUser: 1_000_650_000, runAsGroup: 0, fsGroup: 1_000_650_000 };

/**
 * Every namespace of these cases enforces the restricted standard, so every pod passes it; here they run as any user, and within a
 * quota too. No secret's value shows anywhere.
 */
const secrets: Case = {
  number: 20,
  promise: 'pods pass enforce: restricted, any user id and a quota; no secret’s value is in manifests, logs or events',
  core: false,
  async run(scene) {
    await scene.apply({ apiVersion: 'v1', kind: 'ResourceQuota', metadata: { name: 'team' }, spec: { hard } });
    await scene.kubectl('wait', 'resourcequota/team', '--for', 'jsonpath={.status.hard.pods}=10', '--timeout', '240s');
    const everywhere = { logLevel: 'debug', resources };
    await scene.installLoad({ ...everywhere, podSecurityContext });
    const initContainers = { databaseMigration: everywhere, databaseLoad: everywhere };
    await scene.installApp({ initContainers, resources, podSecurityContext }, '--wait');
    expectThat((await scene.jobEnd(await scene.runNow('by-hand'))) === 'Complete', 'the run succeeded');
    for (const release of ['order-food', 'database-load']) await scene.helmTest(release);
    const enforced = await scene.kubectl('get', 'namespace', scene.namespace, '-o', 'jsonpath={.metadata.labels}');
    expectThat(
      enforced.includes('"pod-security.kubernetes.io/enforce":"restricted"'),
      'the namespace enforces the standard',
    );
    const password = Buffer.from(
      await scene.kubectl('get', 'secret', 'database', '-o', 'jsonpath={.data.password}'),
      'base64',
    ).toString();
    const kinds = 'deployments,replicasets,pods,cronjobs,jobs,configmaps,services,serviceaccounts,events';
    const shown = [await scene.kubectl('get', kinds, '-o', 'yaml')];
    for (const name of ['order-food', 'database-load']) {
      const selector = `app.kubernetes.io/name=${name}`;
      shown.push(await scene.kubectl('logs', '--selector', selector, '--all-containers', '--tail', '-1'));
    }
    for (const text of shown) {
      expectThat(text.length > 100, 'there is something to look at', text);
      expectThat(!text.includes(password), 'the password is not in it');
      expectThat(!text.includes(Buffer.from(password).toString('base64')), 'nor is it in base64');
    }
  },
};
export default secrets;
