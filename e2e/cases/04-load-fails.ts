import type { Case } from '../case.ts';
import { eventually, expectThat } from '../command.ts';
import { menu } from '../menu.ts';
import { endOf, isReady, type Values } from '../scene.ts';

/** A price that is no price: nothing is loaded, the app does not start, and an upgrade with the right file puts it right. */
const loadFails: Case = {
  number: 4,
  promise: 'a refused source keeps pods from starting, says which line, and an upgrade heals it',
  core: false,
  async run(scene) {
    await scene.installApp(withPrice('one euro'));
    const end = await eventually('database-load has failed', async () => {
      const [pod] = await scene.pods('app.kubernetes.io/name=order-food');
      expectThat(pod === undefined || !isReady(pod), 'the pod is never ready');
      return pod === undefined ? undefined : endOf(pod, 'database-load');
    });
    expectThat(end.exitCode === 3, 'it ended with 3: refused', end);
    await eventually('one command shows file and column', async () => {
      // For an instant after each restart there is no line yet.
      const log = await scene.kubectl('logs', 'deployment/order-food', '-c', 'database-load');
      return log.includes('products.csv') && log.includes('price');
    });
    expectThat((await scene.count('SELECT COUNT(*) FROM products')) === 0, 'nothing of the file was loaded');
    await scene.installApp(withPrice('1.00'), '--wait');
    expectThat((await scene.products()).length === 10, 'the shop lists its products');
  },
};
export default loadFails;

function withPrice(price: string): Values {
  const { config, files } = menu(10, price);
  return { initContainers: { databaseLoad: { existingConfigMap: '', config, files } } };
}
