import type { Flavour } from '../../test/servers.ts';
import { type TypeCase, typeCases } from './type-values.ts';

type Value = TypeCase['values'][number];

/** How many values a type is tried with at least, where it has as many. */
export const valuesMin = 25;

/** Every type that the server has, with `valuesMin` edge values or all that it has. Those that only this kind of server has come last. */
export function edgeCases(flavour: Flavour): readonly TypeCase[] {
  const all = [...typeCases(flavour), ...moreTypes].filter(({ type }) => type !== 'TIMESTAMP NULL');
  const cases = [...all.filter(({ type }) => !isOwn(type)), ...all.filter(({ type }) => isOwn(type))];
  return cases.map((each) => ({ ...each, values: distinct([...each.values, ...moreValues(each.type, flavour)]) }));
}

/** True for the types that the other kind of server has not, in no form. */
export function isOwn(type: string): boolean {
  return /^(VECTOR|POINT SRID|UUID|INET)/.test(type);
}

/** True for the types that have fewer values than `valuesMin` of all. */
export function isSmall(type: string): boolean {
  return type === 'BIT(1)' || (/^(ENUM|SET)\(/.test(type) && !moreTypes.some((each) => each.type === type));
}

/** More than one byte for its members, and a set with one bit for each of its combinations. */
const letters = Array.from({ length: 300 }, (_, index) => `member ${index}`);
const bits = ['a', 'B', 'é', '0', '-'];
const combinations = Array.from({ length: 32 }, (_, mask) => bits.filter((_bit, at) => (mask >> at) & 1).join(','));

const moreTypes: readonly TypeCase[] = [
  {
    type: `ENUM(${letters.map((member) => `'${member}'`).join(',')})`,
    values: letters.filter((_member, index) => index % 11 === 0 || (index > 253 && index < 258)),
    refused: [],
    compare: 'text',
  },
  { type: `SET(${bits.map((bit) => `'${bit}'`).join(',')})`, values: combinations, refused: [], compare: 'text' },
  { type: 'DECIMAL(38,10)', values: [], refused: [], compare: 'text' },
  { type: 'DATETIME(3)', values: [], refused: [], compare: 'text' },
  { type: 'TIME(1)', values: [], refused: [], compare: 'text' },
  { type: 'BINARY(16)', values: [], refused: [], compare: 'bytes' },
  { type: 'VARCHAR(300) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin', values: [], refused: [], compare: 'bytes' },
];

function distinct(values: readonly Value[]): readonly Value[] {
  return [...new Map(values.map((value) => [typeof value === 'string' ? value : value[0], value])).values()];
}

function moreValues(type: string, flavour: Flavour): readonly Value[] {
  const [name = '', first = '', second = ''] = /^(\w+)(?:\((\d+)(?:,(\d+))?\))?/.exec(type)?.slice(1) ?? [];
  const integer = integerBits[name];
  if (integer !== undefined) return integers(type.includes('UNSIGNED'), type.includes('(6)') ? 32 : integer);
  if (name === 'DECIMAL') return decimals(Number(first), Number(second));
  if (name === 'FLOAT' || name === 'DOUBLE') return floats(name);
  if (name === 'BIT') return first === '64' ? bitValues : [];
  if (/CHAR|TEXT/.test(name)) return texts(type, name === 'CHAR' ? Number(first) : 20);
  if (/BINARY|BLOB/.test(name)) return binaries(name === 'BINARY' ? Number(first) : null);
  if (name === 'DATE') return days;
  if (name === 'DATETIME' || name === 'TIMESTAMP') return moments(name, first === '' ? 0 : Number(first));
  if (name === 'TIME') return times(first === '' ? 0 : Number(first));
  if (name === 'YEAR') return Array.from({ length: 26 }, (_, index) => String(1902 + index * 10));
  if (name === 'JSON') return jsonTexts;
  if (name === 'VECTOR') return vectors(flavour);
  if (name === 'UUID') return Array.from({ length: 26 }, (_, index) => uuid(index));
  if (name === 'INET4') return Array.from({ length: 26 }, (_, index) => `${index * 9}.${255 - index}.0.${index}`);
  if (name === 'INET6') return Array.from({ length: 26 }, (_, index) => `2001:db8:${index.toString(16)}::${index + 1}`);
  return shapes(type);
}

const integerBits: Readonly<Record<string, number>> = {
  TINYINT: 8,
  BOOLEAN: 8,
  SMALLINT: 16,
  MEDIUMINT: 24,
  INT: 32,
  BIGINT: 64,
};

function integers(unsigned: boolean, width: number): readonly string[] {
  const low = unsigned ? 0n : -(2n ** BigInt(width - 1));
  const high = unsigned ? 2n ** BigInt(width) - 1n : 2n ** BigInt(width - 1) - 1n;
  const near = [
    0n,
    1n,
    2n,
    3n,
    4n,
    5n,
    6n,
    7n,
    8n,
    9n,
    10n,
    11n,
    13n,
    31n,
    32n,
    63n,
    64n,
    65n,
    99n,
    100n,
    126n,
    127n,
    128n,
  ];
  const powers = [2n ** 31n, 2n ** 53n, 2n ** 53n + 1n, 10n ** 18n, 32_768n, 65_535n];
  const all = [low, low + 1n, low / 2n, high, high - 1n, high / 2n, ...near, ...near.map((each) => -each), ...powers];
  return all.filter((each) => each >= low && each <= high).map(String);
}

function decimals(precision: number, scale: number): readonly string[] {
  const whole = precision - scale;
  const wholes = Array.from({ length: 9 }, (_, index) => `1${'0'.repeat(Math.min(index * 4, whole - 1))}`);
  const nines = Array.from({ length: 9 }, (_, index) => '9'.repeat(Math.min(index * 4 + 1, whole)));
  const parts = scale === 0 ? [] : [1, 2, 9, 10, scale].map((digits) => `0.${'0'.repeat(digits - 1)}7`);
  const all = ['0', ...wholes, ...nines, ...parts, ...Array.from({ length: 9 }, (_, digit) => `${digit + 1}`)];
  return [...all, ...all.filter((each) => each !== '0').map((each) => `-${each}`)];
}

function floats(name: string): readonly string[] {
  const own =
    name === 'FLOAT'
      ? [2 ** -149, 2 ** -126, 3.4028234663852886e38, 16_777_215, 1.1754942106924411e-38]
      : [Number.MIN_VALUE, Number.MAX_VALUE, Number.MAX_SAFE_INTEGER, 2.225073858507201e-308, 1e22, 1e23];
  const near = [0, 1, 1 / 3, 2 / 3, 0.3, 1e-7, 1e-30, 123_456_789, 1e15, 1e21, 5e20, Math.PI].map((each) =>
    name === 'FLOAT' ? Math.fround(each) : each,
  );
  return [...own, ...near].flatMap((each) => (each === 0 ? ['0'] : [String(each), String(-each)]));
}

const bitValues: readonly Value[] = Array.from({ length: 32 }, (_, index) => {
  const value = String(2n ** BigInt(index * 2 + 1) - (index % 3 === 0 ? 1n : 0n));
  return [value, value];
});

/** What a text of a character set may hold, none of it with a space at its end, which CHAR drops. */
function texts(type: string, length: number): readonly string[] {
  const latin = ['\u0001', '\b', '\v', '\f', '\u001b', '\u007f', '%', '_', '`', '$', '0', '-0', '1e5', 'true', 'null'];
  const plain = [
    ...latin,
    '{}',
    '[1]',
    '<a>',
    '&',
    '#',
    '--',
    '/*',
    '\r\n',
    '\n\n',
    '\\\\',
    "''",
    '\\0',
    'x\0y',
    'A',
    'z',
  ];
  const more = type.includes('ascii') ? [] : ['ß', 'ÿ', 'ñandú', 'Å', '£'];
  const wide = /latin1|ascii/.test(type) ? [] : ['\ufeff', 'İ', 'ſ', 'カナ', 'ｶﾅ', '\u2028', '\u00a0', 'ﬁ'];
  const widest = /latin1|ascii|utf8mb3/.test(type) ? [] : ['👩‍👩‍👧', '𝔘', '\u{10ffff}', '🇩🇪'];
  return [...plain, ...more, ...wide, ...widest].filter((each) => [...each].length <= length);
}

function binaries(size: number | null): readonly Value[] {
  const patterns = [
    '',
    '00',
    '20',
    '0a',
    '0d0a',
    '1a',
    '22',
    '27',
    '5c',
    '5c4e',
    '7f',
    '80',
    'c3',
    'c328',
    'eda080',
    'fe',
    'ff',
  ];
  const long = [
    'deadbeef',
    '4e554c4c',
    '00000001',
    '01000000',
    'ffffffff',
    '2c2c2c2c',
    '09090909',
    'f0908080',
    '20202020',
  ];
  const short =
    size === null ? patterns : patterns.filter((each) => each !== '').map((each) => each.padEnd(2 * size, '0'));
  const filled = long.map((each) => (size === null ? each : each.repeat(size / 4)));
  return [...short, ...filled].map((hex) => [`0x${hex}`, hex === '' ? "''" : `x'${hex}'`]);
}

const days: readonly string[] = [
  ...['0001-01-01', '0001-12-31', '0099-06-15', '0100-02-28', '1000-01-01', '1582-10-04', '1582-10-05', '1582-10-15'],
  ...['1752-09-02', '1752-09-14', '1899-12-31', '1900-02-28', '1900-03-01', '1969-12-31', '1970-01-01', '1970-01-02'],
  ...['1999-12-31', '2000-02-29', '2001-09-09', '2024-02-29', '2038-01-19', '2038-01-20', '2100-02-28', '2106-02-07'],
  ...['2262-04-11', '2262-04-12', '9999-12-31', '4000-02-29'],
];

const clock = ['00:00:00', '00:00:01', '11:59:59', '12:00:00', '23:59:59'];

function fraction(digits: number, index: number): string {
  return digits === 0 ? '' : `.${['0', '1', '9', '5'][index % 4]?.repeat(digits)}`;
}

function moments(name: string, digits: number): readonly string[] {
  // The clocks that both servers' timestamps show, without the hour that a zone may shift them by.
  const stamps = ['1970-01-02', '1971-06-30', '1999-12-31', '2000-02-29', '2016-12-31', '2037-12-31'];
  const dates = name === 'TIMESTAMP' ? stamps : days;
  return dates.flatMap((day, at) =>
    clock
      .filter((_time, place) => name === 'TIMESTAMP' || place === at % clock.length)
      .map((time, place) => `${day} ${time}${fraction(digits, at + place)}`),
  );
}

function times(digits: number): readonly string[] {
  const hours = [
    '00:00:01',
    '00:59:59',
    '01:00:00',
    '12:00:00',
    '23:59:59',
    '24:00:00',
    '99:59:59',
    '100:00:00',
    '837:00:01',
  ];
  const all = hours.map((time, index) => `${time}${fraction(digits, index)}`);
  const ends = [
    `838:59:59`,
    `00:00:00${fraction(digits, 1)}`,
    `00:00:59${fraction(digits, 2)}`,
    '511:30:30',
    '256:00:00',
  ];
  return [...all, ...ends].flatMap((time) => (/^[0:.]+$/.test(time) ? [time] : [time, `-${time}`]));
}

const jsonTexts: readonly string[] = [
  ...['0', '-1', '1.5', '-0.5', '1e-7', '9007199254740993', '-9223372036854775808', '""', '" "', '"\\\\"', '"\\""'],
  ...['"\\u0000"', '"😀"', '"\\ud83d\\ude00"', '"\\/"', 'true', 'false', '{}', '{"": 1}', '{"a": null}', '[[[]]]'],
  ...['[1, "1", 1.0]', '{"é": "é"}', '{"a": {"a": {"a": []}}}', '[null, true]', '"2024-01-01"'],
];

function vectors(flavour: Flavour): readonly Value[] {
  const call = flavour === 'mysql' ? 'STRING_TO_VECTOR' : 'VEC_FromText';
  const numbers = ['0', '1', '-1', '0.5', '0.1', '16777216', '10000000000', '-0.000001', '98765.25'];
  return numbers.flatMap((a, at) =>
    [1, 4, 7].map((step): Value => {
      const text = `[${a},${numbers[(at + step) % numbers.length]},${step}]`;
      return [text, `${call}('${text}')`];
    }),
  );
}

function uuid(index: number): string {
  const hex = (BigInt(index) * 0x0123_4567_89ab_cdef_0fed_cba9n + 0x1000n).toString(16).padStart(32, '0');
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-4${hex.slice(13, 16)}-8${hex.slice(17, 20)}-${hex.slice(20)}`;
}

/** Points, lines and areas of many sizes, those of degrees within their bounds. */
function shapes(type: string): readonly Value[] {
  const [name = '', , srid] = type.split(' ');
  const drawn = shapeOf[name === 'GEOMETRY' ? 'POLYGON' : name];
  if (!drawn) return [];
  const degrees = srid !== undefined;
  const sizes = degrees
    ? Array.from({ length: 26 }, (_, index) => String(index * 3 + 0.125))
    : [
        ...'123456789'.split(''),
        '0.1',
        '1e-9',
        '1e10',
        '123456.789',
        '0.333',
        '2e-5',
        '17',
        '1e15',
        '65536',
        '4294967296',
      ];
  const more = degrees ? [] : ['0.5', '0.25', '1e5', '1e6', '99', '1000', '12.5'];
  return [...sizes, ...more].map((size): Value => {
    const wkt = drawn(size);
    return [wkt, `ST_GeomFromText('${wkt}'${degrees ? `, ${srid}` : ''})`];
  });
}

const shapeOf: Readonly<Record<string, (size: string) => string>> = {
  POINT: (n) => `POINT(${n} -${n})`,
  LINESTRING: (n) => `LINESTRING(0 0,${n} ${n},${n} 0)`,
  POLYGON: (n) => `POLYGON((0 0,${n} 0,${n} ${n},0 ${n},0 0))`,
  MULTIPOINT: (n) => `MULTIPOINT(0 0,${n} ${n})`,
  MULTILINESTRING: (n) => `MULTILINESTRING((0 0,${n} 1),(2 2,3 ${n}))`,
  MULTIPOLYGON: (n) => `MULTIPOLYGON(((0 0,${n} 0,${n} ${n},0 0)))`,
  GEOMETRYCOLLECTION: (n) => `GEOMETRYCOLLECTION(POINT(${n} 0),LINESTRING(0 0,${n} ${n}))`,
};
