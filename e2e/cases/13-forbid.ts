import type { Case } from '../case.ts';
import { eventually, expectThat } from '../command.ts';
import { Gate, gatedTable } from '../gate.ts';
import type { Scene } from '../scene.ts';

interface Job {
  readonly metadata: { readonly name: string; readonly annotations: Readonly<Record<string, string>> };
  readonly status: { readonly startTime?: string; readonly completionTime?: string };
}

/** A run that takes longer than the interval: the tick that comes meanwhile waits, and starts when the run ends. */
const forbid: Case = {
  number: 13,
  promise: 'Forbid holds with a run longer than the interval, and the missed tick starts when it ends',
  core: false,
  async run(scene) {
    await scene.sql(gatedTable);
    await using gate = await Gate.shut(scene);
    await scene.installLoad(gate.values('* * * * *'));
    await eventually('a tick was missed, because a run goes on', async () => {
      const reasons = ['get', 'events', '--field-selector', 'reason=JobAlreadyActive', '-o', 'name'];
      return (await scene.kubectl(...reasons)).trim() !== '';
    });
    expectThat((await jobs(scene)).length === 1, 'one run goes on');
    await gate.open();
    const [first, second] = await eventually('a second run has started', async () => {
      const all = await jobs(scene);
      return all.length >= 2 ? all : undefined;
    });
    await scene.kubectl('patch', 'cronjob', 'database-load', '--patch', '{"spec":{"suspend":true}}');
    const ended = Date.parse(first?.status.completionTime ?? '');
    expectThat(Date.parse(second?.status.startTime ?? '') >= ended, 'it started when the first had ended', [
      first,
      second,
    ]);
    const due = second?.metadata.annotations['batch.kubernetes.io/cronjob-scheduled-timestamp'] ?? '';
    expectThat(Date.parse(due) <= ended, 'it is the one that was due while the first went on', [first, second]);
  },
};
export default forbid;

/** The runs that have started, the first one first. */
async function jobs(scene: Scene): Promise<readonly Job[]> {
  // kubectl prints what the API server has.
  const { items } = JSON.parse(await scene.kubectl('get', 'jobs', '-o', 'json')) as { readonly items: readonly Job[] };
  const started = items.filter(({ status }) => status.startTime !== undefined);
  return started.toSorted((a, b) => (a.status.startTime ?? '').localeCompare(b.status.startTime ?? ''));
}
