import type { LookupAddress } from 'node:dns';
import { lookup as systemLookup } from 'node:dns/promises';
import { BlockList, isIP, type LookupFunction } from 'node:net';
import type { AppError } from '@tableset/common/errors.ts';

/** Says which addresses may be connected to. */
export interface AddressGuard {
  /** True if the host may be anything, by its name as it stands in the URL. */
  allowsHost(hostname: string): boolean;
  /** True if this address must not be connected to. */
  refuses(address: string): boolean;
}

export interface GuardOptions {
  readonly guard: AddressGuard;
  /** The error for an address that is refused; `what` names the host, not the address, which would map the network for the asker. */
  readonly failure: (what: string) => AppError;
  /** All addresses of a name; the system's resolver by default. */
  readonly resolve?: (hostname: string) => Promise<readonly LookupAddress[]>;
}

/**
 * A lookup for one request to `url`, which resolves the name once, checks every address that comes, and lets the connection go to
 * those very addresses, so that a name that changes its mind in between (DNS rebinding) gains nothing.
 * @throws what `failure` makes, at once, if the URL holds an address instead of a name: node never looks those up.
 */
export function guardedLookup(url: URL, { guard, failure, resolve = systemResolve }: GuardOptions): LookupFunction {
  const host = url.hostname.replace(/^\[|\]$/g, '');
  const allowed = guard.allowsHost(host);
  if (!allowed && isIP(host) !== 0 && guard.refuses(host)) throw failure(host);
  return (hostname, options, callback) => {
    const finish = (error: NodeJS.ErrnoException | null, addresses: readonly LookupAddress[]) => {
      const first = addresses[0];
      if (error || !first) callback(error ?? failure(hostname), '', 0);
      else if (options.all) callback(null, [...addresses]);
      else callback(null, first.address, first.family);
    };
    resolve(hostname).then(
      (addresses) => {
        const bad = !allowed && (addresses.length === 0 || addresses.some(({ address }) => guard.refuses(address)));
        finish(bad ? failure(hostname) : null, addresses);
      },
      (error: unknown) => finish(error instanceof Error ? error : new Error(String(error)), []),
    );
  };
}

async function systemResolve(hostname: string): Promise<readonly LookupAddress[]> {
  return await systemLookup(hostname, { all: true, verbatim: true });
}

/** Lets nothing through but public unicast addresses and the hosts that the operator lists (exact names or addresses). */
export function publicAddressGuard(allowedHosts: readonly string[] = []): AddressGuard {
  const hosts = new Set(allowedHosts.map((host) => host.toLowerCase()));
  return { allowsHost: (hostname) => hosts.has(hostname.toLowerCase()), refuses: (address) => !isPublic(address) };
}

/**
 * Keeps a server that an operator trusts from sending us to this machine or to the services of the cloud it runs on (metadata),
 * while private networks stay open, since both ends may well live in one.
 */
export function localAddressGuard(origin: string): AddressGuard {
  const host = origin.replace(/^\[|\]$/g, '');
  const fromHere = host === 'localhost' || (isIP(host) !== 0 && checked(loopback, host));
  return {
    allowsHost: () => false,
    refuses: (address) =>
      isIP(address) === 0 || checked(linkLocal, address) || (!fromHere && checked(loopback, address)),
  };
}

// The IANA special-purpose registries. An IPv4 address within an IPv6 one (::ffff:0:0/96, 64:ff9b::/96, 2002::/16) is never public here.
const specialIpv4 = list('ipv4', [
  '0.0.0.0/8',
  '10.0.0.0/8',
  '100.64.0.0/10',
  '127.0.0.0/8',
  '169.254.0.0/16',
  '172.16.0.0/12',
  '192.0.0.0/24',
  '192.0.2.0/24',
  '192.31.196.0/24',
  '192.52.193.0/24',
  '192.88.99.0/24',
  '192.168.0.0/16',
  '192.175.48.0/24',
  '198.18.0.0/15',
  '198.51.100.0/24',
  '203.0.113.0/24',
  '224.0.0.0/4',
  '240.0.0.0/4',
]);
const globalIpv6 = list('ipv6', ['2000::/3']);
const specialIpv6 = list('ipv6', ['2001::/23', '2001:db8::/32', '2002::/16', '2620:4f:8000::/48', '3fff::/20']);

// Both lists also match the IPv6 forms of their IPv4 subnets (::ffff:127.0.0.1).
const loopback = list('ipv6', ['::1/128', '::/128'], list('ipv4', ['127.0.0.0/8', '0.0.0.0/8']));
const linkLocal = list(
  'ipv6',
  ['fe80::/10', 'fd00:ec2::254/128', '64:ff9b::a9fe:0/112'],
  list('ipv4', ['169.254.0.0/16', '100.100.100.200/32']),
);

function isPublic(address: string): boolean {
  const family = isIP(address);
  if (family === 4) return !checked(specialIpv4, address);
  return family === 6 && checked(globalIpv6, address) && !checked(specialIpv6, address);
}

function checked(block: BlockList, address: string): boolean {
  return block.check(address, isIP(address) === 6 ? 'ipv6' : 'ipv4');
}

function list(family: 'ipv4' | 'ipv6', subnets: readonly string[], block = new BlockList()): BlockList {
  for (const subnet of subnets) {
    const [network = '', prefix] = subnet.split('/');
    block.addSubnet(network, Number(prefix), family);
  }
  return block;
}
