import type { Case } from '../case.ts';
import { eventually, expectThat } from '../command.ts';
import { slowLoad, slowTable } from '../slow-load.ts';

interface JobList {
  readonly items: readonly {
    readonly metadata: { readonly name: string };
    readonly status: { readonly startTime?: string; readonly completionTime?: string };
  }[];
}

/** A run that takes longer than the interval: the tick that comes meanwhile waits, and starts when the run ends. */
const forbid: Case = {
  number: 13,
  promise: 'Forbid holds with a run longer than the interval, and the missed tick starts when it ends',
  core: false,
  async run(scene) {
    await scene.sql(slowTable);
    await scene.installLoad(slowLoad(scene, 70, '* * * * *'));
    const jobs = await eventually(
      'a second run has started',
      async () => {
        const list = JSON.parse(await scene.kubectl('get', 'jobs', '-o', 'json')) as JobList;
        return list.items.length >= 2 ? list.items : undefined;
      },
      240,
    );
    await scene.kubectl('patch', 'cronjob', 'database-load', '--patch', '{"spec":{"suspend":true}}');
    const [first, second] = jobs.toSorted((a, b) => (a.status.startTime ?? '').localeCompare(b.status.startTime ?? ''));
    const ended = Date.parse(first?.status.completionTime ?? '');
    const started = Date.parse(second?.status.startTime ?? '');
    expectThat(started >= ended, 'the second started when the first had ended', jobs);
    expectThat(started - ended <= 10_000, 'and did so at once', jobs);
  },
};
export default forbid;
