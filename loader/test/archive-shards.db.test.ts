import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { connect } from '@tableset/common/database/connect.ts';
import { acquireLock, lockName } from '@tableset/common/database/lock.ts';
import { describe, expect, onTestFinished, test } from 'vitest';
import { describeEachServer } from '../../test/servers.ts';
import { livingWorkers, type ShardLease, takeLease } from '../src/archive/shard-lease.ts';
import { assertClaimed, claimShard, finishShard, readProgress, writePlan } from '../src/archive/shard-ledger.ts';
import {
  addOrders,
  archivedBy,
  engines,
  openBatches,
  openShardShop,
  rowsOfShop,
  runWorkers,
  shardRows,
  startWorkers,
  waiting,
} from './archive-shards-kit.ts';
import { expectConserved, rowsOf, type Shop, visibleRows, waitForStatement } from './archive-shop.ts';
import { settingsOf } from './archive-two-server-kit.ts';
import { ArchiveFolder } from './run-archive.ts';

const copying = /^INSERT INTO .*`orders`.* FOR UPDATE$/s;

/** The statements of docs/operations.md under a heading, for schemas `shop` and `shop_archive` and the account `archiver`. */
function documentedGrants(heading: string): readonly string[] {
  const text = readFileSync(join(import.meta.dirname, '../../docs/operations.md'), 'utf8');
  const section = text.slice(text.indexOf('## Grants: archive'));
  const block = section.slice(section.indexOf(`### ${heading}\n`)).match(/```sql\n(.*?)```/s)?.[1] ?? '';
  return block.split('\n').filter((line) => line.startsWith('GRANT'));
}

/** Keeps a worker in the middle of a batch: the row of an order is locked until it is let go. */
async function blockOrder(shop: Shop, id: number): Promise<() => Promise<void>> {
  const session = await shop.schema.connect();
  // What it has locked must not stay locked when a test fails.
  onTestFinished(() => session.destroy());
  await session.beginTransaction();
  await session.query('SELECT * FROM orders WHERE id = ? FOR UPDATE', [id]);
  return async () => {
    await session.rollback();
    await session.end();
  };
}

/** Connections of living workers that have claimed a shard and deleted so many batches. */
async function claimers(shop: Shop, least = 0): Promise<readonly string[]> {
  const rows = await shop.schema
    .query(
      "SELECT CAST(connection_id AS CHAR) AS id FROM tableset_shards WHERE state = 'claimed' AND batches >= ? AND connection_id IN (SELECT ID FROM information_schema.PROCESSLIST)",
      [least],
    )
    .catch(() => []);
  return rows.map((row) => String(row['id']));
}

/** Waits until there is one of them. */
async function claimedBy(shop: Shop, least = 1): Promise<string> {
  for (let tries = 0; tries < 800; tries++) {
    const [id] = await claimers(shop, least);
    if (id !== undefined) return id;
    await delay(25);
  }
  throw new Error('no shard was claimed');
}

/** Everything old is in the archive, once, and no batch is left on its way. */
async function expectDone(shop: Shop, before: Awaited<ReturnType<typeof rowsOfShop>>): Promise<void> {
  await expectConserved(shop, before);
  expect(await rowsOf(shop.schema, 'orders', 'id <= 900000')).toEqual([]);
  expect(await openBatches(shop)).toEqual([]);
  for (const table of ['orders', 'order_items'])
    expect(await rowsOf(shop.archive, table)).toEqual(await visibleRows(shop, table));
}

