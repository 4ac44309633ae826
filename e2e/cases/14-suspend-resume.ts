import type { Case } from '../case.ts';
import { expectThat, pause } from '../command.ts';

/** A time missed while suspended is left out when it is longer ago than startingDeadlineSeconds. */
const suspendResume: Case = {
  number: 14,
  promise: 'suspend and resume without a surprise run',
  core: false,
  async run(scene) {
    // The next minute but one, so that it is surely suspended by then.
    const due = new Date(Math.ceil(Date.now() / 60_000) * 60_000 + 60_000);
    const schedule = `${due.getUTCMinutes()} ${due.getUTCHours()} * * *`;
    await scene.installLoad({ cronjob: { schedule, startingDeadlineSeconds: 10 } });
    await scene.kubectl('patch', 'cronjob', 'database-load', '--patch', '{"spec":{"suspend":true}}');
    await pause(due.getTime() - Date.now() + 15_000);
    await scene.kubectl('patch', 'cronjob', 'database-load', '--patch', '{"spec":{"suspend":false}}');
    await pause(15_000);
    const jobs = await scene.kubectl('get', 'jobs', '-o', 'name');
    expectThat(jobs.trim() === '', 'no run started, neither while suspended nor when resumed', jobs);
    // The chart leaves the field alone, so that an upgrade and kubectl do not fight over it.
    await scene.kubectl('patch', 'cronjob', 'database-load', '--patch', '{"spec":{"suspend":true}}');
    await scene.installLoad({ cronjob: { schedule: '0 0 1 1 *' } });
    const suspended = await scene.kubectl('get', 'cronjob', 'database-load', '-o', 'jsonpath={.spec.suspend}');
    expectThat(suspended === 'true', 'an upgrade leaves it suspended', suspended);
  },
};
export default suspendResume;
