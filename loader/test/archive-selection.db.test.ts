import { hash } from 'node:crypto';
import { connect } from '@tableset/common/database/connect.ts';
import type { Connection } from '@tableset/common/database/connection.ts';
import { ensureLedger } from '@tableset/common/database/ledger.ts';
import { readTableDefinition } from '@tableset/common/database/read-table.ts';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { describeEachServer, type TestSchema, type TestServer } from '../../test/servers.ts';
import { planArchive } from '../src/archive/plan-archive.ts';
import type { ArchiveTask, Condition } from '../src/config/archive-config.ts';
import { findDateIndex } from '../src/core/archive/archive-rules.ts';
import type { SqlPart } from '../src/core/archive/conditions.ts';
import { cutoffOf } from '../src/core/archive/cutoff.ts';
import {
  createSelection,
  type Hold,
  type KeyPoint,
  type KeyRange,
  keyText,
  type Selection,
  type SelectionOptions,
} from '../src/core/archive/selection.ts';
import { buildSet } from '../src/core/archive/table-set.ts';
import { recordingOutput, settingsOf, taskOf } from './archive-two-server-kit.ts';

const now = '2026-07-01 00:00:00.000000';
const task = (more: Partial<ArchiveTask> = {}) => taskOf('t', { dateColumn: 'd', archiveAfterDays: 30, ...more });
/** 30 days before `now`. */
const cutoff = '2026-06-01 00:00:00.000000';

async function open(server: TestServer, ddl: string): Promise<{ schema: TestSchema; connection: Connection }> {
  const schema = await server.createSchema();
  await schema.script(ddl);
  return { schema, connection: await connect(settingsOf(schema)) };
}

async function selectionOf(
  connection: Connection,
  settings: ArchiveTask,
  more: Partial<SelectionOptions> = {},
): Promise<Selection> {
  const [root, ...children] = await Promise.all(
    [settings.table, ...settings.children.map(({ table }) => table)].map((name) =>
      readTableDefinition(connection, connection.settings.name, name),
    ),
  );
  if (!root) throw new Error('no table');
  const set = buildSet(
    settings,
    root,
    children.filter((each) => each !== null),
  );
  return createSelection(set, {
    cutoff: cutoffOf(settings, settings.archiveAfterDays, now),
    holds: [],
    byDate: true,
    dateIndex: findDateIndex(root, settings.dateColumn),
    shard: null,
    ...more,
  });
}

async function ask(connection: Connection, { sql, values }: SqlPart) {
  return await connection.rows(sql, values);
}

/** All ranges from the first to the end, in batches of the sizes given in turn. */
async function rangesOf(
  connection: Connection,
  selection: Selection,
  sizes: readonly number[],
): Promise<{ range: KeyRange; rows: number }[]> {
  const ranges: { range: KeyRange; rows: number }[] = [];
  let after: KeyPoint | null = null;
  for (let turn = 0; turn < 1000; turn++) {
    const [row] = await ask(connection, selection.nextRange(after, sizes[turn % sizes.length] ?? 1));
    if (!row) return ranges;
    const next: { range: KeyRange; rows: number } = selection.readRange(after, row);
    ranges.push(next);
    after = next.range.last;
  }
  throw new Error('the ranges do not end');
}

async function numbers(connection: Connection, selection: Selection, range: KeyRange | null): Promise<string[]> {
  const where = range === null ? selection.matches('s') : selection.within(range, 's');
  const sql = `SELECT n FROM t s${selection.indexHint} WHERE ${where.sql} ORDER BY n`;
  return (await connection.rows(sql, where.values)).map((row) => String(row['n']));
}

const word = fc.string({ unit: fc.constantFrom('a', 'A', 'b', 'é', 'e', ' ', '"', '\\', 'ß', 's'), maxLength: 4 });
const digits = fc.bigInt({ min: 0n, max: (1n << 64n) - 1n }).map(String);
const hex = fc.uint8Array({ minLength: 16, maxLength: 16 }).map((bytes) => Buffer.from(bytes));

/** Keys that are hard to go along, each with values for its columns. */
const keys: Readonly<
  Record<string, { readonly ddl: string; readonly key: string; readonly cells: fc.Arbitrary<unknown[]> }>
