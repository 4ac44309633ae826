import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { openRows } from '../../src/core/encode-rows.ts';
import type { EncodedChunk } from '../../src/core/encoded-rows.ts';
import { decodeLoadText, rowStart } from '../../src/core/encoding/decode-load-text.ts';
import { insertLiteral, insertValues } from '../../src/core/encoding/insert-values.ts';
import { canonicalExpression, loadsPlain, serverExpression } from '../../src/core/encoding/server-expression.ts';
import { column, cutAt, pieces } from './encode-text.ts';

async function chunkOf(
  source: string,
  columns = [column('id', 'int'), column('name', 'varchar(99)')],
): Promise<EncodedChunk> {
  const opened = await openRows(
    { name: 'x', bytes: pieces(Buffer.from(source), 1000) },
    { format: 'csv', table: 't', columns, server: 'mysql', onReject: () => undefined },
  );
  for await (const chunk of opened.chunks) return chunk;
  throw new Error('no chunk');
}

const limits = { bytesMax: 1 << 20, rowsMax: 1000 };

describe('load text', () => {
  test('can be read from any row on', async () => {
    const chunk = await chunkOf('id,name\n1,a\n2,"b\nc"\n3,\n');
    expect(rowStart(chunk.bytes, 2)).toBe('1,a\n2,b\\nc\n'.length);
    expect([...decodeLoadText(chunk, 1)].map((row) => ({ ...row, fields: row.fields.map(String) }))).toEqual([
      { index: 1, line: 3, fields: ['2', 'b\nc'] },
      { index: 2, line: 5, fields: ['3', 'null'] },
    ]);
  });
});

describe('values of an INSERT', () => {
  test('quote texts, escape apostrophes and backslashes, and write NULL', async () => {
    const chunk = await chunkOf(`id,name\n1,it's\n2,"a\\b'',\nc"\n3,\n4,""\n5,"\\'); DROP TABLE t; -- "\n`);
    const [batch] = insertValues(chunk, 'mysql', limits);
    expect(batch?.values.toString()).toBe(
      `('1','it\\'s'),('2','a\\\\b\\'\\'\\,\\nc'),('3',NULL),('4',''),('5','\\\\\\'); DROP TABLE t; -- ')`,
    );
    expect(batch).toMatchObject({ firstRow: 0, rows: 5 });
  });

  test('wrap columns that need an expression', async () => {
    const columns = [column('b', 'varbinary(9)'), column('f', 'bit(3)'), column('g', 'point', { srid: 4326 })];
    const chunk = await chunkOf('b,f,g\n0x00ff,5,POINT(1 2)\n,,\n', columns);
    const [batch] = insertValues(chunk, 'mysql', limits);
    expect(batch?.values.toString()).toBe(
      "(UNHEX('00FF'),CAST('5' AS UNSIGNED),ST_GeomFromWKB(UNHEX('0101000000000000000000F03F0000000000000040'), 4326)),(NULL,NULL,NULL)",
    );
  });

  test('come in batches of bounded rows and bytes that together are all rows', async () => {
    const names = Array.from({ length: 100 }, (_, i) => `name '${'x'.repeat(i % 40)}`);
    const chunk = await chunkOf(`id,name\n${names.map((name, i) => `${i},${name}`).join('\n')}\n`);
    const whole = [...insertValues(chunk, 'mysql', limits)].map((batch) => batch.values.toString()).join();
    for (const bytesMax of [1, 20, 50, 200, 3000]) {
      for (const rowsMax of [1, 3, 1000]) {
        let next = 0;
        const texts: string[] = [];
        for (const batch of insertValues(chunk, 'mysql', { bytesMax, rowsMax })) {
          expect(batch.firstRow).toBe(next);
          expect(batch.rows).toBeLessThanOrEqual(rowsMax);
          if (batch.rows > 1) expect(batch.values.length).toBeLessThanOrEqual(bytesMax);
          next += batch.rows;
          texts.push(batch.values.toString());
        }
        expect(next).toBe(100);
        expect(texts.join()).toBe(whole);
      }
    }
  });

  test('a literal of one field is safe', () => {
    expect(insertLiteral(null).toString()).toBe('NULL');
    expect(insertLiteral(Buffer.from("a'b\\c\0\n")).toString()).toBe("'a\\'b\\\\c\\0\\n'");
  });
});

