import { createHash } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import { expect, onTestFinished, test } from 'vitest';
import { describeEachServer, type TestSchema } from '../../test/servers.ts';
import { ids, restore } from './archive-restore-kit.ts';
import { openShop, rowsOf, waitForStatement } from './archive-shop.ts';

const all = ['--from', '0001-01-01'];
const restoreAll = ['--table', 'orders', ...all];

/** KILL_ROUNDS=20 for more than a quick look. */
const rounds = Number(process.env['KILL_ROUNDS'] ?? 4);

function lockName(schema: TestSchema): string {
  return `tableset:${createHash('sha256').update(schema.name).digest('hex').slice(0, 40)}`;
}

describeEachServer('a restore that meets a fault', (server) => {
  test('fault 21: finds that the store lost or altered a row and restores nothing, wherever in the run it is', async () => {
    const shop = await openShop(server, {
      old: 60,
      fresh: 2,
      items: 1,
      limits: { batchRows: 20, targetBatchSeconds: 60 },
    });
    const { schema, archive, folder } = shop;
    await folder.archive();
    const spoils = [
      "UPDATE orders SET note = 'other' WHERE id = 59",
      'UPDATE orders SET weight = weight + 1e-12 WHERE id = 58',
      'DELETE FROM order_items WHERE order_id = 3',
      'UPDATE orders SET total = NULL WHERE id = 1',
    ];
    for (const spoil of spoils) {
      const tables = ['orders', 'order_items'];
      for (const table of tables)
        await archive.script(
          `DROP TABLE IF EXISTS kept_${table}; CREATE TABLE kept_${table} AS SELECT * FROM ${table}`,
        );
      await archive.query(spoil);
      const { summary } = await folder.refuse(3, 'ARCHIVE_VERIFY_FAILED', 'restore', restoreAll);
      expect(summary.error?.message).toMatch(/batch \d+ in cold, (orders|order_items): /);
      expect(await ids(schema, 'orders')).toEqual([61, 62]);
      expect(await schema.query('SELECT * FROM tableset_holds')).toEqual([]);
      for (const table of tables)
        await archive.script(`DELETE FROM ${table}; INSERT INTO ${table} SELECT * FROM kept_${table}`);
    }
    expect(await restore(shop, ...all)).toMatchObject([{ restored: 60 }, { restored: 60 }]);
  });

  test('fault 10: killed at any time it leaves whole batches or none, keeps the archive, and the next one ends as if it had never been', async () => {
    const shop = await openShop(server, {
      old: 400,
      fresh: 2,
      items: 1,
      limits: { batchRows: 40, targetBatchSeconds: 60 },
    });
    const { schema, archive, folder } = shop;
    const before = [await rowsOf(schema, 'orders'), await rowsOf(schema, 'order_items')];
    await folder.archive();
    const kept = [await rowsOf(archive, 'orders'), await rowsOf(archive, 'order_items')];
    let longest = 1500;
    for (let round = 0; round < rounds; round++) {
      await schema.script(
        'DELETE FROM order_items WHERE order_id <= 400; DELETE FROM orders WHERE id <= 400; DELETE FROM tableset_holds',
      );
      const { child, ended } = folder.start('restore', restoreAll);
      await delay(200 + Math.random() * longest);
      child.kill('SIGKILL');
      const killed = await ended;
      expect(killed.exit === null || killed.exit === 0).toBe(true);
      if (killed.exit === 0) longest *= 0.8;
      // The server may still be finishing what it was sent.
      await folder.run('verify', ['--on-busy', 'wait', '--lock-wait-seconds', '20']);
      const [orders] = await schema.query('SELECT COUNT(*) AS count FROM orders WHERE id <= 400');
      const [held] = await schema.query('SELECT COUNT(*) AS count FROM tableset_holds');
      expect(held).toEqual(orders);
      const [items] = await schema.query('SELECT COUNT(*) AS count FROM order_items WHERE order_id <= 400');
      expect(items).toEqual(orders);
      await restore(shop, ...all);
      expect([await rowsOf(schema, 'orders'), await rowsOf(schema, 'order_items')]).toEqual(before);
      expect([await rowsOf(archive, 'orders'), await rowsOf(archive, 'order_items')]).toEqual(kept);
    }
  }, 180_000);

  test('fault 8: told to stop it ends with 143 after whole batches', async () => {
    const shop = await openShop(server, {
      old: 400,
      fresh: 2,
      items: 1,
      limits: { batchRows: 20, targetBatchSeconds: 60 },
    });
    const { schema, folder } = shop;
    await folder.archive();
    const { child, ended } = folder.start('restore', restoreAll);
    for (let tries = 0; tries < 500; tries++) {
      const [row] = await schema.query('SELECT COUNT(*) AS count FROM orders');
      if (Number(row?.['count']) > 2) break;
      await delay(5);
    }
    child.kill('SIGTERM');
    const { exit } = await ended;
    expect([143, 0]).toContain(exit);
    const [orders] = await schema.query('SELECT COUNT(*) AS count FROM orders WHERE id <= 400');
    const [items] = await schema.query('SELECT COUNT(*) AS count FROM order_items WHERE order_id <= 400');
    expect(items).toEqual(orders);
    const [run] = await schema.query(
      "SELECT outcome FROM tableset_runs WHERE kind = 'restore' ORDER BY id DESC LIMIT 1",
    );
    expect(run).toEqual({ outcome: exit === 143 ? 'stopped' : 'done' });
    expect((await restore(shop, ...all))[0]).toMatchObject({ matched: 400 });
  });

  test('fault 34: columns added since take their default, others are refused by name, and --into takes them all', async () => {
    const shop = await openShop(server, { old: 10, fresh: 1, items: 1 });
    const { schema, folder } = shop;
    const before = await rowsOf(schema, 'orders', 'id <= 10');
    await folder.archive();
    await schema.query(
      "ALTER TABLE orders ADD COLUMN state VARCHAR(9) NOT NULL DEFAULT 'old', ADD COLUMN remark TEXT NULL",
    );
    expect(await restore(shop, '--where', 'id=1')).toMatchObject([{ restored: 1 }, { restored: 1 }]);
    expect(await schema.query('SELECT state, remark FROM orders WHERE id = 1')).toEqual([
      { state: 'old', remark: null },
    ]);
    expect(await restore(shop, '--where', 'id=1')).toMatchObject([{ unchanged: 1 }, { unchanged: 1 }]);
    await schema.query('ALTER TABLE orders ALTER COLUMN state DROP DEFAULT, DROP COLUMN weight');
    const { summary } = await folder.refuse(3, 'ARCHIVE_TABLE_UNSUITABLE', 'restore', restoreAll);
    expect(summary.error?.message).toContain('orders no longer has the column weight');
    expect(summary.error?.message).toContain('orders has the column state since then, which has no default');
    expect(await ids(schema, 'orders')).toEqual([1, 11]);
    expect(await restore(shop, ...all, '--into', 'looked_at')).toMatchObject([{ restored: 10 }]);
    expect(await rowsOf(schema, 'looked_at')).toEqual(before);
    await schema.script(
      'ALTER TABLE orders ALTER COLUMN state SET DEFAULT 1, ADD COLUMN weight DOUBLE; UPDATE orders SET customer = 1; ALTER TABLE orders MODIFY customer VARCHAR(3)',
    );
    const narrow = await folder.refuse(3, 'ARCHIVE_TABLE_UNSUITABLE', 'restore', [
      '--table',
      'orders',
      '--where',
      'id=2',
    ]);
    expect(narrow.summary.error?.message).toContain('no longer takes an archived row as it was');
    expect(await ids(schema, 'orders')).toEqual([1, 11]);
  });

  test('fault 43: a value that the table would store as another is rolled back', async () => {
    const shop = await openShop(server, { old: 5, fresh: 1 });
    const { schema, folder } = shop;
    await folder.archive();
    // The value is rounded in silence.
    await schema.query('ALTER TABLE orders MODIFY weight FLOAT');
    const { summary } = await folder.refuse(3, 'ARCHIVE_VERIFY_FAILED', 'restore', [
      '--table',
      'orders',
      '--where',
      'id=4',
    ]);
    expect(summary.error?.message).toContain('orders: the row ["4"] was restored and differs in weight');
    expect(await ids(schema, 'orders')).toEqual([6]);
    expect(await schema.query('SELECT * FROM tableset_holds')).toEqual([]);
  });

  test('fault 47: insert triggers are refused without opt-in, and one that alters rows is noticed', async () => {
    const shop = await openShop(server, { old: 5, fresh: 1 });
    const { schema, folder } = shop;
    await folder.archive();
    await schema.query(
      "CREATE TRIGGER marks BEFORE INSERT ON orders FOR EACH ROW SET NEW.note = IF(NEW.id = 2, 'marked', NEW.note)",
    );
    const { summary } = await folder.refuse(3, 'ARCHIVE_TABLE_UNSUITABLE', 'restore', restoreAll);
    expect(summary.error?.message).toContain('triggers that would fire: marks');
    const altered = await folder.refuse(3, 'ARCHIVE_VERIFY_FAILED', 'restore', [...restoreAll, '--allow-triggers']);
    expect(altered.summary.error?.message).toContain('the row ["2"] was restored and differs in note');
    expect(await ids(schema, 'orders')).toEqual([6]);
    expect(await restore(shop, '--where', 'id=3', '--allow-triggers')).toMatchObject([{ restored: 1 }]);
  });

  test('fault 52: it waits its turn like every other verb, and ends with 75 where it may not', async () => {
    const shop = await openShop(server, { old: 5, fresh: 1 });
    const { schema, folder } = shop;
    await folder.archive();
    await using holder = await schema.connect();
    await holder.query('DO GET_LOCK(?, 0)', [lockName(schema)]);
    for (const verb of ['restore', 'purge', 'verify'] as const) {
      const words = verb === 'restore' ? restoreAll : [];
      await folder.refuse(75, 'LOCK_BUSY', verb, words);
      expect((await folder.run(verb, [...words, '--on-busy', 'skip'])).summary).toMatchObject({ outcome: 'skipped' });
    }
    // What writes nothing needs no turn.
    expect((await folder.run('status')).exit).toBe(0);
    expect((await folder.run('restore', [...restoreAll, '--dry-run'])).exit).toBe(0);
    expect((await folder.run('purge', ['--dry-run'])).exit).toBe(0);
    expect(await ids(schema, 'orders')).toEqual([6]);
  });

  test('fault 52: a dry run, which takes no lock, does not blame the store for what is purged under its eyes', async () => {
    const shop = await openShop(server, { old: 20, fresh: 1, limits: { batchRows: 10, targetBatchSeconds: 60 } });
    const { schema, archive, folder } = shop;
    await folder.archive();
    const [newest] = await archive.query('SELECT CAST(MAX(batch) AS CHAR) AS id FROM tableset_manifests');
    const purging = await server.connect({ database: archive.name });
    onTestFinished(() => purging.destroy());
    await purging.query('LOCK TABLES orders WRITE');
    const { ended } = folder.start('restore', [...restoreAll, '--dry-run']);
    await waitForStatement(server, { ...archive, user: schema.user }, /^SELECT .*`orders`/s);
    await purging.query(`DELETE FROM orders WHERE tableset_batch = ${newest?.['id']}`);
    await schema.query("UPDATE tableset_batches SET state = 'purged' WHERE id = ?", [newest?.['id']]);
    await purging.query('UNLOCK TABLES');
    await purging.end();
    const run = await ended;
    expect(run).toMatchObject({ exit: 0, summary: { tables: [{ matched: 10, restored: 10 }] } });
    expect(run.summary['batches']).toHaveLength(1);
  });

  test('fault 44 and 48: a table whose key or engine would not do is refused', async () => {
    const shop = await openShop(server, { old: 5, fresh: 1 });
    const { schema, folder } = shop;
    await folder.archive();
    await schema.query(
      'CREATE TABLE other (id BIGINT UNSIGNED NOT NULL, customer VARCHAR(40) NOT NULL PRIMARY KEY, total DECIMAL(12,2), weight DOUBLE, note TEXT, created_at DATETIME(6)) ENGINE=MyISAM',
    );
    const { summary } = await folder.refuse(3, 'ARCHIVE_TABLE_UNSUITABLE', 'restore', [
      ...restoreAll,
      '--into',
      'other',
    ]);
    expect(summary.error?.message).toContain('other has the primary key (customer); it was archived by (id)');
    expect(summary.error?.message).toContain('other is a table of MyISAM');
    await schema.query('DROP TABLE IF EXISTS order_items, orders');
    await folder.refuse(3, 'ARCHIVE_TABLE_UNSUITABLE', 'restore', restoreAll);
    expect(await restore(shop, ...all, '--into', 'saved')).toMatchObject([{ restored: 5 }]);
  });
});
