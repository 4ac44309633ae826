import type { Flavour } from '../../test/servers.ts';

/** A column type, values that must survive the trip, and values that must be refused. */
export interface TypeCase {
  readonly type: string;
  /** Source text, or the text and the SQL of the very same value where that is no quoted text. */
  readonly values: readonly (string | readonly [string, string])[];
  readonly refused: readonly string[];
  /** How a stored value is compared with the one that the SQL stored. */
  readonly compare: 'text' | 'bytes' | 'number';
}

const text = (type: string, values: TypeCase['values'], refused: readonly string[] = []): TypeCase => ({
  type,
  values,
  refused,
  compare: 'text',
});
const bytes = (type: string, values: TypeCase['values'], refused: readonly string[] = []): TypeCase => ({
  type,
  values,
  refused,
  compare: 'bytes',
});
const number = (type: string, values: TypeCase['values'], refused: readonly string[] = []): TypeCase => ({
  type,
  values,
  refused,
  compare: 'number',
});

const integer = (type: string, bits: number): readonly TypeCase[] => {
  const [low, high, top] = [-(2n ** BigInt(bits - 1)), 2n ** BigInt(bits - 1) - 1n, 2n ** BigInt(bits) - 1n];
  return [
    text(type, [`${low}`, `${high}`, '0', '-1'], [`${low - 1n}`, `${high + 1n}`, '1.5', '1e1', 'x', '', ' ', '0x10']),
    text(`${type} UNSIGNED`, [`${top}`, '0'], [`${top + 1n}`, '-1']),
  ];
};

const awkward = [
  '',
  ' ',
  'a',
  "it's",
  '"q"',
  '\\',
  '\\N',
  'NULL',
  '\t',
  '\n',
  '\r',
  '\0',
  '\u001a',
  ',',
  ';',
  '|',
  'é',
  'NaN',
];
const wide = [...awkward, '😀', 'u\u0308', '\u200b', '中文'];

const binary = (hex: string): readonly [string, string] => [`0x${hex}`, `x'${hex}'`];
const shape = (wkt: string, srid = ''): readonly [string, string] => [wkt, `ST_GeomFromText('${wkt}'${srid})`];

const shapes: readonly (readonly [string, string])[] = [
  ['POINT', 'POINT(-1.5 1e-300)'],
  ['LINESTRING', 'LINESTRING(0 0,1 1,2 2)'],
  ['POLYGON', 'POLYGON((0 0,10 0,10 10,0 10,0 0),(1 1,2 1,2 2,1 1))'],
  ['MULTIPOINT', 'MULTIPOINT(1 1,2 2)'],
  ['MULTILINESTRING', 'MULTILINESTRING((0 0,1 1),(2 2,3 3))'],
  ['MULTIPOLYGON', 'MULTIPOLYGON(((0 0,1 0,1 1,0 0)))'],
  ['GEOMETRYCOLLECTION', 'GEOMETRYCOLLECTION(POINT(1 2),LINESTRING(0 0,1 1))'],
];

