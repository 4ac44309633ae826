import { resolveSettings } from '@tableset/common/settings/settings.ts';
import { expect, test } from 'vitest';
import { openClientAddress, parseNetwork } from '../../src/service/http/client-address.ts';
import { serviceSettingTable } from '../../src/settings-service.ts';
import { serviceSettings } from './service-settings.ts';

const trusted = ['10.0.0.0/8', 'fd00::/8', '192.0.2.7'];

test('section H: X-Forwarded-For counts from trusted proxies alone, and from its right end', () => {
  const address = openClientAddress(trusted);
  for (const [remote, forwarded, expected] of [
    // Not a proxy: whatever it says is its own word.
    ['203.0.113.5', '198.51.100.1', '203.0.113.5'],
    ['10.0.0.1', undefined, '10.0.0.1'],
    ['10.0.0.1', '', '10.0.0.1'],
    ['10.0.0.1', '198.51.100.1', '198.51.100.1'],
    ['::ffff:10.0.0.1', '198.51.100.1', '198.51.100.1'],
    ['fd12::1', '2001:db8::5', '2001:db8::5'],
    ['192.0.2.7', '198.51.100.1', '198.51.100.1'],
    ['192.0.2.8', '198.51.100.1', '192.0.2.8'],
    // The client made up the first.
    ['10.0.0.1', '1.1.1.1, 198.51.100.1', '198.51.100.1'],
    ['10.0.0.1', '1.1.1.1, 198.51.100.1, 10.2.3.4', '198.51.100.1'],
    ['10.0.0.1', '10.9.9.9, 10.2.3.4', '10.9.9.9'],
    ['10.0.0.1', 'unknown, 10.2.3.4', '10.2.3.4'],
    ['10.0.0.1', '1.1.1.1, <script>', '10.0.0.1'],
    ['10.0.0.1', ', ,', '10.0.0.1'],
    ['10.0.0.1', Array.from({ length: 50 }, () => '10.0.0.2').join(','), '10.0.0.2'],
    [undefined, '1.1.1.1', 'unknown'],
  ] as const) {
    expect([
      remote,
      forwarded,
      address(remote, forwarded === undefined ? {} : { 'x-forwarded-for': forwarded }),
    ]).toEqual([remote, forwarded, expected]);
  }
  expect(openClientAddress([])('127.0.0.1', { 'x-forwarded-for': '1.1.1.1' })).toBe('127.0.0.1');
});

test('a network is an address with as many bits as its family has at most', () => {
  for (const good of ['10.0.0.0/8', '10.0.0.1', '::1', 'fd00::/8', '0.0.0.0/0'])
    expect(parseNetwork(good), good).not.toBe(null);
  for (const bad of [
    '',
    '10.0.0.0/33',
    '10.0.0/8',
    '10.0.0.0/',
    '10.0.0.0/8/8',
    '10.0.0.0/-1',
    'proxy',
    'fe80::1%eth0',
    '::/129',
  ])
    expect(parseNetwork(bad), bad).toBe(null);
  expect(serviceSettings({}).trustedProxies).toEqual([]);
  const env = { DB_HOST: 'h', DB_USER: 'u', DB_NAME: 'n', TRUSTED_PROXIES: '10.0.0.0/8, proxy' };
  expect(() => resolveSettings(serviceSettingTable, new Map(), { env })).toThrow('TRUSTED_PROXIES');
});
