import type { StoreName } from '../archives.ts';
import type { TortureOptions } from '../options.ts';
import { onEachServer } from '../packets.ts';
import { buildPrograms, type Programs } from '../program/build.ts';
import { type SourceChange, shortDeadlines } from '../program/change.ts';
import { type Backends, openStage, type Stage } from '../stage.ts';
import { tell } from '../tell.ts';
import { plantedBugs } from './bugs.ts';
import { damages, runTrial } from './trials.ts';

export interface Catch {
  readonly bug: string;
  readonly server: string;
  /** The check that caught it; null: none did. */
  readonly caughtBy: string | null;
  /** What the same trial found without the bug, which is nothing. */
  readonly falseAlarm: string | null;
}

/** Proves the checks: each bug is built into the programs, and its trial must notice; without the bug it must not. */
export async function huntBugs(
  backends: Backends,
  options: TortureOptions,
  plain: Programs,
): Promise<readonly Catch[]> {
  // What both servers are tried with is built once.
  const builds = new Map<string, Promise<Programs>>();
  const built = (name: string, changes: readonly SourceChange[]) => {
    const found = builds.get(name) ?? buildPrograms(name, changes);
    builds.set(name, found);
    return found;
  };
  return await onEachServer(backends, options, async (server) => {
    await using stack = new AsyncDisposableStack();
    const stages = new Map<StoreName, Stage>();
    const catches: Catch[] = [];
    for (const [number, { name: bug, trial, changes }] of plantedBugs.entries()) {
      if (options.at !== null && !bug.includes(options.at)) continue;
      const stage = stages.get(trial.store) ?? stack.use(await openStage(backends, server, trial.store));
      stages.set(trial.store, stage);
      const around = [...shortDeadlines, ...(trial.damage ? damages[trial.damage] : [])];
      const whole = trial.damage ? await built(`damaged-${trial.damage}`, around) : plain;
      const [alarm] = await runTrial(stage, trial, whole, plain);
      const [found] = await runTrial(stage, trial, await built(`bug-${number}`, [...around, ...changes]), plain);
      const caughtBy = found ? `${found.kind}: ${found.check}` : null;
      const falseAlarm = alarm ? `${alarm.kind}: ${alarm.check}: ${alarm.detail}` : null;
      catches.push({ bug, server: server.flavour, caughtBy, falseAlarm });
      tell(`${caughtBy === null ? '✗ NOT CAUGHT' : 'caught'} on ${server.flavour}: ${bug}: ${caughtBy ?? ''}`);
      if (falseAlarm !== null) tell(`✗ without the bug: ${falseAlarm.slice(0, 500)}`);
    }
    return catches;
  });
}
