import type { ChildProcess } from 'node:child_process';
import { setTimeout as delay } from 'node:timers/promises';
import type mysql from 'mysql2/promise';
import { expect, onTestFinished, test } from 'vitest';
import { describeEachServer } from '../../test/servers.ts';
import { rounds } from '../../test/thoroughness.ts';
import {
  batches,
  expectConserved,
  insertOrders,
  longAgo,
  openShop,
  rowsOf,
  type Shop,
  visibleRows,
  waitForStatement,
} from './archive-shop.ts';
import { openFaultProxy } from './archive-two-server-proxy.ts';
import { type Cut, openCommitCutter } from './commit-cutter.ts';

const copying = /^INSERT INTO .*`orders`.* FOR UPDATE$/s;
const watermark = /^INSERT INTO tableset_tables/;

/** Resolves when the program has said this. */
function said(child: ChildProcess, words: string): Promise<void> {
  let told = '';
  return new Promise((resolve) =>
    child.stderr?.on('data', (text: string) => {
      told += text;
      if (told.includes(words)) resolve();
    }),
  );
}

/** A session that keeps the program waiting by what it has locked. */
async function blocker(shop: Shop, sql: string): Promise<mysql.Connection> {
  const session = await shop.schema.connect();
  // What it has locked must not stay locked when a test fails.
  onTestFinished(() => session.destroy());
  await session.beginTransaction();
  await session.query(sql);
  return session;
}

