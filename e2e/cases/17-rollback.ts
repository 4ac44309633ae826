import type { Case } from '../case.ts';
import { eventually, expectThat } from '../command.ts';
import { isReady } from '../scene.ts';
import { shopMigrations } from '../shop-migrations.ts';

/** After a rollback the database is ahead of the image. Its pods start all the same, and say so. */
const rollback: Case = {
  number: 17,
  promise: 'after a rollback to the older image, old pods start on the newer schema',
  core: false,
  async run(scene) {
    await scene.installLoad();
    const files = { ...(await shopMigrations()), '0008_tips.sql': 'CREATE TABLE tips (id INT PRIMARY KEY);\n' };
    const migrations = { chartFiles: '', files };
    await scene.installApp({ initContainers: { databaseMigration: { migrations } } }, '--wait');
    await scene.installApp({}, '--wait');
    const pod = await eventually('the old pod is ready', async () => {
      const ready = (await scene.pods('app.kubernetes.io/name=order-food')).filter(isReady);
      return ready.length === 1 ? ready[0] : undefined;
    });
    const log = await scene.kubectl('logs', pod.metadata.name, '-c', 'database-migration');
    expectThat(
      log.includes('"level":"warn"') && log.includes('8'),
      'the migration says that the database is ahead',
      log,
    );
    expectThat((await scene.products()).length > 0, 'the shop lists its products');
    const ahead = { initContainers: { databaseMigration: { ahead: 'fail' } } };
    await scene.installApp(ahead);
    await eventually('with ahead: fail the new pod does not start', async () => {
      const status = await scene.kubectl(
        'get',
        'pods',
        '-o',
        'jsonpath={.items[*].status.initContainerStatuses[0].lastState.terminated.exitCode}',
      );
      return status.split(' ').includes('3');
    });
  },
};
export default rollback;
