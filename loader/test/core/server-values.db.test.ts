import { Readable } from 'node:stream';
import type { ColumnDefinition } from '@tableset/common/database/table-definition.ts';
import { expect, test } from 'vitest';
import { describeEachServer, type TestSchema } from '../../../test/servers.ts';
import { openRows } from '../../src/core/encode-rows.ts';
import type { EncodedChunk, ServerFlavour } from '../../src/core/encoded-rows.ts';
import { decodeLoadText } from '../../src/core/encoding/decode-load-text.ts';
import { insertValues } from '../../src/core/encoding/insert-values.ts';
import { canonicalExpression, loadsPlain, serverExpression } from '../../src/core/encoding/server-expression.ts';
import { column, pieces } from './encode-text.ts';

/** Values that the core accepts, by column type; each must be stored as it was written. */
const both: readonly (readonly [string, readonly string[]])[] = [
  ['tinyint', ['127', '-128', '0', '+1', '-0', '007']],
  ['int(5) unsigned zerofill', ['7', '00007', '1234567']],
  ['bigint', ['9223372036854775807', '-9223372036854775808']],
  ['bigint unsigned', ['18446744073709551615']],
  ['decimal(10,2)', ['12.5', '-0.00', '.5', '-.5', '99999999.99']],
  ['decimal(8,2) unsigned zerofill', ['7.5']],
  ['decimal(65,30)', [`${'9'.repeat(35)}.${'9'.repeat(30)}`]],
  ['bit(1)', ['0', '1']],
  ['bit(64)', ['18446744073709551615', '9223372036854775808', "b'101'"]],
  ['date', ['2024-02-29', '0001-01-01', '9999-12-31']],
  ['datetime', ['2025-02-28T23:59:59', '0001-01-01 00:00:00']],
  ['datetime(3)', ['2025-02-28 23:59:59.1', '9999-12-31 23:59:59.999']],
  ['datetime(6)', ['2025-02-28 23:59:59.123456']],
  ['timestamp', ['1970-01-01 00:00:01', '2038-01-19 03:14:07', '2025-06-01T12:00:00+02:00']],
  ['timestamp(6)', ['2025-06-01 12:00:00.000001']],
  ['time', ['838:59:59', '-838:59:59', '5:00:00', '-00:00:00']],
  ['time(3)', ['-00:00:01.5']],
  ['year', ['1901', '2155']],
  [
    'varchar(20)',
    ['', 'a', ' a ', 'a\tb\nc\rd\0e\u001af', '\\', '\\N', '\\\\n', "it's", '"q"', 'é😀', 'NULL', 'a,b;c|d', '%_\\%\\_'],
  ],
  ['char(5)', ['', 'abc', ' b']],
  ['text', ['x'.repeat(65_535)]],
  ["enum('a','2','it''s','x,y')", ['a', '2', "it's", 'x,y']],
  ["set('a','b','c')", ['c,a', '', 'b']],
  ['binary(2)', ['0x0100', '0xFF00']],
  ['varbinary(9)', ['0x', '0x00FF5C27', '0x0a']],
  ['blob', ['0xDEADBEEF']],
  ['vector(3)', ['[1, 2.5,-3e0]']],
  [
    'geometry',
    [
      'POINT(1 2)',
      'MULTIPOINT((1 1),(2 2))',
      'GEOMETRYCOLLECTION EMPTY',
      'POLYGON((0 0,10 0,10 10,0 10,0 0),(1 1,2 1,2 2,1 1))',
      'MULTIPOLYGON(((0 0,1 0,1 1,0 0)))',
      'MULTILINESTRING((0 0,1 1),(2 2,3 3))',
    ],
  ],
  ['point', ['POINT(1 2)', '0101000000000000000000F03F0000000000000040']],
];

const mariadb: typeof both = [
  ['uuid', ['123E4567-E89B-12D3-A456-426614174000', '123e4567e89b12d3a456426614174000']],
  ['inet4', ['1.2.3.4', '0.0.0.0', '255.255.255.255']],
  [
    'inet6',
    [
      '::',
      '::1',
      '1::',
      '2001:db8:0:1:1:1:1:1',
      '0:0:1:0:0:0:0:1',
      '1:0:0:2:0:0:3:4',
      '::102:304',
      '::1:5',
      '::5',
      '::ffff:0:0',
      '::ffff:0:1.2.3.4',
      '::0.0.1.2',
      '1.2.3.4',
      '64:ff9b::1.2.3.4',
      'ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff',
      '0:1:0:1:0:1:0:1',
      'a:b:c:d:e:f:0:0',
      '0:0:a:b:c:d:e:f',
    ],
  ],
  ['json', ['{"a": [1, 2.50]}', '123456789012345678901234567890', '['.repeat(31) + ']'.repeat(31)]],
];

async function chunkOf(
  definition: ColumnDefinition,
  values: readonly string[],
  server: ServerFlavour,
): Promise<EncodedChunk> {
  const source = [...values.map((value) => JSON.stringify({ c: value })), '{"c":null}', ''].join('\n');
  const rejects: unknown[] = [];
  const mapping = definition.json ? ({ columns: { c: { type: 'json' } } } as const) : {};
  const opened = await openRows(
    { name: 'x', bytes: pieces(Buffer.from(source), 1 << 16) },
    { format: 'jsonl', table: 't', columns: [definition], mapping, server, onReject: (reject) => rejects.push(reject) },
  );
  for await (const chunk of opened.chunks) {
    expect(rejects).toEqual([]);
    return chunk;
  }
  throw new Error('no chunk');
}

