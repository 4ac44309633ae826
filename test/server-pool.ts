import { once } from 'node:events';
import { createServer } from 'node:http';
import mysql from 'mysql2/promise';
import { GenericContainer, getContainerRuntimeClient } from 'testcontainers';
import { type Guard, guardCommand } from '../tools/embedded-database/guard.ts';
import { startDatabase } from '../tools/embedded-database/index.ts';
import { type ServerAddress, waitUntilReady } from '../tools/embedded-database/running-server.ts';

export type Flavour = 'mysql' | 'mariadb';
export const flavours: readonly Flavour[] = ['mysql', 'mariadb'];

/** A server of the pool, or why there is none. */
export type PoolEntry =
  | { readonly state: 'up'; readonly address: ServerAddress; readonly version: string; readonly from: string }
  | {
      readonly state: 'missing';
      readonly reason: string;
      /** It should have been there: the container runtime is, and yet it did not start. */
      readonly fault: boolean;
    };

export interface ServerVariant {
  readonly flavour: Flavour;
  /** The server's local_infile, which is global: tests of both values need a server each. */
  readonly localInfile: boolean;
}

const images: Readonly<Record<Flavour, string>> = {
  mysql: process.env['TEST_MYSQL_IMAGE'] || 'mysql:9.7',
  mariadb: process.env['TEST_MARIADB_IMAGE'] || 'mariadb:11.8',
};

const serverArguments: Readonly<Record<Flavour, readonly string[]>> = {
  mysql: ['--log-bin-trust-function-creators=1', '--mysqlx=OFF'],
  // MariaDB writes a binary log only when told to, which changes what it costs and what it allows.
  mariadb: ['--server-id=1', '--log-bin=binlog', '--binlog-format=ROW', '--log-bin-trust-function-creators=1'],
};

/** Nothing that tests write has to survive a power failure. */
const speedArguments = ['--innodb-flush-log-at-trx-commit=0', '--sync-binlog=0', '--max-connections=500'];

const rootPassword = 'root of tests';

/**
 * Starts database servers for tests, each variant once and only when it is asked for, and stops all of them.
 * Where a container runtime is there, they are containers; elsewhere what this machine has or can unpack.
 */
export class ServerPool implements AsyncDisposable {
  readonly #entries = new Map<string, Promise<PoolEntry>>();
  readonly #stops: (() => Promise<void>)[] = [];
  readonly #given = givenServers();
  #runtime: Promise<string | null> | undefined;

