import { ArchivingShop, old, within } from '../archive.ts';
import type { Case } from '../case.ts';
import { expectThat } from '../command.ts';

/** One order comes back as it was, with its items, and stays. */
const restore: Case = {
  number: 29,
  promise:
    'a Job made from the CronJob restores one order with its items as they were, and the next archive run leaves it',
  core: true,
  async run(scene) {
    await using shop = await ArchivingShop.open(scene);
    const [row] = await scene.sql(
      `SELECT orders.id FROM orders JOIN order_items ON order_id = orders.id WHERE ${within} GROUP BY orders.id HAVING COUNT(*) > 1 LIMIT 1`,
    );
    const id = Number(row?.[0]);
    const order = async () => [
      await scene.sql(`SELECT * FROM orders WHERE id = ${id}`),
      await scene.sql(`SELECT * FROM order_items WHERE order_id = ${id} ORDER BY line`),
    ];
    const before = JSON.stringify(await order());
    expectThat((await shop.run('archive', 'archive')) === 'Complete', 'archiving succeeded');
    expectThat((await shop.count('orders', `id = ${id}`)) === 0, 'the order is archived');
    const args = ['restore', '--table=orders', `--where=id=${id}`];
    for (const job of ['restore', 'restore-again']) {
      expectThat((await shop.runAs(job, args)) === 'Complete', `${job} succeeded`);
      expectThat(JSON.stringify(await order()) === before, `after ${job} the order is as it was`, await order());
    }
    expectThat((await shop.run('archive', 'next')) === 'Complete', 'the next run succeeded');
    expectThat(JSON.stringify(await order()) === before, 'it left the restored order', await order());
    expectThat((await shop.count('orders', old)) === 1, 'no other order came back');
  },
};
export default restore;
