import { randomBytes } from 'node:crypto';
import {
  CreateMultipartUploadCommand,
  GetObjectCommand,
  ListMultipartUploadsCommand,
  ListObjectsV2Command,
  PutObjectCommand,
} from '@aws-sdk/client-s3';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { batchDigest } from '../../src/core/archive/canonical.ts';
import type { ManifestTable } from '../../src/core/archive/manifest.ts';
import type { S3Timing } from '../../src/stores/s3-client.ts';
import { openS3Store } from '../../src/stores/s3-store.ts';
import type { BatchName } from '../../src/stores/store.ts';
import { archive, newBatch, type Sample } from './contract.ts';
import { type HttpProxy, startHttpProxy } from './http-proxy.ts';
import { type S3Server, s3IsMissing, s3StoreSettings, startS3Server } from './s3-server.ts';
import { collect, columnOf, inBatches, manifestOf, manifestTableOf, rowOf, tableOf } from './tables.ts';

const table = tableOf('orders', [columnOf('id', 'int'), columnOf('note', 'varchar(100)'), columnOf('body', 'blob')]);
const sample: Sample = { table, rows: Array.from({ length: 100 }, (_, at) => rowOf(String(at), `note ${at}`, null)) };
const timing = { retryDelayMs: 5, attempts: 4 };

