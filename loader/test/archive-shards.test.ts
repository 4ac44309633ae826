import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  decideJoining,
  decideWaiting,
  parsePoint,
  pointText,
  shardBounds,
  shardSizes,
  shareBudget,
  stalledMsMax,
} from '../src/core/archive/shard-plan.ts';

describe('shards of a table', () => {
  test('have the same number of rows, but for one, and all of them together', () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 1_000_000 }), fc.integer({ min: 1, max: 1024 }), (rows, shards) => {
        const sizes = shardSizes(rows, shards);
        const last = rows - sizes.reduce((sum, size) => sum + size, 0);
        const all = [...sizes, last];
        expect(all).toHaveLength(Math.max(1, Math.min(rows, shards)));
        expect(Math.max(...all) - Math.min(...all)).toBeLessThanOrEqual(1);
        expect(rows === 0 || Math.min(...all) >= 1).toBe(true);
      }),
    );
  });

  test('leave no gap between them, before the first or behind the last', () => {
    const point = (key: string) => ({ date: null, key: [key] });
    expect(shardBounds([])).toEqual([{ after: null, last: null }]);
    expect(shardBounds([point('5'), point('9')])).toEqual([
      { after: null, last: point('5') },
      { after: point('5'), last: point('9') },
      { after: point('9'), last: null },
    ]);
  });

  test('may delete together what the run may, and each at least what it has', () => {
    expect(shareBudget(10, [3, 4])).toEqual([4, 5]);
    expect(shareBudget(7, [3, 4])).toEqual([3, 4]);
    expect(() => shareBudget(6, [3, 4])).toThrow(RangeError);
    fc.assert(
      fc.property(fc.array(fc.nat(1000), { minLength: 1, maxLength: 50 }), fc.nat(10_000), (rows, more) => {
        const allowed = rows.reduce((sum, count) => sum + count, 0) + more;
        const shares = shareBudget(allowed, rows);
        expect(shares.reduce((sum, share) => sum + share, 0)).toBeLessThanOrEqual(allowed);
        expect(shares.every((share, index) => share >= (rows[index] ?? 0))).toBe(true);
      }),
    );
  });

  test('end at points that survive the ledger', () => {
    const point = { date: '2024-01-31 23:59:59.999999', key: ['18446744073709551615', '00FF', 'a"\\\n'] };
    expect(parsePoint(pointText(point))).toEqual(point);
    expect(parsePoint(pointText(null))).toBeNull();
  });
});

describe('a worker that comes', () => {
  const found = { settingsHash: 'a', connections: [7, 8] };

  test('makes a new plan where nobody lives, whatever an older one says', () => {
    expect(decideJoining([], null, 'a')).toEqual({ do: 'plan' });
    expect(decideJoining([], found, 'a')).toEqual({ do: 'plan' });
  });

  test('joins those who live, if all of them work on the same plan for the same entries', () => {
    expect(decideJoining([8], found, 'a')).toEqual({ do: 'join' });
    expect(decideJoining([8], found, 'b')).toEqual({ do: 'give-way', to: 8 });
    expect(decideJoining([8, 9], found, 'a')).toEqual({ do: 'give-way', to: 9 });
    expect(decideJoining([9], null, 'a')).toEqual({ do: 'give-way', to: 9 });
  });
});

describe('a worker without a shard', () => {
  test('ends when all are done', () => {
    expect(decideWaiting({ unfinished: 0, batches: 5 }, null, 0)).toEqual({ do: 'end' });
  });

  test('waits as long as others get on, and not for ever', () => {
    const first = decideWaiting({ unfinished: 2, batches: 5 }, null, 100);
    expect(first).toEqual({ do: 'wait', waiting: { batches: 5, sinceMs: 100 } });
    const waiting = { batches: 5, sinceMs: 100 };
    expect(decideWaiting({ unfinished: 2, batches: 5 }, waiting, 99 + stalledMsMax)).toEqual({ do: 'wait', waiting });
    expect(decideWaiting({ unfinished: 2, batches: 5 }, waiting, 100 + stalledMsMax)).toEqual({ do: 'give-up' });
    expect(decideWaiting({ unfinished: 2, batches: 6 }, waiting, 100 + stalledMsMax)).toEqual({
      do: 'wait',
      waiting: { batches: 6, sinceMs: 100 + stalledMsMax },
    });
  });
});
