import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { signatureHeader } from '../../../src/webhooks/notice.ts';

type Check = (rawBody: Buffer, header: string | undefined, secret: string, nowSeconds?: number) => boolean;

/** The example of docs/service.md as it stands there. */
async function example(): Promise<Check> {
  const text = readFileSync(join(import.meta.dirname, '../../../../docs/service.md'), 'utf8');
  const code = /```js\n(import \{ createHmac[\s\S]*?)```/.exec(text)?.[1];
  if (code === undefined) throw new Error('docs/service.md has no example');
  const module: unknown = await import(`data:text/javascript;base64,${Buffer.from(code).toString('base64')}`);
  // The example exports this one function.
  return (module as { isFromTableset: Check }).isFromTableset;
}

test('section H: the documented check takes what the service signs, and nothing else', async () => {
  const isFromTableset = await example();
  const body = Buffer.from('{"id":"1:orders","table":"Bestellungen für März"}');
  const now = 1_774_771_200;
  const header = signatureHeader('secret', body, now);
  for (const late of [0, 299, -299]) expect(isFromTableset(body, header, 'secret', now + late)).toBe(true);
  for (const late of [301, -301]) expect(isFromTableset(body, header, 'secret', now + late)).toBe(false);
  expect(isFromTableset(body, header, 'Secret', now)).toBe(false);
  expect(isFromTableset(Buffer.from(`${body} `), header, 'secret', now)).toBe(false);
  // A younger time does not go with an older signature.
  expect(isFromTableset(body, header.replace(String(now), String(now + 1)), 'secret', now)).toBe(false);
  for (const bad of [undefined, '', 't=1', `${header},v1=00`, header.slice(0, -2), header.toUpperCase()])
    expect(isFromTableset(body, bad, 'secret', now), bad).toBe(false);
});
