import { once } from 'node:events';
import { createWriteStream, existsSync } from 'node:fs';
import { mkdir, rename } from 'node:fs/promises';
import { join } from 'node:path';

/** Eight columns, of which two have an index beside the primary key. */
const columnsSql = `id BIGINT NOT NULL,
  sku VARCHAR(32) NOT NULL,
  name VARCHAR(100),
  price DECIMAL(10,2),
  qty INT,
  category VARCHAR(30),
  created_at DATETIME,
  descr VARCHAR(200)`;

const keysSql = 'PRIMARY KEY (id), KEY (category), KEY (created_at)';

export const tableSql = `CREATE TABLE products (${columnsSql}, ${keysSql})`;

/** The same columns in another table, with the same keys or with others and what they need. */
export function similarTableSql(table: string, keys = keysSql): string {
  return `CREATE TABLE ${table} (${columnsSql}, ${keys})`;
}

export const columnNames = ['id', 'sku', 'name', 'price', 'qty', 'category', 'created_at', 'descr'] as const;

/** Folder of generated sources, built programs and everything else that a run need not make again. */
export const cacheFolder = join(import.meta.dirname, '..', '.cache', 'bench');

/** Bump when the rows change, so that no old file is used. */
const generation = 1;

/**
 * changed: as first, but one row in a hundred has another price. dated: the dates ascend with the key, as in a table that rows
 * are added to; the first half lies before `archiveBefore`, the second after it.
 */
export type SourceKind = 'first' | 'changed' | 'dated';

/** Lies between the halves of a dated source, 60 days and more from both. */
export const archiveBefore = '2025-03-01';

/**
 * Writes a CSV file of so many rows, always the same ones, unless it is there.
 * @returns its path
 */
export async function makeSource(rows: number, kind: SourceKind): Promise<string> {
  await mkdir(cacheFolder, { recursive: true });
  const path = join(cacheFolder, `${kind}-${rows}-${generation}.csv`);
  if (existsSync(path)) return path;
  const draft = `${path}.draft`;
  const file = createWriteStream(draft, { highWaterMark: 4 << 20 });
  let block = `${columnNames.join(',')}\n`;
  for (let id = 1; id <= rows; id++) {
    const time = kind === 'dated' ? ascendingTime(id, rows) : scatteredTime(id);
    block += row(id, kind === 'changed' && isChanged(id), time);
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

function row(id: number, changed: boolean, time: string): string {
  const cents = (mixed(id, 1) + (changed ? 1 : 0)) % 100_000;
  const price = `${Math.floor(cents / 100)}.${two(cents % 100)}`;
  return `${id},SKU-${String(id).padStart(8, '0')},Product name ${mixed(id, 2) % 500_000},${price},${mixed(id, 3) % 1000},cat${mixed(id, 5) % 200},${time},some description text number ${mixed(id, 6) % 1_000_000_000} here\n`;
}

/** Some time of 2024. */
function scatteredTime(id: number): string {
  const time = mixed(id, 4);
  const day = `2024-${two(1 + (time % 12))}-${two(1 + ((time >>> 4) % 28))}`;
  return `${day} ${two((time >>> 9) % 24)}:${two((time >>> 14) % 60)}:00`;
}

/** Out of order by up to a day: rows of 2023 and 2024, then of the second half of 2025. */
function ascendingTime(id: number, rows: number): string {
  const half = Math.floor(rows / 2);
  const isOld = id <= half;
  const [start, days] = isOld ? [Date.UTC(2023, 0, 1), 700] : [Date.UTC(2025, 6, 1), 140];
  const share = isOld ? (id - 1) / half : (id - half - 1) / (rows - half);
  const minute = Math.floor(share * days * 1440) + (mixed(id, 4) % 1440);
  return new Date(start + minute * 60_000).toISOString().slice(0, 19).replace('T', ' ');
}

function two(number: number): string {
  return number < 10 ? `0${number}` : String(number);
}
