import { existsSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { describeEachServer } from '../../test/servers.ts';
import { restore } from './archive-restore-kit.ts';
import { batches, openShop } from './archive-shop.ts';
import { sameServer } from './run-archive.ts';

/** Ten days in the upper bits of an id. */
const tenDays = (10n * 86_400_000n) << 22n;

describeEachServer('batches of a table', (server) => {
  test('ascend also after one whose id came from a clock that ran ahead, so that the newest version is restored', async () => {
    const shop = await openShop(server, { old: 2, fresh: 0, limits: { batchRows: 1 } });
    const { schema, archive, folder } = shop;
    await folder.archive();
    await schema.query('UPDATE tableset_batches SET id = id + ? ORDER BY id DESC', [String(tenDays)]);
    for (const [table, column] of [
      ['orders', 'tableset_batch'],
      ['tableset_manifests', 'batch'],
    ])
      await archive.query(`UPDATE ${table} SET ${column} = ${column} + ?`, [String(tenDays)]);
    const older = await batches(schema);
    await schema.query(
      `INSERT INTO orders SELECT id, 'younger', total, weight, note, created_at FROM ${archive.name}.orders`,
    );
    await folder.archive();
    const ids = (await batches(schema)).map(({ id }) => BigInt(String(id)));
    expect(ids).toHaveLength(4);
    const last = BigInt(String(older.at(-1)?.['id']));
    expect(ids.filter((id) => id > last)).toHaveLength(2);
    expect(new Set(ids.map((id) => id >> 22n)).size).toBe(4);
    await restore(shop, '--from', '2000-01-01');
    expect(await schema.query('SELECT DISTINCT customer FROM orders')).toEqual([{ customer: 'younger' }]);
  });

  test('that were left unfinished in another store are taken out of it, or told of where it is not configured', async () => {
    const shop = await openShop(server, { old: 3, fresh: 0 });
    const { schema, archive, folder } = shop;
    mkdirSync(join(folder.path, 'former', 'orders', '1000'), { recursive: true });
    const sections = sameServer(archive, [{ table: 'orders' }]);
    folder.write('former/orders/1000/orders.jsonl.gz', 'half');
    folder.configure({
      ...sections,
      stores: { cold: { mysql: { name: archive.name } }, former: { filesystem: { path: 'former', format: 'jsonl' } } },
    });
    // Makes the ledger.
    await folder.archive();
    await schema.query(
      `INSERT INTO tableset_batches (id, run_id, table_name, store, state, token, cutoff, created_at, changed_at) VALUES
        (1000, 1, 'orders', 'former', 'copying', 1, NOW(), NOW(), NOW()), (1001, 1, 'orders', 'forgotten', 'copied', 1, NOW(), NOW(), NOW())`,
    );
    const { exit, stderr } = await folder.run('archive');
    expect(exit).toBe(0);
    expect(existsSync(join(folder.path, 'former', 'orders', '1000'))).toBe(false);
    const states = await schema.query(
      'SELECT CAST(id AS CHAR) AS id, state FROM tableset_batches WHERE id IN (1000, 1001) ORDER BY tableset_batches.id',
    );
    expect(states).toEqual([
      { id: '1000', state: 'removed' },
      { id: '1001', state: 'copied' },
    ]);
    expect(stderr).toMatch(/"store":"forgotten".*unfinished batches stay in a store/);
    expect(stderr).not.toContain('"store":"former"');
  });
});
