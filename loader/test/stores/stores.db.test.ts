import { randomBytes } from 'node:crypto';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { GetObjectCommand, PutObjectCommand } from '@aws-sdk/client-s3';
import type { Connection } from '@tableset/common/database/connection.ts';
import { afterAll, beforeAll, describe } from 'vitest';
import { describeEachServer, type TestSchema } from '../../../test/servers.ts';
import type { StoreSettings } from '../../src/config/archive-config.ts';
import { openStore } from '../../src/stores/open-store.ts';
import { storeSettings } from '../archive-two-server-kit.ts';
import { type Place, type Sample, storeContract } from './contract.ts';
import { type S3Server, s3IsMissing, s3StoreSettings, startS3Server } from './s3-server.ts';
import { fillTypes, openPrimary, readSample } from './typed-rows.ts';

describeEachServer('stores for rows', (server) => {
  let schema: TestSchema;
  let primary: Connection;
  let folder: string;
  let typed: Promise<readonly Sample[]> | undefined;

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'stores-'));
    schema = await server.createSchema();
    primary = await openPrimary(schema);
  });
  afterAll(async () => {
    await primary?.[Symbol.asyncDispose]();
    await rm(folder, { recursive: true });
  });

  const samples = () => {
    typed ??= (async () => {
      const read: Sample[] = [];
      for (const name of await fillTypes(schema, server.flavour)) read.push(await readSample(primary, name));
      return read;
    })();
    return typed;
  };
  const placeOf = (settings: StoreSettings, tamper: Place['tamper']): Place => ({
    open: (signal = new AbortController().signal) => openStore(settings, { primary, signal, warn: () => {} }),
    tamper,
  });
  const freshPath = () => join(folder, randomBytes(6).toString('hex'));

  describe.each(['parquet', 'jsonl'] as const)('in files of the file system, %s', (format) => {
    storeContract(async () => {
      const path = freshPath();
      await mkdir(path);
      const files = { format, compression: 'gzip' } as const;
      const settings: StoreSettings = { kind: 'filesystem', name: 'cold', position: 'test', folder: path, files };
      return placeOf(settings, async (batch, table) => {
        const file = join(path, batch.rootTable, batch.id, table.file?.name ?? '');
        await writeFile(file, flipped(await readFile(file)));
      });
    }, samples);
  });

  describe('in SQLite', () => {
    storeContract(async () => {
      const path = freshPath();
      return placeOf({ kind: 'sqlite', name: 'cold', position: 'test', path }, async (batch, table) => {
        using database = new DatabaseSync(path);
        database.exec(`UPDATE ${table.archiveName} SET note = 'other' WHERE id = '5' AND tableset_batch = ${batch.id}`);
      });
    }, samples);
  });

  describe('on a server', () => {
    storeContract(async () => {
      const archive = await server.createSchema();
      return placeOf(storeSettings(archive), async (batch, table) => {
        await archive.query(
          `UPDATE ${table.archiveName} SET note = 'other' WHERE id = 5 AND tableset_batch = ${batch.id}`,
        );
      });
    }, samples);
  });

  describe.skipIf(s3IsMissing)('in S3', () => {
    let s3: S3Server;
    beforeAll(async () => {
      s3 = await startS3Server();
    });
    afterAll(async () => await s3?.[Symbol.asyncDispose]());

    storeContract(async () => {
      const bucket = await s3.createBucket();
      return placeOf(s3StoreSettings(bucket, s3.settings()), async (batch, table) => {
        const Key = `archive/shop/${batch.rootTable}/${batch.id}/${table.file?.name}`;
        const there = await s3.client.send(new GetObjectCommand({ Bucket: bucket, Key }));
        const bytes = (await there.Body?.transformToByteArray()) ?? new Uint8Array(1);
        await s3.client.send(new PutObjectCommand({ Bucket: bucket, Key, Body: flipped(Buffer.from(bytes)) }));
      });
    }, samples);
  });
});

/** The same bytes but for one bit in their midst. */
function flipped(bytes: Buffer): Buffer {
  const at = bytes.length >> 1;
  bytes[at] = (bytes[at] ?? 0) ^ 1;
  return bytes;
}