describe('expressions', () => {
  test.each([
    ['varbinary(9)', 'UNHEX(@v)', 'HEX(c)'],
    ['blob', 'UNHEX(@v)', 'HEX(c)'],
    ['vector(3)', 'UNHEX(@v)', 'HEX(c)'],
    ['bit(3)', 'CAST(@v AS UNSIGNED)', 'CAST(c + 0 AS CHAR)'],
    ['geometry', 'ST_GeomFromWKB(UNHEX(@v), 0)', 'HEX(ST_AsWKB(c))'],
    ['varchar(9)', '@v', 'CAST(c AS CHAR)'],
    ['json', '@v', null],
    ['double', '@v', null],
  ])('of %s', (type, load, print) => {
    const definition = column('c', type);
    expect(serverExpression(definition, 'mysql', '@v')).toBe(load);
    expect(loadsPlain(definition)).toBe(load === '@v');
    expect(canonicalExpression(definition, 'mysql', 'c')).toBe(print);
  });
});

/** Texts with everything that a format or the load text treats specially. */
const nasty = fc
  .array(
    fc.oneof(
      fc.constantFrom(
        '"',
        '""',
        ',',
        ';',
        '\n',
        '\r\n',
        '\r',
        '\\',
        '\\N',
        '\\n',
        "'",
        '\t',
        ' ',
        'é',
        '😀',
        'NULL',
        '\u001a',
        '|',
      ),
      fc.string({ maxLength: 4 }),
    ),
    { maxLength: 6 },
  )
  .map((parts) => parts.join('').replaceAll('\0', ''));
const cell = fc.option(nasty, { nil: null });
const table = fc.array(fc.tuple(cell, cell, fc.integer()), { maxLength: 12 });

const columns = [column('a', 'varchar(200)'), column('b', 'text'), column('n', 'int')];

/** Rows before the ones of a test: the reader looks at the first 1,024 bytes at once, and only behind them do cuts of the input matter. */
const fillerRows = 12;

function withFiller(header: string, delimiter: string, lineEnd: string, records: string): string {
  return `${header}${lineEnd}${`${'x'.repeat(99)}${delimiter}y${delimiter}1${lineEnd}`.repeat(fillerRows)}${records}`;
}

async function roundTrip(
  source: string,
  cut: number | { readonly cutAt: number },
  chunkBytes: number,
  dialect: object,
  format: 'csv' | 'tsv',
) {
  const bytes = Buffer.from(source);
  const rejects: unknown[] = [];
  const opened = await openRows(
    { name: 'x', bytes: typeof cut === 'number' ? pieces(bytes, cut) : cutAt(bytes, cut.cutAt) },
    {
      format,
      dialect,
      table: 't',
      columns,
      server: 'mysql',
      chunkBytes,
      onReject: (reject) => rejects.push({ ...reject, line: reject.line - fillerRows }),
    },
  );
  const rows: unknown[] = [];
  const lines: number[] = [];
  for await (const chunk of opened.chunks) {
    for (const row of decodeLoadText(chunk)) {
      rows.push(row.fields.map((field) => field?.toString() ?? null));
      lines.push(row.line);
    }
    chunk.release();
  }
  return { rows: rows.slice(fillerRows), rejects, lines: lines.slice(fillerRows).map((line) => line - fillerRows) };
}

