import type { S3Client } from '@aws-sdk/client-s3';
import { AppError } from '@tableset/common/errors.ts';
import type { S3Settings } from '../config/schema.ts';
import { loaderError } from '../errors.ts';
import { delay } from '../http/delay.ts';
import { s3Config } from '../http/s3-config.ts';
import { refusedConnection } from '../sources/failure.ts';

/** The server has something under this name already. */
export class NameTaken extends Error {}

export interface S3Timing {
  readonly connectTimeoutMs: number;
  /** Without a byte in either direction. */
  readonly silenceTimeoutMs: number;
  /** How often a request is sent before the store counts as unavailable. */
  readonly attempts: number;
  /** Before the second attempt; doubled for each further one. */
  readonly retryDelayMs: number;
}

const defaultTiming: S3Timing = {
  connectTimeoutMs: 10_000,
  silenceTimeoutMs: 60_000,
  attempts: 6,
  retryDelayMs: 200,
};

export type S3Sdk = typeof import('@aws-sdk/client-s3');

/** Requests to one bucket, each of them tried again as long as that is safe and may help. */
export class S3Access implements Disposable {
  readonly sdk: S3Sdk;
  readonly client: S3Client;
  readonly #store: string;
  readonly #signal: AbortSignal;
  readonly #timing: S3Timing;

  constructor(sdk: S3Sdk, settings: S3Settings, store: string, signal: AbortSignal, timing: Partial<S3Timing> = {}) {
    this.sdk = sdk;
    this.#store = store;
    this.#signal = signal;
    this.#timing = { ...defaultTiming, ...timing };
    // What comes back is proved by its SHA-256.
    this.client = new sdk.S3Client({
      ...s3Config(settings, this.#timing),
      responseChecksumValidation: 'WHEN_REQUIRED',
    });
  }

  /**
   * Does something that may be done again. What failed without an answer, by a fault of the server (500, 503 SlowDown) or against
   * another writer (409) is tried again.
   * @throws NameTaken for 412; AppError STORE_UNAVAILABLE
   */
  async attempt<T>(what: string, work: () => Promise<T>): Promise<T> {
    for (let tries = 1; ; tries++) {
      try {
        this.#signal.throwIfAborted();
        return await work();
      } catch (error) {
        if (this.#signal.aborted) throw this.#signal.reason;
        if (error instanceof AppError || error instanceof NameTaken) throw error;
        const status = statusOf(error);
        if (status === 412) throw new NameTaken(what, { cause: error });
        if (!mayPass(error, status) || tries >= this.#timing.attempts) throw this.#failure(what, error, status);
        await delay(this.#timing.retryDelayMs * 2 ** (tries - 1), this.#signal);
      }
    }
  }

  [Symbol.dispose](): void {
    this.client.destroy();
  }

  #failure(what: string, error: unknown, status: number | null): AppError {
    const kind = error instanceof Error ? error.name : 'unknown error';
    const options = {
      cause: error,
      details: { store: this.#store, ...(status === null ? { kind } : { status, kind }) },
    };
    const said = status === null ? kind : `${kind}, ${status}`;
    if (status === 401 || status === 403 || kind === 'CredentialsProviderError') {
      return loaderError('STORE_UNAVAILABLE', `store ${this.#store}: ${what}: access is refused (${said})`, {
        ...options,
        hint: 'Check accessKeyIdFile, secretAccessKeyFile and what the policy of the bucket allows, or whether the credentials ran out.',
      });
    }
    return refusedConnection(error, `store ${this.#store}`) === null
      ? loaderError('STORE_UNAVAILABLE', `store ${this.#store}: ${what} (${said})`, options)
      : loaderError('STORE_UNAVAILABLE', `store ${this.#store}: the certificate of its server is not trusted`, {
          ...options,
          hint: 'Name the file of its authority with NODE_EXTRA_CA_CERTS.',
        });
  }
}

export function statusOf(error: unknown): number | null {
  // The client's service exceptions carry the answer's status here; other errors have no such part.
  const status = (error as { $metadata?: { httpStatusCode?: number } } | null)?.$metadata?.httpStatusCode;
  return status ?? null;
}

function mayPass(error: unknown, status: number | null): boolean {
  if (status !== null) return status === 408 || status === 409 || status === 425 || status === 429 || status >= 500;
  return (
    refusedConnection(error, '') === null && !(error instanceof Error && error.name === 'CredentialsProviderError')
  );
}
