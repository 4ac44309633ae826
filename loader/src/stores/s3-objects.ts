import { createHash, randomBytes } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { open } from 'node:fs/promises';
import type { Readable } from 'node:stream';
import { loaderError } from '../errors.ts';
import { digestFile, writeWhole } from './file-batches.ts';
import { NameTaken, type S3Access, statusOf } from './s3-client.ts';
import type { StoredFile } from './store.ts';
import { TemporaryFile } from './temporary-file.ts';

/** Objects up to this size are one request; S3 takes parts from 5 MiB on, and 10,000 of them. */
const partBytes = 8 << 20;
const deletesMax = 1000;

type Digest = Pick<StoredFile, 'bytes' | 'sha256'>;

/** Objects of one bucket, created once and never written over. */
export class S3Objects {
  readonly #access: S3Access;
  readonly #bucket: string;
  readonly #store: string;
  readonly #signal: AbortSignal;
  readonly #abort: { readonly abortSignal: AbortSignal };

  constructor(access: S3Access, bucket: string, store: string, signal: AbortSignal) {
    this.#access = access;
    this.#bucket = bucket;
    this.#store = store;
    this.#signal = signal;
    this.#abort = { abortSignal: signal };
  }

  /**
   * Creates an object from a file, on the condition that there is none. An object that is there already, be it from a request whose answer was
   * lost, is compared.
   * @throws AppError ARCHIVE_VERIFY_FAILED if it has other content, STORE_UNAVAILABLE
   */
  async create(key: string, path: string, content: Digest): Promise<void> {
    try {
      if (content.bytes <= partBytes) await this.#put(key, path);
      else await this.#putParts(key, path, content.bytes);
    } catch (error) {
      if (!(error instanceof NameTaken)) throw error;
      await using there = await this.download(key);
      const found = there === null ? null : await digestFile(there.handle, this.#signal);
      if (found?.bytes === content.bytes && found.sha256 === content.sha256) return;
      throw loaderError(
        'ARCHIVE_VERIFY_FAILED',
        `store ${this.#store}: ${this.nameOf(key)} is there already with other content, which was left as it is`,
        { cause: error, details: { store: this.#store } },
      );
    }
  }

  async #put(key: string, path: string): Promise<void> {
    const { PutObjectCommand } = this.#access.sdk;
    await using file = await open(path);
    const body = await file.readFile();
    await this.#access.attempt(`${this.nameOf(key)} cannot be written`, () =>
      this.#access.client.send(
        new PutObjectCommand({ Bucket: this.#bucket, Key: key, Body: body, IfNoneMatch: '*' }),
        this.#abort,
      ),
    );
  }

  /** In parts, whose joining is on the same condition; parts of a failed attempt are taken away. */
  async #putParts(key: string, path: string, bytes: number): Promise<void> {
    const { Upload } = await import('@aws-sdk/lib-storage');
    await this.#access.attempt(`${this.nameOf(key)} cannot be written`, async () => {
      const body = createReadStream(path);
      const controller = new AbortController();
      const stop = () => controller.abort();
      this.#signal.addEventListener('abort', stop, { once: true });
      try {
        await new Upload({
          client: this.#access.client,
          params: { Bucket: this.#bucket, Key: key, Body: body, IfNoneMatch: '*' },
          partSize: Math.max(partBytes, Math.ceil(bytes / 9000)),
          queueSize: 2,
          abortController: controller,
        }).done();
      } finally {
        this.#signal.removeEventListener('abort', stop);
        body.destroy();
      }
    });
  }

