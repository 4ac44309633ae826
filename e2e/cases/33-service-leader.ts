import type { Case } from '../case.ts';
import { eventually, expectThat } from '../command.ts';
import { Gate, gatedRows } from '../gate.ts';
import { isReady } from '../scene.ts';
import { ServiceUnderTest } from '../service.ts';

/** Two replicas, one of which hands out work: whatever becomes of it, each run is done once. */
const serviceLeader: Case = {
  number: 33,
  promise: 'neither the death of the leader nor an upgrade mid-run loses a run or does it twice',
  core: false,
  async run(scene) {
    const values = { replicaCount: 2, worker: { kind: 'job' } };
    let gate = await Gate.shut(scene);
    await using service = await ServiceUnderTest.open(scene, gate, values);
    const leader = await eventually('one leads', () => service.leader());

    const first = await service.trigger('gated_rows');
    await eventually('the worker waits at the gate', () => gate.isReached());
    await service.crash(leader);
    const waiting = await service.trigger('fruit');
    await eventually('another leads', async () => {
      const holder = await service.leader();
      return holder === leader ? undefined : holder;
    });
    await gate.open();
    const adopted = await service.runIn(first, 'done');
    expectThat(adopted.attempt === 1, 'the run was not begun anew', adopted);
    expectThat((await service.jobsOf(first)).length === 1, 'and has one Job', await service.jobsOf(first));
    await service.runIn(waiting, 'done');
    expectThat((await scene.count('SELECT COUNT(*) FROM gated_rows')) === gatedRows, 'its rows are there');
    const loads = "SELECT COUNT(*) FROM tableset_runs WHERE kind = 'load'";
    expectThat(
      (await scene.count(loads)) === 2,
      'each was loaded once',
      await scene.sql('SELECT * FROM tableset_runs'),
    );

    // An upgrade that replaces every pod, while a run goes on.
    gate = await Gate.shut(scene);
    await scene.sql('DELETE FROM gated_rows');
    const third = await service.trigger('gated_rows');
    await eventually('the worker waits at the gate', () => gate.isReached());
    const old = (await service.pods()).map(({ metadata }) => metadata.name);
    await service.install(gate, { ...values, queueSize: 64 });
    await eventually('the new pods alone are ready', async () => {
      const pods = await service.pods();
      return pods.length === 2 && pods.every((each) => isReady(each) && !old.includes(each.metadata.name));
    });
    await gate.open();
    const upgraded = await service.runIn(third, 'done');
    expectThat(upgraded.attempt === 1 && (await service.jobsOf(third)).length === 1, 'the run went on', upgraded);
    expectThat((await scene.count('SELECT COUNT(*) FROM gated_rows')) === gatedRows, 'its rows are there again');
    expectThat((await scene.count(loads)) === 3, 'once');
  },
};
export default serviceLeader;
