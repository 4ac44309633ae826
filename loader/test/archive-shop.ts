import { hash } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import { expect } from 'vitest';
import type { TestSchema, TestServer } from '../../test/servers.ts';
import { ArchiveFolder, archiveSchema, sameServer } from './run-archive.ts';

/** Orders and their items, a schema for their archive, and a folder that archives the one to the other. */
export interface Shop {
  readonly schema: TestSchema;
  readonly archive: TestSchema;
  readonly folder: ArchiveFolder;
}

export interface ShopOptions {
  /** Orders past their age, with the keys from 1 on. */
  readonly old?: number;
  /** Orders that stay, with the keys after those. */
  readonly fresh?: number;
  /** Of each order. */
  readonly items?: number;
  readonly limits?: Readonly<Record<string, unknown>>;
  readonly entry?: Readonly<Record<string, unknown>>;
}

/** SQL of a date more than 100 days ago over the key `i`: an hour later for each, so that dates and keys have the same order. */
export const longAgo = 'UTC_TIMESTAMP(6) - INTERVAL (20000 - i) HOUR';

/** Makes a shop whose old orders are more than 100 days old, an hour apart, and whose fresh ones are younger than a day. */
export async function openShop(server: TestServer, options: ShopOptions = {}): Promise<Shop> {
  const { old = 100, fresh = 20, items = 0, limits = {}, entry = {} } = options;
  const schema = await server.createSchema();
  const archive = await archiveSchema(server, schema);
  await schema.script(`
    CREATE TABLE orders (id BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY, customer VARCHAR(40) NOT NULL, total DECIMAL(12,2) NULL,
      weight DOUBLE NULL, note TEXT NULL, created_at DATETIME(6) NULL, KEY created_at (created_at))`);
  if (items > 0) {
    await schema.script(`CREATE TABLE order_items (id INT NOT NULL AUTO_INCREMENT PRIMARY KEY, order_id BIGINT UNSIGNED NOT NULL, product VARCHAR(20) NOT NULL,
      FOREIGN KEY (order_id) REFERENCES orders (id))`);
  }
  await insertOrders(schema, 1, old, longAgo);
  await insertOrders(schema, old + 1, old + fresh, 'UTC_TIMESTAMP(6) - INTERVAL i % 20 HOUR');
  for (let item = 0; item < items; item++)
    await schema.query(
      `INSERT INTO order_items (order_id, product) SELECT id, CONCAT('product ', id % 7, ' ${item}') FROM orders`,
    );
  const children = items > 0 ? { children: ['order_items'] } : {};
  const folder = new ArchiveFolder(schema, sameServer(archive, [{ table: 'orders', ...children, ...entry }], limits));
  return { schema, archive, folder };
}

/** Inserts orders with the keys `from` to `to`; `date` is SQL over the key `i`. */
export async function insertOrders(schema: TestSchema, from: number, to: number, date: string): Promise<void> {
  const chunk = 500;
  for (let start = from; start <= to; start += chunk) {
    const keys = Array.from({ length: Math.min(chunk, to - start + 1) }, (_, index) => `SELECT ${start + index} AS i`);
    await schema.query(
      `INSERT INTO orders (id, customer, total, weight, note, created_at)
       SELECT i, CONCAT('customer ', i % 13), i / 7, i / 3, IF(i % 5 = 0, NULL, CONCAT('Grüße ', i)), ${date} FROM (${keys.join(' UNION ALL ')}) numbers`,
    );
  }
}

/** The rows of a table as text, sorted; `where` is SQL. */
export async function rowsOf(schema: TestSchema, table: string, where = 'TRUE'): Promise<readonly string[]> {
  const columns = await schema.query(
    "SELECT column_name AS name FROM information_schema.columns WHERE table_schema = DATABASE() AND table_name = ? AND column_name <> 'tableset_batch' ORDER BY ordinal_position",
    [table],
  );
  const cells = columns.map((row) => `IFNULL(CAST(\`${String(row['name'])}\` AS CHAR), '~')`);
  const rows = await schema.query(`SELECT CONCAT_WS('|', ${cells.join(', ')}) AS line FROM ${table} WHERE ${where}`);
  return rows.map((row) => String(row['line'])).toSorted();
}

