import { parquetMetadata } from 'hyparquet';
import { describe, expect, test } from 'vitest';
import type { ArchivedTable } from '../../src/core/archive/archive-set.ts';
import { type CanonicalRow, isBinaryColumn } from '../../src/core/archive/canonical.ts';
import { keyCell } from '../../src/core/archive/key-columns.ts';
import { doubleText } from '../../src/stores/formats/cell-kind.ts';
import type { FileFormat } from '../../src/stores/formats/file-format.ts';
import { jsonlFormat } from '../../src/stores/formats/jsonl.ts';
import { parquetFormat } from '../../src/stores/formats/parquet.ts';
import { collect, columnOf, hashesOfRows, inBatches, manifestTableOf, rowOf, tableOf } from './tables.ts';

const label = { store: 'cold', batch: '7' };

const formats: readonly (readonly [string, FileFormat])[] = [
  ['Parquet with zstd', parquetFormat('zstd')],
  ['Parquet with gzip', parquetFormat('gzip')],
  ['JSON Lines with zstd', jsonlFormat('zstd')],
  ['JSON Lines with gzip', jsonlFormat('gzip')],
];

async function encoded(format: FileFormat, table: ArchivedTable, rows: readonly CanonicalRow[]): Promise<Buffer> {
  const parts: Uint8Array[] = [];
  for await (const part of format.encode(label, table, inBatches(rows))) parts.push(Buffer.from(part));
  return Buffer.concat(parts);
}

function inputOf(bytes: Buffer) {
  return {
    name: 'file',
    byteLength: bytes.length,
    read: async (start: number, end: number) => Buffer.from(bytes.subarray(start, end)),
  };
}

/** The rows, whose hashes must be those that the format gives without making rows. */
async function decoded(format: FileFormat, bytes: Buffer, table: ArchivedTable): Promise<readonly CanonicalRow[]> {
  const described = manifestTableOf(table, [], null);
  const rows = await collect(format.decode(inputOf(bytes), described));
  const hashes = await collect(format.hashes(inputOf(bytes), described));
  const places = table.key.map((name) => table.columns.findIndex((column) => column.name === name));
  const binary = table.columns.map(isBinaryColumn);
  const keyOf = (row: CanonicalRow) => places.map((place) => keyCell(binary[place] ? row[place] : String(row[place])));
  const wanted = hashesOfRows(table, rows).map((hash, at) => ({ key: keyOf(rows[at] ?? []), hash }));
  // As text, since there may be many.
  expect(JSON.stringify(hashes)).toBe(JSON.stringify(wanted));
  return rows;
}

/** Types with edge values, which every format gives back byte by byte. */
const kept: readonly (readonly [string, readonly (string | Buffer)[]])[] = [
  ['tinyint', ['-128', '127', '0']],
  ['tinyint unsigned', ['255', '0']],
  ['smallint', ['-32768', '32767']],
  ['smallint unsigned', ['65535']],
  ['mediumint', ['-8388608', '8388607']],
  ['mediumint unsigned', ['16777215']],
  ['int', ['-2147483648', '2147483647', '-1']],
  ['int unsigned', ['4294967295', '2147483648']],
  ['int(6) unsigned zerofill', ['000007', '000000', '1234567']],
  ['bigint', ['-9223372036854775808', '9223372036854775807', '-999999999999999', '1000000000000000', '-4294967297']],
  ['bigint unsigned', ['18446744073709551615', '9007199254740993', '0']],
  ['bit(64)', ['18446744073709551615', '0']],
  ['bit(1)', ['1']],
  ['year', ['1901', '2155', '0000']],
  ['decimal(9,2)', ['-9999999.99', '0.01', '-0.01', '0.00', '12.30']],
  ['decimal(18,0)', ['999999999999999999', '-1']],
  ['decimal(18,18)', ['0.999999999999999999', '-0.000000000000000001']],
  ['decimal(19,4)', ['-999999999999999.9999', '0.0000', '1.0000']],
  ['decimal(38,10)', [`${'9'.repeat(28)}.${'9'.repeat(10)}`, `-${'9'.repeat(28)}.0000000001`, '0.0000000000']],
  ['decimal(65,30)', [`${'9'.repeat(35)}.${'9'.repeat(30)}`]],
  ['decimal(6,2) unsigned zerofill', ['0007.50']],
  ['float', ['16777216', '0.10000000149011612', '3.4028234663852886e38', '-0', '1.401298464324817e-45']],
  [
    'double',
    ['-0', '0', '9.007199254740992e15', '1e15', '100000000000000', '5e-324', '1.7976931348623157e308', '0.000001'],
  ],
  ['date', ['0001-01-01', '1969-12-31', '2024-02-29', '2000-02-29', '9999-12-31', '1900-02-28']],
  ['datetime', ['0001-01-01 00:00:00', '9999-12-31 23:59:59', '1969-12-31 23:59:59']],
  ['datetime(6)', ['9999-12-31 23:59:59.999999', '0001-01-01 00:00:00.000001', '1969-12-31 23:59:59.999999']],
  ['datetime(3)', ['2024-02-29 12:00:00.120', '1960-01-01 00:00:00.001']],
  ['timestamp(1)', ['2038-01-19 03:14:07.9']],
  ['time(6)', ['-838:59:59.000000', '838:59:59.000000']],
  ['varchar(20)', ['', ' ', 'NULL', '\0', '\n', '"', '\\', '😀', '\ufeff', '\u2028', '__proto__']],
  ["enum('a','b')", ['a', '']],
  ['json', ['{"b": [1, 2.50], "a": "é"}', 'null', '1.0', '18446744073709551615']],
  ['varbinary(20)', [Buffer.alloc(0), Buffer.from([0, 255, 0]), Buffer.from('\n')]],
  ['point', [Buffer.from('00000000010100000000', 'hex')]],
  ['vector(3)', [Buffer.alloc(12, 1)]],
  ['uuid', ['123e4567-e89b-12d3-a456-426614174000']],
];

