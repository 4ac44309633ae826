import { createHash, type Hash } from 'node:crypto';
import type { FileHandle } from 'node:fs/promises';
import { AppError } from '@tableset/common/errors.ts';
import type { FileSettings } from '../config/archive-config.ts';
import { type Manifest, type ManifestTable, manifestFormat } from '../core/archive/manifest.ts';
import type { RandomAccessInput } from '../core/encoded-rows.ts';
import { loaderError } from '../errors.ts';
import type { FileFormat } from './formats/file-format.ts';
import type { BatchName, StoredFile } from './store.ts';

/*
 * What stores of files share: `<root table>/<batch>/<archive name>.<ending>` for each table of a batch, and `manifest.json` beside
 * them, which is written last and seals the batch.
 */

export const manifestName = 'manifest.json';

/** Bytes that a name may have, so that ending and mark of an unfinished file still fit into the 255 that file systems take. */
const nameBytesMax = 200;

/**
 * A table's name as part of a path: letters and digits of any script, `_`, `$` and `-` as they are, every other byte of its UTF-8 as %XX. Long
 * names of strange characters become %b and the base64 of their UTF-16. No two names have the same form, and none has a dot or a slash.
 */
export function pathPart(name: string): string {
  const escaped = name.replace(/[^\p{L}\p{N}\p{M}_$-]/gu, (character) =>
    Array.from(Buffer.from(character), (byte) => `%${byte.toString(16).toUpperCase().padStart(2, '0')}`).join(''),
  );
  if (Buffer.byteLength(escaped) <= nameBytesMax) return escaped;
  return `%b${Buffer.from(name, 'utf16le').toString('base64url')}`;
}

/** The folder of a batch below the store's, without slashes at its ends. */
export function batchFolder(batch: BatchName): string {
  if (!isBatchId(batch.id)) throw new RangeError(`${JSON.stringify(batch.id)} is no batch's id`);
  return `${pathPart(batch.rootTable)}/${batch.id}`;
}

export function isBatchId(text: string): boolean {
  return /^\d{1,20}$/.test(text);
}

/** Imports the writer and reader of a format; which one a file is in, its ending tells. */
export async function formatFor(files: FileSettings): Promise<FileFormat> {
  if (files.format === 'parquet') return (await import('./formats/parquet.ts')).parquetFormat(files.compression);
  return (await import('./formats/jsonl.ts')).jsonlFormat(files.compression);
}

/** The format that wrote a file, whatever the store writes today. */
async function formatOf(fileName: string): Promise<FileFormat> {
  if (fileName.endsWith('.parquet')) return await formatFor({ format: 'parquet', compression: 'zstd' });
  return await formatFor({ format: 'jsonl', compression: fileName.endsWith('.gz') ? 'gzip' : 'zstd' });
}

/** The file that the manifest names for a table; null for a table without one. */
export function storedFile(store: string, batch: BatchName, table: ManifestTable): StoredFile {
  const { file } = table;
  // A manifest comes from the store, and must not lead out of the batch's folder.
  if (file === null || !/^[^/\\.\0][^/\\\0]*\.(parquet|jsonl\.zst|jsonl\.gz)$/.test(file.name)) {
    throw damaged(store, batch, `the manifest names no file for ${table.table}`);
  }
  return file;
}

export function manifestText(manifest: Manifest): string {
  return `${JSON.stringify(manifest, null, 2)}\n`;
}

/** @throws AppError ARCHIVE_VERIFY_FAILED for what is not a manifest of this batch */
export function parseManifest(text: string, store: string, batch: BatchName): Manifest {
  let manifest: Manifest;
  try {
    // What it says is compared with the ledger's by those who read it.
    manifest = JSON.parse(text) as Manifest;
  } catch (cause) {
    throw damaged(store, batch, 'its manifest is no JSON', cause);
  }
  if (typeof manifest?.format === 'number' && manifest.format > manifestFormat) {
    throw loaderError(
      'ARCHIVE_VERIFY_FAILED',
      `store ${store}: batch ${batch.id} has a manifest of format ${manifest.format}, newer than this program knows`,
      { hint: 'Use the image version that wrote it, or newer.' },
    );
  }
  if (manifest?.format !== manifestFormat || manifest.batch !== batch.id || !Array.isArray(manifest.tables))
    throw damaged(store, batch, 'its manifest is of another batch, or none');
  return manifest;
}

