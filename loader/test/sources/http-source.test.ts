import { createHash } from 'node:crypto';
import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { gzipSync } from 'node:zlib';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { selfSigned } from '../../../test/certificate.ts';
import type { HttpSourceSettings } from '../../src/config/source-settings.ts';
import type { TransferTiming } from '../../src/sources/source.ts';
import { breakOff, type Handler, sendContent, serve, type TestHttpServer } from '../http-server.ts';
import { byteSource, noProof, readAll, type TestContext, testContext } from './read-source.ts';

let folder: string;
let stack: AsyncDisposableStack;
let context: TestContext;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'http-'));
  stack = new AsyncDisposableStack();
  context = testContext(folder);
});
afterEach(async () => {
  await stack.disposeAsync();
  await rm(folder, { recursive: true });
});

const content = Buffer.from(Array.from({ length: 40_000 }, (_, row) => `${row},name ${row}\n`).join(''));
const sha256 = createHash('sha256').update(content).digest('hex');
const signal = () => AbortSignal.timeout(20_000);

async function server(handler: Handler): Promise<TestHttpServer> {
  return stack.use(await serve(handler));
}

async function source(url: string, more: Partial<HttpSourceSettings> = {}, timing: Partial<TransferTiming> = {}) {
  const own = { ...context, timing: { ...context.timing, ...timing } };
  return await byteSource({ kind: 'http', url, headerFiles: {}, caFile: null, proof: noProof, ...more }, own);
}

/** What an address gives: `the content`, or the beginning of anything else. */
async function text(url: string, more: Partial<HttpSourceSettings> = {}, timing: Partial<TransferTiming> = {}) {
  return shown((await readAll(await source(url, more, timing)))[0]?.[1]);
}

function shown(given: string | undefined): string | undefined {
  return given === content.toString() ? 'the content' : given && `${given.slice(0, 100)} (${given.length})`;
}

test('content with a length, in chunks, and compressed is read whole; plain http gives a warning', async () => {
  const { origin } = await server((request, response) => {
    if (request.url === '/length.csv') sendContent(request, response, content);
    else if (request.url === '/a.csv.gz?token=secret') sendContent(request, response, gzipSync(content));
    else {
      response.write(content.subarray(0, 1000));
      response.end(content.subarray(1000));
    }
  });
  for (const path of ['/length.csv', '/chunks.csv', '/a.csv.gz?token=secret'])
    expect(await text(origin + path)).toBe('the content');
  expect(context.warnings).toHaveLength(3);
  expect((await source(`${origin}/a.csv.gz?token=secret`)).describe()).toBe(`${origin}/a.csv.gz`);
});

describe('the fingerprint', () => {
  test('is the ETag, without the content being sent, and the same after it was read', async () => {
    const { origin, requests } = await server((request, response) => sendContent(request, response, content, '"v1"'));
    const made = await source(`${origin}/a.csv`);
    const before = await made.fingerprint(signal());
    expect(before).toEqual({ kind: 'etag', value: '"v1"', bytes: content.length });
    expect(requests.map(({ method }) => method)).toEqual(['HEAD']);
    await readAll(made);
    expect(await made.fingerprint(signal())).toEqual(before);
    expect(requests.map(({ method }) => method)).toEqual(['HEAD', 'GET']);
  });

  test('is the date of modification only if it is clearly older than the answer', async () => {
    const modified = new Date(Date.now() - 3_600_000);
    const { origin } = await server((request, response) => {
      response.setHeader('last-modified', (request.url === '/old.csv' ? modified : new Date()).toUTCString());
      sendContent(request, response, content);
    });
    modified.setMilliseconds(0);
    expect(await (await source(`${origin}/old.csv`)).fingerprint(signal())).toMatchObject({
      kind: 'etag',
      value: `modified ${modified.toISOString()}, ${content.length} bytes`,
    });
    expect(await (await source(`${origin}/new.csv`)).fingerprint(signal())).toMatchObject({ kind: 'none' });
  });

  test('is the promised digest, without asking', async () => {
    expect(
      await (await source('http://127.0.0.1:1/a.csv', { proof: { sha256, sizeBytes: null } })).fingerprint(signal()),
    ).toMatchObject({ kind: 'content', value: sha256 });
  });

  test.each([
    ['HEAD is refused', 403],
    ['HEAD is unknown', 405],
    ['the server fails', 500],
  ])('is unknown if %s', async (_name, status) => {
    const { origin } = await server((request, response) => {
      if (request.method === 'HEAD') response.writeHead(status).end();
      else sendContent(request, response, content, '"v1"');
    });
    const made = await source(`${origin}/a.csv`);
    expect((await made.fingerprint(signal())).kind).toBe('none');
    expect(shown((await readAll(made))[0]?.[1])).toBe('the content');
  });
});

