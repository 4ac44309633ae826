import { expect, test } from 'vitest';
import { describeEachServer, type TestSchema, type TestServer } from '../../test/servers.ts';
import { rounds } from '../../test/thoroughness.ts';
import { insertOrders, openShop, rowsOf, type Shop } from './archive-shop.ts';
import type { ArchiveRun } from './run-archive.ts';

const wait = ['--on-busy', 'wait', '--lock-wait-seconds', '60'];
const old = { from: 1, to: 40 };
const aged = { from: 41, to: 80 };
const young = { from: 81, to: 100 };

/** Orders that purge may take from the archive, such as only archive may take, and such as stay. */
async function openRace(server: TestServer): Promise<Shop> {
  const shop = await openShop(server, { old: 0, fresh: 0, limits: { batchRows: 10 } });
  const date = (days: number) => `UTC_DATE() - INTERVAL ${days} DAY + INTERVAL i MINUTE`;
  await insertOrders(shop.schema, old.from, old.to, date(400));
  await insertOrders(shop.schema, aged.from, aged.to, date(200));
  await insertOrders(shop.schema, young.from, young.to, date(2));
  const rows = await shop.schema.query('SELECT * FROM orders ORDER BY id');
  shop.folder.write('orders.jsonl', `${rows.map((row) => JSON.stringify(row)).join('\n')}\n`);
  const entry = {
    table: 'orders',
    dateColumn: 'created_at',
    archiveAfterDays: 30,
    deleteAfterDays: 365,
    store: 'cold',
  };
  shop.folder.configure({
    stores: { cold: { mysql: { name: shop.archive.name } } },
    load: [{ table: 'orders', source: 'orders.jsonl', mode: 'upsert' }],
    archive: [entry],
    limits: { batchRows: 10 },
  });
  return shop;
}

/** What went wrong with a run: a restore that comes before the archive, or after the purge, finds nothing. */
function fault(verb: string, { exit, summary, stderr }: ArchiveRun): readonly string[] {
  if (exit === 0 || (verb === 'restore' && summary.error?.code === 'RESTORE_NOT_FOUND')) return [];
  return [`${verb} ended with ${exit}: ${JSON.stringify(summary.error)} ${stderr.slice(-400)}`];
}

/** Key of a row of `rowsOf`. */
const keyOf = (line: string) => Number(line.split('|')[0]);

/**
 * No row is lost, doubled or altered. A row that was restored is in the table and in the archive, and is held there; one that was purged may be nowhere, and the ledger's
 * batches tell how many those are.
 */
async function expectAllThere({ schema, archive }: Shop, before: readonly string[]): Promise<void> {
  const live = await rowsOf(schema, 'orders');
  const visible = `tableset_batch IN (SELECT id FROM ${schema.name}.tableset_batches WHERE state = 'deleted')`;
  const archived = await rowsOf(archive, 'orders', visible);
  const known = new Set(before);
  for (const line of [...live, ...archived]) expect(known, line).toContain(line);
  for (const home of [live, archived]) expect(new Set(home).size).toBe(home.length);
  const held = new Set((await schema.query('SELECT key_text FROM tableset_holds')).map((row) => keyOfText(row)));
  const both = live.filter((line) => archived.includes(line)).map(keyOf);
  expect(both.filter((key) => !held.has(key))).toEqual([]);
  const anywhere = new Set([...live, ...archived]);
  const gone = before.filter((line) => !anywhere.has(line)).map(keyOf);
  expect(gone.filter((key) => key > old.to)).toEqual([]);
  const [purged] = await schema.query(
    "SELECT CAST(COALESCE(SUM(row_count), 0) AS SIGNED) AS n FROM tableset_batches WHERE state = 'purged'",
  );
  expect(gone.length).toBeLessThanOrEqual(Number(purged?.['n']));
}

function keyOfText(row: Readonly<Record<string, unknown>>): number {
  // The ledger keeps a key as a JSON array of texts.
  const [key] = JSON.parse(String(row['key_text'])) as readonly string[];
  return Number(key);
}

describeEachServer('verbs that race', (server) => {
  test('fault 49: load, archive, purge and restore of one table at once lose, double and alter no row', async () => {
    const shop = await openRace(server);
    const before = await rowsOf(shop.schema, 'orders');
    for (let round = 0; round < rounds(2, 20); round++) {
      // One of those that purge must leave then, or one that it may have taken already.
      const key = (round % 2 === 0 ? aged.from : old.from) + round;
      const verbs = [
        ['load', []],
        ['archive', []],
        ['restore', ['--table', 'orders', '--where', `id=${key}`]],
        ['purge', []],
      ] as const;
      const runs = verbs.map(async ([verb, words]) => {
        const run = await shop.folder.run(verb, [...words, ...wait]);
        return fault(verb, run);
      });
      expect((await Promise.all(runs)).flat()).toEqual([]);
      await expectAllThere(shop, before);
    }
    expect(fault('archive', await shop.folder.run('archive'))).toEqual([]);
    expect((await shop.folder.run('verify')).exit).toBe(0);
    await expectAllThere(shop, before);
  }, 400_000);

  test('fault 49: two archive runs that wait for each other move each row once, whichever is killed', async () => {
    const shop = await openRace(server);
    const before = await rowsOf(shop.schema, 'orders');
    for (let round = 0; round < rounds(2, 20); round++) {
      const started = [0, 1].map(() => shop.folder.start('archive', wait));
      // The session that holds the schema, whichever of the two has it.
      await expect
        .poll(() => kill(server, shop.schema), { timeout: 20_000, interval: 5 })
        .toBe(true)
        .catch(() => undefined);
      const runs = await Promise.all(started.map(({ ended }) => ended));
      for (const { exit, summary } of runs)
        expect(exit === 0 || summary.error?.code === 'DATABASE_LOST', JSON.stringify(summary)).toBe(true);
      await expectAllThere(shop, before);
    }
    expect(fault('archive', await shop.folder.run('archive', wait))).toEqual([]);
    await expectAllThere(shop, before);
    expect(await rowsOf(shop.schema, 'orders', `id <= ${aged.to}`)).toEqual([]);
    expect(await rowsOf(shop.archive, 'orders')).toHaveLength(aged.to);
  }, 200_000);
});

/** Ends the session of a run that is under way; false if there is none. */
async function kill(server: TestServer, schema: TestSchema): Promise<boolean> {
  const sql = 'SELECT connection_id AS id FROM tableset_runs WHERE finished_at IS NULL';
  const [run] = await schema.query(sql).catch(() => []);
  if (run === undefined) return false;
  return await server.query(`KILL ${Number(run['id'])}`).then(
    () => true,
    () => false,
  );
}