  /** Never rejects: what went wrong is in the entry. */
  get(variant: ServerVariant): Promise<PoolEntry> {
    const key = `${variant.flavour} ${variant.localInfile}`;
    let entry = this.#entries.get(key);
    if (entry === undefined) {
      entry = this.#start(variant);
      this.#entries.set(key, entry);
    }
    return entry;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.allSettled(this.#entries.values());
    await Promise.allSettled(this.#stops.map((stop) => stop()));
  }

  async #start(variant: ServerVariant): Promise<PoolEntry> {
    const given = variant.localInfile ? this.#given.get(variant.flavour) : undefined;
    this.#runtime ??= containerRuntimeFault();
    const noRuntime = given === undefined ? await this.#runtime : null;
    try {
      if (given !== undefined) {
        const version = await waitUntilReady(given);
        await prepareGiven(given);
        return { state: 'up', address: given, version, from: `TEST_SERVERS, ${given.host}:${given.port}` };
      }
      return noRuntime === null ? await this.#startContainer(variant) : await this.#startLocal(variant);
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      return {
        state: 'missing',
        reason: noRuntime === null ? reason : `no container runtime (${noRuntime}), and:\n${reason}`,
        fault: noRuntime === null,
      };
    }
  }

  async #startContainer({ flavour, localInfile }: ServerVariant): Promise<PoolEntry> {
    // Its helper container is an image more to pull; a guard process clears up instead.
    process.env['TESTCONTAINERS_RYUK_DISABLED'] = 'true';
    const image = images[flavour];
    const container = await new GenericContainer(image)
      .withExposedPorts(3306)
      .withStartupTimeout(120_000)
      .withTmpFs({ '/var/lib/mysql': 'rw' })
      .withEnvironment({ [`${flavour.toUpperCase()}_ROOT_PASSWORD`]: rootPassword })
      .withCommand([
        flavour === 'mysql' ? 'mysqld' : 'mariadbd',
        `--local-infile=${localInfile ? 1 : 0}`,
        ...serverArguments[flavour],
        ...speedArguments,
      ])
      .start();
    const guard: Guard = guardCommand('docker', ['rm', '--force', '--volumes', container.getId()]);
    this.#stops.push(async () => {
      await container.stop({ timeout: 0 });
      await guard[Symbol.asyncDispose]();
    });
    const port = container.getMappedPort(3306);
    const address = { host: container.getHost(), port, user: 'root', password: rootPassword };
    const version = await waitUntilReady(address);
    return { state: 'up', address, version, from: `container ${image}` };
  }

  async #startLocal({ flavour, localInfile }: ServerVariant): Promise<PoolEntry> {
    const database = await startDatabase({
      flavour,
      ways: ['path', 'packages'],
      args: [`--local-infile=${localInfile ? 1 : 0}`, ...serverArguments[flavour], ...speedArguments],
    });
    this.#stops.push(() => database.stop());
    const { host, port, user, password, version } = database;
    return {
      state: 'up',
      address: { host, port, user, password },
      version,
      from: database.kind === 'path' ? 'server program on PATH' : "unpacked from the distribution's packages",
    };
  }
}

/** Why no container can be started here, or null when one can. */
async function containerRuntimeFault(): Promise<string | null> {
  try {
    await getContainerRuntimeClient();
    return null;
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}

/** Gives a server that was not started here the settings that the others are started with. */
async function prepareGiven(address: ServerAddress): Promise<void> {
  const connection = await mysql.createConnection({ ...address });
  await connection.query('SET GLOBAL log_bin_trust_function_creators = 1, GLOBAL local_infile = 1');
  // What is committed survives the end of the server's process, though not that of the machine.
  await connection.query('SET GLOBAL innodb_flush_log_at_trx_commit = 2, GLOBAL sync_binlog = 0');
  await connection.end();
}

/** TEST_SERVERS="mysql=root:password@127.0.0.1:3306 mariadb=…": servers that are already running, local_infile on. */
function givenServers(): Map<Flavour, ServerAddress> {
  const given = new Map<Flavour, ServerAddress>();
  for (const part of (process.env['TEST_SERVERS'] ?? '').split(/\s+/).filter((text) => text !== '')) {
    const match = /^(mysql|mariadb)=([^:]+):(.*)@([^@:]+):(\d+)$/.exec(part);
    if (match === null)
      throw new Error('TEST_SERVERS takes mysql=USER:PASSWORD@HOST:PORT and mariadb=…, with a space between');
    const [, flavour, user = '', password = '', host = '', port] = match;
    given.set(flavour === 'mysql' ? 'mysql' : 'mariadb', { host, port: Number(port), user, password });
  }
  return given;
}

/** Lets the processes of tests ask the pool, which lives in vitest's own: GET /?flavour=mysql&localInfile=off. */
export async function servePool(pool: ServerPool): Promise<{ readonly url: string; close(): void }> {
  const server = createServer(async (request, response) => {
    const { searchParams } = new URL(request.url ?? '/', 'http://pool');
    const flavour = flavours.find((name) => name === searchParams.get('flavour'));
    if (flavour === undefined) {
      response.writeHead(400).end();
      return;
    }
    const entry = await pool.get({ flavour, localInfile: searchParams.get('localInfile') === 'on' });
    response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(entry));
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('the pool of servers has no port');
  return {
    url: `http://127.0.0.1:${address.port}/`,
    close: () => {
      server.closeAllConnections();
      server.close();
    },
  };
}
