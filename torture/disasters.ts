import { s3IsMissing } from '../loader/test/stores/s3-server.ts';
import { startFaultProxy } from '../test/fault-proxy.ts';
import { converge, judge, look } from './cutter.ts';
import type { Finding } from './findings.ts';
import { findSteps, patternOf, type Step } from './kills.ts';
import type { TortureOptions } from './options.ts';
import { type OwnServer, startOwnServer } from './own-servers.ts';
import { onEachServer } from './packets.ts';
import type { Programs } from './program/build.ts';
import { archiving, finish, note, quietDisasters, type Result } from './quiet-disasters.ts';
import { randomFrom, sample } from './random.ts';
import { Tally } from './report.ts';
import type { Scenario } from './scenarios.ts';
import { type Backends, openStage, type Stage } from './stage.ts';
import { tell } from './tell.ts';

/** What happens as a statement reaches the primary, and what brings everything back afterwards. */
interface Disaster {
  readonly name: string;
  readonly store: 'mysql' | 'mysql-other';
  strike(primary: OwnServer, other: OwnServer): Promise<void>;
  heal(primary: OwnServer, other: OwnServer): Promise<void>;
}

const disasters: readonly Disaster[] = [
  {
    name: 'the server is killed',
    store: 'mysql',
    strike: (primary) => primary.kill(),
    heal: (primary) => primary.start(),
  },
  {
    name: 'the primary is killed',
    store: 'mysql-other',
    strike: (primary) => primary.kill(),
    heal: (primary) => primary.start(),
  },
  {
    name: "the archive's server is killed",
    store: 'mysql-other',
    strike: (_, other) => other.kill(),
    heal: (_, other) => other.start(),
  },
  {
    name: 'the server turns read-only',
    store: 'mysql',
    strike: (primary) => primary.setReadOnly(true),
    heal: (primary) => primary.setReadOnly(false),
  },
  {
    name: "the archive's server turns read-only",
    store: 'mysql-other',
    strike: (_, other) => other.setReadOnly(true),
    heal: (_, other) => other.setReadOnly(false),
  },
];

/** A server takes seconds to come back. */
const stepsOfPoints = (points: number | null, slice: boolean) => {
  if (slice) return 1;
  return points === null ? null : Math.ceil(points / 10);
};

/** Servers that are killed and recover or turn read-only mid-run, a store that is full or away, and a clock that is wrong. */
export async function strikeDisasters(
  backends: Backends,
  options: TortureOptions,
  programs: Programs,
): Promise<readonly Tally[]> {
  const tallies = [
    ...(await onEachServer(backends, options, (server) => quietDisasters(backends, server, options, programs))),
  ];
  if (s3IsMissing) {
    tell('!!! No server is killed: there is no container runtime');
    return tallies;
  }
  await using mysql = await startOwnServer('mysql');
  await using mariadb = await startOwnServer('mariadb');
  // One after the other, since each is the archive of the other one.
  for (const [primary, other] of [
    [mysql, mariadb],
    [mariadb, mysql],
  ] as const) {
    if (!options.flavours.includes(primary.flavour)) continue;
    for (const disaster of disasters)
      for (const scenario of options.slice ? archiving(options).slice(0, 1) : archiving(options)) {
        if (!options.stores.includes(disaster.store)) continue;
        await using stage = await openStage({ servers: [primary, other], s3: null }, primary, disaster.store);
        const tally = new Tally(disaster.name, scenario.name, primary.flavour, disaster.store);
        const steps = (await findSteps(stage, scenario, programs)).filter(({ skip }) => skip === 0);
        const count = stepsOfPoints(options.points, options.slice) ?? steps.length;
        for (const step of sample(steps, count, randomFrom(options.seed + tallies.length))) {
          const result = await strikeServer(stage, scenario, programs, disaster, step, { primary, other });
          note(tally, step.step, result);
        }
        finish(tallies, tally);
      }
  }
  return tallies;
}

async function strikeServer(
  stage: Stage,
  scenario: Scenario,
  programs: Programs,
  disaster: Disaster,
  { step, skip }: Step,
  { primary, other }: { readonly primary: OwnServer; readonly other: OwnServer },
): Promise<Result> {
  const checks = await scenario.prepare(stage, programs);
  const happening: Promise<unknown>[] = [];
  const findings: Finding[] = [];
  {
    await using proxy = await startFaultProxy(stage.schema.server.address, {
      onStrike: () => {
        happening.push(disaster.strike(primary, other).catch((error: unknown) => error));
      },
    });
    proxy.strike(patternOf(step), 'noticed', { skip });
    const ended = await stage.run(programs, scenario.verb, scenario.words, { primary: proxy.port });
    // A store that cannot be written to is refused by name; the rows are looked at all the same.
    if (ended.code !== 'ARCHIVE_STORE_UNSUITABLE') findings.push(...judge(ended));
  }
  const [problem] = await Promise.all(happening);
  if (problem instanceof Error) throw problem;
  await disaster.heal(primary, other);
  await stage.reconnect();
  findings.push(...(await look(stage, checks, 'struck')), ...(await converge(stage, scenario, programs, checks)));
  return { struck: happening.length > 0, findings };
}
