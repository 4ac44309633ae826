import { ArchivingShop, old } from '../archive.ts';
import type { Case } from '../case.ts';
import { expectThat } from '../command.ts';

/** Old orders leave the shop for their archive, each once, and neither another run nor a load changes that. */
const archive: Case = {
  number: 27,
  promise: 'the CronJob database-load-archive moves old rows with their children, once, and no load brings them back',
  core: true,
  async run(scene) {
    await using shop = await ArchivingShop.open(scene);
    const [orders, items, all] = [
      await shop.count('orders', old),
      await shop.count('order_items JOIN orders ON orders.id = order_id', old),
      await shop.count('orders'),
    ];
    expectThat(orders > 500 && items > 500 && orders < all, 'there are old orders with items', {
      orders,
      items,
      all,
    });
    expectThat((await shop.run('archive', 'first')) === 'Complete', 'the run succeeded');
    const log = await scene.kubectl('logs', 'job/first');
    expectThat(
      log.includes(`"matched":${orders},"archived":${orders},"verified":${orders},"deleted":${orders}`),
      'it says what it did',
      log,
    );
    const moved = async () => ({
      left: await shop.count('orders', old),
      stayed: await shop.count('orders'),
      archived: await shop.count(`${shop.archive}.orders`),
      items: await shop.count(`${shop.archive}.order_items`),
      batches: await shop.count('tableset_batches', "state = 'deleted'"),
    });
    const after = await moved();
    expectThat(after.left === 0 && after.stayed === all - orders, 'old orders are gone, and no others', after);
    expectThat(after.archived === orders && after.items === items, 'the archive has each row once', after);
    expectThat((await shop.run('archive', 'second')) === 'Complete', 'the second run succeeded');
    expectThat((await scene.jobEnd(await scene.runNow('load-again'))) === 'Complete', 'a load succeeded');
    const again = await moved();
    expectThat(JSON.stringify(again) === JSON.stringify(after), 'neither changed anything', { after, again });
    const kinds = await scene.sql("SELECT DISTINCT `trigger` FROM tableset_runs WHERE kind = 'archive'");
    expectThat(kinds.flat().join() === 'cron', 'the ledger has the runs', kinds);
  },
};
export default archive;
