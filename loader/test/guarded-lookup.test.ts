import { createSocket } from 'node:dgram';
import type { LookupAddress } from 'node:dns';
import { Resolver } from 'node:dns/promises';
import type { AddressInfo } from 'node:net';
import { AppError } from '@tableset/common/errors.ts';
import { describe, expect, test } from 'vitest';
import { loaderError } from '../src/errors.ts';
import { guardedLookup, localAddressGuard, publicAddressGuard } from '../src/http/guarded-lookup.ts';
import { sendRequest } from '../src/http/request.ts';
import { serve } from './http-server.ts';

const failure = (host: string) => loaderError('WEBHOOK_ADDRESS_REFUSED', `${host} is not a public address`);
const guard = publicAddressGuard(['allowed.example', '10.1.2.3']);

function lookUp(url: string, addresses: readonly LookupAddress[], own = guard): Promise<readonly LookupAddress[]> {
  const lookup = guardedLookup(new URL(url), { guard: own, failure, resolve: async () => addresses });
  return new Promise((resolve, reject) => {
    lookup(new URL(url).hostname, { all: true }, (error, found) => {
      if (error) reject(error);
      else resolve(Array.isArray(found) ? found : [{ address: found, family: 4 }]);
    });
  });
}

const local = [
  '0.0.0.0',
  '10.0.0.1',
  '100.64.0.1',
  '127.0.0.1',
  '127.255.255.255',
  '169.254.169.254',
  '172.16.0.1',
  '172.31.255.255',
  '192.168.1.1',
  '192.0.2.1',
  '198.18.0.1',
  '224.0.0.1',
  '255.255.255.255',
  '::',
  '::1',
  '::ffff:127.0.0.1',
  '::ffff:8.8.8.8',
  '::ffff:a9fe:a9fe',
  '64:ff9b::7f00:1',
  '2002:7f00:1::',
  '2001::1',
  '2001:db8::1',
  'fc00::1',
  'fd00:ec2::254',
  'fe80::1',
  'fe80::1%eth0',
  'fec0::1',
  'ff02::1',
  '::7f00:1',
];

describe('a guard for public addresses', () => {
  test.each(local)('refuses %s, by name and as itself', async (address) => {
    const family = address.includes(':') ? 6 : 4;
    await expect(lookUp('https://name.example/', [{ address, family }])).rejects.toMatchObject({
      code: 'WEBHOOK_ADDRESS_REFUSED',
    });
    if (!address.includes('%')) {
      expect(() =>
        guardedLookup(new URL(family === 6 ? `https://[${address}]/` : `https://${address}/`), { guard, failure }),
      ).toThrow(AppError);
    }
  });

  test.each([
    'https://2130706433/',
    'https://0x7f.1/',
    'https://0177.0.0.1/',
    'https://127.1/',
    'https://[::ffff:7f00:1]/',
  ])('sees through the spelling %s', (url) => {
    expect(() => guardedLookup(new URL(url), { guard, failure })).toThrow(AppError);
  });

  test.each(['8.8.8.8', '172.32.0.1', '2606:4700::1111', '2a00:1450:4001::1'])('lets %s through', async (address) => {
    const addresses = [{ address, family: address.includes(':') ? 6 : 4 }];
    expect(await lookUp('https://name.example/', addresses)).toEqual(addresses);
  });

  test('refuses a name with one bad address among good ones, or with none', async () => {
    await expect(
      lookUp('https://name.example/', [
        { address: '8.8.8.8', family: 4 },
        { address: '10.0.0.1', family: 4 },
      ]),
    ).rejects.toMatchObject({ code: 'WEBHOOK_ADDRESS_REFUSED' });
    await expect(lookUp('https://name.example/', [])).rejects.toMatchObject({ code: 'WEBHOOK_ADDRESS_REFUSED' });
  });

  test('lets hosts through that the operator lists, by exactly these names', async () => {
    const addresses = [{ address: '10.0.0.1', family: 4 }];
    expect(await lookUp('https://allowed.example/', addresses)).toEqual(addresses);
    expect(() => guardedLookup(new URL('https://10.1.2.3/'), { guard, failure })).not.toThrow();
    await expect(lookUp('https://not.allowed.example/', addresses)).rejects.toMatchObject({
      code: 'WEBHOOK_ADDRESS_REFUSED',
    });
  });

  test('says no if the name does not resolve', async () => {
    const lookup = guardedLookup(new URL('https://name.example/'), {
      guard,
      failure,
      resolve: () => Promise.reject(new Error('no answer')),
    });
    await expect(
      new Promise((resolve, reject) => lookup('name.example', {}, (error) => (error ? reject(error) : resolve(null)))),
    ).rejects.toThrow('no answer');
  });
});

