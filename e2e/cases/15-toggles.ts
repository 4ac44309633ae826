import type { Case } from '../case.ts';
import { eventually, expectThat } from '../command.ts';

/** What can be switched on can be switched off again, by upgrades alone. */
const toggles: Case = {
  number: 15,
  promise: 'cronjob, init container and one-off Job can be switched off, on and back',
  core: false,
  async run(scene) {
    await scene.installLoad();
    await scene.installApp({}, '--wait');
    await scene.installLoad({ cronjob: { enabled: false }, job: { enabled: true } });
    const cronjobs = await scene.kubectl('get', 'cronjobs', '-o', 'name');
    expectThat(cronjobs.trim() === '', 'the CronJob is gone', cronjobs);
    const name = (await scene.kubectl('get', 'jobs', '-o', 'jsonpath={.items[0].metadata.name}')).trim();
    expectThat((await scene.jobEnd(name)) === 'Complete', 'the one-off Job did its work');
    // The same again: a Job's template cannot be changed, so this would fail if its name did not carry its content.
    await scene.installLoad({ cronjob: { enabled: false }, job: { enabled: true, rerun: 'again' } });
    await eventually('a new Job is there', async () =>
      (await scene.kubectl('get', 'jobs', '-o', 'name'))
        .trim()
        .split('\n')
        .some((job) => job !== `job.batch/${name}`),
    );
    await scene.installApp({ initContainers: { databaseLoad: { enabled: false } } }, '--wait');
    await scene.installApp({}, '--wait');
    await scene.installLoad();
    expectThat((await scene.kubectl('get', 'cronjobs', '-o', 'name')).includes('database-load'), 'the CronJob is back');
    await eventually('the Job is gone', async () => (await scene.kubectl('get', 'jobs', '-o', 'name')).trim() === '');
    expectThat((await scene.products()).length > 0, 'the shop lists its products');
  },
};
export default toggles;
