import { fieldFlags, type RecordReader } from '../records/record-reader.ts';
import type { Problem } from '../values/codec.ts';

const VALUE_PREVIEW_MAX = 200;

/** Why a field is refused whatever its column, null if it is not. */
export function flagFault(flags: number): Problem | null {
  if ((flags & (fieldFlags.nul | fieldFlags.strayQuote | fieldFlags.undecided)) === 0) return null;
  if ((flags & fieldFlags.nul) !== 0) return 'has a NUL byte; JSON Lines can say \\u0000 where one is meant';
  if ((flags & fieldFlags.strayQuote) !== 0)
    return 'has a quote inside an unquoted field; quote the field and double the quote, or set the quote to null';
  return 'is an unquoted \\N; nullText says whether that is NULL';
}

/** True if a number is written with an exponent. */
export function hasExponent(bytes: Buffer, start: number, end: number): boolean {
  for (let i = start; i < end; i++) if (bytes[i] === 0x65 || bytes[i] === 0x45) return true;
  return false;
}

/** The beginning of the source text of a field, null if it has none; -1 is the field of constants. */
export function fieldPreview(reader: RecordReader, field: number): string | null {
  const flags = field < 0 ? fieldFlags.isNull : (reader.flags[field] as number); // the record has every field of the plan
  if ((flags & fieldFlags.isNull) !== 0) return null;
  const bytes = (flags & fieldFlags.scratch) !== 0 ? reader.scratch : reader.bytes;
  const start = reader.starts[field] as number; // as above
  const end = reader.ends[field] as number; // as above
  const text = bytes.toString('utf8', start, Math.min(end, start + VALUE_PREVIEW_MAX));
  // A cut may fall inside of a character.
  return end - start > VALUE_PREVIEW_MAX ? `${text.replace(/\uFFFD+$/, '')}…` : text;
}
