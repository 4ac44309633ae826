import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { isMap, LineCounter, parseDocument } from 'yaml';
import { readPlainYaml } from '../src/config/plain-yaml.ts';
import { validateConfig } from '../src/config/read.ts';

/** What the parser says of a text that the plain reader takes: the same, without a fault. */
function expectAsParsed(text: string): boolean {
  const plain = readPlainYaml(text);
  if (plain === null) return false;
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines, prettyErrors: false, version: '1.2' });
  expect([...document.errors, ...document.warnings], text).toEqual([]);
  expect(plain.values, text).toStrictEqual(document.toJS());
  const load: unknown = document.get('load');
  const entries: unknown = plain.values['load'];
  if (Array.isArray(entries)) {
    for (const [index, entry] of entries.entries()) {
      const node = document.getIn(['load', index], true);
      if (!isMap(node)) continue;
      const { line, col } = lines.linePos(node.range?.[0] ?? -1);
      expect(plain.positions.get(entry), `${text}\n${String(load)}`).toEqual({ line, column: col });
    }
  }
  return true;
}

const common = `# Reference data
load:
  - table: products
    source: /data/products.csv.gz   # daily
    key: [id, region]
    maxRejects: 10
    csv:
      delimiter: ";"
      header: [id, 'name', "price"]
    ignore:
    - old
    - "it's"

  - table: prices
    source:
      url: https://example.com/a_b/p.csv
    mode: mirror
    allowEmpty: true
database:
  host: db.example.com
  port: 3306
`;

describe('the plain reader', () => {
  test('takes what configurations are mostly made of, as the parser does', () => {
    expect(expectAsParsed(common)).toBe(true);
  });

  test.each([
    'a: null',
    'a: yes',
    'a: ~',
    'a: True',
    'a:',
    'a: 1.5',
    'a: 010',
    'a: 0x1f',
    'a: -1',
    'a: 2024-01-01',
    'a: 1234567890123456',
    'a: "b\\n"',
    "a: 'it''s'",
    'a: b c',
    'a: &x b',
    'a: *x',
    'a: !!str b',
    'a: |\n  b',
    'a: {b: c}',
    'a: [b: c]',
    'a: [b, [c]]',
    'a: [b',
    'a: b:',
    'a: "#b',
    'a: "b #c"',
    'a: é',
    'a:\tb',
    'a: b\r\nc: d',
    'a: b\na: c',
    '__proto__: b',
    '<<: b',
    '1: b',
    'a: b\n  c: d',
    'a:\n  b: c\n d: e',
    'a:\n  - b\n - c',
    'a:\n- - b',
    'a:\n-b',
    'a:\n  b: c\n  - d',
    '- a',
    '---\na: b',
    'a: b\n---\nc: d',
    'a: b\n...\n',
    '%YAML 1.2',
    ' a: b',
    'a : b',
    '{"a": "b"}',
    '"a": b',
    '',
    `a: b${' '.repeat(2000)}c`,
  ])('leaves %j to the parser', (text) => {
    expect(readPlainYaml(text)).toBeNull();
  });

  test('says of any text that it takes what the parser says', () => {
    const piece = fc.constantFrom(
      ...['a', 'b', 'load', 'key', ':', ': ', ' ', '  ', '    ', '\n', '\n  ', '\n    ', '\n- ', '\n  - ', '\n    - '],
      ...['- ', '-', '[', ']', '[]', ', ', ',', '"', "'", '#', ' # ', '/x/y.csv', 'https://h/p', 'true', 'null', '12'],
      ...[
        '0',
        '007',
        '1.5',
        '*',
        '&',
        '?',
        '? ',
        '|',
        '>',
        '{',
        '}',
        '!',
        '%',
        '@',
        '\t',
        'no',
        '~',
        'a b',
        '---',
        '_',
      ],
    );
    const line = fc
      .tuple(
        fc.constantFrom('', '  ', '    ', '- ', '  - ', '    - ', ' '),
        fc.constantFrom('a: ', 'b: ', 'load:', 'c:', 'd: ', ''),
        fc.constantFrom('', 'x', '1', '"q"', '[a, b]', "'s'", 'false', '# c', 'a:b', 'u # c', 'a:', '-', 'x: y'),
      )
      .map((parts) => parts.join(''));
    const texts = fc.oneof(
      fc.array(piece, { maxLength: 14 }).map((parts) => parts.join('')),
      fc.array(line, { minLength: 1, maxLength: 8 }).map((lines) => lines.join('\n')),
      fc
        .tuple(fc.nat(common.length), fc.nat(3), piece)
        .map(([at, length, insert]) => common.slice(0, at) + insert + common.slice(at + length)),
    );
    let taken = 0;
    fc.assert(
      fc.property(texts, (text) => {
        if (expectAsParsed(text)) taken++;
      }),
      { numRuns: 6000 },
    );
    expect(taken).toBeGreaterThan(300);
  });

  test("reads the examples' configurations as the parser does", async () => {
    const folder = join(import.meta.dirname, '../../examples');
    const files = readdirSync(folder, { recursive: true, encoding: 'utf8' })
      .filter((name) => !name.includes('node_modules') && /\.ya?ml$/.test(name))
      .map((name) => join(folder, name));
    expect(files).not.toHaveLength(0);
    for (const file of files) expectAsParsed(readFileSync(file, 'utf8'));
  });

  test('gives the same configuration as the parser, positions included', async () => {
    // An empty anchor changes nothing but who reads it.
    const parsed = `${common.replace('host: db', 'host: &h db')}`;
    expect(readPlainYaml(common)).not.toBeNull();
    expect(readPlainYaml(parsed)).toBeNull();
    expect(await validateConfig(common, '/etc/c.yaml')).toEqual(await validateConfig(parsed, '/etc/c.yaml'));
  });
});
