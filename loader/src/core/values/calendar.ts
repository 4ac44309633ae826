/** A wall clock reading; the fraction is kept as its digits. */
export interface DateTimeParts {
  year: number;
  month: number;
  day: number;
  hour: number;
  minute: number;
  second: number;
  /** Digits after the point, as written. */
  fraction: string;
  /** Minutes east of UTC, null if the text gives none. */
  offsetMinutes: number | null;
}

const daysOfMonth = [0, 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];

export function isLeapYear(year: number): boolean {
  return year % 4 === 0 && (year % 100 !== 0 || year % 400 === 0);
}

/** True for a day of the Gregorian calendar in the years 1 to 9999. */
export function isRealDate(year: number, month: number, day: number): boolean {
  if (year < 1 || year > 9999 || month < 1 || month > 12 || day < 1) return false;
  return day <= (daysOfMonth[month] ?? 0) || (month === 2 && day === 29 && isLeapYear(year));
}

/** Milliseconds since 1970 of the wall clock as if it were UTC, without the fraction. */
export function wallClockMs(parts: DateTimeParts): number {
  const date = new Date(0);
  // Date.UTC takes the years 0 to 99 for 1900 to 1999, these setters do not.
  date.setUTCFullYear(parts.year, parts.month - 1, parts.day);
  date.setUTCHours(parts.hour, parts.minute, parts.second, 0);
  return date.getTime();
}

/** The wall clock of UTC at a moment; fraction as given. Null outside the years 1 to 9999. */
export function partsFromMs(ms: number, fraction: string): DateTimeParts | null {
  const date = new Date(ms);
  const year = date.getUTCFullYear();
  if (Number.isNaN(year) || year < 1 || year > 9999) return null;
  return {
    year,
    month: date.getUTCMonth() + 1,
    day: date.getUTCDate(),
    hour: date.getUTCHours(),
    minute: date.getUTCMinutes(),
    second: date.getUTCSeconds(),
    fraction,
    offsetMinutes: null,
  };
}

const formats = new Map<string, Intl.DateTimeFormat>();
/** As many zones as a configuration names; more would be a mistake. */
const formatsMax = 1000;

/** Milliseconds that the zone's wall clock is ahead of UTC at a moment; whole seconds. */
export function zoneOffsetMs(zone: string, ms: number): number {
  let format = formats.get(zone);
  if (format === undefined) {
    format = new Intl.DateTimeFormat('en-US-u-ca-gregory-nu-latn', {
      timeZone: zone,
      hourCycle: 'h23',
      year: 'numeric',
      month: 'numeric',
      day: 'numeric',
      hour: 'numeric',
      minute: 'numeric',
      second: 'numeric',
      era: 'short',
    });
    if (formats.size >= formatsMax) formats.clear();
    formats.set(zone, format);
  }
  const found = new Map(format.formatToParts(ms).map((part) => [part.type, part.value]));
  const number = (type: Intl.DateTimeFormatPartTypes) => Number(found.get(type));
  const year = found.get('era') === 'BC' ? 1 - number('year') : number('year');
  const date = new Date(0);
  date.setUTCFullYear(year, number('month') - 1, number('day'));
  date.setUTCHours(number('hour'), number('minute'), number('second'), 0);
  return date.getTime() - Math.floor(ms / 1000) * 1000;
}

/** True if the runtime knows the zone. */
export function isZone(zone: string): boolean {
  try {
    return zoneOffsetMs(zone, 0) !== Number.POSITIVE_INFINITY;
  } catch {
    return false;
  }
}

/** The moment of a wall clock reading in a zone; `gap` if the clocks skip it, `repeated` if they show it twice. */
export function zonedToUtcMs(zone: string, wallMs: number): number | 'gap' | 'repeated' {
  const dayMs = 86_400_000;
  // The offsets a day before and after are the only two that can hold around one change of the clocks.
  const candidates = new Set([zoneOffsetMs(zone, wallMs - dayMs), zoneOffsetMs(zone, wallMs + dayMs)]);
  const moments = [...candidates]
    .map((offset) => wallMs - offset)
    .filter((ms) => ms + zoneOffsetMs(zone, ms) === wallMs);
  const [first] = moments;
  if (first === undefined) return 'gap';
  return moments.length > 1 ? 'repeated' : first;
}

/** The wall clock of a zone at a moment, as milliseconds since 1970 as if it were UTC. */
export function utcToZonedMs(zone: string, ms: number): number {
  return ms + zoneOffsetMs(zone, ms);
}
