import type { Case } from '../case.ts';
import { eventually, expectThat } from '../command.ts';
import { endOf, isReady, type Pod, type Scene } from '../scene.ts';

const secondsMax = 0.5;
/** What else the machine does only ever adds to a pod's seconds: the least of several is nearest to its own. */
const podsMax = 6;

/** Pods that come later find nothing to do: their init containers cost less than half a second of their own, and write nothing. */
const scaleOut: Case = {
  number: 7,
  promise: 'a later pod’s init containers take under 0.5 s of their own together, and write nothing',
  core: false,
  alone: true,
  async run(scene) {
    await scene.installLoad();
    await scene.installApp({}, '--wait');
    const written = () =>
      scene.sql('SELECT table_name, loaded_at, checked_at FROM tableset_tables ORDER BY table_name');
    const before = await written();
    const seen = new Set((await readyPods(scene)).map((pod) => pod.metadata.uid));
    const seconds: number[] = [];
    while (seen.size < podsMax && Math.min(...seconds) >= secondsMax) {
      await scene.kubectl('scale', 'deployment/order-food', '--replicas', String(seen.size + 1));
      const pod = await eventually('another pod is ready', async () =>
        (await readyPods(scene)).find(({ metadata }) => !seen.has(metadata.uid)),
      );
      seen.add(pod.metadata.uid);
      seconds.push(ownSeconds(pod));
    }
    expectThat(Math.min(...seconds) < secondsMax, 'a new pod’s init containers took under 0.5 s together', seconds);
    const after = await written();
    expectThat(JSON.stringify(after) === JSON.stringify(before), 'nothing was written', after);
  },
};
export default scaleOut;

async function readyPods(scene: Scene): Promise<readonly Pod[]> {
  return (await scene.pods('app.kubernetes.io/name=order-food')).filter(isReady);
}

/** What its two init containers say they took: the summary is also the termination message. */
function ownSeconds(pod: Pod): number {
  const summaries = ['database-migration', 'database-load'].map((name) =>
    JSON.parse(endOf(pod, name)?.message ?? '{}'),
  );
  return summaries.reduce((sum, { seconds }) => sum + Number(seconds), 0);
}
