import { setTimeout as delay } from 'node:timers/promises';
import { connect } from '@tableset/common/database/connect.ts';
import { acquireLock, lockName } from '@tableset/common/database/lock.ts';
import { expect, onTestFinished, test } from 'vitest';
import { describeEachServer } from '../../test/servers.ts';
import { livingWorkers, type ShardLease, takeLease } from '../src/archive/shard-lease.ts';
import { assertClaimed, claimShard, finishShard, readProgress, writePlan } from '../src/archive/shard-ledger.ts';
import { openShardShop } from './archive-shards-kit.ts';
import { settingsOf } from './archive-two-server-kit.ts';

describeEachServer('claims of shards', (server) => {
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
