import type { ColumnDefinition } from '@tableset/common/database/table-definition.ts';
import { expect, test } from 'vitest';
import { adaptCell } from '../../src/core/archive/restore-cells.ts';

function column(dataType: string, digits: number | null): ColumnDefinition {
  return {
    name: 'c',
    position: 1,
    dataType,
    columnType: dataType,
    unsigned: false,
    zerofill: false,
    nullable: true,
    hasDefault: true,
    characterMaximumLength: null,
    characterOctetLength: null,
    numericPrecision: null,
    numericScale: dataType === 'decimal' ? digits : null,
    datetimePrecision: dataType === 'decimal' ? null : digits,
    characterSet: null,
    collation: null,
    members: [],
    generated: false,
    autoIncrement: false,
    invisible: false,
    json: false,
    srid: null,
  };
}

test.each([
  ['decimal', 4, '1.50', '1.5000'],
  ['decimal', 0, '1.00', '1'],
  ['decimal', 2, '-7', '-7.00'],
  ['decimal', 1, '1.05', '1.05'],
  ['decimal', 30, '99999999999999999999999999999999999', `99999999999999999999999999999999999.${'0'.repeat(30)}`],
  ['datetime', 6, '2024-02-29 01:02:03', '2024-02-29 01:02:03.000000'],
  ['datetime', 3, '2024-02-29 01:02:03.120000', '2024-02-29 01:02:03.120'],
  ['datetime', 3, '2024-02-29 01:02:03.000001', '2024-02-29 01:02:03.000001'],
  ['timestamp', 0, '2024-02-29 01:02:03.000', '2024-02-29 01:02:03'],
  ['datetime', 0, '2024-02-29', '2024-02-29 00:00:00'],
  ['datetime', 2, '0000-00-00', '0000-00-00 00:00:00.00'],
  ['date', null, '2024-02-29 00:00:00.000', '2024-02-29'],
  ['date', null, '2024-02-29 00:00:01', '2024-02-29 00:00:01'],
  ['time', 2, '-838:59:59', '-838:59:59.00'],
  ['varchar', null, '1.50', '1.50'],
  ['int', null, '7', '7'],
])('%s with %s digits prints %s as %s', (type, digits, archived, now) => {
  expect(adaptCell(column(type, digits), Buffer.from(archived))?.toString()).toBe(now);
});

test('NULL stays NULL, and what needs no change is the very cell', () => {
  expect(adaptCell(column('decimal', 2), null)).toBeNull();
  const cell = Buffer.from('1.50');
  expect(adaptCell(column('decimal', 2), cell)).toBe(cell);
});
