import { type FileHandle, open, unlink } from 'node:fs/promises';
import { systemCode } from '../sources/failure.ts';
import { makeFolder, readOnly, syncFolder } from './filesystem-names.ts';

/**
 * What is on its way to the disk, by path: begun as soon as it is written, and waited for when its batch is sealed, so that one fsync does not
 * wait for another. A failure is kept until somebody waits for it.
 */
export class PendingSyncs implements AsyncDisposable {
  readonly #begun = new Map<string, Promise<void>>();
  /** Folders whose names are known to be durable: those of tables, and of batches until they are sealed. */
  readonly #durable = new Set<string>();

  /** Begins to make a file durable that was just written, and closes it. */
  beginFile(path: string, handle: FileHandle): void {
    this.#begin(path, async () => {
      try {
        await using _ = handle;
        await handle.sync();
      } catch (error) {
        // After an error the system takes for written what is not, so that a second fsync would prove nothing.
        await unlink(path).catch(() => {});
        throw error;
      }
    });
  }

  /** Makes a folder if there is none, and begins to make its name durable. */
  async makeFolder(folder: string, parent: string): Promise<void> {
    const made = await makeFolder(folder);
    // Also where it was there already: whoever made it may have been killed before this.
    if (!made && (this.#durable.has(folder) || this.#begun.has(folder))) return;
    this.#begin(folder, async () => {
      await syncFolder(parent);
      this.#durable.add(folder);
      this.#begun.delete(folder);
    });
  }

  /** Waits until a folder's name, or a file, is durable. A file that another run has written is made so now. */
  async wait(path: string): Promise<void> {
    if (this.#durable.has(path)) return;
    const begun = this.#begun.get(path);
    if (begun === undefined) return await syncIfThere(path);
    try {
      await begun;
    } catch (error) {
      // Whoever tries again has to begin anew.
      this.#begun.delete(path);
      throw error;
    }
  }

  /** No more is asked about a file, or about a folder and all below it. */
  async forget(path: string): Promise<void> {
    const paths = Array.from(this.#begun.keys()).filter((each) => each === path || each.startsWith(`${path}/`));
    await Promise.allSettled(paths.map((each) => this.#begun.get(each)));
    for (const each of paths) this.#begun.delete(each);
    this.#durable.delete(path);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.allSettled(this.#begun.values());
  }

  #begin(path: string, sync: () => Promise<void>): void {
    const done = sync();
    this.#begun.set(path, done);
    // Whoever waits hears of it.
    done.catch(() => {});
  }
}

async function syncIfThere(path: string): Promise<void> {
  try {
    await using handle = await open(path, readOnly);
    await handle.sync();
  } catch (error) {
    // It may have its final name already, or was never written, which shows when it is to get it.
    if (systemCode(error) !== 'ENOENT') throw error;
  }
}
