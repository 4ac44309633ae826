import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type mysql from 'mysql2/promise';
import { expect, onTestFinished, test } from 'vitest';
import { describeEachServer, type TestSchema, type TestServer } from '../../test/servers.ts';
import { ids, restore } from './archive-restore-kit.ts';
import { batches, openShop, rowsOf, type Shop, waitForStatement } from './archive-shop.ts';

const limits = { batchRows: 20, targetBatchSeconds: 60 };
const patiently = ['--on-busy', 'wait', '--lock-wait-seconds', '30'];
const scratchTables =
  "SELECT table_name AS name FROM information_schema.tables WHERE table_schema = DATABASE() AND table_name LIKE 'tableset\\_drill%'";

/** A shop whose forty old orders are archived to files in a folder. */
async function fileShop(server: TestServer, format: 'parquet' | 'jsonl'): Promise<Shop & { readonly cold: string }> {
  const shop = await openShop(server, { old: 40, fresh: 2, items: 1 });
  const cold = join(shop.folder.path, 'cold');
  mkdirSync(cold);
  const entry = { table: 'orders', dateColumn: 'created_at', archiveAfterDays: 30, store: 'cold' };
  const stores = { cold: { filesystem: { path: 'cold', format } } };
  shop.folder.configure({ stores, archive: [{ ...entry, children: ['order_items'] }], limits });
  await shop.folder.archive();
  return { ...shop, cold };
}

/** Paths of all files of a store, the folders of the batches in their order. */
function filesOf(cold: string): readonly string[] {
  const entries = readdirSync(cold, { recursive: true, withFileTypes: true });
  return entries
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name))
    .toSorted();
}

describeEachServer('verify over files', (server) => {
  for (const format of ['parquet', 'jsonl'] as const) {
    test(`fault 21: a flipped bit anywhere in a ${format} archive, a missing or a swapped file and a changed manifest are found`, async () => {
      const shop = await fileShop(server, format);
      const { folder, cold } = shop;
      const files = filesOf(cold);
      expect(files).toHaveLength(6);
      const [first, second] = (await batches(shop.schema)).map(({ id }) => String(id));
      const expectFound = async (batch: string | undefined) => {
        const { summary } = await folder.refuse(3, 'ARCHIVE_VERIFY_FAILED', 'verify');
        expect(summary.error?.message).toContain(`batch ${batch} in cold`);
        expect(summary.tables).toMatchObject([{ batches: 2, verified: 1, differing: 1 }]);
      };
      for (const file of files.filter((name) => name.includes(String(first)))) {
        const content = readFileSync(file);
        for (const at of [0, Math.floor(content.length / 3), content.length - 2]) {
          writeFileSync(
            file,
            content.map((byte, place) => (place === at ? byte ^ 0x04 : byte)),
          );
          await expectFound(first);
        }
        rmSync(file);
        await expectFound(first);
        writeFileSync(file, content);
      }
      // The same table's file of another batch is a good file, and not this one.
      const named = (id: string | undefined) => files.find((name) => name.includes(`${id}/orders.`)) ?? '';
      const content = readFileSync(named(second));
      writeFileSync(named(second), readFileSync(named(first)));
      await expectFound(second);
      writeFileSync(named(second), content);
      expect((await folder.run('verify')).exit).toBe(0);
      await restore(shop, '--from', '0001-01-01');
      expect(await ids(shop.schema, 'orders')).toHaveLength(42);
    }, 120_000);
  }

  test('tells of folders that the ledger does not know, and of what a purge should have taken', async () => {
    const { folder, cold, schema } = await fileShop(server, 'jsonl');
    const [first] = (await batches(schema)).map(({ id }) => String(id));
    mkdirSync(join(cold, 'orders', '4711'));
    await schema.query("UPDATE tableset_batches SET state = 'purged' WHERE id = ?", [first]);
    const before = filesOf(cold);
    const run = await folder.run('verify');
    expect(run).toMatchObject({
      exit: 0,
      summary: {
        leftovers: [
          { batch: '4711', state: null },
          { batch: first, state: 'purged' },
        ],
      },
    });
    expect(filesOf(cold)).toEqual(before);
  });
});

/** A session that nobody reads the table beside. */
async function holdTable(server: TestServer, { name }: TestSchema, table: string): Promise<mysql.Connection> {
  const session = await server.connect({ database: name });
  onTestFinished(() => session.destroy());
  await session.query(`LOCK TABLES ${table} WRITE`);
  return session;
}

describeEachServer('a drill that is stopped', (server) => {
  for (const signal of ['SIGTERM', 'SIGKILL'] as const) {
    test(`fault ${signal === 'SIGTERM' ? 8 : 9}: ${signal} leaves ${signal === 'SIGTERM' ? 'no scratch table' : 'what the next drill takes away'}, and table and archive as they were`, async () => {
      const shop = await openShop(server, { old: 60, fresh: 2, items: 1, limits });
      const { schema, archive, folder } = shop;
      await folder.archive();
      const before = [await rowsOf(archive, 'orders'), await rowsOf(schema, 'orders')];
      // It waits for the original to make the scratch table of, and then for the archived rows to fill it with.
      const original = await holdTable(server, schema, 'orders');
      const { child, ended } = folder.start('verify', ['--drill']);
      await waitForStatement(server, schema, /^CREATE TABLE .*tableset_drill_/s);
      const archived = await holdTable(server, archive, 'orders');
      await original.end();
      await waitForStatement(server, { ...archive, user: schema.user }, /^SELECT .*`orders`/s);
      expect(await schema.query(scratchTables)).toHaveLength(1);
      child.kill(signal);
      const run = await ended;
      await archived.end();
      if (signal === 'SIGTERM') {
        expect(run).toMatchObject({ exit: 143, summary: { error: { code: 'STOPPED' } } });
        expect(await schema.query(scratchTables)).toEqual([]);
        expect(await schema.query("SELECT outcome FROM tableset_runs WHERE kind = 'drill'")).toEqual([
          { outcome: 'stopped' },
        ]);
      } else {
        expect(run.exit).toBeNull();
        expect(await schema.query(scratchTables)).toHaveLength(1);
      }
      expect((await folder.run('verify', ['--drill', ...patiently])).exit).toBe(0);
      expect(await schema.query(scratchTables)).toEqual([]);
      expect([await rowsOf(archive, 'orders'), await rowsOf(schema, 'orders')]).toEqual(before);
    });
  }

  test('a drill goes by what a restore would write into columns that have changed since', async () => {
    const shop = await openShop(server, { old: 20, fresh: 2, limits });
    const { schema, folder } = shop;
    await folder.archive();
    await schema.query(
      'ALTER TABLE orders MODIFY total DECIMAL(20,6) NULL, ADD COLUMN state VARCHAR(9) NOT NULL DEFAULT 1',
    );
    expect((await folder.run('verify', ['--drill'])).exit).toBe(0);
    await schema.query('ALTER TABLE orders MODIFY total DECIMAL(20,1) NULL');
    const { summary } = await folder.refuse(3, 'ARCHIVE_VERIFY_FAILED', 'verify', ['--drill']);
    expect(summary.error?.message).toContain('orders: the restored rows differ from the archived ones');
  });
});
