import type { Case } from '../case.ts';
import { eventually, expectThat } from '../command.ts';
import { endOf, isReady, type Pod } from '../scene.ts';

/** database-migration goes before database-load, whichever of the two a pod has. */
const order: Case = {
  number: 2,
  promise: 'init containers run in order: both, either, none',
  core: true,
  async run(scene) {
    await scene.installLoad();
    for (const [databaseMigration, databaseLoad] of [
      [true, true],
      [false, true],
      [true, false],
      [false, false],
    ] as const) {
      const initContainers = {
        databaseMigration: { enabled: databaseMigration },
        databaseLoad: { enabled: databaseLoad },
      };
      await scene.installApp({ initContainers }, '--wait');
      const wanted = [...(databaseMigration ? ['database-migration'] : []), ...(databaseLoad ? ['database-load'] : [])];
      const pod = await eventually('the new pod alone is ready', async () => {
        const pods = (await scene.pods('app.kubernetes.io/name=order-food')).filter(isReady);
        return pods.length === 1 && names(pods[0]).join() === wanted.join() ? pods[0] : undefined;
      });
      const ends = wanted.map((name) => endOf(pod, name));
      expectThat(
        ends.every((end) => end?.exitCode === 0),
        'every init container ended with 0',
        ends,
      );
      const [first, second] = ends;
      if (first && second)
        expectThat(first.finishedAt <= second.startedAt, 'the second started when the first had ended', ends);
    }
  },
};
export default order;

function names(pod: Pod | undefined): readonly string[] {
  return pod?.spec.initContainers?.map(({ name }) => name) ?? [];
}
