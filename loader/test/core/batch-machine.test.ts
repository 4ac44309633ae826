import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  afterEffect,
  type BatchEffect,
  type BatchOutcome,
  type BatchProgress,
  type LedgerState,
  nextEffect,
  resumeBatch,
  startBatch,
} from '../../src/core/archive/batch-machine.ts';

/*
 * The protocol run in memory: a primary with its ledger, a store, others who write meanwhile, and a process that dies after (or in the middle of) any
 * effect. What the primary and the store hold survives; what the process knew does not.
 */

/** Rows by key; the number is their version. */
type Rows = Map<number, number>;

interface LedgerRow {
  state: LedgerState;
  token: number;
  /** What the manifest says; null until the batch was copied. */
  manifest: Rows | null;
}

interface Stored {
  rows: Rows;
  sealed: boolean;
}

class Crash extends Error {}

/** Where the process dies: at its n-th effect, before, in the middle of, or after it. */
interface CrashPoint {
  readonly effect: number;
  readonly when: 'before' | 'middle' | 'after';
}

/** What somebody else does just before the n-th effect of a run. */
interface Meddling {
  readonly effect: number;
  readonly what: 'update' | 'delete' | 'insert' | 'forget';
  readonly key: number;
}

/** Faults planted to prove the checker. */
type Bug = 'delete-before-verify' | 'blind-recopy' | 'no-hash-check' | null;

class World {
  readonly primary: Rows;
  readonly ledger = new Map<number, LedgerRow>();
  readonly store = new Map<number, Stored>();
  /** Every version that was ever deleted by the protocol. */
  readonly deleted: [key: number, version: number][] = [];
  /** Deleted by others: gone for good, and not ours to keep. */
  nextId = 1;
  nextVersion = 100;

  constructor(keys: number) {
    this.primary = new Map(Array.from({ length: keys }, (_, key) => [key, key]));
  }

  /** Versions that readers of the archive see. */
  visible(): [key: number, version: number][] {
    return [...this.ledger].flatMap(([id, row]) =>
      row.state === 'deleted' ? [...(this.store.get(id)?.sealed ? (this.store.get(id)?.rows ?? []) : [])] : [],
    );
  }
}

interface RunOptions {
  readonly batchKeys: number;
  readonly crash?: CrashPoint | undefined;
  readonly meddling?: readonly Meddling[];
  readonly bug?: Bug;
}

/** One process: recovers what earlier ones left, then archives everything; returns how many effects it took. */
class Run {
  readonly #world: World;
  readonly #options: RunOptions;
  effects = 0;
  /** The batch whose proof is still fresh. */
  #proved = 0;

  constructor(world: World, options: RunOptions) {
    this.#world = world;
    this.#options = options;
  }

  go(): number {
    for (const [id, row] of [...this.#world.ledger]) {
      const progress =
        this.#options.bug === 'blind-recopy' && row.state === 'deleted'
          ? this.#plantedRecopy(row)
          : resumeBatch(row.state, row.manifest !== null);
      if (progress) this.#batch(progress, { id, token: row.token, range: null });
    }
    const keys = [...this.#world.primary.keys()].sort((a, b) => a - b);
    const { batchKeys } = this.#options;
    for (let at = 0; at < keys.length; at += batchKeys)
      this.#batch(startBatch({ delayed: false }), { id: 0, token: 0, range: keys.slice(at, at + batchKeys) });
    return this.effects;
  }

  /** Takes a batch whose deletion was committed for one that was not, and begins with its copy again. */
  #plantedRecopy(row: LedgerRow): BatchProgress {
    row.state = 'copying';
    return { ...startBatch({ delayed: false }), stage: 'copy', ledger: 'copying' } as BatchProgress;
  }

  #batch(start: BatchProgress, work: { id: number; token: number; range: readonly number[] | null }) {
    const memory: { rows: Rows | null; excluded: Set<number> } = { rows: null, excluded: new Set() };
    let progress = start;
    for (let steps = 0; ; steps++) {
      expect(steps).toBeLessThan(200);
      const effect = nextEffect(progress);
      if (effect === null) {
        if (progress.end === 'unproved') throw new Crash('the store does not give back what was put into it');
        return;
      }
      if (this.#options.bug === 'delete-before-verify' && effect.do === 'prove') {
        progress = afterEffect(progress, 'done');
        continue;
      }
      this.effects += 1;
      this.#meddle();
      const crash = this.#options.crash?.effect === this.effects ? this.#options.crash.when : null;
      if (crash === 'before') throw new Crash('before');
      const outcome = this.#carryOut(effect, work, memory, crash === 'middle');
      if (crash !== null) throw new Crash(crash);
      progress = afterEffect(progress, outcome);
    }
  }

