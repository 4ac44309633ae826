import fc from 'fast-check';
import { expect, test } from 'vitest';
import { canonicalVersion, compareVersions } from '../src/core/version.ts';

test.each([
  ['1.2.10', '1.2.9', 1],
  ['1.2', '1.10', -1],
  ['1.0', '1', 0],
  ['1_2_0', '1.2', 0],
  ['0012', '12', 0],
  ['0', '000', 0],
  ['20191100000001000000', '20191100000001000001', -1],
  ['18446744073709551616', '18446744073709551615', 1],
  ['9007199254740993', '9007199254740992', 1],
  ['20240101120000', '3', 1],
  ['1', '1.0.1', -1],
])('%s against %s gives %i', (left, right, sign) => {
  expect(Math.sign(compareVersions(left, right))).toBe(sign);
  expect(Math.sign(compareVersions(right, left))).toBe(0 - sign);
});

test.each([
  ['0012', '12'],
  ['1_2_0', '1.2'],
  ['1.0.0', '1'],
  ['000', '0'],
  ['00.01', '0.1'],
])('the canonical form of %s is %s', (text, canonical) => {
  expect(canonicalVersion(text)).toBe(canonical);
});

test.each(['', 'a', '1a', '-1', '1.', '.1', '1..2', '1e3', ' 1', '١'])('%j is no version', (text) => {
  expect(() => canonicalVersion(text)).toThrow(expect.objectContaining({ code: 'MIGRATION_VERSION_INVALID' }));
});

test('versions of any length compare as the integers that they are', () => {
  fc.assert(
    fc.property(
      fc.bigInt({ min: 0n, max: 10n ** 40n }),
      fc.bigInt({ min: 0n, max: 10n ** 40n }),
      fc.nat(5),
      (left, right, zeros) => {
        const expected = left < right ? -1 : left > right ? 1 : 0;
        expect(Math.sign(compareVersions(`${'0'.repeat(zeros)}${left}`, `${right}`))).toBe(expected);
      },
    ),
  );
});