const both: readonly TypeCase[] = [
  ...integer('TINYINT', 8),
  ...integer('SMALLINT', 16),
  ...integer('MEDIUMINT', 24),
  ...integer('INT', 32),
  ...integer('BIGINT', 64),
  text('BOOLEAN', ['0', '1'], ['yes']),
  text('INT(6) UNSIGNED ZEROFILL', ['7', '000007', '1234567'], ['-7']),
  text(
    'DECIMAL(65,30)',
    [`${'9'.repeat(35)}.${'9'.repeat(30)}`, `-${'9'.repeat(35)}`, `0.${'0'.repeat(29)}1`, '-0.5'],
    [`1${'0'.repeat(35)}`, `0.${'0'.repeat(30)}1`, 'NaN'],
  ),
  text('DECIMAL(10,0)', ['9999999999', '-9999999999'], ['10000000000', '0.5']),
  number(
    'FLOAT',
    ['16777216', '16777218', '3.4028234663852886e38', '-1.17549435e-38', '0.1', '-0', '1e-45'],
    ['1e39', '1e400', 'NaN', 'Infinity', '1e-60'],
  ),
  number(
    'DOUBLE',
    ['9007199254740993', '0.1', '1.7976931348623157e308', '5e-324', '-0', '2.2250738585072014e-308'],
    ['1e309', 'nan', '1e-400'],
  ),
  bytes(
    'BIT(1)',
    [
      ['1', "b'1'"],
      ['0', "b'0'"],
    ],
    ['2'],
  ),
  bytes(
    'BIT(64)',
    [
      ['18446744073709551615', '18446744073709551615'],
      ['9223372036854775808', '9223372036854775808'],
      ['0', '0'],
    ],
    ['18446744073709551616', '-1'],
  ),
  bytes('CHAR(5)', ['', 'abc', ' ab', 'äöü', '😀😀😀😀😀'], ['abcdef', 'ab ']),
  bytes('VARCHAR(20)', wide, ['x'.repeat(21)]),
  bytes('VARCHAR(20) CHARACTER SET latin1', awkward, ['😀', '中']),
  bytes('VARCHAR(20) CHARACTER SET utf8mb3', [...awkward, '中文'], ['😀']),
  bytes('VARCHAR(20) CHARACTER SET ascii', ['a', '~'], ['é']),
  bytes('VARCHAR(20) CHARACTER SET utf16', wide),
  bytes('TINYTEXT', ['x'.repeat(255), 'é'.repeat(127)], ['x'.repeat(256), 'é'.repeat(128)]),
  bytes('TEXT', [...wide, 'x'.repeat(65_535)], ['x'.repeat(65_536)]),
  bytes('MEDIUMTEXT', ['x'.repeat(70_000), '😀'.repeat(20_000)]),
  bytes('LONGTEXT', wide),
  bytes('BINARY(4)', [binary('00000000'), binary('deadbeef'), binary('5c276e00')], ['0x0102030405', '0xabc', 'zz']),
  bytes(
    'VARBINARY(20)',
    [['0x', "''"], binary('00'), binary('0a0d1a5c27222c09'), binary('ff'.repeat(20)), binary('2020')],
    [`0x${'00'.repeat(21)}`],
  ),
  bytes('TINYBLOB', [binary('00'.repeat(255))], [`0x${'00'.repeat(256)}`]),
  bytes('BLOB', [binary('00ff'.repeat(1000))]),
  bytes('MEDIUMBLOB', [binary('5c'.repeat(70_000))]),
  bytes('LONGBLOB', [binary('0a'.repeat(10))]),
  text("ENUM('a','2','it''s','x,y','é')", ['a', '2', "it's", 'x,y', 'é'], ['', '1', 'b', 'x']),
  text(String.raw`ENUM('a\\b','c\nd','\\n','it''s\\')`, ['a\\b', 'c\nd', '\\n', "it's\\"], ['ab', 'n', 'a\\\\b']),
  text(String.raw`SET('a\\b','c\r\n')`, ['', 'a\\b', 'a\\b,c\r\n'], ['c']),
  text("SET('a','b','c d')", ['', 'a', 'c d,a', 'b,a'], ['d', 'a,']),
  text(
    'DATE',
    ['2024-02-29', '0001-01-01', '9999-12-31'],
    ['2025-02-29', '0000-00-00', '2024-00-10', '10000-01-01', '24-01-01', '2024-1-1x'],
  ),
  text(
    'DATETIME',
    ['2024-02-29 23:59:59', '1000-01-01 00:00:00'],
    ['2024-01-01 24:00:00', '2024-01-01 00:00:00.5', '2024-01-01 00:00:60'],
  ),
  text('DATETIME(6)', ['2024-02-29 23:59:59.999999', '9999-12-31 23:59:59.999999'], ['2024-01-01 00:00:00.1234567']),
  text(
    'TIMESTAMP',
    ['1970-01-01 00:00:01', '2038-01-19 03:14:07', ['2024-06-01T12:00:00+02:00', "'2024-06-01 10:00:00'"]],
    ['1970-01-01 00:00:00', '1969-12-31 23:59:59', '0000-00-00 00:00:00'],
  ),
  text('TIMESTAMP(6)', ['1970-01-01 00:00:01.000000', '2038-01-19 03:14:06.999999']),
  text('TIME', ['838:59:59', '-838:59:59', '00:00:00', '-00:00:01'], ['839:00:00', '12:60:00', '1:2:3.5']),
  text('TIME(6)', ['-00:00:00.000001', '837:59:59.999999'], ['838:59:59.000001']),
  text('YEAR', ['1901', '2155'], ['0000', '1900', '2156', '99', '1']),
  ...shapes.map(([type, wkt]) => bytes(type, [shape(wkt)], ['x'])),
  bytes(
    'GEOMETRY',
    shapes.map(([, wkt]) => shape(wkt)),
    ['POINT(1)', 'POLYGON((0 0,1 1))'],
  ),
];

const own: Readonly<Record<Flavour, readonly TypeCase[]>> = {
  mysql: [
    text(
      'JSON',
      ['1', '1.0', '"a"', 'null', '{"b": [1, 2.50], "a": "\\u00e9\\n"}', '[]', '18446744073709551615', '1e5'],
      ['{', '', "{'a': 1}", '01'],
    ),
    text('TIMESTAMP NULL', ['2038-01-19 03:14:07'], ['2038-01-19 03:14:08']),
    bytes('VECTOR(3)', [['[1, -2.5, 1e-3]', "STRING_TO_VECTOR('[1,-2.5,0.001]')"]], ['[1,2,3,4]', '[NaN]', '[]']),
    bytes('POINT SRID 4326', [shape('POINT(1 2)', ', 4326')], ['POINT(200 0)', 'LINESTRING(0 0,1 1)']),
  ],
  mariadb: [
    text(
      'JSON',
      ['1', '1.0', '"a"', 'null', '{"b": [1, 2.50], "a": "\\u00e9\\n"}', '[]', '123456789012345678901234567890'],
      ['{', '', "{'a': 1}"],
    ),
    text('TIMESTAMP NULL', ['2106-02-07 06:28:15'], ['2106-02-07 06:28:16']),
    bytes('VECTOR(3)', [['[1, -2.5, 1e-3]', "VEC_FromText('[1,-2.5,0.001]')"]], ['[1,2,3,4]', '[]']),
    text(
      'UUID',
      [
        '123e4567-e89b-12d3-a456-426614174000',
        '00000000-0000-0000-0000-000000000000',
        'ffffffff-ffff-ffff-ffff-ffffffffffff',
      ],
      ['123e4567', 'x'],
    ),
    text('INET4', ['0.0.0.0', '255.255.255.255'], ['256.0.0.1', '1.2.3', '::1']),
    text(
      'INET6',
      ['::', '::1', '2001:db8::1:0:0:1', '::ffff:1.2.3.4', 'ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff'],
      ['1::2::3', 'g::'],
    ),
  ],
};

/** Every type that the server has, with edge values. */
export function typeCases(flavour: Flavour): readonly TypeCase[] {
  return [...both, ...own[flavour]];
}
