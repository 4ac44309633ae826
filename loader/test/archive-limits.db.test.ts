import type { ChildProcess } from 'node:child_process';
import { setTimeout as delay } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { describeEachServer, type TestSchema } from '../../test/servers.ts';
import { batches, expectConserved, insertOrders, longAgo, openShop, rowsOf } from './archive-shop.ts';
import { startFakeReplica } from './fake-replica.ts';

/** `HH:MM` in UTC so many hours from now. */
function clock(hours: number): string {
  return new Date(Date.now() + hours * 3_600_000).toISOString().slice(11, 16);
}

async function left(schema: TestSchema): Promise<unknown> {
  return (await schema.query('SELECT COUNT(*) AS count FROM orders'))[0]?.['count'];
}

/** Waits until the program has said this. */
async function said(child: ChildProcess, words: string): Promise<void> {
  let told = '';
  child.stderr?.on('data', (text: string) => {
    told += text;
  });
  for (let tries = 0; tries < 1200 && !told.includes(words); tries++) await delay(25);
  expect(told).toContain(words);
}

describeEachServer('limits of archiving', (server) => {
  test('a run whose root rows alone exceed the budget is refused before anything is copied', async () => {
    const shop = await openShop(server, { old: 100, fresh: 0, limits: { maxDeletes: { rows: 99 } } });
    const run = await shop.folder.refuse(3, 'ARCHIVE_TOO_MANY_DELETES');
    expect(run.summary.error).toMatchObject({ rows: 100, allowed: 99 });
    expect(await left(shop.schema)).toBe(100);
    expect(await batches(shop.schema)).toEqual([]);
    const dry = await shop.folder.run('archive', ['--dry-run']);
    expect(dry).toMatchObject({ exit: 3, summary: { outcome: 'refused' } });
    expect(JSON.stringify(dry.summary['plan'])).toContain('ARCHIVE_TOO_MANY_DELETES');
  });

  test('children count too: the batch that would exceed the budget is rolled back, those before it stay', async () => {
    const shop = await openShop(server, {
      old: 100,
      items: 2,
      limits: { batchRows: 30, targetBatchSeconds: 60, parallelBatches: 1, maxDeletes: { rows: 200 } },
    });
    const before = {
      orders: await rowsOf(shop.schema, 'orders'),
      order_items: await rowsOf(shop.schema, 'order_items'),
    };
    const run = await shop.folder.refuse(3, 'ARCHIVE_TOO_MANY_DELETES');
    expect(run.summary.tables).toMatchObject([
      { table: 'orders', archived: 60, deleted: 60 },
      { table: 'order_items', archived: 120, deleted: 120 },
    ]);
    await expectConserved(shop, before);
  });

  test('of lanes beside each other none spends what another has spent, and the summary has what each archived', async () => {
    const shop = await openShop(server, {
      old: 200,
      items: 2,
      limits: { batchRows: 10, parallelBatches: 3, maxDeletes: { rows: 500 } },
    });
    const before = {
      orders: await rowsOf(shop.schema, 'orders'),
      order_items: await rowsOf(shop.schema, 'order_items'),
    };
    const run = await shop.folder.refuse(3, 'ARCHIVE_TOO_MANY_DELETES');
    const archived = (await batches(shop.schema))
      .filter(({ state }) => state === 'deleted')
      .reduce((sum, { row_count }) => sum + Number(row_count), 0);
    expect(archived * 3).toBeLessThanOrEqual(500);
    expect(archived).toBeGreaterThan(10);
    expect(run.summary.tables).toMatchObject([
      { table: 'orders', archived, deleted: archived },
      { table: 'order_items', archived: archived * 2, deleted: archived * 2 },
    ]);
    await expectConserved(shop, before);
  });

  test('a budget in percent goes by the rows of all tables of the run', async () => {
    const shop = await openShop(server, { old: 50, fresh: 50, limits: { maxDeletes: { percent: 49 } } });
    await shop.folder.refuse(3, 'ARCHIVE_TOO_MANY_DELETES');
    await insertOrders(shop.schema, 1001, 1010, 'UTC_TIMESTAMP(6)');
    expect(await shop.folder.archive()).toMatchObject([{ archived: 50 }]);
  });

  test('outside its window a run with work ends with exit 1, and one without work with 0', async () => {
    const limits = { window: `${clock(2)}-${clock(3)} UTC` };
    const shop = await openShop(server, { old: 10, limits });
    const run = await shop.folder.refuse(1, 'ARCHIVE_UNFINISHED');
    expect(run.summary.error?.message).toContain('window');
    expect(await left(shop.schema)).toBe(30);
    await shop.schema.query('DELETE FROM orders WHERE id <= 10');
    expect(await shop.folder.archive()).toMatchObject([{ matched: 0 }]);
    expect(await shop.schema.query('SELECT outcome FROM tableset_runs ORDER BY id')).toEqual([
      { outcome: 'unfinished' },
      { outcome: 'done' },
    ]);
  });

  test('maxRuntime ends a run after a batch; the next one goes on where it stopped', async () => {
    const shop = await openShop(server, { old: 3000, fresh: 0, limits: { batchRows: 2, maxRuntime: '1s' } });
    const before = { orders: await rowsOf(shop.schema, 'orders') };
    const run = await shop.folder.refuse(1, 'ARCHIVE_UNFINISHED');
    const archived = run.summary.tables?.[0]?.archived ?? 0;
    expect(archived).toBeGreaterThan(0);
    expect(archived).toBeLessThan(3000);
    await expectConserved(shop, before);
    expect((await batches(shop.schema)).every(({ state }) => state === 'deleted')).toBe(true);
    const { limits: _, ...rest } = JSON.parse(await shop.folder.read('config.yaml'));
    shop.folder.configure(rest);
    expect(await shop.folder.archive()).toMatchObject([{ archived: 3000 - archived }]);
  });

  test('a busy server is waited for, and told of once', async () => {
    const shop = await openShop(server, { old: 40, limits: { batchRows: 10, maxThreadsRunning: 25 } });
    const sleepers = await Promise.all(Array.from({ length: 28 }, () => shop.schema.connect()));
    // Ended by the test; a server may call that an error.
    const slept = sleepers.map((each) => each.query('SELECT SLEEP(50)').catch(() => undefined));
    const { child, ended } = shop.folder.start();
    await said(child, '"msg":"paused"');
    expect(await left(shop.schema)).toBe(60);
    await delay(1500);
    expect(await left(shop.schema)).toBe(60);
    for (const each of sleepers) await server.query(`KILL QUERY ${each.threadId}`);
    await Promise.all(slept);
    const run = await ended;
    await Promise.all(sleepers.map((each) => each.end()));
    expect(run).toMatchObject({ exit: 0, summary: { tables: [{ archived: 40 }] } });
    expect(run.stderr.match(/"msg":"paused"/g)).toHaveLength(1);
    expect(run.stderr).toContain('"reason":"the server is busy"');
  });

  test('a replica that lags is waited for, one that stands still or does not answer too, each told of once', async () => {
    const lags = ['100', '100', null, null, '4', '5', '5'];
    const replica = await startFakeReplica(() => (lags.length > 1 ? (lags.shift() ?? null) : '5'));
    const shop = await openShop(server, {
      old: 40,
      limits: { batchRows: 10, maxReplicaLagSeconds: 5, replicas: [replica] },
    });
    const run = await shop.folder.run();
    expect(run).toMatchObject({ exit: 0, summary: { tables: [{ archived: 40 }] } });
    const paused = run.stderr.split('\n').filter((line) => line.includes('"msg":"paused"'));
    expect(paused, run.stderr).toHaveLength(2);
    expect(paused[0]).toContain('"lagSeconds":100');
    expect(paused[1]).toContain('"reason":"replication is stopped"');
  });

  test('SIGTERM while it waits for a replica that is not there: exit 143 at once', async () => {
    const shop = await openShop(server, {
      old: 5,
      limits: { maxReplicaLagSeconds: 5, replicas: [{ host: '127.0.0.1', port: 1 }] },
    });
    const { child, ended } = shop.folder.start();
    await said(child, 'a replica does not answer');
    const stopped = performance.now();
    child.kill('SIGTERM');
    expect(await ended).toMatchObject({ exit: 143, summary: { outcome: 'stopped' } });
    expect(performance.now() - stopped).toBeLessThan(3000);
    expect(await left(shop.schema)).toBe(25);
  });

  test('a server under replicas that replicates nothing is refused as a setting', async () => {
    const { host, port } = server.address;
    const shop = await openShop(server, { old: 5, limits: { maxReplicaLagSeconds: 5, replicas: [{ host, port }] } });
    await server.query(
      `GRANT ${server.flavour === 'mysql' ? 'REPLICATION CLIENT' : 'BINLOG MONITOR, REPLICA MONITOR'} ON *.* TO ${shop.schema.user}@'%'`,
    );
    const run = await shop.folder.refuse(2, 'SETTING_INVALID');
    expect(run.summary.error?.message).toContain(`${host}:${port}`);
  });

  test('a pause after each batch lets the run take so many times as long, and nothing is under way meanwhile', async () => {
    const limits = { batchRows: 20, parallelBatches: 4 };
    const seconds = async (niceRatio: number) => {
      const shop = await openShop(server, { old: 120, limits: { ...limits, niceRatio } });
      const started = performance.now();
      expect(await shop.folder.archive()).toMatchObject([{ archived: 120 }]);
      const [row] = await shop.schema.query(
        'SELECT TIMESTAMPDIFF(MICROSECOND, MIN(changed_at), MAX(changed_at)) / 1e6 AS seconds FROM tableset_batches',
      );
      return { whole: (performance.now() - started) / 1000, batches: Number(row?.['seconds']) };
    };
    const full = await seconds(0);
    const nice = await seconds(9);
    // One at a time, and a tenth of the time: more than three times as long, whatever else the machine does.
    expect(nice.batches).toBeGreaterThan(full.batches * 3);
    expect(nice.whole).toBeLessThan(60);
  });

  test('batches shrink until they take their target time', async () => {
    const shop = await openShop(server, {
      old: 1500,
      limits: { batchRows: 500, targetBatchSeconds: 0.01 },
    });
    await shop.folder.archive();
    const sizes = (await batches(shop.schema)).map(({ row_count }) => Number(row_count));
    expect(sizes[0]).toBe(500);
    expect(Math.min(...sizes.slice(1, -1))).toBeLessThan(500);
    await insertOrders(shop.schema, 5001, 5003, longAgo);
    expect(await shop.folder.archive()).toMatchObject([{ archived: 3 }]);
  });
});

