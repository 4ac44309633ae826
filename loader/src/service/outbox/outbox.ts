import type { RunEndHook, ServiceContext } from '../contracts.ts';

/** Notices for webhooks, kept in the ledger until they are told or dead. */
export interface Outbox extends AsyncDisposable {
  /** Writes the notices of a run's end, in its transaction. */
  readonly hook: RunEndHook;
  /** Begins to deliver; on the leader alone. */
  start(service: ServiceContext): void;
}

export function openOutbox(): Outbox {
  return { hook: async () => {}, start: () => {}, [Symbol.asyncDispose]: async () => {} };
}
