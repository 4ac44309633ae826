import { setTimeout as delay } from 'node:timers/promises';
import type { Connection } from '@tableset/common/database/connection.ts';
import type { Output } from '@tableset/common/output/output.ts';
import { describe, expect, test } from 'vitest';
import { openThrottle, type ThrottleContext } from '../src/archive/throttle.ts';
import { type ArchiveLimits, standardLimits } from '../src/config/archive-config.ts';

/** What a throttle with these limits says, on a server whose statements are answered with so many running threads. */
function throttleWith(
  limits: Partial<ArchiveLimits>,
  more: Partial<ThrottleContext> & { threads?: () => number } = {},
) {
  const told: { message: string; fields: unknown }[] = [];
  const { threads = () => 1, ...context } = more;
  return {
    told,
    throttle: openThrottle({
      limits: { ...standardLimits, ...limits },
      // Of a connection, the number of threads alone is asked for.
      connection: { row: async () => ({ Value: String(threads()) }) } as unknown as Connection,
      // Of the output, its events alone.
      output: {
        event: (_level: string, message: string, fields: unknown) => told.push({ message, fields }),
      } as unknown as Output,
      signal: new AbortController().signal,
      ...context,
    }),
  };
}

async function took(work: () => Promise<unknown>): Promise<number> {
  const started = performance.now();
  await work();
  return performance.now() - started;
}

const minute = 60_000;
const window = (fromMinute: number, toMinute: number, zone: string) => ({ fromMinute, toMinute, zone });

describe('the pause after each batch', () => {
  test('lasts so many times as long as the batch, and none is before the first', async () => {
    const { throttle } = throttleWith({ niceRatio: 3 });
    expect(await took(() => throttle.beforeBatch())).toBeLessThan(40);
    await delay(100);
    const pause = await took(() => throttle.beforeBatch());
    expect(pause).toBeGreaterThan(290);
    expect(pause).toBeLessThan(420);
    // The pause is no work: the next one is measured by the next batch alone.
    await delay(20);
    expect(await took(() => throttle.beforeBatch())).toBeLessThan(200);
  });

  test('is none by default', async () => {
    const { throttle } = throttleWith({});
    await throttle.beforeBatch();
    await delay(100);
    expect(await took(() => throttle.beforeBatch())).toBeLessThan(40);
  });

  test('is cut short by the end of the time, and by a stop', async () => {
    const short = throttleWith({ niceRatio: 100, maxRuntimeSeconds: 1 });
    await short.throttle.beforeBatch();
    await delay(100);
    const started = performance.now();
    expect(await short.throttle.beforeBatch()).toMatchObject({ reason: 'maxRuntime is over' });
    expect(performance.now() - started).toBeLessThan(1200);
    const stop = new AbortController();
    const stopped = throttleWith({ niceRatio: 100 }, { signal: stop.signal });
    await stopped.throttle.beforeBatch();
    await delay(50);
    setTimeout(() => stop.abort(new Error('stopped')), 50);
    expect(await took(() => expect(stopped.throttle.beforeBatch()).rejects.toThrow('stopped'))).toBeLessThan(500);
  });
});

describe('a wait', () => {
  test('is told of once with its reason, however long it lasts, and again the next time', async () => {
    const running = [90, 80, 70, 5, 60, 5];
    const { throttle, told } = throttleWith({ maxThreadsRunning: 10 }, { threads: () => running.shift() ?? 5 });
    expect(await throttle.beforeBatch()).toBeNull();
    expect(told).toEqual([
      { message: 'paused', fields: { reason: 'the server is busy', threadsRunning: 90, maxThreadsRunning: 10 } },
    ]);
    await delay(550);
    expect(await throttle.beforeBatch()).toBeNull();
    expect(told).toHaveLength(2);
    expect(running).toEqual([]);
  });

  test('ends when the window does', async () => {
    let now = Date.parse('2025-01-10T04:59:00Z');
    const { throttle } = throttleWith(
      { maxThreadsRunning: 10, window: window(60, 300, 'UTC') },
      {
        now: () => now,
        threads: () => {
          now += minute;
          return 99;
        },
      },
    );
    expect(await throttle.beforeBatch()).toMatchObject({ reason: 'outside the window' });
  });
});

describe('fault 26: the window on the nights when clocks change', () => {
  const openAt = async (text: string, [from, to]: readonly [number, number]) => {
    const { throttle } = throttleWith({ window: window(from, to, 'Europe/Berlin') }, { now: () => Date.parse(text) });
    return (await throttle.beforeBatch()) === null;
  };

  test('is open throughout the hour that comes twice', async () => {
    for (const text of ['2025-10-26T00:00:00Z', '2025-10-26T00:59:59Z', '2025-10-26T01:00:00Z', '2025-10-26T01:59:59Z'])
      expect(await openAt(text, [120, 180]), text).toBe(true);
    expect(await openAt('2025-10-26T02:00:00Z', [120, 180])).toBe(false);
  });

  test('does not open at all where it lies in the hour that is left out', async () => {
    for (let at = Date.parse('2025-03-29T23:00:00Z'); at < Date.parse('2025-03-30T22:00:00Z'); at += 5 * minute)
      expect(await openAt(new Date(at).toISOString(), [120, 180])).toBe(false);
  });
});