> = {
  'unsigned numbers beyond 2^63': {
    ddl: '`select` BIGINT UNSIGNED NOT NULL',
    key: '`select`',
    cells: fc.tuple(fc.oneof(digits, fc.constantFrom('9007199254740993', '9007199254740992', '18446744073709551615'))),
  },
  'three columns, one of them a text without case': {
    ddl: 'a SMALLINT NOT NULL, `b``c` VARCHAR(5) NOT NULL, `order` TINYINT UNSIGNED NOT NULL',
    key: 'a, `b``c`, `order`',
    cells: fc.tuple(fc.integer({ min: -2, max: 2 }), word, fc.integer({ min: 0, max: 3 })),
  },
  'UUIDs in bytes': { ddl: 'id BINARY(16) NOT NULL', key: 'id', cells: fc.tuple(hex) },
  'decimals and dates': {
    ddl: 'a DECIMAL(30,3) NOT NULL, b DATETIME(6) NOT NULL',
    key: 'a, b',
    cells: fc.tuple(
      fc.constantFrom('0.001', '0.002', '123456789012345678901234567.123', '123456789012345678901234567.124', '-1.000'),
      fc.constantFrom(
        '2020-01-01 00:00:00',
        '2020-01-01 00:00:00.000001',
        '0000-00-00 00:00:00',
        '9999-12-31 23:59:59.999999',
      ),
    ),
  },
  'latin1 and an ENUM out of order': {
    ddl: "a ENUM('z','a','m') NOT NULL, b VARCHAR(4) CHARACTER SET latin1 COLLATE latin1_german1_ci NOT NULL, c TIME(3) NOT NULL",
    key: 'a, b, c',
    cells: fc.tuple(
      fc.constantFrom('z', 'a', 'm'),
      word,
      fc.constantFrom('-838:59:59', '00:00:00.001', '-00:00:00.001', '12:00:00'),
    ),
  },
  'a SET, bits and years': {
    ddl: "a SET('x','y','z') NOT NULL, b BIT(3) NOT NULL, c YEAR NOT NULL",
    key: 'a, b, c',
    cells: fc.tuple(
      fc.constantFrom('', 'x', 'y,z', 'x,z'),
      fc.integer({ min: 0, max: 7 }),
      fc.constantFrom(0, 1901, 2155),
    ),
  },
};

