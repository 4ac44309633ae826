import { createHash } from 'node:crypto';
import { DatabaseSync, type SQLInputValue } from 'node:sqlite';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { ArchiveChild, ArchiveTask, Condition } from '../../src/config/archive-config.ts';
import type { ArchivedTable, ArchiveSet, ChildLink } from '../../src/core/archive/archive-set.ts';
import type { SqlPart } from '../../src/core/archive/conditions.ts';
import {
  createSelection,
  type Hold,
  type KeyPoint,
  keyText,
  type Selection,
} from '../../src/core/archive/selection.ts';
import { table } from './definitions.ts';

/*
 * The SQL is run, on SQLite, which is told the few functions of the servers that it has not, and what it chooses is compared with what the words of the documentation choose.
 */

interface Order {
  readonly id: number;
  readonly part: number;
  readonly created_at: string | null;
  readonly status: string | null;
  readonly items: readonly { readonly qty: number | null; readonly seconds: number | null }[];
}

const orders = table('orders', {
  id: 'int NOT NULL',
  part: 'int NOT NULL',
  created_at: 'datetime(6)',
  status: 'varchar(20)',
});
const items = table('items', {
  id: 'int NOT NULL',
  order_id: 'int NOT NULL',
  order_part: 'int NOT NULL',
  qty: 'int',
  seconds: 'bigint',
});
const columns = (each: typeof orders) => ({ definition: each, columns: each.columns, archiveName: each.name });
const none = { when: null, resolutionSeconds: null, dateColumn: null, leftOut: 'drop' };

function setOf(where: readonly Condition[] = [], settings: Readonly<Record<string, unknown>> = {}): ArchiveSet {
  const link: ChildLink = {
    // What the selection asks of a child's settings.
    settings: { ...none, ...settings } as unknown as ArchiveChild,
    parent: 0,
    columns: ['order_id', 'order_part'],
    parentColumns: ['id', 'part'],
  };
  const tables: readonly [ArchivedTable, ArchivedTable] = [
    { ...columns(orders), key: ['id', 'part'], fingerprint: '', child: null },
    { ...columns(items), key: ['id'], fingerprint: '', child: link },
  ];
  // What the selection asks of a task.
  const task = { dateColumn: 'created_at', dateType: 'date', dateZone: 'UTC', archiveAfterDays: 30, where };
  return { task: task as unknown as ArchiveTask, tables };
}

function databaseOf(rows: readonly Order[], keyHolds: readonly Order[] = []): DatabaseSync {
  const database = new DatabaseSync(':memory:');
  const define = (name: string, make: (...cells: readonly SQLInputValue[]) => SQLInputValue) =>
    database.function(name, { varargs: true }, (...cells) => make(...cells));
  define('MONTH', (text) => (text === null ? null : Number(String(text).slice(5, 7))));
  define('DAYOFMONTH', (text) => (text === null ? null : Number(String(text).slice(8, 10))));
  define('UTC_TIMESTAMP', () => '2024-06-01 00:00:00.000000');
  define('SHA2', (text) => createHash('sha256').update(String(text)).digest('hex'));
  define('UNHEX', (text) => Buffer.from(String(text), 'hex'));
  define('FLOOR', (number) => (number === null ? null : Math.floor(Number(number))));
  database.exec(`ATTACH ':memory:' AS s;
    CREATE TABLE s.orders (id INT, part INT, created_at TEXT, status TEXT COLLATE NOCASE);
    CREATE TABLE s.items (id INTEGER PRIMARY KEY, order_id INT, order_part INT, qty INT, seconds INT);
    CREATE TABLE s.tableset_holds (table_name TEXT, key_hash BLOB, until TEXT)`);
  const order = database.prepare('INSERT INTO s.orders VALUES (?, ?, ?, ?)');
  const item = database.prepare('INSERT INTO s.items (order_id, order_part, qty, seconds) VALUES (?, ?, ?, ?)');
  for (const each of rows) {
    order.run(each.id, each.part, each.created_at, each.status);
    for (const { qty, seconds } of each.items) item.run(each.id, each.part, qty, seconds);
  }
  const hold = database.prepare('INSERT INTO s.tableset_holds VALUES (?, ?, ?)');
  for (const [index, each] of keyHolds.entries()) {
    // As keys of numbers are written by the servers, whose text keyText has in quotes.
    const hash = createHash('sha256')
      .update(keyText([`${each.id}`, `${each.part}`]))
      .digest();
    hold.run('orders', hash, [null, '2024-06-01 00:00:00.000001', '2024-06-01 00:00:00.000000'][index % 3] ?? null);
  }
  return database;
}

