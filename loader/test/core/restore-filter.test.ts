import { describe, expect, test } from 'vitest';
import type { Manifest, ManifestColumn, ManifestTable } from '../../src/core/archive/manifest.ts';
import {
  cellsReader,
  compareValues,
  keyReader,
  mayHold,
  parseCondition,
  parseMoment,
  type RowFilter,
  rowMatcher,
  valueMatcher,
} from '../../src/core/archive/restore-filter.ts';

export function column(name: string, type: string, collation: string | null = null): ManifestColumn {
  return { name, type, characterSet: collation?.split('_')[0] ?? null, collation, nullable: true, generated: false };
}

const root: ManifestTable = {
  table: 'orders',
  archiveName: 'orders',
  fingerprint: '',
  columns: [
    column('id', 'bigint unsigned'),
    column('part', 'int'),
    column('hash', 'binary(2)'),
    column('at', 'datetime(3)'),
  ],
  key: ['id', 'part'],
  rows: 10,
  keys: { first: ['9', '5'], last: ['18446744073709551615', '2'] },
  dates: { oldest: '2024-03-01 00:00:00.000000', newest: '2024-03-31 23:59:59.999999' },
  sha256: '',
  dropped: 0,
  statistics: { part: { count: 10, nulls: 0, min: '-3', max: '12', sum: null, mean: null } },
  file: null,
};
const batch = {
  oldest: '2024-03-01 00:00:00.000000',
  newest: '2024-03-31 23:59:59.999999',
  // The filter reads nothing else of it.
  manifest: { tables: [root] } as unknown as Manifest,
};
const none: RowFilter = { where: [], from: null, to: null };
const where = (...words: readonly string[]): RowFilter => ({ ...none, where: words.map(parseCondition) });

describe('what is asked for', () => {
  test('is a column and a value, which may hold equals signs', () => {
    expect(parseCondition('a=b=c')).toEqual({ column: 'a', value: 'b=c' });
    expect(parseCondition('a=')).toEqual({ column: 'a', value: '' });
  });

  test('is a moment in UTC, or nothing', () => {
    expect(parseMoment('2024-02-29')).toBe('2024-02-29 00:00:00.000000');
    expect(parseMoment('2024-02-29T23:59')).toBe('2024-02-29 23:59:00.000000');
    expect(parseMoment('2024-02-29 23:59:58.5')).toBe('2024-02-29 23:59:58.500000');
    for (const text of [
      '2025-02-29',
      '2024-1-1',
      'now',
      '',
      '2024-01-01T24:00',
      '2024-01-01T00:60',
      '2024-01-01+02:00',
    ])
      expect(parseMoment(text)).toBeNull();
  });
});

describe('a batch may hold a row', () => {
  test('unless its dates, its keys or its statistics speak against it', () => {
    expect(mayHold(batch, none)).toBe(true);
    expect(mayHold(batch, { ...none, from: '2024-03-31 23:59:59.999999' })).toBe(true);
    expect(mayHold(batch, { ...none, from: '2024-04-01 00:00:00.000000' })).toBe(false);
    expect(mayHold(batch, { ...none, to: '2024-03-01 00:00:00.000001' })).toBe(true);
    expect(mayHold(batch, { ...none, to: '2024-03-01 00:00:00.000000' })).toBe(false);
    // As numbers, not as texts.
    for (const id of ['9', '10', '18446744073709551615', '009']) expect(mayHold(batch, where(`id=${id}`))).toBe(true);
    for (const id of ['8', '18446744073709551616']) expect(mayHold(batch, where(`id=${id}`))).toBe(false);
    // The second column of the key is in no order of its own, but has statistics.
    for (const part of ['-3', '1', '12']) expect(mayHold(batch, where(`part=${part}`))).toBe(true);
    for (const part of ['-4', '13']) expect(mayHold(batch, where(`part=${part}`))).toBe(false);
    expect(mayHold(batch, where('id=10', 'part=13'))).toBe(false);
    expect(mayHold(batch, where('other=1'))).toBe(false);
  });

  test('as far as nobody knows better', () => {
    expect(
      mayHold({ oldest: null, newest: null, manifest: null }, { ...where('id=1'), from: '2024-04-01 00:00:00.000000' }),
    ).toBe(true);
    const texts: ManifestTable = {
      ...root,
      columns: [column('id', 'varchar(9)', 'utf8mb4_bin')],
      key: ['id'],
      keys: { first: ['b'], last: ['d'] },
      statistics: {},
    };
    // Which text comes first is for the collation to say.
    expect(mayHold({ ...batch, manifest: { tables: [texts] } as unknown as Manifest }, where('id=a'))).toBe(true);
  });
});

