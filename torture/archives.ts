import { mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { gunzipSync } from 'node:zlib';
import type { S3Server } from '../loader/test/stores/s3-server.ts';
import { Schema, type Server } from './schema.ts';
import { RowBag, type Rows, rowQuery, type ShopTable, shopTables, tableNames } from './shop.ts';

export const storeNames = ['mysql', 'mysql-other', 'filesystem', 'sqlite', 's3'] as const;
export type StoreName = (typeof storeNames)[number];

/** A store as the checker sees it: by means of its own, not by the code that is under test. */
export interface Archive extends AsyncDisposable {
  readonly name: StoreName;
  /** Where it is reached over a network of its own, past the primary's. */
  readonly network: { readonly kind: 'mysql' | 'http'; readonly host: string; readonly port: number } | null;
  /** The store's section in the configuration. @param port of a proxy before it */
  settings(port?: number): object;
  /** By batch, the rows that lie there; a batch of which only something else is there has none. */
  contents(): Promise<ReadonlyMap<string, Rows>>;
  empty(): Promise<void>;
  /** After its server has been away. */
  reconnect(): Promise<void>;
  /** Sessions that are still open there. */
  lingering(): Promise<readonly string[]>;
}

/** @param folder for what lies in files */
export async function openArchive(
  name: StoreName,
  primary: Schema,
  { other, s3, folder }: { readonly other: Server; readonly s3: S3Server | null; readonly folder: string },
): Promise<Archive> {
  switch (name) {
    case 'mysql':
      return new SqlArchive(name, await Schema.create(primary.server, [primary.name]), null, '');
    case 'mysql-other': {
      const schema = await Schema.create(other);
      const passwordFile = join(folder, 'password');
      await writeFile(passwordFile, schema.password);
      const { host, port } = other.address;
      return new SqlArchive(name, schema, { kind: 'mysql', host, port }, passwordFile);
    }
    case 'filesystem':
      return fileArchive(join(folder, 'files'));
    case 'sqlite':
      return await sqliteArchive(join(folder, 'files', 'archive.db'));
    case 's3':
      if (s3 === null) throw new Error('there is no S3 server');
      return s3Archive(s3, await s3.createBucket());
    default:
      return name satisfies never;
  }
}

class SqlArchive implements Archive {
  readonly name: StoreName;
  readonly network: Archive['network'];
  readonly schema: Schema;
  readonly #passwordFile: string;

  constructor(name: StoreName, schema: Schema, network: Archive['network'], passwordFile: string) {
    this.#passwordFile = passwordFile;
    this.name = name;
    this.schema = schema;
    this.network = network;
  }

  settings(port?: number): object {
    const { name, server } = this.schema;
    if (this.network === null) return { mysql: { name } };
    const host = port === undefined ? server.address.host : '127.0.0.1';
    const account = { host, port: port ?? server.address.port, user: name, passwordFile: this.#passwordFile };
    return { mysql: { ...account, name, acceptNotDurable: true } };
  }

  async contents(): Promise<ReadonlyMap<string, Rows>> {
    const found = new Map<string, RowBag>();
    const there = await this.schema.tables();
    for (const table of tableNames) {
      if (!there.includes(table)) continue;
      const query = rowQuery(table, table).replace('SELECT ', 'SELECT CAST(tableset_batch AS CHAR) AS batch, ');
      for (const { batch, ...row } of await this.schema.query(query))
        bagOf(found, String(batch)).add(table, Object.values(row));
    }
    if (there.includes('tableset_manifests'))
      for (const { batch } of await this.schema.query('SELECT CAST(batch AS CHAR) AS batch FROM tableset_manifests'))
        bagOf(found, String(batch));
    return rowsOf(found);
  }

  empty(): Promise<void> {
    return this.schema.empty();
  }

  reconnect(): Promise<void> {
    return this.schema.reconnect();
  }

  lingering(): Promise<readonly string[]> {
    return this.schema.lingering();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.schema[Symbol.asyncDispose]();
  }
}

function bagOf(bags: Map<string, RowBag>, batch: string): RowBag {
  const bag = bags.get(batch) ?? new RowBag();
  bags.set(batch, bag);
  return bag;
}

function rowsOf(bags: ReadonlyMap<string, RowBag>): ReadonlyMap<string, Rows> {
  return new Map(Array.from(bags, ([batch, bag]) => [batch, bag.rows]));
}

const files = { format: 'jsonl', compression: 'gzip' };
const nothingLingers = async () => [];
const nothingToConnect = async () => {};

/** Files by their paths below the store: `orders/BATCH/items.jsonl.gz`. */
function batchesInFiles(contents: Iterable<readonly [string, Buffer]>): ReadonlyMap<string, Rows> {
  const found = new Map<string, RowBag>();
  for (const [path, bytes] of contents) {
    const [, batch = path, file = ''] = path.split('/');
    const bag = bagOf(found, batch);
    const table = tableNames.find((name) => file === `${name}.jsonl.gz`);
    if (table === undefined) continue;
    const text = gunzipSync(bytes).toString('utf8');
    for (const line of text.split('\n').filter((each) => each !== '')) bag.add(table, cellsOf(table, line));
  }
  return rowsOf(found);
}

function cellsOf(table: ShopTable, line: string): readonly (string | null)[] {
  // A line is an object of columns.
  const row = JSON.parse(line) as Readonly<Record<string, string | number | null>>;
  return shopTables[table].map((column) => {
    const value = row[column] ?? null;
    if (value === null) return null;
    return column === 'body' ? Buffer.from(String(value), 'base64').toString('hex').toUpperCase() : String(value);
  });
}

async function fileArchive(path: string): Promise<Archive> {
  await mkdir(path, { recursive: true });
  return {
    name: 'filesystem',
    network: null,
    settings: () => ({ filesystem: { path, ...files } }),
    async contents() {
      const entries = await readdir(path, { recursive: true, withFileTypes: true });
      const found: [string, Buffer][] = [];
      for (const entry of entries) {
        const whole = join(entry.parentPath, entry.name);
        if (entry.isFile()) found.push([whole.slice(path.length + 1), await readFile(whole)]);
      }
      return batchesInFiles(found);
    },
    async empty() {
      for (const name of await readdir(path)) await rm(join(path, name), { recursive: true });
    },
    reconnect: nothingToConnect,
    lingering: nothingLingers,
    async [Symbol.asyncDispose]() {},
  };
}

async function sqliteArchive(path: string): Promise<Archive> {
  await mkdir(dirname(path), { recursive: true });
  return {
    name: 'sqlite',
    network: null,
    settings: () => ({ sqlite: { path } }),
    async contents() {
      const found = new Map<string, RowBag>();
      const database = new DatabaseSync(path);
      try {
        const there = database.prepare("SELECT name FROM sqlite_schema WHERE type = 'table'").all();
        const names = new Set(there.map(({ name }) => String(name)));
        for (const table of tableNames) {
          if (!names.has(table)) continue;
          const query = rowQuery(table, table)
            .replaceAll('AS CHAR', 'AS TEXT')
            .replace('HEX(body)', 'IIF(body IS NULL, NULL, HEX(body))');
          const rows = database.prepare(query.replace('SELECT ', 'SELECT CAST(tableset_batch AS TEXT) AS batch, '));
          for (const { batch, ...row } of rows.all())
            bagOf(found, String(batch)).add(
              table,
              Object.values(row).map((cell) => (cell === null ? null : String(cell))),
            );
        }
        if (names.has('tableset_manifests'))
          for (const { batch } of database.prepare('SELECT CAST(batch AS TEXT) AS batch FROM tableset_manifests').all())
            bagOf(found, String(batch));
      } finally {
        database.close();
      }
      return rowsOf(found);
    },
    async empty() {
      for (const ending of ['', '-journal', '-wal', '-shm']) await rm(`${path}${ending}`, { force: true });
    },
    reconnect: nothingToConnect,
    lingering: nothingLingers,
    async [Symbol.asyncDispose]() {},
  };
}

function s3Archive(server: S3Server, bucket: string): Archive {
  return {
    name: 's3',
    network: { kind: 'http', host: server.host, port: server.port },
    settings: (port) => ({
      s3: {
        bucket,
        prefix: 'shop',
        ...server.settings(port === undefined ? undefined : `http://127.0.0.1:${port}`),
        ...files,
      },
    }),
    async contents() {
      const objects = await server.contents(bucket);
      return batchesInFiles(objects.map(([key, bytes]) => [key.replace(/^shop\//, ''), bytes]));
    },
    empty: () => server.empty(bucket),
    reconnect: nothingToConnect,
    lingering: nothingLingers,
    async [Symbol.asyncDispose]() {
      await server.empty(bucket);
    },
  };
}