export function damaged(store: string, batch: BatchName, how: string, cause?: unknown): AppError {
  return loaderError('ARCHIVE_VERIFY_FAILED', `store ${store}: batch ${batch.id} of ${batch.rootTable}: ${how}`, {
    ...(cause === undefined ? {} : { cause }),
    details: { store, batch: batch.id },
  });
}

/** Writes bytes to an open file as they come and counts them. */
export async function writeAll(
  handle: FileHandle,
  bytes: AsyncIterable<Uint8Array>,
  signal: AbortSignal,
): Promise<Pick<StoredFile, 'bytes' | 'sha256'>> {
  const sha256 = createHash('sha256');
  let length = 0;
  for await (const chunk of bytes) {
    signal.throwIfAborted();
    sha256.update(chunk);
    await writeWhole(handle, chunk, length);
    length += chunk.length;
  }
  return { bytes: length, sha256: sha256.digest('hex') };
}

/** Writes all of the bytes at a place: a disk that is about to be full takes a part of them without an error. */
export async function writeWhole(handle: FileHandle, bytes: Uint8Array, position: number): Promise<void> {
  for (let done = 0; done < bytes.length; ) {
    const { bytesWritten } = await handle.write(bytes, done, bytes.length - done, position + done);
    done += bytesWritten;
  }
}

const readBytes = 1 << 20;

/** Size and SHA-256 of an open file. */
export async function digestFile(
  handle: FileHandle,
  signal: AbortSignal,
): Promise<Pick<StoredFile, 'bytes' | 'sha256'>> {
  const sha256: Hash = createHash('sha256');
  const buffer = Buffer.allocUnsafe(readBytes);
  let bytes = 0;
  for (;;) {
    signal.throwIfAborted();
    const { bytesRead } = await handle.read(buffer, 0, readBytes, bytes);
    if (bytesRead === 0) return { bytes, sha256: sha256.digest('hex') };
    sha256.update(buffer.subarray(0, bytesRead));
    bytes += bytesRead;
  }
}

/** What is read of an open file, once it has proved to be the one of the manifest. */
export async function* readFile<T>(
  handle: FileHandle,
  file: StoredFile,
  context: { readonly store: string; readonly batch: BatchName; readonly signal: AbortSignal },
  read: (format: FileFormat, input: RandomAccessInput) => AsyncIterable<T>,
): AsyncGenerator<T, void> {
  const { store, batch, signal } = context;
  const found = await digestFile(handle, signal);
  if (found.bytes !== file.bytes || found.sha256 !== file.sha256) {
    throw damaged(
      store,
      batch,
      `${file.name} has ${found.bytes} bytes with the SHA-256 ${found.sha256}, the manifest says ${file.bytes} with ${file.sha256}`,
    );
  }
  const format = await formatOf(file.name);
  try {
    for await (const rows of read(format, fileInput(handle, file))) {
      signal.throwIfAborted();
      yield rows;
    }
  } catch (error) {
    if (signal.aborted) throw signal.reason;
    if (error instanceof AppError) throw error;
    throw damaged(
      store,
      batch,
      `${file.name} cannot be read: ${error instanceof Error ? error.message : error}`,
      error,
    );
  }
}

function fileInput(handle: FileHandle, file: StoredFile): RandomAccessInput {
  return {
    name: file.name,
    byteLength: file.bytes,
    async read(start, end) {
      const buffer = Buffer.allocUnsafeSlow(end - start);
      for (let done = 0; done < buffer.length; ) {
        const { bytesRead } = await handle.read(buffer, done, buffer.length - done, start + done);
        if (bytesRead === 0) throw new Error('the file became shorter while it was read');
        done += bytesRead;
      }
      return buffer;
    },
  };
}
