import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { ArchiveTask } from '../../src/config/archive-config.ts';
import { cutoffOf, toUtc } from '../../src/core/archive/cutoff.ts';

// The cut-off asks a task for nothing else.
const task = (dateZone: string, dateType: ArchiveTask['dateType'] = 'date') => ({ dateZone, dateType }) as ArchiveTask;
const berlin = task('Europe/Berlin');

describe('the cut-off', () => {
  test('is days of 24 hours before now, to the microsecond', () => {
    const cutoff = { utc: '2024-02-29 12:34:56.000001', value: '2024-02-29 12:34:56.000001' };
    expect(cutoffOf(task('UTC'), 366, '2025-03-01 12:34:56.000001')).toEqual(cutoff);
  });

  test('fault 26: is shown by the wall clock of its zone, and by the earliest time it shows again where it goes back', () => {
    const value = (utc: string) => cutoffOf(berlin, 0, utc).value;
    expect(value('2026-07-01 10:00:00.000000')).toBe('2026-07-01 12:00:00.000000');
    // 03:00 summer time is 02:00 winter time, an hour after 00:00 UTC.
    expect(value('2026-10-24 23:30:00.000000')).toBe('2026-10-25 01:30:00.000000');
    expect(value('2026-10-25 00:30:00.000000')).toBe('2026-10-25 02:00:00.000000');
    expect(value('2026-10-25 00:59:59.999999')).toBe('2026-10-25 02:00:00.000000');
    expect(value('2026-10-25 01:30:00.000000')).toBe('2026-10-25 02:30:00.000000');
    expect(value('2026-03-29 00:59:59.999999')).toBe('2026-03-29 01:59:59.999999');
    expect(value('2026-03-29 01:00:00.000000')).toBe('2026-03-29 03:00:00.000000');
  });

  test('is whole seconds or milliseconds for numbers', () => {
    const now = '2026-01-01 00:00:00.999999';
    expect(cutoffOf(task('UTC', 'epoch-seconds'), 0, now).value).toBe('1767225600');
    expect(cutoffOf(task('UTC', 'epoch-milliseconds'), 0, now).value).toBe('1767225600999');
    expect(cutoffOf(task('UTC', 'epoch-seconds'), 0, '1969-12-31 23:59:59.500000').value).toBe('-1');
  });
});

describe('a date in UTC', () => {
  test('is the later one of a time that the clock shows twice', () => {
    expect(toUtc(berlin, '2026-10-25 02:30:00')).toBe('2026-10-25 01:30:00.000000');
    expect(toUtc(berlin, '2026-03-29 02:30:00')).toBe('2026-03-29 00:30:00.000000');
    expect(toUtc(berlin, '2026-07-01')).toBe('2026-06-30 22:00:00.000000');
    expect(toUtc(task('UTC', 'epoch-milliseconds'), '-1')).toBe('1969-12-31 23:59:59.999000');
  });

  test('fault 26: whatever is before the value of a cut-off was before the cut-off, in every zone', () => {
    const zones = [
      'Europe/Berlin',
      'America/New_York',
      'Australia/Lord_Howe',
      'Pacific/Apia',
      'Asia/Kathmandu',
      'America/St_Johns',
      'UTC',
    ];
    const hours = fc.oneof(
      fc.integer({ min: 0, max: 4 * 8766 * 60 }),
      fc.integer({ min: -400, max: 400 }).map((minute) => minute + 298 * 1440),
    );
    fc.assert(
      fc.property(fc.constantFrom(...zones), hours, fc.integer({ min: 1, max: 300 }), (zone, minute, before) => {
        const at = new Date(Date.UTC(2026, 0, 1) + minute * 60_000);
        const text = (date: Date) => `${date.toISOString().slice(0, 19).replace('T', ' ')}.000000`;
        const { utc, value } = cutoffOf(task(zone), 0, text(at));
        const wall = new Date(Date.parse(`${value.slice(0, 19).replace(' ', 'T')}Z`) - before * 60_000);
        expect(toUtc(task(zone), text(wall)) < utc).toBe(true);
      }),
      { numRuns: 2000 },
    );
  }, 120_000);
});
