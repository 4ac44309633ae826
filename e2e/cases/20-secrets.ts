import type { Case } from '../case.ts';
import { expectThat } from '../command.ts';

/** Every namespace of these cases enforces the restricted standard, so every pod passes it. No secret's value shows anywhere. */
const secrets: Case = {
  number: 20,
  promise: 'pods pass enforce: restricted, and no secret’s value is in manifests, logs or events',
  core: false,
  async run(scene) {
    await scene.installLoad({ logLevel: 'debug' });
    const logLevel = 'debug';
    await scene.installApp(
      { initContainers: { databaseMigration: { logLevel }, databaseLoad: { logLevel } } },
      '--wait',
    );
    expectThat((await scene.jobEnd(await scene.runNow('by-hand'))) === 'Complete', 'the run succeeded');
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
