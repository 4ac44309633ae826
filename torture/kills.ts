import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { startFaultProxy } from '../test/fault-proxy.ts';
import { converge, look } from './cutter.ts';
import { type Finding, finding } from './findings.ts';
import type { TortureOptions } from './options.ts';
import { scenariosFor } from './packets.ts';
import type { Programs } from './program/build.ts';
import { randomFrom, sample } from './random.ts';
import { Tally } from './report.ts';
import type { Scenario } from './scenarios.ts';
import { type Backends, openStage, type Stage } from './stage.ts';
import { tell } from './tell.ts';

/** A step of a run, by the statement that it sends; the signal comes as the server has it. */
interface Kill {
  readonly signal: 'SIGKILL' | 'SIGTERM';
  readonly k: number;
  readonly step: string;
}

/** Nothing may hang: a process that goes on for longer after its signal is killed, and that is a finding. */
const endedMs = 30_000;
const stepMax = 60;

/** Kills the programs themselves, as processes, at each step that the primary sees of them. */
export async function killPrograms(
  backends: Backends,
  options: TortureOptions,
  programs: Programs,
): Promise<readonly Tally[]> {
  const tallies: Tally[] = [];
  for (const server of backends.servers.filter(({ flavour }) => options.flavours.includes(flavour)))
    for (const store of options.stores) {
      if (store === 's3' && backends.s3 === null) continue;
      await using stage = await openStage(backends, server, store);
      for (const scenario of scenariosFor(store, options)) {
        const tally = new Tally('kills', scenario.name, server.flavour, scenario.archives ? store : '');
        const all = await findKills(stage, scenario, programs);
        for (const kill of sample(all, killsOf(options.points) ?? all.length, randomFrom(options.seed))) {
          const { struck, findings } = await killOnce(stage, scenario, programs, kill);
          tally.add(struck, findings);
          for (const each of findings)
            tell(`✗ ${kill.signal} ${scenario.name} ${server.flavour} ${store} ${kill.k} (${kill.step})`, each);
        }
        tell(
          `kills ${scenario.name} ${server.flavour} ${store}: ${tally.points} of ${all.length}, ${tally.converged} converged`,
        );
        tallies.push(tally);
      }
    }
  return tallies;
}

/** A process takes as long to start as several packets take to be cut. */
function killsOf(points: number | null): number | null {
  return points === null ? null : Math.ceil(points / 5);
}

/** Each step of a run once, wherever it comes first and, if it comes again, last. */
async function findKills(stage: Stage, scenario: Scenario, programs: Programs): Promise<readonly Kill[]> {
  await scenario.prepare(stage, programs).then(() => stage.run(programs, scenario.verb, scenario.words));
  await scenario.prepare(stage, programs);
  const steps = new Map<string, number[]>();
  await using proxy = await startFaultProxy(stage.schema.server.address, {
    onPacket: (k, statement) => {
      if (statement === null) return;
      const step = statement.replace(/\s+/g, ' ').replace(/\d+/g, 'N').slice(0, stepMax);
      steps.set(step, [...(steps.get(step) ?? []), k]);
    },
  });
  await stage.run(programs, scenario.verb, scenario.words, { primary: proxy.port });
  return [...steps].flatMap(([step, places]) =>
    [...new Set([places[0] ?? 1, places.at(-1) ?? 1])].flatMap((k) =>
      (['SIGKILL', 'SIGTERM'] as const).map((signal) => ({ signal, k, step })),
    ),
  );
}

async function killOnce(stage: Stage, scenario: Scenario, programs: Programs, { signal, k }: Kill) {
  const checks = await scenario.prepare(stage, programs);
  let struck = false;
  let exit: number | null;
  {
    let strike = () => {};
    await using proxy = await startFaultProxy(stage.schema.server.address, { onStrike: () => strike() });
    proxy.strikePacket(k, 'noticed');
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
    exit = child.exitCode;
  }
  const findings: Finding[] = [];
  const expected = signal === 'SIGKILL' ? [null, 0] : [143, 0];
  if (!expected.includes(exit)) findings.push(finding('refused', `a run ends by ${signal}`, `exit ${exit}`));
  findings.push(...(await look(stage, checks, exit === 0 ? 'done' : 'struck')));
  return { struck, findings: [...findings, ...(await converge(stage, scenario, programs, checks))] };
}
