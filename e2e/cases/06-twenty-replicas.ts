import type { Case } from '../case.ts';
import { expectThat } from '../command.ts';
import { isReady } from '../scene.ts';

/** Twenty pods start at once on an empty database. The lock lets one of them do the work. */
const twentyReplicas: Case = {
  number: 6,
  promise: '20 replicas at once: each migration once, one load, all ready',
  core: true,
  async run(scene) {
    await scene.installLoad();
    await scene.installApp({ replicaCount: 20 }, '--wait');
    const pods = await scene.pods('app.kubernetes.io/name=order-food');
    expectThat(pods.filter(isReady).length === 20, 'all twenty are ready');
    const restarts = pods
      .flatMap((pod) => pod.status.initContainerStatuses ?? [])
      .filter((each) => each.restartCount > 0);
    expectThat(restarts.length === 0, 'no init container had to be started twice', restarts);
    const migrations = await scene.count("SELECT COUNT(*) FROM tableset_migrations WHERE state = 'applied'");
    expectThat(migrations === 7, 'each of seven migrations is there once', migrations);
    const runs = await scene.sql("SELECT counts FROM tableset_runs WHERE kind = 'load' AND outcome = 'done'");
    const wrote = runs.filter(([counts]) => /"inserted":[1-9]/.test(counts ?? ''));
    expectThat(wrote.length === 1, 'one load wrote', runs);
  },
};
export default twentyReplicas;
