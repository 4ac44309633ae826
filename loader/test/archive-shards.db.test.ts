import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { connect } from '@tableset/common/database/connect.ts';
import { acquireLock } from '@tableset/common/database/lock.ts';
import { expect, onTestFinished, test } from 'vitest';
import { describeEachServer } from '../../test/servers.ts';
import { rounds } from '../../test/thoroughness.ts';
import {
  addOrders,
  archivedBy,
  engines,
  expectDone,
  openBatches,
  openShardShop,
  rowsOfShop,
  runWorkers,
  shardRows,
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

describeEachServer('workers on shards of a table', (server) => {
  for (const { engine, entry } of engines) {
    test(`four of them archive all rows, each once, and their counts add up (${engine})`, async () => {
      const old = rounds(4000, 20_000);
      const shop = await openShardShop(server, { old, entry, limits: { batchRows: old / 40 } });
      const before = await rowsOfShop(shop);
      const runs = await runWorkers(shop, 4);
      expect(archivedBy(runs)).toBe(old);
      expect(archivedBy(runs, 'order_items')).toBe(old);
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

  for (const kind of ['filesystem', 'sqlite'] as const) {
    test(`archive to one store of kind ${kind}, which then has every row`, async () => {
      const shop = await openShardShop(server, { old: 1500, limits: { batchRows: 100 } });
      const sections = JSON.parse(await shop.folder.read('config.yaml'));
      shop.folder.write('cold/empty', '');
      const path = `${shop.folder.path}/cold`;
      const store = kind === 'filesystem' ? { filesystem: { path } } : { sqlite: { path: `${path}/archive.db` } };
      shop.folder.configure({ ...sections, stores: { cold: store } });
      expect(archivedBy(await runWorkers(shop, 3))).toBe(1500);
      expect(await rowsOf(shop.schema, 'orders', 'id <= 900000')).toEqual([]);
      expect(await openBatches(shop)).toEqual([]);
      const verified = await shop.folder.run('verify');
      expect(verified).toMatchObject({ exit: 0, summary: { tables: [{ table: 'orders', rows: 3000 }] } });
    });
  }

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
});
