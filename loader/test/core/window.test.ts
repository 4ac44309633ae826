import { expect, test } from 'vitest';
import { isWithinWindow } from '../../src/core/archive/window.ts';

const within = (fromMinute: number, toMinute: number, time: string, zone = 'UTC') =>
  isWithinWindow({ fromMinute, toMinute, zone }, Date.parse(`2025-01-10T${time}Z`));

test('a window begins and ends at its minutes', () => {
  const times = ['01:29:59', '01:30:00', '01:49:59', '01:50:00', '00:40:00', '13:40:00'];
  expect(times.map((time) => within(90, 110, time))).toEqual([false, true, true, false, false, false]);
  expect(times.map((time) => within(110, 90, time))).toEqual([true, false, false, true, true, true]);
});

test('a window whose start is its end is open all day', () => {
  for (const time of ['00:00:00', '01:29:59', '01:30:00', '23:59:59']) expect(within(90, 90, time)).toBe(true);
});

test('windows of several zones go each by its own clock', () => {
  for (let round = 0; round < 2; round++) {
    expect(within(750, 760, '07:05:00', 'Asia/Kathmandu')).toBe(false);
    expect(within(750, 760, '06:45:00', 'Asia/Kathmandu')).toBe(true);
    expect(within(750, 760, '06:45:00', 'UTC')).toBe(false);
  }
});
