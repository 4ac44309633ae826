import { matchesGlob } from 'node:path';
import type { Readable } from 'node:stream';
import type { GetObjectCommandOutput, S3Client } from '@aws-sdk/client-s3';
import { AppError } from '@tableset/common/errors.ts';
import type { S3Settings } from '../config/schema.ts';
import type { S3SourceSettings } from '../config/source-settings.ts';
import { loaderError } from '../errors.ts';
import { delay } from '../http/delay.ts';
import { s3Config } from '../http/s3-config.ts';
import { download, type Part, Passing } from './download.ts';
import { refusedConnection, statusFailure, statusVerdict } from './failure.ts';
import type { RawFile, RawFiles, ServerIdentity } from './raw-files.ts';
import { type SourceContext, type TransferTiming, transferTiming } from './source.ts';

const objectsMax = 10_000;

/** Objects of one bucket: one key, or all that a pattern matches, in order of their keys. The client is imported at first use. */
export function s3Files(settings: S3SourceSettings, context: Pick<SourceContext, 's3' | 'warn' | 'timing'>): RawFiles {
  const timing = { ...transferTiming, ...context.timing };
  const { endpoint } = context.s3;
  if (endpoint?.startsWith('http:'))
    context.warn('an S3 endpoint is reached over plain http, where anyone on the way can read and change data', {
      endpoint,
    });
  let client: Promise<Store> | null = null;
  const connected = () => (client ??= connect(context.s3, timing));
  return {
    describe: () => nameOf(settings, settings.key),
    async list(signal) {
      const store = await connected();
      const keys = settings.isPattern ? [...(await matches(store, settings, signal)).keys()] : [settings.key];
      return keys.map((key) => rawFile(store, settings, key));
    },
    async identities(signal) {
      const store = await connected();
      const found = settings.isPattern
        ? await matches(store, settings, signal)
        : new Map([[settings.key, await head(store, settings, signal)]]);
      return new Map([...found].map(([key, identity]) => [nameOf(settings, key), identity]));
    },
  };
}

interface Store {
  readonly sdk: typeof import('@aws-sdk/client-s3');
  readonly client: S3Client;
  readonly timing: TransferTiming;
}

async function connect(settings: S3Settings, timing: TransferTiming): Promise<Store> {
  const sdk = await import('@aws-sdk/client-s3');
  const config = s3Config(settings, {
    connectTimeoutMs: timing.connectTimeoutMs,
    silenceTimeoutMs: timing.responseTimeoutMs,
  });
  return { sdk, client: new sdk.S3Client(config), timing };
}

function nameOf(settings: S3SourceSettings, key: string): string {
  return `s3://${settings.bucket}/${key}`;
}

function rawFile(store: Store, settings: S3SourceSettings, key: string): RawFile {
  const name = nameOf(settings, key);
  return {
    name,
    localPath: null,
    bytes: (signal, seen) =>
      download(
        name,
        async ({ offset, strongEtag }, abortSignal) => {
          const etag = strongEtag ?? seen?.value;
          const command = new store.sdk.GetObjectCommand({
            Bucket: settings.bucket,
            Key: key,
            ...(etag === undefined ? {} : { IfMatch: etag }),
            ...(offset > 0 ? { Range: `bytes=${offset}-` } : {}),
          });
          return partOf(await asked(name, store.client.send(command, { abortSignal }), abortSignal), offset);
        },
        store.timing,
        signal,
        seen,
      ),
  };
}

function partOf(output: GetObjectCommandOutput, asked: number): Part {
  const range = /^bytes (\d+)-\d+\/(\d+)$/.exec(output.ContentRange ?? '');
  const totalBytes = range ? Number(range[2]) : (output.ContentLength ?? null);
  return {
    // In Node the client gives a byte stream.
    body: output.Body as Readable,
    offset: range ? asked : 0,
    totalBytes,
    identity: output.ETag === undefined ? null : { value: output.ETag, bytes: totalBytes },
    // S3's ETags are strong: another content under the same key has another one.
    strongEtag: output.ETag ?? null,
  };
}

