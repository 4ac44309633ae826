import { randomBytes } from 'node:crypto';
import { type FileHandle, open, unlink } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { AppError } from '@tableset/common/errors.ts';
import { loaderError } from '../errors.ts';
import { systemCode } from '../sources/failure.ts';

/** A file outside the store, taken away when it is disposed of. */
export class TemporaryFile implements AsyncDisposable {
  readonly path: string;
  readonly handle: FileHandle;
  readonly #store: string;

  private constructor(path: string, handle: FileHandle, store: string) {
    this.path = path;
    this.handle = handle;
    this.#store = store;
  }

  /** @throws AppError STORE_UNAVAILABLE, which names the store that it is for */
  static async create(store: string): Promise<TemporaryFile> {
    const path = join(tmpdir(), `tableset-${randomBytes(12).toString('hex')}`);
    try {
      return new TemporaryFile(path, await open(path, 'wx+', 0o600), store);
    } catch (cause) {
      throw loaderError(
        'STORE_UNAVAILABLE',
        `store ${store}: no temporary file can be made in ${tmpdir()} (${systemCode(cause) ?? 'unknown error'})`,
        { cause, hint: 'Give the program a folder for temporary files, by TMPDIR if it is another.' },
      );
    }
  }

  /**
   * Does something with it; what the system then fails with is a fault of the machine that this runs on, not of the store.
   * @throws AppError STORE_UNAVAILABLE
   */
  async use<T>(work: (handle: FileHandle) => Promise<T>): Promise<T> {
    try {
      return await work(this.handle);
    } catch (error) {
      const code = systemCode(error);
      if (error instanceof AppError || code === null || code === 'ABORT_ERR') throw error;
      throw loaderError('STORE_UNAVAILABLE', `store ${this.#store}: a temporary file cannot be written (${code})`, {
        cause: error,
        hint: `Make room in ${tmpdir()}, then run it again.`,
        details: { store: this.#store, code },
      });
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.handle.close();
    await unlink(this.path).catch(() => {});
  }
}
