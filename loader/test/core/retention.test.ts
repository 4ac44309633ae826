import { describe, expect, test } from 'vitest';
import type { Condition } from '../../src/config/archive-config.ts';
import type { ManifestColumn } from '../../src/core/archive/manifest.ts';
import { createFromManifest } from '../../src/core/archive/restore-sql.ts';
import { askedTexts, isExpired, mayBeHeld, parsePredicate } from '../../src/core/archive/retention.ts';

const columns: readonly ManifestColumn[] = [
  ['id', 'bigint unsigned', null],
  ['name', 'varchar(20)', 'utf8mb4_0900_ai_ci'],
  ['price', 'decimal(10,2)', null],
  ['at', 'datetime(6)', null],
  ['hash', 'binary(2)', null],
].map(([name, type, collation]) => ({
  name: String(name),
  type: String(type),
  characterSet: collation ? 'utf8mb4' : null,
  collation: collation ?? null,
  nullable: false,
  generated: false,
}));
const row = ['12', 'Grüße', '9.90', '2024-03-01 00:00:00.000000', 'ab'].map((text) => Buffer.from(text));
const held = (...predicate: readonly Condition[]) => mayBeHeld(predicate, { columns })(row);

describe('a batch is expired', () => {
  test('fault 27: strictly after its newest row has passed the cut-off, and never without a date', () => {
    const cutoff = '2024-03-01 00:00:00.000000';
    expect(isExpired({ newest: '2024-02-29 23:59:59.999999' }, cutoff)).toBe(true);
    expect(isExpired({ newest: cutoff }, cutoff)).toBe(false);
    expect(isExpired({ newest: '2024-03-01 00:00:00.000001' }, cutoff)).toBe(false);
    expect(isExpired({ newest: null }, cutoff)).toBe(false);
  });
});

