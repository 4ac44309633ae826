import { randomBytes } from 'node:crypto';
import { type FileHandle, lstat, open, readdir, realpath, rm, rmdir, unlink } from 'node:fs/promises';
import { join } from 'node:path';
import { AppError } from '@tableset/common/errors.ts';
import type { StoreSettings } from '../config/archive-config.ts';
import type { ArchivedTable } from '../core/archive/archive-set.ts';
import type { CanonicalRow } from '../core/archive/canonical.ts';
import type { Manifest, ManifestTable } from '../core/archive/manifest.ts';
import type { RandomAccessInput } from '../core/encoded-rows.ts';
import { loaderError } from '../errors.ts';
import { systemCode } from '../sources/failure.ts';
import {
  batchFolder,
  damaged,
  digestFile,
  formatFor,
  isBatchId,
  manifestName,
  manifestText,
  parseManifest,
  pathPart,
  readFile,
  storedFile,
  writeAll,
} from './file-batches.ts';
import { createOnly, exists, readOnly, renameNew, syncFolder } from './filesystem-names.ts';
import { PendingSyncs } from './filesystem-syncs.ts';
import type { FileFormat } from './formats/file-format.ts';
import type { ArchiveStore, BatchName, StoredFile, StoredHash } from './store.ts';

type FilesystemSettings = StoreSettings & { readonly kind: 'filesystem' };

/**
 * Opens a folder as a store. The folder itself must be there: a volume that is not mounted looks like an empty folder to whoever makes it.
 * @throws AppError STORE_UNAVAILABLE
 */
export async function openFilesystemStore(
  settings: FilesystemSettings,
  context: { readonly signal: AbortSignal },
): Promise<ArchiveStore> {
  const format = await formatFor(settings.files);
  try {
    const folder = await realpath(settings.folder);
    if (!(await lstat(folder)).isDirectory()) throw new Error('it is no folder');
    return new FilesystemStore(settings, folder, format, context.signal);
  } catch (cause) {
    throw loaderError(
      'STORE_UNAVAILABLE',
      `store ${settings.name}: the folder ${settings.folder} cannot be used (${systemCode(cause) ?? 'it is none'})`,
      { cause, hint: 'Make the folder, or mount its volume, before the run.' },
    );
  }
}

class FilesystemStore implements ArchiveStore {
  readonly kind = 'filesystem';
  readonly name: string;
  readonly #settings: FilesystemSettings;
  /** Without links in it. */
  readonly #folder: string;
  readonly #format: FileFormat;
  readonly #signal: AbortSignal;
  readonly #syncs = new PendingSyncs();

  constructor(settings: FilesystemSettings, folder: string, format: FileFormat, signal: AbortSignal) {
    this.name = settings.name;
    this.#settings = settings;
    this.#folder = folder;
    this.#format = format;
    this.#signal = signal;
  }

  describe(): string {
    return `folder ${this.#settings.folder}`;
  }

  /** Proves that a file can be made, made durable and taken away. */
  async prepare(): Promise<readonly string[]> {
    const probe = join(this.#folder, `.tableset-${randomBytes(8).toString('hex')}`);
    await this.#guard('the folder cannot be written to', async () => {
      await this.#create(probe, [Buffer.from('probe\n')]);
      await this.#syncs.wait(probe);
      await this.#syncs.forget(probe);
      await unlink(probe);
      await syncFolder(this.#folder);
    });
    return [];
  }

  async write(
    batch: BatchName,
    table: ArchivedTable,
    rows: AsyncIterable<readonly CanonicalRow[]>,
  ): Promise<StoredFile> {
    const name = `${pathPart(table.archiveName)}${this.#format.ending}`;
    return await this.#guard(`${name} of batch ${batch.id} cannot be written`, async () => {
      const folder = await this.#makeFolder(batch);
      const unsealed = join(folder, unsealedName(name));
      // What a killed writer left of the same batch counts for nothing.
      await rm(unsealed, { force: true });
      const label = { store: this.name, batch: batch.id };
      return { name, ...(await this.#create(unsealed, this.#format.encode(label, table, rows))) };
    });
  }

