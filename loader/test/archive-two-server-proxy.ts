import { onTestFinished } from 'vitest';
import { type FaultProxy, startFaultProxy } from '../../test/fault-proxy.ts';
import type { TestServer } from '../../test/servers.ts';

export type { Fault, FaultProxy } from '../../test/fault-proxy.ts';

/** A proxy in front of a test's server, for as long as the test runs. */
export async function openFaultProxy(server: TestServer): Promise<FaultProxy> {
  const proxy = await startFaultProxy(server.address);
  onTestFinished(() => proxy[Symbol.asyncDispose]());
  return proxy;
}

/** DB_HOST and DB_PORT of a way to the server on which a program waits for a row's lock for 2 s and not for 10. */
export async function impatientWay(server: TestServer): Promise<FaultProxy['environment']> {
  const proxy = await openFaultProxy(server);
  proxy.rewrite('innodb_lock_wait_timeout=10', 'innodb_lock_wait_timeout=2');
  return proxy.environment;
}