describe('a predicate holds a row', () => {
  test('where it is surely or possibly true', () => {
    for (const value of [12, '12', '012']) expect(held({ column: 'id', operator: '=', value })).toBe(true);
    expect(held({ column: 'id', operator: 'in', value: [1, 12] })).toBe(true);
    expect(held({ column: 'id', operator: '>', value: 9 })).toBe(true);
    expect(held({ column: 'price', operator: '=', value: 9.9 })).toBe(true);
    expect(held({ column: 'at', operator: '>=', value: '2024-03-01' })).toBe(true);
    // As collations without case and accents have it.
    for (const value of ['grüße', 'GRUßE', 'other']) expect(held({ column: 'name', operator: '=', value })).toBe(true);
    // As conditions write bytes.
    expect(held({ column: 'hash', operator: '=', value: '0x6162' })).toBe(true);
    expect(held({ column: 'hash', operator: '!=', value: '6162' })).toBe(true);
    // Which text is less is for the collation to say, and a column that is not there for nobody.
    expect(held({ column: 'name', operator: '<', value: 'A' })).toBe(true);
    expect(held({ column: 'later', operator: '=', value: 1 })).toBe(true);
    expect(held({ column: 'id', operator: '=', value: 'twelve' }, { column: 'later', operator: 'is null' })).toBe(true);
    expect(held({ column: 'hash', operator: '=', value: 'ab' })).toBe(true);
    expect(held({ column: 'hash', operator: '=', value: '6162' })).toBe(true);
    expect(held({ column: 'name', operator: 'is not null' })).toBe(true);
  });

  test('and not where it is surely false', () => {
    expect(held({ column: 'id', operator: '=', value: 13 })).toBe(false);
    expect(held({ column: 'id', operator: '!=', value: '012' })).toBe(false);
    expect(held({ column: 'id', operator: 'not in', value: [1, 12] })).toBe(false);
    expect(held({ column: 'id', operator: '<=', value: 11 })).toBe(false);
    expect(held({ column: 'at', operator: '<', value: '2024-03-01 00:00:00' })).toBe(false);
    expect(held({ column: 'name', operator: 'is null' })).toBe(false);
    expect(held({ column: 'id', operator: '=', value: 12 }, { column: 'price', operator: '>', value: 10 })).toBe(false);
  });

  test('of texts as the server says, and without it unless they are plain ASCII and differ in more than case', () => {
    const is = (cell: string, value: string, answer: boolean | null) =>
      mayBeHeld([{ column: 'NAME', operator: 'in', value: ['x', value] }], { columns }, (_column, _cell, asked) =>
        asked === value ? answer : false,
      )([null, Buffer.from(cell), null, null, null]);
    expect([is('Malmø', 'Malmo', true), is('Malmø', 'Malmo', false)]).toEqual([true, false]);
    expect([is('Malmø', 'Malmo', null), is('Malmo', 'Malmø', null), is('MALMO', 'malmo ', null)]).toEqual([
      true,
      true,
      true,
    ]);
    expect([is('Malm\u0001o', 'Malmo', null), is('Vytis', 'Witis', null)]).toEqual([true, true]);
    expect(is('Malmo', 'Lund', null)).toBe(false);
    expect(
      askedTexts(
        [
          [{ column: 'name', operator: '=', value: 'a' }],
          [
            { column: 'Name', operator: 'in', value: ['a', 1] },
            { column: 'id', operator: '=', value: 1 },
          ],
        ],
        { columns },
      ),
    ).toMatchObject([{ column: { name: 'name' }, values: ['a', '1'] }]);
  });

  test('by each operator exactly where its numbers say so', () => {
    const around = (operator: Condition['operator']) =>
      [11, 12, 13].map((value) => held({ column: 'id', operator, value }));
    expect(around('=')).toEqual([false, true, false]);
    expect(around('!=')).toEqual([true, false, true]);
    expect(around('<')).toEqual([false, false, true]);
    expect(around('<=')).toEqual([false, true, true]);
    expect(around('>')).toEqual([true, false, false]);
    expect(around('>=')).toEqual([true, true, false]);
    expect(held({ column: 'id', operator: 'in', value: [11, 13] })).toBe(false);
    expect(held({ column: 'id', operator: 'not in', value: [11, 13] })).toBe(true);
  });

  test('of bytes where they are the same, written as digits or as text, and never a NULL but for `is null`', () => {
    const is = (value: string) => held({ column: 'hash', operator: '=', value });
    expect([is('0X6162'), is('ab'), is('0x6163'), is('ac')]).toEqual([true, true, false, false]);
    const letters = mayBeHeld([{ column: 'hash', operator: '=', value: '0xaBcD' }], { columns });
    expect(letters([null, null, null, null, Buffer.of(0xab, 0xcd)])).toBe(true);
    const oddly = mayBeHeld([{ column: 'hash', operator: '=', value: 'jk' }], { columns });
    expect(oddly([null, null, null, null, Buffer.from('jk')])).toBe(true);
    const empty = (operator: Condition['operator'], value?: number) =>
      mayBeHeld([{ column: 'id', operator, ...(value === undefined ? {} : { value }) }], { columns })(
        row.map(() => null),
      );
    expect([empty('is null'), empty('is not null'), empty('=', 1), empty('!=', 1), empty('<', 1)]).toEqual([
      true,
      false,
      false,
      false,
      false,
    ]);
  });

  test('by true and false as by 1 and 0, and by a UUID however it is written', () => {
    const flag = (cell: string, value: boolean) =>
      mayBeHeld([{ column: 'id', operator: '=', value }], { columns })([Buffer.from(cell), null, null, null, null]);
    expect([flag('1', true), flag('0', true), flag('1', false), flag('0', false)]).toEqual([true, false, false, true]);
    const uuid = { ...(columns[0] as ManifestColumn), name: 'u', type: 'uuid' };
    const same = (value: string) =>
      mayBeHeld([{ column: 'u', operator: '=', value }], { columns: [uuid] })([
        Buffer.from('123e4567-e89b-12d3-a456-426614174000'),
      ]);
    expect([same('123E4567E89B12D3A456426614174000'), same('123e4567-e89b-12d3-a456-426614174001')]).toEqual([
      true,
      false,
    ]);
  });

  test('asks the server for texts that are to be equal, and for nothing else', () => {
    const asked = (condition: Condition) => askedTexts([[condition]], { columns });
    expect(asked({ column: 'name', operator: '!=', value: 'a' })).toEqual([]);
    expect(asked({ column: 'name', operator: '<', value: 'a' })).toEqual([]);
    expect(asked({ column: 'id', operator: '=', value: 1 })).toEqual([]);
    expect(asked({ column: 'nothing', operator: '=', value: 'a' })).toEqual([]);
    expect(asked({ column: 'name', operator: '=', value: true })).toMatchObject([{ values: ['1'] }]);
    expect(asked({ column: 'name', operator: 'in', value: ['b', 2] })).toMatchObject([{ values: ['b', '2'] }]);
  });

  test('is a list of conditions or nothing', () => {
    for (const value of ['a', 1, true]) {
      expect(parsePredicate(JSON.stringify([{ column: 'a', operator: '=', value }]))).toHaveLength(1);
      expect(parsePredicate(JSON.stringify([{ column: 'a', operator: 'not in', value: [value] }]))).toHaveLength(1);
      expect(parsePredicate(JSON.stringify([{ column: 'a', operator: 'not in', value }]))).toBeNull();
      expect(parsePredicate(JSON.stringify([{ column: 'a', operator: 'is null', value }]))).toBeNull();
    }
    for (const value of [[], [1, null], [[1]], {}, { length: 1 }])
      expect(parsePredicate(JSON.stringify([{ column: 'a', operator: 'in', value }]))).toBeNull();
    for (const spoilt of [null, 'text', 1, { column: 'a', value: 1 }, { column: 'a', operator: 1, value: 1 }])
      expect(parsePredicate(JSON.stringify([{ column: 'a', operator: '=', value: 1 }, spoilt]))).toBeNull();
    expect(parsePredicate('[{"column":"a","operator":"=","value":1}]')).toEqual([
      { column: 'a', operator: '=', value: 1 },
    ]);
    expect(parsePredicate('[{"column":"a","operator":"is null"}]')).not.toBeNull();
    for (const text of [
      '',
      '{}',
      '[]',
      'a = 1',
      '[{"column":"a","operator":"=","value":[1]}]',
      '[{"column":"a","operator":"like","value":"x"}]',
      '[{"column":"a","operator":"in","value":1}]',
      '[{"operator":"=","value":1}]',
      '[null]',
    ])
      expect(parsePredicate(text)).toBeNull();
  });
});

describe('a table made of a manifest', () => {
  test('has the archived columns and their key, and nothing that is no type', () => {
    const [id, name] = columns;
    const made = (type: string) =>
      createFromManifest('s', 't', {
        columns: [{ ...(id as ManifestColumn), type }, name as ManifestColumn],
        key: ['id'],
      });
    expect(made("enum('a','it''s, (x)')")).toBe(
      "CREATE TABLE `s`.`t` (\n  `id` enum('a','it''s, (x)') NOT NULL,\n  `name` varchar(20) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_ai_ci NOT NULL,\n  PRIMARY KEY (`id`)\n) ENGINE=InnoDB",
    );
    expect(made('decimal(65,30)')).toContain('`id` decimal(65,30) NOT NULL');
    expect(made('int(6) unsigned zerofill')).toContain('int(6) unsigned zerofill');
    for (const type of [
      'int, x int',
      'int) ENGINE=MyISAM --',
      "enum('a') DEFAULT 'a'",
      "enum('a\\')",
      'int DEFAULT (sleep(1))',
      '',
    ])
      expect(() => made(type)).toThrow(RangeError);
  });
});
