import { setTimeout as delay } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { describeEachServer } from '../../test/servers.ts';
import { rounds } from '../../test/thoroughness.ts';
import {
  addOrders,
  engines,
  expectDone,
  openBatches,
  openShardShop,
  rowsOfShop,
  runWorkers,
  shardRows,
  startWorkers,
  waiting,
} from './archive-shards-kit.ts';
import { expectConserved, rowsOf, type Shop, visibleRows } from './archive-shop.ts';

/** Connections of living workers that have claimed a shard and deleted so many batches. */
async function claimers(shop: Shop, least = 0): Promise<readonly string[]> {
  const rows = await shop.schema
    .query(
      "SELECT CAST(connection_id AS CHAR) AS id FROM tableset_shards WHERE state = 'claimed' AND batches >= ? AND connection_id IN (SELECT ID FROM information_schema.PROCESSLIST)",
      [least],
    )
    .catch(() => []);
  return rows.map((row) => String(row['id']));
}

/** Waits until there is one of them. */
async function claimedBy(shop: Shop, least = 1): Promise<string> {
  for (let tries = 0; tries < 800; tries++) {
    const [id] = await claimers(shop, least);
    if (id !== undefined) return id;
    await delay(25);
  }
  throw new Error('no shard was claimed');
}

async function waitForShard(shop: Shop, state: string): Promise<void> {
  for (let tries = 0; tries < 800; tries++) {
    const rows = await shop.schema.query('SELECT 1 FROM tableset_shards WHERE state = ?', [state]);
    if (rows.length > 0) return;
    await delay(25);
  }
  throw new Error(`no shard came to ${state}`);
}

/** What was there at the beginning, wherever it is by now. */
async function everything(shop: Shop): Promise<Readonly<Record<string, readonly string[]>>> {
  const found: Record<string, readonly string[]> = {};
  for (const [table, rows] of Object.entries(await rowsOfShop(shop)))
    found[table] = [...rows, ...(await visibleRows(shop, table))].toSorted();
  return found;
}

describeEachServer('workers on shards that are killed', (server) => {
  test('workers killed at any time, they or their connections, again and again, lose and double nothing, and a last run ends it', async () => {
    const shop = await openShardShop(server, { old: 500, limits: { batchRows: 20 } });
    const sections = JSON.parse(await shop.folder.read('config.yaml'));
    const times = rounds(4, 20);
    let killed = 0;
    let before = await rowsOfShop(shop);
    for (let round = 0; round < times; round++) {
      await addOrders(shop, round * 400 + 1001, round * 400 + 1400);
      before = await everything(shop);
      // What the one engine leaves the other must end.
      const { entry } = engines[round % 2 === 0 ? 0 : 1];
      shop.folder.configure({ ...sections, archive: [{ ...sections.archive[0], ...entry }] });
      const workers = startWorkers(shop, 4);
      await claimedBy(shop, 0);
      await Promise.all(
        workers.map(async ({ child, ended }) => {
          await Promise.race([delay(Math.random() * 1000), ended]);
          const [connection] = Math.random() < 0.3 ? await claimers(shop) : [];
          // It may have ended by itself.
          if (connection !== undefined) await server.query(`KILL ${connection}`).catch(() => undefined);
          if (connection !== undefined) await Promise.race([delay(500), ended]);
          child.kill('SIGKILL');
          const { exit } = await ended;
          if (exit !== 0) killed++;
        }),
      );
      await expectConserved(shop, before);
    }
    expect(killed).toBeGreaterThan(times);
    shop.folder.configure({ ...sections, limits: { batchRows: 500 } });
    await runWorkers(shop, 3);
    await expectDone(shop, before);
  }, 300_000);

  test('others take over from a worker that was killed, and end what it began', async () => {
    const shop = await openShardShop(server, { old: 2000, limits: { batchRows: 40 } });
    const before = await rowsOfShop(shop);
    const workers = startWorkers(shop, 3);
    const [first] = workers;
    await claimedBy(shop);
    first?.child.kill('SIGKILL');
    const runs = await Promise.all(workers.map(({ ended }) => ended));
    expect(runs.map(({ exit }) => exit)).toEqual([null, 0, 0]);
    await expectDone(shop, before);
    expect((await shardRows(shop)).every(({ state }) => state === 'done')).toBe(true);
  }, 120_000);

  test('a worker that stands still and whose session the server has ended changes nothing when it goes on', async () => {
    const shop = await openShardShop(server, { old: 2000, limits: { batchRows: 40 } });
    const before = await rowsOfShop(shop);
    const zombie = shop.folder.start('archive', ['--shards', '2', ...waiting]);
    const session = await claimedBy(shop);
    zombie.child.kill('SIGSTOP');
    const other = shop.folder.start('archive', ['--shards', '2', ...waiting]);
    await waitForShard(shop, 'done');
    // It has nothing to do, and may have to take over.
    expect(await Promise.race([other.ended, delay(1500, 'waits')])).toBe('waits');
    // What wait_timeout does to a node that is gone.
    await server.query(`KILL ${session}`);
    expect((await other.ended).exit).toBe(0);
    await expectDone(shop, before);
    zombie.child.kill('SIGCONT');
    expect(await zombie.ended).toMatchObject({ exit: 1, summary: { error: { code: 'DATABASE_LOST' } } });
    await expectDone(shop, before);
  }, 120_000);

  test('a worker whose token is stale changes nothing', async () => {
    const shop = await openShardShop(server, { old: 3000, limits: { batchRows: 20 } });
    const before = await rowsOfShop(shop);
    const worker = shop.folder.start('archive', ['--shards', '1', ...waiting]);
    await claimedBy(shop);
    await shop.schema.query('UPDATE tableset_shards SET token = token + 1');
    const left = await rowsOf(shop.schema, 'orders');
    expect(await worker.ended).toMatchObject({ exit: 1, summary: { error: { code: 'ARCHIVE_BATCH_FENCED' } } });
    expect(await rowsOf(shop.schema, 'orders')).toEqual(left);
    expect(left.length).toBeGreaterThan(100);
    await expectConserved(shop, before);
    await runWorkers(shop, 2);
    await expectDone(shop, before);
  }, 120_000);

  test('a run without shards, and one with fewer, end what killed workers left', async () => {
    for (const again of [[], ['--shards', '1']]) {
      const shop = await openShardShop(server, { old: 900, entry: { deleteDelay: '2s' }, limits: { batchRows: 50 } });
      const before = await rowsOfShop(shop);
      const workers = startWorkers(shop, 3);
      // Verified and waiting to be deleted, in more than one shard.
      for (let tries = 0; tries < 400; tries++) {
        const rows = await shop.schema
          .query("SELECT DISTINCT shard FROM tableset_batches WHERE state = 'verified' AND shard > 0")
          .catch(() => []);
        if (rows.length > 0) break;
        await delay(25);
      }
      for (const { child } of workers) child.kill('SIGKILL');
      await Promise.all(workers.map(({ ended }) => ended));
      expect((await openBatches(shop)).length).toBeGreaterThan(0);
      expect(await shop.folder.run('archive', [...again, ...waiting])).toMatchObject({ exit: 0 });
      await expectDone(shop, before);
    }
  }, 120_000);
});
