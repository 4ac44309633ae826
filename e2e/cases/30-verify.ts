import { ArchivingShop } from '../archive.ts';
import type { Case } from '../case.ts';
import { expectThat } from '../command.ts';

/** An archive is proved against its manifests; one changed byte in it is found. */
const verify: Case = {
  number: 30,
  promise: 'a Job made from the CronJob proves the archive, and fails when one value in it was changed',
  core: false,
  async run(scene) {
    await using shop = await ArchivingShop.open(scene);
    expectThat((await shop.run('archive', 'archive')) === 'Complete', 'archiving succeeded');
    expectThat((await shop.runAs('verify', ['verify'])) === 'Complete', 'the archive is proved');
    await scene.sql(`UPDATE ${shop.archive}.order_items SET quantity = quantity + 1 LIMIT 1`);
    expectThat((await shop.runAs('verify-damaged', ['verify'])) === 'Failed', 'the change is found');
    const log = await scene.kubectl('logs', 'job/verify-damaged');
    expectThat(/order_items/.test(log) && /batch/.test(log), 'it names table and batch', log);
    const failed = await scene.kubectl('get', 'job', 'verify-damaged', '-o', 'jsonpath={.status.failed}');
    expectThat(failed === '1', 'nothing is tried again that no retry can help', failed);
  },
};
export default verify;
