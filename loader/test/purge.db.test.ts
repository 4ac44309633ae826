import { setTimeout as delay } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { describeEachServer } from '../../test/servers.ts';
import { ids, purge, restore } from './archive-restore-kit.ts';
import { batches, insertOrders, openShop, rowsOf, type Shop } from './archive-shop.ts';

/** KILL_ROUNDS=20 for more than a quick look. */
const rounds = Number(process.env['KILL_ROUNDS'] ?? 3);

const entry = { archiveAfterDays: 30, deleteAfterDays: 365 };

const states = async ({ schema }: Shop) =>
  (await batches(schema)).map((row) => row['state']).filter((state) => state !== 'removed');

/** Orders 1 to 40 of 400 days ago, 41 to 60 of 200 days ago, 61 and 62 of today, the old ones archived in batches of 20. */
async function oldShop(
  server: Parameters<typeof openShop>[0],
  more: Readonly<Record<string, unknown>> = {},
): Promise<Shop> {
  const shop = await openShop(server, {
    old: 0,
    fresh: 0,
    items: 1,
    entry,
    limits: { batchRows: 20, targetBatchSeconds: 60, ...more },
  });
  await insertOrders(shop.schema, 1, 40, 'UTC_TIMESTAMP(6) - INTERVAL 400 DAY + INTERVAL i MINUTE');
  await insertOrders(shop.schema, 41, 60, 'UTC_TIMESTAMP(6) - INTERVAL 200 DAY + INTERVAL i MINUTE');
  await insertOrders(shop.schema, 61, 62, 'UTC_TIMESTAMP(6)');
  await shop.schema.query("INSERT INTO order_items (order_id, product) SELECT id, 'thing' FROM orders");
  await shop.folder.archive();
  return shop;
}

