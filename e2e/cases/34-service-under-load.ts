import type { Case } from '../case.ts';
import { eventually, expectThat } from '../command.ts';
import { Gate, gatedRows } from '../gate.ts';
import { ServiceUnderTest } from '../service.ts';

/** The service that does its runs itself: bounded, reloading, and stopped without losing anything. */
const serviceUnderLoad: Case = {
  number: 34,
  promise:
    'a full queue answers 429, a changed configuration is taken up or refused, and a pod that is stopped under load loses no run',
  core: false,
  async run(scene) {
    await using gate = await Gate.shut(scene);
    await using service = await ServiceUnderTest.open(scene, gate, { queueSize: 2, shutdownSeconds: 1 });
    const running = await service.trigger('gated_rows');
    await eventually('the run waits at the gate', () => gate.isReached());
    const waiting = [await service.trigger('fruit'), await service.trigger('fruit')];
    const full = await service.post('/trigger', { task: 'load', tables: ['fruit'] });
    expectThat(full.status === 429, 'a full queue answers 429', full);
    expectThat(
      Number(full.headers.get('retry-after')) > 0,
      'and says when to come again',
      full.headers.get('retry-after'),
    );
    expectThat((await service.get('/health')).status === 200, 'it answers while it works');

    // Text of the configuration as the chart wrote it.
    const [pod] = await service.pods();
    const current = await scene.kubectl('get', 'configmap', 'database-load', '-o', 'jsonpath={.data.config\\.yaml}');
    const change = async (config: string) => {
      await scene.kubectl(
        'patch',
        'configmap',
        'database-load',
        '-p',
        JSON.stringify({ data: { 'config.yaml': config } }),
      );
      // Makes the kubelet look at once rather than within a minute.
      await scene.kubectl('annotate', 'pod', pod?.metadata.name ?? '', `looked-at=${Date.now()}`, '--overwrite');
    };
    const status = async () => (await service.get('/status')).body as StatusOfConfig;
    const before = (await status()).config.hash;
    await change('load: [{tabel: fruit}]\n');
    const problem = await eventually(
      'the bad file is refused',
      async () => (await status()).config.problem ?? undefined,
    );
    expectThat(problem.code === 'CONFIG_INVALID', 'it says why', problem);
    expectThat((await status()).config.hash === before, 'and goes on with what it had');
    await change(`${current}\n# as it was, and a comment\n`);
    await eventually('the good file is taken', async () => {
      const { config } = await status();
      return config.problem === null && config.hash !== before;
    });

    await scene.kubectl('delete', 'pod', pod?.metadata.name ?? '');
    const after = await service.run(running);
    expectThat(after.state === 'queued' || after.state === 'running', 'the run is not lost with its pod', after);
    await gate.open();
    for (const id of [running, ...waiting]) {
      const done = await service.runIn(id, 'done');
      expectThat(done.attempt === 1, 'each run was done, and the stop counts as no try', done);
    }
    expectThat((await scene.count('SELECT COUNT(*) FROM gated_rows')) === gatedRows, 'the rows are there');
    expectThat((await scene.count('SELECT COUNT(*) FROM fruit')) === 2, 'all of them');
  },
};
export default serviceUnderLoad;

interface StatusOfConfig {
  readonly config: { readonly hash: string; readonly problem: { readonly code: string } | null };
}
