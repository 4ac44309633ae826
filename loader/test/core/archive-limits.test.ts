import { describe, expect, test } from 'vitest';
import { openBudget } from '../../src/archive/deletion-budget.ts';
import { halved, nextBatchSize } from '../../src/core/archive/batch-size.ts';
import { isWithinWindow, windowText } from '../../src/core/archive/window.ts';

const at = (text: string) => Date.parse(text);

describe('the window', () => {
  const night = { fromMinute: 60, toMinute: 300, zone: 'Europe/Berlin' };

  test('goes by the wall clock of its zone, summer and winter', () => {
    expect(isWithinWindow(night, at('2025-01-10T00:00:00Z'))).toBe(true);
    expect(isWithinWindow(night, at('2025-01-09T23:59:59Z'))).toBe(false);
    expect(isWithinWindow(night, at('2025-07-10T02:59:59Z'))).toBe(true);
    expect(isWithinWindow(night, at('2025-07-10T03:00:00Z'))).toBe(false);
  });

  test('fault 26: is open in the repeated hour and goes on after the hour that is left out', () => {
    // 02:30 comes twice in Berlin on this night.
    expect(isWithinWindow(night, at('2025-10-26T00:30:00Z'))).toBe(true);
    expect(isWithinWindow(night, at('2025-10-26T01:30:00Z'))).toBe(true);
    // 02:00 to 03:00 is left out on this one: 01:59 is followed by 03:00.
    expect(isWithinWindow({ ...night, fromMinute: 120, toMinute: 180 }, at('2025-03-30T00:59:59Z'))).toBe(false);
    expect(isWithinWindow({ ...night, fromMinute: 120, toMinute: 180 }, at('2025-03-30T01:00:00Z'))).toBe(false);
  });

  test('may span midnight', () => {
    const late = { fromMinute: 1380, toMinute: 120, zone: 'UTC' };
    expect(isWithinWindow(late, at('2025-01-10T23:00:00Z'))).toBe(true);
    expect(isWithinWindow(late, at('2025-01-10T01:59:00Z'))).toBe(true);
    expect(isWithinWindow(late, at('2025-01-10T02:00:00Z'))).toBe(false);
    expect(windowText(late)).toBe('23:00-02:00 UTC');
  });
});

describe('the size of batches', () => {
  const sizing = { rowsMax: 2000, targetSeconds: 1 };

  test('shrinks to the target time step by step, and grows back to its maximum', () => {
    expect(nextBatchSize(2000, 2000, 2, sizing)).toBe(1000);
    expect(nextBatchSize(2000, 2000, 100, sizing)).toBe(500);
    expect(nextBatchSize(500, 500, 0.01, sizing)).toBe(750);
    expect(nextBatchSize(1900, 1900, 0.01, sizing)).toBe(2000);
    expect(nextBatchSize(30, 30, 100, sizing)).toBe(20);
    expect(nextBatchSize(5, 5, 100, { ...sizing, rowsMax: 5 })).toBe(5);
  });

  test('is not judged by a short last batch', () => {
    expect(nextBatchSize(2000, 3, 0.1, sizing)).toBe(2000);
    expect(nextBatchSize(2000, 0, 0, sizing)).toBe(2000);
  });

  test('halves down to one row', () => {
    expect([halved(5), halved(2), halved(1)]).toEqual([3, 1, null]);
  });
});

describe('the deletion budget', () => {
  const ask = async () => 200;

  test('is the smaller of rows and percent, and covers what was given back', async () => {
    const budget = await openBudget({ rows: 50, percent: 10 }, ask);
    budget.spend(15);
    expect(budget.remaining).toBe(5);
    expect(() => budget.spend(6)).toThrow('at least 21 rows');
    expect(budget.remaining).toBe(5);
    budget.spend(-15);
    budget.spend(20);
    expect(() => budget.spend(1)).toThrow();
  });

  test('is refused in one line with the figures and the setting that was too strict', async () => {
    const message = (rows: number | null, percent: number | null, share = false) =>
      openBudget({ rows, percent, share }, ask).then(({ spend }) => {
        expect(() => spend(150)).toThrow(/^[^\n]*at least 150 rows[^\n]*$/);
        try {
          spend(150);
        } catch (error) {
          return String(error);
        }
        return '';
      });
    expect(await message(50, 50)).toMatch(/50 are allowed \(limits\.maxDeletes\.rows\)$/);
    expect(await message(120, 10)).toMatch(/20 are allowed \(limits\.maxDeletes\.percent: 10 % of 200 rows\)$/);
    expect(await message(7, null, true)).toMatch(/7 are allowed \(this worker's share of limits\.maxDeletes\)$/);
  });

  test('counts the tables only for a limit in percent, and has no limit of its own', async () => {
    const budget = await openBudget({ rows: null, percent: null }, () => Promise.reject(new Error('asked')));
    budget.spend(1e9);
    expect(budget.remaining).toBeNull();
  });
});