  #meddle() {
    const { primary } = this.#world;
    for (const { effect, what, key } of this.#options.meddling ?? []) {
      if (effect !== this.effects) continue;
      if (what === 'update' && primary.has(key)) primary.set(key, this.#world.nextVersion++);
      if (what === 'delete') primary.delete(key);
      if (what === 'insert' && !primary.has(key)) primary.set(key, this.#world.nextVersion++);
      // A store that fails over to where it was before its last writes. What this run has proved a moment ago is not among them: nothing but
      // the store's own durability, which is asked for at the start, can promise that.
      if (what === 'forget') this.#forget();
    }
  }

  #forget() {
    for (const [id, stored] of this.#world.store)
      if (this.#world.ledger.get(id)?.state !== 'deleted' && id !== this.#proved) stored.rows.clear();
  }

  #carryOut(
    effect: BatchEffect,
    work: { id: number; token: number; range: readonly number[] | null },
    memory: { rows: Rows | null; excluded: Set<number> },
    half: boolean,
  ): BatchOutcome {
    const { ledger, primary, store } = this.#world;
    const row = ledger.get(work.id);
    switch (effect.do) {
      case 'open':
        work.id = this.#world.nextId++;
        work.token = 1;
        ledger.set(work.id, { state: 'copying', token: 1, manifest: null });
        return 'done';
      case 'take-over':
        work.token = (row as LedgerRow).token += 1;
        return 'done';
      case 'copy': {
        const range = work.range ?? [...((row as LedgerRow).manifest ?? new Map()).keys()];
        const rows = new Map([...primary].filter(([key]) => range.includes(key) && !memory.excluded.has(key)));
        if (rows.size === 0 && work.range) return 'empty';
        memory.rows = rows;
        // A process that dies in the middle has written some of it.
        store.set(work.id, { rows: new Map([...rows].slice(0, half ? rows.size >> 1 : rows.size)), sealed: false });
        return 'done';
      }
      case 'seal':
        // In the middle of it: the store has sealed, and its answer was lost; or it has not.
        if (!half) (store.get(work.id) as Stored).sealed = true;
        return 'done';
      case 'record':
        if (!row || row.token !== work.token || row.state !== effect.from) throw new Crash('fenced');
        row.state = effect.to;
        if (effect.to === 'copied') row.manifest = new Map(memory.rows);
        return 'done';
      case 'prove': {
        const stored = store.get(work.id);
        const manifest = row?.manifest ?? new Map();
        if (!stored?.sealed || !sameRows(stored.rows, manifest)) return 'differs';
        memory.rows ??= new Map(stored.rows);
        this.#proved = work.id;
        return 'done';
      }
      case 'wait':
        return 'done';
      case 'delete':
        return this.#delete(work, memory, half);
      case 'settle':
        return row?.state === 'deleted' ? 'done' : 'not-committed';
      case 'remove':
        // In the middle of it some rows are left.
        if (half)
          for (const key of [...(store.get(work.id)?.rows.keys() ?? [])].slice(1)) store.get(work.id)?.rows.delete(key);
        else store.delete(work.id);
        return 'done';
      default:
        return effect satisfies never;
    }
  }

  /** All or nothing; cut in the middle it is committed, but nobody hears of it. */
  #delete(
    work: { id: number; token: number },
    memory: { rows: Rows | null; excluded: Set<number> },
    half: boolean,
  ): BatchOutcome {
    const { ledger, primary, deleted } = this.#world;
    const row = ledger.get(work.id);
    if (!row || row.token !== work.token || row.state !== 'verified') {
      if (this.#options.bug !== 'delete-before-verify') throw new Crash('fenced');
    }
    const rows = memory.rows ?? row?.manifest ?? new Map<number, number>();
    const changed = [...rows].filter(([key, version]) => primary.get(key) !== version);
    if (changed.length > 0 && this.#options.bug !== 'no-hash-check') {
      for (const [key] of changed) memory.excluded.add(key);
      return 'changed';
    }
    for (const key of rows.keys()) {
      const version = primary.get(key);
      if (version !== undefined) deleted.push([key, version]);
      primary.delete(key);
    }
    (row as LedgerRow).state = 'deleted';
    return half ? 'unknown' : 'done';
  }
}

function sameRows(a: Rows, b: Rows): boolean {
  return a.size === b.size && [...a].every(([key, version]) => b.get(key) === version);
}

const text = (rows: readonly (readonly [number, number])[]) => rows.map((row) => row.join(':')).sort();

/** At every instant: what we deleted is in the archive, once, as it was. */
function checkAlways(world: World) {
  expect(text(world.visible())).toEqual(text(world.deleted));
  expect(new Set(text(world.deleted)).size).toBe(world.deleted.length);
  const rows = new Set(text([...world.primary]));
  for (const each of text(world.visible())) expect(rows.has(each)).toBe(false);
}

/** After a run that came to its end: one home for each row, and nothing is left in the store that nobody knows. */
function checkConverged(world: World) {
  checkAlways(world);
  for (const [id, row] of world.ledger)
    expect([id, row.state]).toEqual([id, expect.stringMatching(/^(deleted|removed)$/)]);
  for (const id of world.store.keys()) expect(world.ledger.get(id)?.state).toBe('deleted');
}

/** Runs until it dies or ends; the world is checked either way. */
function runChecked(world: World, options: RunOptions): boolean {
  try {
    new Run(world, options).go();
    checkAlways(world);
    return true;
  } catch (error) {
    if (!(error instanceof Crash)) throw error;
    checkAlways(world);
    return false;
  }
}

const keys = 6;
const batchKeys = 2;
const whens = ['before', 'middle', 'after'] as const;

function cleanEffects(): number {
  return new Run(new World(keys), { batchKeys }).go();
}

/** Every run that dies at most so often, then one that does not. */
function exhaust(crashes: 1 | 2, meddling: readonly Meddling[], bug: Bug = null): number {
  let cases = 0;
  // A run after a crash has at most the steps of a taken-over batch more.
  const effectsMax = cleanEffects() + 12;
  const points = Array.from({ length: effectsMax }, (_, index) =>
    whens.map((when) => ({ effect: index + 1, when })),
  ).flat();
  for (const first of points) {
    for (const second of crashes === 2 ? points : [undefined]) {
      const world = new World(keys);
      runChecked(world, { batchKeys, crash: first, meddling, bug });
      if (second) runChecked(world, { batchKeys, crash: second, bug });
      // A copy that a store forgot is refused once, and made again by the next run.
      if (!runChecked(world, { batchKeys, bug })) expect(runChecked(world, { batchKeys, bug })).toBe(true);
      checkConverged(world);
      // Everything that is left was put there meanwhile; nothing of the first rows is nowhere.
      expect(world.primary.size).toBe(0);
      cases += 1;
    }
  }
  return cases;
}

describe('the protocol between two servers, in memory', () => {
  test('a clean run moves every row', () => {
    const world = new World(keys);
    expect(runChecked(world, { batchKeys })).toBe(true);
    checkConverged(world);
    expect(world.deleted).toHaveLength(keys);
  });

  test('faults 1 to 7 and 9: one crash, anywhere, and one rerun: nothing lost, doubled or altered', () => {
    expect(exhaust(1, [])).toBeGreaterThan(90);
  });

  test('faults 1 to 7 and 9: two crashes, the second also during recovery, and one rerun', () => {
    expect(exhaust(2, [])).toBeGreaterThan(3000);
  });

  test('faults 19 and 21: a store that forgets what is not yet deleted, with a crash anywhere', () => {
    for (let effect = 1; effect <= cleanEffects(); effect++) exhaust(1, [{ effect, what: 'forget', key: 0 }]);
  });

  test('faults 29, 32 and 33: rows change, go, and come back while crashes happen', () => {
    const meddling = fc.record({
      effect: fc.integer({ min: 1, max: 40 }),
      what: fc.constantFrom('update', 'delete', 'insert', 'forget'),
      key: fc.integer({ min: 0, max: keys - 1 }),
    });
    const crash = fc.record({ effect: fc.integer({ min: 1, max: 45 }), when: fc.constantFrom(...whens) });
    const runs = fc.array(
      fc.record({ crash: fc.option(crash, { nil: undefined }), meddling: fc.array(meddling, { maxLength: 4 }) }),
      {
        minLength: 1,
        maxLength: 5,
      },
    );
    fc.assert(
      fc.property(runs, fc.integer({ min: 1, max: 4 }), (each, size) => {
        const world = new World(keys);
        for (const options of each) runChecked(world, { batchKeys: size, ...options });
        for (let attempt = 0; attempt < 4; attempt++) if (runChecked(world, { batchKeys: size })) break;
        checkConverged(world);
        expect(world.primary.size).toBe(0);
      }),
      { numRuns: 2000 },
    );
  });

  test('fault 29: a row that changes before every deletion ends after a bounded number of attempts', () => {
    const meddling = Array.from({ length: 300 }, (_, effect) => ({ effect, what: 'update', key: effect % 2 }) as const);
    const world = new World(2);
    expect(runChecked(world, { batchKeys: 2, meddling })).toBe(true);
    checkAlways(world);
  });

  describe('the checker catches a planted fault', () => {
    const forget = Array.from({ length: 40 }, (_, effect) => [{ effect, what: 'forget', key: 0 }] as const);
    const update = Array.from({ length: 40 }, (_, effect) => [{ effect, what: 'update', key: 1 }] as const);
    test.each([
      ['delete-before-verify', forget],
      ['blind-recopy', [[]]],
      ['no-hash-check', update],
    ] as const)('%s', (bug, meddlings) => {
      expect(() => {
        for (const meddling of meddlings) exhaust(1, meddling, bug);
      }).toThrow();
    });
  });
});
