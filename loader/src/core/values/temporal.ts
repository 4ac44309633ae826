import type { ColumnDefinition } from '@tableset/common/database/table-definition.ts';
import type { ByteSink } from '../encoding/byte-sink.ts';
import { type DateTimeParts, isRealDate, partsFromMs, utcToZonedMs, wallClockMs, zonedToUtcMs } from './calendar.ts';
import { type CodecContext, hotKinds, type Problem, type ValueCodec } from './codec.ts';

const dateForm = /^(\d{4})-(\d\d)-(\d\d)$/;
const dateTimeForm = /^(\d{4})-(\d\d)-(\d\d)[ T](\d\d):(\d\d):(\d\d)(?:\.(\d+))?(?: ?(Z|[+-]\d\d(?::?\d\d)?))?$/;
const timeForm = /^([+-])?(\d{1,3}):(\d\d):(\d\d)(?:\.(\d+))?$/;
/** Longer texts are no dates or times; the limit keeps the patterns above away from megabytes. */
const LENGTH_MAX = 100;

const timestampEndMs = { '2038': Date.UTC(2038, 0, 19, 3, 14, 7), '2106': Date.UTC(2106, 1, 7, 6, 28, 15) } as const;

/** DATE: `YYYY-MM-DD` of the real calendar, years 1 to 9999. */
export function dateCodec(context: CodecContext): ValueCodec {
  return textCodec(
    (text) => {
      const match = dateForm.exec(text);
      if (match === null) return { problem: dateProblem(text) };
      const [, year = '', month = '', day = ''] = match;
      const problem = calendarProblem(Number(year), Number(month), Number(day), context.allowZeroDates);
      return problem === null ? { text } : { problem };
    },
    { kind: hotKinds.date, limit: 1, flag: 0, scale: 9999 },
  );
}

/** DATETIME: `YYYY-MM-DD HH:MM:SS[.f]`, T for the space. An offset needs a zone that says which wall clock to keep. */
export function dateTimeCodec(column: ColumnDefinition, context: CodecContext): ValueCodec {
  const precision = column.datetimePrecision ?? 0;
  return textCodec(
    (text) => {
      const read = parseDateTime(text, context.allowZeroDates);
      if (typeof read === 'string') return { problem: read };
      let parts = read;
      if (parts.offsetMinutes !== null) {
        if (context.zone === null)
          return { problem: 'has an offset from UTC, which DATETIME does not keep; give the column a zone' };
        const utcMs = wallClockMs(parts) - parts.offsetMinutes * 60_000;
        const local = partsFromMs(utcToZonedMs(context.zone, utcMs), parts.fraction);
        if (local === null) return { problem: 'is out of range for DATETIME' };
        parts = local;
      }
      return printDateTime(parts, precision, column.columnType);
    },
    { kind: hotKinds.datetime, limit: 1, flag: precision, scale: 9999 },
  );
}

/** TIMESTAMP: as DATETIME; local times are UTC, or of the mapping's zone; everything is written as UTC, the session's zone. */
export function timestampCodec(column: ColumnDefinition, context: CodecContext): ValueCodec {
  const precision = column.datetimePrecision ?? 0;
  const endMs = timestampEndMs[context.timestampMax];
  return textCodec(
    (text) => {
      const read = parseDateTime(text, context.allowZeroDates);
      if (typeof read === 'string') return { problem: read };
      if (read.year === 0) return printDateTime(read, precision, column.columnType);
      const moment = momentOf(read, context.zone);
      if (typeof moment === 'string') return { problem: moment };
      const late =
        moment > endMs || (moment === endMs && context.timestampMax === '2038' && /[1-9]/.test(read.fraction));
      const parts = partsFromMs(moment, read.fraction);
      if (moment < 1000 || late || parts === null) {
        return {
          problem: `is out of range for TIMESTAMP (1970-01-01 00:00:01 to ${new Date(endMs).toISOString().slice(0, 19).replace('T', ' ')} UTC)`,
        };
      }
      return printDateTime(parts, precision, column.columnType);
    },
    context.zone === null ? { kind: hotKinds.datetime, limit: 1971, flag: precision, scale: 2037 } : undefined,
  );
}

/** TIME: `[-]H:MM:SS[.f]` up to 838:59:59. */
export function timeCodec(column: ColumnDefinition): ValueCodec {
  const precision = column.datetimePrecision ?? 0;
  return textCodec((text) => {
    const match = timeForm.exec(text);
    if (match === null) return { problem: 'is not a time HH:MM:SS' };
    const [, sign, hours = '', minutes = '', seconds = '', fraction = ''] = match;
    if (Number(minutes) > 59 || Number(seconds) > 59)
      return { problem: 'is not a time: minutes and seconds end at 59' };
    const atEnd = Number(hours) === 838 && minutes === '59' && seconds === '59' && /[1-9]/.test(fraction);
    if (Number(hours) > 838 || atEnd) return { problem: 'is out of range for TIME (-838:59:59 to 838:59:59)' };
    if (!fractionFits(fraction, precision)) return { problem: fractionProblem(column.columnType, precision) };
    const digits = fractionDigits(fraction, precision);
    const zero = !/[1-9]/.test(hours + minutes + seconds + digits);
    return {
      text: `${sign === '-' && !zero ? '-' : ''}${String(Number(hours)).padStart(2, '0')}:${minutes}:${seconds}${digits}`,
    };
  });
}

