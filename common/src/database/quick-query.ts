import { createHash } from 'node:crypto';
import { createConnection, type Socket } from 'node:net';
import type { DatabaseSettings } from '../settings/database.ts';

/** A row by the names of its columns; everything is text. */
export type QuickRow = Readonly<Record<string, string | null>>;

export interface QuickAnswer {
  /** The server's version as it greets with. */
  readonly version: string;
  readonly rows: readonly QuickRow[];
}

export interface QuickAnswers {
  readonly version: string;
  /** The rows of each statement; none for one that gives no rows. */
  readonly results: readonly (readonly QuickRow[])[];
}

interface QuickOptions {
  readonly timeoutMs: number;
  readonly signal: AbortSignal;
}

/** `quickQueries` of one statement. */
export async function quickQuery(
  settings: DatabaseSettings,
  sql: string,
  options: QuickOptions,
): Promise<QuickAnswer | null> {
  const answers = await quickQueries(settings, [sql], options);
  return answers && { version: answers.version, rows: answers.results[0] ?? [] };
}

/**
 * Asks a server a few questions without loading the driver, which takes as long as all the rest of a start that finds nothing to
 * do. It knows the plain case only: no TLS, the two usual ways to log in, results in text. Whatever else happens, errors
 * and slowness included, gives null, and the caller does the same through `Connection`, which handles it and words it.
 * The protocol: MySQL's "Client/Server Protocol", Connection Phase, Command Phase, Text Resultset.
 */
export async function quickQueries(
  settings: DatabaseSettings,
  statements: readonly string[],
  options: QuickOptions,
): Promise<QuickAnswers | null> {
  if (settings.tls !== 'disable' || options.signal.aborted) return null;
  return await new Promise((resolve) => {
    const socket = createConnection({ host: settings.host, port: settings.port });
    const exchange = new Exchange(settings, statements, socket);
    const end = (answer: QuickAnswers | null) => {
      clearTimeout(timer);
      options.signal.removeEventListener('abort', giveUp);
      // The farewell keeps the server from counting an aborted connection.
      if (!socket.destroyed && socket.writable) socket.write(Buffer.from([1, 0, 0, 0, 1]));
      socket.destroySoon();
      resolve(answer);
    };
    const giveUp = () => end(null);
    const timer = setTimeout(giveUp, options.timeoutMs);
    options.signal.addEventListener('abort', giveUp, { once: true });
    socket.setNoDelay(true);
    socket.on('error', giveUp);
    socket.on('close', giveUp);
    socket.on('data', (chunk) => {
      const answer = exchange.take(chunk);
      if (answer !== undefined) end(answer);
    });
  });
}

const capabilities = {
  longPassword: 0x1,
  connectWithDatabase: 0x8,
  protocol41: 0x200,
  transactions: 0x2000,
  secureConnection: 0x8000,
  pluginAuth: 0x80000,
} as const;
const utf8mb4GeneralCi = 45;
const largestPayload = 0xffffff;
const answerBytesMax = 8 * 1024 * 1024;

type Phase = 'greeting' | 'login' | 'columns' | 'definitions' | 'rows';

/** The two sides' turns, packet by packet. Undefined from `take` means: more to come. */
class Exchange {
  readonly #settings: DatabaseSettings;
  readonly #statements: readonly string[];
  readonly #socket: Socket;
  #pending: Buffer = Buffer.alloc(0);
  #received = 0;
  #phase: Phase = 'greeting';
  #version = '';
  #columns = 0;
  #names: string[] = [];
  #rows: QuickRow[] = [];
  readonly #results: (readonly QuickRow[])[] = [];

  constructor(settings: DatabaseSettings, statements: readonly string[], socket: Socket) {
    this.#settings = settings;
    this.#statements = statements;
    this.#socket = socket;
  }

  take(chunk: Buffer): QuickAnswers | null | undefined {
    this.#received += chunk.length;
    if (this.#received > answerBytesMax) return null;
    let rest = this.#pending.length === 0 ? chunk : Buffer.concat([this.#pending, chunk]);
    while (rest.length >= 4) {
      const length = rest.readUIntLE(0, 3);
      if (length === largestPayload) return null;
      if (rest.length < 4 + length) break;
      try {
        const answer = this.#packet(rest.subarray(4, 4 + length), rest[3] ?? 0);
        if (answer !== undefined) return answer;
      } catch {
        // A packet that ends too soon, or is not what this knows.
        return null;
      }
      rest = rest.subarray(4 + length);
    }
    this.#pending = rest;
    return undefined;
  }

  #packet(payload: Buffer, sequence: number): QuickAnswers | null | undefined {
    const first = payload[0];
    if (first === undefined || first === 0xff) return null;
    switch (this.#phase) {
      case 'greeting':
        return this.#greeting(payload, sequence);
      case 'login':
        return this.#login(payload, sequence);
      case 'columns':
        if (first === 0) return this.#end();
        // 0xfb asks for a local file.
        if (first >= 0xfb) return null;
        this.#columns = first;
        this.#phase = 'definitions';
        return undefined;
      case 'definitions':
        if (isEnd(payload)) this.#phase = 'rows';
        else this.#names.push(columnName(payload));
        return this.#names.length > this.#columns ? null : undefined;
      case 'rows':
        if (isEnd(payload)) return this.#end();
        this.#rows.push(this.#row(payload));
        return undefined;
      default:
        return this.#phase satisfies never;
    }
  }

