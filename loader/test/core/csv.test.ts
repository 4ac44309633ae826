import { describe, expect, test } from 'vitest';
import { openRows } from '../../src/core/encode-rows.ts';
import type { Dialect } from '../../src/core/encoded-rows.ts';
import { column, type EncodeSettings, encode, pieces } from './encode-text.ts';

const id = column('id', 'int', { nullable: false, hasDefault: false });
const name = column('name', 'varchar(20)');
const label = column('label', 'varchar(20)', { nullable: false });
const columns = [id, name];

/** The error that reading a source ends with, the same whether it comes whole or in small pieces. */
async function failure(source: string | Buffer, settings: Partial<EncodeSettings> = {}): Promise<unknown> {
  const attempt = (pieceBytes: number) =>
    encode(source, { columns, ...settings }, (bytes) => pieces(bytes, pieceBytes)).then(
      () => {
        throw new Error('it was accepted');
      },
      (error: unknown) => error,
    );
  const whole = await attempt(1 << 20);
  expect(await attempt(7)).toEqual(whole);
  return whole;
}

describe('records', () => {
  const rows = [
    ['1', 'a'],
    ['2', 'b'],
  ];

  test.each([
    ['LF', 'id,name\n1,a\n2,b\n'],
    ['CR LF', 'id,name\r\n1,a\r\n2,b\r\n'],
    ['no line end at the end', 'id,name\n1,a\n2,b'],
    ['a byte order mark', '\uFEFFid,name\n1,a\n2,b\n'],
    ['quotes around everything', '"id","name"\n"1","a"\n"2","b"\n'],
    ['quotes and CR LF', '"id","name"\r\n"1","a"\r\n"2","b"\r\n'],
    ['blank lines at the end', 'id,name\n1,a\n2,b\n\n\r\n\n'],
  ])('with %s are the same rows', async (_name, source) => {
    const result = await encode(source, { columns });
    expect(result.rows).toEqual(rows);
    expect(result.rejects).toEqual([]);
    expect(result.lines).toEqual([2, 3]);
  });

  test('hold delimiters, quotes and line ends inside of quotes', async () => {
    const result = await encode('id,name\n1,"a,""b""\nc\r\nd"\n2,"\\"\n', { columns });
    expect(result.rows).toEqual([
      ['1', 'a,"b"\nc\r\nd'],
      ['2', '\\'],
    ]);
    expect(result.lines).toEqual([2, 5]);
  });

  test('that are clean are copied as they are', async () => {
    const result = await encode('id,name\n1,a\n2,b\n', { columns });
    expect(result.loadText).toBe('1,a\n2,b\n');
  });

  test('of members and floats are copied as they are, wrong ones rejected', async () => {
    const typed = [column('e', "enum('a','b,c')"), column('f', 'double')];
    const result = await encode('e,f\na,1.5e3\n"b,c",.5\nc,1\na,x\na,-2.25\n', { columns: typed });
    expect(result.loadText).toBe('a,1.5e3\nb\\,c,.5\na,-2.25\n');
    expect(result.rejects.map((reject) => [reject.line, reject.column])).toEqual([
      [4, 'e'],
      [5, 'f'],
    ]);
  });

  test('with a backslash are escaped', async () => {
    expect((await encode('id,name\n1,a\\b\n', { columns })).loadText).toBe('1,a\\\\b\n');
  });

  test('keep tabs and semicolons when the delimiter is another', async () => {
    const result = await encode('id:name\n1:a\tb;c,d\n', { columns, dialect: { delimiter: ':' } });
    expect(result.plan?.separator).toBe(9);
    expect(result.rows).toEqual([['1', 'a\tb;c,d']]);
    expect(result.loadText).toBe('1\ta\\tb;c,d\n');
  });

  test('may have other quotes or none', async () => {
    expect((await encode("id|name\n1|'a|''b'\n", { columns, dialect: { delimiter: '|', quote: "'" } })).rows).toEqual([
      ['1', "a|'b"],
    ]);
    expect((await encode('id,name\n1,"a"\n', { columns, dialect: { quote: null } })).rows).toEqual([['1', '"a"']]);
  });

  test('with too few or too many fields are rejected and never shift columns', async () => {
    const result = await encode('id,name\n1\n2,b,c\n3,d\n', { columns });
    expect(result.rows).toEqual([['3', 'd']]);
    expect(result.rejects.map(({ line, column, reason }) => ({ line, column, reason }))).toEqual([
      { line: 2, column: null, reason: 'has 1 field instead of 2' },
      { line: 3, column: null, reason: 'has 3 fields instead of 2' },
    ]);
    expect(result.records).toBe(3);
  });

  test('with a bad value name line, column, field and the value', async () => {
    const result = await encode('nr,name\n1,a\nx,b\n', { columns, mapping: { columns: { id: { from: 'nr' } } } });
    expect(result.rejects).toEqual([
      { source: 'test', line: 3, column: 'id', field: 'nr', reason: 'is not an integer', value: 'x' },
    ]);
  });

  test('that a reject stands between are still whole', async () => {
    const source = `id,name\n${Array.from({ length: 50 }, (_, i) => (i % 7 === 3 ? `x,"q${i}"` : `${i},n${i}`)).join('\n')}\n`;
    const result = await encode(source, { columns, chunkBytes: 40 });
    expect(result.rows).toEqual(
      Array.from({ length: 50 }, (_, i) => i)
        .filter((i) => i % 7 !== 3)
        .map((i) => [String(i), `n${i}`]),
    );
  });

  test('between which a blank line stands make that line a reject', async () => {
    const result = await encode('id,name\n1,a\n\n\n2,b\n\n', { columns });
    expect(result.rows).toEqual([
      ['1', 'a'],
      ['2', 'b'],
    ]);
    expect(result.rejects.map(({ line, reason }) => [line, reason])).toEqual([
      [3, 'is a blank line between records'],
      [4, 'is a blank line between records'],
    ]);
    expect(result.lines).toEqual([2, 5]);
  });

  test('of one column may be blank: each blank line is an empty field', async () => {
    expect((await encode('name\na\n\nb\n\n', { columns: [name] })).rows).toEqual([['a'], [null], ['b'], [null]]);
  });
});

