import { expect, test } from 'vitest';
import { describeEachServer, type TestServer } from '../../test/servers.ts';
import { ids, purge, restore } from './archive-restore-kit.ts';
import { batches, insertOrders, openShop, rowsOf, type Shop } from './archive-shop.ts';
import { csv } from './run-loader.ts';

const columns = ['id', 'customer', 'total', 'weight', 'note', 'created_at'];
type TextRow = readonly (string | null)[];

interface LoadedShop extends Shop {
  /** What the source has, in the order of keys. */
  readonly source: readonly TextRow[];
}

/** Sixty old orders and two fresh ones, which a file has too; the old ones are archived. */
async function loadedShop(server: TestServer, mode: 'upsert' | 'mirror'): Promise<LoadedShop> {
  const shop = await openShop(server, { old: 60, fresh: 2 });
  const { schema, archive, folder } = shop;
  folder.configure({
    load: [
      { table: 'orders', source: 'orders.csv', mode, ...(mode === 'mirror' ? { maxDeletes: { percent: 100 } } : {}) },
    ],
    stores: { cold: { mysql: { name: archive.name } } },
    archive: [{ table: 'orders', dateColumn: 'created_at', archiveAfterDays: 30, store: 'cold' }],
    limits: { batchRows: 20, targetBatchSeconds: 60 },
  });
  const texts = columns.map((name) => `CAST(${name} AS CHAR) AS ${name}`).join(', ');
  const stored = await schema.query(`SELECT ${texts} FROM orders ORDER BY orders.id`);
  // Every column was cast to text.
  const source = stored.map((row) => columns.map((name) => row[name] as string | null));
  const loaded = { ...shop, source };
  expect(await load(loaded, source)).toMatchObject([{ unchanged: 62 }]);
  await folder.archive();
  expect(await ids(schema, 'orders')).toEqual([61, 62]);
  return loaded;
}

/** Loads these rows and fails unless that ends well; returns the tables' counts. */
async function load({ folder }: Shop, rows: readonly TextRow[]) {
  folder.write('orders.csv', csv(columns, rows));
  const run = await folder.run('load');
  if (run.exit !== 0) throw new Error(`load ended with ${run.exit}: ${JSON.stringify(run.summary)}\n${run.stderr}`);
  return run.summary.tables ?? [];
}