async function head(store: Store, settings: S3SourceSettings, signal: AbortSignal): Promise<ServerIdentity | null> {
  const command = new store.sdk.HeadObjectCommand({ Bucket: settings.bucket, Key: settings.key });
  const output = await once(
    nameOf(settings, settings.key),
    () => store.client.send(command, { abortSignal: signal }),
    store.timing,
    signal,
  );
  return output.ETag === undefined ? null : { value: output.ETag, bytes: output.ContentLength ?? null };
}

/** Keys that match, with what the listing says of them. Parts that start with a dot match only where the pattern has the dot. */
async function matches(
  store: Store,
  settings: S3SourceSettings,
  signal: AbortSignal,
): Promise<Map<string, ServerIdentity | null>> {
  const name = nameOf(settings, settings.key);
  const prefix = settings.key.slice(0, settings.key.search(/[*?[{]/));
  const found: [string, ServerIdentity | null][] = [];
  let token: string | undefined;
  do {
    const command = new store.sdk.ListObjectsV2Command({
      Bucket: settings.bucket,
      Prefix: prefix,
      ...(token === undefined ? {} : { ContinuationToken: token }),
    });
    const page = await once(name, () => store.client.send(command, { abortSignal: signal }), store.timing, signal);
    for (const { Key: key, ETag: etag, Size: size } of page.Contents ?? []) {
      if (key === undefined || key.endsWith('/') || !matchesGlob(key, settings.key)) continue;
      found.push([key, etag === undefined ? null : { value: etag, bytes: size ?? null }]);
      if (found.length > objectsMax)
        throw loaderError('LOAD_SOURCE_TOO_LARGE', `${name} matches more than ${objectsMax} objects`, {
          hint: 'Use a narrower pattern.',
        });
    }
    token = page.NextContinuationToken;
  } while (token !== undefined);
  if (found.length === 0) throw loaderError('LOAD_SOURCE_MISSING', `${name} matches no object`);
  return new Map(found.sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0)));
}

/** A request outside a transfer, tried again as one within is. */
async function once<T>(name: string, send: () => Promise<T>, timing: TransferTiming, signal: AbortSignal): Promise<T> {
  for (let tries = 1; ; tries++) {
    try {
      return await asked(name, send(), signal);
    } catch (error) {
      if (!(error instanceof Passing)) throw error;
      if (tries >= timing.attempts) throw error.failure;
      await delay(timing.retryDelayMs * 2 ** (tries - 1), signal);
    }
  }
}

/** Turns what the client throws into the documented errors, by the HTTP status where there was an answer. */
async function asked<T>(name: string, answer: Promise<T>, signal: AbortSignal): Promise<T> {
  try {
    return await answer;
  } catch (error) {
    if (signal.aborted) throw signal.reason;
    if (error instanceof AppError) throw error;
    const status = statusOf(error);
    const kind = error instanceof Error ? error.name : 'unknown error';
    if (status === null && kind === 'CredentialsProviderError') {
      throw loaderError('LOAD_SOURCE_REFUSED', `there are no credentials for ${name}`, {
        cause: error,
        hint: 'Set accessKeyIdFile and secretAccessKeyFile in the s3 section, or the usual AWS variables.',
      });
    }
    const refused = refusedConnection(error, name);
    if (refused) throw refused;
    if (status === null)
      throw new Passing(
        loaderError('LOAD_SOURCE_UNREACHABLE', `${name} cannot be reached (${kind})`, { cause: error }),
      );
    const failure = statusFailure(status, name, error);
    throw statusVerdict(status) === 'retry' ? new Passing(failure) : failure;
  }
}

function statusOf(error: unknown): number | null {
  // The client's service exceptions carry the answer's status here; other errors have no such part.
  const status = (error as { $metadata?: { httpStatusCode?: number } } | null)?.$metadata?.httpStatusCode;
  return status ?? null;
}