describe('empty and NULL', () => {
  const dialects: readonly [string, Dialect | undefined, string, readonly (string | null)[] | RegExp][] = [
    ['empty, unquoted', undefined, '1,,x', ['1', null, 'x']],
    ['empty, quoted', undefined, '1,"",x', ['1', '', 'x']],
    ['empty, unquoted, NOT NULL text', undefined, '1,a,', ['1', 'a', '']],
    ['empty, unquoted, NOT NULL integer', undefined, ',a,x', /is empty/],
    ['empty, quoted, integer', undefined, '"",a,x', /not an integer/],
    ['the word NULL', undefined, '1,NULL,x', ['1', 'NULL', 'x']],
    ['\\N without a null text', undefined, '1,\\N,x', /unquoted \\N/],
    ['\\N, quoted', undefined, '1,"\\N",x', ['1', '\\N', 'x']],
    ['\\N as null text', { nullText: '\\N' }, '1,\\N,x', ['1', null, 'x']],
    ['\\N as null text, quoted', { nullText: '\\N' }, '1,"\\N",x', ['1', '\\N', 'x']],
    ['NULL as null text', { nullText: 'NULL' }, '1,NULL,x', ['1', null, 'x']],
    ['NULL as null text, quoted', { nullText: 'NULL' }, '1,"NULL",x', ['1', 'NULL', 'x']],
    ['NULL as null text in a NOT NULL column', { nullText: 'NULL' }, '1,a,NULL', /column is NOT NULL/],
    ['empty beside a null text', { nullText: 'NULL' }, '1,,x', ['1', '', 'x']],
    ['empty as null text in a NOT NULL column', { nullText: '' }, '1,a,', /column is NOT NULL/],
  ];
  test.each(dialects)('%s', async (_name, dialect, line, expected) => {
    const result = await encode(`id,name,label\n${line}\n`, {
      columns: [id, name, label],
      ...(dialect === undefined ? {} : { dialect }),
    });
    if (expected instanceof RegExp) expect(result.rejects[0]?.reason).toMatch(expected);
    else expect(result.rows).toEqual([expected]);
  });

  test('a NOT NULL column with a default does not get it for a NULL', async () => {
    const stamp = column('stamp', 'timestamp', { nullable: false, hasDefault: true });
    const result = await encode('id,stamp\n1,\\N\n2,\n', { columns: [id, stamp], dialect: { nullText: '\\N' } });
    expect(result.rejects.map((reject) => reject.reason)).toEqual([
      'is NULL, and the column is NOT NULL',
      'is empty, which is no timestamp',
    ]);
  });
});