describe('a broken transfer', () => {
  test('goes on where it broke if a strong ETag vouches for the rest', async () => {
    const { origin, requests } = await server((request, response, count) => {
      if (count < 5) breakOff(request, response, content, 130_000, '"v1"');
      else sendContent(request, response, content, '"v1"');
    });
    expect(await text(`${origin}/a.csv`, {}, { attempts: 10 })).toBe('the content');
    expect(requests.length).toBe(5);
    expect(requests[1]?.headers).toMatchObject({ 'if-match': '"v1"', range: 'bytes=130000-' });
  });

  test('goes on also if the server ignores the range and sends everything again', async () => {
    const { origin } = await server((request, response, count) => {
      delete request.headers.range;
      if (count === 1) breakOff(request, response, content, 130_000, '"v1"');
      else sendContent(request, response, content, '"v1"');
    });
    expect(await text(`${origin}/a.csv`)).toBe('the content');
  });

  test.each([
    ['no ETag', undefined],
    ['a weak ETag', 'W/"v1"'],
  ])('is an error with %s, since the rest may be of another version', async (_name, etag) => {
    const { origin, requests } = await server((request, response) =>
      breakOff(request, response, content, 130_000, etag),
    );
    await expect(text(`${origin}/a.csv`)).rejects.toMatchObject({ code: 'LOAD_SOURCE_TRUNCATED', exit: 1 });
    expect(requests.length).toBe(1);
  });

  test('is an error if the content changed in the meantime', async () => {
    const { origin } = await server((request, response, count) => {
      if (count === 1) breakOff(request, response, content, 130_000, '"v1"');
      else sendContent(request, response, content, '"v2"');
    });
    await expect(text(`${origin}/a.csv`)).rejects.toMatchObject({ code: 'LOAD_SOURCE_CHANGED' });
  });

  test('is an error if the server ignores the condition and has another version', async () => {
    const { origin } = await server((request, response, count) => {
      delete request.headers['if-match'];
      if (count === 1) breakOff(request, response, content, 130_000, '"v1"');
      else sendContent(request, response, content, '"v2"');
    });
    await expect(text(`${origin}/a.csv`)).rejects.toMatchObject({ code: 'LOAD_SOURCE_CHANGED' });
  });

  test('ends after bounded tries if it makes no progress', async () => {
    const { origin, requests } = await server((request, response, count) =>
      breakOff(request, response, content, count === 1 ? 100_000 : 0, '"v1"'),
    );
    await expect(text(`${origin}/a.csv`)).rejects.toMatchObject({ code: 'LOAD_SOURCE_TRUNCATED' });
    expect(requests.length).toBe(3);
  });

  test('in chunks is never the end of data', async () => {
    const { origin } = await server((_request, response) =>
      response.write(content.subarray(0, 5000), () => setTimeout(() => response.destroy(), 20)),
    );
    await expect(text(`${origin}/a.csv`)).rejects.toMatchObject({ code: 'LOAD_SOURCE_TRUNCATED' });
  });

  test('starts again if nothing came yet', async () => {
    const { origin, requests } = await server((request, response, count) => {
      if (count === 1) request.socket.destroy();
      else if (count === 2) response.writeHead(503, { 'retry-after': '0' }).end();
      else sendContent(request, response, content);
    });
    expect(await text(`${origin}/a.csv`)).toBe('the content');
    expect(requests.length).toBe(3);
  });
});

test.each([
  ['faults for ever', 503, 'LOAD_SOURCE_UNREACHABLE', 1, 3],
  ['says that there is too much', 429, 'LOAD_SOURCE_UNREACHABLE', 1, 3],
  ['has no such file', 404, 'LOAD_SOURCE_MISSING', 2, 1],
  ['wants other credentials', 401, 'LOAD_SOURCE_REFUSED', 2, 1],
  ['sends nothing (204)', 204, 'LOAD_SOURCE_REFUSED', 2, 1],
])('a server that %s: a coded error after bounded tries', async (_name, status, code, exit, tries) => {
  const { origin, requests } = await server((_request, response) => response.writeHead(status).end());
  await expect(text(`${origin}/a.csv`)).rejects.toMatchObject({ code, exit });
  expect(requests.length).toBe(tries);
});

test('a port where nobody listens is unreachable', async () => {
  const { origin } = await serve(() => {}).then(async (closed) => {
    await closed[Symbol.asyncDispose]();
    return closed;
  });
  await expect(text(`${origin}/a.csv`)).rejects.toMatchObject({ code: 'LOAD_SOURCE_UNREACHABLE', exit: 1 });
});

