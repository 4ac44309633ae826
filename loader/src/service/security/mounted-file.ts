import { statSync } from 'node:fs';
import { AppError } from '@tableset/common/errors.ts';
import type { Fields } from '@tableset/common/output/output.ts';
import { readSecretFile } from '@tableset/common/settings/settings.ts';

export type Warn = (message: string, fields: Fields) => void;

export interface MountedFileOptions<T> {
  readonly path: string;
  /** For messages. */
  readonly setting: string;
  /** @throws AppError for a content that cannot be used */
  readonly parse: (text: string) => T;
  readonly warn: Warn;
}

/** A change is seen within this time. */
const checkMs = 2_000;

/**
 * A secret in a mounted file, read anew when the file was replaced, so that a key or a client is changed without a restart. A new content that cannot be
 * used leaves the old one in force and is told of.
 */
export class MountedFile<T> {
  readonly #options: MountedFileOptions<T>;
  #value: T;
  #stamp: string;
  #checkedMs = performance.now();

  /** @throws AppError CONFIG_UNREADABLE, or what `parse` throws: at the start there is no older content */
  constructor(options: MountedFileOptions<T>) {
    this.#options = options;
    this.#stamp = stampOf(options.path);
    this.#value = options.parse(readSecretFile(options.path, options.setting));
  }

  get value(): T {
    const now = performance.now();
    if (now - this.#checkedMs >= checkMs) {
      this.#checkedMs = now;
      this.#check();
    }
    return this.#value;
  }

  #check(): void {
    const { path, setting, parse, warn } = this.#options;
    const stamp = stampOf(path);
    if (stamp === this.#stamp) return;
    this.#stamp = stamp;
    try {
      this.#value = parse(readSecretFile(path, setting));
    } catch (error) {
      const told = error instanceof AppError ? { code: error.code, error: error.message } : { error: 'unknown error' };
      warn('a mounted secret has changed and is not taken', { setting, ...told });
    }
  }
}

/** Mounted secrets are swapped by a link, so links are followed. */
function stampOf(path: string): string {
  const { ino, dev, size, mtimeNs } = statSync(path, { bigint: true, throwIfNoEntry: false }) ?? {};
  return `${dev}:${ino}:${size}:${mtimeNs}`;
}