/** Rows of an archive table that readers may see: those of batches in state deleted. */
export async function visibleRows(
  { schema, archive }: Pick<Shop, 'schema' | 'archive'>,
  table: string,
): Promise<readonly string[]> {
  const tables = await archive.query(
    'SELECT table_name AS name FROM information_schema.tables WHERE table_schema = DATABASE() AND table_name = ?',
    [table],
  );
  if (tables.length === 0) return [];
  return await rowsOf(
    archive,
    table,
    `tableset_batch IN (SELECT id FROM ${schema.name}.tableset_batches WHERE state = 'deleted')`,
  );
}

/**
 * Each row that was there is in exactly one home, as it was: the table or its visible archive. On one server both are looked at as of one moment:
 * the server may still be ending the transaction of a program that was killed.
 */
export async function expectConserved(
  shop: Pick<Shop, 'schema' | 'archive'>,
  before: Readonly<Record<string, readonly string[]>>,
): Promise<void> {
  const { schema, archive } = shop;
  const together = schema.environment['DB_PORT'] === archive.environment['DB_PORT'];
  // The connection of the one schema looks into the other too.
  const beside: TestSchema = { ...archive, query: (sql, values) => queryIn(archive.name, sql, values) };
  const queryIn = async (name: string, sql: string, values?: readonly unknown[]) => {
    await schema.query(`USE ${name}`);
    try {
      return await schema.query(sql, values);
    } finally {
      await schema.query(`USE ${schema.name}`);
    }
  };
  if (together) await schema.query('START TRANSACTION WITH CONSISTENT SNAPSHOT');
  try {
    for (const [table, rows] of Object.entries(before)) {
      const archived = await visibleRows(together ? { schema, archive: beside } : shop, table);
      const now = [...(await rowsOf(schema, table)), ...archived].toSorted();
      expect(now, table).toEqual(rows);
    }
  } finally {
    if (together) await schema.query('ROLLBACK');
  }
}

/** The ledger's batches in the order of time. */
export async function batches(schema: TestSchema) {
  return await schema.query(
    'SELECT CAST(id AS CHAR) AS id, state, CAST(token AS CHAR) AS token, CAST(row_count AS SIGNED) AS row_count, CAST(total_rows AS SIGNED) AS total_rows, first_key, last_key, oldest, newest, cutoff, manifest FROM tableset_batches ORDER BY tableset_batches.id',
  );
}

/** Sessions of the program in the schema whose statement is like this. */
async function sessions(server: TestServer, schema: TestSchema, info: RegExp = /./): Promise<readonly string[]> {
  // Other sessions' statements may hold characters that the servers' own tables cannot compare.
  const all = await server.query('SHOW FULL PROCESSLIST');
  return all
    .filter((row) => row['db'] === schema.name && row['User'] === schema.user && info.test(String(row['Info'] ?? '')))
    .map((row) => String(row['Id']));
}

/** Waits until the program runs a statement like this, and returns its session. */
export async function waitForStatement(server: TestServer, schema: TestSchema, info: RegExp): Promise<string> {
  for (let tries = 0; tries < 400; tries++) {
    const [id] = await sessions(server, schema, info);
    if (id !== undefined) return id;
    await delay(25);
  }
  throw new Error(`no session came to ${info}`);
}

/** The digest of rows by the rules that docs and manifests give, worked out apart from the program. */
export function digestOf(rows: readonly (readonly (string | null)[])[]): string {
  const lines = rows.map((row) => {
    const cells = row.map((cell) => (cell === null ? Buffer.of(0xfe) : Buffer.from(cell)));
    const text = cells.flatMap((cell, index) => (index === 0 ? [cell] : [Buffer.of(0xff), cell]));
    return `${hash('sha256', Buffer.concat(text))}\n`;
  });
  return hash('sha256', lines.toSorted().join(''));
}
