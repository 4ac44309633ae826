import type mysql from 'mysql2/promise';
import { expect, onTestFinished, test } from 'vitest';
import { describeEachServer, type TestServer } from '../../test/servers.ts';
import { ids, restore } from './archive-restore-kit.ts';
import { openShop, rowsOf, type Shop, waitForStatement } from './archive-shop.ts';
import { impatientWay } from './archive-two-server-proxy.ts';
import { type Cut, openCommitCutter } from './commit-cutter.ts';
import { openErrorProxy } from './restore-error-proxy.ts';

const restoreAll = ['--table', 'orders', '--from', '0001-01-01'];
const patiently = ['--on-busy', 'wait', '--lock-wait-seconds', '30'];
const readingItems = /^SELECT .*`order_items`.* FOR UPDATE$/s;

interface ArchivedShop extends Shop {
  readonly before: readonly (readonly string[])[];
  readonly stored: readonly (readonly string[])[];
}

/** Three batches of 20 old orders with an item each, all of them archived. */
async function archivedShop(server: TestServer): Promise<ArchivedShop> {
  const limits = { batchRows: 20, targetBatchSeconds: 60 };
  const shop = await openShop(server, { old: 60, fresh: 2, items: 1, limits });
  const before = [await rowsOf(shop.schema, 'orders'), await rowsOf(shop.schema, 'order_items')];
  await shop.folder.archive();
  return { ...shop, before, stored: [await rowsOf(shop.archive, 'orders'), await rowsOf(shop.archive, 'order_items')] };
}

/** Every restored order has its item and its hold, and nothing else is there. */
async function expectWholeBatches({ schema }: Shop, orders: number): Promise<void> {
  expect(await ids(schema, 'orders', 'id <= 60')).toHaveLength(orders);
  expect(await ids(schema, 'order_items', 'order_id <= 60')).toHaveLength(orders);
  expect(await schema.query('SELECT COUNT(*) AS count FROM tableset_holds')).toEqual([{ count: orders }]);
}

/** The next restore ends as if nothing had been, and the archive is as it was. */
async function expectConverged(shop: ArchivedShop): Promise<void> {
  await restore(shop, '--from', '0001-01-01', ...patiently);
  expect([await rowsOf(shop.schema, 'orders'), await rowsOf(shop.schema, 'order_items')]).toEqual(shop.before);
  expect([await rowsOf(shop.archive, 'orders'), await rowsOf(shop.archive, 'order_items')]).toEqual(shop.stored);
  await expectWholeBatches(shop, 60);
}

/** A session that keeps the program waiting by what it has locked. */
async function blocker({ schema }: Shop, sql: string): Promise<mysql.Connection> {
  const session = await schema.connect();
  onTestFinished(() => session.destroy());
  await session.beginTransaction();
  await session.query(sql);
  return session;
}

