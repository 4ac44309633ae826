import type { Schema } from './schema.ts';

/** Rows of the tables by table and key; a row is its columns as text, bytes as hexadecimal digits. */
export type Rows = ReadonlyMap<string, readonly string[]>;

export const shopTables = {
  orders: ['id', 'customer', 'total', 'weight', 'note', 'body', 'created_at'],
  items: ['id', 'order_id', 'product'],
} as const;

export type ShopTable = keyof typeof shopTables;
export const tableNames: readonly ShopTable[] = ['orders', 'items'];

/** Orders that are old enough to be archived: three batches of three, the last of them too young to be purged. */
export const oldOrders = 9;
export const batchRows = 3;
export const batchesOfRun = oldOrders / batchRows;
const freshOrders = 3;

const tables = `
  CREATE TABLE IF NOT EXISTS orders (id BIGINT UNSIGNED NOT NULL PRIMARY KEY, customer VARCHAR(40) NOT NULL, total DECIMAL(12,2) NULL, weight DOUBLE NULL,
    note TEXT NULL, body VARBINARY(20) NULL, created_at DATETIME(6) NULL, KEY created_at (created_at));
  CREATE TABLE IF NOT EXISTS items (id INT NOT NULL PRIMARY KEY, order_id BIGINT UNSIGNED NOT NULL, product VARCHAR(20) NOT NULL,
    FOREIGN KEY (order_id) REFERENCES orders (id))`;

/** Makes the tables where they are missing, and fills them with the same rows each time, but for today's date. */
export async function fillShop(schema: Schema): Promise<void> {
  const numbers = Array.from({ length: oldOrders + freshOrders }, (_, index) => `SELECT ${index + 1} AS i`);
  await schema.query(`${tables};
    INSERT INTO orders SELECT i, CONCAT('customer ', i % 4), i / 7, i + 0.25, IF(i % 5 = 0, NULL, CONCAT('Grüße ', CONVERT(X'F09F9880' USING utf8mb4), i, '\\t\\n\\\\|')),
      IF(i % 4 = 0, NULL, UNHEX(CONCAT('00FF', LPAD(HEX(i), 4, '0'), '00'))),
      CASE WHEN i <= 6 THEN '2019-01-01 00:00:00.000001' + INTERVAL i HOUR
           WHEN i <= ${oldOrders} THEN UTC_TIMESTAMP(6) - INTERVAL 100 DAY + INTERVAL i HOUR
           ELSE UTC_TIMESTAMP(6) - INTERVAL i HOUR END
      FROM (${numbers.join(' UNION ALL ')}) numbers;
    INSERT INTO items SELECT id * 10 + 1, id, CONCAT('product ', id) FROM orders;
    INSERT INTO items SELECT id * 10 + 2, id, 'second' FROM orders WHERE id % 2 = 0`);
}

/** SQL of a row as one JSON array of texts; both servers print it alike. */
export function rowQuery(table: ShopTable, from: string, where = 'TRUE'): string {
  const cells = shopTables[table].map((column) => (column === 'body' ? `HEX(${column})` : `CAST(${column} AS CHAR)`));
  return `SELECT ${cells.map((cell, index) => `${cell} AS c${index}`).join(', ')} FROM ${from} WHERE ${where}`;
}

export function rowKey(table: ShopTable, id: unknown): string {
  return `${table} ${String(id)}`;
}

/** Collects rows that may come more than once. */
export class RowBag {
  readonly rows = new Map<string, string[]>();

  add(table: ShopTable, cells: readonly (string | null)[]): void {
    const key = rowKey(table, cells[0]);
    const lines = this.rows.get(key) ?? [];
    lines.push(JSON.stringify(cells));
    this.rows.set(key, lines);
  }

  addAll(rows: Rows): this {
    for (const [key, lines] of rows) this.rows.set(key, [...(this.rows.get(key) ?? []), ...lines]);
    return this;
  }
}

/** The rows of the primary. */
export async function shopRows(schema: Schema): Promise<Rows> {
  const bag = new RowBag();
  for (const table of tableNames)
    for (const row of await schema.query(rowQuery(table, table))) bag.add(table, Object.values(row));
  return bag.rows;
}
