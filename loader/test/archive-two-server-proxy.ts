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
