import { explainDatabaseError } from '@tableset/common/database/explain.ts';
import type { LockSettings } from '@tableset/common/settings/database.ts';
import { expect, onTestFinished, test } from 'vitest';
import { describeEachServer } from '../../test/servers.ts';
import { rounds } from '../../test/thoroughness.ts';
import { runArchive } from '../src/archive/run-archive.ts';
import { validateConfig } from '../src/config/read.ts';
import {
  batches,
  expectConserved,
  insertOrders,
  longAgo,
  openShop,
  rowsOf,
  type Shop,
  waitForStatement,
} from './archive-shop.ts';
import { recordingOutput, settingsOf } from './archive-two-server-kit.ts';
import { type FaultProxy, openFaultProxy } from './archive-two-server-proxy.ts';
import { hurryClock } from './hurried-clock.ts';

/** Every which packet of a run is cut. */
const stride = rounds(31, 7);

/** Statements of a batch, one for each step that waits for an answer. */
const steps = {
  'the ledger': /^UPDATE tableset_batches SET state/,
  'the copy': /^INSERT INTO .*`orders`.* SELECT /s,
  'the copy of the children': /^INSERT INTO .*`order_items`.* SELECT /s,
  'the delete': /^DELETE .*`orders`/,
  'the manifest': /^INSERT INTO .*tableset_manifests/,
  'the commit': /^COMMIT$/,
};

const lock: LockSettings = { onBusy: 'wait', lockWaitSeconds: 20 };

/** One run in this process; its output, and the error that ended it or null. */
async function attempt(shop: Shop, proxy?: FaultProxy) {
  const output = recordingOutput();
  const config = await validateConfig(await shop.folder.read('config.yaml'), `${shop.folder.path}/config.yaml`);
  const environment = { ...shop.schema.environment, ...proxy?.environment };
  const { signal } = new AbortController();
  const database = settingsOf({ environment });
  const request = { config, tasks: config.archive, database, lock, dryRun: false, shards: null, trigger: 'cli' };
  try {
    const { tables } = await runArchive({ ...request, version: '0.0.0', output, signal });
    return { tables, error: null, events: output.events };
  } catch (error) {
    // As the program tells it.
    return { tables: [], error: explainDatabaseError(error) ?? error, events: output.events };
  }
}

