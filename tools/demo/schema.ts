import { randomBytes } from 'node:crypto';
import mysql from 'mysql2/promise';
import type { Database } from '../embedded-database/index.ts';

/** A schema for the demo, which is dropped at its end: that matters on a server that was there before. */
export interface DemoSchema extends AsyncDisposable {
  readonly name: string;
  /** Runs a query in it; every value comes as text. */
  rows(sql: string): Promise<readonly Readonly<Record<string, string | null>>[]>;
  /** Rows of a table; `where` is SQL. */
  count(table: string, where?: string): Promise<number>;
}

export async function createSchema(database: Database): Promise<DemoSchema> {
  const name = `tableset_demo_${randomBytes(4).toString('hex')}`;
  const { host, port, user, password } = database;
  const query = async (sql: string, schema?: string) => {
    const connection = await mysql.createConnection({
      host,
      port,
      user,
      password,
      timezone: 'Z',
      typeCast: (field) => field.string('utf8'),
      ...(schema === undefined ? {} : { database: schema }),
    });
    try {
      const [rows] = await connection.query<mysql.RowDataPacket[]>(sql);
      return rows;
    } finally {
      await connection.end();
    }
  };
  const rows: DemoSchema['rows'] = (sql) => query(sql, name);
  await query(`CREATE DATABASE ${name} CHARACTER SET utf8mb4`);
  return {
    name,
    rows,
    count: async (table, where = 'TRUE') =>
      Number((await rows(`SELECT COUNT(*) AS n FROM ${table} WHERE ${where}`))[0]?.['n']),
    [Symbol.asyncDispose]: async () => void (await query(`DROP DATABASE ${name}`)),
  };
}
