/** Times of day in minutes since midnight in `zone`; `fromMinute` later than `toMinute` spans midnight. */
export interface DailyWindow {
  readonly fromMinute: number;
  readonly toMinute: number;
  readonly zone: string;
}

/**
 * True if the moment lies in the window: its start belongs to it, its end does not. It goes by the wall clock, so that a window in the hour that a
 * change of clocks leaves out or repeats is shorter or longer that day.
 * @param nowMs since 1970
 */
export function isWithinWindow(window: DailyWindow, nowMs: number): boolean {
  const minute = minuteOfDay(nowMs, window.zone);
  const { fromMinute, toMinute } = window;
  if (fromMinute === toMinute) return true;
  return fromMinute < toMinute ? minute >= fromMinute && minute < toMinute : minute >= fromMinute || minute < toMinute;
}

/** Minutes since midnight on the wall clock of a zone. */
function minuteOfDay(nowMs: number, zone: string): number {
  const parts = clock(zone).formatToParts(nowMs);
  const part = (type: string) => Number(parts.find((each) => each.type === type)?.value ?? 0);
  return part('hour') * 60 + part('minute');
}

const clocks = new Map<string, Intl.DateTimeFormat>();

/** Making a formatter takes a thousand times as long as using it. */
function clock(zone: string): Intl.DateTimeFormat {
  const known = clocks.get(zone);
  if (known) return known;
  const made = new Intl.DateTimeFormat('en-GB', {
    timeZone: zone,
    hour: '2-digit',
    minute: '2-digit',
    hourCycle: 'h23',
  });
  clocks.set(zone, made);
  return made;
}

/** `01:00-05:00 Europe/Berlin`. */
export function windowText({ fromMinute, toMinute, zone }: DailyWindow): string {
  const time = (minute: number) =>
    `${String(Math.floor(minute / 60)).padStart(2, '0')}:${String(minute % 60).padStart(2, '0')}`;
  return `${time(fromMinute)}-${time(toMinute)} ${zone}`;
}
