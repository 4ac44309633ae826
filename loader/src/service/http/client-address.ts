import type { IncomingHttpHeaders } from 'node:http';
import { BlockList, isIP, isIPv4, isIPv6 } from 'node:net';

/** Tells the address of whoever made a request. */
export type ClientAddress = (remote: string | undefined, headers: IncomingHttpHeaders) => string;

/** Proxies in a row that are believed. */
const hopsMax = 10;
const unknown = 'unknown';

/**
 * Believes X-Forwarded-For as far as it comes from proxies that the operator named: from its right end, which the nearest proxy wrote, to the first address
 * that is not one of them. What stands left of that, whoever asks may have made up.
 * @param trusted addresses and networks, as `parseNetwork` takes them
 */
export function openClientAddress(trusted: readonly string[]): ClientAddress {
  const proxies = new BlockList();
  for (const text of trusted) {
    const network = parseNetwork(text);
    if (network) proxies.addSubnet(network.address, network.bits, network.family);
  }
  const trusts = (address: string) => proxies.check(address, isIPv6(address) ? 'ipv6' : 'ipv4');
  return (remote, headers) => {
    let address = plain(remote ?? '');
    if (isIP(address) === 0) return unknown;
    const forwarded = trusts(address) ? header(headers['x-forwarded-for']).split(',') : [];
    for (const entry of forwarded.toReversed().slice(0, hopsMax)) {
      const next = plain(entry.trim());
      // Whatever is no address was not written by a proxy that knows its place: the last one that is known has to do.
      if (isIP(next) === 0) break;
      address = next;
      if (!trusts(address)) break;
    }
    return address;
  };
}

/** `10.0.0.0/8`, `fd00::/8` or one address; null for anything else. */
export function parseNetwork(
  text: string,
): { readonly address: string; readonly bits: number; readonly family: 'ipv4' | 'ipv6' } | null {
  const [address = '', suffix, ...more] = text.split('/');
  const family = isIPv4(address) ? 'ipv4' : isIPv6(address) ? 'ipv6' : null;
  if (family === null || more.length > 0 || address.includes('%')) return null;
  const most = family === 'ipv4' ? 32 : 128;
  if (suffix !== undefined && !/^\d{1,3}$/.test(suffix)) return null;
  const bits = suffix === undefined ? most : Number(suffix);
  return bits <= most ? { address, bits, family } : null;
}

/** Sockets that take both families show IPv4 as ::ffff:1.2.3.4. */
function plain(address: string): string {
  const mapped = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(address)?.[1];
  return mapped ?? address;
}

function header(value: string | readonly string[] | undefined): string {
  return typeof value === 'string' ? value : (value?.join(',') ?? '');
}
