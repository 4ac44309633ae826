/**
 * The usual hand-written import, where local files are not allowed: csv-parse, and INSERT … ON DUPLICATE KEY UPDATE of 2,000 rows.
 *   node insert-loop.ts FILE.csv      with DB_HOST and the like in the environment
 */
import { createReadStream } from 'node:fs';
import { parse } from 'csv-parse';
import mysql from 'mysql2/promise';
import { columnNames } from '../data.ts';

const rowsPerStatement = 2000;
const [path = ''] = process.argv.slice(2);
const { env } = process;
const connection = await mysql.createConnection({
  host: env['DB_HOST'] ?? '',
  port: Number(env['DB_PORT']),
  user: env['DB_USER'] ?? '',
  password: env['DB_PASSWORD'] ?? '',
  database: env['DB_NAME'] ?? '',
});
const updates = columnNames.slice(1).map((name) => `${name} = VALUES(${name})`);
const sql = `INSERT INTO products (${columnNames.join(', ')}) VALUES ? ON DUPLICATE KEY UPDATE ${updates.join(', ')}`;
let rows: unknown[] = [];
for await (const row of createReadStream(path).pipe(parse({ from_line: 2 }))) {
  rows.push(row);
  if (rows.length < rowsPerStatement) continue;
  await connection.query(sql, [rows]);
  rows = [];
}
if (rows.length > 0) await connection.query(sql, [rows]);
await connection.end();
