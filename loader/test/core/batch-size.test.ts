import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { BatchSizer, nextBatchSize } from '../../src/core/archive/batch-size.ts';

/** A server on which a batch takes so long to begin and commit, and so long for each row. */
interface SimulatedServer {
  readonly fixedSeconds: number;
  readonly rowSeconds: number;
}

const secondsOf = ({ fixedSeconds, rowSeconds }: SimulatedServer, rows: number) => fixedSeconds + rows * rowSeconds;

/** The sizes of so many full batches one after the other, the last one first. */
function run(start: number, batches: number, sizing: Sizing, server: SimulatedServer): number {
  let size = start;
  for (let batch = 0; batch < batches; batch++) size = nextBatchSize(size, size, secondsOf(server, size), sizing);
  return size;
}

type Sizing = Parameters<typeof nextBatchSize>[3];

const sizings = fc.record({
  rowsMax: fc.integer({ min: 1, max: 1_000_000 }),
  targetSeconds: fc.double({ min: 0.01, max: 60, noNaN: true }),
});
const seconds = fc.double({ min: 0, max: 3600, noNaN: true });

describe('the size of the next batch', () => {
  test('is a whole number from 1 to the largest, whatever the last one took', () => {
    fc.assert(
      fc.property(sizings, fc.nat(), fc.nat(), seconds, (sizing, given, found, took) => {
        const size = 1 + (given % sizing.rowsMax);
        const next = nextBatchSize(size, found % (size + 1), took, sizing);
        expect(Number.isSafeInteger(next)).toBe(true);
        expect(next).toBeGreaterThanOrEqual(1);
        expect(next).toBeLessThanOrEqual(sizing.rowsMax);
      }),
    );
  });

  test('grows back to the largest from any size, also from one row, once the server is fast again', () => {
    fc.assert(
      fc.property(sizings, fc.nat(), (sizing, given) => {
        const size = 1 + (given % sizing.rowsMax);
        const fast = { fixedSeconds: 0, rowSeconds: sizing.targetSeconds / sizing.rowsMax / 10 };
        expect(run(size, 60, sizing, fast)).toBe(sizing.rowsMax);
      }),
    );
  });

  test('gets larger with each batch until then: no size is one that rounding holds it at', () => {
    for (let size = 1; size < 300; size++) {
      const sizing = { rowsMax: 1000, targetSeconds: 1 };
      expect(nextBatchSize(size, size, 1e-6, sizing), `from ${size}`).toBeGreaterThan(size);
    }
  });

  test('comes to the target within a tenth, and stays there, on servers of any speed that can meet it', () => {
    fc.assert(
      fc.property(
        fc.double({ min: 0.05, max: 10, noNaN: true }),
        fc.double({ min: 0, max: 0.8, noNaN: true }),
        fc.integer({ min: 100, max: 100_000 }),
        fc.integer({ min: 1, max: 200_000 }),
        (targetSeconds, share, fitting, start) => {
          // So many rows take the target's time together with what a batch takes anyway.
          const fixedSeconds = targetSeconds * share;
          const server = { fixedSeconds, rowSeconds: (targetSeconds - fixedSeconds) / fitting };
          const sizing = { rowsMax: 200_000, targetSeconds };
          let size = run(start, 80, sizing, server);
          for (let batch = 0; batch < 20; batch++) {
            const took = secondsOf(server, size);
            expect(took).toBeLessThanOrEqual(targetSeconds * 1.1);
            expect(took).toBeGreaterThanOrEqual(targetSeconds * 0.9);
            size = nextBatchSize(size, size, took, sizing);
          }
        },
      ),
    );
  });

  test('is within the target at once after a server became ten times slower, but for three batches', () => {
    const sizing = { rowsMax: 2000, targetSeconds: 0.5 };
    const slow = { fixedSeconds: 0.005, rowSeconds: 0.0025 };
    expect(secondsOf(slow, 2000)).toBeGreaterThan(5);
    expect(secondsOf(slow, run(2000, 3, sizing, slow))).toBeLessThanOrEqual(sizing.targetSeconds * 1.1);
  });

  test('does not fall below what a batch costs anyway on a server that cannot meet the target, nor lose its way from there', () => {
    const sizing = { rowsMax: 2000, targetSeconds: 0.1 };
    const stuck = { fixedSeconds: 3, rowSeconds: 0.001 };
    const least = run(2000, 50, sizing, stuck);
    expect(least).toBe(20);
    expect(run(least, 15, sizing, { fixedSeconds: 0.001, rowSeconds: 0.00001 })).toBe(2000);
  });

  test('is moved little by a single pause of the server', () => {
    const sizing = { rowsMax: 2000, targetSeconds: 0.5 };
    const server = { fixedSeconds: 0.005, rowSeconds: 0.0004 };
    const usual = run(2000, 30, sizing, server);
    const after = nextBatchSize(usual, usual, 30, sizing);
    expect(after).toBeGreaterThanOrEqual(Math.floor(usual / 4));
    expect(run(after, 4, sizing, server)).toBeGreaterThan(usual * 0.9);
  });
});

describe('after a batch was too large for the server', () => {
  const sizing = { rowsMax: 2000, targetSeconds: 1 };
  const fast = 1e-6;

  test('the next ones are no larger than what it was halved to, however fast they are, and grow again slowly', () => {
    const sizer = new BatchSizer(sizing);
    expect(sizer.size).toBe(2000);
    for (const halvedTo of [1000, 500]) sizer.add(halvedTo, fast, halvedTo);
    expect(sizer.size).toBe(500);
    for (let batch = 0; batch < 20; batch++) sizer.add(sizer.size, fast, null);
    expect(sizer.size).toBeGreaterThan(550);
    expect(sizer.size).toBeLessThan(1000);
    for (let batch = 0; batch < 200; batch++) sizer.add(sizer.size, fast, null);
    expect(sizer.size).toBe(2000);
  });

  test('single rows go on as batches of one, and grow from there too', () => {
    const sizer = new BatchSizer(sizing);
    sizer.add(1, fast, 1);
    expect(sizer.size).toBe(1);
    for (let batch = 0; batch < 500; batch++) sizer.add(sizer.size, fast, null);
    expect(sizer.size).toBe(2000);
  });

  test('the time that batches take counts as ever', () => {
    const sizer = new BatchSizer(sizing);
    sizer.add(1000, fast, 1000);
    sizer.add(1000, 10, null);
    expect(sizer.size).toBe(250);
  });
});
