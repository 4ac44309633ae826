import type { Case } from '../case.ts';
import { eventually, expectThat } from '../command.ts';
import { endOf, isReady, type Scene, type Values } from '../scene.ts';

const migrations = (sql: string): Values => ({ chartFiles: '', files: { '0001_menu.sql': sql } });
const broken = 'CREATE TABLE menu (id INT PRIMARY KEY, price DECIMAL(70, 2) NOT NULL);\n';
const right = 'CREATE TABLE menu (id INT PRIMARY KEY, price DECIMAL(10, 2) NOT NULL);\n';

/** A migration that the server refuses: the app does not start, one command tells why, and an upgrade puts it right. */
const migrationFails: Case = {
  number: 3,
  promise: 'a failed migration keeps pods from starting, says why, and an upgrade heals it',
  core: true,
  async run(scene) {
    await scene.installApp(withMigrations(broken));
    await seeFailure(scene, 'app.kubernetes.io/name=order-food');
    await eventually('one command shows file and code', async () => {
      // For an instant after each restart there is no line yet.
      const log = await scene.kubectl('logs', 'deployment/order-food', '-c', 'database-migration');
      return log.includes('0001_menu.sql') && log.includes('MIGRATION');
    });
    await scene.installApp(withMigrations(right), '--wait');
    expectThat((await scene.count('SELECT COUNT(*) FROM menu')) === 0, 'the table is there');
    await scene.uninstall('order-food');
    await scene.sql(`DROP DATABASE ${scene.schema}; CREATE DATABASE ${scene.schema};`);
    await statefulSet(scene);
  },
};
export default migrationFails;

/** A StatefulSet keeps the pod that fails: after the upgrade it must be deleted. */
async function statefulSet(scene: Scene): Promise<void> {
  const values = (sql: string): Values => {
    const container = { image: { tag: 'e2e', pullPolicy: 'Never' } };
    const databaseMigration = { ...container, migrations: { files: { '0001_menu.sql': sql } } };
    const initContainers = { databaseMigration, databaseLoad: { enabled: false } };
    return {
      image: { name: 'order-food:e2e', pullPolicy: 'Never' },
      tableset: { database: scene.database(), initContainers },
    };
  };
  await scene.install('test/consumer', values(broken));
  await seeFailure(scene, 'app=consumer');
  await scene.install('test/consumer', values(right));
  // Deleted before the controller has seen the new template, the pod would come back with the old one.
  await scene.kubectl(
    'wait',
    'statefulset/consumer',
    '--for',
    'jsonpath={.status.observedGeneration}=2',
    '--timeout=240s',
  );
  await scene.kubectl('delete', 'pod', 'consumer-0');
  await eventually('the StatefulSet’s new pod is ready', async () => (await scene.pods('app=consumer')).some(isReady));
}

function withMigrations(sql: string): Values {
  return { initContainers: { databaseMigration: { migrations: migrations(sql) }, databaseLoad: { enabled: false } } };
}

async function seeFailure(scene: Scene, selector: string): Promise<void> {
  const end = await eventually('database-migration has failed', async () => {
    const [pod] = await scene.pods(selector);
    expectThat(pod === undefined || !isReady(pod), 'the pod is never ready');
    return pod === undefined ? undefined : endOf(pod, 'database-migration');
  });
  expectThat(end.exitCode === 3, 'it ended with 3: refused', end);
  expectThat(/"code":"MIGRATION\w+"/.test(end.message), 'the termination message has the error', end.message);
}