  /** The object in a temporary file that is gone with its handle; null if there is none. */
  async download(key: string): Promise<TemporaryFile | null> {
    const file = await TemporaryFile.create(this.#store);
    try {
      const what = `${this.nameOf(key)} cannot be read`;
      const found = await this.#access.attempt(what, async () => {
        await file.use((handle) => handle.truncate(0));
        const { GetObjectCommand } = this.#access.sdk;
        const command = new GetObjectCommand({ Bucket: this.#bucket, Key: key });
        const answer = await this.#access.client.send(command, this.#abort).catch(missing);
        if (answer === null) return false;
        // In Node the body is a stream of Node.
        let length = 0;
        for await (const chunk of answer.Body as Readable) {
          const position = length;
          await file.use((handle) => writeWhole(handle, chunk, position));
          length += chunk.length;
        }
        return true;
      });
      if (found) return file;
    } catch (error) {
      await file[Symbol.asyncDispose]();
      throw error;
    }
    await file[Symbol.asyncDispose]();
    return null;
  }

  /** Names right below a folder, a folder's with a slash at its end. Uploads that were never finished count too. */
  async *list(prefix: string): AsyncGenerator<string, void> {
    const { ListObjectsV2Command } = this.#access.sdk;
    let token: string | undefined;
    do {
      const page = await this.#access.attempt(`${this.nameOf(prefix)} cannot be listed`, () =>
        this.#access.client.send(
          new ListObjectsV2Command({
            Bucket: this.#bucket,
            Prefix: prefix,
            Delimiter: '/',
            ...(token === undefined ? {} : { ContinuationToken: token }),
          }),
          this.#abort,
        ),
      );
      for (const { Prefix: folder } of page.CommonPrefixes ?? []) if (folder) yield folder.slice(prefix.length);
      for (const { Key: key } of page.Contents ?? []) if (key) yield key.slice(prefix.length);
      token = page.IsTruncated ? page.NextContinuationToken : undefined;
    } while (token !== undefined);
    for (const { key } of await this.#unfinished(prefix)) {
      const [first = '', ...rest] = key.slice(prefix.length).split('/');
      yield rest.length > 0 ? `${first}/` : first;
    }
  }

  /** Takes away everything below a folder: first the object that is named, then the others, then unfinished uploads. */
  async removeAll(prefix: string, first: string): Promise<void> {
    const { AbortMultipartUploadCommand, DeleteObjectCommand, ListObjectsV2Command } = this.#access.sdk;
    const what = `${this.nameOf(prefix)} cannot be taken away`;
    const remove = async (key: string) =>
      await this.#access.attempt(what, () =>
        this.#access.client.send(new DeleteObjectCommand({ Bucket: this.#bucket, Key: key }), this.#abort),
      );
    await remove(`${prefix}${first}`);
    for (;;) {
      const page = await this.#access.attempt(what, () =>
        this.#access.client.send(
          new ListObjectsV2Command({ Bucket: this.#bucket, Prefix: prefix, MaxKeys: deletesMax }),
          this.#abort,
        ),
      );
      for (const { Key: key } of page.Contents ?? []) if (key) await remove(key);
      if (!page.IsTruncated) break;
    }
    for (const { key, upload } of await this.#unfinished(prefix)) {
      const command = new AbortMultipartUploadCommand({ Bucket: this.#bucket, Key: key, UploadId: upload });
      await this.#access.attempt(what, () => this.#access.client.send(command, this.#abort).catch(missing));
    }
  }

  async #unfinished(prefix: string): Promise<readonly { readonly key: string; readonly upload: string }[]> {
    const { ListMultipartUploadsCommand } = this.#access.sdk;
    const found: { key: string; upload: string }[] = [];
    let markers: { KeyMarker?: string; UploadIdMarker?: string } = {};
    for (;;) {
      const page = await this.#access.attempt(`${this.nameOf(prefix)} cannot be listed`, () =>
        this.#access.client.send(
          new ListMultipartUploadsCommand({ Bucket: this.#bucket, Prefix: prefix, ...markers }),
          this.#abort,
        ),
      );
      for (const { Key: key, UploadId: upload } of page.Uploads ?? []) if (key && upload) found.push({ key, upload });
      if (!page.IsTruncated || !page.NextKeyMarker) return found;
      markers = {
        KeyMarker: page.NextKeyMarker,
        ...(page.NextUploadIdMarker ? { UploadIdMarker: page.NextUploadIdMarker } : {}),
      };
    }
  }

  /**
   * Proves that the bucket can be written to, and that its server keeps the promise of a conditional create.
   * @throws AppError ARCHIVE_STORE_UNSUITABLE
   */
  async probe(prefix: string): Promise<void> {
    const { DeleteObjectCommand, PutObjectCommand } = this.#access.sdk;
    const Key = `${prefix}.tableset-${randomBytes(8).toString('hex')}`;
    const put = () =>
      this.#access.attempt(`${this.nameOf(Key)} cannot be written`, () =>
        this.#access.client.send(
          new PutObjectCommand({ Bucket: this.#bucket, Key, Body: 'probe\n', IfNoneMatch: '*' }),
          this.#abort,
        ),
      );
    try {
      await put().catch(taken);
      const second = await put().then(() => 'written', taken);
      if (second === 'written') {
        throw loaderError(
          'ARCHIVE_STORE_UNSUITABLE',
          `store ${this.#store}: the server of ${this.nameOf('')} ignores If-None-Match, so that an object could be written over`,
          { hint: 'Use a server that knows conditional writes, as Amazon S3 does.' },
        );
      }
    } finally {
      const command = new DeleteObjectCommand({ Bucket: this.#bucket, Key });
      // What went wrong before counts; a probe that stays is an object of six bytes.
      await this.#access.client.send(command, this.#abort).catch(() => {});
    }
  }

  nameOf(key: string): string {
    return `s3://${this.#bucket}/${key}`;
  }
}

function taken(error: unknown): 'taken' {
  if (error instanceof NameTaken) return 'taken';
  throw error;
}

/** Null for an answer that says that there is no such thing. A bucket that is not there is another matter. */
function missing(error: unknown): null {
  if (statusOf(error) === 404 && !(error instanceof Error && error.name === 'NoSuchBucket')) return null;
  throw error;
}

/** Size and SHA-256 of bytes at hand. */
export function digestOf(bytes: Uint8Array): Digest {
  return { bytes: bytes.length, sha256: createHash('sha256').update(bytes).digest('hex') };
}
