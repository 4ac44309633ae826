import { type StoreName, storeNames } from './archives.ts';
import { findPoints, pointLabel, strike } from './cutter.ts';
import type { TortureOptions } from './options.ts';
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
  const tallies: Tally[] = [];
  for (const server of backends.servers.filter(({ flavour }) => options.flavours.includes(flavour)))
    for (const store of options.stores) {
      if (store === 's3' && backends.s3 === null) continue;
      const chosen = scenariosFor(store, options);
      if (chosen.length > 0) tallies.push(...(await cutOn(backends, server, store, chosen, options, programs)));
    }
  return tallies;
}

/** What has nothing to do with the store runs with the first one alone. */
export function scenariosFor(store: StoreName, options: TortureOptions): readonly Scenario[] {
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
  const stages: Stage[] = [];
  for (let job = 0; job < options.jobs; job++) stages.push(stack.use(await openStage(backends, server, store)));
  const [first] = stages;
  if (!first) throw new RangeError('there is no stage');
  for (const scenario of chosen) {
    const started = performance.now();
    const tally = new Tally('packets', scenario.name, server.flavour, scenario.archives ? store : '');
    // The ledger's tables are there from the first run on, so that the points are those of a run as it is every night.
    await scenario.prepare(first, programs).then(() => first.run(programs, scenario.verb, scenario.words));
    const all = await findPoints(first, scenario, programs);
    const wanted = options.at === null ? all : all.filter((point) => pointLabel(point) === options.at);
    const queue = [...sample(wanted, options.points ?? wanted.length, randomFrom(options.seed))];
    await Promise.all(
      stages.map(async (stage) => {
        for (let point = queue.shift(); point; point = queue.shift()) {
          const { point: label, struck, findings } = await strike(stage, scenario, programs, point);
          tally.add(struck, findings);
          for (const each of findings) tell(`✗ ${scenario.name} ${server.flavour} ${store} ${label}`, each);
        }
      }),
    );
    const seconds = ((performance.now() - started) / 1000).toFixed(1);
    tell(
      `${scenario.name} ${server.flavour} ${store}: ${tally.points} of ${all.length} points in ${seconds} s, ${tally.converged} converged`,
    );
    tallies.push(tally);
  }
  return tallies;
}
