import { describe, expect, test } from 'vitest';
import { column, cutAt, type EncodeSettings, encode } from './encode-text.ts';

const id = column('id', 'bigint unsigned', { nullable: false });
const name = column('name', 'varchar(20)');
const doc = column('doc', 'json');
const flag = column('flag', 'tinyint(1)');
const price = column('price', 'decimal(10,2)');
const columns = [id, name, doc, flag, price];
const jsonl: EncodeSettings = { columns, format: 'jsonl' };
const json: EncodeSettings = { columns, format: 'json' };

/** What a source ends with, wherever it is cut. Spaces are put before it, since the reader looks at the first 1,024 bytes at once. */
async function failure(source: string, settings: EncodeSettings): Promise<unknown> {
  const bytes = Buffer.from(' '.repeat(1024) + source);
  const attempt = (index: number) =>
    encode(bytes, settings, () => cutAt(bytes, index)).then(
      () => {
        throw new Error('it was accepted');
      },
      (error: unknown) => error,
    );
  const whole = await attempt(0);
  for (let index = 1024; index < Math.min(bytes.length, 1200); index++) expect(await attempt(index)).toEqual(whole);
  return whole;
}

describe('JSON Lines', () => {
  test('keep big numbers, strings and nested values exactly', async () => {
    const result = await encode(
      '{"id":18446744073709551615,"name":"a\\n\\u00e9\\ud83d\\ude00","doc":{"b": [1.50, 12345678901234567890]},"flag":true,"price":1.5e1}\n{"id":"2","name":null,"doc":null,"flag":0,"price":-0.5}\n',
      { ...jsonl, server: 'mariadb' },
    );
    expect(result.rejects).toEqual([]);
    expect(result.rows).toEqual([
      ['18446744073709551615', 'a\né😀', '{"b": [1.50, 12345678901234567890]}', '1', '15.00'],
      ['2', null, null, '0', '-0.50'],
    ]);
  });

  test('take the text of a JSON column as JSON, strings included', async () => {
    const result = await encode('{"id":1,"doc":"a\\"b"}\n{"id":2,"doc":true}\n{"id":3,"doc":12}\n', jsonl);
    expect(result.rows.map((row) => row[1])).toEqual(['"a\\"b"', 'true', '12']);
  });

  test('take a string as JSON text where the mapping says so', async () => {
    const result = await encode('{"id":1,"doc":"{\\"a\\":1}"}\n', {
      ...jsonl,
      mapping: { columns: { doc: { type: 'json' } } },
    });
    expect(result.rows).toEqual([['1', '{"a":1}']]);
  });

  test('take keys in any order and a missing one as NULL where the column allows it', async () => {
    const result = await encode('{"id":1,"name":"a"}\n{"name":"b","id":2}\n{"id":3}\n{"name":"d"}\n', jsonl);
    expect(result.rows).toEqual([
      ['1', 'a'],
      ['2', 'b'],
      ['3', null],
    ]);
    expect(result.rejects.map(({ line, column, reason }) => ({ line, column, reason }))).toEqual([
      { line: 4, column: 'id', reason: 'is missing, and the column is NOT NULL' },
    ]);
  });

  test('refuse the key of a column that the first record does not have, unless it is named or ignored', async () => {
    const source = '{"id":1}\n{"id":2,"name":"b"}\n';
    const refusal = {
      code: 'LOAD_FIELD_UNKNOWN',
      message: expect.stringContaining('line 2: the key "name" is for t.name'),
      hint: expect.stringContaining('columns: {name: name}'),
    };
    expect(await failure(source, jsonl)).toMatchObject(refusal);
    expect(await failure(source, { ...jsonl, mapping: { ignoreUnknown: true } })).toMatchObject(refusal);
    const read = [
      ['1', null],
      ['2', 'b'],
    ];
    expect((await encode(source, { ...jsonl, dialect: { header: ['name'] } })).rows).toEqual(read);
    for (const mapping of [{ columns: { name: { from: 'name' } } }, { columns: { name: {} }, ignoreUnknown: true }]) {
      expect((await encode(source, { ...jsonl, mapping })).rows).toEqual(read);
    }
    for (const ignoreUnknown of [true, false]) {
      const mapping = { ignore: ['name'], ignoreUnknown };
      expect((await encode(source, { ...jsonl, mapping })).rows).toEqual([['1'], ['2']]);
    }
  });

  test('read a field that a mapping takes wherever it turns up', async () => {
    const source = '{"id":1}\n{"id":2,"title":"b","x":1}\n';
    const mapping = { columns: { name: { from: 'title' } }, ignoreUnknown: true };
    expect((await encode(source, { ...jsonl, mapping })).rows).toEqual([
      ['1', null],
      ['2', 'b'],
    ]);
  });

  test('ignore a late key of a name that no column would take', async () => {
    const source = '{"id":1}\n{"id":2,"x":[1],"name":"b"}\n';
    expect(await failure(source, jsonl)).toMatchObject({ message: expect.stringContaining('no column of t takes') });
    // The column of that name is fed by another field, so that the key would not be taken in the first record either.
    const mapping = { columns: { name: { from: 'id' } }, ignoreUnknown: true };
    expect((await encode(source, { ...jsonl, mapping })).rows).toEqual([
      ['1', '1'],
      ['2', '2'],
    ]);
  });

  test('refuse a generated column in a later record as in the first', async () => {
    const settings = { ...jsonl, columns: [id, column('sum', 'int', { generated: true })] };
    const mapping = { ignoreUnknown: true };
    const code = 'LOAD_COLUMN_UNSUPPORTED';
    expect(await failure('{"id":1,"sum":1}\n', { ...settings, mapping })).toMatchObject({ code });
    expect(await failure('{"id":1}\n{"id":2,"sum":1}\n', { ...settings, mapping })).toMatchObject({ code });
    const left = await encode('{"id":1}\n{"id":2,"sum":1}\n', { ...settings, mapping: { ignore: ['sum'] } });
    expect(left.rows).toEqual([['1'], ['2']]);
  });

  test('of a further file feed what the files before fed, or name the remedy', async () => {
    const hint = expect.stringContaining('columns: {name: name}');
    expect(await failure('{"id":1}\n', { ...jsonl, targets: ['id', 'name'] })).toMatchObject({
      code: 'LOAD_FIELD_MISSING',
      hint,
    });
    expect(await failure('{"id":1,"name":"b"}\n', { ...jsonl, targets: ['id'] })).toMatchObject({
      code: 'LOAD_FIELD_UNKNOWN',
      hint,
    });
  });

  test('refuse a key that no column takes', async () => {
    expect(await failure('{"id":1,"nmae":"x"}\n', jsonl)).toMatchObject({
      code: 'LOAD_FIELD_UNKNOWN',
      hint: expect.stringContaining('name'),
    });
  });

  test('reject what only other columns take', async () => {
    const result = await encode(
      '{"id":1,"name":{"a":1},"price":0}\n{"id":2,"name":true,"price":0}\n{"id":3,"name":"x","price":true}\n{"id":1.5,"name":"x","price":0}\n{"id":1e3,"name":12.0,"price":1e400}\n',
      jsonl,
    );
    expect(result.rejects.map((reject) => `${reject.column} ${reject.reason}`)).toEqual([
      'name is an array or object, which only JSON columns take',
      expect.stringContaining('name is a boolean'),
      expect.stringContaining('price is a boolean'),
      'id is not an integer',
      'price is out of range for decimal(10,2)',
    ]);
  });

  test('allow __proto__ as a key', async () => {
    expect(
      (await encode('{"id":1,"__proto__":"x"}\n', { ...jsonl, columns: [id, column('__proto__', 'varchar(9)')] })).rows,
    ).toEqual([['1', 'x']]);
  });

  test.each([
    ['two values in a line', '{"id":1} {"id":2}\n', 'LOAD_SYNTAX', /line 1: is not JSON Lines/],
    ['a key twice', '{"id":1}\n{"id":1,"id":2}\n', 'LOAD_SYNTAX', /line 2: the key "id" occurs twice/],
    ['a key twice inside', '{"id":1,"doc":{"a":1,"a":2}}\n', 'LOAD_SYNTAX', /"a" occurs twice/],
    ['an array', '[{"id":1}]\n', 'LOAD_SYNTAX', /an object expected/],
    ['a scalar', '1\n', 'LOAD_SYNTAX', /an object expected/],
    ['a comma too many', '{"id":1,}\n', 'LOAD_SYNTAX', /line 1/],
    ['no colon', '{"id" 1}\n', 'LOAD_SYNTAX', /":" expected/],
    ['a lone surrogate', '{"id":1,"name":"\\ud800"}\n', 'LOAD_SYNTAX', /lone surrogate/],
    ['a cut record', '{"id":1}\n{"id":2', 'LOAD_RECORD_CUT', /line 2/],
    ['deep nesting', `{"id":1,"doc":${'['.repeat(200)}${']'.repeat(200)}}\n`, 'LOAD_SYNTAX', /deeper than 100/],
    ['very deep nesting', `{"id":1,"doc":${'['.repeat(1_000_000)}`, 'LOAD_SYNTAX', /deeper than 100/],
  ])('refuse %s', async (_name, source, code, message) => {
    expect(await failure(source, jsonl)).toMatchObject({ code, message: expect.stringMatching(message) });
  });

  test('may have blank lines and no line end at the end', async () => {
    const result = await encode('\n{"id":1}\r\n\n  {"id":2}  \n{"id":3}', jsonl);
    expect(result.rows).toEqual([['1'], ['2'], ['3']]);
    expect(result.lines).toEqual([2, 4, 5]);
  });

  test('without any record have no plan', async () => {
    expect(await encode('', jsonl)).toMatchObject({ plan: null, records: 0 });
    expect(await encode('\n \n', jsonl)).toMatchObject({ plan: null, records: 0 });
  });

  test('keep a NUL that is meant', async () => {
    expect((await encode('{"id":1,"name":"a\\u0000b"}\n', jsonl)).rows).toEqual([['1', 'a\0b']]);
  });
});