describe.skipIf(s3IsMissing)('an S3 server that fails', () => {
  let s3: S3Server;
  let proxy: HttpProxy;
  let bucket: string;

  beforeAll(async () => {
    s3 = await startS3Server();
    proxy = await startHttpProxy(s3);
  });
  beforeEach(async () => {
    bucket = await s3.createBucket();
  });
  afterEach(() => proxy.spoil(() => null));
  afterAll(async () => {
    await proxy?.[Symbol.asyncDispose]();
    await s3?.[Symbol.asyncDispose]();
  });

  const open = (endpoint = proxy.address, name = bucket, more: Partial<S3Timing> = {}) =>
    openS3Store(s3StoreSettings(name, s3.settings(endpoint)), {
      signal: AbortSignal.timeout(30_000),
      warn: () => {},
      timing: { ...timing, ...more },
    });
  const keyOf = (batch: BatchName, name = 'orders.parquet') => `archive/shop/orders/${batch.id}/${name}`;
  const keys = async () =>
    ((await s3.client.send(new ListObjectsV2Command({ Bucket: bucket }))).Contents ?? []).map(({ Key }) => Key);
  const uploads = async () => (await s3.client.send(new ListMultipartUploadsCommand({ Bucket: bucket }))).Uploads ?? [];
  const content = async (Key: string) =>
    await (await s3.client.send(new GetObjectCommand({ Bucket: bucket, Key }))).Body?.transformToString();
  const write = async (batch: BatchName, more: Partial<S3Timing> = {}) => {
    await using store = await open(proxy.address, bucket, more);
    const file = await store.write(batch, table, inBatches(sample.rows));
    return manifestOf(batch.id, [manifestTableOf(table, sample.rows, file)]);
  };

  test('fault 20: 503 again and again ends after bounded tries with nothing under its name', async () => {
    const batch = newBatch();
    proxy.spoil((method) => (method === 'PUT' ? { answer: 503, code: 'SlowDown' } : null));
    await expect(write(batch)).rejects.toMatchObject({
      code: 'STORE_UNAVAILABLE',
      exit: 1,
      details: { store: 'cold', status: 503 },
    });
    expect(proxy.requests).toHaveLength(timing.attempts);
    expect(await keys()).toEqual([]);
  });

  test('fault 22: what passes is tried again: 503, 409 and an answer that was lost', async () => {
    for (const spoil of [
      { answer: 503, code: 'SlowDown' },
      { answer: 409, code: 'ConditionalRequestConflict' },
    ] as const) {
      const batch = newBatch();
      proxy.spoil((method, _, count) => (method === 'PUT' && count < 3 ? spoil : null));
      await write(batch);
      expect(await keys()).toContain(keyOf(batch));
    }
    // The object is there, so that the second try is refused with 412, and it is compared.
    const batch = newBatch();
    proxy.spoil((method, _, count) => (method === 'PUT' && count === 1 ? { lose: true } : null));
    const manifest = await write(batch);
    expect(proxy.requests.map((each) => each.slice(0, 3))).toEqual(['PUT', 'PUT', 'GET']);
    await using store = await open();
    expect(await collect(store.rows(batch, manifest.tables[0] as ManifestTable))).toEqual(sample.rows); // the one written
  });

  test('fault 22: an object with other content is left as it is, and so is a manifest', async () => {
    const batch = newBatch();
    for (const name of ['orders.parquet', 'manifest.json'])
      await s3.client.send(new PutObjectCommand({ Bucket: bucket, Key: keyOf(batch, name), Body: 'of someone else' }));
    await expect(write(batch)).rejects.toMatchObject({ code: 'ARCHIVE_VERIFY_FAILED', exit: 3 });
    await using store = await open();
    await expect(store.seal(batch, manifestOf(batch.id, []))).rejects.toMatchObject({ code: 'ARCHIVE_VERIFY_FAILED' });
    await expect(store.manifest(batch)).rejects.toMatchObject({ code: 'ARCHIVE_VERIFY_FAILED' });
    expect(await content(keyOf(batch))).toBe('of someone else');
    expect(await content(keyOf(batch, 'manifest.json'))).toBe('of someone else');
  });

  test('fault 21: a body that is short or changed is no proof, whatever its ETag says', async () => {
    const batch = newBatch();
    await using store = await open();
    const manifest = await archive(store, batch, [sample]);
    const written = manifest.tables[0] as ManifestTable; // the one written
    const changes = [
      (body: Buffer) => body.subarray(0, body.length - 1),
      (body: Buffer) => Buffer.concat([body, Buffer.of(0)]),
      (body: Buffer) => Buffer.concat([body.subarray(0, 40), Buffer.of((body[40] ?? 0) ^ 1), body.subarray(41)]),
      () => Buffer.alloc(0),
    ];
    for (const change of changes) {
      proxy.spoil((method) => (method === 'GET' ? { change } : null));
      await expect(collect(store.hashes(batch, written))).rejects.toMatchObject({
        code: 'ARCHIVE_VERIFY_FAILED',
        exit: 3,
        message: expect.stringMatching(/store cold: batch \d+ of orders: orders\.parquet has \d+ bytes/),
      });
    }
    proxy.spoil((method, _, count) => (method === 'GET' && count < 3 ? { cutAfter: 100 } : null));
    expect(await collect(store.hashes(batch, written))).toHaveLength(100);
    proxy.spoil((method) => (method === 'GET' ? { cutAfter: 100 } : null));
    await expect(collect(store.hashes(batch, written))).rejects.toMatchObject({ code: 'STORE_UNAVAILABLE', exit: 1 });
    expect(proxy.requests).toHaveLength(timing.attempts);
  });

  test('fault 17: a server that falls silent, before its answer or within it, is left and asked again', async () => {
    const impatient = { silenceTimeoutMs: 400 };
    const batch = newBatch();
    proxy.spoil((method, _, count) => (method === 'PUT' && count === 1 ? { stallAfter: null } : null));
    const manifest = await write(batch, impatient);
    // The first request was done, so that the second finds the object there and compares it.
    expect(proxy.requests.map((each) => each.slice(0, 3))).toEqual(['PUT', 'PUT', 'GET']);
    await using store = await open(proxy.address, bucket, impatient);
    const written = manifest.tables[0] as ManifestTable; // the one written
    proxy.spoil((method, _, count) => (method === 'GET' && count < 3 ? { stallAfter: 100 } : null));
    expect(await collect(store.rows(batch, written))).toEqual(sample.rows);
    proxy.spoil((method) => (method === 'GET' ? { stallAfter: 100 } : null));
    await expect(collect(store.rows(batch, written))).rejects.toMatchObject({ code: 'STORE_UNAVAILABLE', exit: 1 });
    expect(proxy.requests).toHaveLength(timing.attempts);
  });

  test('fault 24: refused credentials end it at once, and are not shown', async () => {
    proxy.spoil(() => ({ answer: 403, code: 'ExpiredToken' }));
    const error = await write(newBatch()).catch((caught: unknown) => caught);
    expect(error).toMatchObject({ code: 'STORE_UNAVAILABLE', message: expect.stringContaining('ExpiredToken, 403') });
    expect(proxy.requests).toHaveLength(1);
    expect(JSON.stringify([error, String(error)])).not.toContain('canary');
  });

  test('fault 8: a run that is stopped does not wait for a server that says nothing', async () => {
    const controller = new AbortController();
    const { signal } = controller;
    proxy.spoil(() => ({ stallAfter: null }));
    const settings = s3StoreSettings(bucket, s3.settings(proxy.address));
    await using store = await openS3Store(settings, { signal, warn: () => {}, timing: { silenceTimeoutMs: 60_000 } });
    const reason = new Error('stopped');
    setTimeout(() => controller.abort(reason), 100);
    await expect(store.manifest(newBatch())).rejects.toBe(reason);
  });

  test('fault 20: a machine without room for temporary files says so', async () => {
    const before = process.env['TMPDIR'];
    process.env['TMPDIR'] = '/nowhere/at/all';
    try {
      await expect(write(newBatch())).rejects.toMatchObject({
        code: 'STORE_UNAVAILABLE',
        exit: 1,
        message: expect.stringContaining('no temporary file can be made in /nowhere/at/all (ENOENT)'),
      });
    } finally {
      if (before === undefined) delete process.env['TMPDIR'];
      else process.env['TMPDIR'] = before;
    }
    expect(await keys()).toEqual([]);
  });

  test('large files go in parts, on the same condition', async () => {
    const large: Sample = {
      table,
      rows: Array.from({ length: 17 }, (_, at) => rowOf(String(at), null, randomBytes(1 << 20))),
    };
    const batch = newBatch();
    await using store = await open();
    const manifest = await archive(store, batch, [large]);
    expect(proxy.requests.some((each) => each.includes('partNumber=3'))).toBe(true);
    const written = manifest.tables[0] as ManifestTable; // the one written
    const digest = async () => batchDigest((await collect(store.hashes(batch, written))).map(({ hash }) => hash));
    expect(await digest()).toBe(written.sha256);
    expect(await uploads()).toEqual([]);
    // The same name once more: the same content is fine, other content is not.
    await store.write(batch, table, inBatches(large.rows));
    const others = large.rows.map(([id = null, note = null]) => [id, note, randomBytes(1 << 20)]);
    const before = proxy.requests.length;
    await expect(store.write(batch, table, inBatches(others))).rejects.toMatchObject({ code: 'ARCHIVE_VERIFY_FAILED' });
    expect(proxy.requests.slice(before).some((each) => each.includes('partNumber'))).toBe(true);
    expect(await uploads()).toEqual([]);
    expect(await digest()).toBe(written.sha256);
  });

  test('an upload that was never finished is listed, and taken away with its batch', async () => {
    const batch = newBatch();
    await s3.client.send(new CreateMultipartUploadCommand({ Bucket: bucket, Key: keyOf(batch) }));
    await using store = await open();
    const ids: string[] = [];
    for await (const id of store.batches('orders')) ids.push(id);
    expect(ids).toEqual([batch.id]);
    await store.remove(batch, []);
    expect(await uploads()).toEqual([]);
  });

  test('a server that ignores the condition, a bucket and a server that are not there', async () => {
    await using store = await open();
    expect(await store.prepare([table], 'refuse')).toEqual([]);
    expect(await keys()).toEqual([]);
    proxy.spoil((method, _, count) => (method === 'PUT' && count === 2 ? { answer: 200, code: '' } : null));
    await expect(store.prepare([table], 'refuse')).rejects.toMatchObject({ code: 'ARCHIVE_STORE_UNSUITABLE', exit: 3 });
    await using none = await open(proxy.address, 'nosuchbucket');
    for (const attempt of [() => none.prepare([table], 'refuse'), () => none.manifest(newBatch())])
      await expect(attempt()).rejects.toMatchObject({ code: 'STORE_UNAVAILABLE', exit: 1 });
    await using gone = await open('http://127.0.0.1:9');
    await expect(gone.manifest(newBatch())).rejects.toMatchObject({ code: 'STORE_UNAVAILABLE' });
  });
});