describe('any table', () => {
  test('written as CSV comes back the same, whatever its dialect and however it is cut', async () => {
    const dialects = fc.record({
      delimiter: fc.constantFrom(',', ';', '|', '\t', ':'),
      quote: fc.constantFrom('"', "'"),
    });
    await fc.assert(
      fc.asyncProperty(
        table,
        dialects,
        fc.boolean(),
        fc.constantFrom('\n', '\r\n'),
        fc.integer({ min: 1, max: 40 }),
        fc.integer({ min: 1, max: 100 }),
        async (rows, dialect, always, lineEnd, pieceBytes, chunkBytes) => {
          const { delimiter, quote } = dialect;
          const write = (text: string | null) => {
            if (text === null) return '';
            const needed =
              always ||
              text === '' ||
              text === '\\N' ||
              [delimiter, quote, '\n', '\r'].some((special) => text.includes(special));
            return needed ? `${quote}${text.replaceAll(quote, quote + quote)}${quote}` : text;
          };
          const records = rows
            .map((row) => row.map((value) => write(value === null ? null : String(value))).join(delimiter) + lineEnd)
            .join('');
          const source = withFiller(['a', 'b', 'n'].join(delimiter), delimiter, lineEnd, records);
          const result = await roundTrip(source, pieceBytes, chunkBytes, dialect, 'csv');
          expect(result.rejects).toEqual([]);
          expect(result.rows).toEqual(rows.map((row) => row.map((value) => (value === null ? null : String(value)))));
          expect(result.lines.length).toBe(rows.length);
        },
      ),
      { numRuns: 300 },
    );
  });

  test('written as TSV comes back the same', async () => {
    await fc.assert(
      fc.asyncProperty(table, fc.integer({ min: 1, max: 40 }), async (rows, pieceBytes) => {
        const write = (text: string | null) =>
          text === null
            ? '\\N'
            : text.replaceAll('\\', '\\\\').replaceAll('\t', '\\t').replaceAll('\n', '\\n').replaceAll('\r', '\\r');
        const records = rows
          .map((row) => `${row.map((value) => write(value === null ? null : String(value))).join('\t')}\n`)
          .join('');
        const source = withFiller('a\tb\tn', '\t', '\n', records);
        const result = await roundTrip(source, pieceBytes, 50, {}, 'tsv');
        expect(result.rejects).toEqual([]);
        expect(result.rows).toEqual(rows.map((row) => row.map((value) => (value === null ? null : String(value)))));
      }),
      { numRuns: 200 },
    );
  });

  test('gives the same rows, lines and rejects wherever the input is cut', async () => {
    const records = 'x,"y ""é""\r\n",1\r\n\r\nq\\,😀,bad\r\n"",,007\r\n1,2\r\n';
    const source = withFiller('a,b,n', ',', '\r\n', records);
    const whole = await roundTrip(source, 1 << 20, 1 << 20, {}, 'csv');
    expect(whole.rows).toEqual([
      ['x', 'y "é"\r\n', '1'],
      ['', null, '7'],
    ]);
    expect(whole.lines).toEqual([2, 6]);
    expect(whole.rejects.length).toBe(3);
    for (let index = 1024; index < Buffer.byteLength(source); index++) {
      expect(await roundTrip(source, { cutAt: index }, 10, {}, 'csv')).toEqual(whole);
    }
    for (let size = 1; size <= Buffer.byteLength(records); size++)
      expect(await roundTrip(source, size, 10, {}, 'csv')).toEqual(whole);
  });

  test('of arbitrary bytes is accepted or refused with a code, never more', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.uint8Array({ maxLength: 200 }),
        fc.constantFrom('csv', 'tsv', 'json', 'jsonl'),
        fc.integer({ min: 1, max: 20 }),
        async (bytes, format, size) => {
          const record = `{"a":"${'x'.repeat(1100)}"}`;
          const head = {
            csv: withFiller('a,b,n', ',', '\n', ''),
            tsv: withFiller('a\tb\tn', '\t', '\n', ''),
            json: `[${record}`,
            jsonl: `${record}\n`,
          }[format];
          try {
            const opened = await openRows(
              { name: 'x', bytes: pieces(Buffer.concat([Buffer.from(head), bytes]), size) },
              { format, table: 't', columns, server: 'mysql', onReject: () => undefined },
            );
            for await (const chunk of opened.chunks) [...decodeLoadText(chunk)];
          } catch (error) {
            expect(error).toMatchObject({ code: expect.stringMatching(/^LOAD_/) });
          }
        },
      ),
      { numRuns: 500 },
    );
  });
});
