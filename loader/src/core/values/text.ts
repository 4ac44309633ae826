import type { ColumnDefinition } from '@tableset/common/database/table-definition.ts';
import type { ByteSink } from '../encoding/byte-sink.ts';
import { hotKinds, type Problem, type ValueCodec } from './codec.ts';

const SPACE = 0x20;

/** Octets that the TEXT types hold, whatever the character set. */
const textOctets: Readonly<Record<string, number>> = {
  tinytext: 255,
  text: 65_535,
  mediumtext: 16_777_215,
  longtext: 4_294_967_295,
};

interface CharacterSet {
  /** Octets of a code point, 0 if the set cannot hold it. */
  octets(codePoint: number): number;
}

/** Code points above U+007F that the server's latin1 (Windows-1252, its five holes filled with C1 controls) holds outside U+0080 to U+00FF. */
const windows1252 = new Set([
  0x20ac, 0x201a, 0x0192, 0x201e, 0x2026, 0x2020, 0x2021, 0x02c6, 0x2030, 0x0160, 0x2039, 0x0152, 0x017d, 0x2018,
  0x2019, 0x201c, 0x201d, 0x2022, 0x2013, 0x2014, 0x02dc, 0x2122, 0x0161, 0x203a, 0x0153, 0x017e, 0x0178,
]);
const latin1Holes = new Set([0x81, 0x8d, 0x8f, 0x90, 0x9d]);

const utf8Octets = (point: number) => (point < 0x80 ? 1 : point < 0x800 ? 2 : point < 0x10000 ? 3 : 4);

/** Sets that are checked here; of others the server reports what it cannot convert, and the load counts that as a fault. */
const characterSets: Readonly<Record<string, CharacterSet>> = {
  ascii: { octets: (point) => (point < 0x80 ? 1 : 0) },
  latin1: {
    octets: (point) =>
      point < 0x80 || latin1Holes.has(point) || (point >= 0xa0 && point <= 0xff) || windows1252.has(point) ? 1 : 0,
  },
  utf8: { octets: (point) => (point < 0x10000 ? utf8Octets(point) : 0) },
  utf8mb3: { octets: (point) => (point < 0x10000 ? utf8Octets(point) : 0) },
  utf8mb4: { octets: utf8Octets },
  ucs2: { octets: (point) => (point < 0x10000 ? 2 : 0) },
  utf16: { octets: (point) => (point < 0x10000 ? 2 : 4) },
  utf16le: { octets: (point) => (point < 0x10000 ? 2 : 4) },
  utf32: { octets: () => 4 },
};

/** CHAR, VARCHAR and the TEXT types: length in characters and octets, characters that the column's set holds, trailing spaces of CHAR. */
export function textCodec(column: ColumnDefinition): ValueCodec {
  const octetsMax = textOctets[column.dataType] ?? null;
  const charactersMax = octetsMax === null ? (column.characterMaximumLength ?? 0) : Number.POSITIVE_INFINITY;
  const padded = column.dataType === 'char';
  const setName = column.characterSet ?? 'utf8mb4';
  const set = characterSets[setName];
  const whole = setName === 'utf8mb4' || set === undefined;
  const widest = setName === 'utf32' ? 4 : setName === 'ucs2' || setName.startsWith('utf16') ? 2 : 1;
  // No character takes fewer bytes in UTF-8 than one, so a text of at most this many bytes fits in any case.
  const bytesSafe = Math.min(octetsMax === null ? charactersMax : Math.floor(octetsMax / widest), 0x7fffffff);

  const check = (bytes: Buffer, start: number, end: number): Problem | null => {
    if (padded && end > start && bytes[end - 1] === SPACE)
      return 'ends in a space, which CHAR does not keep; trim would accept it';
    if (whole && end - start <= bytesSafe) return null;
    const measured = measure(bytes, start, end, set);
    if (typeof measured !== 'object') return `has the character ${describe(measured)}, which ${setName} does not hold`;
    if (measured.characters > charactersMax)
      return `has ${measured.characters} characters, ${column.columnType} takes ${charactersMax}`;
    if (octetsMax !== null && measured.octets > octetsMax) {
      return `takes ${measured.octets} octets, ${column.columnType} takes ${octetsMax}`;
    }
    return null;
  };
  return {
    takesEmpty: true,
    hot: { kind: whole ? hotKinds.text : hotKinds.textAscii, limit: bytesSafe, flag: padded ? 1 : 0, scale: 0 },
    isCanonical: (bytes, start, end) => check(bytes, start, end) === null,
    write(bytes: Buffer, start: number, end: number, sink: ByteSink): Problem | null {
      const problem = check(bytes, start, end);
      if (problem === null) sink.escaped(bytes, start, end);
      return problem;
    },
  };
}

/** Characters and octets of a text in a set; the first code point that the set does not hold otherwise. */
function measure(
  bytes: Buffer,
  start: number,
  end: number,
  set: CharacterSet | undefined,
): { characters: number; octets: number } | number {
  let characters = 0;
  let octets = 0;
  for (let at = start; at < end; characters++) {
    const first = bytes[at] as number; // in bounds by the condition
    const length = first < 0x80 ? 1 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
    let point = length === 1 ? first : first & (0xff >> (length + 1));
    for (let i = 1; i < length; i++) point = (point << 6) | ((bytes[at + i] as number) & 0x3f); // valid UTF-8 has them
    at += length;
    if (set === undefined) {
      octets += length;
      continue;
    }
    const taken = set.octets(point);
    if (taken === 0) return point;
    octets += taken;
  }
  return { characters, octets };
}

function describe(point: number): string {
  const number = `U+${point.toString(16).toUpperCase().padStart(4, '0')}`;
  return point < 0xa0 ? number : `${String.fromCodePoint(point)} (${number})`;
}
