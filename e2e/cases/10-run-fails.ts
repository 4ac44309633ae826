import type { Case } from '../case.ts';
import { expectThat } from '../command.ts';
import { menu } from '../menu.ts';
import { Polling } from '../polling.ts';

/** A source that breaks is the CronJob's trouble, never the app's. */
const runFails: Case = {
  number: 10,
  promise: 'a CronJob run that fails leaves the app alone, and the next run heals',
  core: false,
  async run(scene) {
    const cronjob = { backoffLimit: 0, restartPolicy: 'Never' };
    await scene.installLoad({ ...menu(50, '1.00'), cronjob });
    await scene.installApp({}, '--wait');
    await using polling = await Polling.start(scene, (products) =>
      products.length === 50 ? undefined : `${products.length} products`,
    );
    await scene.installLoad({ ...menu(50, 'free'), cronjob });
    expectThat((await scene.jobEnd(await scene.runNow('fails'))) === 'Failed', 'the run failed');
    const outcome = await scene.count(
      "SELECT COUNT(*) FROM tableset_runs WHERE outcome = 'failed' AND error_code IS NOT NULL",
    );
    expectThat(outcome === 1, 'the ledger says why', outcome);
    await scene.installLoad({ ...menu(50, '2.00'), cronjob });
    expectThat((await scene.jobEnd(await scene.runNow('heals'))) === 'Complete', 'the next run succeeded');
    expectThat(
      (await scene.products()).every(({ price }) => price === '2.00'),
      'the app shows the new prices',
    );
    await polling.answered(20);
    expectThat(polling.failures.length === 0, 'every answer was right', polling.failures.slice(0, 3));
  },
};
export default runFails;
