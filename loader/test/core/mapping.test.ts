import { describe, expect, test } from 'vitest';
import { checkTableMapping, planRows } from '../../src/core/mapping.ts';
import type { TableMapping } from '../../src/core/mapping-types.ts';
import { column, encode } from './encode-text.ts';

const columns = [
  column('id', 'int', { nullable: false, hasDefault: false }),
  column('name', 'varchar(20)'),
  column('price_cents', 'int'),
  column('total', 'int', { generated: true }),
  column('number', 'int', { nullable: false, hasDefault: false, autoIncrement: true }),
];

function plan(fields: readonly string[], mapping: TableMapping = {}, targets: readonly string[] | null = null) {
  return planRows({ source: 's', table: 't', columns, mapping, fields, separator: 44, targets });
}

describe('a plan', () => {
  test('feeds columns in the order of the fields', () => {
    expect(plan(['name', 'id']).columns.map((planned) => planned.column.name)).toEqual(['name', 'id']);
  });

  test('renames, ignores and adds constants at the end', () => {
    const planned = plan(['price', 'x', 'id'], {
      columns: { price_cents: { from: 'price' }, name: { value: 'n' } },
      ignore: ['x'],
    });
    expect(planned.columns.map(({ column: { name }, field }) => [name, field])).toEqual([
      ['price_cents', 0],
      ['id', 2],
      ['name', -1],
    ]);
  });

  test('feeds one field into two columns', () => {
    const planned = plan(['id', 'name'], { columns: { price_cents: { from: 'id' } } });
    expect(planned.columns.map((entry) => entry.column.name)).toEqual(['id', 'price_cents', 'name']);
  });

  test('keeps the order and the set of earlier files', () => {
    expect(plan(['name', 'id'], {}, ['id', 'name']).columns.map((planned) => planned.column.name)).toEqual([
      'id',
      'name',
    ]);
    expect(() => plan(['id', 'name'], {}, ['id'])).toThrow(/earlier files of this load do not/);
    expect(() => plan(['id'], {}, ['id', 'name'])).toThrow(/earlier files of this load do/);
  });

  test.each([
    [['id', 'nmae'], {}, 'LOAD_FIELD_UNKNOWN', 'did you mean name?'],
    [['id', 'ID'], {}, 'LOAD_FIELD_UNKNOWN', 'did you mean id?'],
    [['id', 'id'], {}, 'LOAD_HEADER_INVALID', 'header'],
    [['name'], {}, 'LOAD_COLUMN_UNFED', 'default'],
    [['id', 'total'], {}, 'LOAD_COLUMN_UNSUPPORTED', 'ignore'],
    [['id'], { columns: { name: { from: 'nam' } } }, 'LOAD_FIELD_MISSING', 'its fields are "id"'],
    [['id', 'name'], { columns: { price_cents: { from: 'nam' } } }, 'LOAD_FIELD_MISSING', 'did you mean "name"?'],
    [['id'], { columns: { nmae: { value: 1 } } }, 'LOAD_MAPPING_INVALID', 'did you mean name?'],
  ] as const)('of %j with %j is refused', (fields, mapping, code, hint) => {
    try {
      plan(fields, mapping);
    } catch (error) {
      expect(error).toMatchObject({ code, hint: expect.stringContaining(hint) });
      return;
    }
    throw new Error('it was accepted');
  });

  test('leaves a generated column out when its field is ignored', () => {
    expect(plan(['id', 'total'], { ignore: ['total'] }).columns.length).toBe(1);
  });
});

describe('a mapping', () => {
  test.each([
    [{ value: 1, trim: true }, /value together/],
    [{ zone: 'Europe/Berlim' }, /unknown zone/],
    [{ multiply: 'ten' }, /plain decimal/],
    [{ multiply: 10, type: 'date' }, /multiply with the type date/],
    [{ decimal: { separator: ',,' } }, /one character each/],
    [{ decimal: { separator: '5' } }, /one character each/],
    [{ decimal: { thousands: '.' } }, /one character for both/],
    [{ decimal: { separator: ',' }, type: 'date' }, /decimal form with the type date/],
    [{ trueTexts: ['x'] }, /without the type boolean/],
    [{ type: 'boolean', trueTexts: ['x'], falseTexts: ['x'] }, /"x" as true and as false/],
    [{ zone: 'UTC', type: 'integer' }, /zone with the type integer/],
    [{ zone: 'UTC' }, /means nothing for varchar/],
    [{ type: 'integer', dateFormat: 'DD/MM/YYYY' }, /without the type date/],
    [{ dateFormat: 'YYYY' }, /without the type date/],
    [{ type: 'date', dateFormat: 'DD/MM' }, /has no year/],
    [{ type: 'date', dateFormat: 'DD/MM/YYYY DD' }, /its day twice/],
    [{ type: 'date', dateFormat: 'DD/Mon/YYYY' }, /outside \[brackets\]/],
  ] as const)('%j is refused', (own, message) => {
    expect(() => checkTableMapping('t', columns, { columns: { name: own } })).toThrow(message);
  });

  test.each([
    ['date', '31/12/2025', 'DD/MM/YYYY', '2025-12-31'],
    ['datetime', '31/12/2025 23:59', 'DD/MM/YYYY HH:mm', '2025-12-31 23:59:00'],
    ['timestamp', '31/12/2025 23:59', 'DD/MM/YYYY HH:mm', '2025-12-31 23:59:00'],
    ['time', '23h59', 'HH[h]mm', '23:59:00'],
  ])('with a dateFormat alone is of the type of its %s column', async (type, value, dateFormat, expected) => {
    const settings = { columns: [column('c', type)], mapping: { columns: { c: { dateFormat } } } };
    expect(await encode(`c\n${value}\n`, settings)).toMatchObject({ rows: [[expected]], rejects: [] });
  });

  test('with a dateFormat that lacks a part of its column is refused', () => {
    const mapping = { columns: { c: { dateFormat: 'DD/MM/YYYY' } } };
    expect(() => checkTableMapping('t', [column('c', 'datetime')], mapping)).toThrow(/has no hour/);
  });

  test('has constants that fit their column', async () => {
    const settings = { columns: [column('id', 'int'), column('c', 'decimal(5,2)', { nullable: false })] };
    const constant = (value: string | number | boolean | null) =>
      encode('id\n1\n', { ...settings, mapping: { columns: { c: { value } } } });
    expect((await constant(1.5)).rows).toEqual([['1', '1.50']]);
    expect((await constant(true)).rows).toEqual([['1', '1.00']]);
    await expect(constant('x')).rejects.toThrow(/not a decimal/);
    await expect(constant(null)).rejects.toThrow(/NOT NULL/);
    await expect(constant('')).rejects.toThrow(/is empty/);
  });

  test('escapes constants for the separator', async () => {
    const result = await encode('id\n1\n', {
      columns: [column('id', 'int'), column('c', 'varchar(20)')],
      mapping: { columns: { c: { value: 'a,b\\c' } } },
    });
    expect(result.rows).toEqual([['1', 'a,b\\c']]);
  });

  test('an own key called __proto__ is a column like any other', () => {
    const mapping: TableMapping = JSON.parse('{"columns":{"__proto__":{"value":1}}}');
    expect(() => checkTableMapping('t', columns, mapping)).toThrow(/t\.__proto__, which does not exist/);
  });
});
