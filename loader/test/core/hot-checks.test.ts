import fc from 'fast-check';
import { expect, test } from 'vitest';
import { ByteSink } from '../../src/core/encoding/byte-sink.ts';
import { columnCodec } from '../../src/core/values/column-codec.ts';
import { passesHotCheck } from '../../src/core/values/hot-checks.ts';
import { column } from './encode-text.ts';

const context = { server: 'mysql', timestampMax: '2038', allowZeroDates: false, zone: null } as const;

/** Texts near the edges of numbers and dates. */
const digits = fc.array(fc.constantFrom('0', '1', '9', '5'), { maxLength: 22 }).map((list) => list.join(''));
const number = fc
  .tuple(fc.constantFrom('', '', '-', '+'), digits, fc.constantFrom('', '.', '.', '..', 'e'), digits)
  .map((parts) => parts.join(''));
const two = fc.oneof(
  fc.constantFrom('01', '02', '10', '12', '20', '23', '28', '29', '30', '31'),
  fc.integer({ min: 0, max: 62 }).map((value) => String(value).padStart(2, '0')),
);
const year = fc.oneof(
  fc.constantFrom('0000', '1900', '1970', '1971', '2000', '2024', '2037', '2038', '9999'),
  fc.constantFrom('1999', '2023', '2025'),
  fc.integer({ min: 0, max: 9999 }).map((value) => String(value).padStart(4, '0')),
);
const date = fc.tuple(year, two, two).map((parts) => parts.join('-'));
const time = fc
  .tuple(two, two, two, fc.constantFrom('', '', '.5', '.500', '.500000', '.123456'))
  .map(([h, m, s, f]) => `${h}:${m}:${s}${f}`);
const text = fc.oneof(
  number,
  date,
  fc.tuple(date, fc.constantFrom(' ', ' ', ' ', ' ', 'T', ''), time).map((parts) => parts.join('')),
  fc.string({ maxLength: 25, unit: 'binary' }),
  fc.constantFrom('é ', 'ab ', '😀'),
);

const types = [
  'tinyint',
  'tinyint unsigned',
  'smallint',
  'mediumint unsigned',
  'int',
  'int unsigned',
  'bigint',
  'bigint unsigned',
  'decimal(5,2)',
  'decimal(12,3) unsigned',
  'decimal(4,0)',
  'double',
  'float unsigned',
  'date',
  'datetime',
  'datetime(3)',
  'timestamp',
  'timestamp(6)',
  'varchar(10)',
  'char(10)',
  'tinytext',
];

test.each(types)('what the hot check of %s accepts, the codec writes unchanged', (type) => {
  const codec = columnCodec(column('c', type), context);
  const { hot } = codec ?? {};
  if (codec === null || hot === undefined) throw new Error(`${type} has no hot check`);
  let accepted = 0;
  fc.assert(
    fc.property(text, (value) => {
      const bytes = Buffer.from(value);
      const ascii = bytes.every((byte) => byte < 0x80);
      if (bytes.length === 0 || !passesHotCheck(hot, bytes, 0, bytes.length, ascii)) return;
      accepted++;
      const sink = new ByteSink(8, 9);
      const plain = new ByteSink(8, 9);
      plain.escaped(bytes, 0, bytes.length);
      expect(codec.write(bytes, 0, bytes.length, sink)).toBeNull();
      expect(sink.bytes.subarray(0, sink.length)).toEqual(plain.bytes.subarray(0, plain.length));
    }),
    { numRuns: 6000 },
  );
  expect(accepted).toBeGreaterThan(0);
});

test.each([
  ['latin1', 'é', false],
  ['latin1', 'e', true],
  ['utf8mb4', 'é', true],
] as const)('the hot check of a %s column given %j', (characterSet, value, passes) => {
  const hot = columnCodec(column('c', 'varchar(10)', { characterSet }), context)?.hot;
  if (hot === undefined) throw new Error('no hot check');
  const bytes = Buffer.from(value);
  expect(passesHotCheck(hot, bytes, 0, bytes.length, bytes.length === 1)).toBe(passes);
});
