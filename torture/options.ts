import { parseArgs } from 'node:util';
import { type Flavour, flavours } from '../test/server-pool.ts';
import { type StoreName, storeNames } from './archives.ts';
import type { ScenarioName } from './scenarios.ts';

export const partNames = ['packets', 'kills', 'planted'] as const;
export type PartName = (typeof partNames)[number];

const scenarioNames = ['archive', 'purge', 'restore', 'load', 'migrate'] as const satisfies readonly ScenarioName[];

export interface TortureOptions {
  readonly seed: number;
  /** Most points of each verb, server and store; null: all there are. */
  readonly points: number | null;
  /** Only this point, as findings name it, such as `primary 31 lost`. */
  readonly at: string | null;
  readonly parts: readonly PartName[];
  readonly scenarios: readonly ScenarioName[];
  readonly flavours: readonly Flavour[];
  readonly stores: readonly StoreName[];
  /** How many points are under way at once, each on schemas of its own. */
  readonly jobs: number;
}

/** Chosen so that a slice takes less than five minutes on two cores. */
const pointsOfSlice = 10;
const seedOfSlice = 1;

const usage = `npm run torture -- [--slice] [--seed N] [--points N] [--jobs N] [--only WORD,…] [--at POINT]
  --slice   ${pointsOfSlice} points of each verb, server and store with the seed ${seedOfSlice}
  --only    parts ${partNames.join(' ')}, verbs ${scenarioNames.join(' ')}, servers ${flavours.join(' ')} (as on-mysql, on-mariadb),
            stores ${storeNames.map((name) => `to-${name}`).join(' ')}; of each kind that is not named, all`;

/** @throws Error with the usage in it */
export function parseOptions(argv: readonly string[]): TortureOptions {
  const { values } = parseArgs({
    args: [...argv],
    options: {
      slice: { type: 'boolean', default: false },
      seed: { type: 'string' },
      points: { type: 'string' },
      jobs: { type: 'string' },
      only: { type: 'string', default: '' },
      at: { type: 'string' },
    },
  });
  const words = new Set(values.only.split(',').filter((word) => word !== ''));
  const chosen = <T extends string>(names: readonly T[], prefix: string): readonly T[] => {
    const found = names.filter((name) => words.delete(`${prefix}${name}`));
    return found.length > 0 ? found : names;
  };
  const options: TortureOptions = {
    seed: whole('seed', values.seed) ?? (values.slice ? seedOfSlice : Date.now() % 1_000_000),
    points: whole('points', values.points) ?? (values.slice ? pointsOfSlice : null),
    jobs: whole('jobs', values.jobs) ?? 3,
    at: values.at ?? null,
    parts: chosen(partNames, ''),
    scenarios: chosen(scenarioNames, ''),
    flavours: chosen(flavours, 'on-'),
    stores: chosen(storeNames, 'to-'),
  };
  if (words.size > 0) throw new Error(`--only does not know ${[...words].join(', ')}\n${usage}`);
  return options;
}

function whole(name: string, text: string | undefined): number | null {
  if (text === undefined) return null;
  if (!/^\d{1,9}$/.test(text) || Number(text) === 0) throw new Error(`--${name} takes a number from 1 on\n${usage}`);
  return Number(text);
}
