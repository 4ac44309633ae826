import type { Case } from '../case.ts';
import { eventually, expectThat } from '../command.ts';
import { Gate, gatedRows, gatedTable } from '../gate.ts';
import { isReady } from '../scene.ts';

/** SIGKILL leaves nothing behind that somebody would have to unlock. */
const kills: Case = {
  number: 8,
  promise: 'a killed app pod and a load killed midway converge by themselves',
  core: false,
  async run(scene) {
    await scene.sql(gatedTable);
    await using gate = await Gate.shut(scene);
    await scene.installLoad(gate.values());
    const job = await scene.runNow('killed');
    const pod = await eventually('the run reads its source', async () => {
      const [found] = await scene.pods(`batch.kubernetes.io/job-name=${job}`);
      return found?.status.phase === 'Running' && (await gate.isReached()) ? found.metadata.name : undefined;
    });
    await scene.kubectl('delete', 'pod', pod, '--grace-period', '0', '--force');
    await gate.open();
    expectThat((await scene.jobEnd(job)) === 'Complete', 'the next pod does it all');
    expectThat((await scene.count('SELECT COUNT(*) FROM gated_rows')) === gatedRows, 'every row is there');

    await scene.installLoad();
    await scene.installApp({}, '--wait');
    const [first] = await scene.pods('app.kubernetes.io/name=order-food');
    await scene.kubectl('delete', 'pod', first?.metadata.name ?? '', '--grace-period', '0', '--force');
    await eventually('another pod is ready', async () =>
      (await scene.pods('app.kubernetes.io/name=order-food')).some(
        (each) => isReady(each) && each.metadata.uid !== first?.metadata.uid,
      ),
    );
    expectThat((await scene.products()).length > 0, 'the shop lists its products');
  },
};
export default kills;
