import { expect } from 'vitest';
import type { TestServer } from '../../test/servers.ts';
import {
  batches,
  expectConserved,
  insertOrders,
  openShop,
  rowsOf,
  type Shop,
  type ShopOptions,
  visibleRows,
} from './archive-shop.ts';
import type { ArchiveRun, StartedArchive } from './run-archive.ts';

/** The two engines: a delay between copy and delete makes batches go through the one for two servers. */
export const engines = [
  { engine: 'one server', entry: {} },
  { engine: 'two servers', entry: { deleteDelay: '1s' } },
] as const;

/** SQL of a date over the key `i`, an hour apart, long past the age of all of them. */
const older = 'UTC_TIMESTAMP(6) - INTERVAL (90000 - i) HOUR';

/** A shop with as many old orders as it says, an item each, and some fresh ones with the keys from 900,001 on. */
export async function openShardShop(
  server: TestServer,
  options: ShopOptions & { readonly old: number },
): Promise<Shop> {
  const { old, ...more } = options;
  const shop = await openShop(server, { ...more, items: 1, old: 0, fresh: 0 });
  await insertOrders(shop.schema, 900_001, 900_020, 'UTC_TIMESTAMP(6)');
  await addOrders(shop, 1, old);
  await shop.schema.query(
    "INSERT INTO order_items (order_id, product) SELECT id, 'fresh' FROM orders WHERE id > 900000",
  );
  return shop;
}

/** Old orders with an item each. */
export async function addOrders(shop: Shop, from: number, to: number): Promise<void> {
  await insertOrders(shop.schema, from, to, older);
  await shop.schema.query(
    "INSERT INTO order_items (order_id, product) SELECT id, CONCAT('product ', id % 7) FROM orders WHERE id BETWEEN ? AND ?",
    [from, to],
  );
}

export const waiting = ['--on-busy', 'wait', '--lock-wait-seconds', '50'];

export function startWorkers(shop: Shop, count: number, words: readonly string[] = []): readonly StartedArchive[] {
  return Array.from({ length: count }, () =>
    shop.folder.start('archive', ['--shards', String(count), ...waiting, ...words]),
  );
}

export async function runWorkers(shop: Shop, count: number): Promise<readonly ArchiveRun[]> {
  const runs = await Promise.all(startWorkers(shop, count).map(({ ended }) => ended));
  for (const run of runs)
    if (run.exit !== 0)
      throw new Error(`a worker ended with ${run.exit}: ${JSON.stringify(run.summary)}\n${run.stderr}`);
  return runs;
}

/** The rows of both tables. */
export async function rowsOfShop(shop: Shop): Promise<Readonly<Record<string, readonly string[]>>> {
  return { orders: await rowsOf(shop.schema, 'orders'), order_items: await rowsOf(shop.schema, 'order_items') };
}

/** What the runs archived of a table, all of them together. */
export function archivedBy(runs: readonly ArchiveRun[], table = 'orders'): number {
  return runs.reduce((sum, run) => sum + (run.summary.tables?.find((each) => each.table === table)?.archived ?? 0), 0);
}

export async function shardRows(shop: Shop) {
  return await shop.schema.query(
    'SELECT table_name, shard, state, CAST(token AS SIGNED) AS token, CAST(batches AS SIGNED) AS batches, connection_id FROM tableset_shards ORDER BY id',
  );
}

/** Batches that have not come to an end. */
export async function openBatches(shop: Shop) {
  return (await batches(shop.schema)).filter(({ state }) => state !== 'deleted' && state !== 'removed');
}

/** Everything old is in the archive, once, and no batch is left on its way. */
export async function expectDone(shop: Shop, before: Awaited<ReturnType<typeof rowsOfShop>>): Promise<void> {
  await expectConserved(shop, before);
  expect(await rowsOf(shop.schema, 'orders', 'id <= 900000')).toEqual([]);
  expect(await openBatches(shop)).toEqual([]);
  for (const table of ['orders', 'order_items'])
    expect(await rowsOf(shop.archive, table)).toEqual(await visibleRows(shop, table));
}