describeEachServer('archiving to the same server, killed', (server) => {
  const points = [
    {
      fault: 'fault 1: before the copy',
      block: 'SELECT * FROM tableset_batches FOR UPDATE',
      statement: /^INSERT INTO tableset_batches/,
    },
    {
      fault: 'fault 2: in the middle of the copy',
      block: 'SELECT * FROM orders WHERE id = 35 FOR UPDATE',
      statement: copying,
    },
    {
      fault: 'fault 5: after the DELETE and before the COMMIT',
      block: "SELECT * FROM tableset_tables WHERE table_name = 'orders' FOR UPDATE",
      statement: watermark,
    },
  ];
  for (const { fault, block, statement } of points) {
    for (const how of ['SIGKILL', 'KILL'] as const) {
      test(`${fault}, by ${how}: nothing is lost or doubled, and the next run ends as if nothing had been`, async () => {
        const shop = await openShop(server, { old: 0, fresh: 10, items: 1, limits: { batchRows: 30 } });
        // Makes the ledger, which the next run is stopped in.
        await shop.folder.archive();
        await shop.schema.query(
          "INSERT INTO tableset_tables (table_name) VALUES ('orders') ON DUPLICATE KEY UPDATE row_count = 1",
        );
        await insertOrders(shop.schema, 1001, 1100, longAgo);
        await insertOrders(shop.schema, 35, 35, longAgo);
        const before = {
          orders: await rowsOf(shop.schema, 'orders'),
          order_items: await rowsOf(shop.schema, 'order_items'),
        };
        const holder = await blocker(shop, block);
        const { child, ended } = shop.folder.start();
        const session = await waitForStatement(server, shop.schema, statement);
        if (how === 'SIGKILL') child.kill('SIGKILL');
        else await server.query(`KILL ${session}`);
        const run = await ended;
        if (how === 'KILL') expect(run).toMatchObject({ exit: 1, summary: { error: { code: 'DATABASE_LOST' } } });
        else expect(run.exit).toBeNull();
        expect(await rowsOf(shop.schema, 'orders')).toEqual(before.orders);
        expect(await visibleRows(shop, 'orders')).toEqual([]);
        await holder.rollback();
        await holder.end();
        // The server may need a moment to notice that the client of its session is gone.
        const again = await shop.folder.run('archive', ['--on-busy', 'wait', '--lock-wait-seconds', '30']);
        expect(again).toMatchObject({
          exit: 0,
          summary: { tables: [{ table: 'orders', archived: 101, deleted: 101 }, {}] },
        });
        await expectConserved(shop, before);
        expect(
          (await batches(shop.schema)).filter(({ state }) => !['deleted', 'removed'].includes(String(state))),
        ).toEqual([]);
      });
    }
  }

  test('fault 9: SIGKILL at any time, again and again, converges to what one clean run gives', async () => {
    const shop = await openShop(server, { old: 3000, fresh: 50, items: 1, limits: { batchRows: rounds(100, 50) } });
    const before = {
      orders: await rowsOf(shop.schema, 'orders'),
      order_items: await rowsOf(shop.schema, 'order_items'),
    };
    const words = ['--on-busy', 'wait', '--lock-wait-seconds', '30'];
    let killed = 0;
    for (let round = 0; round < rounds(3, 6); round++) {
      const { child, ended } = shop.folder.start('archive', words);
      await waitForStatement(server, shop.schema, /orders/).catch(() => undefined);
      await delay(Math.random() * 120);
      child.kill('SIGKILL');
      if ((await ended).exit === null) killed++;
      await expectConserved(shop, before);
    }
    expect(killed).toBeGreaterThan(0);
    expect(await shop.folder.run('archive', words)).toMatchObject({ exit: 0 });
    await expectConserved(shop, before);
    expect(await rowsOf(shop.schema, 'orders', 'id <= 3000')).toEqual([]);
    expect(await visibleRows(shop, 'orders')).toHaveLength(3000);
    expect(await rowsOf(shop.archive, 'orders')).toHaveLength(3000);
  });

  for (const cut of ['lose-reply', 'lose-commit', 'linger'] as const satisfies readonly Cut[]) {
    test(`fault 6: COMMIT sent and not answered (${cut}): the ledger's row tells, and the token is raised`, async () => {
      const shop = await openShop(server, { old: 90, limits: { batchRows: 30, parallelBatches: 1 } });
      const before = { orders: await rowsOf(shop.schema, 'orders') };
      const cutter = await openCommitCutter(server, cut, 1);
      const run = await shop.folder.run('archive', [], cutter.environment);
      expect(cutter.cut()).toBe(true);
      const archived = cut === 'lose-reply' ? 60 : 30;
      expect(run).toMatchObject({
        exit: 1,
        summary: { error: { code: 'DATABASE_LOST' }, tables: [{ table: 'orders', archived, deleted: archived }] },
      });
      await expectConserved(shop, before);
      expect(await visibleRows(shop, 'orders')).toHaveLength(archived);
      const [, second] = await batches(shop.schema);
      expect(second).toMatchObject({ state: cut === 'lose-reply' ? 'deleted' : 'copying', token: '2' });
      expect(await shop.folder.archive()).toMatchObject([{ archived: 90 - archived }]);
      await expectConserved(shop, before);
    });
  }

  for (const cut of ['lose-reply', 'lose-commit', 'linger'] as const satisfies readonly Cut[]) {
    test(`fault 6: COMMIT of one of two lanes sent and not answered (${cut}): no row is lost or doubled`, async () => {
      const shop = await openShop(server, { old: 150, limits: { batchRows: 30, parallelBatches: 2 } });
      const before = { orders: await rowsOf(shop.schema, 'orders') };
      const cutter = await openCommitCutter(server, cut, 2);
      const run = await shop.folder.run('archive', [], cutter.environment);
      expect(cutter.cut()).toBe(true);
      await expectConserved(shop, before);
      if (run.exit !== 0) expect(run).toMatchObject({ exit: 1, summary: { error: { code: 'DATABASE_LOST' } } });
      const struck = (await batches(shop.schema)).filter(({ token }) => token === '2');
      expect(struck).toMatchObject([{ state: cut === 'lose-reply' ? 'deleted' : 'copying' }]);
      await shop.folder.archive();
      await expectConserved(shop, before);
      expect(await rowsOf(shop.schema, 'orders', 'id <= 150')).toEqual([]);
    });
  }

  test('fault 8: SIGTERM in the middle of a batch rolls it back within 10 s and ends with 143', async () => {
    const shop = await openShop(server, { old: 60, limits: { batchRows: 20, parallelBatches: 1 } });
    const before = { orders: await rowsOf(shop.schema, 'orders') };
    const holder = await blocker(shop, 'SELECT * FROM orders WHERE id = 45 FOR UPDATE');
    const { child, ended } = shop.folder.start();
    await waitForStatement(server, shop.schema, copying);
    await delay(500);
    const stopped = performance.now();
    child.kill('SIGTERM');
    const run = await ended;
    expect(performance.now() - stopped).toBeLessThan(10_000);
    expect(run).toMatchObject({
      exit: 143,
      summary: { outcome: 'stopped', error: { code: 'STOPPED' }, tables: [{ archived: 40, deleted: 40 }] },
    });
    await holder.rollback();
    await holder.end();
    await expectConserved(shop, before);
    expect((await batches(shop.schema)).map(({ state }) => state)).toEqual(['deleted', 'deleted']);
    expect(await shop.schema.query('SELECT outcome, error_code FROM tableset_runs')).toEqual([
      { outcome: 'stopped', error_code: 'STOPPED' },
    ]);
    expect(await shop.folder.archive()).toMatchObject([{ archived: 20 }]);
  });
});