  #greeting(payload: Buffer, sequence: number): null | undefined {
    if (payload[0] !== 10) return null;
    const end = payload.indexOf(0, 1);
    this.#version = payload.toString('latin1', 1, end);
    const at = end + 5;
    const nonce = Buffer.concat([payload.subarray(at, at + 8), payload.subarray(at + 27, at + 39)]);
    const plugin = payload.toString('latin1', at + 40).replace(/\0.*$/s, '');
    const token = loginToken(plugin, this.#settings.password, nonce);
    if (token === null) return null;
    const flags = Object.values(capabilities).reduce((sum, flag) => sum | flag, 0);
    const head = Buffer.alloc(32);
    head.writeUInt32LE(flags, 0);
    head.writeUInt32LE(largestPayload, 4);
    head[8] = utf8mb4GeneralCi;
    this.#send(
      sequence + 1,
      head,
      text(this.#settings.user),
      Buffer.from([token.length]),
      token,
      text(this.#settings.name),
      text(plugin),
    );
    this.#phase = 'login';
    return undefined;
  }

  #login(payload: Buffer, sequence: number): null | undefined {
    if (payload[0] === 0xfe) {
      const end = payload.indexOf(0, 1);
      const plugin = payload.toString('latin1', 1, end);
      const token =
        end === -1 ? null : loginToken(plugin, this.#settings.password, payload.subarray(end + 1, end + 21));
      if (token === null) return null;
      this.#send(sequence + 1, token);
      return undefined;
    }
    // caching_sha2_password: 3 means that the server knew the account; 4 asks for more than is known here.
    if (payload[0] === 1) return payload[1] === 3 ? undefined : null;
    if (payload[0] !== 0) return null;
    this.#ask();
    return undefined;
  }

  /** Sends the statement whose turn it is. */
  #ask(): void {
    this.#send(0, Buffer.from([3]), Buffer.from(this.#statements[this.#results.length] ?? '', 'utf8'));
    this.#names = [];
    this.#rows = [];
    this.#phase = 'columns';
  }

  /** One statement has its answer. */
  #end(): QuickAnswers | null | undefined {
    this.#results.push(this.#rows);
    if (this.#results.length < this.#statements.length) {
      this.#ask();
      return undefined;
    }
    // What is asked for last gives rows.
    return this.#phase === 'columns' ? null : { version: this.#version, results: this.#results };
  }

  #row(payload: Buffer): QuickRow {
    const row: Record<string, string | null> = {};
    let position = 0;
    for (const name of this.#names) {
      if (payload[position] === 0xfb) {
        row[name] = null;
        position += 1;
      } else {
        const [length, start] = lengthAt(payload, position);
        row[name] = payload.toString('utf8', start, start + length);
        position = start + length;
      }
    }
    if (position !== payload.length) throw new RangeError('a row that does not fit its columns');
    return row;
  }

  #send(sequence: number, ...parts: readonly Buffer[]): void {
    const payload = Buffer.concat(parts);
    const head = Buffer.alloc(4);
    head.writeUIntLE(payload.length, 0, 3);
    head[3] = sequence;
    this.#socket.write(Buffer.concat([head, payload]));
  }
}

function isEnd(payload: Buffer): boolean {
  return payload[0] === 0xfe && payload.length < 9;
}

/** The name is the fifth of the six texts that a column's definition starts with. */
function columnName(payload: Buffer): string {
  let position = 0;
  for (let text = 0; text < 4; text += 1) {
    const [length, start] = lengthAt(payload, position);
    position = start + length;
  }
  const [length, start] = lengthAt(payload, position);
  return payload.toString('utf8', start, start + length);
}

/** A length-encoded integer: its value and the offset behind it. */
function lengthAt(payload: Buffer, position: number): readonly [length: number, start: number] {
  const first = payload[position];
  if (first === undefined) throw new RangeError('the packet ends too soon');
  const [length, start] =
    first < 0xfb
      ? [first, position + 1]
      : first === 0xfc
        ? [payload.readUInt16LE(position + 1), position + 3]
        : first === 0xfd
          ? [payload.readUIntLE(position + 1, 3), position + 4]
          : [Number.POSITIVE_INFINITY, position];
  if (start + length > payload.length) throw new RangeError('the packet ends too soon');
  return [length, start];
}

/** What proves the password to the server; null for a way to log in that is not known here. */
function loginToken(plugin: string, password: string, nonce: Buffer): Buffer | null {
  if (plugin !== 'mysql_native_password' && plugin !== 'caching_sha2_password') return null;
  if (password === '') return Buffer.alloc(0);
  const native = plugin === 'mysql_native_password';
  const hash = (...parts: readonly (Buffer | string)[]) => {
    const digest = createHash(native ? 'sha1' : 'sha256');
    for (const part of parts) digest.update(part);
    return digest.digest();
  };
  const once = hash(password);
  const twice = hash(once);
  const mask = native ? hash(nonce, twice) : hash(twice, nonce);
  return Buffer.from(once.map((byte, index) => byte ^ (mask[index] ?? 0)));
}

function text(value: string): Buffer {
  return Buffer.from(`${value}\0`, 'utf8');
}