describe.each(formats)('%s', (_, format) => {
  const columns = [columnOf('id', 'int'), ...kept.map(([type], place) => columnOf(`c ${place}`, type))];
  const table = tableOf('everything', columns);
  const longest = Math.max(...kept.map(([, values]) => values.length));
  const rows = Array.from({ length: longest + 1 }, (__, at) =>
    rowOf(String(at), ...kept.map(([, values]) => values[at] ?? null)),
  );

  test('gives back every cell of every type', async () => {
    const bytes = await encoded(format, table, rows);
    const back = await decoded(format, bytes, table);
    expect(back).toHaveLength(rows.length);
    for (const [at, row] of rows.entries())
      for (const [place, column] of columns.entries())
        expect([column.columnType, back[at]?.[place]]).toEqual([column.columnType, row[place]]);
  });

  test('holds no rows, and rows beyond pages and row groups', async () => {
    const plain = tableOf('many', [columnOf('id', 'bigint unsigned'), columnOf('text', 'text'), columnOf('n', 'int')]);
    expect(await decoded(format, await encoded(format, plain, []), plain)).toEqual([]);
    const many = Array.from({ length: 120_500 }, (__, at) =>
      rowOf(String(at), at % 7 === 0 ? null : 'x'.repeat(at % 40), at < 60_000 ? null : String(-at)),
    );
    const back = await decoded(format, await encoded(format, plain, many), plain);
    expect(back.length).toBe(many.length);
    for (let at = 0; at < many.length; at += 997) expect(back[at]).toEqual(many[at]);
    expect(back.at(-1)).toEqual(many.at(-1));
  });

  test('takes columns of any name', async () => {
    const names = ['__proto__', '1', 'a.b', 'ä`"', 'constructor', 'schema'];
    const odd = tableOf(
      'odd',
      names.map((name) => columnOf(name, 'varchar(9)')),
    );
    const row = rowOf(...names);
    expect(await decoded(format, await encoded(format, odd, [row]), odd)).toEqual([row]);
  });

  test('refuses a file with other columns than its manifest', async () => {
    const bytes = await encoded(format, tableOf('t', [columnOf('id', 'int'), columnOf('a', 'int')]), [rowOf('1', '2')]);
    await expect(decoded(format, bytes, tableOf('t', [columnOf('id', 'int'), columnOf('b', 'int')]))).rejects.toThrow();
    await expect(decoded(format, bytes, tableOf('t', [columnOf('id', 'int')]))).rejects.toThrow();
  });

  test('text that is no UTF-8 is refused by table, key and column', async () => {
    const text = tableOf('notes', [columnOf('id', 'int'), columnOf('body', 'text')]);
    await expect(encoded(format, text, [rowOf('17', Buffer.from([0xff]))])).rejects.toMatchObject({
      code: 'ARCHIVE_VALUE_REFUSED',
      exit: 3,
      message: expect.stringMatching(/batch 7: the row of notes with key \[17\] has a value in body that/),
    });
  });
});