describeEachServer('purge', (server) => {
  test('removes batches whose newest row is past its retention, with their children, and nothing else', async () => {
    const shop = await oldShop(server);
    const { schema, archive } = shop;
    const kept = [
      await rowsOf(archive, 'orders', 'id > 40'),
      await rowsOf(schema, 'orders'),
      await rowsOf(schema, 'order_items'),
    ];
    const planned = await shop.folder.run('purge', ['--dry-run']);
    expect(planned).toMatchObject({
      exit: 0,
      summary: { dryRun: true, tables: [{ matched: 40, purged: 40 }, { matched: 40 }] },
    });
    expect(planned.summary['batches']).toHaveLength(2);
    expect(await ids(archive, 'orders')).toHaveLength(60);
    expect(await purge(shop)).toEqual([
      { table: 'orders', matched: 40, purged: 40, skipped: {} },
      { table: 'order_items', matched: 40, purged: 40, skipped: {} },
    ]);
    expect(await states(shop)).toEqual(['purged', 'purged', 'deleted']);
    expect([
      await rowsOf(archive, 'orders'),
      await rowsOf(schema, 'orders'),
      await rowsOf(schema, 'order_items'),
    ]).toEqual(kept);
    expect(await ids(archive, 'order_items')).toHaveLength(20);
    expect(await archive.query('SELECT COUNT(*) AS count FROM tableset_manifests')).toEqual([{ count: 1 }]);
    // What was purged stays in the ledger, and is gone.
    expect((await batches(schema)).every(({ manifest }) => typeof manifest === 'string' || manifest === null)).toBe(
      true,
    );
    const { summary } = await shop.folder.refuse(3, 'RESTORE_NOT_FOUND', 'restore', [
      '--table',
      'orders',
      '--where',
      'id=7',
    ]);
    expect(summary.error?.hint).toContain('what was purged is gone');
    expect(await purge(shop)).toEqual([{ table: 'orders', matched: 0, purged: 0, skipped: {} }]);
    expect(await schema.query("SELECT outcome FROM tableset_runs WHERE kind = 'purge'")).toEqual([
      { outcome: 'done' },
      { outcome: 'done' },
    ]);
  });

  test('fault 27: a batch goes once its newest row is past its retention, one whose newest row is not quite stays whole', async () => {
    const shop = await openShop(server, { old: 0, fresh: 0, entry, limits: { batchRows: 2, targetBatchSeconds: 60 } });
    const { schema, archive } = shop;
    await insertOrders(schema, 1, 3, 'UTC_TIMESTAMP(6) - INTERVAL 365 DAY - INTERVAL (10 - i) HOUR');
    await insertOrders(schema, 4, 4, 'UTC_TIMESTAMP(6) - INTERVAL 365 DAY + INTERVAL 120 SECOND');
    await shop.folder.archive();
    expect(await purge(shop)).toMatchObject([{ matched: 2, purged: 2 }]);
    expect(await ids(archive, 'orders')).toEqual([3, 4]);
    expect(await purge(shop)).toMatchObject([{ matched: 0 }]);
  });

  test('keeps a batch whole of which one row is held, by key, by a predicate, by a restore, for as long as the hold is in force', async () => {
    const shop = await oldShop(server);
    const { schema, archive } = shop;
    await schema.query(
      "INSERT INTO tableset_holds (table_name, key_hash, key_text, reason, created_at) VALUES ('order_items', UNHEX(SHA2('[\"35\"]', 256)), '[\"35\"]', 'lawsuit', UTC_TIMESTAMP(6))",
    );
    expect(await purge(shop, '--dry-run')).toMatchObject([
      { purged: 20, skipped: { held: 20 } },
      { purged: 20, skipped: { held: 20 } },
    ]);
    await schema.query(
      `INSERT INTO tableset_holds (table_name, predicate, reason, created_at) VALUES ('orders', '[{"column":"customer","operator":"=","value":"CUSTOMER 3"},{"column":"id","operator":"<","value":10}]', 'tax', UTC_TIMESTAMP(6))`,
    );
    expect(await purge(shop)).toMatchObject([
      { matched: 40, purged: 0, skipped: { held: 40 } },
      { skipped: { held: 40 } },
    ]);
    expect(await ids(archive, 'orders')).toHaveLength(60);
    await schema.query('UPDATE tableset_holds SET until = UTC_TIMESTAMP(6) - INTERVAL 1 SECOND');
    await restore(shop, '--where', 'id=35');
    expect(await purge(shop)).toMatchObject([{ matched: 40, purged: 20, skipped: { held: 20 } }, { purged: 20 }]);
    expect((await ids(archive, 'orders')).includes(35)).toBe(true);
    await schema.query('DELETE FROM tableset_holds');
    expect(await purge(shop)).toMatchObject([{ matched: 20, purged: 20 }, { purged: 20 }]);
    await schema.query(
      "INSERT INTO tableset_holds (table_name, predicate, reason, created_at) VALUES ('orders', 'customer = 3', 'sql', UTC_TIMESTAMP(6))",
    );
    await shop.folder.refuse(3, 'HOLD_INVALID', 'purge');
  });

  test('refuses to remove more rows than its budget before it removes any', async () => {
    const shop = await oldShop(server, { maxDeletes: { rows: 130, percent: 100 } });
    shop.folder.write('config.yaml', '{}');
    const sections = (rows: number, percent: number) => ({
      stores: { cold: { mysql: { name: shop.archive.name } } },
      archive: [{ table: 'orders', dateColumn: 'created_at', store: 'cold', children: ['order_items'], ...entry }],
      limits: { maxDeletes: { rows, percent } },
    });
    for (const [rows, percent] of [
      [79, 100],
      [1000, 66],
    ] as const) {
      shop.folder.configure(sections(rows, percent));
      const { summary } = await shop.folder.refuse(3, 'ARCHIVE_TOO_MANY_DELETES', 'purge');
      expect(summary.error?.message).toContain('80 rows');
    }
    expect(await ids(shop.archive, 'orders')).toHaveLength(60);
    shop.folder.configure(sections(80, 67));
    expect(await purge(shop)).toMatchObject([{ purged: 40 }, { purged: 40 }]);
  });

  test('leaves tables without a retention and disabled ones alone', async () => {
    const shop = await oldShop(server);
    const sections = (more: object) => ({
      stores: { cold: { mysql: { name: shop.archive.name } } },
      archive: [
        {
          table: 'orders',
          dateColumn: 'created_at',
          store: 'cold',
          archiveAfterDays: 30,
          children: ['order_items'],
          ...more,
        },
      ],
    });
    shop.folder.configure(sections({}));
    expect(await purge(shop)).toEqual([]);
    shop.folder.configure(sections({ deleteAfterDays: 365, enabled: false }));
    expect(await purge(shop)).toEqual([]);
    expect(await ids(shop.archive, 'orders')).toHaveLength(60);
  });

  test('fault 10: killed at any time, or found half done, it is finished by the next run', async () => {
    for (let round = 0; round < rounds; round++) {
      const shop = await oldShop(server);
      const { schema, archive } = shop;
      const kept = await rowsOf(archive, 'orders', 'id > 40');
      if (round === 0) {
        // As a killed run leaves a batch that is removed piece by piece.
        const [first] = await batches(schema);
        await schema.query("UPDATE tableset_batches SET state = 'purging' WHERE id = ?", [first?.['id']]);
        await archive.query('DELETE FROM orders WHERE tableset_batch = ? LIMIT 7', [first?.['id']]);
        await shop.folder.refuse(3, 'RESTORE_NOT_FOUND', 'restore', [
          '--table',
          'orders',
          '--batch',
          String(first?.['id']),
        ]);
      }
      const { child, ended } = shop.folder.start('purge');
      await delay(150 + Math.random() * 600);
      child.kill('SIGKILL');
      await ended;
      await purge(shop, '--on-busy', 'wait', '--lock-wait-seconds', '20');
      expect(await states(shop)).toEqual(['purged', 'purged', 'deleted']);
      expect(await rowsOf(archive, 'orders')).toEqual(kept);
      expect(await ids(archive, 'order_items')).toHaveLength(20);
    }
  }, 120_000);

  test('fault 18: a run whose token is stale changes nothing', async () => {
    const shop = await oldShop(server);
    const { schema, archive } = shop;
    await schema.script(`CREATE TRIGGER takes_over BEFORE INSERT ON tableset_runs FOR EACH ROW SET @x = 1;
      DROP TRIGGER takes_over; CREATE TRIGGER fences BEFORE UPDATE ON tableset_batches FOR EACH ROW SET NEW.state = IF(NEW.state = 'purged', OLD.state, NEW.state), NEW.changed_at = OLD.changed_at`);
    await shop.folder.refuse(1, 'ARCHIVE_BATCH_FENCED', 'purge');
    expect(await ids(archive, 'orders')).toHaveLength(60);
    expect(await archive.query('SELECT COUNT(*) AS count FROM tableset_manifests')).toEqual([{ count: 3 }]);
    await schema.query('DROP TRIGGER fences');
    expect(await purge(shop)).toMatchObject([{ purged: 40 }, { purged: 40 }]);
  });
});
