/**
 * An application beside the archiving: one connection that reads a row by its key, then updates one, and goes on when both are answered, with a
 * short pause; until SIGTERM, then it prints its times.
 *   node foreground.ts FIRST-KEY LAST-KEY      with DB_HOST and the like in the environment
 */
import { setTimeout as delay } from 'node:timers/promises';
import mysql from 'mysql2/promise';
import type { ForegroundTimes } from './foreground-client.ts';

const pauseMs = 2;
const [first = 0, last = 0] = process.argv.slice(2).map(Number);
const { env } = process;
const connection = await mysql.createConnection({
  host: env['DB_HOST'] ?? '',
  port: Number(env['DB_PORT']),
  user: env['DB_USER'] ?? '',
  password: env['DB_PASSWORD'] ?? '',
  database: env['DB_NAME'] ?? '',
});
const times = { read: [] as number[], write: [] as number[] };
let stopped = false;
process.once('SIGTERM', () => {
  stopped = true;
});
const anyKey = () => first + Math.floor(Math.random() * (last - first + 1));
const measured = async (kind: keyof typeof times, sql: string, values: readonly number[]) => {
  const started = performance.now();
  await connection.query(sql, [...values]);
  times[kind].push(performance.now() - started);
};
console.log('ready');
while (!stopped) {
  await measured('read', 'SELECT * FROM products WHERE id = ?', [anyKey()]);
  await measured('write', 'UPDATE products SET qty = qty + 1 WHERE id = ?', [anyKey()]);
  await delay(pauseMs);
}
await connection.end();
const p99 = (values: readonly number[]) =>
  values.toSorted((a, b) => a - b)[Math.floor(values.length * 0.99)] ?? Number.NaN;
const result: ForegroundTimes = { count: times.read.length, readMs: p99(times.read), writeMs: p99(times.write) };
console.log(JSON.stringify(result));