describe('refused as a whole', () => {
  test.each([
    ['an unclosed quote', 'id,name\n1,"a\n2,b\n', 'LOAD_SYNTAX', /line 2: a quoted field is not closed/],
    ['text after a closing quote', 'id,name\n1,"a"b\n', 'LOAD_SYNTAX', /line 2: text follows/],
    ['bare carriage returns', 'id,name\r1,a\r', 'LOAD_SYNTAX', /line 1: a carriage return/],
    ['a carriage return inside of a line', 'id,name\n1,a\rb\n', 'LOAD_SYNTAX', /line 2: a carriage return/],
    ['an end inside of a record', 'id,name\n1,a\n2', 'LOAD_RECORD_CUT', /line 3/],
    ['a field twice', 'id,id\n1,2\n', 'LOAD_HEADER_INVALID', /"id" twice/],
    ['a field without a name', 'id,,name\n1,2,3\n', 'LOAD_HEADER_INVALID', /field 2 of the header has no name/],
    ['an unknown field', 'id,nmae\n1,a\n', 'LOAD_FIELD_UNKNOWN', /"nmae"/],
    ['a missing field', 'name\na\n', 'LOAD_COLUMN_UNFED', /t\.id is NOT NULL/],
    ['no header, but data', '1,a\n2,b\n', 'LOAD_FIELD_UNKNOWN', /"1"/],
    ['UTF-16 with a mark', Buffer.from('\uFEFFid,name\n1,a\n', 'utf16le'), 'LOAD_ENCODING', /UTF-16LE/],
    ['UTF-16 without a mark', Buffer.from('id,name\n1,a\n', 'utf16le'), 'LOAD_ENCODING', /UTF-16LE/],
    ['UTF-16 big endian', Buffer.from('id,name\n1,a\n', 'utf16le').swap16(), 'LOAD_ENCODING', /UTF-16BE/],
    ['gzip data', Buffer.from([0x1f, 0x8b, 0x08, 0, 0]), 'LOAD_FORMAT_MISMATCH', /gzip/],
    [
      'Latin-1',
      Buffer.from('id,name\n1,a\n2,caf\xe9\n', 'latin1'),
      'LOAD_ENCODING',
      /line 3, byte 17: not UTF-8 \(0xe9\)/,
    ],
    [
      'Latin-1 far from the start',
      Buffer.concat([Buffer.from(`id,name\n${'1,é\n'.repeat(500)}`), Buffer.from('2,caf\xe9\n', 'latin1')]),
      'LOAD_ENCODING',
      /line 502, byte 2513: not UTF-8/,
    ],
    [
      'an unfinished character at the end',
      Buffer.from('id,name\n1,caf\xc3', 'latin1'),
      'LOAD_ENCODING',
      /line 2, byte 13/,
    ],
    ['a surrogate in UTF-8', Buffer.from('id,name\n1,\xed\xa0\x80\n', 'latin1'), 'LOAD_ENCODING', /line 2, byte 10/],
  ])('%s', async (_name, source, code, message) => {
    const error = await failure(source);
    expect(error).toMatchObject({ code, message: expect.stringMatching(message) });
  });

  test.each([
    [{ delimiter: ',,' }, /not one ASCII/],
    [{ delimiter: '"' }, /one character as delimiter and quote/],
    [{ delimiter: '\n' }, /not one ASCII/],
    [{ delimiter: '\\' }, /backslash/],
    [{ quote: '' }, /not one ASCII/],
    [{ header: [] }, /empty header/],
  ] as const)('the dialect %j', async (dialect, message) => {
    expect(await failure('id,name\n', { dialect })).toMatchObject({
      code: 'LOAD_DIALECT_INVALID',
      message: expect.stringMatching(message),
    });
  });

  test('the nearest column is named for an unknown field', async () => {
    expect(await failure('id,nmae\n1,a\n')).toMatchObject({ hint: expect.stringContaining('did you mean name?') });
  });
});

describe('a header that came out as one field', () => {
  test.each([
    ['id;name\n1;a\n', 'csv', {}, 'set csv.delimiter to ";"'],
    ['id|name\n1|a\n', 'csv', { ignoreUnknown: true }, 'set csv.delimiter to "|"'],
    ['id\tname\n1\ta\n', 'csv', { columns: { name: {} } }, 'set format: tsv, or csv.delimiter to "\\t"'],
    ['id,name\n1,a\n', 'tsv', {}, 'set format: csv'],
    ['id;name\n1;a\n', 'tsv', {}, 'set format: csv, or csv.delimiter to ";"'],
  ] as const)('%j as %s: the remedy is the delimiter', async (source, format, mapping, hint) => {
    expect(await failure(source, { format, mapping })).toMatchObject({
      message: expect.stringContaining('its header is one field, "id'),
      hint,
    });
  });

  test('may hold other delimiters where a column takes it', async () => {
    expect((await encode('a;b\nx\n', { columns: [column('a;b', 'varchar(9)')] })).rows).toEqual([['x']]);
    expect(await failure('idd\n1\n')).toMatchObject({ hint: expect.stringContaining('did you mean id?') });
  });
});

