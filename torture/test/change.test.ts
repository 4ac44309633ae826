import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { plantedBugs } from '../planted/bugs.ts';
import { damages } from '../planted/trials.ts';
import { changeSource, shortDeadlines } from '../program/change.ts';

const root = join(import.meta.dirname, '../..');

test('a text that is not there, or there twice, is no place to plant a bug', () => {
  const change = { file: 'a.ts', find: 'one', replace: 'two' };
  expect(changeSource('a.ts', 'just one', [change])).toBe('just two');
  expect(changeSource('b.ts', 'just one', [change])).toBe('just one');
  expect(() => changeSource('a.ts', 'zero', [change])).toThrow('0 times');
  expect(() => changeSource('a.ts', 'one and one', [change])).toThrow('2 times');
});

const builds = [
  ['short deadlines', shortDeadlines],
  ...Object.entries(damages),
  ...plantedBugs.map(({ name, changes }) => [name, changes] as const),
] as const;

test.each(builds)('the sources still have what is changed: %s', (_name, changes) => {
  for (const file of new Set(changes.map((change) => change.file))) {
    const text = readFileSync(join(root, file), 'utf8');
    expect(changeSource(file, text, changes)).not.toBe(text);
  }
});
