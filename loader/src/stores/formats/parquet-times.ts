import type { CellSink } from './cell-sink.ts';
import { digitsOf, minus, type ParquetCodec, point, readInteger } from './parquet-codec.ts';

export function dateCodec(): ParquetCodec {
  return {
    element: { type: 'INT32', converted_type: 'DATE', logical_type: { type: 'DATE' } },
    type: 'DATE',
    encode(cell, page) {
      const day = cell.length === 10 ? daysOf(cell) : Number.NaN;
      if (Number.isNaN(day)) return false;
      page.int32(day);
      return true;
    },
    print(page, sink) {
      printDay(page.view.getInt32(page.at, true), sink);
      page.at += 4;
    },
  };
}

/** @param digits of the fraction of a second; utc for a moment rather than a clock on a wall */
export function timestampCodec(digits: number, utc: boolean): ParquetCodec {
  const length = digits === 0 ? 19 : 20 + digits;
  return {
    // The older annotation would call a wall clock a moment.
    element: {
      type: 'INT64',
      logical_type: { type: 'TIMESTAMP', isAdjustedToUTC: utc, unit: 'MICROS' },
      ...(utc ? { converted_type: 'TIMESTAMP_MICROS' as const } : {}),
    },
    type: 'TIMESTAMP',
    encode(cell, page) {
      if (cell.length !== length || cell[10] !== space || cell[13] !== colon || cell[16] !== colon) return false;
      const [hour, minute, second] = [digitsOf(cell, 11, 13), digitsOf(cell, 14, 16), digitsOf(cell, 17, 19)];
      if (!(hour <= 23 && minute <= 59 && second <= 59) || (digits > 0 && cell[19] !== point)) return false;
      const seconds = daysOf(cell) * 86_400 + hour * 3600 + minute * 60 + second;
      const micros = digits === 0 ? 0 : digitsOf(cell, 20, length) * 10 ** (6 - digits);
      if (Number.isNaN(seconds + micros)) return false;
      const exact = Math.abs(seconds) < 9e9;
      page.int64(exact ? seconds * 1e6 + micros : BigInt(seconds) * 1_000_000n + BigInt(micros));
      return true;
    },
    print(page, sink) {
      const micros = readInteger(page, true);
      const fraction =
        typeof micros === 'bigint' ? Number(((micros % million) + million) % million) : ((micros % 1e6) + 1e6) % 1e6;
      const seconds =
        typeof micros === 'bigint' ? Number((micros - BigInt(fraction)) / million) : (micros - fraction) / 1e6;
      const day = Math.floor(seconds / 86_400);
      const second = seconds - day * 86_400;
      printDay(day, sink);
      sink.byte(space);
      sink.digits(Math.floor(second / 3600), 2);
      sink.byte(colon);
      sink.digits(Math.floor(second / 60) % 60, 2);
      sink.byte(colon);
      sink.digits(second % 60, 2);
      if (digits === 0) return;
      sink.byte(point);
      sink.digits(Math.floor(fraction / 10 ** (6 - digits)), digits);
    },
  };
}

const million = 1_000_000n;
const space = 0x20;
const colon = 0x3a;

const monthDays = [31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];

/** Days since 1970 of `YYYY-MM-DD` at the start of a cell; NaN for what the calendar does not have. */
function daysOf(cell: Buffer): number {
  if (cell[4] !== minus || cell[7] !== minus) return Number.NaN;
  const [year, month, day] = [digitsOf(cell, 0, 4), digitsOf(cell, 5, 7), digitsOf(cell, 8, 10)];
  if (!(year >= 1 && month >= 1 && month <= 12 && day >= 1)) return Number.NaN;
  const leap = (year % 4 === 0 && year % 100 !== 0) || year % 400 === 0;
  if (day > (month === 2 ? (leap ? 29 : 28) : ((monthDays[month - 1] ?? 0) as number))) return Number.NaN;
  // Years that begin in March; days before the year 0000-03-01 are 719468 before 1970.
  const shifted = month <= 2 ? year - 1 : year;
  const dayOfYear = Math.floor((153 * (month > 2 ? month - 3 : month + 9) + 2) / 5) + day - 1;
  const era = Math.floor(shifted / 4) - Math.floor(shifted / 100) + Math.floor(shifted / 400);
  return shifted * 365 + era + dayOfYear - 719_468;
}

/** `YYYY-MM-DD` of a day since 1970, the reverse of `daysOf`. */
function printDay(day: number, sink: CellSink): void {
  const shifted = day + 719_468;
  const era = Math.floor(shifted / 146_097);
  const dayOfEra = shifted - era * 146_097;
  const yearOfEra = Math.floor(
    (dayOfEra - Math.floor(dayOfEra / 1460) + Math.floor(dayOfEra / 36_524) - Math.floor(dayOfEra / 146_096)) / 365,
  );
  const dayOfYear = dayOfEra - (365 * yearOfEra + Math.floor(yearOfEra / 4) - Math.floor(yearOfEra / 100));
  const month = Math.floor((5 * dayOfYear + 2) / 153);
  const year = yearOfEra + era * 400 + (month >= 10 ? 1 : 0);
  if (!(year >= 1 && year <= 9999)) throw new Error('a date is beyond the years 1 to 9999');
  sink.digits(year, 4);
  sink.byte(minus);
  sink.digits(month < 10 ? month + 3 : month - 9, 2);
  sink.byte(minus);
  sink.digits(dayOfYear - Math.floor((153 * month + 2) / 5) + 1, 2);
}
