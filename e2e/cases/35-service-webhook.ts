import { createHmac } from 'node:crypto';
import type { Case } from '../case.ts';
import { imageTag } from '../cluster.ts';
import { eventually, expectThat } from '../command.ts';
import type { Scene } from '../scene.ts';
import { ServiceUnderTest } from '../service.ts';

const secret = 'a-secret-that-signs-notices-0001';

const receiver = `
require('node:http').createServer((request, response) => {
  let body = '';
  request.on('data', (chunk) => { body += chunk; });
  request.on('end', () => { console.log(JSON.stringify({ headers: request.headers, body })); response.end(); });
}).listen(8080);
process.once('SIGTERM', () => process.exit(0));
`;

/** Whoever listens hears of changes, and of nothing else; the notice is signed. */
const serviceWebhook: Case = {
  number: 35,
  promise: 'a webhook is told when a run changed something, signed, and not when it changed nothing',
  core: false,
  async run(scene) {
    await startReceiver(scene);
    const url = 'http://receiver:8080/loaded';
    await scene.apply({ apiVersion: 'v1', kind: 'Secret', metadata: { name: 'webhook' }, stringData: { url, secret } });
    await using service = await ServiceUnderTest.open(scene, null, {
      worker: { kind: 'job' },
      webhook: { existingSecret: 'webhook' },
    });
    await service.runIn(await service.trigger('fruit'), 'done');
    const [first] = await eventually('the receiver was told', async () => {
      const notices = await told(scene);
      return notices.length > 0 ? notices : undefined;
    });
    expectThat(first?.body.includes('fruit') === true, 'it names the table', first);
    const [, timestamp = '', signature] =
      /^t=(\d+),v1=([0-9a-f]+)$/.exec(first.headers['tableset-signature'] ?? '') ?? [];
    const expected = createHmac('sha256', secret).update(`${timestamp}.${first.body}`).digest('hex');
    expectThat(signature === expected, 'it is signed with its time', { headers: first.headers, expected });
    // The same rows again, and a change after them: of the three runs two changed something.
    await service.runIn(await service.trigger('fruit'), 'done');
    await scene.sql("UPDATE fruit SET name = 'plum' WHERE id = 1");
    await service.runIn(await service.trigger('fruit'), 'done');
    await eventually('the receiver was told again', async () => (await told(scene)).length >= 2);
    const all = await told(scene);
    expectThat(all.length === 2, 'and of nothing else', all);
  },
};
export default serviceWebhook;

interface Notice {
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
}

async function told(scene: Scene): Promise<readonly Notice[]> {
  const lines = (await scene.kubectl('logs', 'receiver')).split('\n').filter((line) => line.startsWith('{'));
  // The receiver's own shape.
  return lines.map((line) => JSON.parse(line) as Notice);
}

async function startReceiver(scene: Scene): Promise<void> {
  const labels = { app: 'receiver' };
  const securityContext = {
    allowPrivilegeEscalation: false,
    capabilities: { drop: ['ALL'] },
    readOnlyRootFilesystem: true,
    runAsNonRoot: true,
    seccompProfile: { type: 'RuntimeDefault' },
  };
  const container = {
    name: 'receiver',
    image: `database-load:${imageTag}`,
    imagePullPolicy: 'Never',
    command: ['/nodejs/bin/node', '-e', receiver],
    readinessProbe: { tcpSocket: { port: 8080 }, periodSeconds: 1 },
    securityContext,
  };
  await scene.apply(
    { apiVersion: 'v1', kind: 'Pod', metadata: { name: 'receiver', labels }, spec: { containers: [container] } },
    {
      apiVersion: 'v1',
      kind: 'Service',
      metadata: { name: 'receiver' },
      spec: { selector: labels, ports: [{ port: 8080 }] },
    },
  );
  await scene.kubectl('wait', 'pod/receiver', '--for', 'condition=Ready', '--timeout', '120s');
}
