import { expect, test } from 'vitest';
import { describeEachServer } from '../../test/servers.ts';
import { ids, restore } from './archive-restore-kit.ts';
import { openShop, rowsOf } from './archive-shop.ts';
import { startFakeReplica } from './fake-replica.ts';
import { sameServer } from './run-archive.ts';

const all = ['--table', 'orders', '--to', '2100-01-01'];

/** `HH:MM-HH:MM` in UTC: an hour that begins in so many. */
function hourFrom(hours: number): string {
  const clock = (hour: number) => new Date(Date.now() + hour * 3_600_000).toISOString().slice(11, 16);
  return `${clock(hours)}-${clock(hours + 1)}`;
}

describeEachServer('limits of a restore', (server) => {
  test('a replica that lags is waited for before each transaction, and told of once; the window is for runs at night', async () => {
    const lags = ['100', '100', '5'];
    const replica = await startFakeReplica(() => (lags.length > 1 ? (lags.shift() ?? null) : '5'));
    const shop = await openShop(server, { old: 40, items: 1, limits: { batchRows: 20 } });
    const before = {
      orders: await rowsOf(shop.schema, 'orders'),
      order_items: await rowsOf(shop.schema, 'order_items'),
    };
    await shop.folder.archive();
    const limits = { maxReplicaLagSeconds: 5, replicas: [replica], window: hourFrom(3) };
    shop.folder.configure(sameServer(shop.archive, [{ table: 'orders', children: ['order_items'] }], limits));
    const run = await shop.folder.run('restore', all);
    expect(run, run.stderr).toMatchObject({ exit: 0, summary: { tables: [{ restored: 40 }, { restored: 40 }] } });
    const paused = run.stderr.split('\n').filter((line) => line.includes('"msg":"paused"'));
    expect(paused, run.stderr).toHaveLength(1);
    expect(paused[0]).toContain('"lagSeconds":100');
    expect({
      orders: await rowsOf(shop.schema, 'orders'),
      order_items: await rowsOf(shop.schema, 'order_items'),
    }).toEqual(before);
  });

  test('ends at its limit of time after a transaction, and the next one goes on', async () => {
    const shop = await openShop(server, { old: 60, fresh: 0, limits: { batchRows: 20 } });
    const before = { orders: await rowsOf(shop.schema, 'orders') };
    await shop.folder.archive();
    const slow = sameServer(shop.archive, [{ table: 'orders' }], { maxRuntime: '1s', niceRatio: 30 });
    shop.folder.configure(slow);
    // Every insert takes long enough for the pause after it to use up the time.
    await shop.schema.query(
      'CREATE TRIGGER slow BEFORE INSERT ON orders FOR EACH ROW SET NEW.note = IF(SLEEP(0.002) = 0, NEW.note, NEW.note)',
    );
    const first = await shop.folder.refuse(1, 'ARCHIVE_UNFINISHED', 'restore', [...all, '--allow-triggers']);
    expect(first.summary.error?.hint).toMatch(/same restore again/);
    expect(await ids(shop.schema, 'orders')).toHaveLength(20);
    const [run] = await shop.schema.query("SELECT outcome FROM tableset_runs WHERE kind = 'restore'");
    expect(run?.['outcome']).toBe('unfinished');
    // What is back already takes nothing of the time.
    await shop.folder.refuse(1, 'ARCHIVE_UNFINISHED', 'restore', [...all, '--allow-triggers']);
    expect(await ids(shop.schema, 'orders')).toHaveLength(40);
    expect((await shop.folder.run('restore', [...all, '--allow-triggers'])).exit).toBe(0);
    expect(await rowsOf(shop.schema, 'orders')).toEqual(before.orders);
  });
});

describeEachServer('children that came back', (server) => {
  test('stay as long as their root is held, then go along again, and each version is in the archive', async () => {
    const shop = await openShop(server, { old: 10, fresh: 0, items: 2 });
    const { schema, folder } = shop;
    await folder.archive();
    await restore(shop, '--where', 'id=5');
    const children = await rowsOf(schema, 'order_items');
    expect(children).toHaveLength(2);
    // A child that was lost since comes back under the hold that its root has already.
    await schema.query('DELETE FROM order_items ORDER BY id LIMIT 1');
    expect(await restore(shop, '--where', 'id=5')).toMatchObject([{ unchanged: 1 }, { restored: 1, unchanged: 1 }]);
    expect(await folder.archive()).toMatchObject([
      { archived: 0, skipped: { held: 1 } },
      { table: 'order_items', archived: 0 },
    ]);
    expect(await rowsOf(schema, 'order_items')).toEqual(children);
    await schema.query('UPDATE order_items SET product = CONCAT(product, CHAR(33))');
    await schema.query('DELETE FROM tableset_holds');
    const changed = await rowsOf(schema, 'order_items');
    expect(await folder.archive()).toMatchObject([{ archived: 1 }, { archived: 2 }]);
    await restore(shop, '--where', 'id=5');
    // The newest version, as it was when it went.
    expect(await rowsOf(schema, 'order_items')).toEqual(changed);
  });
});
