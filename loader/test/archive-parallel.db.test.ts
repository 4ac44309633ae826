import { expect, test } from 'vitest';
import { connect } from '../../common/src/database/connect.ts';
import { ensureLedger, startRun } from '../../common/src/database/ledger.ts';
import { acquireLock, lockName } from '../../common/src/database/lock.ts';
import { describeEachServer, type TestSchema } from '../../test/servers.ts';
import type { EngineContext } from '../src/archive/engine.ts';
import { openOneServerEngine } from '../src/archive/one-server.ts';
import { planArchive } from '../src/archive/plan-archive.ts';
import { readConfig } from '../src/config/read.ts';
import { openMysqlStore } from '../src/stores/mysql-store.ts';
import {
  batches,
  expectConserved,
  openShop,
  rowsOf,
  type Shop,
  visibleRows,
  waitForStatement,
} from './archive-shop.ts';
import { recordingOutput, settingsOf } from './archive-two-server-kit.ts';

/** An engine as a run opens it, before its first batch. */
async function openEngine(
  shop: Shop,
  options: { readonly parallelBatches: number; readonly spend?: (rows: number) => void },
) {
  const { signal } = new AbortController();
  const resources = new AsyncDisposableStack();
  const output = recordingOutput();
  const connection = resources.use(await connect(settingsOf(shop.schema), { signal }));
  const lock = resources.use(await acquireLock(connection, { onBusy: 'fail', lockWaitSeconds: 1 }));
  if (!lock) throw new Error('the lock is held');
  await ensureLedger(connection);
  const { archive, stores } = await readConfig(`${shop.folder.path}/config.yaml`);
  const nowUtc = String((await connection.row('SELECT UTC_TIMESTAMP(6) AS now'))?.['now']);
  const [planned] = await planArchive(connection, archive, { nowUtc, output });
  const [settings] = stores;
  if (!planned || settings?.kind !== 'mysql') throw new Error('the configuration has no archive');
  const store = resources.use(await openMysqlStore(settings, { primary: connection, signal, warn: () => {} }));
  await store.prepare(planned.set.tables, 'refuse');
  const context: EngineContext = {
    set: planned.set,
    selection: planned.selection(),
    cutoff: planned.cutoff,
    lock,
    store,
    runId: await startRun(connection, { kind: 'archive', trigger: 'cli', version: 'test' }),
    program: 'test',
    shard: null,
    parallelBatches: options.parallelBatches,
    output,
    signal,
    spend: options.spend ?? (() => {}),
  };
  const engine = resources.use(await openOneServerEngine(context, settings.schema));
  return { engine, lock, range: (after: number | null, last: number) => rangeOf(shop.schema, after, last), resources };
}

/** From behind one order to another, as the selection by date has it. */
async function rangeOf(schema: TestSchema, after: number | null, last: number) {
  const point = async (id: number) => {
    const [row] = await schema.query('SELECT CAST(created_at AS CHAR) AS date FROM orders WHERE id = ?', [id]);
    return { date: String(row?.['date']), key: [String(id)] };
  };
  return { after: after === null ? null : await point(after), last: await point(last) };
}

