import type { Case } from '../case.ts';
import { imageTag } from '../cluster.ts';
import { eventually, expectThat } from '../command.ts';
import { endOf, isReady } from '../scene.ts';

/** Anybody's chart gets the two init containers by three additions: charts/test/consumer is such a chart. */
const stranger: Case = {
  number: 22,
  promise: 'the library chart puts both init containers into a stranger’s StatefulSet',
  core: false,
  async run(scene) {
    const container = { image: { tag: imageTag, pullPolicy: 'Never' } };
    const config = { load: [{ table: 'colours', source: 'colours.csv' }] };
    const files = { 'colours.csv': 'id,name\n1,red\n2,green\n' };
    const migrations = {
      files: { '0001_colours.sql': 'CREATE TABLE colours (id INT PRIMARY KEY, name VARCHAR(20) NOT NULL);\n' },
    };
    const initContainers = {
      databaseMigration: { ...container, migrations },
      databaseLoad: { ...container, existingConfigMap: '', config, files },
    };
    const tableset = { database: scene.database(), initContainers };
    await scene.install(
      'test/consumer',
      { image: { name: `order-food:${imageTag}`, pullPolicy: 'Never' }, tableset },
      '--wait',
    );
    const pod = await eventually('the pod is ready', async () => (await scene.pods('app=consumer')).find(isReady));
    expectThat(endOf(pod, 'database-load')?.exitCode === 0, 'the load is done');
    expectThat((await scene.count('SELECT COUNT(*) FROM colours')) === 2, 'the rows are there');
  },
};
export default stranger;
