import { AppError } from '@tableset/common/errors.ts';
import { expect, test } from 'vitest';
import { readSchedules } from '../../src/service/schedules.ts';
import { serviceSettings } from './service-settings.ts';

function loadSchedule(loadCron: string, scheduleTimeZone = 'Europe/Berlin') {
  const [schedule] = readSchedules(
    serviceSettings({ loadCron, scheduleTimeZone, archiveCron: 'off', purgeCron: 'off' }),
  );
  if (!schedule) throw new Error('there is no schedule');
  return schedule;
}

function times(cron: string, from: string, count: number, zone?: string): readonly string[] {
  const schedule = loadSchedule(cron, zone);
  const found: string[] = [];
  let at: Date | null = new Date(from);
  for (let index = 0; index < count; index++) {
    at = at && schedule.next(at);
    if (at) found.push(at.toISOString().slice(0, 16));
  }
  return found;
}

test('a time that the change to summer time leaves out comes right after the gap, once', () => {
  // 29 March 2026: 02:00 CET becomes 03:00 CEST, at 01:00 UTC.
  expect(times('30 2 * * *', '2026-03-28T00:00:00Z', 3)).toEqual([
    '2026-03-28T01:30',
    '2026-03-29T01:00',
    '2026-03-30T00:30',
  ]);
});

test('a time that occurs twice in autumn comes once', () => {
  // 25 October 2026: 03:00 CEST becomes 02:00 CET, at 01:00 UTC.
  expect(times('30 2 * * *', '2026-10-24T12:00:00Z', 2)).toEqual(['2026-10-25T00:30', '2026-10-26T01:30']);
});

test('every half hour goes on by real time when the clock is set back', () => {
  expect(times('*/30 * * * *', '2026-10-24T23:50:00Z', 5)).toEqual([
    '2026-10-25T00:00',
    '2026-10-25T00:30',
    '2026-10-25T01:00',
    '2026-10-25T01:30',
    '2026-10-25T02:00',
  ]);
});

test('a schedule goes by its zone', () => {
  expect(times('0 2 * * *', '2026-07-01T00:00:00Z', 1, 'UTC')).toEqual(['2026-07-01T02:00']);
  expect(times('0 2 * * *', '2026-07-01T00:00:00Z', 1, 'Asia/Kolkata')).toEqual(['2026-07-01T20:30']);
});

test('of several times that were missed the last is found', () => {
  const schedule = loadSchedule('0 * * * *', 'UTC');
  const from = new Date('2026-07-01T00:30:00Z');
  expect(schedule.last(from, new Date('2026-07-01T05:10:00Z'))?.toISOString()).toBe('2026-07-01T05:00:00.000Z');
  expect(schedule.last(from, new Date('2026-07-01T01:00:00Z'))?.toISOString()).toBe('2026-07-01T01:00:00.000Z');
  expect(schedule.last(from, new Date('2026-07-01T00:59:59Z'))).toBeNull();
});

test.each([
  ['0 25 * * *', 'UTC'],
  ['* * * * * *', 'UTC'],
  ['@daily-ish', 'UTC'],
  ['', 'UTC'],
  ['0 2 * * *', 'Europe/Atlantis'],
])('refuses %j in the zone %s', (cron, zone) => {
  const error = (() => {
    try {
      loadSchedule(cron, zone);
    } catch (thrown) {
      return thrown;
    }
  })();
  expect(error).toBeInstanceOf(AppError);
  expect(error).toMatchObject({ code: 'SETTING_INVALID' });
});

test('off leaves a schedule out', () => {
  const none = { loadCron: 'off', archiveCron: 'off', purgeCron: 'off' };
  expect(readSchedules(serviceSettings(none))).toEqual([]);
  expect(readSchedules(serviceSettings({})).map(({ task, cron }) => [task, cron])).toEqual([
    ['load', '0 */6 * * *'],
    ['archive', '0 2 * * *'],
    ['purge', '0 3 * * *'],
  ]);
});
