import { randomBytes } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import mysql from 'mysql2/promise';
import type { Flavour } from '../test/server-pool.ts';
import type { ServerAddress } from '../tools/embedded-database/running-server.ts';

export interface Server {
  readonly flavour: Flavour;
  readonly version: string;
  readonly address: ServerAddress;
}

export interface RootSession {
  query(sql: string): Promise<readonly Row[]>;
  /** How many rows a statement found to write. */
  run(sql: string): Promise<number>;
  end(): Promise<void>;
}

export type Row = Readonly<Record<string, string | null>>;

/** How long a session whose client is gone may still be there. */
const sessionsMs = 15_000;

const lockWaits: Readonly<Record<Flavour, string>> = {
  mysql:
    'SELECT COUNT(*) AS n FROM performance_schema.data_lock_waits WHERE blocking_thread_id = PS_CURRENT_THREAD_ID()',
  mariadb:
    'SELECT COUNT(*) AS n FROM information_schema.innodb_lock_waits w JOIN information_schema.innodb_trx t ON t.trx_id = w.blocking_trx_id WHERE t.trx_mysql_thread_id = CONNECTION_ID()',
};

/** A schema with an account of its own, seen through a connection of root's. */
export class Schema implements AsyncDisposable {
  readonly name: string;
  readonly password: string;
  readonly server: Server;
  #root: mysql.Connection;

  private constructor(server: Server, name: string, password: string, root: mysql.Connection) {
    this.server = server;
    this.name = name;
    this.password = password;
    this.#root = root;
  }

  /** @param users accounts of other schemas that may use this one too */
  static async create(server: Server, users: readonly string[] = []): Promise<Schema> {
    const [name, password] = [`torture${randomBytes(5).toString('hex')}`, randomBytes(8).toString('hex')];
    const root = await connectAsRoot(server);
    await root.query(
      `CREATE DATABASE ${name} CHARACTER SET utf8mb4; CREATE USER ${name}@'%' IDENTIFIED BY '${password}'`,
    );
    for (const user of [name, ...users]) await root.query(`GRANT ALL PRIVILEGES ON ${name}.* TO ${user}@'%'`);
    // Archiving asks for it.
    await root.query(`GRANT PROCESS ON *.* TO ${name}@'%'`);
    await root.query(useAs(name));
    return new Schema(server, name, password, root);
  }

  /** After the server has been away. */
  async reconnect(): Promise<void> {
    this.#root.destroy();
    this.#root = await connectAsRoot(this.server);
    await this.#root.query(useAs(this.name));
  }

  /** The last statement's rows, every value as text. */
  async query(sql: string, values: readonly unknown[] = []): Promise<readonly Row[]> {
    return await queryRows(this.#root, sql, values);
  }

  /** A session of somebody else's, who may do everything, in this schema. */
  async openSession(): Promise<RootSession> {
    const connection = await connectAsRoot(this.server);
    await connection.query(`USE ${this.name}; SET SESSION time_zone = '+00:00', innodb_lock_wait_timeout = 5`);
    return {
      query: (sql) => queryRows(connection, sql),
      async run(sql) {
        const [result] = await connection.query<mysql.ResultSetHeader>(sql);
        return result.affectedRows;
      },
      end: () => connection.end(),
    };
  }

  /** DB_… of a program that runs on it. */
  environment(port: number = this.server.address.port): Readonly<Record<string, string>> {
    return {
      DB_HOST: port === this.server.address.port ? this.server.address.host : '127.0.0.1',
      DB_PORT: String(port),
      DB_NAME: this.name,
      DB_USER: this.name,
      DB_PASSWORD: this.password,
      DB_WAIT_SECONDS: '5',
    };
  }

  /** Whether somebody waits for a row that this connection has locked. */
  async isWaitedFor(): Promise<boolean> {
    const [row] = await this.query(lockWaits[this.server.flavour]);
    return row?.['n'] !== '0';
  }

  async tables(): Promise<readonly string[]> {
    const rows = await this.query(
      "SELECT table_name AS name FROM information_schema.tables WHERE table_schema = ? AND table_type = 'BASE TABLE' ORDER BY table_name",
      [this.name],
    );
    return rows.map(({ name }) => String(name));
  }

  /** Rows go, tables stay, which is far cheaper than to make them again; staging tables go. */
  async empty(): Promise<void> {
    const tables = await this.tables();
    const staging = tables.filter((name) => isStaging(name));
    const statements = [
      'SET SESSION foreign_key_checks = 0',
      ...tables.filter((name) => !isStaging(name)).map((name) => `DELETE FROM \`${name}\``),
      ...staging.map((name) => `DROP TABLE \`${name}\``),
      'SET SESSION foreign_key_checks = 1',
    ];
    await this.query(statements.join('; '));
  }

  async dropTables(): Promise<void> {
    const tables = await this.tables();
    const drops = tables.map((name) => `DROP TABLE \`${name}\``);
    await this.query(
      [
        'SET SESSION foreign_key_checks = 0',
        'DROP VIEW IF EXISTS tableset_freshness',
        ...drops,
        'SET SESSION foreign_key_checks = 1',
      ].join('; '),
    );
  }

  /** Sessions of the account that are still there once the server has had the time to notice that their clients are gone. */
  async lingering(): Promise<readonly string[]> {
    const deadline = performance.now() + sessionsMs;
    for (;;) {
      // The servers' own tables cannot take other sessions' statements with an emoji in them.
      const all = await this.query('SHOW PROCESSLIST');
      const rows = all.filter((row) => row['User'] === this.name);
      if (rows.length === 0 || performance.now() > deadline)
        return rows.map((row) => `session ${row['Id']} ${row['Command']} ${row['State']} ${row['Info']}`);
      await delay(20);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#root.query(`DROP DATABASE IF EXISTS ${this.name}; DROP USER IF EXISTS ${this.name}@'%'`);
    await this.#root.end();
  }
}

function useAs(name: string): string {
  return `USE ${name}; SET SESSION time_zone = '+00:00', innodb_lock_wait_timeout = 20`;
}

export async function connectAsRoot({ address }: Server): Promise<mysql.Connection> {
  const connection = await mysql.createConnection({
    ...address,
    charset: 'utf8mb4',
    multipleStatements: true,
    // Whatever it is, as the server prints it.
    typeCast: (field) => field.string(),
  });
  // Servers are killed; the next statement then tells.
  connection.on('error', () => {});
  return connection;
}

async function queryRows(connection: mysql.Connection, sql: string, values: readonly unknown[] = []) {
  const [rows] = await connection.query<mysql.RowDataPacket[]>(sql, [...values]);
  // The type cast gives texts.
  return Array.isArray(rows) ? (rows as Row[]) : [];
}

export function isStaging(table: string): boolean {
  return /^tableset_(stage|keys|drill|scratch)/.test(table);
}
