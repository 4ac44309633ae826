import { expect, test } from 'vitest';
import { compareRows } from '../findings.ts';
import { parseOptions } from '../options.ts';
import { randomFrom, sample } from '../random.ts';
import { reportTable, Tally } from '../report.ts';

const rows = (...entries: readonly (readonly [string, ...string[]])[]) =>
  new Map(entries.map(([key, ...lines]) => [key, lines]));

test('rows that are lost, doubled, altered or new are told apart', () => {
  const expected = rows(['orders 1', 'a'], ['orders 2', 'b'], ['orders 3', 'c'], ['orders 4', 'd']);
  const actual = rows(['orders 2', 'b', 'b'], ['orders 3', 'C'], ['orders 4', 'd'], ['orders 5', 'e']);
  expect(compareRows('a check', expected, { rows: actual }).map(({ kind, detail }) => [kind, detail])).toEqual([
    ['lost', 'orders 1'],
    ['doubled', 'orders 2'],
    ['altered', 'orders 3: C instead of c'],
    ['doubled', 'orders 5 is new'],
  ]);
  expect(compareRows('a check', expected, { rows: new Map(expected) })).toEqual([]);
});

test('a point counts once in each column, and only one without findings has converged', () => {
  const tally = new Tally('packets', 'archive', 'mysql', 'sqlite');
  tally.add(true, []);
  expect(tally.clean).toBe(true);
  const lost = { kind: 'lost', check: 'a check', detail: '' } as const;
  tally.add(true, [lost, lost]);
  expect(tally).toMatchObject({ points: 2, struck: 2, converged: 1, clean: false, found: { lost: 1, doubled: 0 } });
  expect(reportTable([tally]).split('\n').at(-1)).toMatch(/\| all .*\| 2 +\| 2 +\| 1 +\| 1 +\| 0 /);
});

test('the same seed takes the same points, spread over all of them', () => {
  const all = Array.from({ length: 1000 }, (_, index) => index);
  const taken = sample(all, 10, randomFrom(7));
  expect(sample(all, 10, randomFrom(7))).toEqual(taken);
  expect(sample(all, 10, randomFrom(8))).not.toEqual(taken);
  expect(taken.map((point) => Math.floor(point / 100))).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
  expect(sample(all, 2000, randomFrom(7))).toBe(all);
});

test('what is chosen narrows its own kind alone, and an unknown word is refused', () => {
  const options = parseOptions(['--only', 'packets,purge,on-mariadb', '--seed', '5']);
  expect(options).toMatchObject({
    seed: 5,
    points: null,
    parts: ['packets'],
    scenarios: ['purge'],
    flavours: ['mariadb'],
  });
  expect(options.stores).toHaveLength(5);
  expect(() => parseOptions(['--only', 'nonsense'])).toThrow('nonsense');
  expect(() => parseOptions(['--points', '0'])).toThrow('--points');
});
