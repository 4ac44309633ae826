import type { Case } from '../case.ts';
import { attempt, eventually, expectThat } from '../command.ts';
import { Gate } from '../gate.ts';
import type { Scene } from '../scene.ts';
import { ServiceUnderTest } from '../service.ts';

/** A trigger over HTTP becomes a Job from the chart's template; what it says of its end is in the ledger. */
const serviceWorkers: Case = {
  number: 32,
  promise:
    'a trigger over HTTP is done by a worker Job; a bad source fails it, a cancel stops it, and the service may do no more than that',
  core: true,
  async run(scene) {
    await using gate = await Gate.shut(scene);
    await using service = await ServiceUnderTest.open(scene, gate, { worker: { kind: 'job' } });

    const fruit = await service.trigger('fruit');
    const done = await service.runIn(fruit, 'done');
    expectThat(done.worker === `database-load-worker-${fruit}-1`, 'its Job is named after it', done);
    expectThat((await scene.count('SELECT COUNT(*) FROM fruit')) === 2, 'the rows are there');
    const [kept = []] = await scene.sql(`SELECT log_tail FROM tableset_service_runs WHERE id = ${fruit}`);
    expectThat(String(kept[0]).includes('run ended'), 'the end of its log is kept', kept);
    expectThat((await scene.jobEnd(done.worker)) === 'Complete', 'the Job is a success');
    const spec = await scene.kubectl('get', 'job', done.worker, '-o', 'jsonpath={.spec}{.metadata.labels}');
    for (const word of ['fruit', 'key-1', `pass-case-${this.number}`])
      expectThat(!spec.includes(word), 'neither what the caller said nor a secret is in its spec', word);

    const broken = await service.trigger('broken');
    const failed = await service.runIn(broken, 'failed');
    expectThat(failed.code === 'LOAD_REJECTED' && failed.attempt === 1, 'it failed at once, with the code', failed);

    const gated = await service.trigger('gated_rows');
    await eventually('the worker waits at the gate', () => gate.isReached());
    const answer = await service.operate(`/api/v1/runs/${gated}/cancel`);
    expectThat(answer.status === 202, 'the cancel is taken', answer);
    const cancelled = await service.runIn(gated, 'cancelled');
    expectThat(cancelled.code === 'SERVICE_RUN_CANCELLED', 'it says why', cancelled);
    expectThat((await scene.count('SELECT COUNT(*) FROM gated_rows')) === 0, 'nothing of it was written');
    await service.runIn(await service.trigger('fruit'), 'done');
    await expectLeastRights(scene);
  },
};
export default serviceWorkers;

/** What the service account may do, by the API server's own word. */
async function expectLeastRights(scene: Scene): Promise<void> {
  const account = `system:serviceaccount:${scene.namespace}:database-load-service`;
  const may = async (...what: readonly string[]) => {
    const where = ['--context', scene.context, '--namespace', scene.namespace, '--as', account];
    const { stdout } = await attempt('kubectl', ['auth', 'can-i', ...where, ...what]);
    return stdout.trim() === 'yes';
  };
  const allowed = await Promise.all([
    may('create', 'jobs'),
    may('get', 'pods', '--subresource=log'),
    may('update', 'leases/database-load-service'),
  ]);
  expectThat(!allowed.includes(false), 'it may do what it needs', allowed);
  const refused = await Promise.all([
    may('get', 'secrets'),
    may('list', 'configmaps'),
    may('create', 'pods'),
    may('create', 'pods', '--subresource=exec'),
    may('update', 'leases/other'),
    may('patch', 'jobs'),
    may('create', 'jobs', '--namespace', 'default'),
    may('create', 'rolebindings'),
  ]);
  expectThat(!refused.includes(true), 'and nothing else', refused);
}
