import { randomBytes } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { type AddressInfo, connect, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { CreateBucketCommand, DeleteObjectCommand, PutObjectCommand, S3Client } from '@aws-sdk/client-s3';
import { GenericContainer, getContainerRuntimeClient, Wait } from 'testcontainers';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { type Guard, guardCommand } from '../../tools/embedded-database/guard.ts';
import type { S3Settings } from '../src/config/schema.ts';
import type { S3SourceSettings } from '../src/config/source-settings.ts';
import { byteSource, noProof, readAll, testContext } from './sources/read-source.ts';

const image = process.env['TEST_S3_IMAGE'] || 'ghcr.io/versity/versitygw:v1.8.0';
const key = { id: 'tests', secret: 'canary of tests' };
const bucket = 'data';

/** Where containers cannot be run, nothing is tested, and that is said; in CI they can. */
const runtimeFault = await getContainerRuntimeClient().then(
  () => null,
  (error: unknown) => String(error),
);
if (runtimeFault !== null) console.log(`\n!!! Nothing was tested on S3: no container runtime (${runtimeFault})\n`);
const required = Boolean(process.env['CI']) || Boolean(process.env['REQUIRE_SERVERS']);

describe.skipIf(runtimeFault !== null && !required)('objects in S3', () => {
  let folder: string;
  let endpoint: { host: string; port: number };
  let client: S3Client;
  let s3: S3Settings;
  let proxy: Proxy;
  const stops: (() => Promise<unknown>)[] = [];

  beforeAll(async () => {
    process.env['TESTCONTAINERS_RYUK_DISABLED'] = 'true';
    folder = await mkdtemp(join(tmpdir(), 's3-'));
    const container = await new GenericContainer(image)
      .withExposedPorts(7070)
      .withEnvironment({ ROOT_ACCESS_KEY: key.id, ROOT_SECRET_KEY: key.secret })
      .withCommand(['posix', '/data'])
      .withWaitStrategy(Wait.forHttp('/', 7070).forStatusCodeMatching(() => true))
      .start();
    const guard: Guard = guardCommand('docker', ['rm', '--force', '--volumes', container.getId()]);
    stops.push(
      () => container.stop({ timeout: 0 }),
      async () => await guard[Symbol.asyncDispose](),
      () => rm(folder, { recursive: true }),
    );
    endpoint = { host: container.getHost(), port: container.getMappedPort(7070) };
    proxy = await startProxy(endpoint);
    stops.push(async () => await proxy[Symbol.asyncDispose]());
    client = new S3Client({
      endpoint: `http://${endpoint.host}:${endpoint.port}`,
      region: 'us-east-1',
      forcePathStyle: true,
      credentials: { accessKeyId: key.id, secretAccessKey: key.secret },
    });
    await client.send(new CreateBucketCommand({ Bucket: bucket }));
    await writeFile(join(folder, 'id'), `${key.id}\n`);
    await writeFile(join(folder, 'secret'), `${key.secret}\n`);
    s3 = {
      endpoint: proxy.address,
      region: 'us-east-1',
      forcePathStyle: true,
      accessKeyIdFile: join(folder, 'id'),
      secretAccessKeyFile: join(folder, 'secret'),
    };
  });
  afterEach(() => proxy.cutAfter([]));
  afterAll(async () => {
    client?.destroy();
    for (const stop of stops) await stop();
  });

  const put = (name: string, body: string | Buffer) =>
    client.send(new PutObjectCommand({ Bucket: bucket, Key: name, Body: body }));
  const signal = () => AbortSignal.timeout(20_000);
  const open = async (name: string, settings: Partial<S3Settings> = {}, more: Partial<S3SourceSettings> = {}) =>
    await byteSource(
      { kind: 's3', bucket, key: name, isPattern: name.includes('*'), proof: noProof, ...more },
      testContext(folder, { s3: { ...s3, ...settings } }),
    );
  const content = Buffer.from(Array.from({ length: 100_000 }, (_, row) => `${row},name ${row}\n`).join(''));

  test('an object is read whole, decompressed, and told by its ETag without being read', async () => {
    await put('one/a.csv.gz', gzipSync(content));
    const source = await open('one/a.csv.gz');
    const before = await source.fingerprint(signal());
    expect(before).toMatchObject({
      kind: 'etag',
      value: expect.stringMatching(/^".+"$/),
      bytes: gzipSync(content).length,
    });
    const [[name, text] = ['', '']] = await readAll(source);
    expect(name).toBe('s3://data/one/a.csv.gz');
    expect(text === content.toString()).toBe(true);
    expect(await source.fingerprint(signal())).toEqual(before);
    await readAll(source);
  });

  test('a pattern gives its objects in order of their keys; the star stays within a folder', async () => {
    for (const name of ['many/b.csv', 'many/a.csv', 'many/c.txt', 'many/deep/d.csv', 'many/.e.csv', 'many/ä %41.csv'])
      await put(name, name);
    const source = await open('many/*.csv');
    expect(await readAll(source)).toEqual(
      ['many/a.csv', 'many/b.csv', 'many/ä %41.csv'].map((name) => [`s3://data/${name}`, name]),
    );
    expect((await readAll(await open('many/**/*.csv'))).map(([name]) => name)).toContain('s3://data/many/deep/d.csv');
    const before = await (await open('many/*.csv')).fingerprint(signal());
    expect(before).toEqual(await source.fingerprint(signal()));
    await put('many/b.csv', 'other');
    expect(await (await open('many/*.csv')).fingerprint(signal())).not.toEqual(before);
    await expect(readAll(await open('none/*.csv'))).rejects.toMatchObject({ code: 'LOAD_SOURCE_MISSING' });
  });

  test('an object that changes between two passes, or since its fingerprint was taken, is noticed', async () => {
    await put('change.csv', 'one');
    const twice = await open('change.csv');
    await readAll(twice);
    const told = await open('change.csv');
    await told.fingerprint(signal());
    await put('change.csv', 'two');
    await expect(readAll(twice)).rejects.toMatchObject({ code: 'LOAD_SOURCE_CHANGED', exit: 1 });
    await expect(readAll(told)).rejects.toMatchObject({ code: 'LOAD_SOURCE_CHANGED' });
  });

  test('a transfer that breaks goes on where it broke, and ends after bounded tries without progress', async () => {
    await put('break.csv', content);
    proxy.cutAfter([500_000, 300_000]);
    const text = (await readAll(await open('break.csv')))[0]?.[1];
    expect(text === content.toString()).toBe(true);
    expect(proxy.cuts()).toBe(2);
    proxy.cutAfter([500_000, ...Array(20).fill(0)]);
    await expect(readAll(await open('break.csv'))).rejects.toMatchObject({ code: 'LOAD_SOURCE_UNREACHABLE', exit: 1 });
  });

  test('a transfer that breaks while the object changes is an error', async () => {
    await put('swap.csv', content);
    proxy.cutAfter([500_000]);
    const run = async () => {
      for await (const file of (await open('swap.csv')).open(signal())) {
        let first = true;
        for await (const _ of file.bytes()) {
          if (first) await put('swap.csv', Buffer.from(content).fill('x', content.length - 10));
          first = false;
        }
      }
    };
    await expect(run()).rejects.toMatchObject({ code: 'LOAD_SOURCE_CHANGED' });
  });

  test('an object that is not there is missing, also when it went away since', async () => {
    await expect(readAll(await open('none.csv'))).rejects.toMatchObject({ code: 'LOAD_SOURCE_MISSING', exit: 2 });
    await expect((await open('none.csv')).fingerprint(signal())).rejects.toMatchObject({ code: 'LOAD_SOURCE_MISSING' });
    await put('gone.csv', 'x');
    const source = await open('gone.csv');
    await readAll(source);
    await client.send(new DeleteObjectCommand({ Bucket: bucket, Key: 'gone.csv' }));
    await expect(readAll(source)).rejects.toMatchObject({ code: 'LOAD_SOURCE_MISSING' });
  });

  test('a wrong key is refused without being repeated', async () => {
    await put('a.csv', 'x');
    await writeFile(join(folder, 'wrong'), 'another canary');
    const error = await readAll(await open('a.csv', { secretAccessKeyFile: join(folder, 'wrong') })).catch(
      (caught: unknown) => caught,
    );
    expect(error).toMatchObject({ code: 'LOAD_SOURCE_REFUSED', exit: 2 });
    expect(JSON.stringify([error, String(error)])).not.toContain('canary');
  });

  test('a promise of size or digest is kept or refused', async () => {
    await put('proof.csv', 'content');
    await expect(
      readAll(await open('proof.csv', {}, { proof: { sha256: randomBytes(32).toString('hex'), sizeBytes: null } })),
    ).rejects.toMatchObject({ code: 'LOAD_SOURCE_DIGEST' });
    expect(await readAll(await open('proof.csv', {}, { proof: { sha256: null, sizeBytes: 7 } }))).toHaveLength(1);
  });

  test('a server that is not there is unreachable after bounded tries', async () => {
    const source = await open('a.csv', { endpoint: 'http://127.0.0.1:9' });
    await expect(readAll(source)).rejects.toMatchObject({ code: 'LOAD_SOURCE_UNREACHABLE', exit: 1 });
    await expect(source.fingerprint(signal())).rejects.toMatchObject({ code: 'LOAD_SOURCE_UNREACHABLE' });
  });
});

interface Proxy extends AsyncDisposable {
  readonly address: string;
  /** Breaks the next connections, each after so many bytes of answers. */
  cutAfter(bytes: readonly number[]): void;
  cuts(): number;
}

/** Passes connections on and breaks them when told to. */
async function startProxy(target: { host: string; port: number }): Promise<Proxy> {
  let plan: number[] = [];
  let done = 0;
  const sockets = new Set<{ destroy(): unknown }>();
  const server = createServer((downstream) => {
    const upstream = connect(target.port, target.host);
    const limit = plan.shift() ?? Number.POSITIVE_INFINITY;
    let passed = 0;
    const close = () => {
      downstream.destroy();
      upstream.destroy();
    };
    for (const socket of [downstream, upstream]) {
      sockets.add(socket);
      socket.on('error', close).on('close', close);
    }
    downstream.pipe(upstream);
    upstream.on('data', (data) => {
      const part = data.subarray(0, Math.max(limit - passed, 0));
      passed += data.length;
      downstream.write(part);
      if (passed > limit) {
        done++;
        // What was written still goes out.
        downstream.end();
        upstream.destroy();
      }
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  // A server that listens on TCP has an address of this kind.
  const { port } = server.address() as AddressInfo;
  return {
    address: `http://127.0.0.1:${port}`,
    cutAfter: (bytes) => {
      // Connections that are kept open would not count.
      for (const socket of sockets) socket.destroy();
      sockets.clear();
      plan = [...bytes];
      done = 0;
    },
    cuts: () => done,
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
