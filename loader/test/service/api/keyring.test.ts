import { randomBytes } from 'node:crypto';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { keyIdOf, parseKeyring } from '../../../src/service/security/keyring.ts';
import { keyLine } from './api-kit.ts';

const path = 'keys';

test('opens what it sealed, for the very place, whatever the secret is', () => {
  const keyring = parseKeyring(keyLine('a'), path);
  fc.assert(
    fc.property(fc.oneof(fc.string({ maxLength: 300 }), fc.constant('née Ω 🍏\0')), (secret) => {
      const sealed = keyring.seal(secret, 'archival 1 primary');
      expect(keyring.open(sealed, 'archival 1 primary')).toBe(secret);
      expect(keyIdOf(sealed)).toBe('a');
      expect(() => keyring.open(sealed, 'archival 2 primary')).toThrow('altered, moved');
    }),
  );
});

test('seals the same secret differently each time', () => {
  const keyring = parseKeyring(keyLine('a'), path);
  const sealed = Array.from({ length: 1000 }, () => keyring.seal('secret', 'place'));
  const nonces = sealed.map((text) =>
    Buffer.from(text.split(':')[2] ?? '', 'base64')
      .subarray(0, 12)
      .toString('hex'),
  );
  expect(new Set(nonces).size).toBe(1000);
});

test('opens nothing of which a bit was changed', () => {
  const keyring = parseKeyring(keyLine('a'), path);
  const [format, id, body = ''] = keyring.seal('secret', 'place').split(':');
  const bytes = Buffer.from(body, 'base64');
  for (let bit = 0; bit < bytes.length * 8; bit++) {
    const changed = Buffer.from(bytes);
    changed[bit >> 3] = (changed[bit >> 3] ?? 0) ^ (1 << (bit & 7));
    expect(() => keyring.open(`${format}:${id}:${changed.toString('base64')}`, 'place'), `bit ${bit}`).toThrow(
      'altered',
    );
  }
  for (const short of [0, 1, 12, 27]) {
    const cut = bytes.subarray(0, short).toString('base64');
    expect(() => keyring.open(`${format}:${id}:${cut}`, 'place')).toThrow('altered');
  }
});

test('seals with the first key and opens with every one', () => {
  const [old, next] = [keyLine('old'), keyLine('next')];
  const sealed = parseKeyring(old, path).seal('secret', 'place');
  const both = parseKeyring(`# a comment\n\n${next}\r\n${old}\n`, path);
  expect(both.newest).toBe('next');
  expect(both.open(sealed, 'place')).toBe('secret');
  expect(keyIdOf(both.seal('secret', 'place'))).toBe('next');
  expect(() => parseKeyring(next, path).open(sealed, 'place')).toThrow('no key old');
  // A key of the same id that is another key does not open it.
  expect(() => parseKeyring(keyLine('old'), path).open(sealed, 'place')).toThrow('altered');
  expect(() => both.open(sealed.replace('v1:', 'v2:'), 'place')).toThrow('newer version');
});

test('refuses keys that are none, by their line and without quoting them', () => {
  const good = keyLine('a');
  const bad = [
    '',
    '# nothing',
    'a',
    randomBytes(32).toString('base64'),
    `a:${randomBytes(16).toString('base64')}`,
    `a:${randomBytes(33).toString('base64')}`,
    `a_b:${randomBytes(32).toString('base64')}`,
    `${good}\n${keyLine('a')}`,
    `${good}x`,
  ];
  for (const text of bad) {
    let message = '';
    try {
      parseKeyring(text, path);
    } catch (error) {
      message = String(error);
    }
    expect(message, text).toContain('ENCRYPTION_KEY_FILE names keys');
    for (const part of text.split(/[:\n]/)) if (part.length > 20) expect(message).not.toContain(part);
  }
});