/** YEAR: four digits, 1901 to 2155; 0000 where zero dates are allowed. */
export function yearCodec(context: CodecContext): ValueCodec {
  return textCodec((text) => {
    if (!/^\d{4}$/.test(text)) return { problem: 'is not a year of four digits' };
    if (text === '0000' && context.allowZeroDates) return { text };
    return Number(text) >= 1901 && Number(text) <= 2155
      ? { text }
      : { problem: 'is out of range for YEAR (1901 to 2155)' };
  });
}

type Written = { readonly text: string } | { readonly problem: Problem };

/** A codec over short ASCII texts; what the hot check does not accept comes here. */
function textCodec(convert: (text: string) => Written, hot?: ValueCodec['hot']): ValueCodec {
  return {
    takesEmpty: false,
    ...(hot === undefined ? {} : { hot }),
    isCanonical: () => false,
    write(bytes: Buffer, start: number, end: number, sink: ByteSink): Problem | null {
      if (end - start > LENGTH_MAX) return 'is too long for a date or time';
      const written = convert(bytes.toString('latin1', start, end));
      if ('problem' in written) return written.problem;
      sink.ascii(written.text);
      return null;
    },
  };
}

/** Reads the database's and ISO 8601's form; a sentence part if it is neither. */
export function parseDateTime(text: string, allowZeroDates: boolean): DateTimeParts | Problem {
  const match = dateTimeForm.exec(text);
  if (match === null)
    return dateForm.test(text) ? 'is a date without a time' : dateProblem(text, 'a date and time YYYY-MM-DD HH:MM:SS');
  const [, year, month, day, hour, minute, second, fraction = '', offset] = match;
  const parts: DateTimeParts = {
    year: Number(year),
    month: Number(month),
    day: Number(day),
    hour: Number(hour),
    minute: Number(minute),
    second: Number(second),
    fraction,
    offsetMinutes: offset === undefined ? null : parseOffset(offset),
  };
  const problem = calendarProblem(parts.year, parts.month, parts.day, allowZeroDates) ?? clockProblem(parts);
  return problem ?? parts;
}

/** Minutes of `Z`, `+02`, `+0200`, `+02:00`; NaN beyond ±23:59. */
export function parseOffset(offset: string): number {
  if (offset === 'Z') return 0;
  const hours = Number(offset.slice(1, 3));
  const minutes = Number(offset.slice(3).replace(':', '') || '0');
  if (hours > 23 || minutes > 59) return Number.NaN;
  return (offset.startsWith('-') ? -1 : 1) * (hours * 60 + minutes);
}

function clockProblem(parts: DateTimeParts): Problem | null {
  if (parts.hour > 23 || parts.minute > 59 || parts.second > 59) return 'is not a time of day (00:00:00 to 23:59:59)';
  if (Number.isNaN(parts.offsetMinutes)) return 'has an impossible offset from UTC';
  if (parts.offsetMinutes !== null && parts.year === 0) return 'is a zero date with an offset';
  return null;
}

function dateProblem(text: string, wanted = 'a date YYYY-MM-DD'): Problem {
  return /^\d{4}-\d\d-\d\d[ T]/.test(text) && wanted === 'a date YYYY-MM-DD'
    ? 'is a date with a time'
    : `is not ${wanted}`;
}

/** Zero dates are `0000-00-00` and dates with a zero month or day; they are no days, so the rest of the calendar is not asked. */
function calendarProblem(year: number, month: number, day: number, allowZeroDates: boolean): Problem | null {
  if (isRealDate(year, month, day)) return null;
  const zero =
    (year === 0 && month === 0 && day === 0) || (year > 0 && month <= 12 && day <= 31 && (month === 0 || day === 0));
  if (!zero) return 'is not a day of the calendar';
  return allowZeroDates ? null : 'is a zero date; allowZeroDates would accept it';
}

function momentOf(parts: DateTimeParts, zone: string | null): number | Problem {
  const wallMs = wallClockMs(parts);
  if (parts.offsetMinutes !== null) return wallMs - parts.offsetMinutes * 60_000;
  if (zone === null) return wallMs;
  const moment = zonedToUtcMs(zone, wallMs);
  if (moment === 'gap') return `does not exist in ${zone}: the clocks skip it`;
  if (moment === 'repeated') return `exists twice in ${zone}: the clocks repeat it; give an offset`;
  return moment;
}

function printDateTime(parts: DateTimeParts, precision: number, type: string): Written {
  if (!fractionFits(parts.fraction, precision)) return { problem: fractionProblem(type, precision) };
  const pad = (value: number, width = 2) => String(value).padStart(width, '0');
  const date = `${pad(parts.year, 4)}-${pad(parts.month)}-${pad(parts.day)}`;
  return {
    text: `${date} ${pad(parts.hour)}:${pad(parts.minute)}:${pad(parts.second)}${fractionDigits(parts.fraction, precision)}`,
  };
}

/** Digits beyond the column's would be rounded, so they must be zeros. */
function fractionFits(fraction: string, precision: number): boolean {
  return /^0*$/.test(fraction.slice(precision));
}

function fractionDigits(fraction: string, precision: number): string {
  return precision === 0 ? '' : `.${fraction.slice(0, precision).padEnd(precision, '0')}`;
}

function fractionProblem(type: string, precision: number): Problem {
  return `has more than the ${precision} fraction digits of ${type}`;
}
