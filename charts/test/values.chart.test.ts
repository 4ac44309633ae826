import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { leaves, readChart } from '../../tools/charts/values.ts';
import { databaseLoadEffects } from './effects/database-load.ts';
import { demoMysqlEffects } from './effects/demo-mysql.ts';
import { orderFoodEffects } from './effects/order-food.ts';
import type { Effect } from './effects/shared.ts';
import { chartsFolder, isRecord, type Manifest, refusal, render, valueAt, withValue } from './render.ts';

const charts: Readonly<Record<string, Readonly<Record<string, Effect>>>> = {
  'order-food': orderFoodEffects(),
  'database-load': databaseLoadEffects(),
  'demo-mysql': demoMysqlEffects(),
};

/** `Kind/name path`, `Kind path` or `Kind`: the first object that has the path, or undefined. */
function shown(manifests: readonly Manifest[], at: string): unknown {
  const [object = '', path] = at.split(' ');
  const [kind, name] = object.split('/');
  return manifests
    .filter((each) => each['kind'] === kind && (name === undefined || valueAt(each, 'metadata.name') === name))
    .map((each) => (path === undefined ? each : valueAt(each, path)))
    .find((found) => found !== undefined);
}

describe.each(Object.entries(charts))('%s', (chart, effects) => {
  test('has a test of every value, and of no other', async () => {
    const { values } = await readChart(join(chartsFolder, chart));
    const paths = leaves(values).map((value) => value.path.join('.'));
    expect(Object.keys(effects).toSorted()).toEqual(paths.toSorted());
  });

  test.each(Object.entries(effects))('%s does what it says', async (path, effect) => {
    const values = effect.with ?? {};
    const [before, after] = await Promise.all([
      render(chart, { values }),
      render(chart, { values: withValue(values, path, effect.set) }),
    ]);
    expect(shown(after, effect.at)).toEqual(effect.is);
    expect(before).not.toEqual(after);
  });

  test('refuses a value that it does not know, at every level', async () => {
    const { values } = await readChart(join(chartsFolder, chart));
    const groups = new Set(leaves(values).map((value) => value.path.slice(0, -1).join('.')));
    for (const group of groups) {
      const path = group === '' ? 'typo' : `${group}.typo`;
      expect(await refusal(chart, withValue({}, path, 1)), path).toMatch(/typo'? (is )?not allowed/);
    }
  });

  test('takes global, and the values of its dependencies', async () => {
    const { dependencies } = await readChart(join(chartsFolder, chart));
    const theirs = Object.fromEntries(dependencies.map(({ name }) => [name, { enabled: true }]));
    const manifests = await render(chart, { values: { global: { other: 1 }, ...theirs } });
    expect(manifests.every(isRecord)).toBe(true);
  });
});