describeEachServer('workers on shards of a table', (server) => {
  for (const { engine, entry } of engines) {
    test(`four of them archive 20,000 rows, each once, and their counts add up (${engine})`, async () => {
      const shop = await openShardShop(server, { old: 20_000, entry, limits: { batchRows: 500 } });
      const before = await rowsOfShop(shop);
      const runs = await runWorkers(shop, 4);
      expect(archivedBy(runs)).toBe(20_000);
      expect(archivedBy(runs, 'order_items')).toBe(20_000);
      await expectDone(shop, before);
      const shards = await shardRows(shop);
      expect(shards).toHaveLength(4);
      // Each has a fourth of the rows, and more than one worker had a part in it.
      for (const shard of shards) {
        expect(shard).toMatchObject({ state: 'done', token: 1 });
        expect(Number(shard['batches'])).toBeGreaterThanOrEqual(10);
      }
      expect(runs.filter((run) => archivedBy([run]) > 0).length).toBeGreaterThan(1);
      const ledger = await shop.schema.query('SELECT kind, outcome FROM tableset_runs');
      expect(ledger).toEqual(runs.map(() => ({ kind: 'archive', outcome: 'done' })));
      // The next run plans anew, and has nothing to do.
      expect(archivedBy(await runWorkers(shop, 2))).toBe(0);
      await expectDone(shop, before);
    }, 120_000);
  }

  test('workers killed at any time, they or their connections, twenty rounds of it, lose and double nothing, and a last run ends it', async () => {
    const shop = await openShardShop(server, { old: 500, limits: { batchRows: 20 } });
    const sections = JSON.parse(await shop.folder.read('config.yaml'));
    let killed = 0;
    let before = await rowsOfShop(shop);
    for (let round = 0; round < 20; round++) {
      await addOrders(shop, round * 400 + 1001, round * 400 + 1400);
      before = await everything(shop);
      // What the one engine leaves the other must end.
      const { entry } = engines[round % 2 === 0 ? 0 : 1];
      shop.folder.configure({ ...sections, archive: [{ ...sections.archive[0], ...entry }] });
      const workers = startWorkers(shop, 4);
      await claimedBy(shop, 0);
      await Promise.all(
        workers.map(async ({ child, ended }) => {
          await Promise.race([delay(Math.random() * 1000), ended]);
          const [connection] = Math.random() < 0.3 ? await claimers(shop) : [];
          // It may have ended by itself.
          if (connection !== undefined) await server.query(`KILL ${connection}`).catch(() => undefined);
          else child.kill('SIGKILL');
          const { exit } = await ended;
          if (exit !== 0) killed++;
        }),
      );
      await expectConserved(shop, before);
    }
    expect(killed).toBeGreaterThan(20);
    shop.folder.configure({ ...sections, limits: { batchRows: 500 } });
    await runWorkers(shop, 3);
    await expectDone(shop, before);
  }, 300_000);

  test('others take over from a worker that was killed, and end what it began', async () => {
    const shop = await openShardShop(server, { old: 3000, limits: { batchRows: 30 } });
    const before = await rowsOfShop(shop);
    const workers = startWorkers(shop, 3);
    const [first] = workers;
    await claimedBy(shop);
    first?.child.kill('SIGKILL');
    const runs = await Promise.all(workers.map(({ ended }) => ended));
    expect(runs.map(({ exit }) => exit)).toEqual([null, 0, 0]);
    await expectDone(shop, before);
    expect((await shardRows(shop)).every(({ state }) => state === 'done')).toBe(true);
  });

  test('a worker that stands still and whose session the server has ended changes nothing when it goes on', async () => {
    const shop = await openShardShop(server, { old: 3000, limits: { batchRows: 30 } });
    const before = await rowsOfShop(shop);
    const zombie = shop.folder.start('archive', ['--shards', '2', ...waiting]);
    const session = await claimedBy(shop);
    zombie.child.kill('SIGSTOP');
    // What wait_timeout does to a node that is gone.
    await server.query(`KILL ${session}`);
    const other = await shop.folder.run('archive', ['--shards', '2', ...waiting]);
    expect(other.exit).toBe(0);
    await expectDone(shop, before);
    zombie.child.kill('SIGCONT');
    expect(await zombie.ended).toMatchObject({ exit: 1, summary: { error: { code: 'DATABASE_LOST' } } });
    await expectDone(shop, before);
  });

  test('a worker whose token is stale changes nothing', async () => {
    const shop = await openShardShop(server, { old: 3000, limits: { batchRows: 20 } });
    const before = await rowsOfShop(shop);
    const worker = shop.folder.start('archive', ['--shards', '1', ...waiting]);
    await claimedBy(shop);
    await shop.schema.query('UPDATE tableset_shards SET token = token + 1');
    const left = await rowsOf(shop.schema, 'orders');
    expect(await worker.ended).toMatchObject({ exit: 1, summary: { error: { code: 'ARCHIVE_BATCH_FENCED' } } });
    expect(await rowsOf(shop.schema, 'orders')).toEqual(left);
    expect(left.length).toBeGreaterThan(100);
    await expectConserved(shop, before);
    await runWorkers(shop, 2);
    await expectDone(shop, before);
  });

  test('everything else finds the schema busy while workers are at it, and gets its turn after them', async () => {
    const shop = await openShardShop(server, { old: 600, limits: { batchRows: 100 } });
    const sections = JSON.parse(await shop.folder.read('config.yaml'));
    shop.folder.write('customers.csv', 'id,name\n1,Ada\n');
    shop.folder.configure({ ...sections, load: [{ table: 'customers', source: 'customers.csv' }] });
    await shop.schema.query('CREATE TABLE customers (id INT PRIMARY KEY, name VARCHAR(20) NOT NULL)');
    const before = await rowsOfShop(shop);
    const release = await blockOrder(shop, 150);
    const worker = shop.folder.start('archive', ['--shards', '2', ...waiting]);
    await waitForStatement(server, shop.schema, copying);
    const busy = { exit: 75, summary: { error: { code: 'LOCK_BUSY' } } };
    expect(await shop.folder.run('load')).toMatchObject(busy);
    expect((await shop.folder.run('purge')).summary.error?.message).toMatch(/locked by archive run 1 on /);
    expect(await shop.folder.run('archive')).toMatchObject(busy);
    expect(await shop.folder.run('load', ['--on-busy', 'skip'])).toMatchObject({
      exit: 0,
      summary: { outcome: 'skipped' },
    });
    // Other entries under archive are another run.
    const other = { ...sections, archive: [{ ...sections.archive[0], archiveAfterDays: 31 }] };
    const stranger = await new ArchiveFolder(shop.schema, other).run('archive', ['--shards', '2']);
    expect(stranger).toMatchObject(busy);
    const load = shop.folder.start('load', waiting);
    const second = shop.folder.start('archive', ['--shards', '2', ...waiting]);
    await delay(1500);
    expect(await rowsOf(shop.schema, 'customers')).toEqual([]);
    await release();
    expect([(await worker.ended).exit, (await second.ended).exit, (await load.ended).exit]).toEqual([0, 0, 0]);
    expect(await rowsOf(shop.schema, 'customers')).toEqual(['1|Ada']);
    await expectDone(shop, before);
  });

  test('none begins while something else holds the schema', async () => {
    const shop = await openShardShop(server, { old: 100 });
    const before = await rowsOfShop(shop);
    await using connection = await connect(settingsOf(shop.schema));
    const lock = await acquireLock(connection, { onBusy: 'fail', lockWaitSeconds: 1 });
    const waits = shop.folder.start('archive', ['--shards', '2', ...waiting]);
    expect(await shop.folder.run('archive', ['--shards', '2', '--lock-wait-seconds', '2'])).toMatchObject({
      exit: 75,
      summary: { error: { code: 'LOCK_BUSY' } },
    });
    const skips = await shop.folder.run('archive', ['--shards', '2', '--on-busy', 'skip', '--lock-wait-seconds', '2']);
    expect(skips).toMatchObject({ exit: 0, summary: { outcome: 'skipped' } });
    expect(await rowsOfShop(shop)).toEqual(before);
    await lock?.[Symbol.asyncDispose]();
    expect((await waits.ended).exit).toBe(0);
    await expectDone(shop, before);
  });

  test('a run without shards, and one with fewer, end what killed workers left', async () => {
    for (const again of [[], ['--shards', '1']]) {
      const shop = await openShardShop(server, { old: 900, entry: { deleteDelay: '2s' }, limits: { batchRows: 50 } });
      const before = await rowsOfShop(shop);
      const workers = startWorkers(shop, 3);
      // Verified and waiting to be deleted, in more than one shard.
      for (let tries = 0; tries < 400; tries++) {
        const rows = await shop.schema
          .query("SELECT DISTINCT shard FROM tableset_batches WHERE state = 'verified' AND shard > 0")
          .catch(() => []);
        if (rows.length > 0) break;
        await delay(25);
      }
      for (const { child } of workers) child.kill('SIGKILL');
      await Promise.all(workers.map(({ ended }) => ended));
      expect((await openBatches(shop)).length).toBeGreaterThan(0);
      expect(await shop.folder.run('archive', [...again, ...waiting])).toMatchObject({ exit: 0 });
      await expectDone(shop, before);
    }
  }, 120_000);

  test('have one deletion budget, which covers children and is exact', async () => {
    const shop = await openShardShop(server, { old: 1000, limits: { batchRows: 100, maxDeletes: { rows: 1999 } } });
    const before = await rowsOfShop(shop);
    const refused = await shop.folder.run('archive', ['--shards', '4']);
    expect(refused).toMatchObject({
      exit: 3,
      summary: { error: { code: 'ARCHIVE_TOO_MANY_DELETES' }, tables: [{ table: 'orders', archived: 0 }, {}] },
    });
    expect(await rowsOfShop(shop)).toEqual(before);
    const sections = JSON.parse(await shop.folder.read('config.yaml'));
    shop.folder.configure({ ...sections, limits: { batchRows: 100, maxDeletes: { rows: 2000 } } });
    expect(archivedBy(await runWorkers(shop, 4))).toBe(1000);
    await expectDone(shop, before);
  });

  test('keep to the budget also where a shard has grown since it was planned', async () => {
    const shop = await openShardShop(server, { old: 400, limits: { batchRows: 50, maxDeletes: { rows: 810 } } });
    const before = await rowsOfShop(shop);
    const release = await blockOrder(shop, 30);
    const worker = shop.folder.start('archive', ['--shards', '2', ...waiting]);
    await waitForStatement(server, shop.schema, copying);
    const shares = await shop.schema.query('SELECT CAST(max_deletes AS SIGNED) AS most FROM tableset_shards');
    expect(shares).toEqual([{ most: 405 }, { most: 405 }]);
    // Five more rows than their shard may delete, with an item each.
    await addOrders(shop, 50_001, 50_005);
    const more = { ...before, ...(await rowsOfShop(shop)) };
    await release();
    const run = await worker.ended;
    expect(run).toMatchObject({ exit: 3, summary: { error: { code: 'ARCHIVE_TOO_MANY_DELETES' } } });
    expect(archivedBy([run]) + archivedBy([run], 'order_items')).toBeLessThanOrEqual(810);
    await expectConserved(shop, more);
  });

  test('count what is held once, and leave it', async () => {
    const shop = await openShardShop(server, { old: 1000 });
    await shop.folder.run('archive', ['--shards', '1']);
    await addOrders(shop, 2001, 3000);
    await shop.schema.query(
      `INSERT INTO tableset_holds (table_name, predicate, reason, created_at) VALUES ('orders', '[{"column":"id","operator":"in","value":[2001,2500,3000]}]', 'lawsuit', UTC_TIMESTAMP(6))`,
    );
    const runs = await runWorkers(shop, 3);
    const held = runs.map(({ summary }) => summary.tables?.[0]?.skipped['held'] ?? 0);
    expect(held.reduce((sum, count) => sum + count, 0)).toBe(3);
    expect(archivedBy(runs)).toBe(997);
    expect(await rowsOf(shop.schema, 'orders', 'id <= 900000')).toHaveLength(3);
  });

  test('work along dates and along composite keys without gap or overlap', async () => {
    const shop = await openShardShop(server, { old: 100, entry: { deleteAfterDays: 36_500 } });
    await shop.schema.script(`
      CREATE TABLE visits (site VARCHAR(10) COLLATE utf8mb4_bin NOT NULL, day DATE NOT NULL, n BINARY(4) NOT NULL, at DATETIME NOT NULL, PRIMARY KEY (site, day, n), KEY at (at))`);
    await shop.schema.query(
      `INSERT INTO visits SELECT ELT(1 + id % 4, 'a', 'B', 'ä', ''), '2020-01-01' + INTERVAL id % 5 DAY, UNHEX(LPAD(HEX(id), 8, '0')), '2020-01-01' + INTERVAL id % 10 SECOND FROM orders WHERE id <= 100`,
    );
    const sections = JSON.parse(await shop.folder.read('config.yaml'));
    const visits = { table: 'visits', dateColumn: 'at', archiveAfterDays: 30, store: 'cold' };
    shop.folder.configure({
      ...sections,
      archive: [...sections.archive, { ...visits, deleteAfterDays: 36_500 }],
      limits: { batchRows: 7 },
    });
    const before = { ...(await rowsOfShop(shop)), visits: await rowsOf(shop.schema, 'visits') };
    const runs = await runWorkers(shop, 3);
    expect(archivedBy(runs, 'visits')).toBe(100);
    await expectConserved(shop, before);
    expect(await rowsOf(shop.schema, 'visits')).toEqual([]);
    const shards = await shop.schema.query(
      'SELECT DISTINCT table_name, by_date FROM tableset_shards ORDER BY table_name',
    );
    expect(shards).toEqual([
      { table_name: 'orders', by_date: 1 },
      { table_name: 'visits', by_date: 1 },
    ]);
    // The same along the primary key.
    await shop.schema.query(`INSERT INTO visits SELECT site, day, n, at FROM ${shop.archive.name}.visits`);
    shop.folder.configure({ ...sections, archive: [visits], limits: { batchRows: 7 } });
    expect(archivedBy(await runWorkers(shop, 5), 'visits')).toBe(100);
    const [keys] = await shop.schema.query('SELECT COUNT(*) AS shards, MAX(by_date) AS by_date FROM tableset_shards');
    expect(keys).toEqual({ shards: 5, by_date: 0 });
    expect(await rowsOf(shop.schema, 'visits')).toEqual([]);
    // Both versions of each row, once each.
    expect(await visibleRows(shop, 'visits')).toEqual([...before.visits, ...before.visits].toSorted());
  });

  test('need no more than the documented grants', async () => {
    const shop = await openShardShop(server, { old: 200, limits: { batchRows: 50 } });
    await shop.folder.run('verify');
    const before = await rowsOfShop(shop);
    const user = `s${shop.schema.name.slice(4)}`;
    await server.query(`CREATE USER ${user}@'%' IDENTIFIED BY 'secret'`);
    onTestFinished(async () => void (await server.query(`DROP USER ${user}@'%'`)));
    for (const heading of ['Every verb', 'archive', 'archive --shards']) {
      for (const grant of documentedGrants(heading)) {
        const real = grant
          .replace('ON shop.', `ON ${shop.schema.name}.`)
          .replace('ON shop_archive.', `ON ${shop.archive.name}.`);
        await server.query(real.replace("'archiver'", user));
      }
    }
    const environment = { DB_USER: user, DB_PASSWORD: 'secret' };
    const workers = [1, 2].map(() => shop.folder.start('archive', ['--shards', '2', ...waiting], environment));
    const runs = await Promise.all(workers.map(({ ended }) => ended));
    expect(
      runs.map(({ exit }) => exit),
      JSON.stringify(runs),
    ).toEqual([0, 0]);
    await expectDone(shop, before);
  });

  describe('claims', () => {
    const generation = '1';
    /** A ledger with a plan of so many shards, and a connection for each of the claimers. */
    async function plannedShards(count: number, claimers: number) {
      const shop = await openShardShop(server, { old: 10 });
      // Makes the ledger.
      await shop.folder.run('archive');
      const stack = new AsyncDisposableStack();
      onTestFinished(() => stack.disposeAsync());
      const leases: ShardLease[] = [];
      for (let claimer = 0; claimer < claimers; claimer++) {
        const connection = stack.use(await connect(settingsOf(shop.schema)));
        await using _schema = await acquireLock(
          connection,
          { onBusy: 'fail', lockWaitSeconds: 1 },
          { besideWorkers: true },
        );
        const name = lockName(connection);
        const lease = await takeLease(connection, name, await livingWorkers(connection, name));
        if (!lease) throw new Error('there is no room for the worker');
        leases.push(lease);
      }
      const [first] = leases;
      if (!first) throw new Error('nobody claims');
      const shards = Array.from({ length: count }, (_, shard) => ({
        table: 'orders',
        shard,
        byDate: false,
        after: null,
        last: null,
        maxDeletes: null,
      }));
      await writePlan(first.connection, { generation, settingsHash: '', plannedAt: '2026-01-01 00:00:00' }, shards);
      return { shop, leases, first };
    }

    test('of eight at once give eight shards to eight workers', async () => {
      const { leases, first } = await plannedShards(8, 8);
      expect(new Set(leases.map(({ worker }) => worker)).size).toBe(8);
      const claims = await Promise.all(leases.map((lease) => claimShard(lease.connection, generation, lease)));
      // At the first try: no row is passed over but those that were claimed.
      const claimed = claims.map((claim) => claim?.shard ?? -1);
      for (const [index, claim] of claims.entries()) {
        const lease = leases[index];
        if (lease && claim) await assertClaimed(lease.connection, claim);
      }
      expect(claimed.toSorted((a, b) => a - b)).toEqual([0, 1, 2, 3, 4, 5, 6, 7]);
      expect(await claimShard(first.connection, generation, first)).toBeNull();
      expect(await readProgress(first.connection, generation)).toEqual({ unfinished: 8, batches: 8 });
    });

    test('of a shard whose worker is dead raise its token, and the dead one’s is worth nothing', async () => {
      const { leases, shop } = await plannedShards(1, 3);
      const [dead, next, late] = leases;
      if (!dead || !next || !late) throw new Error('there are three');
      const stale = await claimShard(dead.connection, generation, dead);
      expect(stale).toMatchObject({ shard: 0, token: '1' });
      expect(await claimShard(next.connection, generation, next)).toBeNull();
      await server.query(`KILL ${dead.connection.id}`);
      let claim = null;
      for (let tries = 0; tries < 100 && !claim; tries++) {
        claim = await claimShard(next.connection, generation, next);
        if (!claim) await delay(20);
      }
      expect(claim).toMatchObject({ shard: 0, token: '2' });
      expect(await claimShard(late.connection, generation, late)).toBeNull();
      if (!stale || !claim) throw new Error('both were claimed');
      await expect(assertClaimed(late.connection, stale)).rejects.toMatchObject({ code: 'ARCHIVE_BATCH_FENCED' });
      await finishShard(next.connection, claim);
      await expect(finishShard(next.connection, claim)).rejects.toMatchObject({ code: 'ARCHIVE_BATCH_FENCED' });
      expect(await readProgress(next.connection, generation)).toMatchObject({ unfinished: 0 });
      expect(await shop.folder.run('archive')).toMatchObject({ exit: 75 });
    });
  });

  /** What was there at the beginning, wherever it is by now. */
  async function everything(shop: Shop): Promise<Readonly<Record<string, readonly string[]>>> {
    const found: Record<string, readonly string[]> = {};
    for (const [table, rows] of Object.entries(await rowsOfShop(shop)))
      found[table] = [...rows, ...(await visibleRows(shop, table))].toSorted();
    return found;
  }
});
