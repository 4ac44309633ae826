import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { AppError } from '@tableset/common/errors.ts';
import { expect, test } from 'vitest';
import { type Problem, readConfig, validateConfig } from '../src/config/read.ts';
import { configurationJsonSchema, configurationReference } from '../src/config/reference.ts';

const good = `
database: {host: mysql, user: app, passwordFile: secrets/password, name: shop, tls: verify}
load:
  - table: products
    source: data/products.csv.gz
    key: [id]
    mode: mirror
    columns: {price_cents: {from: price, type: decimal}, title: name}
    maxDeletes: {rows: 1000}
`;

async function invalid(text: string): Promise<{ message: string; problems: readonly Problem[] }> {
  try {
    await validateConfig(text, '/config/config.yaml');
  } catch (error) {
    if (!(error instanceof AppError)) throw error;
    expect(error.code).toBe('CONFIG_INVALID');
    expect(error.exit).toBe(2);
    return { message: error.message, problems: (error.details['problems'] ?? []) as Problem[] };
  }
  throw new Error('the configuration was accepted');
}

const load = (entry: string, rest = '') => `load:\n  - ${entry}\n${rest}`;

test('a configuration is completed: defaults, format by ending, paths from its own folder', async () => {
  const config = await validateConfig(good, '/config/config.yaml');
  expect(config.load).toEqual([
    expect.objectContaining({
      table: 'products',
      source: {
        kind: 'file',
        path: '/config/data/products.csv.gz',
        isPattern: false,
        proof: { sha256: null, sizeBytes: null },
      },
      format: 'csv',
      key: ['id'],
      mapping: {
        columns: { price_cents: { from: 'price', type: 'decimal' }, title: { from: 'name' } },
        ignore: [],
        ignoreUnknown: false,
      },
      maxDeletes: { rows: 1000, percent: null },
      maxRejects: 0,
      position: '/config/config.yaml:4:5',
    }),
  ]);
  expect(config.values['database']).toMatchObject({ passwordFile: '/config/secrets/password' });
});

test('every fault is told at once, each with its line and column', async () => {
  const { message, problems } = await invalid(`database: {host: mysql, port: "x"}
load:
  - tabel: products
    source: /data/products.csv
    maxRejects: many
  - table: x
    source: foo.bin
  - table: x
    source: {qurey: SELECT 1, from: other}
    mode: miror
laod: []
`);
  expect(problems.map(({ line, column, path }) => `${line}:${column} ${path}`)).toEqual([
    '1:31 database.port',
    '3:5 load[0].table',
    '3:5 load[0].tabel',
    '5:17 load[0].maxRejects',
    '7:13 load[1].source',
    '8:12 load[2].table',
    '9:13 load[2].source.query',
    '9:14 load[2].source.qurey',
    '10:11 load[2].mode',
    '11:1 laod',
  ]);
  expect(message).toContain('/config/config.yaml:3:5 load[0].tabel: there is no key tabel here; did you mean table?');
  expect(message).toContain('takes one of upsert, insert, mirror, and was given "miror"');
  expect(message).toContain('x is loaded by load[1] already');
});

test.each([
  ['an inline password', 'database: {password: hunter2}', 'give the path of a file with passwordFile'],
  ['a password of another database', 'databases: {o: {host: h, user: u, name: n, password: hunter2}}', 'passwordFile'],
  ['a webhook secret', 'webhooks: [{url: "https://h/", secret: hunter2}]', 'secretFile'],
  ['a secret key', 's3: {secretAccessKey: hunter2}', 'secretAccessKeyFile'],
])('%s is refused with the reason and never repeated', async (_name, section, remedy) => {
  const { message } = await invalid(load('{table: t, source: t.csv}', section));
  expect(message).toContain('secrets never stand in this file');
  expect(message).toContain(remedy);
  expect(message).not.toContain('hunter2');
});

test.each([
  ['a source', load('{table: t, source: "https://me:hunter2@host/t.csv"}')],
  ['a source object', load('{table: t, source: {url: "https://me:hunter2@host/t.csv"}}')],
  ['a store', load('{table: t, source: "s3://me:hunter2@bucket/t.csv"}')],
  ['a webhook', load('{table: t, source: t.csv}', 'webhooks: [{url: "https://me:hunter2@host/", secretFile: s}]')],
  ['an alias', 'database: {passwordFile: *hunter2}\nload: []'],
  ['a tag', 'database: {passwordFile: !hunter2 x}\nload: []'],
  ['a list in place of an address', load('{table: t, source: ["https://me:hunter2@host/t.csv"]}')],
])('credentials in %s are not repeated', async (_name, text) => {
  expect((await invalid(text)).message).not.toContain('hunter2');
});

