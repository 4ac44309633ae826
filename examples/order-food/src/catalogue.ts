import type { Pool, RowDataPacket } from 'mysql2/promise';

export interface Product {
  readonly id: number;
  readonly name: string;
  readonly description: string | null;
  readonly category: string;
  /** Decimal text, exact. */
  readonly price: string;
  readonly currency: string;
  readonly vegetarian: boolean;
  readonly restaurant: string;
  readonly city: string;
}

export interface Freshness {
  readonly table: string;
  /** Seconds since its source was last compared with it. */
  readonly ageSeconds: number;
  readonly rows: number;
}

/** The products that can be ordered, in the order of the page. */
export async function listProducts(pool: Pool): Promise<Product[]> {
  const [rows] = await pool.query<RowDataPacket[]>(
    `SELECT p.id, p.name, p.description, c.name AS category, p.price, p.currency, p.vegetarian, r.name AS restaurant,
       t.local_name AS city
     FROM products p
       JOIN categories c ON c.code = p.category
       JOIN restaurants r ON r.id = p.restaurant_id
       JOIN cities t ON t.id = r.city_id
     WHERE p.available
     ORDER BY t.name, c.position, p.id`,
  );
  return rows.map((row) => ({
    id: Number(row['id']),
    name: String(row['name']),
    description: row['description'] === null ? null : String(row['description']),
    category: String(row['category']),
    price: String(row['price']),
    currency: String(row['currency']),
    vegetarian: row['vegetarian'] === 1,
    restaurant: String(row['restaurant']),
    city: String(row['city']),
  }));
}

/** What MySQL and MariaDB answer when a table or view does not exist. */
const noSuchTable = 1146;

/** How old the loaded tables are: the loader keeps the view for it up to date. Empty before the first load. */
export async function readFreshness(pool: Pool): Promise<Freshness[]> {
  const rows = await pool
    .query<RowDataPacket[]>('SELECT table_name, age_seconds, row_count FROM tableset_freshness ORDER BY table_name')
    .then(([found]) => found)
    .catch((error: unknown) => {
      if (error instanceof Error && 'errno' in error && error.errno === noSuchTable) return [];
      throw error;
    });
  return rows.map((row) => ({
    table: String(row['table_name']),
    ageSeconds: Number(row['age_seconds']),
    rows: Number(row['row_count']),
  }));
}
