import type { Connection } from '@tableset/common/database/connection.ts';
import { AppError, commonError } from '@tableset/common/errors.ts';
import type { Output } from '@tableset/common/output/output.ts';
import { nearestName } from '@tableset/common/settings/nearest.ts';
import type { StoreSettings } from '../config/archive-config.ts';
import type { ArchiveStore } from '../stores/store.ts';

/** What connecting to a store's server failed for, with the keys of its own that say where that is: the usual remedy is about the primary. */
function withSettings(error: unknown, settings: StoreSettings): unknown {
  if (!(error instanceof AppError) || settings.kind !== 'mysql') return error;
  const at = `stores.${settings.name}.mysql`;
  const hints: Readonly<Record<string, string>> = {
    DATABASE_UNKNOWN: `Create the schema ${settings.schema}, or correct ${at}.name.`,
    DATABASE_GRANT_MISSING: `Grant the account what docs/operations.md lists for a store, or correct ${at}.name.`,
    ...(settings.server === null
      ? {}
      : {
          DATABASE_ACCESS_DENIED: `Check ${at}.user and the password that ${at}.passwordFile or passwordEnv names.`,
          DATABASE_UNREACHABLE: `Check ${at}.host and port, and that the server is up.`,
          DATABASE_TLS: `Check ${at}.tls and ${at}.tlsCaFile.`,
        }),
  };
  const hint = hints[error.code];
  if (hint === undefined) return error;
  const { code, exit, message, cause, details } = error;
  return new AppError(code, { exit, cause: '', remedy: hint }, `store ${settings.name}: ${message}`, {
    cause,
    details,
  });
}

/** Opens each store when it is first asked for, and closes them all. */
export class StorePool implements AsyncDisposable {
  readonly #settings: readonly StoreSettings[];
  readonly #primary: Connection;
  readonly #context: { readonly output: Output; readonly signal: AbortSignal };
  readonly #open = new Map<string, ArchiveStore>();

  constructor(
    settings: readonly StoreSettings[],
    primary: Connection,
    context: { readonly output: Output; readonly signal: AbortSignal },
  ) {
    this.#settings = settings;
    this.#primary = primary;
    this.#context = context;
  }

  /** @throws AppError CONFIG_INVALID if the configuration has no store of the name that the ledger knows. */
  settings(name: string): StoreSettings {
    const found = this.#settings.find((each) => each.name === name);
    if (found) return found;
    const known = this.#settings.map((each) => each.name);
    const near = nearestName(name, known);
    throw commonError(
      'CONFIG_INVALID',
      `there are batches in the store ${name}, which the configuration does not have${near ? `; it has ${near}` : ''}`,
      { hint: 'Keep a store under stores as long as batches lie in it, under the name that they were archived with.' },
    );
  }

  /** @throws AppError CONFIG_INVALID for an unknown name, STORE_UNAVAILABLE, and what connecting throws, with the settings to look at */
  async get(name: string): Promise<ArchiveStore> {
    const known = this.#open.get(name);
    if (known) return known;
    const settings = this.settings(name);
    const { openStore } = await import('../stores/open-store.ts');
    const store = await openStore(settings, {
      primary: this.#primary,
      signal: this.#context.signal,
      warn: (message, fields) => this.#context.output.event('warn', message, fields),
    }).catch((error: unknown) => {
      throw withSettings(error, settings);
    });
    this.#open.set(name, store);
    return store;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const stores = Array.from(this.#open.values());
    this.#open.clear();
    // All of them are closed, also if one cannot be; what was done in them is done, so that is only told.
    for (const end of await Promise.allSettled(stores.map((store) => store[Symbol.asyncDispose]()))) {
      if (end.status === 'rejected') {
        const reason = end.reason instanceof Error ? end.reason.message : String(end.reason);
        this.#context.output.event('warn', 'a store could not be closed', { reason });
      }
    }
  }
}
