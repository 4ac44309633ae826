import { appendFile, mkdir, readdir, readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { thousands } from '../../common/src/output/table.ts';
import { expectThat, say, show, showTable } from './narration.ts';
import {
  type ArchiveCounts,
  archive,
  load,
  purge,
  restore,
  type StatusSummary,
  type Surroundings,
  status,
  verify,
} from './programs.ts';
import type { DemoSchema } from './schema.ts';

/** What the steps below work on. */
export interface Shop {
  readonly surroundings: Surroundings;
  readonly schema: DemoSchema;
  /** Of the configuration and the stores. */
  readonly folder: string;
}

/**
 * Midnights after which the data has no order for a day: a cut-off is a whole number of days before now, whatever hour that is, and so has
 * the same orders before it at every run.
 */
const retention = '2024-06-22';
const firstCutoff = '2025-01-21';
const secondCutoff = '2025-11-06';

const batchRows = 200;

/** Old orders move to files and to SQLite, are proved, found and brought back; those past their retention are purged. */
export async function archiveOldOrders(shop: Shop): Promise<void> {
  const { folder, schema, surroundings } = shop;
  const config = join(folder, 'config.yaml');
  const [all, items] = [await schema.count('orders'), await schema.count('order_items')];

  say('Old orders are to leave the database. config.yaml gets:');
  await mkdir(join(folder, 'files'));
  await configure(shop);
  const total = await schema.count('orders', before(firstCutoff));
  const plan = await archive(config, surroundings, '--dry-run');
  const [planned] = plan.tables;
  expectThat(planned?.matched === total, `loader archive --dry-run: ${thousands(total)} orders would go`);
  expectThat((await schema.count('orders')) === all, 'and nothing was written');

  say('loader archive: copied to Parquet files, read back and compared by SHA-256, then deleted, with their items');
  showCounts((await archive(config, surroundings)).tables, total);
  expectThat((await schema.count('orders')) === all - total, 'the other orders are still there');
  await showFiles(join(folder, 'files', 'orders'));

  say('From now on they go to SQLite: store: box, and a later date');
  await reconfigure(config, shop);
  const more = await schema.count('orders', before(secondCutoff));
  const [order] = await schema.rows(
    `SELECT orders.id FROM orders JOIN order_items ON order_id = orders.id WHERE ${before(secondCutoff)} GROUP BY orders.id HAVING COUNT(*) > 1 ORDER BY orders.id LIMIT 1`,
  );
  const id = order?.['id'] ?? '';
  const original = await orderWithItems(schema, id);
  showCounts((await archive(config, surroundings)).tables, more);
  expectThat(countInSqlite(join(folder, 'box.sqlite')) === more, 'SQLite reads them as a plain table named orders');

  say('loader load again, whose files still have all the orders');
  const held = (await load(config, surroundings)).tables.find(({ table }) => table === 'orders')?.held;
  expectThat(held === total + more, `${thousands(total + more)} archived orders were not brought back`);

  say('loader verify: every batch is read out of its store and compared with its manifest');
  const [proved] = (await verify(config, surroundings)).tables;
  const archivedRows = total + more + items - (await schema.count('order_items'));
  expectThat(
    proved !== undefined && proved.verified === proved.batches && proved.rows === archivedRows,
    `${proved?.batches} batches with ${thousands(archivedRows)} rows are as they were archived`,
  );

  await bringBack(shop, config, id, original);
  await purgeExpired(shop, config);
}

async function bringBack({ schema, surroundings }: Shop, config: string, id: string, original: string): Promise<void> {
  say(`loader status --key id=${id}: where did this order go?`);
  const found = await status(config, surroundings, '--table', 'orders', '--key', `id=${id}`);
  showBatches(found);
  expectThat(
    found.batches.length === 1 && found.batches[0]?.store === 'box',
    'it is in one batch, which store box has',
  );
  expectThat(found.onPrimary?.[0]?.rows === 0, 'and no longer in the database');

  say(`loader restore --table orders --where id=${id}: back with its items`);
  const restored = await restore(config, surroundings, '--table', 'orders', '--where', `id=${id}`);
  showTable(['table', 'matched', 'restored', 'unchanged', 'conflicts'], restored.tables);
  expectThat((await orderWithItems(schema, id)) === original, 'every value is what it was');
  const [orders] = (await archive(config, surroundings)).tables;
  expectThat(
    orders?.archived === 0 && orders.skipped['held'] === 1 && (await orderWithItems(schema, id)) === original,
    'the next loader archive leaves it there: it is held',
  );
}

async function purgeExpired({ schema, folder, surroundings }: Shop, config: string): Promise<void> {
  say(`loader purge: what is past its retention leaves the archive, by whole batches`);
  const files = join(folder, 'files', 'orders');
  const foldersBefore = (await readdir(files)).length;
  const purged = await purge(config, surroundings);
  showTable(['table', 'matched', 'purged'], purged.tables);
  const orders = purged.tables.find(({ table }) => table === 'orders')?.purged ?? 0;
  const [row] = await schema.rows(
    `SELECT SUM(state = 'purged') AS batches, SUM(IF(state = 'purged', row_count, 0)) AS orders,
       MAX(IF(state = 'purged', newest, NULL)) < '${retention}' AS expired FROM tableset_batches`,
  );
  expectThat(orders > 0 && row?.['expired'] === '1', `${thousands(orders)} orders, all dated before ${retention}`);
  expectThat(Number(row?.['orders']) === orders, `the ledger keeps what they were, of ${row?.['batches']} batches`);
  expectThat((await readdir(files)).length === foldersBefore - Number(row?.['batches']), 'their files are gone');
}

/** SQL for orders dated before that midnight. */
function before(midnight: string): string {
  return `created_at < '${midnight}'`;
}

/** The sections that archiving needs, with ages that make the cut-offs the dates above, whatever day it is. */
async function configure({ folder, schema }: Shop): Promise<void> {
  const [archiveAfter, deleteAfter] = [await daysSince(schema, firstCutoff), await daysSince(schema, retention)];
  const sections = `stores:
  cold: {filesystem: {path: files, format: parquet}}
  box: {sqlite: {path: box.sqlite}}
archive:
  - table: orders
    dateColumn: created_at
    archiveAfterDays: ${archiveAfter}      # before ${firstCutoff}
    deleteAfterDays: ${deleteAfter}       # before ${retention}
    store: cold
    children: [order_items]
limits: {batchRows: ${batchRows}}`;
  show(...sections.split('\n'));
  await appendFile(join(folder, 'config.yaml'), `\n${sections}\n`);
}

async function reconfigure(config: string, { schema }: Shop): Promise<void> {
  const days = await daysSince(schema, secondCutoff);
  const text = await readFile(config, 'utf8');
  const changed = text
    .replace('store: cold', 'store: box')
    .replace(/archiveAfterDays: .*/, `archiveAfterDays: ${days}      # before ${secondCutoff}`);
  await writeFile(config, changed);
}

async function daysSince(schema: DemoSchema, midnight: string): Promise<number> {
  const [row] = await schema.rows(`SELECT TIMESTAMPDIFF(DAY, '${midnight}', UTC_TIMESTAMP()) AS days`);
  return Number(row?.['days']);
}

function showCounts(tables: readonly ArchiveCounts[], orders: number): void {
  showTable(['table', 'matched', 'archived', 'verified', 'deleted'], tables);
  const equal = tables.every((each) => each.matched === each.archived && each.archived === each.deleted);
  expectThat(equal && tables[0]?.archived === orders, `all ${thousands(orders)} orders, and the numbers add up`);
}

async function showFiles(folder: string): Promise<void> {
  const names = (await readdir(folder, { recursive: true })).filter((name) => name.includes('.')).toSorted();
  let bytes = 0;
  for (const name of names) bytes += (await stat(join(folder, name))).size;
  const batches = (await readdir(folder)).length;
  show(
    `files/orders has ${batches} batches in ${thousands(bytes)} bytes, which DuckDB and others read; the first of them:`,
  );
  for (const name of names.slice(0, 3)) show(`  files/orders/${name}`);
  expectThat(names.length === 3 * batches, 'each is a file a table and a manifest');
}

function countInSqlite(path: string): number {
  const database = new DatabaseSync(path, { readOnly: true });
  try {
    return Number(database.prepare('SELECT COUNT(*) AS n FROM orders').get()?.['n']);
  } finally {
    database.close();
  }
}

function showBatches({ batches }: StatusSummary): void {
  showTable(
    ['batch', 'store', 'state', 'oldest', 'newest', 'found'],
    batches.map((each) => ({
      ...each,
      oldest: each.oldest?.slice(0, 10) ?? '',
      newest: each.newest?.slice(0, 10) ?? '',
    })),
  );
}

/** An order and its items as one text, to compare. */
async function orderWithItems(schema: DemoSchema, id: string): Promise<string> {
  return JSON.stringify([
    await schema.rows(`SELECT * FROM orders WHERE id = ${id}`),
    await schema.rows(`SELECT * FROM order_items WHERE order_id = ${id} ORDER BY line`),
  ]);
}