test.each([
  ['a mapping that ends too early', 'load: [', 1],
  ['a tab as indentation', 'load:\n\t- table: t', 2],
  ['a repeated key', 'load: []\nload: []', 2],
  ['a second document', 'load: []\n---\nload: []', 2],
  ['an unknown tag', 'load:\n  - !include x.yaml', 2],
])('%s is an error at its line', async (_name, text, line) => {
  expect((await invalid(text)).problems[0]?.line).toBe(line);
});

test('aliases that multiply are refused before they fill the memory', async () => {
  const levels = Array.from(
    { length: 12 },
    (_, level) => `a${level + 1}: &a${level + 1} [${Array(10).fill(`*a${level}`).join(',')}]`,
  );
  expect((await invalid(`a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n${levels.join('\n')}\n`)).message).toContain('aliases');
});

test('nesting beyond the stack is an error of the file', async () => {
  expect((await invalid('['.repeat(200_000))).message).toContain('/config/config.yaml');
});

test('an ordinary alias is followed, and a fault in what it stands for is told at its anchor', async () => {
  const text = `load:
  - {table: a, source: a.csv, columns: &columns {c: d}}
  - {table: b, source: b.csv, columns: *columns}
`;
  expect((await validateConfig(text, 'c.yaml')).load[1]?.mapping.columns).toEqual({ c: { from: 'd' } });
  const [problem] = (await invalid(text.replace('{c: d}', '{c: 1}'))).problems;
  expect(problem).toMatchObject({ line: 2, path: 'load[0].columns.c' });
});

test.each([
  ['an integer past 2^53', '{value: 12345678901234567890}', true],
  ['more decimals than a double has', '{value: 0.12345678901234567890}', true],
  ['a number that survives', '{value: 0.1}', false],
  ['trailing zeros, which mean nothing', '{value: 1.50}', false],
  ['the same digits in quotes', '{value: "12345678901234567890"}', false],
])('a constant: %s', async (_name, mapping, refused) => {
  const text = load(`{table: t, source: t.csv, columns: {c: ${mapping}}}`);
  if (refused) expect((await invalid(text)).message).toContain('put it in quotes');
  else expect((await validateConfig(text, 'c.yaml')).load).toHaveLength(1);
});

test('mappings that no table could fit are refused where they stand', async () => {
  const { message, problems } = await invalid(`load:
  - table: t
    source: t.csv
    columns:
      a: {type: integer, dateFormat: DD.MM.YYYY}
      b: {dateFormat: DD.Mon.YYYY}
      c: {type: date, dateFormat: DD.MM}
      d: {zone: Europe/Berlim}
      e: {trueTexts: [x]}
      f: {multiply: ten}
      g: {decimal: {separator: ",", thousands: ","}}
      h: {value: 1, trim: true}
      fine: {dateFormat: DD.MM.YYYY}
      time: {dateFormat: "HH:mm"}
`);
  expect(problems.map(({ line, column, path }) => `${line}:${column} ${path.split('.').slice(1).join('.')}`)).toEqual([
    '5:38 columns.a.dateFormat',
    '6:23 columns.b.dateFormat',
    '7:35 columns.c.dateFormat',
    '8:17 columns.d.zone',
    '9:22 columns.e.trueTexts',
    '10:21 columns.f.multiply',
    '11:20 columns.g.decimal',
    '12:10 columns.h',
  ]);
  expect(message).toContain('has the unknown zone "Europe/Berlim"');
});

test('__proto__ is refused as a key instead of vanishing', async () => {
  expect((await invalid(load('{table: t, source: t.csv, columns: {__proto__: x}}'))).message).toContain('__proto__');
  expect(Object.prototype).not.toHaveProperty('x');
});

