import { type HotCheck, hotKinds } from './codec.ts';

const ZERO = 0x30;
const DASH = 0x2d;
const COLON = 0x3a;
const SPACE = 0x20;
const POINT = 0x2e;
const daysOfMonth = new Uint8Array([0, 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31]);

/**
 * True if the bytes are certainly a valid value in canonical text. False decides nothing: the codec then does.
 * Kept small enough for the compiler to inline into the record loop.
 * @param ascii true if the bytes are known to be ASCII
 */
export function passesHotCheck(
  check: HotCheck,
  bytes: Uint8Array,
  start: number,
  end: number,
  ascii: boolean,
): boolean {
  switch (check.kind) {
    case hotKinds.text:
      return end - start <= check.limit && (check.flag === 0 || bytes[end - 1] !== SPACE);
    case hotKinds.textAscii:
      return ascii && end - start <= check.limit && (check.flag === 0 || bytes[end - 1] !== SPACE);
    case hotKinds.integer:
      return isPlainInteger(bytes, start, end, check.limit, check.flag);
    case hotKinds.decimal:
      return isPlainDecimal(bytes, start, end, check);
    case hotKinds.datetime:
      return isPlainDateTime(bytes, start, end, check);
    case hotKinds.date:
      return end - start === 10 && isPlainDate(bytes, start, check.limit, check.scale);
    case hotKinds.float:
      return isPlainFloat(bytes, start, end, check);
    default:
      return false;
  }
}

function isPlainInteger(bytes: Uint8Array, start: number, end: number, limit: number, signed: number): boolean {
  let at = start;
  if (signed === 1 && bytes[at] === DASH) at++;
  const digits = end - at;
  if (digits === 0 || digits > limit) return false;
  if (bytes[at] === ZERO) return digits === 1 && at === start;
  for (; at < end; at++) {
    if (((bytes[at] as number) - ZERO) >>> 0 > 9) return false; // in bounds by start and end
  }
  return true;
}

function isPlainDecimal(bytes: Uint8Array, start: number, end: number, check: HotCheck): boolean {
  let at = start;
  if (bytes[at] === DASH) {
    // `-0.00` is not canonical, and telling it apart here costs more than it saves.
    if (check.flag === 0 || bytes[at + 1] === ZERO) return false;
    at++;
  }
  const point = check.scale === 0 ? end : end - check.scale - 1;
  const digits = point - at;
  if (digits < 1 || digits > check.limit) return false;
  if (bytes[at] === ZERO && digits > 1) return false;
  for (; at < point; at++) {
    if (((bytes[at] as number) - ZERO) >>> 0 > 9) return false; // in bounds by point
  }
  if (point === end) return true;
  if (bytes[at++] !== POINT) return false;
  for (; at < end; at++) {
    if (((bytes[at] as number) - ZERO) >>> 0 > 9) return false; // in bounds by end
  }
  return true;
}

/** Digits with at most one point among them, too few of them to be out of any range. */
function isPlainFloat(bytes: Uint8Array, start: number, end: number, check: HotCheck): boolean {
  let at = start;
  if (check.flag === 1 && bytes[at] === DASH) at++;
  if (end - at > check.limit) return false;
  let points = 0;
  let digits = 0;
  for (; at < end; at++) {
    const value = bytes[at] as number; // in bounds by end
    if (value === POINT) points++;
    else if ((value - ZERO) >>> 0 <= 9) digits++;
    else return false;
  }
  return points <= 1 && digits > 0;
}

/** Two digits as a number; far out of every range if one of them is no digit. */
function twoDigits(bytes: Uint8Array, at: number): number {
  const tens = ((bytes[at] as number) - ZERO) >>> 0; // the caller has checked the length
  const ones = ((bytes[at + 1] as number) - ZERO) >>> 0; // the caller has checked the length
  return tens <= 9 && ones <= 9 ? tens * 10 + ones : 1e6;
}

/** Ten bytes `YYYY-MM-DD` of the real calendar within the years given. */
function isPlainDate(bytes: Uint8Array, start: number, yearMin: number, yearMax: number): boolean {
  const year = twoDigits(bytes, start) * 100 + twoDigits(bytes, start + 2);
  const month = twoDigits(bytes, start + 5);
  const day = twoDigits(bytes, start + 8);
  if (bytes[start + 4] !== DASH || bytes[start + 7] !== DASH || year < yearMin || year > yearMax) return false;
  if (month < 1 || month > 12 || day < 1) return false;
  if (day <= (daysOfMonth[month] as number)) return true; // month is 1 to 12
  return month === 2 && day === 29 && year % 4 === 0 && (year % 100 !== 0 || year % 400 === 0);
}

/** `YYYY-MM-DD HH:MM:SS` with exactly the fraction digits of the column. */
function isPlainDateTime(bytes: Uint8Array, start: number, end: number, check: HotCheck): boolean {
  const fraction = check.flag;
  if (end - start !== (fraction === 0 ? 19 : 20 + fraction)) return false;
  if (!isPlainDate(bytes, start, check.limit, check.scale)) return false;
  if (bytes[start + 10] !== SPACE || bytes[start + 13] !== COLON || bytes[start + 16] !== COLON) return false;
  if (twoDigits(bytes, start + 11) > 23 || twoDigits(bytes, start + 14) > 59 || twoDigits(bytes, start + 17) > 59) {
    return false;
  }
  if (fraction === 0) return true;
  if (bytes[start + 19] !== POINT) return false;
  for (let at = start + 20; at < end; at++) {
    if (((bytes[at] as number) - ZERO) >>> 0 > 9) return false; // in bounds by end
  }
  return true;
}
