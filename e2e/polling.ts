import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { eventually, pause } from './command.ts';
import type { Product, Scene } from './scene.ts';

/** A client that asks the shop for its products again and again, through the API server. */
export class Polling {
  readonly failures: string[] = [];
  #answers = 0;
  readonly #proxy: ChildProcess;
  readonly #check: (products: readonly Product[]) => string | undefined;
  #stopped = false;
  #loop: Promise<void> | undefined;

  private constructor(proxy: ChildProcess, check: (products: readonly Product[]) => string | undefined) {
    this.#proxy = proxy;
    this.#check = check;
  }

  /** `check` says what is wrong with an answer, undefined when nothing is. */
  static async start(scene: Scene, check: (products: readonly Product[]) => string | undefined): Promise<Polling> {
    const proxy = spawn('kubectl', ['--context', scene.context, 'proxy', '--port', '0'], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    const [line] = (await once(createInterface({ input: proxy.stdout }), 'line')) as [string];
    const address = /127\.0\.0\.1:\d+/.exec(line)?.[0];
    const polling = new Polling(proxy, check);
    const path = `/api/v1/namespaces/${scene.namespace}/services/order-food:80/proxy/products`;
    polling.#loop = polling.#ask(`http://${address}${path}`);
    return polling;
  }

  async #ask(url: string): Promise<void> {
    while (!this.#stopped) {
      try {
        const response = await fetch(url, { signal: AbortSignal.timeout(60_000) });
        const body = await response.text();
        this.#answers++;
        if (response.status === 200) {
          // The example's own shape.
          const fault = this.#check((JSON.parse(body) as { products: Product[] }).products);
          if (fault !== undefined) this.failures.push(fault);
        } else this.failures.push(`${response.status} ${body.slice(0, 200)}`);
      } catch (error) {
        this.failures.push(String(error));
      }
      await pause(20);
    }
  }

  /** Waits until the client has had so many answers, right ones or wrong ones. */
  async answered(count: number): Promise<void> {
    await eventually(`the client has ${count} answers`, async () => this.#answers >= count);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stopped = true;
    await this.#loop;
    this.#proxy.kill();
  }
}