describeEachServer('archiving to the same server beside others', (server) => {
  test('fault 11: a deadlock that the run loses is replayed as a whole', async () => {
    const shop = await openShop(server, { old: 30 });
    const before = { orders: await rowsOf(shop.schema, 'orders') };
    await shop.schema.query('CREATE TABLE weight (id INT AUTO_INCREMENT PRIMARY KEY, name VARCHAR(20))');
    const other = await blocker(
      shop,
      `INSERT INTO weight (name) VALUES ${Array.from({ length: 2000 }, () => "('x')").join()}`,
    );
    await other.query('SELECT * FROM orders WHERE id = 20 FOR UPDATE');
    const { ended } = shop.folder.start();
    await waitForStatement(server, shop.schema, copying);
    // By now it has locked the rows before the one that it waits for.
    await delay(500);
    await other.query('SELECT * FROM orders WHERE id = 5 FOR UPDATE');
    await other.rollback();
    await other.end();
    const run = await ended;
    expect(run).toMatchObject({ exit: 0, summary: { tables: [{ matched: 30, archived: 30, deleted: 30 }] } });
    expect(run.stderr).toContain('"errno":1213');
    await expectConserved(shop, before);
    expect(await batches(shop.schema)).toMatchObject([{ state: 'deleted', row_count: 30 }]);
  });

  test('fault 12: a lock wait is rolled back as a whole and replayed; one that stays ends the run with exit 1', async () => {
    const held = async (releaseWhen: 'the first wait is over' | 'it has ended') => {
      const shop = await openShop(server, { old: 40, limits: { batchRows: 20 } });
      const before = { orders: await rowsOf(shop.schema, 'orders') };
      const other = await blocker(shop, 'SELECT * FROM orders WHERE id = 30 FOR UPDATE');
      // The server's wait of 10 s for a lock is one of 2 s.
      const proxy = await openFaultProxy(server);
      proxy.rewrite('innodb_lock_wait_timeout=10', 'innodb_lock_wait_timeout=2');
      const { child, ended } = shop.folder.start('archive', [], proxy.environment);
      const waited = said(child, '"errno":1205');
      await Promise.race([ended, releaseWhen === 'it has ended' ? ended : waited]);
      await other.rollback();
      await other.end();
      const run = await ended;
      await expectConserved(shop, before);
      return { shop, run };
    };
    const [short, long] = await Promise.all([held('the first wait is over'), held('it has ended')]);
    expect(short.run).toMatchObject({ exit: 0, summary: { tables: [{ archived: 40 }] } });
    expect(short.run.stderr).toContain('"errno":1205');
    expect(long.run).toMatchObject({
      exit: 1,
      summary: { error: { code: 'DATABASE_BUSY' }, tables: [{ archived: 20 }] },
    });
    expect(await long.shop.folder.archive()).toMatchObject([{ archived: 20 }]);
  }, 90_000);

  test('faults 29 to 32: rows changed, re-dated, inserted and deleted in the range while the batch waits', async () => {
    const shop = await openShop(server, { old: 40, fresh: 0 });
    await shop.schema.query('DELETE FROM orders WHERE id = 12');
    const other = await blocker(shop, 'SELECT * FROM orders WHERE id = 10 FOR UPDATE');
    const { ended } = shop.folder.start();
    await waitForStatement(server, shop.schema, copying);
    await other.query("UPDATE orders SET note = 'changed' WHERE id = 20");
    await other.query('UPDATE orders SET created_at = UTC_TIMESTAMP(6) WHERE id = 21');
    await insertOrders(shop.schema, 12, 12, 'UTC_TIMESTAMP(6) - INTERVAL 300 DAY');
    await other.query('DELETE FROM orders WHERE id = 22');
    await other.commit();
    await other.end();
    const run = await ended;
    expect(run.exit).toBe(0);
    // What had the time to be changed before the copy is archived as it was then, never as it had been.
    expect(await visibleRows(shop, 'orders')).not.toContainEqual(expect.stringContaining('Grüße 20|'));
    expect((await shop.archive.query('SELECT note FROM orders WHERE id = 20'))[0]).toEqual({ note: 'changed' });
    expect(await shop.schema.query('SELECT id FROM orders WHERE id = 21')).toHaveLength(1);
    expect(await shop.archive.query('SELECT id FROM orders WHERE id = 21')).toEqual([]);
    expect(await shop.archive.query('SELECT id FROM orders WHERE id = 22')).toEqual([]);
    const homes = [
      ...(await shop.schema.query('SELECT id FROM orders WHERE id = 12')),
      ...(await shop.archive.query('SELECT id FROM orders WHERE id = 12')),
    ];
    expect(homes).toEqual([{ id: 12 }]);
  });

  test('fault 31: a writer that inserts, changes and re-dates rows all the time loses none of them', async () => {
    const shop = await openShop(server, { old: 2000, fresh: 0, limits: { batchRows: 100 } });
    await shop.schema.query('CREATE TABLE journal (id BIGINT PRIMARY KEY, note TEXT)');
    const writer = await shop.schema.connect();
    const { ended } = shop.folder.start();
    let running = true;
    const written = (async () => {
      for (let id = 10_001; running && id < 14_000; id++) {
        await writer.beginTransaction();
        await writer.query(
          'INSERT INTO orders (id, customer, note, created_at) VALUES (?, ?, ?, UTC_TIMESTAMP(6) - INTERVAL 90 DAY)',
          [id, 'new', `v${id}`],
        );
        await writer.query('INSERT INTO journal VALUES (?, ?)', [id, `v${id}`]);
        await writer.commit();
        // A row that the run has locked is left alone.
        await writer
          .query('UPDATE orders SET note = CONCAT(note, ?) WHERE id = ?', ['!', id - 3])
          .then(async ([result]) => {
            if ((result as mysql.ResultSetHeader).affectedRows === 1)
              await writer.query("UPDATE journal SET note = CONCAT(note, '!') WHERE id = ?", [id - 3]);
          });
      }
    })();
    const run = await ended;
    running = false;
    await written;
    await writer.end();
    expect(run.exit).toBe(0);
    expect(await shop.folder.archive()).toMatchObject([{ table: 'orders' }]);
    const journal = await shop.schema.query('SELECT id, note FROM journal ORDER BY id');
    const archived = await shop.archive.query('SELECT id, note FROM orders WHERE id > 10000 ORDER BY id');
    expect(archived).toEqual(journal);
    expect(await shop.schema.query('SELECT COUNT(*) AS count FROM orders')).toEqual([{ count: 0 }]);
    expect(await shop.archive.query('SELECT COUNT(*) AS count FROM orders WHERE id <= 2000')).toEqual([
      { count: 2000 },
    ]);
  });

  for (const change of [
    { name: 'a column added', sql: 'ALTER TABLE orders ADD COLUMN extra INT NULL' },
    { name: 'a column dropped', sql: 'ALTER TABLE orders DROP COLUMN weight' },
    { name: 'a trigger', sql: 'CREATE TRIGGER t BEFORE DELETE ON orders FOR EACH ROW SET @x = 1' },
    {
      name: 'a foreign key to it',
      sql: 'CREATE TABLE more (id BIGINT UNSIGNED PRIMARY KEY, FOREIGN KEY (id) REFERENCES orders (id) ON DELETE CASCADE)',
    },
  ]) {
    test(`fault 35: DDL during the run (${change.name}): nothing is copied or deleted any more`, async () => {
      const shop = await openShop(server, { old: 0, fresh: 0 });
      await shop.folder.archive();
      await insertOrders(shop.schema, 1, 40, 'UTC_TIMESTAMP(6) - INTERVAL 100 DAY');
      const other = await blocker(shop, 'SELECT * FROM tableset_batches FOR UPDATE');
      const { ended } = shop.folder.start();
      await waitForStatement(server, shop.schema, /^INSERT INTO tableset_batches/);
      await shop.schema.query(change.sql);
      await other.rollback();
      await other.end();
      expect(await ended).toMatchObject({
        exit: 1,
        summary: { error: { code: 'ARCHIVE_TABLE_CHANGED' }, tables: [{ archived: 0 }] },
      });
      expect(await shop.schema.query('SELECT COUNT(*) AS count FROM orders')).toEqual([{ count: 40 }]);
      expect(await rowsOf(shop.archive, 'orders')).toEqual([]);
    });
  }

  test('fault 18: a batch that somebody else took over is neither copied nor deleted by the first', async () => {
    const shop = await openShop(server, { old: 40, limits: { batchRows: 20 } });
    const before = { orders: await rowsOf(shop.schema, 'orders') };
    // The second batch waits for this row; its ledger row was committed with the first.
    const holder = await blocker(shop, 'SELECT * FROM orders WHERE id = 15 FOR UPDATE');
    const { ended } = shop.folder.start();
    await waitForStatement(server, shop.schema, copying);
    const zombie = await shop.schema.connect();
    await zombie.query('SET innodb_lock_wait_timeout = 20');
    const raised = zombie.query("UPDATE tableset_batches SET token = token + 1 WHERE state = 'copying'");
    await delay(300);
    await server.query(`KILL QUERY ${await waitForStatement(server, shop.schema, copying)}`);
    await raised;
    await zombie.end();
    const run = await ended;
    await holder.rollback();
    await holder.end();
    expect(run).toMatchObject({ exit: 1, summary: { error: { code: 'ARCHIVE_BATCH_FENCED' } } });
    expect(await rowsOf(shop.schema, 'orders')).toEqual(before.orders);
    expect(await rowsOf(shop.archive, 'orders')).toEqual([]);
  });

  test('fault 49: of two runs at a time one works, and the other says who does, or is skipped', async () => {
    const shop = await openShop(server, { old: 40 });
    const holder = await blocker(shop, 'SELECT * FROM orders WHERE id = 30 FOR UPDATE');
    const { ended } = shop.folder.start();
    await waitForStatement(server, shop.schema, copying);
    const second = await shop.folder.refuse(75, 'LOCK_BUSY');
    expect(second.summary.error?.message).toMatch(/archive run \d+ on/);
    expect(await shop.folder.run('archive', ['--on-busy', 'skip'])).toMatchObject({
      exit: 0,
      summary: { outcome: 'skipped' },
    });
    await holder.rollback();
    await holder.end();
    expect(await ended).toMatchObject({ exit: 0, summary: { tables: [{ archived: 40 }] } });
  });

  test('a trigger that refuses a delete rolls the batch back', async () => {
    const shop = await openShop(server, { old: 10, entry: { allowDeleteTriggers: true } });
    const before = { orders: await rowsOf(shop.schema, 'orders') };
    await shop.schema.query('CREATE TABLE kept (id BIGINT UNSIGNED PRIMARY KEY)');
    await shop.schema.query('INSERT INTO kept VALUES (4)');
    await shop.schema.query(
      "CREATE TRIGGER keeps BEFORE DELETE ON orders FOR EACH ROW BEGIN IF EXISTS (SELECT 1 FROM kept WHERE id = OLD.id) THEN SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'kept'; END IF; END",
    );
    const run = await shop.folder.run();
    expect(run.exit).not.toBe(0);
    await expectConserved(shop, before);
    expect(await visibleRows(shop, 'orders')).toEqual([]);
  });

  test('a copy that is not the very row is noticed, though keys and counts are right', async () => {
    const shop = await openShop(server, { old: 0, fresh: 0 });
    await shop.folder.archive();
    await insertOrders(shop.schema, 1, 10, longAgo);
    const before = { orders: await rowsOf(shop.schema, 'orders') };
    const other = await blocker(shop, 'SELECT * FROM tableset_batches FOR UPDATE');
    const { ended } = shop.folder.start();
    // By now the archive was found to be fit.
    await waitForStatement(server, shop.schema, /^INSERT INTO tableset_batches/);
    await shop.archive.query(
      'CREATE TRIGGER lies BEFORE INSERT ON orders FOR EACH ROW SET NEW.customer = IF(NEW.id = 7, UPPER(NEW.customer), NEW.customer)',
    );
    await other.rollback();
    expect(await ended).toMatchObject({
      exit: 1,
      summary: { error: { code: 'ARCHIVE_COUNTS_DIFFER', copied: 10, deleted: 9 }, tables: [{ archived: 0 }] },
    });
    await expectConserved(shop, before);
    expect(await rowsOf(shop.archive, 'orders')).toEqual([]);
  });

  test('a row longer than a packet, whose copy could not be proved, is refused and stays', async () => {
    const shop = await openShop(server, { old: 1 });
    await shop.schema.script(
      "ALTER TABLE orders ADD COLUMN picture LONGBLOB NULL; UPDATE orders SET picture = REPEAT('x', @@max_allowed_packet / 2) WHERE id = 1",
    );
    const run = await shop.folder.refuse(3, 'ARCHIVE_VALUE_REFUSED');
    expect(run.summary.error?.message).toContain('max_allowed_packet');
    expect(await shop.schema.query('SELECT COUNT(*) AS count FROM orders WHERE id = 1')).toEqual([{ count: 1 }]);
  });
});