function run(database: DatabaseSync, { sql, values }: SqlPart): Readonly<Record<string, unknown>>[] {
  // SQLite has another word for it, and chooses by itself here.
  const plain = sql.replaceAll(/ FORCE INDEX \([^)]*\)/g, '');
  return database.prepare(plain).all(...(values as readonly SQLInputValue[]));
}

const keys = (rows: readonly Readonly<Record<string, unknown>>[]) => rows.map((row) => `${row['id']}/${row['part']}`);
const keysOf = (rows: readonly Order[]) => rows.map(({ id, part }) => `${id}/${part}`);
const chosen = (database: DatabaseSync, { sql, values }: SqlPart) =>
  keys(run(database, { sql: `SELECT id, part FROM s.orders r WHERE ${sql} ORDER BY id, part`, values }));

const cutoff = { utc: '2024-05-02 00:00:00.000000', value: '2024-05-02 00:00:00.000000' };
const options = { cutoff, holds: [], byDate: false, dateIndex: null, shard: null };
const isOld = ({ created_at: at }: Order) => at !== null && !at.includes('-00') && at < cutoff.value;
const byKey = (a: Order, b: Order) => a.id - b.id || a.part - b.part;
const byDate = (a: Order, b: Order) => String(a.created_at).localeCompare(String(b.created_at)) || byKey(a, b);

const dates = [
  '2024-05-01 23:59:59.999999',
  '2024-05-02 00:00:00.000000',
  '2024-05-02 00:00:00.000001',
  '2023-01-01 00:00:00.000000',
  '0000-00-00 00:00:00.000000',
  '2023-00-10 00:00:00.000000',
  '2023-10-00 00:00:00.000000',
  null,
];
const anyOrder: fc.Arbitrary<Order> = fc.record({
  id: fc.integer({ min: 0, max: 6 }),
  part: fc.integer({ min: 0, max: 3 }),
  created_at: fc.constantFrom(...dates, '2022-02-02 00:00:00.000000'),
  status: fc.constantFrom('paid', 'open', 'OPEN', null),
  items: fc.array(
    fc.record({
      qty: fc.option(fc.integer({ min: 0, max: 4 })),
      seconds: fc.option(fc.integer({ min: 0, max: 30 })),
    }),
    { maxLength: 3 },
  ),
});
const anyOrders = fc.uniqueArray(anyOrder, {
  selector: ({ id, part }) => `${id}/${part}`,
  minLength: 1,
  maxLength: 20,
});

/** Goes along the whole table in batches, as a run does. */
function batchesOf(database: DatabaseSync, selection: Selection, rows: number): string[][] {
  const found: string[][] = [];
  let after: KeyPoint | null = null;
  for (let guard = 0; guard < 50; guard++) {
    const [row] = run(database, selection.nextRange(after, rows));
    if (!row) return found;
    const texts = Object.fromEntries(Object.entries(row).map(([name, cell]) => [name, String(cell)]));
    const { range, rows: counted } = selection.readRange(after, texts);
    const taken = chosen(database, selection.within(range, 'r'));
    expect(taken).toHaveLength(counted);
    found.push(taken);
    after = range.last;
  }
  throw new Error('the batches do not end');
}

