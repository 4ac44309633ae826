/** Which replica schedules and hands out work: one at a time. Adapters: `alone` here, a Kubernetes Lease in `job/lease-leadership.ts`. */
export interface Leadership extends AsyncDisposable {
  readonly leader: boolean;
  /** Who leads, by the replica's name; null: nobody known. */
  readonly holder: string | null;
  /** Calls back at each change, and at once if this replica leads already. */
  onChange(listener: (leader: boolean) => void): void;
}

/** A single replica leads always. Several without a Lease do no harm: claims in the ledger exclude, only polling doubles. */
export function alone(replica: string): Leadership {
  return {
    leader: true,
    holder: replica,
    onChange: (listener) => listener(true),
    [Symbol.asyncDispose]: async () => {},
  };
}