describe('silence', () => {
  test('before the answer is ended by a deadline', async () => {
    const { origin, requests } = await server(() => {});
    await expect(text(`${origin}/a.csv`, {}, { responseTimeoutMs: 50 })).rejects.toMatchObject({
      code: 'LOAD_SOURCE_UNREACHABLE',
    });
    expect(requests.length).toBe(3);
  });

  test('within the body is ended by a deadline', async () => {
    const { origin } = await server((_request, response) => {
      response.writeHead(200, { 'content-length': content.length });
      response.write(content.subarray(0, 1000));
    });
    await expect(text(`${origin}/a.csv`, {}, { silenceTimeoutMs: 100 })).rejects.toMatchObject({
      code: 'LOAD_SOURCE_TRUNCATED',
    });
  });

  test('of the reader is no silence of the server', async () => {
    const { origin } = await server((request, response) => sendContent(request, response, content));
    let bytes = 0;
    for await (const file of (await source(`${origin}/a.csv`, {}, { silenceTimeoutMs: 40 })).open(signal())) {
      for await (const chunk of file.bytes()) {
        bytes += chunk.length;
        await wait(100);
      }
    }
    expect(bytes).toBe(content.length);
  });
});

describe('two passes', () => {
  test('see the same content, or the second says that it changed, by the ETag', async () => {
    let version = '"v1"';
    const { origin, requests } = await server((request, response) => sendContent(request, response, content, version));
    const made = await source(`${origin}/a.csv`);
    await readAll(made);
    await readAll(made);
    expect(requests[1]?.headers['if-match']).toBe('"v1"');
    version = '"v2"';
    await expect(readAll(made)).rejects.toMatchObject({ code: 'LOAD_SOURCE_CHANGED', exit: 1 });
  });

  test('without an ETag are compared by their bytes', async () => {
    const { origin } = await server((request, response, count) =>
      sendContent(request, response, count < 3 ? 'same length a' : 'same length b'),
    );
    const made = await source(`${origin}/a.csv`);
    await readAll(made);
    await readAll(made);
    await expect(readAll(made)).rejects.toMatchObject({ code: 'LOAD_SOURCE_CHANGED' });
  });

  test('a content that changed since its fingerprint was taken is noticed', async () => {
    const { origin } = await server((request, response) =>
      sendContent(request, response, content, request.method === 'HEAD' ? '"v1"' : '"v2"'),
    );
    const made = await source(`${origin}/a.csv`);
    await made.fingerprint(signal());
    await expect(readAll(made)).rejects.toMatchObject({ code: 'LOAD_SOURCE_CHANGED' });
  });
});

test('200 with no bytes is an empty content, which is for the load to judge', async () => {
  const { origin } = await server((_request, response) => response.writeHead(200, { 'content-length': 0 }).end());
  expect(await text(`${origin}/a.csv`)).toBe('');
  await expect(text(`${origin}/a.csv.gz`)).rejects.toMatchObject({ code: 'LOAD_SOURCE_CORRUPT' });
});

test('a content without a length needs a digest or a size to be believed', async () => {
  const { origin } = await server((request, response) => {
    response.useChunkedEncodingByDefault = false;
    response.removeHeader('transfer-encoding');
    response.shouldKeepAlive = false;
    response.end(request.url === '/cut.csv' ? content.subarray(0, 1000) : content);
  });
  await expect(text(`${origin}/a.csv`)).rejects.toMatchObject({ code: 'LOAD_SOURCE_LENGTH_UNKNOWN', exit: 2 });
  expect(await text(`${origin}/a.csv`, { proof: { sha256, sizeBytes: null } })).toBe('the content');
  expect(await text(`${origin}/a.csv`, { proof: { sha256: null, sizeBytes: content.length } })).toBe('the content');
  for (const proof of [
    { sha256, sizeBytes: null },
    { sha256: null, sizeBytes: content.length },
  ]) {
    await expect(text(`${origin}/cut.csv`, { proof })).rejects.toMatchObject({ code: 'LOAD_SOURCE_DIGEST', exit: 3 });
  }
});

test('compression that was not asked for is refused, except the usual slip with .gz files', async () => {
  const { origin } = await server((request, response) => {
    response.setHeader('content-encoding', 'gzip');
    sendContent(request, response, gzipSync(content));
  });
  await expect(text(`${origin}/a.csv`)).rejects.toMatchObject({ code: 'LOAD_SOURCE_REFUSED' });
  expect(await text(`${origin}/a.csv.gz`)).toBe('the content');
});

