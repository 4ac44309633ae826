import type { Case } from '../case.ts';
import { eventually, expectThat } from '../command.ts';
import { endOf, isReady } from '../scene.ts';

/** Pods that come later find nothing to do: their init containers cost less than half a second of their own, and write nothing. */
const scaleOut: Case = {
  number: 7,
  promise: 'a later pod’s init containers take under 0.5 s of their own together, and write nothing',
  core: false,
  async run(scene) {
    await scene.installLoad();
    await scene.installApp({}, '--wait');
    const checked = await scene.sql(
      'SELECT table_name, loaded_at, checked_at FROM tableset_tables ORDER BY table_name',
    );
    await scene.kubectl('scale', 'deployment/order-food', '--replicas', '2');
    const pods = await eventually('both pods are ready', async () => {
      const all = (await scene.pods('app.kubernetes.io/name=order-food')).filter(isReady);
      return all.length === 2 ? all : undefined;
    });
    const seconds = pods.map((pod) => {
      const ends = ['database-migration', 'database-load'].map((name) => JSON.parse(endOf(pod, name)?.message ?? '{}'));
      return ends.reduce((sum, end) => sum + Number(end.seconds), 0);
    });
    expectThat(Math.min(...seconds) < 0.5, 'the new pod’s init containers took under 0.5 s together', seconds);
    const after = await scene.sql('SELECT table_name, loaded_at, checked_at FROM tableset_tables ORDER BY table_name');
    expectThat(JSON.stringify(after) === JSON.stringify(checked), 'nothing was written', after);
  },
};
export default scaleOut;
