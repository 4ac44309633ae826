import type { ColumnDefinition } from '@tableset/common/database/table-definition.ts';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { createStatistics } from '../../src/core/archive/statistics.ts';

const column = (name: string, dataType: string, more: Partial<ColumnDefinition> = {}): ColumnDefinition =>
  // What statistics look at.
  ({ name, dataType, numericPrecision: 20, numericScale: 0, nullable: true, ...more }) as ColumnDefinition;

function statisticsOf(columns: readonly ColumnDefinition[], rows: readonly (readonly (string | null)[])[]) {
  const statistics = createStatistics(columns);
  for (const row of rows) statistics.add(row.map((cell) => (cell === null ? null : Buffer.from(cell))));
  return statistics.result();
}

describe('statistics of canonical rows', () => {
  test('no rows have no figures', () => {
    expect(statisticsOf([column('a', 'int')], [])).toEqual({
      a: { count: 0, nulls: 0, min: null, max: null, sum: null, mean: null },
    });
  });

  test('integers and decimals are exact beyond 2^53, and the mean rounds half away from zero', () => {
    const columns = [column('a', 'bigint'), column('b', 'decimal', { numericScale: 2 })];
    const rows = [
      ['18446744073709551615', '-0.01'],
      ['18446744073709551615', '-0.02'],
      ['-3', null],
    ];
    expect(statisticsOf(columns, rows)).toEqual({
      a: {
        count: 3,
        nulls: 0,
        min: '-3',
        max: '18446744073709551615',
        sum: '36893488147419103227',
        mean: '12297829382473034409.0000',
      },
      b: { count: 2, nulls: 1, min: '-0.02', max: '-0.01', sum: '-0.03', mean: '-0.015000' },
    });
    const halves = Array.from({ length: 8 }, (_, index) => [index < 5 ? '1' : '0']);
    const third = [['1'], ['0'], ['0']];
    expect(statisticsOf([column('a', 'int')], [...halves, ...Array.from({ length: 8 }, () => ['0'])])['a']?.mean).toBe(
      '0.3125',
    );
    expect(statisticsOf([column('a', 'int')], third)['a']?.mean).toBe('0.3333');
    // 1/32 = 0.03125, a half at the fifth digit.
    const thirtySecond = (sign: string) => [[`${sign}1`], ...Array.from({ length: 31 }, () => ['0'])];
    expect(statisticsOf([column('a', 'int')], thirtySecond(''))['a']?.mean).toBe('0.0313');
    expect(statisticsOf([column('a', 'int')], thirtySecond('-'))['a']?.mean).toBe('-0.0313');
  });

  test('integers of any size add up as BigInt does', () => {
    fc.assert(
      fc.property(fc.array(fc.bigInt({ min: -(2n ** 63n), max: 2n ** 64n - 1n }), { minLength: 1 }), (values) => {
        const { a } = statisticsOf(
          [column('a', 'bigint')],
          values.map((value) => [String(value)]),
        );
        const sorted = values.toSorted((x, y) => (x < y ? -1 : x > y ? 1 : 0));
        expect(a).toMatchObject({
          min: String(sorted[0]),
          max: String(sorted.at(-1)),
          sum: String(values.reduce((sum, value) => sum + value, 0n)),
        });
      }),
    );
  });

  test('times order by their length and sign, floats by value, text is only counted', () => {
    const columns = [column('t', 'time'), column('d', 'double'), column('v', 'varchar'), column('y', 'datetime')];
    const rows = [
      ['-838:59:59.000000', '-0', 'b', '0000-00-00 00:00:00'],
      ['100:00:00.000000', '5e-324', 'a', '9999-12-31 23:59:59'],
      ['99:59:59.999999', '1.7976931348623157e308', null, '2019-01-01 00:00:00'],
    ];
    expect(statisticsOf(columns, rows)).toMatchObject({
      t: { min: '-838:59:59.000000', max: '100:00:00.000000', sum: null, mean: null },
      d: { min: '0', max: '1.7976931348623157e308', sum: null },
      v: { count: 2, nulls: 1, min: null, max: null },
      y: { min: '0000-00-00 00:00:00', max: '9999-12-31 23:59:59' },
    });
  });

  test('a decimal whose sum the servers could not hold has none', () => {
    const big = column('a', 'decimal', { numericPrecision: 65, numericScale: 0 });
    expect(statisticsOf([big], [['9'.repeat(65)]])['a']).toMatchObject({ max: '9'.repeat(65), sum: null, mean: null });
  });
});
