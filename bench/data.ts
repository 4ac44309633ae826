import { once } from 'node:events';
import { createWriteStream, existsSync } from 'node:fs';
import { mkdir, rename } from 'node:fs/promises';
import { join } from 'node:path';

/** Eight columns, of which two have an index beside the primary key. */
export const tableSql = `CREATE TABLE products (
  id BIGINT NOT NULL PRIMARY KEY,
  sku VARCHAR(32) NOT NULL,
  name VARCHAR(100),
  price DECIMAL(10,2),
  qty INT,
  category VARCHAR(30),
  created_at DATETIME,
  descr VARCHAR(200),
  KEY (category),
  KEY (created_at))`;

export const columnNames = ['id', 'sku', 'name', 'price', 'qty', 'category', 'created_at', 'descr'] as const;

/** Folder of generated sources, built programs and everything else that a run need not make again. */
export const cacheFolder = join(import.meta.dirname, '..', '.cache', 'bench');

/** Bump when the rows change, so that no old file is used. */
const generation = 1;

/**
 * Writes a CSV file of so many rows, always the same ones, unless it is there.
 * @returns its path
 */
export async function makeSource(rows: number, kind: 'first' | 'changed'): Promise<string> {
  await mkdir(cacheFolder, { recursive: true });
  const path = join(cacheFolder, `${kind}-${rows}-${generation}.csv`);
  if (existsSync(path)) return path;
  const draft = `${path}.draft`;
  const file = createWriteStream(draft, { highWaterMark: 4 << 20 });
  let block = `${columnNames.join(',')}\n`;
  for (let id = 1; id <= rows; id++) {
    block += row(id, kind === 'changed' && isChanged(id));
    if (block.length < 1 << 20) continue;
    if (!file.write(block)) await once(file, 'drain');
    block = '';
  }
  file.end(block);
  await once(file, 'close');
  await rename(draft, path);
  return path;
}

/** How many of the first rows differ in the changed source. */
export function changedRows(rows: number): number {
  let changed = 0;
  for (let id = 1; id <= rows; id++) if (isChanged(id)) changed++;
  return changed;
}

/** One row in a hundred, scattered over the whole table. */
function isChanged(id: number): boolean {
  return mixed(id, 99) % 100 === 0;
}

/** A well-mixed 32-bit number of a row and one of its columns (the finaliser of MurmurHash3). */
function mixed(id: number, column: number): number {
  let value = Math.imul(id, 0x9e3779b1) ^ Math.imul(column + 1, 0x85ebca6b);
  value = Math.imul(value ^ (value >>> 16), 0x85ebca6b);
  value = Math.imul(value ^ (value >>> 13), 0xc2b2ae35);
  return (value ^ (value >>> 16)) >>> 0;
}

function row(id: number, changed: boolean): string {
  const cents = (mixed(id, 1) + (changed ? 1 : 0)) % 100_000;
  const price = `${Math.floor(cents / 100)}.${two(cents % 100)}`;
  const time = mixed(id, 4);
  const day = `2024-${two(1 + (time % 12))}-${two(1 + ((time >>> 4) % 28))}`;
  const clock = `${two((time >>> 9) % 24)}:${two((time >>> 14) % 60)}:00`;
  return `${id},SKU-${String(id).padStart(8, '0')},Product name ${mixed(id, 2) % 500_000},${price},${mixed(id, 3) % 1000},cat${mixed(id, 5) % 200},${day} ${clock},some description text number ${mixed(id, 6) % 1_000_000_000} here\n`;
}

function two(number: number): string {
  return number < 10 ? `0${number}` : String(number);
}
