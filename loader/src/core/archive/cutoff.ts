import type { ColumnDefinition } from '@tableset/common/database/table-definition.ts';
import type { ArchiveTask } from '../../config/archive-config.ts';
import { zoneOffsetMs } from '../values/calendar.ts';

/** The line between what is archived and what stays; computed once a run. */
export interface Cutoff {
  /** `YYYY-MM-DD HH:MM:SS.ffffff`. */
  readonly utc: string;
  /** What the date column is compared with, strictly less: the zone, the epoch and the column's precision are applied. */
  readonly value: string;
}

const secondMs = 1000;
const daySeconds = 86_400;
/** No zone's clock has gone back by more than this. */
const lookaheadSeconds = daySeconds;
const stepSeconds = 900;

/**
 * The cut-off that lies so many days of 24 hours before now. A value stands for all of the time until the next one that its column
 * can hold, so a DATE is older once its whole day is, and a number of seconds once its second is. A wall clock that shows a time twice counts as the later one: the value is
 * the least that the clock shows at or after the cut-off, so what is less was surely before.
 * @param nowUtc `YYYY-MM-DD HH:MM:SS.ffffff` by the primary's clock
 * @param column the date column, where it is known to be a DATE
 */
export function cutoffOf(task: ArchiveTask, days: number, nowUtc: string, column?: ColumnDefinition): Cutoff {
  const now = parseMicros(nowUtc);
  const micros = now - BigInt(Math.round(days * daySeconds)) * 1_000_000n;
  const utc = formatMicros(micros);
  if (task.dateType === 'epoch-seconds') return { utc, value: String(floorDivide(micros, 1_000_000n)) };
  if (task.dateType === 'epoch-milliseconds') return { utc, value: String(floorDivide(micros, 1000n)) };
  const wall = isUtc(task.dateZone) ? micros : leastWallFrom(task.dateZone, micros);
  const text = formatMicros(wall);
  return { utc, value: column?.dataType === 'date' ? text.slice(0, 10) : text };
}

/**
 * A value of the date column as UTC text with microseconds. Of a wall-clock time that occurs twice the later one counts, so that nothing is
 * taken for older than it is.
 * @throws RangeError for a text that is no date
 */
export function toUtc(task: ArchiveTask, columnText: string): string {
  if (task.dateType !== 'date') {
    if (!/^-?\d+$/.test(columnText)) throw new RangeError(`${JSON.stringify(columnText)} is no number of seconds`);
    return formatMicros(BigInt(columnText) * (task.dateType === 'epoch-seconds' ? 1_000_000n : 1000n));
  }
  const wall = parseMicros(columnText);
  if (isUtc(task.dateZone)) return formatMicros(wall);
  // Both offsets that are in force around the time: the same but for a change of the clock.
  const candidates = [-daySeconds, daySeconds].map((shift) => {
    const offset = offsetSeconds(task.dateZone, seconds(wall) + shift);
    return wall - BigInt(offset) * 1_000_000n;
  });
  const shown = candidates.filter(
    (instant) => instant + BigInt(offsetSeconds(task.dateZone, seconds(instant))) * 1_000_000n === wall,
  );
  // A time that the clock skipped is the one before the skip, which no cut-off after it can precede.
  const [first = wall, ...rest] = shown.length > 0 ? shown : candidates;
  const later = shown.length > 0;
  return formatMicros(rest.reduce((best, each) => (each > best === later ? each : best), first));
}

function isUtc(zone: string): boolean {
  return zone === 'UTC' || zone === 'Etc/UTC' || zone === 'Z';
}

function floorDivide(value: bigint, by: bigint): bigint {
  const quotient = value / by;
  return value % by < 0n ? quotient - 1n : quotient;
}

function seconds(micros: bigint): number {
  return Number(floorDivide(micros, 1_000_000n));
}

/** The least time that the zone's wall clock shows at this instant or later, as microseconds of a clock without a zone. */
function leastWallFrom(zone: string, micros: bigint): bigint {
  const start = seconds(micros);
  let offset = offsetSeconds(zone, start);
  let least = micros + BigInt(offset) * 1_000_000n;
  for (let at = start; at < start + lookaheadSeconds; at += stepSeconds) {
    const next = offsetSeconds(zone, at + stepSeconds);
    if (next < offset) {
      const change = findChange(zone, at, at + stepSeconds);
      const wall = BigInt(change + next) * 1_000_000n;
      if (wall < least) least = wall;
    }
    offset = next;
  }
  return least;
}

/** The first second with the offset of `to`, between two with different offsets. */
function findChange(zone: string, from: number, to: number): number {
  const wanted = offsetSeconds(zone, to);
  let [before, after] = [from, to];
  while (after - before > 1) {
    const middle = Math.floor((before + after) / 2);
    if (offsetSeconds(zone, middle) === wanted) after = middle;
    else before = middle;
  }
  return after;
}

/** How far a zone's wall clock is ahead of UTC at an instant, in seconds. */
function offsetSeconds(zone: string, instant: number): number {
  return zoneOffsetMs(zone, instant * secondMs) / secondMs;
}

const form = /^(\d{4})-(\d\d)-(\d\d)(?:[ T](\d\d):(\d\d):(\d\d)(?:\.(\d{1,6}))?)?$/;

function parseMicros(text: string): bigint {
  const [, year, month, day, hour = '0', minute = '0', second = '0', fraction = ''] = form.exec(text) ?? [];
  if (year === undefined) throw new RangeError(`${JSON.stringify(text)} is no date`);
  const date = new Date(0);
  date.setUTCFullYear(Number(year), Number(month) - 1, Number(day));
  date.setUTCHours(Number(hour), Number(minute), Number(second));
  return BigInt(date.getTime()) * 1000n + BigInt(fraction.padEnd(6, '0'));
}

function formatMicros(micros: bigint): string {
  const milliseconds = floorDivide(micros, 1000n);
  const date = new Date(Number(milliseconds));
  const two = (value: number) => String(value).padStart(2, '0');
  const day = `${String(date.getUTCFullYear()).padStart(4, '0')}-${two(date.getUTCMonth() + 1)}-${two(date.getUTCDate())}`;
  const time = `${two(date.getUTCHours())}:${two(date.getUTCMinutes())}:${two(date.getUTCSeconds())}`;
  const fraction = String(micros - floorDivide(micros, 1_000_000n) * 1_000_000n).padStart(6, '0');
  return `${day} ${time}.${fraction}`;
}
