import { isIPv6 } from 'node:net';

/** Says when an address asks too often. */
export interface RateLimit {
  /** @returns null to go on, else the seconds for Retry-After */
  take(address: string): number | null;
}

interface Bucket {
  /** Requests that may still be made. */
  left: number;
  atMs: number;
}

const addressesMax = 10_000;

/**
 * Lets each address make so many requests a minute, in a burst or evenly. Addresses that have been silent longest are forgotten first where there are too many.
 * @param now milliseconds
 */
export function openRateLimit(perMinute: number, now: () => number): RateLimit {
  const buckets = new Map<string, Bucket>();
  const perMs = perMinute / 60_000;
  return {
    take(address) {
      const key = networkOf(address);
      const atMs = now();
      const known = buckets.get(key);
      // A clock that was set back gives nothing.
      const left = known ? Math.min(perMinute, known.left + Math.max(0, atMs - known.atMs) * perMs) : perMinute;
      buckets.delete(key);
      buckets.set(key, { left: left < 1 ? left : left - 1, atMs });
      if (buckets.size > addressesMax) buckets.delete(buckets.keys().next().value ?? '');
      return left < 1 ? Math.max(1, Math.ceil((1 - left) / perMs / 1000)) : null;
    },
  };
}

/** What counts as one asker: an address, or the network of an IPv6 one, since whoever has one of these has 2^64. */
export function networkOf(address: string): string {
  if (!isIPv6(address) || address.includes('.')) return address;
  const [head = '', tail] = address.split('%')[0]?.split('::') ?? [];
  const before = head === '' ? [] : head.split(':');
  const after = tail ? tail.split(':') : [];
  const zeros =
    tail === undefined ? [] : Array.from({ length: Math.max(0, 8 - before.length - after.length) }, () => '0');
  return [...before, ...zeros, ...after]
    .slice(0, 4)
    .map((group) => Number.parseInt(group, 16).toString(16))
    .join(':');
}