describe('the selection', () => {
  test('fault 27: takes rows strictly older than the cut-off, and none without a real date', () => {
    const rows = dates.map((at, id): Order => ({ id, part: 0, created_at: at, status: null, items: [] }));
    const database = databaseOf(rows);
    expect(chosen(database, createSelection(setOf(), options).matches('r'))).toEqual(['0/0', '3/0']);
    expect(run(database, createSelection(setOf(), options).undatedCounts())).toEqual([
      { null_dates: 1, zero_dates: 3, future_dates: 0 },
    ]);
    expect(run(database, createSelection(setOf(), { ...options, dateIndex: 'at' }).undatedCounts())).toEqual([
      { null_dates: 1, zero_dates: 3, future_dates: 0 },
    ]);
  });

  test('fault 45: goes along keys and along dates in batches without a gap or a repeat', () => {
    fc.assert(
      fc.property(anyOrders, fc.integer({ min: 1, max: 5 }), fc.boolean(), (rows, size, dated) => {
        const database = databaseOf(rows);
        const selection = createSelection(setOf(), { ...options, byDate: dated, dateIndex: 'at' });
        const batches = batchesOf(database, selection, size);
        const wanted = keysOf(rows.filter(isOld).toSorted(dated ? byDate : byKey));
        const sizes = batches.map((batch) => batch.length);
        expect(batches.flat().toSorted()).toEqual(wanted.toSorted());
        expect(sizes.slice(0, -1).every((each) => each === size)).toBe(true);
        for (const [index, batch] of batches.entries())
          expect(batch.toSorted()).toEqual(wanted.slice(index * size, (index + 1) * size).toSorted());
        const [cut] = run(database, selection.cut(null, size));
        const last = wanted[size - 1];
        expect(cut && `${cut['tableset_key_0']}/${cut['tableset_key_1']}`).toEqual(last);
        database.close();
      }),
      { numRuns: 200 },
    );
  });

  test('stays within its shard, after its start and up to its end', () => {
    fc.assert(
      fc.property(anyOrders, anyOrder, anyOrder, (rows, a, b) => {
        const database = databaseOf(rows);
        const point = ({ id, part }: Order): KeyPoint => ({ date: null, key: [`${id}`, `${part}`] });
        const selection = createSelection(setOf(), { ...options, shard: { after: point(a), last: point(b) } });
        const wanted = rows.filter((row) => isOld(row) && byKey(row, a) > 0 && byKey(row, b) <= 0).toSorted(byKey);
        expect(chosen(database, selection.matches('r'))).toEqual(keysOf(wanted));
        database.close();
      }),
      { numRuns: 200 },
    );
  });

  test('takes no row that conditions, holds, holds of children or an exclusion speak against, and counts what is held', () => {
    const where: readonly Condition[] = [{ column: 'status', operator: '!=', value: 'paid' }];
    const holds: readonly Hold[] = [
      { id: '1', until: null, reason: '', predicate: [{ column: 'id', operator: 'in', value: [1, 2] }] },
      { id: '2', until: null, reason: '', table: 'items', predicate: [{ column: 'qty', operator: '>=', value: 3 }] },
    ];
    const isChosen = (row: Order) => isOld(row) && row.status !== null && row.status !== 'paid';
    const isHeld = (row: Order) =>
      row.id === 1 || row.id === 2 || row.items.some(({ qty }) => qty !== null && qty >= 3);
    fc.assert(
      fc.property(anyOrders, anyOrder, (rows, other) => {
        const database = databaseOf(rows);
        const excluded = [[`${other.id}`, `${other.part}`]];
        const selection = createSelection(setOf(where), { ...options, holds, excluded });
        const wanted = rows.filter((row) => isChosen(row) && !isHeld(row) && byKey(row, other) !== 0).toSorted(byKey);
        expect(chosen(database, selection.matches('r'))).toEqual(keysOf(wanted));
        const held = rows.filter((row) => isChosen(row) && isHeld(row));
        expect(run(database, selection.skippedCounts(null))).toEqual([{ held: held.length }]);
        database.close();
      }),
      { numRuns: 200 },
    );
  });

  test('leaves rows with a hold on their key until it ends, and counts them', () => {
    fc.assert(
      fc.property(anyOrders, fc.integer({ min: 0, max: 20 }), (rows, count) => {
        const some = rows.slice(0, count);
        const database = databaseOf(rows, some);
        // One of them is enough: all that is known of them here is that there are any.
        const holds: readonly Hold[] = [{ id: '1', until: null, reason: '', key: ['0', '0'] }];
        const selection = createSelection(setOf(), { ...options, holds });
        const isHeld = (row: Order) => some.indexOf(row) >= 0 && some.indexOf(row) % 3 !== 2;
        const wanted = rows.filter((row) => isOld(row) && !isHeld(row)).toSorted(byKey);
        expect(chosen(database, selection.matches('r'))).toEqual(keysOf(wanted));
        const held = rows.filter((row) => isOld(row) && isHeld(row)).length;
        expect(run(database, selection.skippedCounts(null))).toEqual([{ held }]);
        database.close();
      }),
      { numRuns: 100 },
    );
  });

  test('leaves the orders whose children are to stay, each counted as held or as kept', () => {
    const sets = [
      {
        settings: { when: { column: 'part', atMost: 2, atLeast: 1 }, leftOut: 'keep' },
        keeps: ({ part, items: all }: Order) => all.length > 0 && !(part >= 1 && part <= 2),
      },
      {
        settings: { resolutionSeconds: 10, dateColumn: 'seconds', leftOut: 'keep' },
        keeps: ({ items: all }: Order) => {
          const intervals = all.flatMap(({ seconds }) => (seconds === null ? [] : [Math.floor(seconds / 10)]));
          return new Set(intervals).size < intervals.length;
        },
      },
      { settings: { resolutionSeconds: 10, dateColumn: 'seconds', leftOut: 'drop' }, keeps: () => false },
    ];
    const holds: readonly Hold[] = [
      { id: '1', until: null, reason: '', predicate: [{ column: 'id', operator: '<', value: 3 }] },
    ];
    fc.assert(
      fc.property(anyOrders, fc.constantFrom(...sets), (rows, { settings, keeps }) => {
        const database = databaseOf(rows);
        const selection = createSelection(setOf([], settings), { ...options, holds });
        const free = rows.filter((row) => isOld(row) && row.id >= 3);
        expect(chosen(database, selection.matches('r'))).toEqual(
          keysOf(free.filter((row) => !keeps(row)).toSorted(byKey)),
        );
        const counts = run(database, selection.skippedCounts(null))[0];
        expect(counts).toMatchObject({ held: rows.filter((row) => isOld(row) && row.id < 3).length });
        if (settings.leftOut === 'keep') expect(counts).toMatchObject({ kept: free.filter(keeps).length });
        database.close();
      }),
      { numRuns: 200 },
    );
  });

  test('goes by an index of the dates where there is one, and takes no batch without rows', () => {
    expect(createSelection(setOf(), { ...options, byDate: true })).toMatchObject({
      byDate: false,
      indexHint: ' FORCE INDEX (`PRIMARY`)',
    });
    const dated = createSelection(setOf(), { ...options, byDate: true, dateIndex: 'at' });
    expect(dated).toMatchObject({ byDate: true, indexHint: ' FORCE INDEX (`at`)' });
    expect(createSelection(setOf(), { ...options, dateIndex: 'at' }).indexHint).toBe(' FORCE INDEX (`PRIMARY`)');
    for (const rows of [0, -1, 1.5, Number.NaN]) expect(() => dated.nextRange(null, rows)).toThrow(RangeError);
    for (const rows of [0, -1, 1.5, Number.NaN]) expect(() => dated.cut(null, rows)).toThrow(RangeError);
  });
});
