import type { Case } from '../case.ts';
import { eventually, expectThat } from '../command.ts';
import { Gate, gatedRows, gatedTable } from '../gate.ts';
import { type ContainerEnd, endOf, type Scene } from '../scene.ts';

const finalizer = 'tableset.example/read-its-end';

/** A pod that is deleted while it loads stops at a safe point long before its grace period is over; the next try does it all. */
const sigtermMidLoad: Case = {
  number: 18,
  promise: 'a pod deleted mid-load exits at a safe point within its grace period, and the next converges',
  core: true,
  async run(scene) {
    await scene.sql(gatedTable);
    await using gate = await Gate.shut(scene);
    await scene.installLoad(gate.values());
    const job = await scene.runNow('stopped');
    const pod = await eventually('the run reads its source', async () => {
      const [found] = (await scene.pods(`batch.kubernetes.io/job-name=${job}`)).filter(
        ({ status }) => status.phase === 'Running',
      );
      return found !== undefined && (await gate.isReached()) ? found.metadata.name : undefined;
    });
    const { end, killedAt } = await deleteAndSeeEnd(scene, pod);
    expectThat(end.exitCode === 143, 'it ended by itself, with 143', end);
    expectThat(end.message.includes('"outcome":"stopped"'), 'it says that it was stopped', end);
    expectThat(end.finishedAt < killedAt, 'it did so within its grace period', { end, killedAt });
    const rows = await scene.count('SELECT COUNT(*) FROM gated_rows');
    expectThat(rows === 0, 'nothing was published by halves', rows);
    await gate.open();
    expectThat((await scene.jobEnd(job)) === 'Complete', 'the next pod did it all');
    expectThat((await scene.count('SELECT COUNT(*) FROM gated_rows')) === gatedRows, 'every row is there');
  },
};
export default sigtermMidLoad;

/**
 * Deletes a pod, as a drained node does. A finalizer keeps its object until it was read how the container ended.
 * @returns that, and when its grace period would have been over
 */
async function deleteAndSeeEnd(
  scene: Scene,
  name: string,
): Promise<{ readonly end: ContainerEnd; readonly killedAt: string }> {
  const patch = (metadata: object) => scene.kubectl('patch', 'pod', name, '--patch', JSON.stringify({ metadata }));
  await patch({ finalizers: [finalizer] });
  try {
    await scene.kubectl('delete', 'pod', name, '--wait=false');
    return await eventually('the container has ended', async () => {
      const pod = await scene.pod(name);
      const end = endOf(pod, 'database-load');
      return end && { end, killedAt: pod.metadata.deletionTimestamp ?? '' };
    });
  } finally {
    await patch({ '$deleteFromPrimitiveList/finalizers': [finalizer] });
  }
}
