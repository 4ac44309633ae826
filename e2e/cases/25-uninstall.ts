import type { Case } from '../case.ts';
import { eventually, expectThat } from '../command.ts';

const kinds = 'deployments,replicasets,pods,services,cronjobs,jobs,configmaps,secrets,serviceaccounts,networkpolicies';

/** After `helm uninstall` the namespace holds what it held before; the data stays, because it is the database's. */
const uninstall: Case = {
  number: 25,
  promise: 'uninstall leaves no object of ours',
  core: false,
  async run(scene) {
    const list = async () => (await scene.kubectl('get', kinds, '-o', 'name')).trim().split('\n').toSorted().join('\n');
    const before = await list();
    await scene.installLoad({
      job: { enabled: true },
      networkPolicy: { enabled: true },
      grafanaDashboard: { enabled: true },
    });
    await scene.installApp({}, '--wait');
    expectThat((await list()) !== before, 'there are objects');
    for (const release of ['order-food', 'database-load']) await scene.helmTest(release);
    await scene.uninstall('order-food', 'database-load');
    await eventually('every object is gone', async () => (await list()) === before);
    expectThat((await scene.count('SELECT COUNT(*) FROM products')) > 0, 'the data is still there');
  },
};
export default uninstall;
