/** A real S3 server in a container, for the tests of a file. */
import { randomBytes } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  CreateBucketCommand,
  DeleteObjectsCommand,
  GetObjectCommand,
  ListObjectsV2Command,
  S3Client,
} from '@aws-sdk/client-s3';
import { GenericContainer, getContainerRuntimeClient, Wait } from 'testcontainers';
import { guardCommand } from '../../../tools/embedded-database/guard.ts';
import type { StoreSettings } from '../../src/config/archive-config.ts';
import type { S3Settings } from '../../src/config/schema.ts';

const image = process.env['TEST_S3_IMAGE'] || 'ghcr.io/versity/versitygw:v1.8.0';
const key = { id: 'tests', secret: 'canary of tests' };

/** Where containers cannot be run, nothing is tested, and that is said; in CI they can. */
const runtimeFault = await getContainerRuntimeClient().then(
  () => null,
  (error: unknown) => String(error),
);
if (runtimeFault !== null) console.log(`\n!!! Nothing was tested on S3: no container runtime (${runtimeFault})\n`);
const required = Boolean(process.env['CI']) || Boolean(process.env['REQUIRE_SERVERS']);
export const s3IsMissing = runtimeFault !== null && !required;

export interface S3Server extends AsyncDisposable {
  readonly host: string;
  readonly port: number;
  /** Its own client, as root. */
  readonly client: S3Client;
  settings(endpoint?: string): S3Settings;
  /** A bucket of its own. */
  createBucket(): Promise<string>;
  /** Its objects by key, up to a thousand. */
  contents(bucket: string): Promise<readonly (readonly [string, Buffer])[]>;
  empty(bucket: string): Promise<void>;
}

export async function startS3Server(): Promise<S3Server> {
  process.env['TESTCONTAINERS_RYUK_DISABLED'] = 'true';
  await using stack = new AsyncDisposableStack();
  const folder = await mkdtemp(join(tmpdir(), 's3-'));
  stack.defer(() => rm(folder, { recursive: true }));
  const container = await new GenericContainer(image)
    .withExposedPorts(7070)
    .withEnvironment({ ROOT_ACCESS_KEY: key.id, ROOT_SECRET_KEY: key.secret })
    .withCommand(['posix', '/data'])
    .withWaitStrategy(Wait.forHttp('/', 7070).forStatusCodeMatching(() => true))
    .start();
  const guard = guardCommand('docker', ['rm', '--force', '--volumes', container.getId()]);
  stack.defer(async () => {
    await container.stop({ timeout: 0 });
    await guard[Symbol.asyncDispose]();
  });
  const [host, port] = [container.getHost(), container.getMappedPort(7070)];
  await writeFile(join(folder, 'id'), `${key.id}\n`);
  await writeFile(join(folder, 'secret'), `${key.secret}\n`);
  const client = stack.adopt(
    new S3Client({
      endpoint: `http://${host}:${port}`,
      region: 'us-east-1',
      forcePathStyle: true,
      credentials: { accessKeyId: key.id, secretAccessKey: key.secret },
    }),
    (each) => each.destroy(),
  );
  const keys = async (bucket: string) => {
    const { Contents: contents = [] } = await client.send(new ListObjectsV2Command({ Bucket: bucket }));
    return contents.map(({ Key: key = '' }) => key);
  };
  const held = stack.move();
  return {
    host,
    port,
    client,
    settings: (endpoint = `http://${host}:${port}`) => ({
      endpoint,
      region: 'us-east-1',
      forcePathStyle: true,
      accessKeyIdFile: join(folder, 'id'),
      secretAccessKeyFile: join(folder, 'secret'),
    }),
    async createBucket() {
      const bucket = `b${randomBytes(6).toString('hex')}`;
      await client.send(new CreateBucketCommand({ Bucket: bucket }));
      return bucket;
    },
    async contents(bucket) {
      const found: [string, Buffer][] = [];
      for (const key of await keys(bucket)) {
        const { Body: body } = await client.send(new GetObjectCommand({ Bucket: bucket, Key: key }));
        found.push([key, Buffer.from((await body?.transformToByteArray()) ?? [])]);
      }
      return found;
    },
    async empty(bucket) {
      const objects = (await keys(bucket)).map((key) => ({ Key: key }));
      if (objects.length > 0)
        await client.send(new DeleteObjectsCommand({ Bucket: bucket, Delete: { Objects: objects } }));
    },
    [Symbol.asyncDispose]: () => held.disposeAsync(),
  };
}

export function s3StoreSettings(
  bucket: string,
  s3: S3Settings,
  format: 'parquet' | 'jsonl' = 'parquet',
): StoreSettings & { readonly kind: 's3' } {
  const files = { format, compression: 'zstd' } as const;
  return { kind: 's3', name: 'cold', position: 'test', bucket, prefix: 'archive/shop', s3, files };
}