async function loadAndInsert(
  schema: TestSchema,
  definition: ColumnDefinition,
  chunk: EncodedChunk,
  server: ServerFlavour,
): Promise<void> {
  const type = definition.columnType;
  await schema.script(
    `DROP TABLE IF EXISTS l, i; CREATE TABLE l (id INT AUTO_INCREMENT PRIMARY KEY, c ${type} NULL) CHARACTER SET utf8mb4; CREATE TABLE i LIKE l`,
  );
  const connection = await schema.connect();
  try {
    await connection.query("SET time_zone = '+00:00'");
    const target = loadsPlain(definition) ? '(c)' : `(@c) SET c = ${serverExpression(definition, server, '@c')}`;
    await connection.query({
      sql: `LOAD DATA LOCAL INFILE 'x' INTO TABLE l CHARACTER SET utf8mb4 FIELDS TERMINATED BY '\\t' ESCAPED BY '\\\\' LINES TERMINATED BY '\\n' ${target}`,
      infileStreamFactory: () => Readable.from([chunk.bytes]),
    });
    const [warnings] = await connection.query('SHOW WARNINGS');
    expect(warnings).toEqual([]);
    for (const batch of insertValues(chunk, server, { bytesMax: 1 << 20, rowsMax: 3 })) {
      await connection.query(`INSERT INTO i (c) VALUES ${batch.values.toString()}`);
    }
  } finally {
    await connection.end();
  }
}

describeEachServer('values', (server) => {
  const cases = server.flavour === 'mariadb' ? [...both, ...mariadb] : both;
  test.for(cases)('of %s are stored as they were written', async ([type, values]) => {
    const schema = await server.createSchema();
    const definition = column('c', type);
    const chunk = await chunkOf(definition, values, server.flavour);
    await loadAndInsert(schema, definition, chunk, server.flavour);
    const expected = [...decodeLoadText(chunk)].map((row) => row.fields[0]?.toString() ?? null);
    const printed = canonicalExpression(definition, server.flavour, 'c');
    for (const table of ['l', 'i']) {
      const rows = await schema.query(`SELECT ${printed} AS printed FROM ${table} ORDER BY id`);
      expect(rows.map((row) => (row['printed'] === null ? null : String(row['printed'])))).toEqual(expected);
    }
    await schema.drop();
  });

  test('of JSON and floats are stored exactly', async () => {
    const schema = await server.createSchema();
    const numbers = ['0.1', '-1.5e-300', '1e308', '123456789012345678', '5e-324'];
    const double = column('c', 'double');
    await loadAndInsert(schema, double, await chunkOf(double, numbers, server.flavour), server.flavour);
    for (const table of ['l', 'i']) {
      const rows = await schema.query(`SELECT c FROM ${table} WHERE c IS NOT NULL ORDER BY id`);
      expect(rows.map((row) => Number(row['c']))).toEqual(numbers.map(Number));
    }
    const json = column('c', 'json');
    const texts = ['{"b": 1, "a": "é😀\\n"}', '18446744073709551615', '"x"', `${'['.repeat(31)}${']'.repeat(31)}`];
    await loadAndInsert(schema, json, await chunkOf(json, texts, server.flavour), server.flavour);
    for (const table of ['l', 'i']) {
      const rows = await schema.query(`SELECT CAST(c AS CHAR) AS c FROM ${table} WHERE c IS NOT NULL ORDER BY id`);
      expect(rows.map((row) => String(row['c']).replaceAll(' ', '')).length).toBe(texts.length);
      expect(rows.map((row) => JSON.parse(String(row['c'])))).toEqual(texts.map((text) => JSON.parse(text)));
    }
    await schema.drop();
  });

  test('in one column with an empty text are one line each', async () => {
    const schema = await server.createSchema();
    const definition = column('c', 'varchar(9)');
    await loadAndInsert(schema, definition, await chunkOf(definition, ['', 'a', ''], server.flavour), server.flavour);
    expect(await schema.query('SELECT c FROM l ORDER BY id')).toEqual([{ c: '' }, { c: 'a' }, { c: '' }, { c: null }]);
    await schema.drop();
  });

  test.for([44, 59, 124, 9])('separated by the byte %d are told apart', async (separator) => {
    const schema = await server.createSchema();
    const delimiter = String.fromCharCode(separator);
    const columns = [column('a', 'varchar(30)'), column('b', 'varchar(30)'), column('n', 'int')];
    const source = `a${delimiter}b${delimiter}n\n"x${delimiter}y\\"${delimiter}"${delimiter}"${delimiter}1\n"\n"${delimiter}${delimiter}2\n`;
    const opened = await openRows(
      { name: 'x', bytes: pieces(Buffer.from(source), 7) },
      {
        format: 'csv',
        dialect: { delimiter },
        table: 't',
        columns,
        server: server.flavour,
        onReject: (reject) => expect(reject).toBeNull(),
      },
    );
    await schema.script('CREATE TABLE l (a VARCHAR(30), b VARCHAR(30), n INT)');
    const connection = await schema.connect();
    for await (const chunk of opened.chunks) {
      expect(chunk.plan.separator).toBe(separator);
      await connection.query({
        sql: `LOAD DATA LOCAL INFILE 'x' INTO TABLE l CHARACTER SET utf8mb4 FIELDS TERMINATED BY 0x${separator.toString(16).padStart(2, '0')} ESCAPED BY '\\\\' LINES TERMINATED BY '\\n'`,
        infileStreamFactory: () => Readable.from([chunk.bytes]),
      });
    }
    await connection.end();
    expect(await schema.query('SELECT * FROM l ORDER BY n')).toEqual([
      { a: `x${delimiter}y\\`, b: delimiter, n: 1 },
      { a: '\n', b: null, n: 2 },
    ]);
    await schema.drop();
  });
});
