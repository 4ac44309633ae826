import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { createGunzip } from 'node:zlib';
import { asyncBufferFromFile, parquetReadObjects } from 'hyparquet';
import { compressors } from 'hyparquet-compressors';
import { columnNames } from './data.ts';
import type { BenchServer } from './servers.ts';

/** Rows of the table, in any order: how many, and a digest that changes with any value of any row. */
export interface Content {
  readonly rows: number;
  readonly digest: string;
}

export const nothing: Content = { rows: 0, digest: '0' };

/** Of a table with the columns of `products`, whatever others it has. */
export async function tableContent(server: BenchServer, table: string, where = 'TRUE'): Promise<Content> {
  const hash = `CAST(CONV(LEFT(SHA2(CONCAT_WS('\\t', ${columnNames.join(', ')}), 256), 16), 16, 10) AS UNSIGNED)`;
  const row = await server.ask(
    `SELECT COUNT(*) AS number, CAST(BIT_XOR(${hash}) AS CHAR) AS digest FROM ${table} WHERE ${where}`,
  );
  return { rows: Number(row?.['number']), digest: String(row?.['digest']) };
}

/** Of every Parquet file below a folder. */
export async function parquetContent(folder: string): Promise<Content> {
  const total = new Total();
  for (const path of await filesBelow(folder)) {
    if (!path.endsWith('.parquet')) continue;
    const file = await asyncBufferFromFile(path);
    const rows = await parquetReadObjects({ file, compressors, columns: [...columnNames] });
    for (const row of rows) total.add(columnNames.map((name) => cell(name, row[name])).join('\t'));
  }
  return total.content;
}

/** Of a gzipped file of lines as pt-archiver writes them. */
export async function linesContent(path: string): Promise<Content> {
  const total = new Total();
  const lines = createInterface({
    input: createReadStream(path).pipe(createGunzip()),
    crlfDelay: Number.POSITIVE_INFINITY,
  });
  for await (const line of lines) total.add(line);
  return total.content;
}

/** Bytes of all files below a folder. */
export async function bytesBelow(folder: string): Promise<number> {
  let bytes = 0;
  for (const path of await filesBelow(folder)) bytes += (await stat(path)).size;
  return bytes;
}

async function filesBelow(folder: string): Promise<readonly string[]> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  return entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name));
}

class Total {
  #rows = 0;
  #digest = 0n;

  /** @param row its values as the server shows them, with tabs between */
  add(row: string): void {
    this.#rows++;
    this.#digest ^= createHash('sha256').update(row).digest().readBigUInt64BE();
  }

  get content(): Content {
    return { rows: this.#rows, digest: String(this.#digest) };
  }
}

/** As the server shows it: a reader of Parquet gives numbers and dates. */
function cell(name: string, value: unknown): string {
  if (value instanceof Date) return value.toISOString().slice(0, 19).replace('T', ' ');
  return name === 'price' ? Number(value).toFixed(2) : String(value);
}
