import type { Case } from '../case.ts';
import { expectThat } from '../command.ts';
import { menu } from '../menu.ts';
import { Polling } from '../polling.ts';

const rows = 3000;

/** The whole menu changes its prices while a client keeps asking: it sees the old prices or the new ones, never both. */
const refreshUnderTraffic: Case = {
  number: 9,
  promise: 'a CronJob run refreshes a changed source while the app answers every request',
  core: true,
  async run(scene) {
    await scene.installLoad(menu(rows, '1.00'));
    await scene.installApp({}, '--wait');
    await using polling = await Polling.start(scene, (products) => {
      const prices = new Set(products.map(({ price }) => price));
      if (products.length !== rows) return `${products.length} products`;
      return prices.size === 1 ? undefined : `prices ${[...prices].join(' and ')} at once`;
    });
    for (const price of ['2.00', '3.00']) {
      await scene.installLoad(menu(rows, price));
      const end = await scene.jobEnd(await scene.runNow(`refresh-${price.slice(0, 1)}`));
      expectThat(end === 'Complete', 'the run succeeded');
      const shown = new Set((await scene.products()).map((product) => product.price));
      expectThat([...shown].join() === price, 'the app shows the new prices', [...shown]);
    }
    await polling.answered(20);
    expectThat(polling.failures.length === 0, 'every answer was right', polling.failures.slice(0, 3));
  },
};
export default refreshUnderTraffic;
