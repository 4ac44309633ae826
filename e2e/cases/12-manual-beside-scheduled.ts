import type { Case } from '../case.ts';
import { eventually, expectThat } from '../command.ts';
import { Gate, gatedRows, gatedTable } from '../gate.ts';

/** Forbid does not see Jobs made by hand. The lock in the database does: the second run ends as skipped, with exit 0. */
const manualBesideScheduled: Case = {
  number: 12,
  promise: 'a run by hand beside a scheduled one: one works, the other is skipped without an alert',
  core: true,
  async run(scene) {
    await scene.sql(gatedTable);
    await using gate = await Gate.shut(scene);
    await scene.installLoad(gate.values('* * * * *'));
    const scheduled = await eventually('the scheduled run works', async () => {
      const [pod] = (await scene.pods('app.kubernetes.io/name=database-load')).filter(
        ({ status }) => status.phase === 'Running',
      );
      return pod !== undefined && (await gate.isReached()) ? pod : undefined;
    });
    await scene.kubectl('patch', 'cronjob', 'database-load', '--patch', '{"spec":{"suspend":true}}');
    const job = await scene.runNow('by-hand');
    expectThat((await scene.jobEnd(job)) === 'Complete', 'the second run ended with 0');
    const log = await scene.kubectl('logs', `job/${job}`);
    expectThat(log.includes('"outcome":"skipped"'), 'it says that it was skipped', log);
    await gate.open();
    const name = scheduled.metadata.labels['batch.kubernetes.io/job-name'] ?? '';
    expectThat((await scene.jobEnd(name)) === 'Complete', 'the first run ended with 0');
    expectThat((await scene.count('SELECT COUNT(*) FROM gated_rows')) === gatedRows, 'every row is there once');
    const outcomes = (await scene.sql("SELECT outcome FROM tableset_runs WHERE kind = 'load' ORDER BY outcome")).flat();
    expectThat(outcomes.filter((outcome) => outcome === 'done').length === 1, 'one run did the work', outcomes);
  },
};
export default manualBesideScheduled;