test.each([
  ['mirror guards without mirror', '{table: t, source: t.csv, maxDeletes: {rows: 1}}', 'is for mode mirror'],
  [
    'csv settings for parquet',
    '{table: t, source: t.parquet, csv: {delimiter: ";"}}',
    'is for the formats csv and tsv',
  ],
  ['a quote for tsv', '{table: t, source: t.tsv, csv: {quote: "|"}}', 'is for csv alone'],
  ['a format for a query', '{table: t, source: {query: SELECT 1, from: o}, format: csv}', 'a query has no format'],
  ['an unknown database', '{table: t, source: {query: SELECT 1, from: p}}', 'no database of the name p'],
  ['a backslash as delimiter', '{table: t, source: t.csv, csv: {delimiter: "\\\\"}}', 'cannot be a backslash'],
  ['a field twice in the header', '{table: t, source: t.csv, csv: {header: [a, b, a]}}', 'names a twice'],
  ['an unreadable scheme', '{table: t, source: "ftp://host/t.csv"}', 'cannot read ftp:// addresses'],
  ['a constant beside a field', '{table: t, source: t.csv, columns: {c: {value: 1, from: d}}}', 'has a value'],
  ['a column twice in the key', '{table: t, source: t.csv, key: [a, a]}', 'names a twice'],
  [
    'headers for s3',
    '{table: t, source: {url: "s3://b/t.csv", headerFiles: {a: b}}}',
    's3:// takes no request headers',
  ],
  ['a short digest', '{table: t, source: {path: t.csv, sha256: abc}}', 'takes text of the form'],
])('%s: refused', async (_name, entry, message) => {
  expect((await invalid(load(entry, 'databases: {o: {host: h, user: u, name: n}}'))).message).toContain(message);
});

test.each([
  ['plain http', 'http://host/hook', 'allowHttp'],
  ['another scheme', 'file:///etc/passwd', 'takes an https:// address'],
])('a webhook over %s is refused', async (_name, url, message) => {
  expect(
    (await invalid(load('{table: t, source: t.csv}', `webhooks: [{url: "${url}", secretFile: s}]`))).message,
  ).toContain(message);
});

test.each([
  ['/data/*.csv', { kind: 'file', path: '/data/*.csv', isPattern: true }],
  ['https://host/t.csv?signature=x', { kind: 'http', url: 'https://host/t.csv?signature=x' }],
  ['s3://bucket/a%20b/t.csv', { kind: 's3', bucket: 'bucket', key: 'a%20b/t.csv', isPattern: false }],
  ['s3://bucket/a/*.csv', { kind: 's3', bucket: 'bucket', key: 'a/*.csv', isPattern: true }],
  [{ path: '/data/[1].csv' }, { kind: 'file', path: '/data/[1].csv', isPattern: false }],
])('the source %o is understood', async (source, expected) => {
  expect(
    (await validateConfig(load(`{table: t, source: ${JSON.stringify(source)}}`), 'c.yaml')).load[0]?.source,
  ).toMatchObject(expected);
});

test('a file that is not there, or not UTF-8, is named', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'config-'));
  try {
    await expect(readConfig(join(folder, 'none.yaml'))).rejects.toMatchObject({ code: 'CONFIG_UNREADABLE' });
    await writeFile(join(folder, 'latin1.yaml'), Buffer.from([0x61, 0x3a, 0x20, 0xfc]));
    await expect(readConfig(join(folder, 'latin1.yaml'))).rejects.toMatchObject({ code: 'CONFIG_INVALID' });
    await writeFile(join(folder, 'good.yaml'), good);
    expect((await readConfig(join(folder, 'good.yaml'))).load).toHaveLength(1);
  } finally {
    await rm(folder, { recursive: true });
  }
});

test('every key of the JSON Schema has a meaning, and the reference lists it', () => {
  const reference = configurationReference();
  const missing: string[] = [];
  let keys = 0;
  const walk = (schema: unknown, path: string): void => {
    if (typeof schema !== 'object' || schema === null) return;
    for (const [name, part] of Object.entries(schema)) {
      if (name === 'properties') {
        for (const [key, property] of Object.entries(part as Record<string, { description?: string }>)) {
          keys++;
          if (!property.description) missing.push(`${path}.${key}`);
          if (!reference.includes(`| \`${key}\` |`)) missing.push(`${path}.${key} in the reference`);
        }
      }
      walk(part, `${path}.${name}`);
    }
  };
  walk(configurationJsonSchema(), '');
  expect(missing).toEqual([]);
  expect(keys).toBeGreaterThan(60);
});
