import { parseArgs } from 'node:util';
import { type Flavour, flavours } from '../test/server-pool.ts';
import { type StoreName, storeNames } from './archives.ts';
import type { ScenarioName } from './scenarios.ts';

export const partNames = ['packets', 'kills', 'disasters', 'planted'] as const;
export type PartName = (typeof partNames)[number];

const scenarioNames = ['archive', 'purge', 'restore', 'load', 'migrate'] as const satisfies readonly ScenarioName[];

export interface TortureOptions {
  readonly seed: number;
  /** Most points of each verb, server and store; null: all there are. */
  readonly points: number | null;
  /** Only this point, as findings name it, such as `primary 31 lost`, or only planted bugs with this in their names. */
  readonly at: string | null;
  readonly parts: readonly PartName[];
  readonly scenarios: readonly ScenarioName[];
  readonly flavours: readonly Flavour[];
  readonly stores: readonly StoreName[];
  /** How many points are under way at once on a server, each on schemas of its own. */
  readonly jobs: number;
  /** Every packet and every kind of statement once, with one store for each server, and a few points of the others. */
  readonly slice: boolean;
}

/** Of the stores that a slice does not run through whole. Chosen so that it takes less than ten minutes on two cores. */
const pointsOfSlice = 3;
const seedOfSlice = 1;

/** The store that a slice runs through whole: a protocol each, that of one server and that of two. */
export const storesOfSlice: Readonly<Record<Flavour, StoreName>> = { mysql: 'filesystem', mariadb: 'mysql' };

const usage = `npm run torture -- [--slice] [--seed N] [--points N] [--jobs N] [--only WORD,…] [--at POINT]
  --slice   every packet and kind of statement once, with one store for each server, ${pointsOfSlice} points of the others, seed ${seedOfSlice}
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
    slice: values.slice,
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