describe('a JSON array', () => {
  test('is read object by object with its lines', async () => {
    const result = await encode('[\n  {"id": 1, "name": "a"},\n  {"id": 2,\n   "name": "b"}\n]\n', json);
    expect(result.rows).toEqual([
      ['1', 'a'],
      ['2', 'b'],
    ]);
    expect(result.lines).toEqual([2, 3]);
  });

  test('is the same however the input is cut', async () => {
    // The reader looks at the first 1,024 bytes at once, and only behind them do cuts of the input matter.
    const source = `[${' '.repeat(1024)}{"id":1,"name":"a\\u00e9","doc":[{"x":1.5e3,"y":true}]}, {"id":22,"name":"é\\ud83d\\ude00😀","doc":null} ]`;
    const whole = await encode(source, json);
    for (let index = 1024; index < Buffer.byteLength(source); index++) {
      expect(await encode(source, json, (bytes) => cutAt(bytes, index))).toEqual(whole);
    }
  });

  test.each([
    ['an object', '{"id":1}', 'LOAD_SYNTAX', /jsonl/],
    ['text after it', '[{"id":1}] x', 'LOAD_SYNTAX', /text after the array/],
    ['no end', '[{"id":1}', 'LOAD_RECORD_CUT', /line 1/],
    ['no end after a comma', '[{"id":1},', 'LOAD_RECORD_CUT', /line 1/],
    ['a comma at the end', '[{"id":1},]', 'LOAD_SYNTAX', /an object expected/],
    ['no comma', '[{"id":1}{"id":2}]', 'LOAD_SYNTAX', /"," or "]"/],
  ])('with %s is refused', async (_name, source, code, message) => {
    expect(await failure(source, json)).toMatchObject({ code, message: expect.stringMatching(message) });
  });

  test('that is empty has no plan', async () => {
    expect(await encode('[ ]\n', json)).toMatchObject({ plan: null, records: 0 });
  });
});