describeEachServer('faults of the network and of the server while archiving to the same server', (server) => {
  const open = async (options: Parameters<typeof openShop>[1] = {}) => {
    const shop = await openShop(server, { old: 25, fresh: 2, items: 1, limits: { batchRows: 10 }, ...options });
    const before = {
      orders: await rowsOf(shop.schema, 'orders'),
      order_items: await rowsOf(shop.schema, 'order_items'),
    };
    return { ...shop, before };
  };
  type Made = Shop & { readonly before: Readonly<Record<string, readonly string[]>> };

  /** Nothing is lost, doubled or altered, and one run without faults brings it to its end. */
  async function expectConvergence(made: Made, what: string): Promise<void> {
    await expectConserved(made, made.before);
    expect((await attempt(made)).error, what).toBeNull();
    await expectConserved(made, made.before);
    expect(await made.schema.query('SELECT COUNT(*) AS n FROM orders'), what).toEqual([{ n: 2 }]);
    const visible = "(SELECT id FROM tableset_batches WHERE state = 'deleted')";
    for (const table of ['orders', 'order_items', 'tableset_manifests']) {
      const batch = table === 'tableset_manifests' ? 'batch' : 'tableset_batch';
      const stray = `SELECT COUNT(*) AS n FROM ${made.archive.name}.${table} WHERE ${batch} NOT IN ${visible}`;
      expect(await made.schema.query(stray), `${what}, ${table}`).toEqual([{ n: 0 }]);
    }
    expect((await batches(made.schema)).filter(({ state }) => state !== 'deleted' && state !== 'removed')).toEqual([]);
    await made.schema.drop();
    await made.archive.drop();
  }

  const archivedOrders = ({ archive }: Made) =>
    `SELECT COUNT(*) AS n FROM ${archive.name}.orders WHERE tableset_batch IN (SELECT id FROM tableset_batches WHERE state = 'deleted')`;

  test('a run that nothing strikes goes through unharmed', async () => {
    const made = await open();
    const proxy = await openFaultProxy(server);
    expect(await attempt(made, proxy)).toMatchObject({ error: null, tables: [{ archived: 25 }, { archived: 25 }] });
    expect(proxy.struck).toBe(0);
    expect(proxy.packets).toBeGreaterThan(30);
    await expectConvergence(made, 'unharmed');
  });

  const breaks = ['lost', 'half', 'unanswered'] as const;
  test.each(Object.entries(steps))('faults 2, 5 to 7 and 17: the server breaks off at %s', async (what, statement) => {
    const one = breaks.filter((_, index) => what === 'the commit' || index === Object.keys(steps).indexOf(what) % 3);
    for (const fault of rounds(one, [...breaks])) {
      const made = await open();
      const proxy = await openFaultProxy(server);
      proxy.strike(statement, fault);
      const { error } = await attempt(made, proxy);
      expect(proxy.struck, `${what} ${fault}`).toBe(1);
      const { n: archived } = (await made.schema.query(archivedOrders(made)))[0] ?? {};
      // What the summary says of a run that failed is what it archived before.
      expect(error, `${what} ${fault}`).toMatchObject({
        code: 'DATABASE_LOST',
        exit: 1,
        details: { summary: { tables: [{ table: 'orders', archived, deleted: archived }, {}] } },
      });
      await expectConvergence(made, `${what} ${fault}`);
    }
  });

  test('faults 1 to 7 and 17: any packet on its way is cut, and one rerun', async () => {
    const clean = await open();
    const counted = await openFaultProxy(server);
    expect((await attempt(clean, counted)).error).toBeNull();
    let cases = 0;
    for (const fault of breaks) {
      for (let k = 1 + (cases % stride); k <= counted.packets; k += stride) {
        const made = await open();
        const proxy = await openFaultProxy(server);
        proxy.strikePacket(k, fault);
        const { error } = await attempt(made, proxy);
        // The last packets are farewells, which nobody misses.
        expect(error === null || (error as { exit?: number }).exit === 1, `${fault} ${k}: ${String(error)}`).toBe(true);
        await expectConvergence(made, `${fault} ${k}`);
        cases++;
      }
    }
    expect(cases).toBeGreaterThan(5);
  }, 1_800_000);

  test('fault 17: a server that goes silent is given up after a deadline', { timeout: 180_000 }, async () => {
    const cases = await Promise.all(
      (['the copy', 'the delete', 'the commit'] as const).map(async (what) => {
        const proxy = await openFaultProxy(server);
        proxy.strike(steps[what], 'stalled');
        return { what, made: await open(), proxy };
      }),
    );
    {
      // Half a minute of silence.
      using _ = hurryClock(30_000, 30_000);
      await Promise.all(
        cases.map(async ({ what, made, proxy }) => {
          // By the clock that goes on as ever.
          const started = Date.now();
          expect((await attempt(made, proxy)).error, what).toMatchObject({ exit: 1 });
          expect(proxy.struck, what).toBe(1);
          expect(Date.now() - started).toBeLessThan(60_000);
        }),
      );
    }
    for (const { what, made } of cases) await expectConvergence(made, what);
  });

  test.each([
    [1205, 'lock wait timeout', true],
    [1213, 'deadlock', true],
    [1020, 'snapshot isolation', true],
    [1317, 'query interrupted', true],
    [3024, 'statement timeout', true],
    [1969, 'statement timeout of MariaDB', true],
    [1047, 'Galera is not ready', true],
    [1927, 'connection killed', false],
    [4031, 'idle for too long', false],
    [1290, 'read-only option', false],
    [1792, 'read-only transaction', false],
    [1836, 'read-only mode', false],
    [1114, 'table full', false],
    [1021, 'disk full', false],
    [3, 'EIO or ENOSPC while writing', false],
  ])(
    'faults 11 to 13, 16 and 20: error %i (%s) in a batch is answered by a replay of all of it, or ends the run',
    async (errno, _, retried) => {
      const both = ['the copy', 'the delete'] as const;
      for (const what of both.filter((_, index) => rounds(errno % 2 === index, true))) {
        const made = await open();
        const proxy = await openFaultProxy(server);
        proxy.strike(steps[what], errno);
        const { error, tables } = await attempt(made, proxy);
        expect(proxy.struck, what).toBe(1);
        if (retried) expect({ error, tables }).toMatchObject({ error: null, tables: [{ archived: 25 }, {}] });
        else {
          expect(error, what).toMatchObject({ exit: 1 });
          expect(await rowsOf(made.schema, 'orders')).toEqual(made.before.orders);
        }
        await expectConvergence(made, `${errno} at ${what}`);
      }
    },
  );

  test.each([
    [1213, 'deadlock', 8],
    [1205, 'lock wait timeout', 3],
    [1317, 'query interrupted', 2],
  ])('faults 11, 12 and 16: error %i (%s) again and again ends the run after %i times', async (errno, _, times) => {
    const made = await open();
    const proxy = await openFaultProxy(server);
    proxy.strike(steps['the delete'], errno, { times: 1000 });
    {
      // The pauses between the attempts grow to some seconds.
      using _ = hurryClock(150, 7000);
      expect((await attempt(made, proxy)).error).toMatchObject({ code: 'DATABASE_BUSY', exit: 1 });
    }
    expect(proxy.struck).toBe(times);
    await expectConvergence(made, String(errno));
  });

  test.each([1213, 1047])('fault 6: error %i instead of the reply to COMMIT is no success', async (errno) => {
    const made = await open();
    const proxy = await openFaultProxy(server);
    proxy.strike(steps['the commit'], errno);
    const { error, tables } = await attempt(made, proxy);
    expect(proxy.struck).toBe(1);
    expect({ error, tables }).toMatchObject({ error: null, tables: [{ archived: 25, deleted: 25 }, {}] });
    await expectConvergence(made, String(errno));
  });

  test('fault 14: a server without room for another connection is waited for within the deadline', async () => {
    const made = await open();
    const proxy = await openFaultProxy(server);
    proxy.refuse(2);
    expect((await attempt(made, proxy)).error).toBeNull();
    await expectConvergence(made, 'room again');
    const again = await open();
    proxy.refuse(1000);
    expect((await attempt(again, proxy)).error).toMatchObject({ code: 'DATABASE_UNREACHABLE', exit: 1 });
    await expectConvergence(again, 'no room');
  });

  test.each([
    [1197, 'the transaction is larger than the cache of the binary log'],
    [1206, 'the table of locks is full'],
    [3100, 'group replication takes no transaction of this size'],
  ])('fault 15: error %i (%s): the batch is split until it fits', async (errno) => {
    const made = await open({ old: 40, limits: { batchRows: 40 } });
    const proxy = await openFaultProxy(server);
    // Of 40 rows, then of the first 20; those of 10 get through.
    proxy.strike(steps['the delete'], errno, { times: 2 });
    const { error, tables, events } = await attempt(made, proxy);
    expect({ error, tables }).toMatchObject({ error: null, tables: [{ archived: 40, deleted: 40 }, { archived: 40 }] });
    expect(events.filter((event) => event.includes('is split'))).toHaveLength(2);
    expect((await batches(made.schema)).map(({ row_count }) => row_count)).toEqual([10, 10, 20]);
    await expectConvergence(made, String(errno));
  });

  test('fault 15: no packet is larger than the server takes, whatever the number of rows', async () => {
    const made = await open({ old: 1200, limits: { batchRows: 1200 } });
    const proxy = await openFaultProxy(server);
    proxy.limitPackets(24 * 1024);
    expect(await attempt(made, proxy)).toMatchObject({ error: null, tables: [{ archived: 1200 }, { archived: 1200 }] });
    const [batch] = await batches(made.schema);
    const { tables } = JSON.parse(String(batch?.['manifest'])) as { tables: { sha256: string }[] };
    expect(tables.map(({ sha256 }) => sha256)).toEqual([expect.stringMatching(/^[0-9a-f]{64}$/), expect.any(String)]);
    expect((await made.folder.run('verify')).exit).toBe(0);
    await expectConvergence(made, 'small packets');
  });

  test('fault 15: a row that is too large by itself is refused by its key, and stays', async () => {
    const made = await open({ old: 8, limits: { batchRows: 8 } });
    const proxy = await openFaultProxy(server);
    proxy.strike(steps['the delete'], 1197, { times: 4 });
    const { error } = await attempt(made, proxy);
    expect(error).toMatchObject({
      code: 'ARCHIVE_VALUE_REFUSED',
      exit: 3,
      message: expect.stringContaining('the row with key ["1"]'),
    });
    expect(await rowsOf(made.schema, 'orders')).toEqual(made.before.orders);
    await expectConvergence(made, 'one row');
  });

  test('fault 13: a server that is read-only from the start is refused before anything is copied', async () => {
    const made = await open();
    const proxy = await openFaultProxy(server);
    proxy.strike(/^(INSERT|UPDATE|CREATE|DELETE)/, 1290, { times: 1000 });
    expect((await attempt(made, proxy)).error).toMatchObject({ code: 'DATABASE_READ_ONLY', exit: 1 });
    await expectConvergence(made, 'read-only');
  });

  test('fault 24: an account whose password changes in the middle of a run stops it, and no row is in two homes or none', async () => {
    const empty = await open({ old: 0 });
    // Makes the ledger, which the next run is stopped in.
    await attempt(empty);
    const { user, password } = empty.schema;
    const change = (to: string) => server.query(`ALTER USER ${user}@'%' IDENTIFIED BY '${to}'`);
    await empty.schema.query("INSERT IGNORE INTO tableset_tables (table_name) VALUES ('orders')");
    await insertOrders(empty.schema, 1001, 1025, longAgo);
    const made = { ...empty, before: { orders: await rowsOf(empty.schema, 'orders') } };
    const holder = await empty.schema.connect();
    onTestFinished(() => holder.destroy());
    await holder.beginTransaction();
    await holder.query("SELECT * FROM tableset_tables WHERE table_name = 'orders' FOR UPDATE");
    const proxy = await openFaultProxy(server);
    // A connection that is lost has to log in again to learn what became of its commit.
    proxy.strike(steps['the commit'], 'unanswered');
    const running = attempt(made, proxy);
    await waitForStatement(server, made.schema, /^INSERT INTO tableset_tables/);
    await change('expired');
    await holder.rollback();
    const { error } = await running;
    await change(password);
    await holder.end();
    expect(error).toMatchObject({ code: 'DATABASE_ACCESS_DENIED' });
    expect(String(error)).not.toContain(password);
    await expectConvergence(made, 'expired');
  });

  test('faults 3 and 4: what a run left that copied to the same store in two steps is taken away and archived anew', async () => {
    for (const state of ['copying', 'copied', 'verified', 'abandoned']) {
      const made = await open({ limits: { batchRows: 100 } });
      expect((await attempt(made)).error).toBeNull();
      await insertOrders(made.schema, 501, 505, longAgo);
      const before = {
        ...made.before,
        orders: [...made.before.orders, ...(await rowsOf(made.schema, 'orders', 'id > 500'))].toSorted(),
      };
      // As the other engine leaves it, with its rows in the archive.
      await made.schema.script(
        `INSERT INTO tableset_batches (id, run_id, table_name, store, state, token, cutoff, created_at, changed_at)
           SELECT 77, 1, 'orders', 'cold', '${state}', 1, cutoff, created_at, changed_at FROM tableset_batches LIMIT 1;
         INSERT INTO ${made.archive.name}.orders SELECT o.*, 77 FROM orders o WHERE id > 500`,
      );
      expect((await attempt(made)).error).toBeNull();
      await expectConserved(made, before);
      expect(await made.archive.query('SELECT COUNT(*) AS n FROM orders WHERE tableset_batch = 77')).toEqual([
        { n: 0 },
      ]);
      expect(await made.schema.query('SELECT state FROM tableset_batches WHERE id = 77')).toEqual([
        { state: 'removed' },
      ]);
      expect(await made.schema.query('SELECT COUNT(*) AS n FROM orders')).toEqual([{ n: 2 }]);
    }
  });
});
