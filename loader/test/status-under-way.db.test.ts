import { hash } from 'node:crypto';
import { expect, test } from 'vitest';
import { describeEachServer } from '../../test/servers.ts';
import { openShardShop, runWorkers } from './archive-shards-kit.ts';
import { openShop } from './archive-shop.ts';

describeEachServer('status of what is under way', (server) => {
  test('shows the ranges of the shards, their states, and which workers are dead', async () => {
    const shop = await openShardShop(server, { old: 60 });
    expect((await shop.folder.run('status')).summary['shards']).toEqual([]);
    await runWorkers(shop, 2);
    const done = (await shop.folder.run('status')).summary['shards'] as readonly Record<string, unknown>[];
    expect(done).toMatchObject([
      { table: 'orders', shard: 0, state: 'done', after: null, last: ['30'], alive: null },
      { table: 'orders', shard: 1, state: 'done', after: ['30'], alive: null },
    ]);
    await shop.schema.query("UPDATE tableset_shards SET state = 'claimed', worker = 7 WHERE shard = 1");
    const dead = await shop.folder.run('status');
    expect(dead.summary['shards']).toMatchObject([{ state: 'done' }, { state: 'claimed', worker: 7, alive: false }]);
    // Its worker lives as long as it holds its lock.
    const connection = await shop.schema.connect();
    const schemaLock = `tableset:${hash('sha256', shop.schema.name).slice(0, 40)}`;
    await connection.query('DO GET_LOCK(?, 0)', [`${schemaLock}:7`]);
    await connection.query('UPDATE tableset_shards SET connection_id = CONNECTION_ID() WHERE shard = 1');
    const { summary } = await shop.folder.run('status');
    expect(summary['shards']).toMatchObject([{}, { state: 'claimed', alive: true }]);
    await connection.end();
  });

  test('lists batches that a run left behind, and not those that are where they belong', async () => {
    const shop = await openShop(server, { old: 30, limits: { batchRows: 10, targetBatchSeconds: 60 } });
    await shop.folder.archive();
    expect((await shop.folder.run('status')).summary['unfinished']).toEqual([]);
    const [first, second] = await shop.schema.query(
      'SELECT CAST(id AS CHAR) AS id FROM tableset_batches ORDER BY tableset_batches.id',
    );
    await shop.schema.query("UPDATE tableset_batches SET state = 'verified' WHERE id = ?", [second?.['id']]);
    await shop.schema.query("UPDATE tableset_batches SET state = 'abandoned' WHERE id = ?", [first?.['id']]);
    const { summary } = await shop.folder.run('status');
    expect(summary['unfinished']).toMatchObject([
      { batch: first?.['id'], table: 'orders', store: 'cold', state: 'abandoned', rows: 10, shard: null },
      { batch: second?.['id'], state: 'verified' },
    ]);
    expect((await shop.folder.run('status', ['--unverified'])).summary['unfinished']).toEqual([]);
  });
});
