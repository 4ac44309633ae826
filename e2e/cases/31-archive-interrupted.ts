import { ArchivingShop, old } from '../archive.ts';
import type { Case } from '../case.ts';
import { eventually, expectThat } from '../command.ts';

/** So many that a run takes seconds. */
const rowsOfBatch = 1;

/** A pod that archives is deleted, as a drained node does, and the next one is killed: what they began is finished by the third. */
const archiveInterrupted: Case = {
  number: 31,
  promise:
    'an archive pod that is deleted, and one that is killed, lose and double nothing: the Job goes on and completes',
  core: false,
  async run(scene) {
    await using shop = await ArchivingShop.open(scene, rowsOfBatch);
    const [orders, items] = [
      await shop.count('orders', old),
      await shop.count('order_items JOIN orders ON orders.id = order_id', old),
    ];
    await shop.start('archive', 'interrupted');
    for (const [place, grace] of [
      [1, []],
      [2, ['--grace-period=1']],
    ] as const) {
      const pod = await eventually(`pod ${place} archives`, async () => {
        const all = await scene.pods('batch.kubernetes.io/job-name=interrupted');
        const running = all.filter(({ status }) => status.phase === 'Running');
        expectThat(running.length <= 1, 'no pod starts beside another', all);
        const done = await shop.count('tableset_batches', "state = 'deleted'");
        const runs = await shop.count('tableset_runs', "kind = 'archive'");
        return runs === place && done >= 20 * place ? running[0]?.metadata.name : undefined;
      });
      await scene.kubectl('delete', 'pod', pod, '--wait=false', ...grace);
    }
    expectThat((await scene.jobEnd('interrupted')) === 'Complete', 'the Job completes');
    const outcomes = await scene.sql("SELECT outcome FROM tableset_runs WHERE kind = 'archive' ORDER BY id");
    expectThat(
      outcomes.length === 3 && outcomes.at(-1)?.[0] === 'done',
      'three runs, of which the last is done',
      outcomes,
    );
    const after = {
      left: await shop.count('orders', old),
      archived: await shop.count(`${shop.archive}.orders`),
      distinct: await scene.count(`SELECT COUNT(DISTINCT id) FROM ${shop.archive}.orders`),
      items: await shop.count(`${shop.archive}.order_items`),
    };
    expectThat(after.left === 0, 'no old order is left', after);
    expectThat(
      after.archived === orders && after.distinct === orders && after.items === items,
      'each is archived once',
      {
        ...after,
        orders,
      },
    );
    expectThat((await shop.runAs('verify', ['verify'])) === 'Complete', 'the archive is proved');
  },
};
export default archiveInterrupted;
