import { existsSync, mkdirSync, readdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import type mysql from 'mysql2/promise';
import { expect, onTestFinished, test } from 'vitest';
import { describeEachServer, type TestServer } from '../../test/servers.ts';
import { ids, purge, restore } from './archive-restore-kit.ts';
import { batches, insertOrders, openShop, rowsOf, type Shop, waitForStatement } from './archive-shop.ts';
import { impatientWay } from './archive-two-server-proxy.ts';
import { type Cut, openCommitCutter } from './commit-cutter.ts';

const patiently = ['--on-busy', 'wait', '--lock-wait-seconds', '30'];
const limits = { batchRows: 20, targetBatchSeconds: 60 };
const entry = { table: 'orders', dateColumn: 'created_at', archiveAfterDays: 30, deleteAfterDays: 365, store: 'cold' };

type Store = 'server' | 'jsonl' | 'parquet' | 'sqlite';

/** Sixty archived orders in three batches, all of them past their retention; two that stay. */
async function oldShop(server: TestServer, store: Store = 'server'): Promise<Shop> {
  const shop = await openShop(server, { old: 0, fresh: 0, items: 1, limits });
  const { schema, archive, folder } = shop;
  mkdirSync(join(folder.path, 'cold'));
  const stores = {
    server: { mysql: { name: archive.name } },
    jsonl: { filesystem: { path: 'cold', format: 'jsonl', compression: 'gzip' } },
    parquet: { filesystem: { path: 'cold' } },
    sqlite: { sqlite: { path: join('cold', 'archive.sqlite') } },
  };
  folder.configure({ stores: { cold: stores[store] }, archive: [{ ...entry, children: ['order_items'] }], limits });
  await insertOrders(schema, 1, 60, 'UTC_TIMESTAMP(6) - INTERVAL 400 DAY + INTERVAL i MINUTE');
  await insertOrders(schema, 61, 62, 'UTC_TIMESTAMP(6)');
  await schema.query("INSERT INTO order_items (order_id, product) SELECT id, 'thing' FROM orders");
  await folder.archive();
  return shop;
}

/** A session that keeps one archived row locked. */
async function lockRow(server: TestServer, { archive }: Shop, id: number): Promise<mysql.Connection> {
  const session = await server.connect({ database: archive.name });
  onTestFinished(() => session.destroy());
  await session.query('SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED');
  await session.beginTransaction();
  await session.query(`SELECT * FROM orders FORCE INDEX (PRIMARY) WHERE id = ${id} FOR UPDATE`);
  return session;
}

/** Rows of the whole batches that were purged before a locked one was met: in a table so small MariaDB meets it at once. */
async function goneBefore(shop: Shop): Promise<number> {
  const gone = 20 * (await states(shop)).filter((state) => state === 'purged').length;
  expect(gone).toBeLessThanOrEqual(20);
  expect(await ids(shop.archive, 'orders')).toHaveLength(60 - gone);
  expect(await ids(shop.archive, 'order_items')).toHaveLength(60 - gone);
  return gone;
}

const states = async ({ schema }: Shop) => (await batches(schema)).map(({ state }) => state);
const batchIds = async ({ schema }: Shop) => (await batches(schema)).map(({ id }) => String(id));
const all = ['purged', 'purged', 'purged'];

describeEachServer('a purge', (server) => {
  for (const cut of ['lose-reply', 'lose-commit', 'linger'] as const satisfies readonly Cut[]) {
    test(`fault 6: COMMIT sent and not answered (${cut}): the ledger's row tells, and the next run finishes`, async () => {
      const shop = await oldShop(server);
      const cutter = await openCommitCutter(server, cut, 1);
      const run = await shop.folder.run('purge', [], cutter.environment);
      expect(cutter.cut()).toBe(true);
      expect(run).toMatchObject({ exit: 1, summary: { error: { code: 'DATABASE_LOST' } } });
      const gone = cut === 'lose-reply' ? 40 : 20;
      expect(await ids(shop.archive, 'orders')).toHaveLength(60 - gone);
      expect(await ids(shop.archive, 'order_items')).toHaveLength(60 - gone);
      expect((await states(shop)).filter((state) => state === 'purged')).toHaveLength(gone / 20);
      expect(await purge(shop, ...patiently)).toMatchObject([{ purged: 60 - gone }, { purged: 60 - gone }]);
      expect(await states(shop)).toEqual(all);
      expect(await shop.archive.query('SELECT * FROM tableset_manifests')).toEqual([]);
    });
  }

  test('fault 12: a batch that somebody reads under a lock is waited for, and after that left whole', async () => {
    const shop = await oldShop(server);
    const reader = await lockRow(server, shop, 25);
    const run = await shop.folder.run('purge', [], await impatientWay(server));
    expect(run).toMatchObject({ exit: 1, summary: { error: { code: 'DATABASE_BUSY' } } });
    expect(run.stderr).toContain('"errno":1205');
    const gone = await goneBefore(shop);
    await reader.rollback();
    await reader.end();
    expect(await purge(shop)).toMatchObject([{ purged: 60 - gone }, { purged: 60 - gone }]);
  }, 90_000);

  test('fault 8: told to stop, it ends with 143 between two batches or rolls one back', async () => {
    const shop = await oldShop(server);
    const reader = await lockRow(server, shop, 25);
    const { child, ended } = shop.folder.start('purge');
    await waitForStatement(server, shop.schema, /^DELETE FROM .*orders/);
    await delay(300);
    child.kill('SIGTERM');
    expect(await ended).toMatchObject({ exit: 143, summary: { error: { code: 'STOPPED' } } });
    const gone = await goneBefore(shop);
    await reader.rollback();
    await reader.end();
    expect(await purge(shop, ...patiently)).toMatchObject([{ purged: 60 - gone }, { purged: 60 - gone }]);
  });

  test('takes nothing away that the ledger does not account for, and goes on with the other batches', async () => {
    const shop = await oldShop(server);
    const { schema, archive, folder } = shop;
    const [first, second, third] = await batchIds(shop);
    const dates = await schema.query('SELECT newest FROM tableset_batches WHERE id = ?', [third]);
    // A row too many, a manifest that is another, a date that somebody has moved into the past.
    await archive.script(`CREATE TABLE copy AS SELECT * FROM orders WHERE tableset_batch = ${first} LIMIT 1;
      UPDATE copy SET id = 999; INSERT INTO orders SELECT * FROM copy; DROP TABLE copy;
      UPDATE tableset_manifests SET manifest = REPLACE(manifest, '"rows":20', '"rows":21') WHERE batch = ${second}`);
    await schema.query('UPDATE tableset_batches SET newest = newest - INTERVAL 1 DAY WHERE id = ?', [third]);
    const kept = [await rowsOf(archive, 'orders'), await rowsOf(archive, 'order_items')];
    const { summary } = await folder.refuse(3, 'ARCHIVE_VERIFY_FAILED', 'purge');
    expect(summary.error?.message).toContain(`batch ${first} in cold, orders: has 21 rows; the manifest says 20`);
    expect([await rowsOf(archive, 'orders'), await rowsOf(archive, 'order_items')]).toEqual(kept);
    await archive.query('DELETE FROM orders WHERE id = 999');
    const others = await folder.refuse(3, 'ARCHIVE_VERIFY_FAILED', 'purge', []);
    expect(others.summary.error?.message).toContain(
      `batch ${second} in cold: the store's manifest is not the ledger's`,
    );
    expect(others.summary.error?.message).toContain(`batch ${third} in cold: the ledger dates its newest row`);
    expect(others.summary.tables).toMatchObject([
      { matched: 60, purged: 20, skipped: { unproved: 40 } },
      { purged: 20 },
    ]);
    await folder.refuse(3, 'ARCHIVE_VERIFY_FAILED', 'purge', ['--dry-run']);
    expect(await states(shop)).toEqual(['purged', 'deleted', 'deleted']);
    await schema.query('UPDATE tableset_batches SET newest = ? WHERE id = ?', [dates[0]?.['newest'], third]);
    await archive.query(`UPDATE tableset_manifests SET manifest = REPLACE(manifest, '"rows":21', '"rows":20')`);
    expect(await purge(shop)).toMatchObject([{ purged: 40 }, { purged: 40 }]);
  });

  test('proves a batch that nobody has proved before it takes it away', async () => {
    const shop = await oldShop(server);
    const { schema, archive, folder } = shop;
    const [, second] = await batchIds(shop);
    await archive.query('UPDATE orders SET customer = UPPER(customer) WHERE tableset_batch = ? LIMIT 1', [second]);
    await schema.query('UPDATE tableset_batches SET verified_at = NULL WHERE id = ?', [second]);
    const { summary } = await folder.refuse(3, 'ARCHIVE_VERIFY_FAILED', 'purge');
    expect(summary.error?.message).toContain(`batch ${second} in cold, orders: its rows have the digest`);
    expect(await states(shop)).toEqual(['purged', 'deleted', 'purged']);
    expect(await ids(archive, 'orders')).toHaveLength(20);
  });

  test('fault 53: a newer format of the ledger or of a manifest is left alone by every verb', async () => {
    const shop = await oldShop(server);
    const { schema, archive, folder } = shop;
    await schema.query("UPDATE tableset_batches SET manifest = JSON_REPLACE(manifest, '$.format', 99)");
    const restoring = ['--table', 'orders', '--from', '0001-01-01'];
    for (const [verb, words] of [
      ['purge', []],
      ['purge', ['--dry-run']],
      ['restore', restoring],
      ['restore', [...restoring, '--dry-run']],
      ['verify', []],
    ] as const) {
      const { summary } = await folder.refuse(3, 'ARCHIVE_VERIFY_FAILED', verb, words);
      expect(summary.error?.message).toContain('format 99');
    }
    const [row] = await schema.query(
      "SELECT table_comment AS comment FROM information_schema.tables WHERE table_schema = DATABASE() AND table_name = 'tableset_runs'",
    );
    const comment = String(row?.['comment']).replace(/format [\d.]+/, 'format 99.1');
    await schema.query(`ALTER TABLE tableset_runs COMMENT = '${comment}'`);
    for (const [verb, words] of [
      ['purge', []],
      ['purge', ['--dry-run']],
      ['restore', restoring],
      ['restore', [...restoring, '--dry-run']],
      ['verify', []],
      ['status', []],
    ] as const) {
      const run = await folder.run(verb, words);
      expect([verb, run.summary.error?.code]).toEqual([verb, 'LEDGER_FORMAT']);
    }
    expect(await ids(archive, 'orders')).toHaveLength(60);
    expect(await ids(schema, 'orders')).toEqual([61, 62]);
  });
});

describeEachServer('a purge that was killed between its two steps', (server) => {
  for (const store of ['jsonl', 'sqlite'] as const) {
    test(`fault 10: begins again where ${store} still has all of the batch, with holds and retention looked at anew`, async () => {
      const shop = await oldShop(server, store);
      const { schema } = shop;
      const [first, second] = await batchIds(shop);
      await schema.query("UPDATE tableset_batches SET state = 'purging' WHERE id IN (?, ?)", [first, second]);
      await schema.query(
        "INSERT INTO tableset_holds (table_name, key_hash, key_text, reason, created_at) VALUES ('orders', UNHEX(SHA2('[\"5\"]', 256)), '[\"5\"]', 'lawsuit', UTC_TIMESTAMP(6))",
      );
      expect(await purge(shop)).toMatchObject([
        { matched: 60, purged: 40, skipped: { held: 20 } },
        { matched: 60, purged: 40 },
      ]);
      expect(await states(shop)).toEqual(['deleted', 'purged', 'purged']);
      expect(await restore(shop, '--where', 'id=5')).toMatchObject([{ restored: 1 }, { restored: 1 }]);
    });
  }

  test('fault 20: a volume that is not mounted is not taken for an empty one', async () => {
    const shop = await oldShop(server, 'parquet');
    const { schema, folder } = shop;
    const [first] = await batchIds(shop);
    const cold = join(folder.path, 'cold');
    await schema.query("UPDATE tableset_batches SET state = 'purging' WHERE id = ?", [first]);
    renameSync(cold, `${cold}-away`);
    mkdirSync(cold);
    const { summary } = await folder.refuse(1, 'STORE_UNAVAILABLE', 'purge');
    expect(summary.error?.message).toContain('has none of the batches that the ledger says are in it');
    await schema.query("UPDATE tableset_batches SET state = 'deleted'");
    await folder.refuse(3, 'ARCHIVE_VERIFY_FAILED', 'purge');
    expect(await states(shop)).toEqual(['deleted', 'deleted', 'deleted']);
    rmSync(cold, { recursive: true });
    renameSync(`${cold}-away`, cold);
    expect(await purge(shop)).toMatchObject([{ purged: 60 }, { purged: 60 }]);
    expect(readdirSync(join(cold, 'orders'))).toEqual([]);
  });

  test('fault 20: a store that goes away in the middle ends it with exit 1, and the next run finishes', async () => {
    const shop = await oldShop(server, 'jsonl');
    const { folder } = shop;
    const [, second] = await batchIds(shop);
    const place = join(folder.path, 'cold', 'orders', String(second));
    // Something stands where the batch's folder was.
    renameSync(place, `${place}-away`);
    writeFileSync(place, '');
    const { summary } = await folder.refuse(1, 'STORE_UNAVAILABLE', 'purge');
    expect(summary.tables).toMatchObject([{ purged: 20 }, { purged: 20 }]);
    expect(await states(shop)).toEqual(['purged', 'deleted', 'deleted']);
    rmSync(place);
    renameSync(`${place}-away`, place);
    expect(await purge(shop)).toMatchObject([{ purged: 40 }, { purged: 40 }]);
    expect(existsSync(place)).toBe(false);
  });
});
