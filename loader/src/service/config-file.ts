import { createHash } from 'node:crypto';
import { readFile, stat } from 'node:fs/promises';
import type { Output } from '@tableset/common/output/output.ts';
import type { LoadConfig } from '../config/load-config.ts';
import { readConfig, validateConfig } from '../config/read.ts';
import type { ConfigFile, LoadedConfig } from './contracts.ts';
import { asAppError } from './run-error.ts';

export interface ConfigFileOptions {
  readonly path: string;
  readonly pollSeconds: number;
  readonly output: Output;
  readonly env: Readonly<Record<string, string | undefined>>;
  /** @throws AppError if a file that is valid by itself cannot be taken while the service runs */
  accept(config: LoadConfig): void;
}

/** The configuration file, looked at again and again: what is good takes effect with the next run, what is not leaves things as they are. */
export class WatchedConfig implements ConfigFile, Disposable {
  readonly #options: ConfigFileOptions;
  readonly #listeners: ((config: LoadedConfig) => void)[] = [];
  readonly #timer: NodeJS.Timeout;
  #current: LoadedConfig;
  #problem: ConfigFile['problem'] = null;
  #stamp: string;
  #checking: Promise<void> | null = null;

  private constructor(options: ConfigFileOptions, first: LoadedConfig, stamp: string) {
    this.#options = options;
    this.#current = first;
    this.#stamp = stamp;
    this.#timer = setInterval(() => void this.check(false), options.pollSeconds * 1000);
    this.#timer.unref();
  }

  /** @throws AppError CONFIG_UNREADABLE or CONFIG_INVALID: at the start there is no older one to go on with */
  static async open(options: ConfigFileOptions): Promise<WatchedConfig> {
    const stamp = await stampOf(options.path);
    return new WatchedConfig(options, await load(options), stamp);
  }

  get current(): LoadedConfig {
    return this.#current;
  }

  get problem(): ConfigFile['problem'] {
    return this.#problem;
  }

  onChange(listener: (config: LoadedConfig) => void): void {
    this.#listeners.push(listener);
  }

  /** Reads the file if it looks different, or anyway where `forced`. Never throws. */
  async check(forced: boolean): Promise<void> {
    this.#checking ??= this.#check(forced).finally(() => {
      this.#checking = null;
    });
    await this.#checking;
  }

  [Symbol.dispose](): void {
    clearInterval(this.#timer);
  }

  async #check(forced: boolean): Promise<void> {
    const { path, output, accept } = this.#options;
    const stamp = await stampOf(path);
    if (stamp === this.#stamp && !forced) return;
    this.#stamp = stamp;
    try {
      const loaded = await load(this.#options);
      this.#problem = null;
      if (loaded.hash === this.#current.hash) return;
      accept(loaded.config);
      this.#current = loaded;
      output.event('info', 'the configuration was read anew', { path, hash: loaded.hash.slice(0, 12) });
      for (const listener of this.#listeners) listener(loaded);
    } catch (error) {
      const { code, message } = asAppError(error);
      this.#problem = { at: new Date().toISOString(), code, message };
      output.event('error', 'the configuration has changed and is not taken', { path, code, error: message });
    }
  }
}

/** What tells that a file was replaced; mounted ConfigMaps are swapped by a link, so links are followed. */
async function stampOf(path: string): Promise<string> {
  try {
    const { ino, size, mtimeNs, dev } = await stat(path, { bigint: true });
    return `${dev}:${ino}:${size}:${mtimeNs}`;
  } catch {
    return 'absent';
  }
}

async function load({ path, env }: ConfigFileOptions): Promise<LoadedConfig> {
  // Once more, for its checks of size and encoding; the text must be the one that was checked.
  await readConfig(path, env);
  const text = await readFile(path, 'utf8');
  const config = await validateConfig(text, path, env);
  const hash = createHash('sha256').update(text).digest('hex');
  return { path, text, config, hash, loadedAt: new Date().toISOString() };
}