describe('one value at a time', () => {
  test('a NUL byte rejects its row', async () => {
    const result = await encode('id,name\n1,a\0b\n2,b\n', { columns });
    expect(result.rows).toEqual([['2', 'b']]);
    expect(result.rejects[0]?.reason).toMatch(/NUL byte/);
  });

  test('a quote inside of an unquoted field rejects its row', async () => {
    const result = await encode('id,name\n1,5" pipe\n2,b\n', { columns });
    expect(result.rows).toEqual([['2', 'b']]);
    expect(result.rejects[0]?.reason).toMatch(/quote inside an unquoted field/);
  });

  test('names like __proto__ are names', async () => {
    const result = await encode('__proto__,constructor\n1,a\n', {
      columns: [column('__proto__', 'int'), column('constructor', 'varchar(9)')],
    });
    expect(result.rows).toEqual([['1', 'a']]);
    expect(Object.hasOwn(Object.prototype, 'polluted')).toBe(false);
  });
});

describe('what there is of a source', () => {
  test('a source without bytes has no plan', async () => {
    expect(await encode('', { columns })).toMatchObject({ plan: null, rows: [], records: 0 });
    expect(await encode('\uFEFF', { columns })).toMatchObject({ plan: null, rows: [], records: 0 });
  });

  test('a header alone has a plan and no records', async () => {
    const result = await encode('id,name\n', { columns });
    expect(result.plan?.fields).toEqual(['id', 'name']);
    expect(result.records).toBe(0);
  });

  test('the header may be given by the dialect', async () => {
    expect((await encode('1,a\n', { columns, dialect: { header: ['id', 'name'] } })).rows).toEqual([['1', 'a']]);
  });

  test('a record beyond the limit is refused without being kept', async () => {
    let served = 0;
    async function* endless() {
      yield Buffer.from('id,name\n1,"');
      for (; served < 1000; served++) yield Buffer.alloc(1 << 16, 'x');
    }
    const opened = await openRows(
      { name: 'big', bytes: endless() },
      { format: 'csv', table: 't', columns, server: 'mysql', recordBytesMax: 1 << 20, onReject: () => undefined },
    );
    await expect(async () => {
      for await (const _chunk of opened.chunks);
    }).rejects.toMatchObject({ code: 'LOAD_RECORD_TOO_LARGE', message: expect.stringContaining('line 2') });
    expect(served).toBeLessThan(40);
  });

  test('a header beyond the limit is refused as well', async () => {
    const source = pieces(Buffer.alloc(3 << 20, 'x'), 1 << 16);
    const opening = openRows(
      { name: 'big', bytes: source },
      { format: 'csv', table: 't', columns, server: 'mysql', recordBytesMax: 1 << 20, onReject: () => undefined },
    );
    await expect(opening).rejects.toMatchObject({ code: 'LOAD_RECORD_TOO_LARGE' });
  });

  test('an error of the input comes through, and closes it', async () => {
    let closed = false;
    async function* broken() {
      try {
        yield Buffer.from('id,name\n1,a\n');
        throw new Error('the disk is gone');
      } finally {
        closed = true;
      }
    }
    await expect(encodeAll(broken())).rejects.toThrow('the disk is gone');
    expect(closed).toBe(true);
  });

  test('an early end of the consumer closes the input', async () => {
    let closed = false;
    async function* endless() {
      try {
        yield Buffer.from('id,name\n');
        for (;;) yield Buffer.from('1,a\n'.repeat(1000));
      } finally {
        closed = true;
      }
    }
    const opened = await openRows(
      { name: 'x', bytes: endless() },
      { format: 'csv', table: 't', columns, server: 'mysql', chunkBytes: 1000, onReject: () => undefined },
    );
    for await (const _chunk of opened.chunks) break;
    expect(closed).toBe(true);
  });

  test('rows that are not wanted after all close the input', async () => {
    let closed = false;
    async function* endless() {
      try {
        yield Buffer.from('id,name\n');
        for (;;) yield Buffer.from('1,a\n'.repeat(1000));
      } finally {
        closed = true;
      }
    }
    const settings = { format: 'csv', table: 't', columns, server: 'mysql', onReject: () => undefined } as const;
    const opened = await openRows({ name: 'x', bytes: endless() }, settings);
    await opened.close();
    expect(closed).toBe(true);
  });

  test('an abort ends the reading', async () => {
    const controller = new AbortController();
    async function* endless() {
      yield Buffer.from('id,name\n');
      for (;;) yield Buffer.from('1,a\n'.repeat(1000));
    }
    const opened = await openRows(
      { name: 'x', bytes: endless() },
      {
        format: 'csv',
        table: 't',
        columns,
        server: 'mysql',
        chunkBytes: 1000,
        onReject: () => undefined,
        signal: controller.signal,
      },
    );
    await expect(async () => {
      for await (const _chunk of opened.chunks) controller.abort(new Error('stop'));
    }).rejects.toThrow('stop');
  });

  test('what onReject throws ends the reading', async () => {
    await expect(
      encode('id,name\nx,a\n', {
        columns,
        onReject: () => {
          throw new Error('too many');
        },
      }),
    ).rejects.toThrow('too many');
  });
});

