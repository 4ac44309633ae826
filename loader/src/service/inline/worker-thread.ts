import { Worker } from 'node:worker_threads';
import type { FromThread, ToThread } from './messages.ts';

/** A thread that runs `service-thread.ts`, from the sources or from the bundle. */
export class WorkerThread {
  readonly #worker: Worker;
  #dead = false;
  #onMessage: (message: FromThread) => void = () => {};
  #onEnd: (error: Error | null) => void = () => {};

  constructor() {
    this.#worker = new Worker(entryUrl());
    let failure: Error | null = null;
    this.#worker.on('message', (message: FromThread) => this.#onMessage(message));
    this.#worker.on('error', (error) => {
      failure = error instanceof Error ? error : new Error(String(error));
    });
    this.#worker.on('exit', () => {
      this.#dead = true;
      this.#onEnd(failure);
    });
    // An idle thread does not keep the process alive.
    this.#worker.unref();
  }

  get dead(): boolean {
    return this.#dead;
  }

  /** Who hears of what the thread says, and of its end. */
  listen(onMessage: (message: FromThread) => void, onEnd: (error: Error | null) => void): void {
    this.#onMessage = onMessage;
    this.#onEnd = onEnd;
  }

  say(message: ToThread): void {
    this.#worker.postMessage(message);
  }

  async end(): Promise<void> {
    await this.#worker.terminate();
  }
}

/** In the bundle the entry stands beside this module's chunk. */
function entryUrl(): URL {
  const name = import.meta.url.endsWith('.ts') ? './service-thread.ts' : './service-thread.mjs';
  return new URL(name, import.meta.url);
}
