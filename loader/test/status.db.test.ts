import { expect, test } from 'vitest';
import { describeEachServer } from '../../test/servers.ts';
import { restore } from './archive-restore-kit.ts';
import { batches, insertOrders, openShop } from './archive-shop.ts';

describeEachServer('status', (server) => {
  test('says what waits before anything was archived, and writes nothing', async () => {
    const shop = await openShop(server, { old: 30, fresh: 5, items: 1 });
    const run = await shop.folder.run('status');
    expect(run).toMatchObject({
      exit: 0,
      summary: {
        outcome: 'done',
        tables: [{ table: 'orders', store: 'cold', rows: 0, waiting: { rows: 30, more: false } }],
        batches: [],
        runs: [],
      },
    });
    expect(await shop.schema.query("SHOW TABLES LIKE 'tableset\\_%'")).toEqual([]);
  });

  test('answers which batches hold an order, what was archived in a month, and what is unverified', async () => {
    const shop = await openShop(server, { old: 0, fresh: 2, limits: { batchRows: 20, targetBatchSeconds: 60 } });
    const { schema, folder } = shop;
    await insertOrders(schema, 11, 90, "TIMESTAMP('2024-02-20') + INTERVAL (i - 11) DAY");
    await folder.archive();
    const archived = (await batches(schema)).filter(({ state }) => state === 'deleted');
    const held = archived.find(
      ({ first_key, last_key }) =>
        Number(JSON.parse(String(first_key))[0]) <= 42 && Number(JSON.parse(String(last_key))[0]) >= 42,
    );
    const byKey = await folder.run('status', ['--key', 'id=42']);
    expect(byKey.summary['batches']).toMatchObject([
      { batch: held?.['id'], table: 'orders', store: 'cold', state: 'deleted', found: 1 },
    ]);
    expect(byKey.summary['onPrimary']).toEqual([{ table: 'orders', rows: 0 }]);
    await restore(shop, '--where', 'id=42');
    expect((await folder.run('status', ['--key', 'id=42'])).summary['onPrimary']).toEqual([
      { table: 'orders', rows: 1 },
    ]);
    expect((await folder.run('status', ['--key', 'id=5000'])).summary['batches']).toEqual([]);
    expect((await folder.run('status', ['--key', 'idd=5'])).exit).toBe(2);
    expect((await folder.run('status', ['--key', 'customer=customer 3'])).summary['batches']).toHaveLength(
      archived.length,
    );
    const march = (await folder.run('status', ['--from', '2024-03-01', '--to', '2024-04-01'])).summary['batches'];
    const wanted = archived.filter(
      ({ oldest, newest }) => String(newest) >= '2024-03-01' && String(oldest) < '2024-04-01',
    );
    expect(march).toHaveLength(wanted.length);
    expect(wanted.length).toBeLessThan(archived.length);
    await schema.query('UPDATE tableset_batches SET verified_at = UTC_TIMESTAMP(6)');
    expect((await folder.run('status', ['--unverified'])).summary['batches']).toEqual([]);
    await schema.query('UPDATE tableset_batches SET verified_at = NULL WHERE id = ?', [held?.['id']]);
    const unverified = await folder.run('status', ['--unverified']);
    expect(unverified.summary['batches']).toMatchObject([{ batch: held?.['id'], verifiedAt: null }]);
    expect(unverified.summary.tables).toMatchObject([{ unverified: 1 }]);
    const whole = await folder.run('status');
    expect(whole.summary.tables).toMatchObject([
      { rows: 80, batches: { deleted: archived.length }, oldest: '2024-02-20 00:00:00.000000', waiting: { rows: 0 } },
    ]);
    expect(whole.summary['runs']).toMatchObject([
      { kind: 'restore', outcome: 'done' },
      { kind: 'archive', outcome: 'done' },
    ]);
  });

  test('answers while a run is going on, and says why the next one would be refused', async () => {
    const shop = await openShop(server, { old: 10, fresh: 2, items: 1 });
    const { schema, folder } = shop;
    await folder.archive();
    await schema.query(
      'CREATE TABLE remarks (id INT PRIMARY KEY, order_id BIGINT UNSIGNED, FOREIGN KEY (order_id) REFERENCES orders (id) ON DELETE CASCADE)',
    );
    await using busy = await schema.connect();
    await busy.query('START TRANSACTION');
    await busy.query('SELECT * FROM tableset_batches FOR UPDATE');
    const run = await folder.run('status');
    expect(run.exit).toBe(0);
    const [orders] = run.summary.tables ?? [];
    expect(orders).toMatchObject({ waiting: { refused: expect.stringContaining('remarks') } });
    await busy.query('ROLLBACK');
  });
});