describe('values', () => {
  test('compare as the server compares them, where that is known', () => {
    expect(compareValues(column('x', 'decimal(10,2)'), '1.10', '1.1')).toBe(0);
    expect(compareValues(column('x', 'decimal(65,30)'), '-0.000000000000000000000000000001', '0')).toBe(-1);
    expect(compareValues(column('x', 'int(6) unsigned zerofill'), '000007', '7')).toBe(0);
    expect(compareValues(column('x', 'double'), '1e100', '9')).toBe(1);
    expect(compareValues(column('x', 'datetime(6)'), '2024-01-01', '2024-01-01 00:00:00.000000')).toBe(0);
    expect(compareValues(column('x', 'timestamp'), '0000-00-00 00:00:00', '1970-01-01 00:00:01')).toBe(-1);
    expect(compareValues(column('x', 'varchar(9)'), 'a', 'b')).toBeNull();
    expect(compareValues(column('x', 'int'), '1', 'one')).toBeNull();
  });

  test('match by what they mean, and texts byte for byte', () => {
    expect(valueMatcher(column('x', 'bigint'), '007')?.('7')).toBe(true);
    expect(valueMatcher(column('x', 'bigint'), '9007199254740993')?.('9007199254740992')).toBe(false);
    expect(valueMatcher(column('x', 'bigint'), 'seven')).toBeNull();
    expect(valueMatcher(column('x', 'binary(2)'), '0x00ff')?.('00FF')).toBe(true);
    expect(valueMatcher(column('x', 'binary(2)'), 'xyz')).toBeNull();
    expect(valueMatcher(column('x', 'varchar(9)', 'utf8mb4_general_ci'), 'A')?.('a')).toBe(false);
    expect(valueMatcher(column('x', 'varchar(9)', 'utf8mb4_general_ci'), '')?.(null)).toBe(false);
    expect(valueMatcher(column('x', 'time(6)'), '-838:59:59.000000')?.('-838:59:59.000000')).toBe(true);
  });

  test('are read out of a row, binary ones as upper-case digits', () => {
    const row = [Buffer.from('42'), null, Buffer.of(0, 0xab), Buffer.from('2024-03-01 10:00:00.000')];
    expect(cellsReader(root, ['hash', 'part', 'nothing', 'id'])(row)).toEqual(['00AB', null, null, '42']);
    expect(keyReader({ ...root, key: ['hash', 'id'] })(row)).toEqual(['00AB', '42']);
    const date = { column: 'at', toUtc: (text: string) => `${text}000` };
    const matches = (filter: RowFilter) => rowMatcher(root, filter, date)?.(row);
    expect(matches(where('id=42', 'hash=00ab'))).toBe(true);
    expect(matches(where('id=42', 'hash=00ac'))).toBe(false);
    expect(matches({ ...none, from: '2024-03-01 10:00:00.000000', to: '2024-03-01 10:00:00.000001' })).toBe(true);
    expect(matches({ ...none, to: '2024-03-01 10:00:00.000000' })).toBe(false);
    expect(matches(where('nothing=1'))).toBeUndefined();
  });
});