describeEachServer('selecting rows', (server) => {
  for (const [name, { ddl, key, cells }] of Object.entries(keys)) {
    for (const byDate of [false, true]) {
      test(`fault 45: batches by ${byDate ? 'date and ' : ''}key of ${name} have no gap and no repeat`, {
        timeout: 60_000,
      }, async () => {
        const { schema, connection } = await open(
          server,
          `CREATE TABLE t (${ddl}, d DATETIME(6) NULL, n INT NOT NULL, PRIMARY KEY (${key}), KEY at (d)) COLLATE ${server.flavour === 'mysql' ? 'utf8mb4_0900_ai_ci' : 'utf8mb4_unicode_ci'}`,
        );
        await using _ = connection;
        await schema.script("SET SESSION sql_mode = 'STRICT_ALL_TABLES'");
        const date = fc.constantFrom(
          '2026-01-01',
          '2026-05-31 23:59:59.999999',
          cutoff,
          '2025-01-01',
          '2026-06-15',
          null,
        );
        await fc.assert(
          fc.asyncProperty(
            fc.array(fc.tuple(cells, date), { minLength: 1, maxLength: 60 }),
            fc.array(fc.integer({ min: 1, max: 9 }), { minLength: 1, maxLength: 5 }),
            async (rows, sizes) => {
              await schema.script('DELETE FROM t');
              const values = rows.map(([each, at], n) => [...each, at, n]);
              await schema.query('INSERT IGNORE INTO t VALUES ?', [values]);
              const selection = await selectionOf(connection, task(), { byDate });
              expect(selection.byDate).toBe(byDate);
              const ranges = await rangesOf(connection, selection, sizes);
              const taken: string[] = [];
              for (const { range, rows: count } of ranges) {
                const found = await numbers(connection, selection, range);
                expect(found.length).toBe(count);
                taken.push(...found);
              }
              const wanted = await schema.query('SELECT n FROM t WHERE d < ? ORDER BY n', [cutoff]);
              expect(taken.toSorted((a, b) => Number(a) - Number(b))).toEqual(wanted.map((row) => String(row['n'])));
            },
          ),
          { numRuns: 12 },
        );
      });
    }
  }

  test('fault 45: a range is read by a range of its index, not by all of it', async () => {
    const { schema, connection } = await open(
      server,
      "CREATE TABLE t (a INT NOT NULL, k ENUM('x','y') NOT NULL, b VARCHAR(20) NOT NULL, d DATETIME NOT NULL, n INT NOT NULL, PRIMARY KEY (a, k, b), KEY at (d))",
    );
    await using _ = connection;
    await schema.query('INSERT INTO t VALUES ?', [
      Array.from({ length: 4000 }, (__, n) => [
        Math.floor(n / 40),
        n % 2 === 0 ? 'x' : 'y',
        `b${n}`,
        `2026-01-01 ${String(Math.floor(n / 200)).padStart(2, '0')}:00:00`,
        n,
      ]),
    ]);
    await schema.query('ANALYZE TABLE t');
    for (const byDate of [false, true]) {
      const selection = await selectionOf(connection, task(), { byDate });
      const ranges = await rangesOf(connection, selection, [400]);
      const { range } = ranges[4] ?? { range: null };
      if (!range) throw new Error('too few ranges');
      const where = selection.within(range, 's');
      for (const [sql, values] of [
        [`SELECT n FROM t s${selection.indexHint} WHERE ${where.sql}`, where.values],
        [selection.nextRange(range.last, 400).sql, selection.nextRange(range.last, 400).values],
      ] as const) {
        const explain = server.flavour === 'mysql' ? 'EXPLAIN FORMAT=TRADITIONAL' : 'EXPLAIN';
        const plan = await connection.rows(`${explain} ${sql}`, values);
        const scan = plan.find((step) => step['key'] !== null);
        expect(scan).toMatchObject({ type: 'range', key: byDate ? 'at' : 'PRIMARY' });
      }
      const before = await handlerReads(connection);
      expect((await numbers(connection, selection, range)).length).toBe(400);
      // ORDER BY n sorts 400 rows; reading the whole index would take 4,000.
      expect((await handlerReads(connection)) - before).toBeLessThan(1500);
    }
  });

  test('faults 27 and 28: the cut-off is strict to the microsecond, and rows without a real past date stay and are counted', async () => {
    const { schema, connection } = await open(
      server,
      'CREATE TABLE t (id INT PRIMARY KEY, d DATETIME(6) NULL, n INT AS (id))',
    );
    await using _ = connection;
    await schema.script("SET SESSION sql_mode = ''");
    await schema.script(`INSERT INTO t (id, d) VALUES (1, '2026-05-31 23:59:59.999999'), (2, '${cutoff}'), (3, '2026-06-01 00:00:00.000001'),
      (4, NULL), (5, '0000-00-00'), (6, '2020-00-10'), (7, '2020-10-00'), (8, '2026-07-01 00:00:01'), (9, '1000-01-01')`);
    const selection = await selectionOf(connection, task());
    expect(await numbers(connection, selection, null)).toEqual(['1', '9']);
    const undated = { null_dates: '1', zero_dates: '3', future_dates: '1' };
    expect(await ask(connection, selection.undatedCounts())).toEqual([undated]);
    await schema.script('ALTER TABLE t ADD KEY (d)');
    expect(await ask(connection, (await selectionOf(connection, task())).undatedCounts())).toEqual([undated]);
    const output = recordingOutput();
    await planArchive(connection, [task()], { nowUtc: now, output });
    expect(output.events.filter((event) => event.startsWith('warn'))).toEqual([
      'warn rows without a usable date are never archived {"table":"t","column":"d","null_dates":1,"zero_dates":3,"future_dates":1}',
    ]);
  });

  test('dates as DATE, TIMESTAMP, seconds and milliseconds are taken by what they mean', async () => {
    const { schema, connection } = await open(
      server,
      'CREATE TABLE t (n INT PRIMARY KEY, d DATE NOT NULL, ts TIMESTAMP NULL, s INT UNSIGNED NOT NULL, ms BIGINT NOT NULL)',
    );
    await using _ = connection;
    const second = Date.UTC(2026, 5, 1) / 1000;
    await schema.script("SET SESSION sql_mode = '', time_zone = '+00:00'");
    await schema.query('INSERT INTO t VALUES ?', [
      [
        [1, '2026-05-31', '2026-05-31 23:59:59', second - 1, String(second * 1000 - 1)],
        [2, '2026-06-01', '2026-06-01 00:00:00', second, String(second * 1000)],
        [3, '0000-00-00', '0000-00-00 00:00:00', 0, '0'],
        [4, '2026-07-02', '2026-07-02 00:00:00', second + 40 * 86_400, String((second + 40 * 86_400) * 1000)],
      ],
    ]);
    for (const each of [
      task(),
      task({ dateColumn: 'ts' }),
      task({ dateColumn: 's', dateType: 'epoch-seconds' }),
      task({ dateColumn: 'ms', dateType: 'epoch-milliseconds' }),
    ]) {
      const selection = await selectionOf(connection, each);
      expect(await numbers(connection, selection, null)).toEqual(['1']);
      expect(await ask(connection, selection.undatedCounts())).toEqual([
        { null_dates: '0', zero_dates: '1', future_dates: '1' },
      ]);
    }
    // At noon of 1 June the day of 1 June is not over.
    const noon = cutoffOf(task(), 0, '2026-06-01 12:00:00.000000');
    expect(await numbers(connection, await selectionOf(connection, task(), { cutoff: noon }), null)).toEqual(['1']);
  });

  test('conditions compare by the type of their column, and never hold for NULL', async () => {
    const { schema, connection } = await open(
      server,
      "CREATE TABLE t (n INT PRIMARY KEY, d DATETIME NOT NULL, big BIGINT NULL, code VARCHAR(10) NULL, kind ENUM('a','b') NULL, amount DECIMAL(30,2) NULL, raw VARBINARY(4) NULL)",
    );
    await using _ = connection;
    await schema.query('INSERT INTO t VALUES ?', [
      [
        [1, '2020-01-01', '9007199254740993', '1', 'a', '0.10', Buffer.from('00ff', 'hex')],
        [2, '2020-01-01', '9007199254740992', '01', 'b', '123456789012345678.91', Buffer.from('01')],
        [3, '2020-01-01', null, null, null, null, null],
      ],
    ]);
    const cases: [Condition, string[]][] = [
      [{ column: 'BIG', operator: '=', value: '9007199254740993' }, ['1']],
      [{ column: 'big', operator: '!=', value: '9007199254740993' }, ['2']],
      [{ column: 'code', operator: '=', value: 1 }, ['1']],
      [{ column: 'code', operator: 'not in', value: ['1'] }, ['2']],
      [{ column: 'kind', operator: 'in', value: ['a', 'b'] }, ['1', '2']],
      [{ column: 'amount', operator: '>', value: '123456789012345678.90' }, ['2']],
      [{ column: 'amount', operator: '<=', value: 0.1 }, ['1']],
      [{ column: 'raw', operator: '=', value: '0x00FF' }, ['1']],
      [{ column: 'code', operator: 'is null' }, ['3']],
      [{ column: 'n', operator: 'is not null' }, ['1', '2', '3']],
    ];
    for (const [condition, wanted] of cases) {
      const selection = await selectionOf(connection, task({ where: [condition] }));
      expect([condition, await numbers(connection, selection, null)]).toEqual([condition, wanted]);
    }
    for (const where of [
      { column: 'big', operator: '=', value: 'abc' },
      { column: 'nothing', operator: '=', value: 1 },
      { column: 'kind', operator: '=', value: 'c' },
      { column: 'kind', operator: '<', value: 'a' },
      { column: 'd', operator: '<', value: '2026-02-30' },
      { column: 'code', operator: 'in', value: [] },
      { column: 'code', operator: '=' },
      { column: 'raw', operator: '=', value: 'zz' },
    ] as const) {
      const planned = planArchive(connection, [task({ where: [where] })], { nowUtc: now, output: recordingOutput() });
      await expect(planned).rejects.toMatchObject({ code: 'SETTING_INVALID' });
    }
  });

  test('held rows stay: by key, whatever its texts, by predicate, and while a hold is in force', async () => {
    const { schema, connection } = await open(
      server,
      'CREATE TABLE t (k VARCHAR(40) COLLATE utf8mb4_bin NOT NULL, b BINARY(2) NOT NULL, z INT(5) UNSIGNED ZEROFILL NOT NULL, d DATETIME NOT NULL, n INT NOT NULL, x INT NULL, PRIMARY KEY (k, b, z))',
    );
    await using _ = connection;
    await ensureLedger(connection);
    const every = Array.from({ length: 0x80 }, (__, code) => String.fromCharCode(code));
    const texts = [...every, '\\u000B', '😀/é\u2028', ''].filter((each) => each !== ' ');
    await schema.query('INSERT INTO t VALUES ?', [
      texts.map((each, n) => [each, Buffer.of(n, 0xff), 42, '2020-01-01', n, n === 0 ? null : 1]),
    ]);
    const hold = async (cells: readonly string[], until: string | null, runId: number | null = null) => {
      const text = keyText(cells);
      await schema.query(
        "INSERT INTO tableset_holds (table_name, key_hash, key_text, reason, until, created_at, run_id) VALUES ('t', ?, ?, 'r', ?, NOW(6), ?)",
        [hash('sha256', text, 'buffer'), text, until, runId],
      );
    };
    const held = async () => {
      const [planned] = await planArchive(connection, [task()], { nowUtc: now, output: recordingOutput() });
      if (!planned) throw new Error('no plan');
      const selection = planned.selection();
      const rows = await numbers(connection, selection, null);
      const [counts] = await ask(connection, selection.skippedCounts(null));
      expect(Number(counts?.['held'])).toBe(texts.length - rows.length);
      return texts.length - rows.length;
    };
    expect(await held()).toBe(0);
    const cellsOf = (n: number) => [texts[n] ?? '', Buffer.of(n, 0xff).toString('hex').toUpperCase(), '00042'];
    await hold(cellsOf(3), '2020-01-01 00:00:00');
    expect(await held()).toBe(0);
    await hold(cellsOf(3), '2099-01-01 00:00:00');
    expect(await held()).toBe(1);
    for (const n of texts.keys()) await hold(cellsOf(n), null, n % 2 === 0 ? 7 : null);
    expect(await held()).toBe(texts.length);
    await schema.script('DELETE FROM tableset_holds');
    const predicate = JSON.stringify([
      { column: 'x', operator: '=', value: 1 },
      { column: 'n', operator: '<', value: 10 },
    ]);
    await schema.query(
      "INSERT INTO tableset_holds (table_name, predicate, reason, created_at) VALUES ('t', ?, 'r', NOW(6))",
      [predicate],
    );
    // The first row's x is NULL, so the predicate does not hold for it.
    expect(await held()).toBe(9);
  });

  test('a hold that cannot be understood stops everything', async () => {
    const { schema, connection } = await open(
      server,
      'CREATE TABLE t (id INT PRIMARY KEY, d DATETIME NOT NULL, n INT AS (id))',
    );
    await using _ = connection;
    await ensureLedger(connection);
    const plan = () => planArchive(connection, [task()], { nowUtc: now, output: recordingOutput() });
    const row = async (text: string | null, predicate: string | null, digest = text) => {
      const keyHash = digest === null ? null : hash('sha256', digest, 'buffer');
      await schema.query(
        "INSERT INTO tableset_holds (table_name, key_hash, key_text, predicate, reason, created_at) VALUES ('t', ?, ?, ?, 'r', NOW(6))",
        [keyHash, text, predicate],
      );
    };
    for (const bad of [
      () => row('[42]', null),
      () => row('["042"]', null),
      () => row('[ "42" ]', null),
      () => row('["42","1"]', null),
      () => row('["42"]', null, '["43"]'),
      () => row('["42"]', null, null),
      () => row(null, null),
      () => row(null, 'no JSON'),
      () => row(null, '[]'),
      () => row(null, '[{"column":"nothing","operator":"=","value":1}]'),
      () => row('["42"]', '[{"column":"id","operator":"=","value":1}]'),
    ]) {
      await bad();
      await expect(plan()).rejects.toMatchObject({ code: 'HOLD_INVALID' });
      await schema.script('DELETE FROM tableset_holds');
    }
    await row('["42"]', null);
    expect((await plan())[0]?.holds).toMatchObject([{ key: ['42'], table: 't' }]);
  });

  test('a held child, or one that is to stay, keeps its root', async () => {
    const { connection } = await open(
      server,
      `CREATE TABLE t (id INT PRIMARY KEY, d DATETIME NOT NULL, items INT NULL, n INT AS (id));
       CREATE TABLE item (id INT PRIMARY KEY, t_id INT NOT NULL, at DATETIME NULL, FOREIGN KEY (t_id) REFERENCES t (id));
       CREATE TABLE part (id INT PRIMARY KEY, item_id INT NOT NULL, FOREIGN KEY (item_id) REFERENCES item (id));
       INSERT INTO t (id, d, items) VALUES (1, '2020-01-01', 1), (2, '2020-01-01', 20), (3, '2020-01-01', NULL), (4, '2020-01-01', 20);
       INSERT INTO item VALUES (1, 1, '2020-01-01 00:00:00'), (2, 1, '2020-01-01 00:00:59'), (3, 2, NULL), (4, 2, NULL), (5, 3, NULL);
       INSERT INTO part VALUES (1, 1), (2, 5)`,
    );
    await using _ = connection;
    const child = (table: string, more: object = {}) => ({
      table,
      on: null,
      when: null,
      resolutionSeconds: null,
      dateColumn: null,
      leftOut: 'keep' as const,
      archiveTable: null,
      ...more,
    });
    const of = async (item: object, holds: readonly Hold[] = []) => {
      const settings = task({ children: [child('part'), child('item', item)] });
      const selection = await selectionOf(connection, settings, { holds });
      const [counts] = await ask(connection, selection.skippedCounts(null));
      return [await numbers(connection, selection, null), counts];
    };
    const none = { held: '0' };
    expect(await of({})).toEqual([['1', '2', '3', '4'], none]);
    expect(await of({ when: { column: 'items', atMost: 8 } })).toEqual([['1', '4'], { held: '0', kept: '2' }]);
    expect(await of({ when: { column: 'items', atMost: 8 }, leftOut: 'drop' })).toEqual([['1', '2', '3', '4'], none]);
    const interval = { resolutionSeconds: 60, dateColumn: 'at' };
    expect(await of(interval)).toEqual([['2', '3', '4'], { held: '0', kept: '1' }]);
    expect(await of({ ...interval, resolutionSeconds: 30 })).toEqual([['1', '2', '3', '4'], { held: '0', kept: '0' }]);
    const hold = {
      id: '1',
      until: null,
      reason: 'r',
      table: 'part',
      predicate: [{ column: 'id', operator: '=', value: 2 }],
    } as const;
    expect(await of({}, [hold])).toEqual([['1', '2', '4'], { held: '1' }]);
  });

  test('excluded keys are left out, and a shard ends where it ends', async () => {
    const { schema, connection } = await open(server, 'CREATE TABLE t (n INT PRIMARY KEY, d DATETIME NOT NULL)');
    await using _ = connection;
    await schema.query('INSERT INTO t VALUES ?', [Array.from({ length: 20 }, (__, n) => [n, '2020-01-01'])]);
    const shard = { after: { date: null, key: ['4'] }, last: { date: null, key: ['12'] } };
    const selection = await selectionOf(connection, task(), { shard, excluded: [['5'], ['9']] });
    const ranges = await rangesOf(connection, selection, [3]);
    expect(ranges.map(({ range, rows }) => [range.after?.key[0], range.last.key[0], rows])).toEqual([
      ['4', '8', 3],
      ['8', '12', 3],
    ]);
    expect(await numbers(connection, selection, null)).toEqual(['6', '7', '8', '10', '11', '12']);
  });
});

async function handlerReads(connection: Connection): Promise<number> {
  const rows = await connection.rows("SHOW SESSION STATUS LIKE 'Handler_read_next'");
  return Number(Object.values(rows[0] ?? {})[1] ?? 0);
}