describeEachServer('a restore whose transaction is cut', (server) => {
  for (const cut of ['lose-reply', 'lose-commit', 'linger'] as const satisfies readonly Cut[]) {
    test(`fault 6: COMMIT sent and not answered (${cut}): a batch is there or not, and the next restore finds out`, async () => {
      const shop = await archivedShop(server);
      const cutter = await openCommitCutter(server, cut, 1);
      const run = await shop.folder.run('restore', restoreAll, cutter.environment);
      expect(cutter.cut()).toBe(true);
      expect(run).toMatchObject({ exit: 1, summary: { error: { code: 'DATABASE_LOST' } } });
      await expectWholeBatches(shop, cut === 'lose-reply' ? 40 : 20);
      if (cut === 'linger') {
        // Its transaction is open still, and so is its lock: nobody works beside it.
        await shop.folder.refuse(75, 'LOCK_BUSY', 'restore', restoreAll);
        const [row] = await shop.schema.query(
          "SELECT id FROM information_schema.processlist WHERE db = DATABASE() AND user = ? AND command = 'Sleep' ORDER BY id LIMIT 1",
          [shop.schema.user],
        );
        await server.query(`KILL ${Number(row?.['id'])}`);
      }
      await expectConverged(shop);
    });
  }

  for (const how of ['KILL', 'KILL QUERY', 'SIGKILL'] as const) {
    test(`faults 9, 16 and 18: ${how} in the middle of a batch leaves nothing of it`, async () => {
      const shop = await archivedShop(server);
      // It waits for the item of another order, with the orders of the batch already written.
      const other = await blocker(shop, "INSERT INTO order_items (id, order_id, product) VALUES (30, 61, 'x')");
      const { child, ended } = shop.folder.start('restore', restoreAll);
      const session = await waitForStatement(server, shop.schema, readingItems);
      if (how === 'SIGKILL') child.kill('SIGKILL');
      else await server.query(`${how} ${session}`);
      const run = await ended;
      if (how === 'SIGKILL') expect(run.exit).toBeNull();
      else expect(run.exit).toBe(1);
      await other.rollback();
      await other.end();
      await shop.folder.run('verify', patiently);
      await expectWholeBatches(shop, 20);
      await expectConverged(shop);
    });
  }

  test('fault 11: a deadlock that it loses is replayed as a whole', async () => {
    const shop = await archivedShop(server);
    await shop.schema.query('CREATE TABLE weight (id INT AUTO_INCREMENT PRIMARY KEY, name VARCHAR(20))');
    const rows = Array.from({ length: 5000 }, () => "('x')").join();
    const other = await blocker(shop, `INSERT INTO weight (name) VALUES ${rows}`);
    await other.query("INSERT INTO order_items (id, order_id, product) VALUES (30, 61, 'x')");
    const { ended } = shop.folder.start('restore', restoreAll);
    await waitForStatement(server, shop.schema, readingItems);
    // One of the orders that it has written by now.
    await other.query('SELECT * FROM orders WHERE id = 25 FOR UPDATE');
    await other.rollback();
    await other.end();
    const run = await ended;
    expect(run).toMatchObject({ exit: 0, summary: { tables: [{ matched: 60, restored: 60 }, { restored: 60 }] } });
    expect(run.stderr).toContain('"errno":1213');
    await expectConverged(shop);
  });

  test('fault 12: a lock wait is rolled back as a whole and replayed; one that stays ends it with exit 1', async () => {
    const held = async (releaseWhen: 'the first wait is over' | 'it has ended') => {
      const shop = await archivedShop(server);
      const other = await blocker(shop, "INSERT INTO order_items (id, order_id, product) VALUES (30, 61, 'x')");
      const { child, ended } = shop.folder.start('restore', restoreAll, await impatientWay(server));
      const waited = new Promise<void>((resolve) => {
        let told = '';
        child.stderr?.on('data', (text: string) => {
          told += text;
          if (told.includes('"errno":1205')) resolve();
        });
      });
      await Promise.race([ended, releaseWhen === 'it has ended' ? ended : waited]);
      await other.rollback();
      await other.end();
      return { shop, run: await ended };
    };
    const [short, long] = await Promise.all([held('the first wait is over'), held('it has ended')]);
    expect(short.run).toMatchObject({ exit: 0, summary: { tables: [{ restored: 60 }, {}] } });
    expect(short.run.stderr).toContain('"errno":1205');
    await expectConverged(short.shop);
    expect(long.run).toMatchObject({ exit: 1, summary: { error: { code: 'DATABASE_BUSY' } } });
    await expectWholeBatches(long.shop, 20);
    await expectConverged(long.shop);
  }, 120_000);

  test('a row that the app writes meanwhile under a restored key is a conflict, and nothing of the batch is written', async () => {
    const shop = await archivedShop(server);
    const other = await blocker(shop, "INSERT INTO order_items (id, order_id, product) VALUES (30, 61, 'of the app')");
    const { ended } = shop.folder.start('restore', restoreAll);
    await waitForStatement(server, shop.schema, readingItems);
    await other.commit();
    await other.end();
    const run = await ended;
    expect(run).toMatchObject({ exit: 3, summary: { error: { code: 'RESTORE_CONFLICT' } } });
    expect(run.summary.error?.message).toContain('order_items ["30"]');
    await expectWholeBatches(shop, 20);
    expect(await shop.schema.query('SELECT product FROM order_items WHERE id = 30')).toEqual([
      { product: 'of the app' },
    ]);
  });

  for (const errno of [1290, 1836]) {
    test(`fault 13: a primary that has become read-only (${errno}) ends restore and purge with exit 1, and nothing is half done`, async () => {
      const shop = await archivedShop(server);
      const sections = JSON.parse(await shop.folder.read('config.yaml'));
      sections.archive[0].deleteAfterDays = 60;
      shop.folder.configure(sections);
      const writing = await openErrorProxy(server, /INSERT INTO `\w+`\.`order_items`/, errno);
      const restored = await shop.folder.run('restore', restoreAll, writing.environment);
      expect(writing.answered()).toBe(1);
      expect(restored).toMatchObject({ exit: 1, summary: { error: { code: 'DATABASE_READ_ONLY' } } });
      await expectWholeBatches(shop, 0);
      const deleting = await openErrorProxy(server, /DELETE FROM `\w+`\.`orders`/, errno);
      const purged = await shop.folder.run('purge', [], deleting.environment);
      expect(purged).toMatchObject({ exit: 1, summary: { error: { code: 'DATABASE_READ_ONLY' } } });
      expect([await rowsOf(shop.archive, 'orders'), await rowsOf(shop.archive, 'order_items')]).toEqual(shop.stored);
      await expectConverged(shop);
    });
  }

  test('fault 15: a row that fits into a packet only just comes back, one that would not is never archived', async () => {
    const shop = await openShop(server, { old: 2, fresh: 1 });
    const { schema, folder } = shop;
    await schema.query('ALTER TABLE orders MODIFY note LONGTEXT NULL, ADD COLUMN photo LONGBLOB NULL');
    const [{ size } = {}] = await schema.query('SELECT CAST(@@max_allowed_packet * 0.55 AS SIGNED) AS size');
    await schema.query("UPDATE orders SET note = REPEAT('x', ?) WHERE id = 1", [size]);
    const before = await schema.query('SELECT id, SHA2(note, 256) AS note FROM orders WHERE id = 1');
    await folder.archive();
    expect(await restore(shop, '--where', 'id=1')).toMatchObject([{ restored: 1 }]);
    expect(await schema.query('SELECT id, SHA2(note, 256) AS note FROM orders WHERE id = 1')).toEqual(before);
    // Bytes take two each, in a statement and in what is hashed: what could not be proved nor come back is not archived.
    await schema.query('INSERT INTO orders (id, customer, photo, created_at) VALUES (9, ?, REPEAT(?, ?), ?)', [
      'large',
      'x',
      size,
      '2001-01-01',
    ]);
    await folder.refuse(3, 'ARCHIVE_VALUE_REFUSED');
    expect(await ids(schema, 'orders')).toEqual([1, 3, 9]);
  });
});
