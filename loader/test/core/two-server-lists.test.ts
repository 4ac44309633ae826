import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { ArchivedTable } from '../../src/core/archive/archive-set.ts';
import { inKeyOrder, type KeyList, keyList } from '../../src/core/archive/two-server-lists.ts';

function tableOf(dataType: string): ArchivedTable {
  // The parts that lists are made by.
  return { key: ['id'], columns: [{ name: 'id', dataType }] } as unknown as ArchivedTable;
}

const rowsOf = (keys: readonly string[]) => keys.map((key) => ({ key: [key], hash: key, root: 0, kept: true }));

/** Every whole number that the list names. */
function named({ points, runs }: KeyList): bigint[] {
  const all = points.map(BigInt);
  for (const [first, last] of runs) for (let at = BigInt(first); at <= BigInt(last); at++) all.push(at);
  return all.sort((a, b) => (a < b ? -1 : a > b ? 1 : 0));
}

const large = 64 * 1024 * 1024;

describe('lists of keys', () => {
  test('name exactly the keys of the rows, whatever lies between them', () => {
    const key = fc.oneof(fc.bigInt({ min: -60n, max: 60n }), fc.bigInt({ min: 2n ** 64n - 40n, max: 2n ** 64n - 1n }));
    fc.assert(
      fc.property(fc.uniqueArray(key, { maxLength: 120 }), (keys) => {
        const list = keyList(tableOf('bigint'), rowsOf(keys.map(String)), large);
        expect(list && named(list)).toEqual(keys.toSorted((a, b) => (a < b ? -1 : a > b ? 1 : 0)));
      }),
      { numRuns: 500 },
    );
  });

  test('take numbers that follow each other as a range, and its last one as a point', () => {
    const keys = Array.from({ length: 20 }, (_, index) => String(index + 5));
    expect(keyList(tableOf('int'), rowsOf([...keys, '30', '32']), large)).toEqual({
      points: ['24', '30', '32'],
      runs: [['5', '23']],
    });
  });

  test('are not made of keys that are no numbers or bytes, of several columns, or too many for a packet', () => {
    const keys = Array.from({ length: 1000 }, (_, index) => String(index * 2));
    expect(keyList(tableOf('varchar'), rowsOf(keys), large)).toBeNull();
    expect(keyList({ ...tableOf('int'), key: ['id', 'id'] }, rowsOf(keys), large)).toBeNull();
    expect(keyList(tableOf('int'), rowsOf(keys), 96 * 1024)).toBeNull();
    expect(keyList(tableOf('int'), rowsOf(keys), large)?.points).toHaveLength(1000);
    expect(
      keyList(tableOf('int'), rowsOf(Array.from({ length: 10_001 }, (_, at) => String(at * 2))), large),
    ).toBeNull();
    const long = Array.from({ length: 500 }, (_, at) => String(at).padStart(400, '0'));
    expect(keyList(tableOf('varbinary'), rowsOf(long), 128 * 1024)).toBeNull();
    expect(keyList(tableOf('varbinary'), rowsOf(long), large)?.points).toHaveLength(500);
    expect(keyList(tableOf('varchar'), [], large)).toEqual({ points: [], runs: [] });
  });

  test('go in the order of the server, not in that of texts', () => {
    const order = (type: string, keys: readonly string[]) =>
      inKeyOrder(tableOf(type), rowsOf(keys)).map((row) => row.key[0]);
    expect(order('bigint', ['10', '9', '-3', '18446744073709551615'])).toEqual([
      '-3',
      '9',
      '10',
      '18446744073709551615',
    ]);
    expect(order('varbinary', ['0A', '', '0A00', '09FF'])).toEqual(['', '09FF', '0A', '0A00']);
  });
});
