import type { Case } from '../case.ts';
import { databaseNamespace } from '../cluster.ts';
import { command, eventually, expectThat } from '../command.ts';
import { endOf, isReady } from '../scene.ts';

/** The database is not up when the app is installed. The init container waits as long as it may, and all comes right when it is up. */
const databaseDown: Case = {
  number: 5,
  promise: 'a database that is down at install is waited for within bounds, and pods recover when it is up',
  core: false,
  async run(scene) {
    const port = { name: 'mysql', port: 3306, protocol: 'TCP' };
    await scene.apply({ apiVersion: 'v1', kind: 'Service', metadata: { name: 'late' }, spec: { ports: [port] } });
    const database = { host: 'late', waitSeconds: 5 };
    await scene.installLoad({ database: { ...scene.database(), ...database } });
    await scene.installApp({ database });
    const end = await eventually('database-migration gave up once', async () => {
      const [pod] = await scene.pods('app.kubernetes.io/name=order-food');
      return pod === undefined ? undefined : endOf(pod, 'database-migration');
    });
    expectThat(end.exitCode === 1, 'it ended with 1: worth a retry', end);
    const seconds = (Date.parse(end.finishedAt) - Date.parse(end.startedAt)) / 1000;
    expectThat(seconds >= 4 && seconds < 60, 'it waited as long as it may, and no longer', seconds);
    expectThat(end.message.includes('late'), 'it names the host', end.message);
    const where = ['--context', scene.context, '--namespace', databaseNamespace];
    const query = ['get', 'pods', '-l', 'app.kubernetes.io/name=demo-mysql', '-o', 'jsonpath={.items[0].status.podIP}'];
    const address = await command('kubectl', [...where, ...query]);
    await scene.apply({
      apiVersion: 'discovery.k8s.io/v1',
      kind: 'EndpointSlice',
      metadata: { name: 'late', labels: { 'kubernetes.io/service-name': 'late' } },
      addressType: 'IPv4',
      ports: [port],
      endpoints: [{ addresses: [address] }],
    });
    await eventually('the pod is ready', async () =>
      (await scene.pods('app.kubernetes.io/name=order-food')).some(isReady),
    );
  },
};
export default databaseDown;
