import type { ByteSink } from '../encoding/byte-sink.ts';
import type { Problem, ValueCodec } from './codec.ts';

/** MariaDB's UUID: 32 hexadecimal digits, with the usual four hyphens or none; written in lower case with them. */
export function uuidCodec(): ValueCodec {
  return shortTextCodec((text) => {
    const hex = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i.test(text)
      ? text.replaceAll('-', '')
      : text;
    if (!/^[0-9a-f]{32}$/i.test(hex)) return null;
    const lower = hex.toLowerCase();
    return `${lower.slice(0, 8)}-${lower.slice(8, 12)}-${lower.slice(12, 16)}-${lower.slice(16, 20)}-${lower.slice(20)}`;
  }, 'is not a UUID');
}

/** MariaDB's INET4: four decimal numbers without leading zeros, which some systems read as octal. */
export function inet4Codec(): ValueCodec {
  return shortTextCodec((text) => (parseIpv4(text) === null ? null : text), 'is not an IPv4 address');
}

/** MariaDB's INET6: RFC 4291 text, an IPv4 address as its mapped form; written as the server prints it. */
export function inet6Codec(): ValueCodec {
  return shortTextCodec((text) => {
    const groups = parseIpv6(text);
    return groups === null ? null : printIpv6(groups);
  }, 'is not an IPv6 address');
}

function shortTextCodec(convert: (text: string) => string | null, problem: Problem): ValueCodec {
  return {
    takesEmpty: false,
    isCanonical: () => false,
    write(bytes: Buffer, start: number, end: number, sink: ByteSink): Problem | null {
      const text = end - start > 50 ? null : convert(bytes.toString('latin1', start, end));
      if (text === null) return problem;
      sink.ascii(text);
      return null;
    },
  };
}

function parseIpv4(text: string): number[] | null {
  const parts = text.split('.');
  if (parts.length !== 4 || !parts.every((part) => /^(0|[1-9]\d{0,2})$/.test(part) && Number(part) < 256)) return null;
  return parts.map(Number);
}

/** The eight groups of an address, null if it is none. */
function parseIpv6(text: string): number[] | null {
  const plain = parseIpv4(text);
  if (plain !== null) return [0, 0, 0, 0, 0, 0xffff, ...pairs(plain)];
  const halves = text.split('::');
  if (halves.length > 2) return null;
  const read = halves.map((half, i) => parseGroups(half, i === halves.length - 1));
  const [head, tail] = read;
  if (head === null || head === undefined || tail === null) return null;
  if (tail === undefined) return head.length === 8 ? head : null;
  const missing = 8 - head.length - tail.length;
  return missing < 1 ? null : [...head, ...new Array<number>(missing).fill(0), ...tail];
}

function parseGroups(text: string, last: boolean): number[] | null {
  if (text === '') return [];
  const groups: number[] = [];
  const parts = text.split(':');
  for (const [i, part] of parts.entries()) {
    if (/^[0-9a-f]{1,4}$/i.test(part)) groups.push(Number.parseInt(part, 16));
    else {
      const ipv4 = last && i === parts.length - 1 ? parseIpv4(part) : null;
      if (ipv4 === null) return null;
      groups.push(...pairs(ipv4));
    }
  }
  return groups;
}

function pairs(bytes: number[]): [number, number] {
  const [a = 0, b = 0, c = 0, d = 0] = bytes;
  return [a * 256 + b, c * 256 + d];
}

/** As MariaDB prints: the first longest run of zero groups, of one group too, becomes `::`; mapped and compatible addresses end in IPv4 form. */
function printIpv6(groups: readonly number[]): string {
  let bestStart = -1;
  let bestLength = 0;
  for (let i = 0; i < 8; i++) {
    let length = 0;
    while (i + length < 8 && groups[i + length] === 0) length++;
    if (length > bestLength) {
      bestStart = i;
      bestLength = length;
    }
  }
  const [, , , , , fifth = 0, sixth = 0, seventh = 0] = groups;
  const tail = `${sixth >> 8}.${sixth & 255}.${seventh >> 8}.${seventh & 255}`;
  if (bestStart === 0 && bestLength === 6) return `::${tail}`;
  if (bestStart === 0 && bestLength === 5 && fifth === 0xffff) return `::ffff:${tail}`;
  const hex = groups.map((group) => group.toString(16));
  if (bestStart < 0) return hex.join(':');
  return `${hex.slice(0, bestStart).join(':')}::${hex.slice(bestStart + bestLength).join(':')}`;
}
