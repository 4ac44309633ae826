import { lookup } from 'node:dns/promises';
import { localAddressGuard } from '../../http/guarded-lookup.ts';
import { serviceError } from '../errors.ts';

/** @throws AppError SERVICE_HOST_REFUSED */
export type HostCheck = (host: string) => Promise<void>;

/**
 * Says which database hosts records may name: the service's own, and those that the operator lists. Without a list databases may be anywhere in the network but on
 * this machine or at link-local addresses, where clouds answer for their metadata; every address of a name is looked at, and a name that cannot be resolved is refused.
 * @param allowed exact names or addresses, or `*.SUFFIX`
 */
export function openHostCheck(own: string, allowed: readonly string[], resolve = systemResolve): HostCheck {
  const guard = localAddressGuard(own);
  const listed = (host: string) => allowed.some((each) => matches(each.toLowerCase(), host));
  return async (given) => {
    const host = given.toLowerCase();
    if (host === own.toLowerCase() || listed(host)) return;
    const refused = (why: string, cause?: unknown) =>
      serviceError('SERVICE_HOST_REFUSED', `the service does not connect to ${given}: ${why}`, { cause });
    if (allowed.length > 0) throw refused('it is not among ARCHIVAL_ALLOWED_HOSTS');
    let addresses: readonly string[];
    try {
      addresses = await resolve(host);
    } catch (cause) {
      throw refused('the name cannot be resolved', cause);
    }
    if (addresses.length === 0) throw refused('the name cannot be resolved');
    if (addresses.some((address) => guard.refuses(address)))
      throw refused('it is an address of this machine or a link-local one');
  };
}

function matches(pattern: string, host: string): boolean {
  return pattern.startsWith('*.') ? host.endsWith(pattern.slice(1)) : host === pattern;
}

async function systemResolve(host: string): Promise<readonly string[]> {
  return (await lookup(host, { all: true })).map(({ address }) => address);
}
