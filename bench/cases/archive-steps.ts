import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { bytesBelow, linesContent, nothing, parquetContent, tableContent } from '../archive-content.ts';
import {
  type Archiving,
  archiveByLoader,
  archiveSchema,
  type Destination,
  expectArchived,
  expectContent,
  isOld,
  parquetFolder,
  purgeByLoader,
} from '../archiving.ts';
import { columnNames, similarTableSql } from '../data.ts';
import { deleteByClient } from '../peers/client.ts';
import { type PtArchiver, runPtArchiver } from '../peers/pt-archiver.ts';
import { timed } from '../process.ts';
import { type BenchServer, schemaName } from '../servers.ts';

/** Something timed. The table is whole, its archives empty when it begins. */
export interface Step {
  readonly name: string;
  /** The lines of the result that need it, for `--only`. */
  readonly works: readonly Work[];
  /** Does it, checks what came of it, and returns the figures by name; those in seconds have the step's name. */
  run(archiving: Archiving, pt: PtArchiver): Promise<Readonly<Record<string, number>>>;
}

export type Work = 'same server' | 'two servers' | 'row by row' | 'Parquet' | 'purge';

/** Rows of pt-archiver's transactions, as of ours. */
const rowsPerBatch = 2000;
const rowsPerDelete = 1000;

/** The row-by-row mode takes so many rows of the same table only, and its time is multiplied. */
export function rowsRowByRow(rows: number): number {
  return Math.min(20_000, Math.ceil(rows / 10));
}

const bulk = ['--limit', String(rowsPerBatch), '--commit-each', '--bulk-delete'];
const bulkInsert = [...bulk, '--bulk-insert', '--no-check-charset'];
const rowByRow = ['--limit', String(rowsPerBatch), '--txn-size', '1000', '--no-check-charset'];

const archiveTable = `${archiveSchema}.products`;

export const steps: readonly Step[] = [
  ours('same server', ['same server', 'row by row'], 'same server'),
  ours('same server, by date', ['same server'], 'same server', true),
  peer('same server, pt', ['same server'], 'same server', 'like the source', bulkInsert),
  peer('same server, pt, our keys', ['same server'], 'same server', 'like ours', bulkInsert),
  peer('same server, pt row by row', ['row by row'], 'same server', 'like the source', rowByRow, rowsRowByRow),
  ours('two servers', ['two servers', 'row by row'], 'other server'),
  peer('two servers, pt', ['two servers'], 'other server', 'like the source', bulkInsert),
  peer('two servers, pt, our keys', ['two servers'], 'other server', 'like ours', bulkInsert),
  peer('two servers, pt row by row', ['row by row'], 'other server', 'like the source', rowByRow, rowsRowByRow),
  {
    name: 'Parquet',
    works: ['Parquet'],
    run: async (archiving) => {
      const folder = parquetFolder(archiving);
      const { seconds } = await archiveByLoader(archiving, 'files');
      await expectArchived(archiving, await parquetContent(folder));
      return { Parquet: seconds, 'Parquet bytes': await bytesBelow(folder) };
    },
  },
  {
    name: 'file, pt',
    works: ['Parquet'],
    run: async (archiving, pt) => {
      const { server, folder } = archiving;
      const file = join(folder, 'rows.txt');
      const args = [...bulk, '--buffer', '--no-check-charset'];
      const written = await runPtArchiver(pt, {
        from: server,
        table: [schemaName, 'products'],
        to: { file },
        where: isOld,
        args,
      });
      const packed = await timed('gzip', [file]);
      await expectArchived(archiving, await linesContent(`${file}.gz`));
      return { 'file, pt': written + packed.seconds, 'file, pt bytes': (await stat(`${file}.gz`)).size };
    },
  },
  {
    name: 'purge',
    works: ['purge'],
    run: async (archiving) => {
      await archiveByLoader(archiving, 'same server', { retention: true });
      const { seconds } = await purgeByLoader(archiving, 'same server');
      expectContent('the archive', await tableContent(archiving.server, archiveTable), nothing);
      return { purge: seconds };
    },
  },
  {
    name: 'purge, loop',
    works: ['purge'],
    run: async (archiving) => {
      // The very same table as the loader purges.
      await archiveByLoader(archiving, 'same server', { retention: true });
      return { 'purge, loop': await deleteInLoop(archiving) };
    },
  },
  {
    name: 'purge, loop, indexed',
    works: ['purge'],
    run: async (archiving) => {
      const table = await makeArchiveTable(archiving.server, 'like the source');
      await archiving.server.ask(`INSERT INTO ${table} SELECT * FROM products WHERE ${isOld}`);
      return { 'purge, loop, indexed': await deleteInLoop(archiving) };
    },
  },
];

function ours(name: string, works: readonly Work[], to: Exclude<Destination, 'files'>, retention = false): Step {
  return {
    name,
    works,
    run: async (archiving) => {
      const { seconds } = await archiveByLoader(archiving, to, { retention });
      await expectArchived(archiving, await tableContent(serverOf(archiving, to), archiveTable));
      return { [name]: seconds };
    },
  };
}

function peer(
  name: string,
  works: readonly Work[],
  to: Exclude<Destination, 'files'>,
  definition: Definition,
  args: readonly string[],
  /** How many of the old rows it takes; its time is multiplied as if it had taken all. */
  rowsTaken = (rows: number) => rows,
): Step {
  return {
    name,
    works,
    run: async (archiving, pt) => {
      const { server, rows } = archiving;
      const archive = serverOf(archiving, to);
      const table = await makeArchiveTable(archive, definition);
      const taken = rowsTaken(rows);
      // Dates ascend with the key, so these are the oldest, but for a day.
      const where = taken === rows ? isOld : `${isOld} AND id <= ${taken}`;
      const expected = taken === rows ? archiving.old : await tableContent(server, 'products', where);
      const left = taken === rows ? archiving.young : await tableContent(server, 'products', `NOT (${where})`);
      const seconds = await runPtArchiver(pt, {
        from: server,
        table: [schemaName, 'products'],
        to: { server: archive, table: [archiveSchema, 'products'] },
        where,
        // By itself it refuses an archive with one more column.
        args: [...args, '--no-check-columns', '--columns', columnNames.join(',')],
      });
      await expectArchived({ ...archiving, old: expected, young: left }, await tableContent(archive, table));
      return { [name]: seconds * (rows / taken) };
    },
  };
}

function serverOf({ server, archiveServer }: Archiving, to: Exclude<Destination, 'files'>): BenchServer {
  if (to === 'same server') return server;
  if (archiveServer === null) throw new Error('there is no second server');
  return archiveServer;
}

type Definition = 'like the source' | 'like ours';

/** Like ours: with the keys that the loader gives its archive tables, and its column for the batch. */
async function makeArchiveTable(server: BenchServer, definition: Definition): Promise<string> {
  const ownKeys =
    'tableset_batch BIGINT UNSIGNED NOT NULL DEFAULT 0, PRIMARY KEY (id, tableset_batch), KEY (tableset_batch)';
  await server.ask(similarTableSql(archiveTable, definition === 'like ours' ? ownKeys : undefined));
  return archiveTable;
}

async function deleteInLoop(archiving: Archiving): Promise<number> {
  const { server, rows } = archiving;
  const seconds = await deleteByClient(server, archiveTable, isOld, { rows, rowsPerDelete });
  expectContent('the archive', await tableContent(server, archiveTable), nothing);
  return seconds;
}