async function encodeAll(bytes: AsyncIterable<Buffer>): Promise<void> {
  const opened = await openRows(
    { name: 'x', bytes },
    { format: 'csv', table: 't', columns, server: 'mysql', onReject: () => undefined },
  );
  for await (const chunk of opened.chunks) chunk.release();
}

describe('chunks', () => {
  test('end at rows, hold their lines, and may be given back', async () => {
    const source = `id,name\n${Array.from({ length: 1000 }, (_, i) => `${i},name ${i}`).join('\n')}\n`;
    const opened = await openRows(
      { name: 'x', bytes: pieces(Buffer.from(source), 100) },
      { format: 'csv', table: 't', columns, server: 'mysql', chunkBytes: 500, onReject: () => undefined },
    );
    let text = '';
    let rows = 0;
    for await (const chunk of opened.chunks) {
      expect(chunk.bytes.at(-1)).toBe(10);
      expect(chunk.lines.length).toBe(chunk.rows);
      expect(chunk.lines[0]).toBe(rows + 2);
      expect(chunk.bytes.length).toBeLessThan(700);
      text += chunk.bytes.toString();
      rows += chunk.rows;
      chunk.release();
      chunk.release();
    }
    expect(rows).toBe(1000);
    expect(text).toBe(source.slice('id,name\n'.length));
  });
});

describe('TSV', () => {
  const both = { columns, format: 'tsv' } as const;

  test('has backslash escapes and \\N', async () => {
    const result = await encode('id\tname\n1\ta\\tb\\nc\\\\d\n2\t\\N\n3\t\n4\t"x"\n5\t\\\\N\n', both);
    expect(result.rows).toEqual([
      ['1', 'a\tb\nc\\d'],
      ['2', null],
      ['3', ''],
      ['4', '"x"'],
      ['5', '\\N'],
    ]);
  });

  test('takes the server’s own export, with tabs and line ends behind a backslash', async () => {
    const result = await encode('id\tname\n1\ta\\\tb\\\nc\\0\n2\tx\n', both);
    expect(result.rows).toEqual([
      ['1', 'a\tb\nc\0'],
      ['2', 'x'],
    ]);
    expect(result.lines).toEqual([2, 4]);
  });

  test('rejects escapes that it does not know', async () => {
    expect((await encode('id\tname\n1\ta\\qb\n', both)).rejects[0]?.reason).toMatch(/unknown escape \\q/);
  });

  test('takes an empty field as NULL only where the null text is empty', async () => {
    expect((await encode('id\tname\n1\t\n', { ...both, dialect: { nullText: '' } })).rows).toEqual([['1', null]]);
    expect((await encode('name\tid\n\t\n', both)).rejects[0]?.reason).toMatch(/is empty, which is no int/);
  });

  test('has no quotes and no other delimiter', async () => {
    expect(await failure('id\tname\n', { ...both, dialect: { quote: '"' } })).toMatchObject({
      code: 'LOAD_DIALECT_INVALID',
    });
    expect(await failure('id\tname\n', { ...both, dialect: { delimiter: ',' } })).toMatchObject({
      code: 'LOAD_DIALECT_INVALID',
    });
  });

  test('ends with a backslash only when it is cut', async () => {
    expect(await failure('id\tname\n1\ta\\', both)).toMatchObject({ code: 'LOAD_SYNTAX' });
  });
});
