import type { Fields } from '@tableset/common/output/output.ts';
import type { StoreSettings } from '../config/archive-config.ts';
import type { ArchivedTable } from '../core/archive/archive-set.ts';
import type { CanonicalRow } from '../core/archive/canonical.ts';
import type { Manifest, ManifestTable } from '../core/archive/manifest.ts';
import type { RandomAccessInput } from '../core/encoded-rows.ts';
import {
  batchFolder,
  damaged,
  formatFor,
  isBatchId,
  manifestName,
  manifestText,
  parseManifest,
  pathPart,
  readFile,
  storedFile,
  writeAll,
  writeWhole,
} from './file-batches.ts';
import type { FileFormat } from './formats/file-format.ts';
import { S3Access, type S3Timing } from './s3-client.ts';
import { digestOf, S3Objects } from './s3-objects.ts';
import type { ArchiveStore, BatchName, StoredFile, StoredHash } from './store.ts';
import { TemporaryFile } from './temporary-file.ts';

type S3StoreSettings = StoreSettings & { readonly kind: 's3' };

export interface S3StoreContext {
  readonly signal: AbortSignal;
  readonly warn: (message: string, fields: Fields) => void;
  /** Other waits, for tests. */
  readonly timing?: Partial<S3Timing>;
}

/**
 * Opens a bucket as a store. Objects are only ever created, on the condition that nothing has their name; a batch counts once its
 * `manifest.json` is there, which is created last. A file is made in the folder for temporary files first, so that its request can be repeated.
 */
export async function openS3Store(settings: S3StoreSettings, context: S3StoreContext): Promise<ArchiveStore> {
  const { endpoint } = settings.s3;
  if (endpoint?.startsWith('http:')) {
    context.warn('an S3 endpoint is reached over plain http, where anyone on the way can read and change data', {
      store: settings.name,
      endpoint,
    });
  }
  const [sdk, format] = await Promise.all([import('@aws-sdk/client-s3'), formatFor(settings.files)]);
  const access = new S3Access(sdk, settings.s3, settings.name, context.signal, context.timing);
  return new S3Store(settings, access, format, context.signal);
}

class S3Store implements ArchiveStore {
  readonly kind = 's3';
  readonly name: string;
  readonly #prefix: string;
  readonly #access: S3Access;
  readonly #objects: S3Objects;
  readonly #format: FileFormat;
  readonly #signal: AbortSignal;

  constructor(settings: S3StoreSettings, access: S3Access, format: FileFormat, signal: AbortSignal) {
    this.name = settings.name;
    this.#prefix = settings.prefix === '' ? '' : `${settings.prefix}/`;
    this.#access = access;
    this.#objects = new S3Objects(access, settings.bucket, settings.name, signal);
    this.#format = format;
    this.#signal = signal;
  }

  describe(): string {
    return this.#objects.nameOf(this.#prefix);
  }

  async prepare(): Promise<readonly string[]> {
    await this.#objects.probe(this.#prefix);
    return [];
  }

  async write(
    batch: BatchName,
    table: ArchivedTable,
    rows: AsyncIterable<readonly CanonicalRow[]>,
  ): Promise<StoredFile> {
    const name = `${pathPart(table.archiveName)}${this.#format.ending}`;
    await using file = await TemporaryFile.create(this.name);
    const label = { store: this.name, batch: batch.id };
    const content = await file.use((handle) => writeAll(handle, this.#format.encode(label, table, rows), this.#signal));
    await this.#objects.create(this.#key(batch, name), file.path, content);
    return { name, ...content };
  }

  async seal(batch: BatchName, manifest: Manifest): Promise<void> {
    const text = Buffer.from(manifestText(manifest));
    await using file = await TemporaryFile.create(this.name);
    await file.use((handle) => writeWhole(handle, text, 0));
    await this.#objects.create(this.#key(batch, manifestName), file.path, digestOf(text));
  }

  hashes(batch: BatchName, table: ManifestTable): AsyncGenerator<readonly StoredHash[], void> {
    return this.#read(batch, table, (format, input) => format.hashes(input, table));
  }

  rows(batch: BatchName, table: ManifestTable): AsyncGenerator<readonly CanonicalRow[], void> {
    return this.#read(batch, table, (format, input) => format.decode(input, table));
  }

  async *#read<T>(
    batch: BatchName,
    table: ManifestTable,
    read: (format: FileFormat, input: RandomAccessInput) => AsyncIterable<T>,
  ): AsyncGenerator<T, void> {
    const file = storedFile(this.name, batch, table);
    await using copy = await this.#objects.download(this.#key(batch, file.name));
    if (copy === null) throw damaged(this.name, batch, `${file.name} is not there`);
    yield* readFile(copy.handle, file, { store: this.name, batch, signal: this.#signal }, read);
  }

  async manifest(batch: BatchName): Promise<Manifest | null> {
    await using copy = await this.#objects.download(this.#key(batch, manifestName));
    if (copy === null) return null;
    return parseManifest(await copy.handle.readFile('utf8'), this.name, batch);
  }

  async *batches(rootTable: string): AsyncGenerator<string, void> {
    const ids = new Set<string>();
    for await (const name of this.#objects.list(`${this.#prefix}${pathPart(rootTable)}/`)) {
      const id = name.slice(0, -1);
      if (name.endsWith('/') && isBatchId(id)) ids.add(id);
    }
    yield* Array.from(ids).sort((a, b) => a.length - b.length || (a < b ? -1 : 1));
  }

  async remove(batch: BatchName): Promise<void> {
    await this.#objects.removeAll(this.#key(batch, ''), manifestName);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#access[Symbol.dispose]();
  }

  #key(batch: BatchName, name: string): string {
    return `${this.#prefix}${batchFolder(batch)}/${name}`;
  }
}
