import { createHash } from 'node:crypto';
import { crc32 } from 'node:zlib';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { LoadTarget } from '../../src/core/load-sql.ts';
import {
  createBuckets,
  type DigestBuckets,
  differingBuckets,
  digestable,
  RowDigester,
  setBucket,
} from '../../src/core/row-digest.ts';
import { table } from './definitions.ts';
import { column } from './encode-text.ts';

type Field = string | null;
const escapes: Readonly<Record<string, string>> = {
  '\\': '\\\\',
  '\n': '\\n',
  '\0': '\\0',
  '\r': '\\r',
  '\t': '\\t',
  '\u001a': '\\Z',
};

function loadText(rows: readonly (readonly Field[])[], separator: string): Buffer {
  const field = (value: Field) =>
    value === null
      ? '\\N'
      : Array.from(value, (letter) => escapes[letter] ?? (letter === separator ? `\\${letter}` : letter)).join('');
  return Buffer.from(rows.map((row) => `${row.map(field).join(separator)}\n`).join(''));
}

/** The same, worked out slowly from the definition. */
function slowly(rows: readonly (readonly Field[])[], key: readonly number[], buckets: DigestBuckets): void {
  for (const row of rows) {
    const parts = row.flatMap((value, index) => [
      ...(index === 0 ? [] : [Buffer.of(0xff)]),
      value === null ? Buffer.of(0xfe) : Buffer.from(value),
    ]);
    const digest = createHash('sha256').update(Buffer.concat(parts)).digest();
    const bucket = (crc32(key.map((index) => row[index]).join(',')) & buckets.mask) >>> 0;
    buckets.counts[bucket] = (buckets.counts[bucket] ?? 0) + 1;
    buckets.high[bucket] = (buckets.high[bucket] ?? 0) ^ digest.readUInt32BE(0);
    buckets.low[bucket] = (buckets.low[bucket] ?? 0) ^ digest.readUInt32BE(4);
  }
}

const definition = table('t', { a: 'varchar(9) NOT NULL', v: 'text', b: 'varchar(9) NOT NULL', n: 'int' });
const target: LoadTarget = { definition, key: ['b', 'a'], columns: definition.columns, ordinal: 0, archived: null };
const text = fc.string({
  unit: fc.constantFrom('a', 'N', '\\', '\n', '\0', '\r', '\t', '\u001a', ',', ';', '|', 'é', '😀', ' '),
  maxLength: 40,
});
const rows = fc.array(fc.tuple(text, fc.option(text), text, fc.option(fc.constantFrom('0', '-12', '254'))), {
  maxLength: 60,
});
const separators = fc.constantFrom(',', ';', '|', '\t');

describe('row digests', () => {
  test('are those of the definition, whatever the values and the separator', () => {
    fc.assert(
      fc.property(rows, separators, (list, separator) => {
        const [fast, slow] = [createBuckets(0), createBuckets(0)];
        new RowDigester(target, separator.charCodeAt(0), fast.mask).add(loadText(list, separator), fast);
        slowly(list, [0, 2], slow);
        expect(fast).toEqual(slow);
      }),
    );
  });

  test('filter exactly the rows of the buckets that are wanted, with their lines', () => {
    fc.assert(
      fc.property(rows, separators, (list, separator) => {
        const bytes = loadText(list, separator);
        const { mask } = createBuckets(0);
        const wanted = Uint8Array.from({ length: mask + 1 }, (_, bucket) => bucket % 2);
        const lines = Uint32Array.from(list, (_, index) => index * 3 + 2);
        const [out, outLines] = [Buffer.alloc(bytes.length), new Uint32Array(list.length)];
        const kept = new RowDigester(target, separator.charCodeAt(0), mask).filter(bytes, lines, wanted, out, outLines);
        const expected = list
          .map((row, index) => ({ row, line: index * 3 + 2 }))
          .filter(({ row }) => (crc32(`${row[0]},${row[2]}`) & mask & 1) === 1);
        expect(out.subarray(0, kept.bytes)).toEqual(
          loadText(
            expected.map(({ row }) => row),
            separator,
          ),
        );
        expect([...outLines.subarray(0, kept.rows)]).toEqual(expected.map(({ line }) => line));
      }),
    );
  });

  test('tell rows apart that look alike when their fields are put together', () => {
    const alike: readonly (readonly (readonly Field[])[])[] = [
      [['k', 'a,b', 'k', null]],
      [['k', 'a', 'k', null]],
      [['k', '\\N', 'k', null]],
      [['k', null, 'k', null]],
      [['k', 'N', 'k', null]],
      [['k', '', 'k', null]],
    ];
    const seen = alike.map((list) => {
      const buckets = createBuckets(0);
      new RowDigester(target, 44, buckets.mask).add(loadText(list, ','), buckets);
      return `${buckets.high.join()} ${buckets.low.join()}`;
    });
    expect(new Set(seen).size).toBe(alike.length);
  });

  test('take rows and keys of any length', () => {
    const list: Field[][] = [
      ['x'.repeat(10_000), 'y'.repeat(300_000), 'é'.repeat(3000), null],
      ['', null, '', null],
    ];
    const [fast, slow] = [createBuckets(0), createBuckets(0)];
    new RowDigester(target, 44, fast.mask).add(loadText(list, ','), fast);
    slowly(list, [0, 2], slow);
    expect(fast).toEqual(slow);
  });

  test('differ by bucket in count or in bits, as the server gives them', () => {
    const [source, server] = [createBuckets(0), createBuckets(0)];
    setBucket(source, '0', '1', '18446744073709551615');
    setBucket(server, '0', '1', '18446744073709551615');
    expect(differingBuckets(source, server).count).toBe(0);
    setBucket(server, '1', '2', '0');
    setBucket(server, '5', '0', '1');
    setBucket(server, '7', '0', '4294967296');
    const { wanted, count } = differingBuckets(source, server);
    expect(count).toBe(3);
    expect([...wanted.keys()].filter((bucket) => wanted[bucket] === 1)).toEqual([1, 5, 7]);
  });

  test('have buckets by the power of two, within limits', () => {
    const sizes = [0, 1000, 1_000_000, 1e12].map((count) => createBuckets(count).mask + 1);
    for (const size of sizes) expect(Math.log2(size) % 1).toBe(0);
    expect(sizes).toEqual(sizes.toSorted((a, b) => a - b));
    expect(sizes.at(-1)).toBeLessThanOrEqual(1 << 20);
  });

  test('are left alone where a type is printed in more than one way', () => {
    expect(digestable([column('a', 'int'), column('b', 'varchar(9)')])).toBe(true);
    for (const type of ['float', 'double', 'json', 'blob', 'bit(1)', 'point', 'vector(3)'])
      expect(digestable([column('a', 'int'), column('b', type)])).toBe(false);
  });
});
