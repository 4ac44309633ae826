/** What database tests build on: `describeEachServer` runs a suite on MySQL and on MariaDB. */
import { randomBytes } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import mysql from 'mysql2/promise';
import { afterAll, beforeAll, describe, inject, onTestFinished, TestRunner } from 'vitest';
import type { ServerAddress } from '../tools/embedded-database/running-server.ts';
import { type Flavour, flavours, type PoolEntry } from './server-pool.ts';

export type { Flavour } from './server-pool.ts';
export type TestRow = Readonly<Record<string, unknown>>;

export interface ServerOptions {
  /** The server's local_infile; default true. The first test that asks for false starts a server of its own. */
  readonly localInfile?: boolean;
}

/** A schema of its own for one test file, with an account that may do everything in it, and outside only look at what the server does. */
export interface TestSchema {
  readonly name: string;
  readonly user: string;
  readonly password: string;
  /** DB_HOST, DB_PORT, DB_NAME, DB_USER, DB_PASSWORD for a program that runs on this schema. */
  readonly environment: Readonly<Record<string, string>>;
  /** Runs one statement as root in this schema. Dates, DECIMAL and integers past 2^53 come back as text. */
  query(sql: string, values?: readonly unknown[]): Promise<TestRow[]>;
  /** Runs several statements as root in this schema. */
  script(sql: string): Promise<void>;
  /** A connection of the caller's own, as the schema's account unless options say otherwise. */
  connect(options?: mysql.ConnectionOptions): Promise<mysql.Connection>;
  /** Drops schema and account; also done after the test that made it, or after the last one. */
  drop(): Promise<void>;
}

/** How long a connection that was closed may take to leave the server's list. */
const leakTimeoutMs = 2000;

/**
 * Defines one suite for each server. Schemas are dropped after its last test, and a connection that is still open in
 * one, or a staging table that was left there, fails the suite.
 * @example describeEachServer('a load', (server) => { test('writes rows', async () => { const schema = await server.createSchema(); … }); });
 */
export function describeEachServer(
  name: string,
  define: (server: TestServer) => void,
  options: ServerOptions = {},
): void {
  const servers = inject('servers');
  for (const flavour of flavours) {
    const localInfile = options.localInfile ?? true;
    // A missing server was reported by the global setup, which fails where it should have been there.
    describe.skipIf(servers[flavour].state === 'missing')(`${name} on ${flavour}`, () => {
      const server = new TestServer(flavour, localInfile, localInfile ? servers[flavour] : undefined);
      beforeAll(() => server.open());
      afterAll(() => server.close());
      define(server);
    });
  }
}

/** One server for one test file. Its address is known from the first test on. */
export class TestServer {
  readonly flavour: Flavour;
  readonly localInfile: boolean;
  #entry: PoolEntry | undefined;
  readonly #schemas = new Set<TestSchema & { checkLeaks(): Promise<string[]> }>();
  #root: mysql.Connection | undefined;

  constructor(flavour: Flavour, localInfile: boolean, entry: PoolEntry | undefined) {
    this.flavour = flavour;
    this.localInfile = localInfile;
    this.#entry = entry;
  }

