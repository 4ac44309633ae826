import type { ColumnDefinition } from '@tableset/common/database/table-definition.ts';
import type { ByteSink } from '../encoding/byte-sink.ts';
import type { Problem, ValueCodec } from './codec.ts';

/** ENUM: exactly the text of a member. Never by its number, and never by another case, both of which the server would take. */
export function enumCodec(column: ColumnDefinition): ValueCodec {
  const members = new MemberTable(column.members);
  const find = (bytes: Buffer, start: number, end: number) => members.indexOf(bytes, start, end) >= 0;
  return {
    takesEmpty: column.members.includes(''),
    isCanonical: find,
    write(bytes: Buffer, start: number, end: number, sink: ByteSink): Problem | null {
      if (!find(bytes, start, end)) return `is not a member of ${shortType(column)}`;
      sink.escaped(bytes, start, end);
      return null;
    },
  };
}

/** SET: exact member texts between commas, in any order, each once; written in the column's order, as the server prints them. */
export function setCodec(column: ColumnDefinition): ValueCodec {
  const members = new MemberTable(column.members);
  const texts = column.members.map((member) => Buffer.from(member));
  return {
    takesEmpty: true,
    isCanonical: () => false,
    write(bytes: Buffer, start: number, end: number, sink: ByteSink): Problem | null {
      const chosen = new Set<number>();
      for (let at = start; start < end && at <= end; ) {
        const comma = bytes.indexOf(0x2c, at);
        const stop = comma < 0 || comma > end ? end : comma;
        const index = members.indexOf(bytes, at, stop);
        if (index < 0) return `has a part that is not a member of ${shortType(column)}`;
        if (chosen.has(index)) return 'names a member twice';
        chosen.add(index);
        at = stop + 1;
      }
      const sorted = [...chosen].sort((a, b) => a - b);
      for (const [i, index] of sorted.entries()) {
        const text = texts[index] as Buffer; // index of a member
        if (i > 0) sink.escaped(commaText, 0, 1);
        sink.escaped(text, 0, text.length);
      }
      return null;
    },
  };
}

const commaText = Buffer.from(',');

function shortType(column: ColumnDefinition): string {
  return column.columnType.length > 100 ? `${column.columnType.slice(0, 100)}…` : column.columnType;
}

/** Finds members by their bytes without making strings: a hash table of lists, at most 65,535 members. */
class MemberTable {
  readonly #buckets = new Map<number, { readonly index: number; readonly bytes: Buffer }[]>();

  constructor(members: readonly string[]) {
    for (const [index, member] of members.entries()) {
      const bytes = Buffer.from(member);
      const hash = hashOf(bytes, 0, bytes.length);
      const bucket = this.#buckets.get(hash);
      if (bucket === undefined) this.#buckets.set(hash, [{ index, bytes }]);
      else bucket.push({ index, bytes });
    }
  }

  indexOf(bytes: Buffer, start: number, end: number): number {
    for (const entry of this.#buckets.get(hashOf(bytes, start, end)) ?? []) {
      if (entry.bytes.length === end - start && equal(entry.bytes, bytes, start)) return entry.index;
    }
    return -1;
  }
}

function equal(member: Buffer, bytes: Buffer, start: number): boolean {
  for (let i = 0; i < member.length; i++) if (member[i] !== bytes[start + i]) return false;
  return true;
}

/** FNV-1a, cut to a small integer. */
function hashOf(bytes: Buffer, start: number, end: number): number {
  let hash = 0x811c9dc5;
  for (let i = start; i < end; i++) hash = Math.imul(hash ^ (bytes[i] as number), 0x01000193); // in bounds by end
  return hash & 0x3fffffff;
}