describe('values that Parquet has no place for', () => {
  const refusals: readonly (readonly [string, readonly string[]])[] = [
    ['date', ['0000-00-00', '2025-02-30', '2024-00-10', '2023-02-29', '1900-02-29', '0000-01-01', '2024-1-01']],
    ['datetime', ['0000-00-00 00:00:00', '2025-02-30 00:00:00', '2024-01-01 24:00:00', '2024-01-01 00:00:00.5']],
    ['datetime(6)', ['0000-00-00 00:00:00.000000', '2024-01-01 00:00:00']],
    ['timestamp', ['0000-00-00 00:00:00']],
    ['int', ['2147483648', '-2147483649', '01', '-0', '', '1.0', '+1']],
    ['int unsigned', ['-1', '4294967296']],
    ['bigint', ['9223372036854775808', '-9223372036854775809']],
    ['bigint unsigned', ['18446744073709551616']],
    ['int(3) unsigned zerofill', ['7', '0007']],
    ['decimal(5,2)', ['1.5', '-0.00', '01.00', '1000.00', '1', '.50']],
    ['decimal(25,2)', ['-0.00', `${'9'.repeat(24)}.00`, '1.0']],
    ['float', ['0.1', '1.0', '1e400', 'nan', '']],
    ['double', ['1.0', '1E5', '9007199254740993', '1e+20']],
  ];
  const cases = refusals.flatMap(([type, values]) => values.map((value) => [type, value] as const));

  test.each(cases)('fault 65: %s %s is refused, and JSON Lines takes it', async (type, value) => {
    const table = tableOf('events', [columnOf('id', 'varchar(9)'), columnOf('day', type)]);
    const row = rowOf('k1', value);
    await expect(encoded(parquetFormat('zstd'), table, [row])).rejects.toMatchObject({
      code: 'ARCHIVE_VALUE_REFUSED',
      message: expect.stringMatching(/the row of events with key \[k1\] has a value in day/),
      hint: expect.stringContaining('format: jsonl'),
    });
    expect(await decoded(jsonlFormat('zstd'), await encoded(jsonlFormat('zstd'), table, [row]), table)).toEqual([row]);
  });
});

test('a Parquet file that is damaged is an error, never other rows', async () => {
  const table = tableOf('orders', [
    columnOf('id', 'int', { nullable: false }),
    columnOf('note', 'varchar(20)'),
    columnOf('total', 'decimal(25,2)'),
    columnOf('at', 'datetime(6)'),
  ]);
  const rows = Array.from({ length: 50 }, (_, at) =>
    rowOf(String(at), at % 3 === 0 ? null : `note ${at}`, `${at}.50`, '2024-02-29 00:00:00.000001'),
  );
  const bytes = await encoded(parquetFormat('zstd'), table, rows);
  const digest = (hashes: readonly { readonly hash: string }[]) => hashes.map(({ hash }) => hash).join();
  const described = manifestTableOf(table, [], null);
  const whole = digest(await collect(parquetFormat('zstd').hashes(inputOf(bytes), described)));
  let errors = 0;
  for (let at = 0; at < bytes.length; at += 7) {
    const spoiled = Buffer.from(bytes);
    spoiled[at] = (spoiled[at] ?? 0) ^ 0x55;
    const found = await collect(parquetFormat('zstd').hashes(inputOf(spoiled), described)).then(digest, () => null);
    if (found === null) errors++;
    // Names, statistics and the like have no part in the rows; whatever has shows in their hashes.
    else if (found !== whole) expect(found.split(',')).toHaveLength(50);
  }
  expect(errors).toBeGreaterThan(bytes.length / 28);
});

test('a Parquet file names its batch, its table and the fingerprint', async () => {
  const table = tableOf('orders', [columnOf('id', 'int')]);
  const bytes = await encoded(parquetFormat('zstd'), table, [rowOf('-5'), rowOf('9')]);
  const metadata = parquetMetadata(new Uint8Array(bytes).buffer);
  expect(metadata.key_value_metadata).toEqual([
    { key: 'tableset.batch', value: '7' },
    { key: 'tableset.table', value: 'orders' },
    { key: 'tableset.fingerprint', value: table.fingerprint },
  ]);
  expect(metadata.row_groups[0]?.columns[0]?.meta_data?.statistics).toMatchObject({
    min_value: -5,
    max_value: 9,
    null_count: 0n,
  });
});

test('a DOUBLE is printed as the servers print it', () => {
  const texts: readonly (readonly [number, string])[] = [
    [1e15, '1e15'],
    [1e14, '100000000000000'],
    [123456789012345.6, '123456789012345.6'],
    [1234567890123456.8, '1234567890123456.8'],
    [1e-5, '0.00001'],
    [1e-15, '0.000000000000001'],
    [1e-16, '1e-16'],
    [-1.5e-20, '-1.5e-20'],
    [-0, '-0'],
    [1e300, '1e300'],
  ];
  for (const [value, text] of texts) expect(doubleText(value)).toBe(text);
});