  /** Host, port and root's name and password. */
  get address(): ServerAddress {
    if (this.#entry?.state !== 'up') throw new Error(`${this.flavour} is not there: ask for its address within a test`);
    return this.#entry.address;
  }

  get version(): string {
    if (this.#entry?.state !== 'up') throw new Error(`${this.flavour} is not there: ask for its version within a test`);
    return this.#entry.version;
  }

  async open(): Promise<void> {
    this.#entry ??= await askPool(this.flavour, this.localInfile);
    if (this.#entry.state === 'missing') throw new Error(`${this.flavour} could not be started: ${this.#entry.reason}`);
    this.#root = await this.connect();
  }

  /** Runs one statement as root, in no schema. */
  async query(sql: string, values: readonly unknown[] = []): Promise<TestRow[]> {
    if (this.#root === undefined) throw new Error('queries are run within tests and hooks');
    return await queryRows(this.#root, sql, values);
  }

  /** A connection of the caller's own, as root unless options say otherwise. */
  async connect(options: mysql.ConnectionOptions = {}): Promise<mysql.Connection> {
    return await mysql.createConnection({
      ...this.address,
      charset: 'utf8mb4',
      timezone: 'Z',
      dateStrings: true,
      supportBigNumbers: true,
      ...options,
    });
  }

  /** Makes a fresh schema in utf8mb4. */
  async createSchema(): Promise<TestSchema> {
    // Not test_…: MariaDB lets every account into schemas of that name. No underscore: in a GRANT it is a wildcard.
    const name = `case${randomBytes(5).toString('hex')}`;
    const password = randomBytes(8).toString('hex');
    await this.query(`CREATE DATABASE ${name} CHARACTER SET utf8mb4`);
    await this.query(`CREATE USER ${name}@'%' IDENTIFIED BY '${password}'`);
    await this.query(`GRANT ALL PRIVILEGES ON ${name}.* TO ${name}@'%'`);
    // Archiving asks for it, and it shows no rows.
    await this.query(`GRANT PROCESS ON *.* TO ${name}@'%'`);
    const { host, port } = this.address;
    let own: mysql.Connection | undefined;
    const ownConnection = async () => {
      own ??= await this.connect({ database: name, multipleStatements: true });
      return own;
    };
    let dropped = false;
    const schema = {
      name,
      user: name,
      password,
      environment: { DB_HOST: host, DB_PORT: String(port), DB_NAME: name, DB_USER: name, DB_PASSWORD: password },
      query: async (sql: string, values: readonly unknown[] = []) =>
        await queryRows(await ownConnection(), sql, values),
      script: async (sql: string) => {
        await (await ownConnection()).query(sql);
      },
      connect: (options: mysql.ConnectionOptions = {}) =>
        this.connect({ user: name, password, database: name, ...options }),
      checkLeaks: async () => (dropped ? [] : await this.#findLeaks(name, own)),
      drop: async () => {
        if (dropped) return;
        dropped = true;
        await own?.end();
        await this.query(`DROP DATABASE IF EXISTS ${name}`);
        await this.query(`DROP USER IF EXISTS ${name}@'%'`);
      },
    };
    this.#schemas.add(schema);
    // The more schemas there are, the longer it takes a server to say which tables refer to one. What was left behind is for the end to tell.
    if (TestRunner.getCurrentTest() !== undefined)
      onTestFinished(async () => {
        if (!dropped && (await this.#findLeaks(name, own, 100)).length === 0) await schema.drop();
      });
    return schema;
  }

  /** Drops every schema that was made, then fails if one of them held something that should have been gone. */
  async close(): Promise<void> {
    if (this.#root === undefined) return;
    const leaks: string[] = [];
    for (const schema of this.#schemas) {
      leaks.push(...(await schema.checkLeaks()));
      await schema.drop();
    }
    await this.#root.end();
    if (leaks.length > 0) throw new Error(`left behind on ${this.flavour}:\n${leaks.join('\n')}`);
  }

  /** A held lock implies an open connection, so looking for connections finds both. */
  async #findLeaks(schema: string, own: mysql.Connection | undefined, waitMs = leakTimeoutMs): Promise<string[]> {
    const deadline = performance.now() + waitMs;
    for (;;) {
      // The table of processes cannot be read while another session's statement has an emoji in it.
      const processes = await this.query('SHOW PROCESSLIST');
      const connections = processes
        .filter((row) => (row['db'] === schema || row['User'] === schema) && row['Id'] !== (own?.threadId ?? 0))
        .map((row) => ({ id: row['Id'], user: row['User'], command: row['Command'], state: row['State'] }));
      // A connection that was closed just now is listed a moment longer.
      if (connections.length > 0 && performance.now() < deadline) {
        await delay(100);
        continue;
      }
      const tables = await this.query(
        "SELECT table_name AS name FROM information_schema.tables WHERE table_schema = ? AND table_name LIKE 'tableset\\_stage%'",
        [schema],
      );
      return [
        ...connections.map((row) => `  ${schema}: open connection ${JSON.stringify(row)}`),
        ...tables.map((row) => `  ${schema}: staging table ${String(row['name'])}`),
      ];
    }
  }
}

async function queryRows(connection: mysql.Connection, sql: string, values: readonly unknown[]): Promise<TestRow[]> {
  const [rows] = await connection.query<mysql.RowDataPacket[]>(sql, [...values]);
  return Array.isArray(rows) ? rows : [];
}

async function askPool(flavour: Flavour, localInfile: boolean): Promise<PoolEntry> {
  const url = `${inject('serverPoolUrl')}?flavour=${flavour}&localInfile=${localInfile ? 'on' : 'off'}`;
  const response = await fetch(url);
  // The pool sends nothing but its entries.
  return (await response.json()) as PoolEntry;
}