  async seal(batch: BatchName, manifest: Manifest): Promise<void> {
    await this.#guard(`batch ${batch.id} cannot be sealed`, async () => {
      const folder = await this.#makeFolder(batch);
      const files = manifest.tables.filter((table) => table.file).map((table) => storedFile(this.name, batch, table));
      const unsealed = join(folder, unsealedName(manifestName));
      await rm(unsealed, { force: true });
      const text = await this.#create(unsealed, [Buffer.from(manifestText(manifest))]);
      const contents = [unsealed, ...files.map((file) => join(folder, unsealedName(file.name)))];
      // Everything else is durable before the first name is given, and the manifest's is the last.
      await Promise.all([join(folder, '..'), folder, ...contents].map((path) => this.#syncs.wait(path)));
      for (const file of [...files, { name: manifestName, ...text }]) await this.#publish(batch, folder, file);
      await syncFolder(folder);
      await this.#syncs.forget(folder);
    });
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
    const handle = await this.#open(batch, file.name);
    if (handle === null) throw damaged(this.name, batch, `${file.name} is not there`);
    await using _ = handle;
    try {
      yield* readFile(handle, file, { store: this.name, batch, signal: this.#signal }, read);
    } catch (error) {
      throw this.#failure(`${file.name} of batch ${batch.id} cannot be read`, error);
    }
  }

  async manifest(batch: BatchName): Promise<Manifest | null> {
    const handle = await this.#open(batch, manifestName);
    if (handle === null) return null;
    await using _ = handle;
    const text = await this.#guard(`the manifest of batch ${batch.id} cannot be read`, () => handle.readFile('utf8'));
    return parseManifest(text, this.name, batch);
  }

  async *batches(rootTable: string): AsyncGenerator<string, void> {
    const folder = join(this.#folder, pathPart(rootTable));
    const entries = await this.#guard('its batches cannot be listed', async () => {
      try {
        return await readdir(folder, { withFileTypes: true });
      } catch (error) {
        if (systemCode(error) === 'ENOENT') return [];
        throw error;
      }
    });
    const ids = entries.filter((entry) => entry.isDirectory() && isBatchId(entry.name)).map((entry) => entry.name);
    yield* ids.sort((a, b) => a.length - b.length || (a < b ? -1 : 1));
  }

  async remove(batch: BatchName): Promise<void> {
    await this.#guard(`batch ${batch.id} cannot be taken away`, async () => {
      const folder = await this.#findFolder(batch);
      if (folder === null) return;
      await this.#syncs.forget(folder);
      // Without its seal it counts for nothing, wherever this stops.
      await rm(join(folder, manifestName), { force: true });
      await syncFolder(folder);
      for (const name of await readdir(folder)) await rm(join(folder, name), { recursive: true, force: true });
      await rmdir(folder);
      await syncFolder(join(folder, '..'));
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#syncs[Symbol.asyncDispose]();
  }

  /** The folder of a batch; null where there is none. A link on the way is refused: it could lead anywhere. */
  async #findFolder(batch: BatchName): Promise<string | null> {
    const folder = join(this.#folder, batchFolder(batch));
    try {
      if ((await realpath(folder)) === folder && (await lstat(folder)).isDirectory()) return folder;
    } catch (error) {
      if (systemCode(error) === 'ENOENT') return null;
      throw error;
    }
    throw loaderError('STORE_UNAVAILABLE', `store ${this.name}: ${folder} is, or goes through, a link or no folder`, {
      hint: 'Put a folder in its place; links inside a store are not followed.',
    });
  }

  async #makeFolder(batch: BatchName): Promise<string> {
    let folder = this.#folder;
    for (const part of batchFolder(batch).split('/')) {
      const parent = folder;
      folder = join(parent, part);
      await this.#syncs.makeFolder(folder, parent);
    }
    const found = await this.#findFolder(batch);
    if (found !== null) return found;
    throw loaderError('STORE_UNAVAILABLE', `store ${this.name}: ${folder} went away while it was used`, {
      hint: 'Check the volume, and whether something else clears it.',
    });
  }

  /** Writes a new file and begins to make it durable; one that could not be finished is taken away. */
  async #create(path: string, bytes: AsyncIterable<Uint8Array> | readonly Uint8Array[]) {
    const handle = await open(path, createOnly, 0o640);
    try {
      const written = await writeAll(handle, piecewise(bytes), this.#signal);
      this.#syncs.beginFile(path, handle);
      return written;
    } catch (error) {
      // The first error counts; what cannot be taken away now, `remove` will.
      await handle.close().catch(() => {});
      await unlink(path).catch(() => {});
      throw error;
    }
  }

  /** Gives an unsealed file its final name, unless the same content has it already. */
  async #publish(batch: BatchName, folder: string, file: StoredFile): Promise<void> {
    const [unsealed, final] = [join(folder, unsealedName(file.name)), join(folder, file.name)];
    if (!(await exists(final))) {
      try {
        await renameNew(unsealed, final);
        return;
      } catch (error) {
        if (systemCode(error) === 'ENOENT') throw damaged(this.name, batch, `${file.name} was not written`, error);
        if (systemCode(error) !== 'EEXIST') throw error;
      }
    }
    await using handle = await open(final, readOnly);
    const found = await digestFile(handle, this.#signal);
    if (found.bytes !== file.bytes || found.sha256 !== file.sha256)
      throw damaged(this.name, batch, `${file.name} is there already with other content, which was left as it is`);
    await rm(unsealed, { force: true });
  }

  async #open(batch: BatchName, name: string): Promise<FileHandle | null> {
    return await this.#guard(`${name} of batch ${batch.id} cannot be opened`, async () => {
      const folder = await this.#findFolder(batch);
      if (folder === null) return null;
      try {
        return await open(join(folder, name), readOnly);
      } catch (error) {
        if (systemCode(error) === 'ENOENT') return null;
        throw error;
      }
    });
  }

  async #guard<T>(what: string, work: () => Promise<T>): Promise<T> {
    try {
      this.#signal.throwIfAborted();
      return await work();
    } catch (error) {
      throw this.#failure(what, error);
    }
  }

  /** Errors of the system are the store's; those with a code of ours, and faults of the program, pass. */
  #failure(what: string, error: unknown): unknown {
    const code = systemCode(error);
    if (error instanceof AppError || error === this.#signal.reason || code === null) return error;
    return loaderError('STORE_UNAVAILABLE', `store ${this.name}: ${what} (${code})`, {
      cause: error,
      hint: noRoom.has(code) ? 'Make room in the folder, then run it again.' : 'Check the volume and its permissions.',
      details: { store: this.name, code },
    });
  }
}

const noRoom = new Set(['ENOSPC', 'EDQUOT', 'EFBIG']);

function unsealedName(name: string): string {
  return `.${name}.unsealed`;
}

async function* piecewise(bytes: AsyncIterable<Uint8Array> | readonly Uint8Array[]): AsyncGenerator<Uint8Array, void> {
  yield* bytes;
}
