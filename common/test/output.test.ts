import { describe, expect, test } from 'vitest';
import { progressLine } from '../src/output/output.ts';
import { redact, registerSecret } from '../src/output/redact.ts';
import { textTable, thousands } from '../src/output/table.ts';

describe('redaction', () => {
  test('replaces every registered secret, also as it stands in JSON, and leaves short ones to construction', () => {
    registerSecret('pa"ss\\word-1');
    registerSecret('abc');
    expect(redact('x pa"ss\\word-1 y pa"ss\\word-1')).toBe('x [redacted] y [redacted]');
    expect(redact(JSON.stringify({ said: 'pa"ss\\word-1' }))).toBe('{"said":"[redacted]"}');
    expect(redact('abc')).toBe('abc');
  });
});

describe('a table of text', () => {
  test('lines its columns up, numbers to the right and wide characters by what they take', () => {
    expect(
      textTable([
        ['name', 'rows', ''],
        ['products', 1234567, 'swap'],
        ['中文', 5, ''],
      ]),
    ).toEqual(['name           rows', 'products  1,234,567  swap', '中文              5']);
    expect(textTable([])).toEqual([]);
    expect(thousands(1000)).toBe('1,000');
  });
});

describe('a line of progress', () => {
  const progress = { label: 'load t', done: 500, total: 1000, unit: 'rows' };

  test('has share, count, rate and what is left of the time', () => {
    expect(progressLine(progress, 5, 120)).toBe('load t  ██████████░░░░░░░░░░ 50 %  500 rows  100/s  5 s left');
  });

  test('says nothing that it cannot know', () => {
    expect(progressLine({ ...progress, total: null }, 5, 120)).toBe('load t  500 rows  100/s');
    expect(progressLine({ ...progress, done: 0 }, 0, 120)).toBe('load t  ░░░░░░░░░░░░░░░░░░░░ 0 %  0 rows');
  });

  test('stays within the width, and at 100 % where an estimate was too low', () => {
    expect(progressLine(progress, 5, 30).length).toBeLessThan(30);
    expect(progressLine({ ...progress, done: 1500 }, 5, 120)).toContain('100 %');
  });
});
