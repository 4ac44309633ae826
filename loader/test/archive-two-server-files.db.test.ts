import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { describeEachServer, type TestSchema } from '../../test/servers.ts';
import type { StoreSettings } from '../src/config/archive-config.ts';
import { once } from './archive-two-server-hooks.ts';
import { archiveAll, type Bench, fillShop, openBench, shopChildren, sums } from './archive-two-server-kit.ts';
import { openCommitCutter } from './commit-cutter.ts';

const children = shopChildren;

/** The engine of two servers with stores that are no server. */
describeEachServer('faults between a server and files', (server) => {
  async function shop(kind: 'filesystem' | 'sqlite') {
    const schema = await server.createSchema();
    await fillShop(schema, { old: 25, fresh: 2 });
    const folder = await mkdtemp(join(tmpdir(), 'two-server-'));
    onTestFinished(() => rm(folder, { recursive: true, force: true }));
    const named = { name: 'cold', position: 'test' };
    const store: StoreSettings =
      kind === 'sqlite'
        ? { ...named, kind, path: join(folder, 'archive.db') }
        : { ...named, kind, folder, files: { format: 'jsonl', compression: 'gzip' } };
    return { schema, store, folder, before: await keys(schema) };
  }

  /** Keys of orders, items and notes that are in the tables. */
  async function keys(schema: TestSchema): Promise<readonly string[]> {
    const rows = await schema.query(
      "SELECT CONCAT('orders ', id) AS k FROM orders UNION ALL SELECT CONCAT('items ', id) FROM items UNION ALL SELECT CONCAT('notes ', id) FROM notes",
    );
    return rows.map((row) => String(row['k'])).toSorted();
  }

  /** Those and the ones that the store has in batches that were deleted. */
  async function together(schema: TestSchema, { store }: Bench): Promise<readonly string[]> {
    const found = [...(await keys(schema))];
    const batches = await schema.query(
      "SELECT CAST(id AS CHAR) AS id FROM tableset_batches WHERE state = 'deleted' ORDER BY 1",
    );
    for (const { id } of batches) {
      const batch = { id: String(id), rootTable: 'orders' };
      const manifest = await store.manifest(batch);
      for (const table of manifest?.tables ?? [])
        for await (const rows of store.hashes(batch, table))
          for (const { key } of rows) found.push(`${table.table} ${key[0]}`);
    }
    return found.toSorted();
  }

  async function converge({ schema, store, before }: Awaited<ReturnType<typeof shop>>): Promise<void> {
    await using bench = await openBench(schema, schema, { children, store });
    expect(await together(schema, bench)).toEqual(before);
    await archiveAll(bench, 10);
    expect(await together(schema, bench)).toEqual(before);
    expect(await schema.query('SELECT COUNT(*) AS n FROM orders')).toEqual([{ n: 2 }]);
    expect(await schema.query("SELECT id FROM tableset_batches WHERE state NOT IN ('deleted', 'removed')")).toEqual([]);
    const kept: string[] = [];
    for await (const id of bench.store.batches('orders')) kept.push(id);
    const deleted = await schema.query("SELECT CAST(id AS CHAR) AS id FROM tableset_batches WHERE state = 'deleted'");
    expect(kept.toSorted()).toEqual(deleted.map(({ id }) => String(id)).toSorted());
  }

  const deaths = (['filesystem', 'sqlite'] as const).flatMap((kind) => [
    ...[1, 2, 5].map((nth) => [kind, 'write', 'after', nth] as const),
    ...(['before', 'after'] as const).flatMap((when) => [
      [kind, 'seal', when, 2] as const,
      [kind, 'hashes', when, 2] as const,
    ]),
  ]);

  test.each(deaths)(
    'faults 1 to 4 and 9: to %s: a run that dies at a %s (%s it, %i), and one rerun',
    async (kind, step, when, nth) => {
      const made = await shop(kind);
      const { schema, store } = made;
      {
        const wrap = once(step, when, nth, async () => Promise.reject(new Error('died')));
        await using bench = await openBench(schema, schema, { children, store, wrap });
        await expect(archiveAll(bench, 10)).rejects.toThrow('died');
      }
      await converge(made);
    },
  );

  test.each([
    ['filesystem', 'lose-reply'],
    ['filesystem', 'lose-commit'],
    ['sqlite', 'linger'],
  ] as const)('faults 5 to 7: to %s: a commit on the primary, %s', async (kind, cut) => {
    const made = await shop(kind);
    const { schema, store } = made;
    const cutter = await openCommitCutter(server, cut, 1);
    const through = { ...schema, environment: { ...schema.environment, ...cutter.environment } };
    {
      await using bench = await openBench(through, schema, { children, store });
      await expect(archiveAll(bench, 10)).rejects.toThrow();
    }
    expect(cutter.cut()).toBe(true);
    await converge(made);
  });

  test.each(['filesystem', 'sqlite'] as const)(
    'faults 29 and 32: to %s: what changes between copy and delete stays, and its batch is taken away',
    async (kind) => {
      const { schema, store, folder } = await shop(kind);
      const change = () =>
        schema.script(
          "UPDATE orders SET customer = 'changed' WHERE id = 3; DELETE FROM notes WHERE item_id IN (51, 52); DELETE FROM items WHERE order_id = 5; DELETE FROM orders WHERE id = 5",
        );
      await using bench = await openBench(schema, schema, { children, store, wrap: once('seal', 'after', 1, change) });
      const results = await archiveAll(bench, 10);
      expect(sums(results, 'orders')).toEqual({ archived: 23, skipped: { changed: 1, gone: 1 }, matched: 25 });
      expect(await schema.query('SELECT COUNT(*) AS n FROM orders')).toEqual([{ n: 3 }]);
      const states = await schema.query(
        'SELECT state, COUNT(*) AS n FROM tableset_batches GROUP BY state ORDER BY state',
      );
      expect(states).toEqual([
        { state: 'deleted', n: 3 },
        { state: 'removed', n: 1 },
      ]);
      if (kind === 'filesystem') expect(await readdir(join(folder, 'orders'))).toHaveLength(3);
    },
  );
});
