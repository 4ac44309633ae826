import type { Case } from '../case.ts';
import { attempt, eventually, expectThat } from '../command.ts';
import { isReading, slowLoad, slowTable } from '../slow-load.ts';

/** A pod that is deleted while it loads stops at a safe point long before its grace period is over; the next try does it all. */
const sigtermMidLoad: Case = {
  number: 18,
  promise: 'a pod deleted mid-load exits at a safe point within its grace period, and the next converges',
  core: true,
  async run(scene) {
    await scene.sql(slowTable);
    await scene.installLoad(slowLoad(scene, 15));
    const job = await scene.runNow('stopped');
    const pod = await eventually('the run reads its source', async () => {
      const [found] = (await scene.pods(`batch.kubernetes.io/job-name=${job}`)).filter(
        ({ status }) => status.phase === 'Running',
      );
      return found !== undefined && (await isReading(scene)) ? found.metadata.name : undefined;
    });
    // Follows the log to its end, because the log goes with the pod.
    const log = attempt('kubectl', ['--context', scene.context, '-n', scene.namespace, 'logs', '--follow', pod]);
    const started = performance.now();
    await scene.kubectl('delete', 'pod', pod);
    const seconds = (performance.now() - started) / 1000;
    expectThat(seconds < 20, 'it was gone long before its grace period of 60 s', seconds);
    expectThat((await log).stdout.includes('"outcome":"stopped"'), 'it says that it was stopped', (await log).stdout);
    const rows = await scene.count('SELECT COUNT(*) FROM slow_rows');
    expectThat(rows === 0, 'nothing was published by halves', rows);
    expectThat((await scene.jobEnd(job)) === 'Complete', 'the next pod did it all');
    expectThat((await scene.count('SELECT COUNT(*) FROM slow_rows')) === 30, 'every row is there');
  },
};
export default sigtermMidLoad;
