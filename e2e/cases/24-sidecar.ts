import type { Case } from '../case.ts';
import { imageTag } from '../cluster.ts';
import { expectThat } from '../command.ts';

const proxy = `
const net = require('node:net');
net.createServer((client) => {
  const server = net.connect(3306, process.argv[1]);
  client.pipe(server).pipe(client);
  for (const socket of [client, server]) socket.on('error', () => { client.destroy(); server.destroy(); });
}).listen(3306, '127.0.0.1');
process.once('SIGTERM', () => process.exit(0));
`;

/** A native sidecar, such as a cloud's proxy to the database, is up before the migration and stays with the app. */
const sidecar: Case = {
  number: 24,
  promise: 'a native sidecar proxy starts before the migration',
  core: false,
  async run(scene) {
    await scene.installLoad();
    const securityContext = {
      allowPrivilegeEscalation: false,
      capabilities: { drop: ['ALL'] },
      readOnlyRootFilesystem: true,
    };
    const container = {
      name: 'proxy',
      image: `order-food:${imageTag}`,
      imagePullPolicy: 'Never',
      restartPolicy: 'Always',
      command: ['/nodejs/bin/node', '-e', proxy, String(scene.database()['host'])],
      startupProbe: {
        exec: {
          command: [
            '/nodejs/bin/node',
            '-e',
            "require('net').connect(3306,'127.0.0.1').on('connect',()=>process.exit(0))",
          ],
        },
        periodSeconds: 1,
      },
      securityContext,
    };
    await scene.installApp({ database: { host: '127.0.0.1' }, extraInitContainers: { before: [container] } }, '--wait');
    expectThat((await scene.products()).length > 0, 'the shop lists its products');
  },
};
export default sidecar;
