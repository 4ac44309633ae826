import { type ChildProcess, spawn } from 'node:child_process';
import { accessSync, constants, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import type { Readable, Writable } from 'node:stream';
import { onTestFinished } from 'vitest';

const names = ['chromium', 'chromium-browser', 'google-chrome', 'google-chrome-stable', 'chrome'];
/** A command may take this long on a busy machine. */
const commandMs = 30_000;

/** The Chromium that CHROMIUM names or PATH has; null where there is none. */
export function findChromium(): string | null {
  const given = process.env['CHROMIUM'];
  if (given) return given;
  const folders = (process.env['PATH'] ?? '').split(delimiter);
  return names.flatMap((name) => folders.map((folder) => join(folder, name))).find(isProgram) ?? null;
}

function isProgram(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

type Message = {
  readonly id?: number;
  readonly method?: string;
  readonly sessionId?: string;
  readonly params?: Readonly<Record<string, unknown>>;
  readonly result?: Readonly<Record<string, unknown>>;
  readonly error?: { readonly message: string };
};

/** Starts a Chromium without a window, with a profile of its own, and opens one tab. Spoken to over its pipe: commands are JSON, ended by a zero byte. */
export async function openTab(program: string): Promise<Tab> {
  const profile = mkdtempSync(join(tmpdir(), 'chromium-'));
  const child = spawn(
    program,
    [
      ...['--headless', '--remote-debugging-pipe', '--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage'],
      ...['--no-first-run', '--disable-background-networking', '--hide-scrollbars', `--user-data-dir=${profile}`],
    ],
    { stdio: ['ignore', 'ignore', 'ignore', 'pipe', 'pipe'] },
  );
  const ended = new Promise<void>((resolve) => child.once('close', () => resolve()));
  onTestFinished(async () => {
    child.kill('SIGKILL');
    await ended;
    rmSync(profile, { recursive: true, force: true, maxRetries: 5 });
  });
  const tab = new Tab(child);
  await tab.open();
  return tab;
}

export class Tab {
  /** Address of every request that was made. */
  readonly requests: string[] = [];
  /** What the console complains of: errors of the script, what the policy refused. */
  readonly complaints: string[] = [];
  readonly #commands: Writable;
  readonly #waiting = new Map<number, (message: Message) => void>();
  #session = '';
  #last = 0;

  constructor(child: ChildProcess) {
    // Asked for as pipes above.
    this.#commands = child.stdio[3] as Writable;
    const answers = child.stdio[4] as Readable;
    let rest = '';
    answers.setEncoding('utf8').on('data', (text: string) => {
      const parts = (rest + text).split('\0');
      rest = parts.pop() ?? '';
      for (const part of parts) this.#take(JSON.parse(part) as Message);
    });
  }

  async open(): Promise<void> {
    const { targetId } = await this.send('Target.createTarget', { url: 'about:blank' });
    const { sessionId } = await this.send('Target.attachToTarget', { targetId, flatten: true });
    this.#session = String(sessionId);
    for (const domain of ['Page', 'Runtime', 'Network', 'Log']) await this.send(`${domain}.enable`);
  }

  async goTo(url: string): Promise<void> {
    await this.send('Page.navigate', { url });
    await this.until('the page is there', "document.readyState === 'complete' && location.href !== 'about:blank'");
  }

  async view(width: number, height: number, scheme: 'light' | 'dark'): Promise<void> {
    const mobile = width < 600;
    await this.send('Emulation.setDeviceMetricsOverride', { width, height, deviceScaleFactor: mobile ? 2 : 1, mobile });
    await this.send('Emulation.setEmulatedMedia', { features: [{ name: 'prefers-color-scheme', value: scheme }] });
  }

  /** Value of an expression in the page; promises are waited for. */
  async evaluate<T>(expression: string): Promise<T> {
    const { result, exceptionDetails } = await this.send('Runtime.evaluate', {
      expression,
      awaitPromise: true,
      returnByValue: true,
    });
    if (exceptionDetails) throw new Error(`${expression}: ${JSON.stringify(exceptionDetails)}`);
    // The caller says what the expression gives.
    return (result as { value: T }).value;
  }

  /** Waits until an expression holds in the page. */
  async until(what: string, expression: string): Promise<void> {
    for (const deadline = performance.now() + commandMs; ; ) {
      if (await this.evaluate<boolean>(`Boolean(${expression})`)) return;
      if (performance.now() > deadline) throw new Error(`it did not come to pass: ${what}`);
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }

  /** Presses a key as a person does. */
  async press(key: 'Tab' | 'Enter' | 'Escape' | ' '): Promise<void> {
    const codes = { Tab: 9, Enter: 13, Escape: 27, ' ': 32 };
    const text = { Tab: '', Escape: '', Enter: '\r', ' ': ' ' }[key];
    const common = { key, code: key === ' ' ? 'Space' : key, windowsVirtualKeyCode: codes[key] };
    await this.send('Input.dispatchKeyEvent', { type: text === '' ? 'rawKeyDown' : 'keyDown', ...common, text });
    await this.send('Input.dispatchKeyEvent', { type: 'keyUp', ...common });
  }

  async type(text: string): Promise<void> {
    await this.send('Input.insertText', { text });
  }

  /** Tabs until the element with this id has the focus: what a keyboard reaches. */
  async tabTo(id: string): Promise<void> {
    for (let presses = 0; presses < 80; presses++) {
      if ((await this.evaluate<string>('document.activeElement.id')) === id) return;
      await this.press('Tab');
    }
    throw new Error(`the keyboard does not reach ${id}`);
  }

  /** Pieces of the whole page, into the folder that PAGE_SCREENSHOTS names; nowhere without it. */
  async screenshot(name: string): Promise<void> {
    const folder = process.env['PAGE_SCREENSHOTS'];
    if (!folder) return;
    const [width, height] = await this.evaluate<[number, number]>(
      '[innerWidth, document.documentElement.scrollHeight]',
    );
    const piece = width < 600 ? 1400 : 3000;
    for (let y = 0; y < height; y += piece) {
      const clip = { x: 0, y, width, height: Math.min(piece, height - y), scale: 1 };
      const { data } = await this.send('Page.captureScreenshot', { format: 'png', captureBeyondViewport: true, clip });
      writeFileSync(join(folder, `${name}-${y / piece + 1}.png`), Buffer.from(String(data), 'base64'));
    }
  }

  async send(
    method: string,
    params: Readonly<Record<string, unknown>> = {},
  ): Promise<Readonly<Record<string, unknown>>> {
    const id = ++this.#last;
    const session = this.#session === '' ? {} : { sessionId: this.#session };
    const { promise, resolve, reject } = Promise.withResolvers<Message>();
    const timer = setTimeout(() => reject(new Error(`${method} was not answered`)), commandMs);
    this.#waiting.set(id, resolve);
    this.#commands.write(`${JSON.stringify({ id, method, params, ...session })}\0`);
    const { result, error } = await promise.finally(() => clearTimeout(timer));
    if (error) throw new Error(`${method}: ${error.message}`);
    return result ?? {};
  }

  #take(message: Message): void {
    if (message.id !== undefined) {
      this.#waiting.get(message.id)?.(message);
      this.#waiting.delete(message.id);
      return;
    }
    const params = message.params ?? {};
    // As the protocol has them.
    if (message.method === 'Network.requestWillBeSent') this.requests.push((params['request'] as { url: string }).url);
    if (message.method === 'Runtime.exceptionThrown') this.complaints.push(JSON.stringify(params['exceptionDetails']));
    if (message.method === 'Log.entryAdded') {
      const { level, text, source } = params['entry'] as { level: string; text: string; source: string };
      if (level === 'error') this.complaints.push(`${source}: ${text}`);
    }
  }
}