describe('redirects', () => {
  test('are followed up to five times', async () => {
    const { origin } = await server((request, response) => {
      const step = Number(/^\/(\d+)$/.exec(request.url ?? '')?.[1] ?? 0);
      if (step > 0) response.writeHead(302, { location: step === 1 ? '/a.csv' : `/${step - 1}` }).end();
      else sendContent(request, response, content);
    });
    expect(await text(`${origin}/5`)).toBe('the content');
    await expect(text(`${origin}/6`)).rejects.toMatchObject({
      code: 'LOAD_SOURCE_REFUSED',
      message: expect.stringContaining('more than 5'),
    });
  });

  test('in a circle end', async () => {
    const { origin, requests } = await server((_request, response) => response.writeHead(307, { location: '/' }).end());
    await expect(text(`${origin}/`)).rejects.toMatchObject({ code: 'LOAD_SOURCE_REFUSED' });
    expect(requests.length).toBe(6);
  });

  test('to another origin do not take the credentials along', async () => {
    await writeFile(join(folder, 'token'), 'Bearer canary\n');
    const other = await server((request, response) => sendContent(request, response, content));
    const first = await server((_request, response) =>
      response.writeHead(302, { location: `${other.origin}/a.csv` }).end(),
    );
    expect(await text(`${first.origin}/`, { headerFiles: { Authorization: join(folder, 'token') } })).toBe(
      'the content',
    );
    expect(first.requests[0]?.headers.authorization).toBe('Bearer canary');
    expect(other.requests[0]?.headers.authorization).toBeUndefined();
  });

  test.each([
    ['the metadata of a cloud', 'http://169.254.169.254/latest'],
    ['the same as an IPv6 form', 'http://[::ffff:169.254.169.254]/latest'],
    ['a file', 'file:///etc/passwd'],
    ['an address with a user', 'http://me:canary@127.0.0.1/'],
    ['nonsense', 'http://[/'],
  ])('to %s are refused', async (_name, location) => {
    const { origin } = await server((_request, response) => response.writeHead(302, { location }).end());
    const error = await text(`${origin}/`).catch((caught: unknown) => caught);
    expect(error).toMatchObject({ code: 'LOAD_SOURCE_REFUSED', exit: 2 });
    expect(String(error)).not.toContain('canary');
  });

  test('from https to http are refused, and the authorities of caFile are what is trusted', async () => {
    const certificate = selfSigned();
    const caFile = join(folder, 'ca.pem');
    await writeFile(caFile, certificate.certificate);
    const plain = await server((request, response) => sendContent(request, response, content));
    const secure = stack.use(
      await serve((request, response) => {
        if (request.url === '/down') response.writeHead(302, { location: plain.origin }).end();
        else sendContent(request, response, content);
      }, certificate),
    );
    expect(await text(`${secure.origin}/a.csv`, { caFile })).toBe('the content');
    await expect(text(`${secure.origin}/a.csv`)).rejects.toMatchObject({ code: 'LOAD_SOURCE_REFUSED', exit: 2 });
    await expect(text(`${secure.origin}/down`, { caFile })).rejects.toMatchObject({ code: 'LOAD_SOURCE_REFUSED' });
    expect(plain.requests).toHaveLength(0);
    expect(context.warnings).toEqual([]);
  });
});

test('a wrong credential is refused without being repeated anywhere', async () => {
  await writeFile(join(folder, 'token'), 'Bearer canary');
  const { origin } = await server((_request, response) => response.writeHead(403).end('canary'));
  const error = await text(`${origin}/a.csv?signature=canary`, {
    headerFiles: { Authorization: join(folder, 'token') },
  }).catch((caught: unknown) => caught);
  expect(error).toMatchObject({ code: 'LOAD_SOURCE_REFUSED' });
  expect(JSON.stringify([error, String(error), context.warnings])).not.toContain('canary');
  await writeFile(join(folder, 'token'), 'bad\ncanary');
  const second = await text(`${origin}/a.csv`, { headerFiles: { Authorization: join(folder, 'token') } }).catch(
    (caught: unknown) => caught,
  );
  expect(second).toMatchObject({ code: 'LOAD_SOURCE_REFUSED' });
  expect(String(second)).not.toContain('canary');
});

test('for random access the content is copied to a file that goes away afterwards', async () => {
  const { origin } = await server((request, response) => sendContent(request, response, gzipSync(content), '"v1"'));
  const made = await source(`${origin}/a.csv.gz`);
  expect(shown((await readAll(made, { randomAccess: true }))[0]?.[1])).toBe('the content');
  expect(await readdir(folder)).toEqual([]);
});

test('a stop ends the transfer with its reason', async () => {
  const { origin } = await server((_request, response) => {
    response.writeHead(200, { 'content-length': content.length });
    response.write(content.subarray(0, 100_000));
  });
  const stop = new AbortController();
  const reason = new Error('stop');
  setTimeout(() => stop.abort(reason), 50);
  await expect(readAll(await source(`${origin}/a.csv`), {}, stop.signal)).rejects.toBe(reason);
  await expect(readAll(await source(`${origin}/a.csv`), {}, stop.signal)).rejects.toBe(reason);
});
