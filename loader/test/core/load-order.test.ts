import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { loadOrder } from '../../src/core/load-order.ts';
import { reference, table } from './definitions.ts';

/** Tables by name, each with the names of those that it refers to. */
function tables(links: Readonly<Record<string, readonly string[]>>) {
  return Object.entries(links).map(([name, parents]) =>
    table(
      name,
      { id: 'int NOT NULL' },
      { foreignKeys: parents.map((parent) => reference(name, `${parent}_id`, parent)) },
    ),
  );
}

function sets(links: Readonly<Record<string, readonly string[]>>) {
  const order = loadOrder(tables(links));
  return order.ok ? order.sets.map((set) => set.map(({ name }) => name)) : order.cycle;
}

describe('the order of tables', () => {
  test('keeps tables that nothing links as they came, each a set of its own', () => {
    expect(sets({ b: [], a: [], c: [] })).toEqual([['b'], ['a'], ['c']]);
  });

  test('puts parents before children, in one set at the place of its first table', () => {
    expect(sets({ notes: ['products'], alone: [], products: ['categories'], categories: [] })).toEqual([
      ['categories', 'products', 'notes'],
      ['alone'],
    ]);
  });

  test('links children of a common parent', () => {
    expect(sets({ a: ['p'], b: ['p'], p: [] })).toEqual([['p', 'a', 'b']]);
  });

  test('takes no notice of references to itself and to tables that are not loaded', () => {
    expect(sets({ tree: ['tree', 'elsewhere'] })).toEqual([['tree']]);
  });

  test('names the tables of a circle, and only those', () => {
    expect(sets({ child: ['hen'], hen: ['egg'], egg: ['hen'] })).toEqual(['hen', 'egg']);
  });

  test('has every table once and every parent first, whatever the links', () => {
    const graph = fc
      .array(fc.array(fc.nat({ max: 9 }), { maxLength: 3 }), { minLength: 1, maxLength: 10 })
      // Parents have lower numbers, so that there is no circle; the order of the list is shuffled by the numbers' names.
      .map((parents) => parents.map((list, index) => list.filter((parent) => parent < index)));
    fc.assert(
      fc.property(graph, fc.nat(), (parents, seed) => {
        const links = parents
          .map((list, index) => [`t${index}`, list.map((parent) => `t${parent}`)] as const)
          .toSorted(([a], [b]) => ((Number(a.slice(1)) * 7 + seed) % 11) - ((Number(b.slice(1)) * 7 + seed) % 11));
        const order = loadOrder(tables(Object.fromEntries(links)));
        if (!order.ok) throw new Error('there is no circle');
        const names = order.sets.flatMap((set) => set.map(({ name }) => name));
        expect(names.toSorted()).toEqual(links.map(([name]) => name).toSorted());
        for (const [name, above] of links) {
          for (const parent of above) expect(names.indexOf(parent)).toBeLessThan(names.indexOf(name));
          const mine = order.sets.find((set) => set.some((each) => each.name === name));
          for (const parent of above) expect(mine?.some((each) => each.name === parent)).toBe(true);
        }
      }),
    );
  });
});
