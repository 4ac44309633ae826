import { expect, test } from 'vitest';
import { describeEachServer } from '../../test/servers.ts';
import { batches, openShop, rowsOf } from './archive-shop.ts';

describeEachServer('verify', (server) => {
  test('proves every batch and says so in the ledger', async () => {
    const shop = await openShop(server, {
      old: 60,
      fresh: 2,
      items: 2,
      limits: { batchRows: 20, targetBatchSeconds: 60 },
    });
    const { schema, folder } = shop;
    await folder.archive();
    await schema.query('UPDATE tableset_batches SET verified_at = NULL');
    const before = [await rowsOf(shop.archive, 'orders'), await rowsOf(schema, 'orders')];
    const run = await folder.run('verify');
    const count = (await batches(schema)).filter(({ state }) => state === 'deleted').length;
    expect(count).toBeGreaterThan(1);
    expect(run).toMatchObject({
      exit: 0,
      summary: {
        outcome: 'done',
        tables: [{ table: 'orders', batches: count, rows: 180, verified: count, differing: 0 }],
        leftovers: [],
      },
    });
    expect(
      await schema.query(
        "SELECT COUNT(*) AS count FROM tableset_batches WHERE state = 'deleted' AND verified_at IS NULL",
      ),
    ).toEqual([{ count: 0 }]);
    expect(await schema.query("SELECT outcome FROM tableset_runs WHERE kind = 'verify'")).toEqual([
      { outcome: 'done' },
    ]);
    expect([await rowsOf(shop.archive, 'orders'), await rowsOf(schema, 'orders')]).toEqual(before);
  });

  test('faults 19 and 21: names batch, table and what differs for each batch that is not what was archived', async () => {
    const shop = await openShop(server, {
      old: 60,
      fresh: 2,
      items: 1,
      limits: { batchRows: 20, targetBatchSeconds: 60 },
    });
    const { schema, archive, folder } = shop;
    await folder.archive();
    const [first, second, third] = (await batches(schema))
      .filter(({ state }) => state === 'deleted')
      .map(({ id }) => String(id));
    expect(third).toBeDefined();
    await schema.query('UPDATE tableset_batches SET verified_at = NULL');
    // The store forgot a row; another was changed; a manifest is not the one that was written.
    await archive.query('DELETE FROM order_items WHERE tableset_batch = ? ORDER BY id LIMIT 1', [first]);
    await archive.query('UPDATE orders SET customer = UPPER(customer) WHERE tableset_batch = ? LIMIT 1', [second]);
    const { summary } = await folder.refuse(3, 'ARCHIVE_VERIFY_FAILED', 'verify');
    expect(summary.error?.message.split('\n')).toEqual([
      expect.stringMatching(new RegExp(`^batch ${first} in cold, order_items: has 19 rows; the manifest says 20$`)),
      expect.stringMatching(new RegExp(`^batch ${second} in cold, orders: its rows have the digest [0-9a-f]{64}`)),
    ]);
    expect(summary.tables).toMatchObject([{ table: 'orders', differing: 2 }]);
    expect(
      await schema.query(
        'SELECT CAST(id AS CHAR) AS id FROM tableset_batches WHERE verified_at IS NULL AND state = ? ORDER BY tableset_batches.id',
        ['deleted'],
      ),
    ).toEqual([{ id: first }, { id: second }]);
    expect((await folder.run('verify', ['--batch', String(third)])).exit).toBe(0);
    await archive.query(
      'UPDATE tableset_manifests SET manifest = REPLACE(manifest, \'"rows":20\', \'"rows":21\') WHERE batch = ?',
      [third],
    );
    const changed = await folder.refuse(3, 'ARCHIVE_VERIFY_FAILED', 'verify', ['--batch', String(third)]);
    expect(changed.summary.error?.message).toContain("the store's manifest is not the ledger's");
    await archive.query('DELETE FROM tableset_manifests WHERE batch = ?', [third]);
    const gone = await folder.refuse(3, 'ARCHIVE_VERIFY_FAILED', 'verify', ['--batch', String(third)]);
    expect(gone.summary.error?.message).toContain('the store has no manifest of it');
    await archive.query('DROP TABLE order_items');
    await folder.refuse(3, 'ARCHIVE_VERIFY_FAILED', 'verify');
    await folder.refuse(3, 'RESTORE_NOT_FOUND', 'verify', ['--batch', '12345']);
  });

  test('tells of what the store holds and the ledger does not know, and removes none of it', async () => {
    const shop = await openShop(server, { old: 10, fresh: 2 });
    const { archive, folder } = shop;
    await folder.archive();
    await archive.query("INSERT INTO tableset_manifests (batch, root_table, manifest) VALUES (4711, 'orders', '{}')");
    const run = await folder.run('verify');
    expect(run).toMatchObject({
      exit: 0,
      summary: { leftovers: [{ store: 'cold', table: 'orders', batch: '4711', state: null }] },
    });
    expect(await archive.query('SELECT COUNT(*) AS count FROM tableset_manifests')).toEqual([{ count: 2 }]);
  });

  test('as a drill restores a sample into scratch tables, compares it, and leaves nothing behind', async () => {
    const shop = await openShop(server, {
      old: 100,
      fresh: 2,
      items: 2,
      limits: { batchRows: 20, targetBatchSeconds: 60 },
    });
    const { schema, archive, folder } = shop;
    await schema.query(
      'ALTER TABLE orders ADD COLUMN doubled DECIMAL(14,2) AS (total * 2) STORED, ADD UNIQUE KEY (customer, id)',
    );
    await folder.archive();
    const before = [await rowsOf(archive, 'orders'), await rowsOf(schema, 'orders')];
    // As a drill that was killed leaves it; that of a batch of another ledger is not ours to drop.
    const [batch] = await batches(schema);
    await schema.script(
      `CREATE TABLE tableset_drill_${batch?.['id']}_0 (id INT); CREATE TABLE tableset_drill_1_0 (id INT)`,
    );
    const tables =
      "SELECT table_name AS name FROM information_schema.tables WHERE table_schema = DATABASE() AND table_name LIKE 'tableset\\_drill%'";
    const run = await folder.run('verify', ['--drill', '--sample', '2']);
    expect(run).toMatchObject({
      exit: 0,
      summary: { drill: true, tables: [{ table: 'orders', batches: 2, verified: 2, differing: 0 }] },
    });
    expect(await schema.query(tables)).toEqual([{ name: 'tableset_drill_1_0' }]);
    await schema.query('DROP TABLE tableset_drill_1_0');
    expect([await rowsOf(archive, 'orders'), await rowsOf(schema, 'orders')]).toEqual(before);
    const [recorded] = await schema.query("SELECT outcome, counts FROM tableset_runs WHERE kind = 'drill'");
    expect(recorded).toMatchObject({ outcome: 'done' });
    expect(String(recorded?.['counts'])).toContain('"verified":2');
    const scratch = await server.createSchema();
    await server.query(`GRANT ALL PRIVILEGES ON ${scratch.name}.* TO ${schema.user}@'%'`);
    expect((await folder.run('verify', ['--drill', '--drill-schema', scratch.name])).exit).toBe(0);
    expect(await scratch.query('SHOW TABLES')).toEqual([]);
    // A type that rounds in silence makes the table take other rows back than it gave.
    await schema.query('ALTER TABLE orders MODIFY weight FLOAT');
    const rounded = await folder.refuse(3, 'ARCHIVE_VERIFY_FAILED', 'verify', ['--drill', '--sample', '1']);
    expect(rounded.summary.error?.message).toContain('orders: the restored rows differ from the archived ones');
    await schema.query('ALTER TABLE orders MODIFY weight DOUBLE');
    // A table that would not take its rows back is what a drill is to find.
    await schema.script('UPDATE orders SET customer = id; ALTER TABLE orders MODIFY customer VARCHAR(3) NOT NULL');
    const { summary } = await folder.refuse(3, 'ARCHIVE_VERIFY_FAILED', 'verify', ['--drill', '--sample', '1']);
    expect(summary.error?.message).toContain('orders: it could not be restored');
    expect(await schema.query(tables)).toEqual([]);
  });

  test('fault 35: after a table has changed a drill still restores what was archived', async () => {
    const shop = await openShop(server, { old: 10, fresh: 2, items: 1 });
    const { schema, folder } = shop;
    await folder.archive();
    await schema.query('ALTER TABLE orders DROP COLUMN note, ADD COLUMN must INT NOT NULL');
    expect((await folder.run('verify', ['--drill'])).exit).toBe(0);
    await schema.query('DROP TABLE order_items, orders');
    expect((await folder.run('verify', ['--drill'])).exit).toBe(0);
  });
});
