import type { Case } from '../case.ts';
import { expectThat } from '../command.ts';

/** What people type after -l finds what they mean. */
const labels: Case = {
  number: 21,
  promise: 'the labels find pods and Jobs, those made by hand included, and a Service takes in the app alone',
  core: false,
  async run(scene) {
    await scene.installLoad({ job: { enabled: true } });
    await scene.installApp({ replicaCount: 2 }, '--wait');
    await scene.jobEnd(await scene.runNow('by-hand'));
    const names = async (kind: string, selector: string) =>
      (await scene.kubectl('get', kind, '-l', selector, '-o', 'jsonpath={.items[*].metadata.name}'))
        .split(' ')
        .filter(Boolean);
    expectThat((await names('pods', 'app.kubernetes.io/name=order-food')).length === 2, 'the app’s pods, and no other');
    const jobs = await names('jobs', 'app.kubernetes.io/name=database-load');
    expectThat(jobs.length === 2 && jobs.includes('by-hand'), 'the one-off Job and the one by hand', jobs);
    const pods = await names('pods', 'app.kubernetes.io/name=database-load');
    expectThat(pods.length === 2, 'their pods', pods);
    const cronjobs = await names(
      'cronjobs',
      'app.kubernetes.io/name=database-load,app.kubernetes.io/instance=database-load',
    );
    expectThat(cronjobs.join() === 'database-load', 'the CronJob', cronjobs);
    const query = 'jsonpath={.items[*].endpoints[*].targetRef.name}';
    const endpoints = await scene.kubectl(
      'get',
      'endpointslices',
      '-l',
      'kubernetes.io/service-name=order-food',
      '-o',
      query,
    );
    const targets = endpoints.split(' ').filter(Boolean);
    expectThat(
      targets.length === 2 && targets.every((name) => name.startsWith('order-food-')),
      'the Service’s pods',
      targets,
    );
  },
};
export default labels;