describeEachServer('batches beside each other', (server) => {
  test('archive each row once, whatever their number', async () => {
    for (const parallelBatches of [1, 2, 5]) {
      const shop = await openShop(server, {
        ...{ old: 1200, fresh: 20, items: 2 },
        limits: { batchRows: 50, targetBatchSeconds: 60, parallelBatches },
      });
      const before = {
        orders: await rowsOf(shop.schema, 'orders'),
        order_items: await rowsOf(shop.schema, 'order_items'),
      };
      expect(await shop.folder.archive()).toMatchObject([
        { table: 'orders', matched: 1200, archived: 1200, deleted: 1200 },
        { table: 'order_items', matched: 2400, archived: 2400, deleted: 2400 },
      ]);
      await expectConserved(shop, before);
      const ledger = await batches(shop.schema);
      expect(ledger.every(({ state, row_count }) => state === 'deleted' && row_count === 50)).toBe(true);
      expect(ledger).toHaveLength(24);
    }
  });

  test('rows that came between the others since a range was counted go along with it', async () => {
    const shop = await openShop(server, { old: 40, fresh: 5 });
    const before = { orders: await rowsOf(shop.schema, 'orders') };
    const { engine, range, resources } = await openEngine(shop, { parallelBatches: 1 });
    await using _ = resources;
    // Ten were counted where there are 25 now.
    expect(await engine.archive(await range(null, 25), 10)).toMatchObject([
      { tables: [{ archived: 25, deleted: 25 }] },
    ]);
    await engine.drain();
    expect(await rowsOf(shop.schema, 'orders', 'id <= 25')).toEqual([]);
    expect(await visibleRows(shop, 'orders')).toHaveLength(25);
    await expectConserved(shop, before);
  });

  test('a batch locks no row behind its range, so that the next one need not wait for it', async () => {
    const shop = await openShop(server, { old: 40, fresh: 5 });
    const { engine, range, resources } = await openEngine(shop, { parallelBatches: 1 });
    await using _ = resources;
    await using writer = await connect(settingsOf(shop.schema));
    await writer.run('START TRANSACTION');
    await writer.run("UPDATE orders SET note = 'mine' WHERE id = 11");
    expect(await engine.archive(await range(null, 10), 10)).toMatchObject([
      { tables: [{ archived: 10, deleted: 10 }] },
    ]);
    await writer.run('ROLLBACK');
  });

  test('if one fails the others end first, and what it would have deleted is all there', async () => {
    const shop = await openShop(server, { old: 200, fresh: 5 });
    const before = { orders: await rowsOf(shop.schema, 'orders') };
    let left = 100;
    const spend = (rows: number) => {
      left -= rows;
      if (left < 0) throw new RangeError('the budget is spent');
    };
    const opened = await openEngine(shop, { parallelBatches: 2, spend });
    {
      await using _ = opened.resources;
      const ranges: Awaited<ReturnType<typeof opened.range>>[] = [];
      for (let last = 40; last <= 200; last += 40)
        ranges.push(await opened.range(last === 40 ? null : last - 40, last));
      const work = async () => {
        for (const each of ranges) await opened.engine.archive(each, 40);
        await opened.engine.drain();
      };
      await expect(work()).rejects.toThrow('the budget is spent');
    }
    expect(await visibleRows(shop, 'orders')).toHaveLength(80);
    await expectConserved(shop, before);
    expect(await shop.folder.archive()).toMatchObject([{ archived: 120, deleted: 120 }]);
    await expectConserved(shop, before);
  });

  test('whoever wants the schema waits for a worker that outlives the holder of its lock', async () => {
    const shop = await openShop(server, { old: 400, fresh: 5, limits: { batchRows: 20, targetBatchSeconds: 60 } });
    const before = { orders: await rowsOf(shop.schema, 'orders') };
    await using writer = await connect(settingsOf(shop.schema));
    await writer.run('START TRANSACTION');
    // A row in the third batch: its worker waits for it, and goes on waiting when its program is gone.
    await writer.run("UPDATE orders SET note = 'mine' WHERE id = 50");
    const started = shop.folder.start('archive');
    await waitForStatement(server, shop.schema, /^INSERT INTO .*LIMIT 20 FOR UPDATE/s);
    started.child.kill('SIGKILL');
    await started.ended;
    await using late = await connect(settingsOf(shop.schema));
    const free = async () => (await late.row('SELECT IS_FREE_LOCK(?) AS free', [lockName(late)]))?.['free'];
    await expect.poll(free, { timeout: 8_000, interval: 20 }).toBe('1');
    await expect(acquireLock(late, { onBusy: 'fail', lockWaitSeconds: 1 })).rejects.toMatchObject({
      code: 'LOCK_BUSY',
    });
    await writer.run('ROLLBACK');
    await using lock = await acquireLock(late, { onBusy: 'wait', lockWaitSeconds: 20 });
    await lock?.assertHeld();
    await lock?.[Symbol.asyncDispose]();
    expect((await shop.folder.run('archive')).exit).toBe(0);
    await expectConserved(shop, before);
    expect(await visibleRows(shop, 'orders')).toHaveLength(400);
  });

  test('killed at any moment, the next run ends what they began', async () => {
    const shop = await openShop(server, { old: 1500, fresh: 20, limits: { batchRows: 20, targetBatchSeconds: 60 } });
    const before = { orders: await rowsOf(shop.schema, 'orders') };
    for (const ms of [300, 500, 700, 900]) {
      const started = shop.folder.start('archive');
      const timer = setTimeout(() => started.child.kill('SIGKILL'), ms);
      await started.ended;
      clearTimeout(timer);
      await expectConserved(shop, before);
    }
    expect((await shop.folder.run('archive', ['--on-busy', 'wait'])).exit).toBe(0);
    await expectConserved(shop, before);
    expect(await visibleRows(shop, 'orders')).toHaveLength(1500);
    const open = (await batches(shop.schema)).filter(({ state }) => state !== 'deleted' && state !== 'removed');
    expect(open).toEqual([]);
  });
});
