import type { Case } from '../case.ts';
import { eventually, expectThat } from '../command.ts';

/** A run by hand, as everybody makes one, is found by the same labels as every other. */
const jobFromCronjob: Case = {
  number: 11,
  promise: 'kubectl create job --from=cronjob/database-load runs, and is found by its labels',
  core: true,
  async run(scene) {
    await scene.installLoad();
    await scene.installApp({}, '--wait');
    await scene.sql('DELETE FROM order_items ORDER BY order_id LIMIT 1');
    const job = await scene.runNow('by-hand');
    expectThat((await scene.jobEnd(job)) === 'Complete', 'the run succeeded');
    const log = await scene.kubectl('logs', `job/${job}`);
    expectThat(
      /"table":"order_items","read":\d+,"inserted":1,/.test(log),
      'it put back the row that was missing, and no other',
      log,
    );
    const selector = 'app.kubernetes.io/name=database-load,app.kubernetes.io/instance=database-load';
    const jobs = await scene.kubectl('get', 'jobs', '--selector', selector, '-o', 'name');
    expectThat(jobs.includes(`job.batch/${job}`), 'the Job has the labels', jobs);
    const pods = await scene.pods(selector);
    expectThat(
      pods.some((pod) => pod.metadata.name.startsWith(job)),
      'its pod has them too',
    );
    const runs = await eventually('the ledger has the run', () =>
      scene.count("SELECT COUNT(*) FROM tableset_runs WHERE `trigger` = 'cron'"),
    );
    expectThat(runs >= 1, 'the ledger has the run', runs);
  },
};
export default jobFromCronjob;
