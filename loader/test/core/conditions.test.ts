import { describe, expect, test } from 'vitest';
import type { Condition } from '../../src/config/archive-config.ts';
import { allOf, conditionFault, conditionSql } from '../../src/core/archive/conditions.ts';
import { table } from './definitions.ts';

const types = {
  id: 'bigint unsigned NOT NULL',
  n: 'int',
  price: 'decimal(10,2)',
  rate: 'double',
  y: 'year',
  bits: 'bit(9)',
  day: 'date',
  needed: 'date NOT NULL',
  at: 'datetime(6)',
  seen: 'timestamp',
  t: 'time(6)',
  kind: "enum('a','b','')",
  tags: "set('x','y','z')",
  name: 'varchar(20)',
  hash: 'binary(2)',
  u: 'uuid',
  address: 'inet6',
  shape: 'point',
  doc: 'json',
};
const orders = table('orders', types);
const sql = (condition: Condition) => conditionSql(condition, orders, 'r');
const fault = (condition: Condition) => conditionFault(condition, orders);
/** The value as it is bound; undefined where it is refused. */
const bound = (column: string, value: string | number | boolean) => {
  const condition: Condition = { column, operator: '=', value };
  return fault(condition) === null ? sql(condition).values[0] : undefined;
};

describe('a condition', () => {
  test('is written with each operator, and with the name of the column as the table has it', () => {
    for (const operator of ['=', '!=', '<', '<=', '>', '>='] as const)
      expect(sql({ column: 'N', operator, value: 5 })).toEqual({
        sql: `r.\`n\` ${operator === '!=' ? '<>' : operator} ?`,
        values: [5n],
      });
    expect(sql({ column: 'n', operator: 'in', value: [1, '2'] })).toEqual({ sql: 'r.`n` IN (?, ?)', values: [1n, 2n] });
    expect(sql({ column: 'n', operator: 'not in', value: [1] })).toEqual({ sql: 'r.`n` NOT IN (?)', values: [1n] });
    expect(sql({ column: 'n', operator: 'is null' })).toEqual({ sql: 'r.`n` IS NULL', values: [] });
    expect(sql({ column: 'n', operator: 'is not null' })).toEqual({ sql: 'r.`n` IS NOT NULL', values: [] });
    // The servers take a zero date of such a column for NULL.
    expect(sql({ column: 'needed', operator: 'is null' }).sql).toBe('FALSE');
    expect(sql({ column: 'needed', operator: 'is not null' }).sql).toBe('TRUE');
  });

  test('is compared by the type of its column', () => {
    expect(sql({ column: 'price', operator: '=', value: '1.5' })).toEqual({
      sql: 'r.`price` = CAST(? AS DECIMAL(65,30))',
      values: ['1.5'],
    });
    expect(sql({ column: 'rate', operator: '<', value: 0.5 })).toEqual({
      sql: 'r.`rate` < (? + 0e0)',
      values: ['0.5'],
    });
    for (const [column, value, wanted] of [
      ['id', '18446744073709551615', 18_446_744_073_709_551_615n],
      ['n', '+7', 7n],
      ['n', '-7', -7n],
      ['n', true, 1n],
      ['n', false, 0n],
      ['n', '1.5', '1.5'],
      ['y', 2024, 2024n],
      ['bits', 511, 511n],
      ['rate', '-1e-5', '-1e-5'],
      ['day', '2024-02-29', '2024-02-29'],
      ['at', '2024-02-29T23:59:59.999999', '2024-02-29 23:59:59.999999'],
      ['at', '0001-01-01 00:00', '0001-01-01 00:00'],
      ['seen', '2024-12-31 12:00:00', '2024-12-31 12:00:00'],
      ['t', '-838:59:59', '-838:59:59'],
      ['kind', 'a', 'a'],
      ['kind', '', ''],
      ['tags', 'z,x', 'x,z'],
      ['tags', '', ''],
      ['name', '1e5', '1e5'],
      ['name', 5, '5'],
      ['address', '::1', '::1'],
      ['u', '123e4567e89b12d3a456426614174000', '123e4567e89b12d3a456426614174000'],
    ] as const)
      expect([column, bound(column, value)]).toEqual([column, wanted]);
    expect(bound('hash', '0x00fF')).toEqual(Buffer.of(0, 0xff));
    expect(bound('hash', '0x')).toEqual(Buffer.alloc(0));
  });

  test('is refused where its value is none of the column, which a server would take for 0 or for nothing', () => {
    for (const [column, value] of [
      ...['x', '', ' 1', '1x', '1.', '0x10', '1e3', `1.${'1'.repeat(31)}`, '9'.repeat(66)].map((text) => ['n', text]),
      ...['', ' ', 'NaN', 'Infinity', 'x', '1x'].map((text) => ['rate', text]),
      ...['2025-02-29', '2024-00-10', '2024-01-00', '2024-13-01', '24-01-01', '2024-01-01x', 'x2024-01-01'].map(
        (text) => ['day', text],
      ),
      ...['2024-01-01 24:00', '2024-01-01 00:60', '2024-01-01 00:00:60', '2024-01-01 00:00:00.1234567'].map((text) => [
        'at',
        text,
      ]),
      ...['12:60:00', '12:00:60', 'x', '12', '1234:00:00'].map((text) => ['t', text]),
      ...['c', 'A', 'a '].map((text) => ['kind', text]),
      ...['w', 'x,', 'x,w'].map((text) => ['tags', text]),
      ...['0x0', 'ff', '0xzz', '0x00 '].map((text) => ['hash', text]),
      ...['123e4567', 'x23e4567e89b12d3a456426614174000'].map((text) => ['u', text]),
      ['shape', 'POINT(1 1)'],
      ['doc', '{}'],
    ] as [string, string][])
      expect([column, value, bound(column, value)]).toEqual([column, value, undefined]);
    for (const column of ['rate', 'day', 'name', 'kind', 'hash']) expect(bound(column, true)).toBeUndefined();
  });

  test('says what is wrong with it', () => {
    expect(fault({ column: 'gone', operator: 'is null' })).toBe('names column gone, which orders has not');
    expect(fault({ column: 'n', operator: 'is null', value: 1 })).toBe('n is null takes no value');
    expect(fault({ column: 'n', operator: 'is not null', value: 1 })).toBe('n is not null takes no value');
    expect(fault({ column: 'n', operator: 'in', value: 1 })).toBe('n in takes a list');
    expect(fault({ column: 'n', operator: 'not in', value: 1 })).toBe('n not in takes a list');
    expect(fault({ column: 'n', operator: '=', value: [1] })).toBe('n = takes one value');
    expect(fault({ column: 'n', operator: 'in', value: [] })).toBe('n in takes at least one value');
    expect(fault({ column: 'n', operator: '=' })).toBe('n = takes at least one value');
    expect(fault({ column: 'kind', operator: '<', value: 'a' })).toBe('kind <: members of an ENUM have no order');
    expect(fault({ column: 'tags', operator: '>=', value: 'x' })).toBe('tags >=: members of a SET have no order');
    expect(fault({ column: 'kind', operator: '!=', value: 'a' })).toBeNull();
    expect(fault({ column: 'n', operator: 'in', value: [1, 'two'] })).toBe(
      'n in "two": that is no value of a column of type int',
    );
    expect(() => sql({ column: 'gone', operator: 'is null' })).toThrow(
      expect.objectContaining({ code: 'SETTING_INVALID', message: expect.stringContaining('orders: the condition') }),
    );
  });

  test('is joined with others by AND, and is TRUE where there are none', () => {
    expect(allOf([])).toEqual({ sql: 'TRUE', values: [] });
    expect(
      allOf([
        { sql: 'a = ?', values: [1] },
        { sql: 'b', values: [] },
        { sql: 'c = ?', values: [2] },
      ]),
    ).toEqual({ sql: 'a = ? AND b AND c = ?', values: [1, 2] });
  });
});
