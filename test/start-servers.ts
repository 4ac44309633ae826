import type { TestProject } from 'vitest/node';
import { type Flavour, flavours, type PoolEntry, ServerPool, servePool } from './server-pool.ts';

declare module 'vitest' {
  interface ProvidedContext {
    /** Where tests ask for further servers. */
    readonly serverPoolUrl: string;
    /** The servers that every run has, local_infile on. */
    readonly servers: Readonly<Record<Flavour, PoolEntry>>;
  }
}

/**
 * Starts MySQL and MariaDB for the database tests and says which. A missing one is a failure when REQUIRE_SERVERS names
 * it (`mysql,mariadb`), when containers can be run here and this one did not start, and when there is none at all;
 * otherwise it is said loudly, before and after the tests.
 */
export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  const required = requiredServers();
  const startedMs = performance.now();
  const pool = new ServerPool();
  const [mysql, mariadb] = await Promise.all(flavours.map((flavour) => pool.get({ flavour, localInfile: true })));
  if (mysql === undefined || mariadb === undefined) throw new Error('the pool has two flavours');
  const servers = { mysql, mariadb };
  const seconds = ((performance.now() - startedMs) / 1000).toFixed(1);
  const report = flavours.map((flavour) => describeEntry(flavour, servers[flavour]));
  console.log(`\nDatabase tests run on (ready after ${seconds} s):\n${report.join('\n')}\n`);

  const missing = flavours.filter((flavour) => servers[flavour].state === 'missing');
  const faults = missing.filter((flavour) => required.includes(flavour) || isFault(servers[flavour]));
  if (faults.length > 0 || missing.length === flavours.length) {
    await pool[Symbol.asyncDispose]();
    throw new Error(
      `database tests need ${(faults.length > 0 ? faults : missing).join(' and ')}:\n${report.join('\n')}`,
    );
  }
  const service = await servePool(pool);
  project.provide('servers', servers);
  project.provide('serverPoolUrl', service.url);
  return async () => {
    service.close();
    await pool[Symbol.asyncDispose]();
    for (const flavour of missing) {
      const line = '!'.repeat(100);
      console.log(
        `\n${line}\nNothing was tested on ${flavour}: start Docker, or name a running server in TEST_SERVERS (CONTRIBUTING.md).\n${describeEntry(flavour, servers[flavour])}\n${line}\n`,
      );
    }
  };
}

function requiredServers(): string[] {
  const names = (process.env['REQUIRE_SERVERS'] ?? '').split(',').filter((name) => name !== '');
  const unknown = names.filter((name) => !flavours.some((flavour) => flavour === name));
  if (unknown.length > 0) throw new Error(`REQUIRE_SERVERS takes mysql and mariadb, not ${unknown.join(', ')}`);
  return names;
}

function isFault(entry: PoolEntry): boolean {
  return entry.state === 'missing' && entry.fault;
}

function describeEntry(flavour: Flavour, entry: PoolEntry): string {
  return entry.state === 'up'
    ? `  ${flavour} ${entry.version} (${entry.from})`
    : `  ${flavour} NOT THERE: ${entry.reason}`;
}