describeEachServer('what children leave out', (server) => {
  const events = async (leftOut: string) => {
    const shop = await openShop(server, {
      old: 4,
      fresh: 1,
      entry: {
        children: [
          {
            table: 'order_events',
            when: { column: 'total', atMost: 0.5 },
            resolutionSeconds: 60,
            dateColumn: 'at',
            leftOut,
          },
        ],
      },
    });
    await shop.schema.script(`CREATE TABLE order_events (id INT PRIMARY KEY, order_id BIGINT UNSIGNED NOT NULL, at DATETIME NULL, FOREIGN KEY (order_id) REFERENCES orders (id));
      INSERT INTO order_events VALUES (1, 1, '2020-01-01 00:00:01'), (2, 1, '2020-01-01 00:00:59'), (3, 1, '2020-01-01 00:01:00'), (4, 1, NULL), (5, 1, NULL),
        (6, 2, '2020-01-01 00:00:01'), (7, 4, '2020-01-01 00:00:01'), (8, 5, '2020-01-01 00:00:01')`);
    return shop;
  };

  test('is deleted without a copy and counted, by explicit choice', async () => {
    const shop = await events('drop');
    // Orders have a total of a seventh of their key.
    expect(await shop.folder.archive()).toEqual([
      { table: 'orders', matched: 4, archived: 4, verified: 4, deleted: 4, skipped: {} },
      { table: 'order_events', matched: 7, archived: 5, verified: 5, deleted: 5, skipped: { dropped: 2 } },
    ]);
    expect(await shop.archive.query('SELECT id FROM order_events ORDER BY id')).toEqual(
      [1, 3, 4, 5, 6].map((id) => ({ id })),
    );
    expect(await shop.schema.query('SELECT id FROM order_events')).toEqual([{ id: 8 }]);
    const [batch] = await batches(shop.schema);
    expect(JSON.parse(String(batch?.['manifest'])).tables[1]).toMatchObject({
      table: 'order_events',
      rows: 5,
      dropped: 2,
    });
  });

  test('stays with its parents otherwise', async () => {
    const shop = await events('keep');
    expect(await shop.folder.archive()).toEqual([
      { table: 'orders', matched: 4, archived: 2, verified: 2, deleted: 2, skipped: { kept: 2 } },
      { table: 'order_events', matched: 1, archived: 1, verified: 1, deleted: 1, skipped: {} },
    ]);
    expect(await shop.schema.query('SELECT id FROM orders ORDER BY id')).toEqual([{ id: 1 }, { id: 4 }, { id: 5 }]);
  });

  test('a held row stays and is counted', async () => {
    const shop = await openShop(server, { old: 10, items: 1 });
    await shop.schema.query('DELETE FROM order_items WHERE order_id > 10');
    await shop.folder.run('archive', ['--table', 'orders', '--dry-run']);
    await shop.folder.refuse(2, 'SETTING_INVALID', 'archive', ['--table', 'nothing']);
    await insertOrders(shop.schema, 500, 500, 'UTC_TIMESTAMP(6)');
    // The first run makes the ledger.
    const limited = {
      ...JSON.parse(await shop.folder.read('config.yaml')),
      limits: { window: `${clock(2)}-${clock(3)} UTC` },
    };
    const whole = JSON.parse(await shop.folder.read('config.yaml'));
    shop.folder.configure(limited);
    await shop.folder.refuse(1, 'ARCHIVE_UNFINISHED');
    shop.folder.configure(whole);
    await shop.schema.query(
      "INSERT INTO tableset_holds (table_name, key_hash, key_text, reason, created_at) VALUES ('orders', UNHEX(SHA2('[\"3\"]', 256)), '[\"3\"]', 'lawsuit', UTC_TIMESTAMP(6))",
    );
    expect(await shop.folder.archive()).toMatchObject([
      { table: 'orders', matched: 10, archived: 9, skipped: { held: 1 } },
      { table: 'order_items', archived: 9 },
    ]);
    expect(await shop.schema.query('SELECT id FROM orders WHERE id <= 10')).toEqual([{ id: 3 }]);
  });
});
