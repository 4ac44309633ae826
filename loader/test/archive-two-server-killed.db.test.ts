import { setTimeout as delay } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { describeEachServer, type TestSchema } from '../../test/servers.ts';
import { rounds } from '../../test/thoroughness.ts';
import { openShop, rowsOf, type Shop, waitForStatement } from './archive-shop.ts';
import { archiveServer } from './archive-two-server-kit.ts';
import { openFaultProxy } from './archive-two-server-proxy.ts';
import { openCommitCutter } from './commit-cutter.ts';

const words = ['--on-busy', 'wait', '--lock-wait-seconds', '30'];

/** The program itself, as a process, between two servers. */
describeEachServer('the program between two servers', (server) => {
  const other = archiveServer(server);

  /** The shop of the tests on one server, with its archive elsewhere. */
  async function openTwo(options: Parameters<typeof openShop>[1], store: object = {}, address = {}): Promise<Shop> {
    const shop = await openShop(server, options);
    const cold = await other.createSchema();
    shop.folder.write('password', cold.password);
    const { DB_HOST: host = '', DB_PORT: port = '' } = { ...cold.environment, ...address };
    const mysql = {
      host,
      port: Number(port),
      user: cold.user,
      passwordFile: `${shop.folder.path}/password`,
      name: cold.name,
      acceptNotDurable: true,
      ...store,
    };
    const { items = 0, limits = {}, entry = {} } = options ?? {};
    shop.folder.configure({
      stores: { cold: { mysql } },
      archive: [
        {
          table: 'orders',
          dateColumn: 'created_at',
          archiveAfterDays: 30,
          store: 'cold',
          ...(items > 0 ? { children: ['order_items'] } : {}),
          ...entry,
        },
      ],
      limits,
    });
    return { ...shop, archive: cold };
  }

  async function visible({ schema, archive }: Shop, table: string): Promise<readonly string[]> {
    const batches = await schema
      .query("SELECT CAST(id AS CHAR) AS id FROM tableset_batches WHERE state = 'deleted'")
      .catch(() => []);
    if (!(await isThere(archive, table))) return [];
    return await rowsOf(archive, table, `tableset_batch IN (${batches.map((row) => row['id']).join(',') || '0'})`);
  }

  async function isThere(archive: TestSchema, table: string): Promise<boolean> {
    const found = await archive.query(
      'SELECT 1 FROM information_schema.tables WHERE table_schema = DATABASE() AND table_name = ?',
      [table],
    );
    return found.length > 0;
  }

  async function expectOneHome(shop: Shop, before: Readonly<Record<string, readonly string[]>>): Promise<void> {
    for (const [table, rows] of Object.entries(before))
      expect([...(await rowsOf(shop.schema, table)), ...(await visible(shop, table))].toSorted(), table).toEqual(rows);
  }

  /** Two batches of three are done, and the third waits for a row that somebody holds. */
  async function waitForThird({ schema }: Shop): Promise<void> {
    const done = "SELECT COUNT(*) AS n FROM tableset_batches WHERE state = 'deleted'";
    for (let tries = 0; tries < 800; tries++) {
      const [row] = await schema.query(done).catch(() => []);
      if (row?.['n'] === 2) break;
      await delay(25);
    }
    await waitForStatement(server, schema, / FOR UPDATE$/);
  }

  test('fault 9: SIGKILL at any time, again and again, converges to what one clean run gives', async () => {
    const shop = await openTwo({ old: 3000, fresh: 50, items: 1, limits: { batchRows: rounds(100, 50) } });
    const before = {
      orders: await rowsOf(shop.schema, 'orders'),
      order_items: await rowsOf(shop.schema, 'order_items'),
    };
    let killed = 0;
    for (let round = 0; round < rounds(3, 8); round++) {
      const { child, ended } = shop.folder.start('archive', words);
      await waitForStatement(server, shop.schema, /orders/).catch(() => undefined);
      await delay(Math.random() * 250);
      child.kill('SIGKILL');
      if ((await ended).exit === null) killed++;
      await expectOneHome(shop, before);
    }
    expect(killed).toBeGreaterThan(0);
    const run = await shop.folder.run('archive', words);
    expect(run).toMatchObject({ exit: 0, summary: { outcome: 'done' } });
    await expectOneHome(shop, before);
    expect(await rowsOf(shop.schema, 'orders', 'id <= 3000')).toEqual([]);
    // Nothing of the batches that were killed is left there.
    expect(await rowsOf(shop.archive, 'orders')).toHaveLength(3000);
    expect(await shop.archive.query('SELECT COUNT(*) AS n FROM order_items')).toEqual([{ n: 3000 }]);
    expect(
      await shop.schema.query("SELECT COUNT(*) AS n FROM tableset_batches WHERE state NOT IN ('deleted', 'removed')"),
    ).toEqual([{ n: 0 }]);
  });

  test.each(['lose-reply', 'lose-commit', 'linger'] as const)(
    'fault 6: COMMIT sent and not answered (%s): the counts say what has become of it',
    async (cut) => {
      const shop = await openTwo({ old: 90, fresh: 5, limits: { batchRows: 30 } });
      const before = { orders: await rowsOf(shop.schema, 'orders') };
      const cutter = await openCommitCutter(server, cut, 1);
      const run = await shop.folder.run('archive', [], cutter.environment);
      expect(cutter.cut()).toBe(true);
      const archived = cut === 'lose-reply' ? 60 : 30;
      expect(run).toMatchObject({ exit: 1, summary: { tables: [{ table: 'orders', archived, deleted: archived }] } });
      await expectOneHome(shop, before);
      expect(await rowsOf(shop.schema, 'orders')).toHaveLength(95 - archived);
      expect(await shop.folder.archive(words)).toMatchObject([{ archived: 90 - archived }]);
      await expectOneHome(shop, before);
    },
  );

  test('fault 8: SIGTERM while rows are waited for ends with 143 within 10 s, and the next run goes on', async () => {
    const shop = await openTwo({ old: 60, limits: { batchRows: 20 } });
    const before = { orders: await rowsOf(shop.schema, 'orders') };
    const holder = await shop.schema.connect();
    try {
      await holder.beginTransaction();
      await holder.query('SELECT * FROM orders WHERE id = 45 FOR UPDATE');
      const { child, ended } = shop.folder.start();
      await waitForThird(shop);
      const stopped = performance.now();
      child.kill('SIGTERM');
      const run = await ended;
      expect(performance.now() - stopped).toBeLessThan(10_000);
      expect(run).toMatchObject({
        exit: 143,
        summary: { outcome: 'stopped', error: { code: 'STOPPED' }, tables: [{ archived: 40, deleted: 40 }] },
      });
      await expectOneHome(shop, before);
    } finally {
      await holder.rollback();
      await holder.end();
    }
    expect(await shop.folder.archive()).toMatchObject([{ archived: 20 }]);
    await expectOneHome(shop, before);
  });

  test('fault 18: a run whose session on the primary is killed in its delete ends with exit 1, and the next one converges', async () => {
    const shop = await openTwo({ old: 60, limits: { batchRows: 20 } });
    const before = { orders: await rowsOf(shop.schema, 'orders') };
    const holder = await shop.schema.connect();
    await holder.beginTransaction();
    await holder.query('SELECT * FROM orders WHERE id = 45 FOR UPDATE');
    const { ended } = shop.folder.start();
    await waitForThird(shop);
    const [run] = await shop.schema.query('SELECT connection_id AS id FROM tableset_runs WHERE finished_at IS NULL');
    await server.query(`KILL ${String(run?.['id'])}`);
    expect(await ended).toMatchObject({ exit: 1, summary: { error: { code: 'DATABASE_LOST' } } });
    await holder.rollback();
    await holder.end();
    await expectOneHome(shop, before);
    expect(await shop.folder.run('archive', words)).toMatchObject({ exit: 0 });
    await expectOneHome(shop, before);
  });

  test('fault 19: an archive server that may forget what it acknowledged is refused by name, or accepted by name', async () => {
    const [facts] = await other.query(
      'SELECT @@global.innodb_flush_log_at_trx_commit AS flush, @@global.log_bin AS logs, @@global.sync_binlog AS sync',
    );
    const durable = Number(facts?.['flush']) === 1 && (Number(facts?.['logs']) === 0 || Number(facts?.['sync']) === 1);
    // What the server says is made to be what is asked for.
    const proxy = await openFaultProxy(other);
    for (const flush of [0, 1, 2]) {
      const shop = await openTwo({ old: 10 }, { acceptNotDurable: false }, proxy.environment);
      proxy.rewrite('@@global.innodb_flush_log_at_trx_commit', String(flush));
      proxy.rewrite('@@global.sync_binlog', '1');
      if (flush === 1) expect(await shop.folder.archive()).toMatchObject([{ archived: 10 }]);
      else {
        const run = await shop.folder.refuse(3, 'ARCHIVE_STORE_UNSUITABLE');
        expect(run.summary.error?.message).toContain(`innodb_flush_log_at_trx_commit is ${flush}`);
        expect(await isThere(shop.archive, 'orders')).toBe(false);
      }
    }
    if (durable) return;
    const shop = await openTwo({ old: 10 }, { acceptNotDurable: false });
    await shop.folder.refuse(3, 'ARCHIVE_STORE_UNSUITABLE');
    expect(await rowsOf(shop.schema, 'orders')).toHaveLength(30);
  });

  test('fault 13: an archive server that is read-only is refused before anything is copied', async () => {
    const proxy = await openFaultProxy(other);
    proxy.rewrite('@@global.read_only', '1');
    const shop = await openTwo({ old: 10 }, {}, proxy.environment);
    const run = await shop.folder.refuse(3, 'ARCHIVE_STORE_UNSUITABLE');
    expect(run.summary.error?.message).toContain('read-only');
    expect(await isThere(shop.archive, 'orders')).toBe(false);
  });

  test('fault 49: of two runs at a time one works, and the other ends with 75 and says who does', async () => {
    const shop = await openTwo({ old: 40 });
    const holder = await shop.schema.connect();
    await holder.beginTransaction();
    await holder.query('SELECT * FROM orders WHERE id = 30 FOR UPDATE');
    const { ended } = shop.folder.start();
    await waitForStatement(server, shop.schema, /FOR UPDATE$/);
    const second = await shop.folder.refuse(75, 'LOCK_BUSY');
    expect(second.summary.error?.message).toMatch(/archive run \d+ on/);
    await holder.rollback();
    await holder.end();
    expect(await ended).toMatchObject({ exit: 0, summary: { tables: [{ archived: 40 }] } });
  });
});