describeEachServer('after a restore', (server) => {
  for (const mode of ['upsert', 'mirror'] as const) {
    test(`a load in mode ${mode} brings nothing else back, and goes on with the rows that are there again`, async () => {
      const shop = await loadedShop(server, mode);
      const { schema, folder, source } = shop;
      expect(await load(shop, source)).toMatchObject([{ read: 62, held: 60, unchanged: 2 }]);
      await restore(shop, '--where', 'id=5');
      const five = await rowsOf(schema, 'orders', 'id = 5');
      expect(await load(shop, source)).toMatchObject([{ held: 59, unchanged: 3, deleted: 0 }]);
      expect(await ids(schema, 'orders')).toEqual([5, 61, 62]);
      expect(await rowsOf(schema, 'orders', 'id = 5')).toEqual(five);
      // A row that is there again is the source's to change, and stays held.
      const changed = source.map((row) => (row[0] === '5' ? ['5', 'corrected', ...row.slice(2)] : row));
      expect(await load(shop, changed)).toMatchObject([{ held: 59, updated: 1, deleted: 0 }]);
      expect(await folder.archive()).toMatchObject([{ archived: 0, skipped: { held: 1 } }]);
      expect(await schema.query('SELECT customer FROM orders WHERE id = 5')).toEqual([{ customer: 'corrected' }]);
      // The archive keeps the version that it has, and says so.
      await folder.refuse(3, 'RESTORE_CONFLICT', 'restore', ['--table', 'orders', '--where', 'id=5']);
      await restore(shop, '--where', 'id=5', '--overwrite');
      expect(await rowsOf(schema, 'orders', 'id = 5')).toEqual(five);
    });
  }

  test('a mirror load whose source no longer has a restored row leaves it where it is, as long as it is held', async () => {
    const shop = await loadedShop(server, 'mirror');
    const { schema, source } = shop;
    await restore(shop, '--where', 'id=5');
    await restore(shop, '--where', 'id=6');
    const fresh = source.filter((row) => row[0] === '61');
    await schema.query(
      'UPDATE tableset_holds SET until = UTC_TIMESTAMP(6) - INTERVAL 1 SECOND WHERE key_text = \'["6"]\'',
    );
    expect(await load(shop, fresh)).toMatchObject([{ read: 1, unchanged: 1, deleted: 2 }]);
    expect(await ids(schema, 'orders')).toEqual([5, 61]);
    await schema.query('DELETE FROM tableset_holds');
    expect(await load(shop, fresh)).toMatchObject([{ read: 1, unchanged: 1, deleted: 1 }]);
    expect(await ids(schema, 'orders')).toEqual([61]);
  });

  test('a batch of which a part came back is kept whole by purge, and goes once nothing of it is held', async () => {
    const entry = { archiveAfterDays: 30, deleteAfterDays: 60 };
    const shop = await openShop(server, {
      old: 0,
      fresh: 2,
      items: 1,
      entry,
      limits: { batchRows: 20, targetBatchSeconds: 60 },
    });
    const { schema, archive, folder } = shop;
    await insertOrders(schema, 11, 50, 'UTC_TIMESTAMP(6) - INTERVAL 400 DAY + INTERVAL i MINUTE');
    await schema.query("INSERT INTO order_items (order_id, product) SELECT id, 'thing' FROM orders WHERE id > 10");
    await folder.archive();
    await restore(shop, '--where', 'id=12');
    const back = [await rowsOf(schema, 'orders'), await rowsOf(schema, 'order_items')];
    expect(await purge(shop)).toMatchObject([{ purged: 20, skipped: { held: 20 } }, { purged: 20 }]);
    expect((await batches(schema)).map(({ state }) => state).toSorted()).toEqual(['deleted', 'purged']);
    // What is left can still be restored, what is gone not; what came back stays either way.
    expect(await restore(shop, '--where', 'id=13')).toMatchObject([{ restored: 1 }, { restored: 1 }]);
    await folder.refuse(3, 'RESTORE_NOT_FOUND', 'restore', ['--table', 'orders', '--where', 'id=45']);
    await schema.script(
      'DELETE FROM order_items WHERE order_id = 13; DELETE FROM orders WHERE id = 13; DELETE FROM tableset_holds',
    );
    expect(await purge(shop)).toMatchObject([{ purged: 20 }, { purged: 20 }]);
    expect([await rowsOf(schema, 'orders'), await rowsOf(schema, 'order_items')]).toEqual(back);
    expect(await ids(archive, 'orders')).toEqual([]);
    // Nothing holds it any more: it is archived, and purged, once more.
    expect(await folder.archive()).toMatchObject([{ archived: 1 }, { archived: 1 }]);
    expect(await purge(shop)).toMatchObject([{ purged: 1 }, { purged: 1 }]);
    expect(await ids(schema, 'orders', 'id > 10')).toEqual([]);
  });

  test('a row that is there already is held as well, since somebody asked for it', async () => {
    const shop = await openShop(server, { old: 5, fresh: 1 });
    const { schema, folder } = shop;
    await folder.archive();
    await restore(shop, '--where', 'id=2');
    await schema.query('DELETE FROM tableset_holds');
    expect(await restore(shop, '--where', 'id=2')).toMatchObject([{ unchanged: 1 }]);
    expect(await folder.archive()).toMatchObject([{ archived: 0, skipped: { held: 1 } }]);
    expect(await ids(schema, 'orders')).toEqual([2, 6]);
  });
});
