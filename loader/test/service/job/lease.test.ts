import { setTimeout as delay } from 'node:timers/promises';
import type { Output } from '@tableset/common/output/output.ts';
import { expect, onTestFinished, test } from 'vitest';
import { openCluster } from '../../../src/service/job/cluster.ts';
import { openLeaseLeadership } from '../../../src/service/job/lease-leadership.ts';
import type { Leadership } from '../../../src/service/leadership.ts';
import { until } from '../run-service.ts';
import { FakeCluster } from './fake-cluster.ts';

const pace = { lease: 4_000, renewDeadline: 3_000, retry: 150 };
const silent: Output = { terminal: false, json: false, event: () => {}, progress: () => {}, finish: () => {} };

interface Candidate {
  readonly leadership: Leadership;
  readonly changes: boolean[];
}

async function candidate(cluster: FakeCluster, replica: string): Promise<Candidate> {
  const api = await openCluster(undefined, { KUBECONFIG: cluster.kubeconfig });
  const leadership = await openLeaseLeadership({ cluster: api, name: 'loads', replica, output: silent, pace });
  onTestFinished(() => leadership[Symbol.asyncDispose]());
  const changes: boolean[] = [];
  leadership.onChange((leader) => changes.push(leader));
  return { leadership, changes };
}

test('one of two leads, both know who, and the other follows at once when the leader goes', async () => {
  const cluster = await FakeCluster.start();
  const first = await candidate(cluster, 'loads-1');
  await until('the first leads', () => first.leadership.leader);
  const second = await candidate(cluster, 'loads-2');
  await until('the second knows', () => second.leadership.holder === 'loads-1');
  // Longer than a lease lasts: it is renewed.
  await delay(4_500);
  expect([first.leadership.leader, second.leadership.leader]).toEqual([true, false]);
  expect(cluster.leases.get('loads')?.spec).toMatchObject({ leaseDurationSeconds: 4, leaseTransitions: 0 });
  const goneAt = performance.now();
  await first.leadership[Symbol.asyncDispose]();
  expect(first.leadership.leader).toBe(false);
  await until('the second leads', () => second.leadership.leader);
  expect(performance.now() - goneAt).toBeLessThan(3_000);
  expect(second.leadership.holder).toBe('loads-2');
  expect([first.changes, second.changes]).toEqual([[true], [true]]);
});

test('a leader that cannot renew leads no more before another does', async () => {
  const cluster = await FakeCluster.start();
  const first = await candidate(cluster, 'loads-1');
  await until('the first leads', () => first.leadership.leader);
  const second = await candidate(cluster, 'loads-2');
  await until('the second knows', () => second.leadership.holder === 'loads-1');
  cluster.refusals.set('PUT leases', 500);
  await until('nobody leads', () => !first.leadership.leader);
  expect(second.leadership.leader).toBe(false);
  expect(first.changes).toEqual([true, false]);
  cluster.refusals.clear();
  await until('one leads', () => first.leadership.leader !== second.leadership.leader);
});

test('of many that start together one leads, at every instant', async () => {
  const cluster = await FakeCluster.start();
  const all = await Promise.all(Array.from({ length: 6 }, (_, index) => candidate(cluster, `loads-${index}`)));
  const leaders = () => all.filter(({ leadership }) => leadership.leader);
  await until('one leads', () => leaders().length === 1);
  for (const endAt = performance.now() + 2_500; performance.now() < endAt; await delay(20))
    expect(leaders().length).toBeLessThanOrEqual(1);
  expect(all.flatMap(({ changes }) => changes)).toEqual([true]);
});
