import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { startFaultProxy } from '../test/fault-proxy.ts';
import type { StoreName } from './archives.ts';
import { converge, judge, look } from './cutter.ts';
import { type Finding, finding } from './findings.ts';
import { storesOfSlice, type TortureOptions } from './options.ts';
import { onEachStore, openStages, workOff } from './packets.ts';
import type { Programs } from './program/build.ts';
import { randomFrom, sample } from './random.ts';
import { Tally } from './report.ts';
import type { Scenario } from './scenarios.ts';
import type { Server } from './schema.ts';
import type { Backends, Stage } from './stage.ts';
import { tell } from './tell.ts';
import { startWriter } from './writer.ts';

/** A step of a run, by the statement that it sends; the signal comes as the server has it. */
interface Kill extends Step {
  readonly signal: 'SIGKILL' | 'SIGTERM';
}

export interface Step {
  /** A statement without its numbers. */
  readonly step: string;
  /** How often it comes before. */
  readonly skip: number;
}

/** Nothing may hang: a process that goes on for longer after its signal is killed, and that is a finding. */
const endedMs = 30_000;
const stepMax = 60;

/** Kills the programs themselves, as processes, at each step that the primary sees of them, while somebody else writes. */
export async function killPrograms(
  backends: Backends,
  options: TortureOptions,
  programs: Programs,
): Promise<readonly Tally[]> {
  return await onEachStore(backends, options, async (server, store, scenarios) => {
    await using stack = new AsyncDisposableStack();
    const stages = await openStages(stack, backends, server, store, options.jobs);
    const tallies: Tally[] = [];
    for (const scenario of scenarios) {
      const tally = new Tally('kills', scenario.name, server.flavour, scenario.archives ? store : '');
      const steps = await findSteps(stages[0], scenario, programs);
      const all = steps.flatMap((step) => (['SIGKILL', 'SIGTERM'] as const).map((signal) => ({ ...step, signal })));
      const chosen = chooseKills(all, server, store, scenario, options);
      let changes = 0;
      const numbered = chosen.map((kill, index) => ({ ...kill, seed: options.seed + index }));
      await workOff(stages, numbered, async (stage, kill) => {
        const { struck, findings, written } = await killOnce(stage, scenario, programs, kill);
        tally.add(struck, findings);
        changes += written;
        const place = `${kill.signal} ${scenario.name} ${server.flavour} ${store} ${kill.step} after ${kill.skip}`;
        for (const each of findings) tell(`✗ ${place}`, each);
      });
      tell(
        `kills ${scenario.name} ${server.flavour} ${store}: ${tally.points} of ${all.length}, ${tally.struck} struck, ${tally.converged} converged, ${changes} changes by the writer`,
      );
      tallies.push(tally);
    }
    return tallies;
  });
}

/** A process takes as long to start as several packets take to be cut. In a slice each kind of statement has one of its kills, in turns. */
function chooseKills(
  all: readonly Kill[],
  { flavour }: Server,
  store: StoreName,
  { archives }: Scenario,
  { slice, seed, points }: TortureOptions,
): readonly Kill[] {
  if (slice && (!archives || store === storesOfSlice[flavour]))
    return [...Map.groupBy(all, ({ step }) => step).values()].flatMap((ofStep, index) =>
      ofStep.slice((index + seed) % ofStep.length).slice(0, 1),
    );
  return sample(all, points === null ? all.length : Math.ceil(points / 5), randomFrom(seed));
}

/** Each step of a run, wherever it comes first and, if it comes again, last. */
export async function findSteps(stage: Stage, scenario: Scenario, programs: Programs): Promise<readonly Step[]> {
  await scenario.prepare(stage, programs).then(() => stage.run(programs, scenario.verb, scenario.words));
  await scenario.prepare(stage, programs);
  const steps = new Map<string, number>();
  await using proxy = await startFaultProxy(stage.schema.server.address, {
    onPacket: (_, statement) => {
      if (statement === null) return;
      const step = statement
        .replace(/\s+/g, ' ')
        .replace(/[0-9a-f]*\d[0-9a-f]*/g, 'N')
        .slice(0, stepMax);
      steps.set(step, (steps.get(step) ?? 0) + 1);
    },
  });
  await stage.run(programs, scenario.verb, scenario.words, { primary: proxy.port });
  return [...steps].flatMap(([step, count]) => [...new Set([0, count - 1])].map((skip) => ({ step, skip })));
}

/** Its numbers differ from run to run. */
export function patternOf(step: string): RegExp {
  const parts = step.split(/(N| )/).map((part) => {
    if (part === ' ') return '\\s+';
    return part === 'N' ? '([0-9a-f]+|N)' : part.replace(/[^\w]/g, '\\$&');
  });
  return new RegExp(`^${parts.join('')}`);
}

async function killOnce(
  stage: Stage,
  scenario: Scenario,
  programs: Programs,
  { signal, step, skip, seed }: Kill & { readonly seed: number },
) {
  await using writer = scenario.writer && (await startWriter(stage.schema, scenario.writer, seed));
  const checks = await scenario.prepare(stage, programs, { writer });
  const { exit, struck } = await runKilled(stage, scenario, programs, { signal, step, skip });
  const findings: Finding[] = [];
  const expected = signal === 'SIGKILL' ? [null, 0] : [143, 0];
  if (!expected.includes(exit)) findings.push(finding('refused', `a run ends by ${signal}`, `exit ${exit}`));
  // Half of the runs that take over have the writer beside them too.
  if (writer && seed % 2 === 0) findings.push(...judge(await stage.run(programs, scenario.verb, scenario.words)));
  await writer?.stop();
  // What the writer has brought since is left for the next run.
  findings.push(...(await look(stage, checks, exit === 0 && !writer ? 'done' : 'struck')));
  findings.push(...(await converge(stage, scenario, programs, checks)));
  return { struck, findings, written: writer?.changes ?? 0 };
}

async function runKilled(stage: Stage, scenario: Scenario, programs: Programs, { signal, step, skip }: Kill) {
  let struck = false;
  let strike = () => {};
  await using proxy = await startFaultProxy(stage.schema.server.address, { onStrike: () => strike() });
  proxy.strike(patternOf(step), 'noticed', { skip });
  const words = await stage.wordsFor(scenario.verb, scenario.words);
  const program = scenario.verb === 'up' ? programs.mains.migrator : programs.mains.loader;
  const child = spawn(process.execPath, [program, scenario.verb, ...words], {
    env: { PATH: process.env['PATH'], ...stage.schema.environment(proxy.port) },
    stdio: 'ignore',
  });
  strike = () => {
    struck = true;
    child.kill(signal);
  };
  const timer = setTimeout(() => child.kill('SIGKILL'), endedMs);
  await once(child, 'exit');
  clearTimeout(timer);
  // Once it has let go of the signal it ends as any process does, which a shell calls 143 too.
  return { exit: child.signalCode === 'SIGTERM' ? 143 : child.exitCode, struck };
}
