import { open, readFile } from 'node:fs/promises';
import { describe, expect, test } from 'vitest';
import { openRows } from '../../src/core/encode-rows.ts';
import type { EncodeOptions, RandomAccessInput, Reject } from '../../src/core/encoded-rows.ts';
import { decodeLoadText } from '../../src/core/encoding/decode-load-text.ts';
import { column } from './encode-text.ts';

const columns = [
  column('id', 'bigint', { nullable: false }),
  column('big', 'bigint unsigned'),
  column('small', 'tinyint'),
  column('name', 'varchar(50)'),
  column('price', 'decimal(20,4)'),
  column('wide', 'decimal(38,10)'),
  column('day', 'date'),
  column('wall', 'datetime(6)'),
  column('moment', 'timestamp(3)'),
  column('nanos', 'datetime(6)'),
  column('clock', 'time(6)'),
  column('raw', 'varbinary(10)'),
  column('ratio', 'double'),
  column('single', 'float'),
  column('flag', 'tinyint(1)'),
  column('tags', 'json'),
  column('item', 'json'),
  column('map', 'json'),
  column('cat', "enum('red','blue')"),
];

function fixture(name: string): URL {
  return new URL(`../fixtures/${name}.parquet`, import.meta.url);
}

async function encodeFile(bytes: Buffer, more: Partial<EncodeOptions> = {}) {
  const input: RandomAccessInput = {
    name: 'p',
    byteLength: bytes.length,
    read: async (start, end) => bytes.subarray(start, end),
  };
  const rejects: Reject[] = [];
  const opened = await openRows(input, {
    format: 'parquet',
    table: 't',
    columns,
    server: 'mysql',
    onReject: (reject) => rejects.push(reject),
    ...more,
  });
  const rows: (string | null)[][] = [];
  for await (const chunk of opened.chunks) {
    for (const row of decodeLoadText(chunk)) rows.push(row.fields.map((field) => field?.toString() ?? null));
    chunk.release();
  }
  return { rows, rejects, counts: opened.counts, plan: opened.plan };
}

const expected = [
  [
    '1',
    '18446744073709551615',
    '-128',
    'a,"\t\\\né😀',
    '1234567890123456.7891',
    '-1234567890123456789012345678.0123456789',
    '2024-02-29',
    '2024-02-29 23:59:59.123456',
    '2024-06-01 12:00:00.005',
    '2023-11-14 22:13:20.123456',
    '23:59:59.999999',
    '00FF5C',
    '0.1',
    '16777216',
    '1',
    '["x","y\\"",null]',
    '{"a":9223372036854775807,"b":-0.05}',
    '{"k":1}',
    'red',
  ],
  [
    '-9223372036854775808',
    '0',
    '127',
    '',
    '-0.0001',
    '0.0000000000',
    '1969-12-31',
    '1969-12-31 23:59:59.999999',
    '1970-01-01 00:00:01.000',
    '1969-12-31 23:59:59.999999',
    '00:00:00.000000',
    '',
    '1e+300',
    '0.5',
    '0',
    '[]',
    '{"a":null,"b":null}',
    '{}',
    'blue',
  ],
  ['3', ...new Array<null>(18).fill(null)],
];

describe('Parquet', () => {
  test.each(['snappy', 'zstd', 'gzip', 'none'])('with the codec %s keeps every value exactly', async (codec) => {
    const result = await encodeFile(await readFile(fixture(`types-${codec}`)));
    expect(result.rejects).toEqual([]);
    expect(result.rows).toEqual(expected);
    expect(result.counts.records).toBe(3);
  });

  test('with pages of version 2 is read', async () => {
    const result = await encodeFile(await readFile(fixture('v2')), {
      columns: columns.filter(({ name }) => ['id', 'name'].includes(name)),
    });
    expect(result.rows.map((row) => row[0])).toEqual(['1', '-9223372036854775808', '3']);
  });

  test('reads only the columns that are fed', async () => {
    const result = await encodeFile(await readFile(fixture('types-none')), {
      columns: columns.slice(0, 1),
      mapping: { ignoreUnknown: true },
    });
    expect(result.rows).toEqual([['1'], ['-9223372036854775808'], ['3']]);
  });

  test('rejects what does not fit, by row', async () => {
    const narrow = [
      column('id', 'bigint'),
      column('ratio', 'decimal(3,1)'),
      column('raw', 'varchar(9)'),
      column('moment', 'datetime'),
    ];
    const result = await encodeFile(await readFile(fixture('types-none')), {
      columns: narrow,
      mapping: { ignoreUnknown: true },
    });
    expect(result.rows).toEqual([['3', null, null, null]]);
    expect(result.rejects.map(({ line, column: name, reason }) => [line, name, reason])).toEqual([
      [1, 'moment', expect.stringContaining('offset from UTC')],
      [2, 'moment', expect.stringContaining('offset from UTC')],
    ]);
  });

  test.each([0.5, 0.9, 0.99])('cut to %d of its length is refused', async (part) => {
    const bytes = await readFile(fixture('types-none'));
    await expect(encodeFile(bytes.subarray(0, Math.floor(bytes.length * part)))).rejects.toMatchObject({
      code: 'LOAD_SYNTAX',
    });
  });

  test('of other bytes is refused', async () => {
    await expect(encodeFile(Buffer.from('id,name\n1,a\n'))).rejects.toMatchObject({ code: 'LOAD_SYNTAX' });
  });

  test('lets errors of the input through', async () => {
    const bytes = await readFile(fixture('types-none'));
    const input: RandomAccessInput = {
      name: 'p',
      byteLength: bytes.length,
      read: () => Promise.reject(new Error('the disk is gone')),
    };
    const opening = openRows(input, {
      format: 'parquet',
      table: 't',
      columns,
      server: 'mysql',
      onReject: () => undefined,
    });
    await expect(opening).rejects.toThrow('the disk is gone');
  });

  test('may be read from a file', async () => {
    await using file = await open(fixture('types-zstd'));
    const { size } = await file.stat();
    const input: RandomAccessInput = {
      name: 'p',
      byteLength: size,
      async read(start, end) {
        const { buffer } = await file.read(Buffer.alloc(end - start), 0, end - start, start);
        return buffer;
      },
    };
    const opened = await openRows(input, {
      format: 'parquet',
      table: 't',
      columns,
      server: 'mysql',
      onReject: () => undefined,
    });
    const rows = [];
    for await (const chunk of opened.chunks) rows.push(chunk.rows);
    expect(rows).toEqual([3]);
  });
});
