import type { Unescaped } from './record-reader.ts';

const TAB = 0x09;
const LF = 0x0a;
const CR = 0x0d;
const BACKSLASH = 0x5c;

/** What a byte means to the scanner; 0 for bytes of a value. */
export const classes = { plain: 0, delimiter: 1, lf: 2, cr: 3, quote: 4, backslash: 5, nul: 6, separator: 7 } as const;

export interface DelimitedDialect {
  readonly kind: 'csv' | 'tsv';
  readonly delimiter: number;
  /** -1 for none. */
  readonly quote: number;
  /** The separator of the load text, which a quoted field may hold. */
  readonly separator: number;
  /** True if an unquoted `\N` is NULL. */
  readonly backslashNull: boolean;
}

/**
 * The delimiter that a header which came out as one field was probably written with, null if there is no sign of one.
 * @param current the delimiter that it was read with
 */
export function likelyDelimiter(fields: readonly string[], current: number): string | null {
  const [only] = fields;
  if (only === undefined || fields.length > 1) return null;
  const counted = [';', '\t', '|', ',']
    .filter((delimiter) => delimiter.charCodeAt(0) !== current)
    .map((delimiter) => ({ delimiter, count: only.split(delimiter).length - 1 }))
    .toSorted((a, b) => b.count - a.count);
  return counted[0]?.count ? counted[0].delimiter : null;
}

/** Copies a quoted field with its doubled quotes made single. The scratch has room for it. */
export function undouble(bytes: Buffer, start: number, end: number, quote: number, scratch: Buffer): Unescaped {
  let length = 0;
  for (let at = start; at < end; at++) {
    const value = bytes[at] as number; // in bounds by end
    scratch[length++] = value;
    if (value === quote) at++;
  }
  return { bytes: scratch, start: 0, end: length };
}

/** Copies a TSV field with its escapes resolved; the reason if one of them is unknown. The scratch has room for it. */
export function unescapeTsv(bytes: Buffer, start: number, end: number, scratch: Buffer): Unescaped | string {
  let length = 0;
  for (let at = start; at < end; at++) {
    const value = bytes[at] as number; // in bounds by end
    if (value !== BACKSLASH) {
      scratch[length++] = value;
      continue;
    }
    const letter = bytes[++at] as number; // the scan has seen it
    const meant = tsvEscapes[letter];
    if (meant === undefined) {
      return `has the unknown escape \\${String.fromCharCode(letter)}; TSV knows \\t \\n \\r \\0 \\b \\Z \\\\ and \\N`;
    }
    scratch[length++] = meant;
  }
  return { bytes: scratch, start: 0, end: length };
}

/** Letter after a backslash to the byte meant; the server's own export writes tab and line feed as themselves behind the backslash. */
const tsvEscapes: Readonly<Record<number, number>> = {
  116: TAB,
  110: LF,
  114: CR,
  48: 0,
  98: 0x08,
  90: 0x1a,
  92: BACKSLASH,
  9: TAB,
  10: LF,
};

/** What bytes mean outside of quotes. */
export function outsideClasses(dialect: DelimitedDialect): Uint8Array {
  const table = new Uint8Array(256);
  table[0] = classes.nul;
  table[BACKSLASH] = classes.backslash;
  // A value that needs an escape in load text, although it does not in the source.
  table[dialect.separator] = classes.separator;
  table[LF] = classes.lf;
  table[CR] = classes.cr;
  if (dialect.quote >= 0) table[dialect.quote] = classes.quote;
  table[dialect.delimiter] = classes.delimiter;
  return table;
}

/** What bytes mean inside of quotes, where delimiters are part of the value. */
export function insideClasses(dialect: DelimitedDialect): Uint8Array {
  const table = new Uint8Array(256);
  table[0] = classes.nul;
  table[BACKSLASH] = classes.backslash;
  table[dialect.separator] = classes.separator;
  table[LF] = classes.lf;
  table[CR] = classes.cr;
  if (dialect.quote >= 0) table[dialect.quote] = classes.quote;
  return table;
}
