import { setTimeout as delay } from 'node:timers/promises';
import { type Fault, startFaultProxy } from '../../test/fault-proxy.ts';
import type { StoreName } from '../archives.ts';
import { converge, judge, look } from '../cutter.ts';
import { type Finding, finding } from '../findings.ts';
import type { Programs } from '../program/build.ts';
import type { SourceChange } from '../program/change.ts';
import type { VerbRun } from '../program/run-verb.ts';
import { type Checks, checkSummary, type Scenario, type ScenarioName, scenarios } from '../scenarios.ts';
import type { Stage } from '../stage.ts';

/** One run in circumstances that a bug does not survive unnoticed. */
export interface Trial {
  readonly scenario: ScenarioName;
  readonly store: StoreName;
  /** Strikes the first statement like this on its way to the primary, or the first after `skip` others. */
  readonly strike?: { readonly statement: RegExp; readonly fault: Fault; readonly skip?: number };
  /** SQL of somebody else's change, which is committed while the run waits for its lock. */
  readonly disturbance?: string;
  /** What the disk makes of the files that are written. */
  readonly damage?: keyof typeof damages;
  /** A second run comes while the first waits, and must be told that it is busy. */
  readonly second?: boolean;
}

const jsonl = 'loader/src/stores/formats/jsonl.ts';

/** A store that acknowledges what it does not keep; no bug of the program's, which has to notice. */
export const damages = {
  flip: [
    {
      file: jsonl,
      find: 'text += names[place] + value;',
      replace: 'text += names[place] + (value === \'"customer 3"\' ? \'"customer X"\' : value);',
    },
  ],
  drop: [
    {
      file: jsonl,
      find: "text += '}\\n';",
      replace: "text += '}\\n';\n      if (text.includes('customer 3')) text = '';",
    },
  ],
} as const satisfies Readonly<Record<string, readonly SourceChange[]>>;

/** A run comes to its lock within seconds; one that never does is looked at all the same. */
const waitMs = 10_000;

/** Runs a trial with a build, and returns what the checks found. */
export async function runTrial(
  stage: Stage,
  trial: Trial,
  programs: Programs,
  plain: Programs,
): Promise<readonly Finding[]> {
  const scenario = scenarios.find(({ name }) => name === trial.scenario);
  if (!scenario) throw new RangeError(`there is no scenario ${trial.scenario}`);
  // What was there before was made without the bug.
  const disturbance = trial.second ? 'UPDATE orders SET note = note' : trial.disturbance;
  const checks = await scenario.prepare(stage, plain, disturbance === undefined ? {} : { disturbance });
  const findings: Finding[] = [];
  let run: VerbRun;
  {
    await using proxy = await startFaultProxy(stage.schema.server.address);
    if (trial.strike) proxy.strike(trial.strike.statement, trial.strike.fault, { skip: trial.strike.skip ?? 0 });
    const running = stage.run(programs, scenario.verb, scenario.words, { primary: proxy.port });
    if (disturbance !== undefined) {
      await waitedFor(stage, running);
      if (trial.second) findings.push(...(await comeSecond(stage, programs, scenario)));
      await stage.schema.query('COMMIT');
    }
    run = await running;
    if (trial.strike && proxy.struck === 0) throw new Error(`no statement came that is like ${trial.strike.statement}`);
  }
  return [...findings, ...(await checkAfter(stage, trial, scenario, programs, checks, run))];
}

async function checkAfter(
  stage: Stage,
  trial: Trial,
  scenario: Scenario,
  programs: Programs,
  checks: Checks,
  run: VerbRun,
): Promise<readonly Finding[]> {
  if (trial.damage) {
    const told =
      run.exit === 3 ? [] : [finding('altered', 'a store that does not keep its rows is noticed', `exit ${run.exit}`)];
    return [...told, ...(await look(stage, checks, 'struck'))];
  }
  const findings = [
    ...judge(run),
    ...(await look(stage, checks, run.exit === 0 && !trial.disturbance ? 'done' : 'struck')),
  ];
  if (scenario.name === 'archive') findings.push(...(await checkSummary(stage, run.summary)));
  // A bug that is already seen need not be run to its end.
  if (findings.length > 0) return findings;
  // What somebody re-dated is not old any more, so that it stays where the checks look for old rows.
  if (trial.disturbance?.includes('created_at'))
    return await converge(stage, scenario, programs, () => checks('struck'));
  return await converge(stage, scenario, programs, checks);
}

async function comeSecond(stage: Stage, programs: Programs, scenario: Scenario): Promise<readonly Finding[]> {
  const { exit } = await stage.run(programs, scenario.verb, [...scenario.words, '--on-busy', 'fail']);
  return exit === 75 ? [] : [finding('refused', 'of two runs at a time one is told that it is busy', `exit ${exit}`)];
}

/** Waits until somebody wants a row that the disturbance has locked, so that what the run has copied is older. */
async function waitedFor({ schema }: Stage, running: Promise<VerbRun>): Promise<void> {
  let ended = false;
  const end = () => {
    ended = true;
  };
  running.then(end, end);
  const deadline = performance.now() + waitMs;
  while (!ended && performance.now() < deadline && !(await schema.isWaitedFor())) await delay(20);
}
