import { type StoreName, storeNames } from './archives.ts';
import { findPoints, type Point, pointLabel, strike } from './cutter.ts';
import { storesOfSlice, type TortureOptions } from './options.ts';
import type { Programs } from './program/build.ts';
import { randomFrom, sample } from './random.ts';
import { Tally } from './report.ts';
import { type Scenario, scenarios } from './scenarios.ts';
import type { Server } from './schema.ts';
import { type Backends, openStage, type Stage } from './stage.ts';
import { tell } from './tell.ts';

/** Cuts every verb at its packets, on each server and with each store. */
export async function cutPackets(
  backends: Backends,
  options: TortureOptions,
  programs: Programs,
): Promise<readonly Tally[]> {
  return await onEachStore(backends, options, (server, store, scenarios) =>
    cutOn(backends, server, store, scenarios, options, programs),
  );
}

/** Each server with each store that is wanted and there, and the verbs that are. */
export async function onEachStore(
  backends: Backends,
  options: TortureOptions,
  work: (server: Server, store: StoreName, scenarios: readonly Scenario[]) => Promise<readonly Tally[]>,
): Promise<readonly Tally[]> {
  return await onEachServer(backends, options, async (server) => {
    const tallies: Tally[] = [];
    for (const store of options.stores) {
      if (store === 's3' && backends.s3 === null) continue;
      const scenarios = scenariosFor(store, options);
      if (scenarios.length > 0) tallies.push(...(await work(server, store, scenarios)));
    }
    return tallies;
  });
}

/** The servers side by side: while the one works, the other waits for a deadline. */
export async function onEachServer<T>(
  { servers }: Backends,
  { flavours }: TortureOptions,
  work: (server: Server) => Promise<readonly T[]>,
): Promise<readonly T[]> {
  const chosen = servers.filter(({ flavour }) => flavours.includes(flavour));
  return (await Promise.all(chosen.map(work))).flat();
}

/** Works a queue off, on several stages side by side. */
export async function workOff<T>(
  stages: readonly Stage[],
  items: readonly T[],
  work: (stage: Stage, item: T) => Promise<void>,
): Promise<void> {
  const queue = items.values();
  await Promise.all(
    stages.map(async (stage) => {
      for (const item of queue) await work(stage, item);
    }),
  );
}

/** So many stages, which are closed with the stack. */
export async function openStages(
  stack: AsyncDisposableStack,
  backends: Backends,
  server: Server,
  store: StoreName,
  count: number,
): Promise<readonly [Stage, ...Stage[]]> {
  const open = async () => stack.use(await openStage(backends, server, store));
  const first = await open();
  const others: Stage[] = [];
  while (others.length < count - 1) others.push(await open());
  return [first, ...others];
}

/** What has nothing to do with the store runs with the first one alone. */
function scenariosFor(store: StoreName, options: TortureOptions): readonly Scenario[] {
  const first = storeNames.find((name) => options.stores.includes(name));
  return scenarios.filter(({ name, archives }) => options.scenarios.includes(name) && (archives || store === first));
}

async function cutOn(
  backends: Backends,
  server: Server,
  store: StoreName,
  chosen: readonly Scenario[],
  options: TortureOptions,
  programs: Programs,
): Promise<readonly Tally[]> {
  const tallies: Tally[] = [];
  await using stack = new AsyncDisposableStack();
  const stages = await openStages(stack, backends, server, store, options.jobs);
  const [first] = stages;
  for (const scenario of chosen) {
    const started = performance.now();
    const tally = new Tally('packets', scenario.name, server.flavour, scenario.archives ? store : '');
    // The ledger's tables are there from the first run on, so that the points are those of a run as it is every night.
    await scenario.prepare(first, programs).then(() => first.run(programs, scenario.verb, scenario.words));
    const all = await findPoints(first, scenario, programs);
    const wanted = options.at === null ? all : all.filter((point) => pointLabel(point) === options.at);
    await workOff(stages, choosePoints(wanted, server, store, scenario, options), async (stage, point) => {
      const { point: label, struck, findings } = await strike(stage, scenario, programs, point);
      tally.add(struck, findings);
      for (const each of findings) tell(`✗ ${scenario.name} ${server.flavour} ${store} ${label}`, each);
    });
    const seconds = ((performance.now() - started) / 1000).toFixed(1);
    tell(
      `${scenario.name} ${server.flavour} ${store}: ${tally.points} of ${all.length} points in ${seconds} s, ${tally.converged} converged`,
    );
    tallies.push(tally);
  }
  return tallies;
}

/** In a slice every packet with one of its faults, in turns; else as many points as were asked for, or all. */
function choosePoints(
  all: readonly Point[],
  { flavour }: Server,
  store: StoreName,
  { archives }: Scenario,
  { slice, seed, points }: TortureOptions,
): readonly Point[] {
  if (!slice || (archives && store !== storesOfSlice[flavour]))
    return sample(all, points ?? all.length, randomFrom(seed));
  return [...Map.groupBy(all, ({ way, k }) => `${way} ${k}`).values()].flatMap((ofPacket, index) =>
    ofPacket.slice((index + seed) % ofPacket.length).slice(0, 1),
  );
}
