import { ArchivingShop, batchRows, expired, within } from '../archive.ts';
import type { Case } from '../case.ts';
import { expectThat } from '../command.ts';

/** A batch is purged when its newest row is past its retention; all others stay. */
const purge: Case = {
  number: 28,
  promise: 'the CronJob database-load-purge removes archived rows past their retention, and no others',
  core: false,
  async run(scene) {
    await using shop = await ArchivingShop.open(scene);
    expectThat((await shop.run('archive', 'archive')) === 'Complete', 'archiving succeeded');
    const archived = `${shop.archive}.orders`;
    const count = async () => ({
      shop: await shop.count('orders'),
      young: await shop.count(archived, within),
      expired: await shop.count(archived, expired),
    });
    const before = await count();
    expectThat(before.young > 300 && before.expired > 300, 'the archive has both', before);
    expectThat((await shop.run('purge', 'purge')) === 'Complete', 'purging succeeded');
    const after = await count();
    expectThat(after.young === before.young && after.shop === before.shop, 'rows within retention stay', after);
    // One batch may hold the last of the expired rows and the first of the others.
    expectThat(after.expired < batchRows, 'expired batches are gone', after);
    const orphans = await shop.count(
      `${shop.archive}.order_items`,
      `order_id NOT IN (SELECT id FROM ${shop.archive}.orders)`,
    );
    expectThat(orphans === 0, 'their items went along', orphans);
    expectThat((await shop.count('tableset_batches', "state = 'purged'")) > 0, 'the ledger remembers them');
  },
};
export default purge;