test('a guard for redirects refuses this machine and metadata, and leaves private networks open', () => {
  const outside = localAddressGuard('files.example');
  for (const address of [
    '127.0.0.1',
    '::1',
    '0.0.0.0',
    '169.254.169.254',
    'fe80::1',
    'fe80::1%eth0',
    '::ffff:127.0.0.1',
    '::ffff:a9fe:a9fe',
    'fd00:ec2::254',
  ])
    expect([address, outside.refuses(address)]).toEqual([address, true]);
  for (const address of ['10.0.0.1', '192.168.1.1', 'fd12::1', '8.8.8.8'])
    expect([address, outside.refuses(address)]).toEqual([address, false]);
  for (const origin of ['127.0.0.1', '[::1]', 'localhost']) {
    expect(localAddressGuard(origin).refuses('127.0.0.1')).toBe(false);
    expect(localAddressGuard(origin).refuses('169.254.169.254')).toBe(true);
  }
});

test('a name server that changes its mind after the check gains nothing', async () => {
  await using target = await serve((_request, response) => response.end('inside'));
  await using names = await rebindingServer(['203.0.112.1', '127.0.0.1']);
  const resolver = new Resolver({ timeout: 1000, tries: 1 });
  resolver.setServers([`127.0.0.1:${names.port}`]);
  const resolve = async (hostname: string) =>
    (await resolver.resolve4(hostname)).map((address) => ({ address, family: 4 }));
  const url = new URL(`http://rebind.example:${target.port}/`);
  const request = () =>
    sendRequest({
      url,
      method: 'POST',
      headers: {},
      connectTimeoutMs: 300,
      responseTimeoutMs: 300,
      signal: AbortSignal.timeout(2000),
      lookup: guardedLookup(url, { guard, failure, resolve }),
      ownConnection: true,
    });
  // The first answer is public and is where the connection goes, whatever a second question would have brought.
  await expect(request()).rejects.not.toBeInstanceOf(AppError);
  expect(names.questions()).toBe(1);
  await expect(request()).rejects.toMatchObject({ code: 'WEBHOOK_ADDRESS_REFUSED' });
  expect(names.questions()).toBe(2);
  expect(target.requests).toHaveLength(0);
});

/** A name server whose answers expire at once and differ from one question to the next. */
async function rebindingServer(
  addresses: readonly string[],
): Promise<AsyncDisposable & { port: number; questions(): number }> {
  const socket = createSocket('udp4');
  let asked = 0;
  socket.on('message', (question, from) => {
    const address = addresses[Math.min(asked++, addresses.length - 1)] ?? '';
    const head = Buffer.from([...question.subarray(0, 2), 0x81, 0x80, 0, 1, 0, 1, 0, 0, 0, 0]);
    const asks = question.subarray(12, question.indexOf(0, 12) + 5);
    const answer = Buffer.from([0xc0, 0x0c, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4, ...address.split('.').map(Number)]);
    socket.send(Buffer.concat([head, asks, answer]), from.port, from.address);
  });
  await new Promise<void>((resolve) => socket.bind(0, '127.0.0.1', resolve));
  // A bound UDP socket has an address of this kind.
  const { port } = socket.address() as AddressInfo;
  return { port, questions: () => asked, [Symbol.asyncDispose]: () => new Promise((resolve) => socket.close(resolve)) };
}
