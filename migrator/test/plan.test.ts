import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { Migration, MigrationFolder } from '../src/core/formats/migration.ts';
import { planDown, planUp, type UpOptions } from '../src/core/plan.ts';
import { type HistoryRow, migrationStatus } from '../src/core/status.ts';
import { upDone } from '../src/up.ts';
import { readFolder, refusal, refused } from './folders.ts';

const numbered = (...versions: readonly (number | string)[]): MigrationFolder =>
  readFolder(versions.map((version) => `${version}_m.sql`));
const rowOf = (migration: Migration, change: Partial<HistoryRow> = {}): HistoryRow => ({
  version: migration.version ?? null,
  name: migration.name,
  checksum: migration.checksum,
  state: 'applied',
  ...change,
});
/** Rows of the versions given, with the checksums of the folder's files where it has them. */
const applied = (folder: MigrationFolder, ...versions: readonly (number | string)[]): HistoryRow[] =>
  versions.map((version) => {
    const migration = folder.migrations.find((candidate) => candidate.version === `${version}`);
    return migration === undefined
      ? { version: `${version}`, name: 'gone', checksum: 'x', state: 'applied' }
      : rowOf(migration);
  });
const pending = (folder: MigrationFolder, history: readonly HistoryRow[], options?: UpOptions) =>
  planUp(folder, history, options).pending.map(({ id }) => id);

describe('up', () => {
  test('everything is pending on an empty history, in numeric order', () => {
    const folder = numbered('10', '9', '20191100000001000000', '0008');
    expect(planUp(folder, [])).toMatchObject({ ahead: [], version: null });
    expect(pending(folder, [])).toEqual(['8', '9', '10', '20191100000001000000']);
  });

  test('what is applied is not pending, whatever zeros its row has', () => {
    const folder = numbered('1', '2', '3');
    const [first] = folder.migrations;
    expect(first && pending(folder, [rowOf(first, { version: '0001' })])).toEqual(['2', '3']);
    expect(planUp(folder, applied(folder, 1, 2, 3))).toMatchObject({ pending: [], version: '3' });
  });

  test('what was rolled back is pending again, even if its file was edited', () => {
    const folder = numbered('1', '2');
    const history = [
      ...applied(folder, 1),
      { version: '2', name: 'm', checksum: 'other', state: 'rolled-back' } as const,
    ];
    expect(pending(folder, history)).toEqual(['2']);
  });

  test('an edited file is refused with both checksums and its name', () => {
    const folder = numbered('1', '2');
    const [first] = folder.migrations;
    const history = first === undefined ? [] : [rowOf(first, { checksum: 'old' })];
    expect(refusal(() => planUp(folder, history))).toEqual([
      'MIGRATION_EDITED',
      `edited after it was applied: 1_m.sql (applied as old, now ${first?.checksum})`,
    ]);
    expect(refused(() => planUp(folder, history)).hint).toContain('`migrator resolve 1 --as applied`');
  });

  test('a row without a checksum vouches for its file', () => {
    const folder = numbered('1', '2');
    const [first] = folder.migrations;
    expect(first && pending(folder, [rowOf(first, { checksum: null })])).toEqual(['2']);
  });

  test('a migration older than an applied one is refused, or run where that is allowed', () => {
    const folder = numbered('1', '2', '3', '4');
    const history = applied(folder, 1, 3);
    expect(refusal(() => planUp(folder, history))).toEqual([
      'MIGRATION_OUT_OF_ORDER',
      '2_m.sql was never applied, but the newer 3 was',
    ]);
    expect(pending(folder, history, { allowOutOfOrder: true })).toEqual(['2', '4']);
    expect(pending(folder, history, { to: '1' })).toEqual([]);
  });

  test('a database ahead of the files is reported, not refused', () => {
    const folder = numbered('1', '2');
    const plan = planUp(folder, applied(folder, 1, 2, 3, 4));
    expect(plan).toMatchObject({ pending: [], version: '4' });
    expect(plan.ahead.map(({ version }) => version)).toEqual(['3', '4']);
  });

  test('a file behind a database that is ahead is out of order', () => {
    const folder = numbered('1', '2');
    expect(refusal(() => planUp(folder, applied(folder, 1, 3)))[0]).toBe('MIGRATION_OUT_OF_ORDER');
  });

  test('a missing file among others is refused by name', () => {
    const folder = numbered('1', '3');
    expect(refusal(() => planUp(folder, applied(folder, 1, 2, 3)))).toEqual([
      'MIGRATION_MISSING',
      'applied, but without a file: 2 (gone)',
    ]);
    expect(refusal(() => planUp(folder, applied(folder, 1, 2, 4)))[0]).toBe('MIGRATION_MISSING');
  });

  const unfinished = { id: '1', label: '1_m.sql', direction: 'up', error: null, inDoubt: false } as const;
  const failed = { ...unfinished, error: '1_m.sql:2: statement 2 failed: 1146 no table' };

  test.each([
    [
      'a running one',
      'running',
      unfinished,
      'MIGRATION_UNFINISHED',
      'was begun and has not finished',
      'run `migrator up`',
    ],
    [
      'a failed one',
      'failed',
      failed,
      'MIGRATION_STATEMENT_FAILED',
      '1_m.sql:2',
      'Mend the statement and run `migrator up`',
    ],
    ['one in doubt', 'failed', { ...failed, inDoubt: true }, 'MIGRATION_UNFINISHED', '1146 no table', '--as retry'],
    [
      'a half undone one',
      'failed',
      { ...failed, direction: 'down' },
      'MIGRATION_UNFINISHED',
      'half undone',
      '`migrator down`',
    ],
  ] as const)(
    '%s is refused before anything else, with what to do about it',
    (_, state, about, code, message, hint) => {
      const folder = numbered('1', '2');
      const history: HistoryRow[] = [{ version: '1', name: 'm', checksum: 'other', state, unfinished: about }];
      const error = refused(() => planUp(folder, history));
      expect([error.code, error.message, error.hint]).toEqual([
        code,
        expect.stringContaining(message),
        expect.stringContaining(hint),
      ]);
      if (code !== 'MIGRATION_UNFINISHED') expect(error.hint).not.toContain('retry');
    },
  );

  test('a failed migration whose file is gone is not called applied, and can be given up', () => {
    const folder = numbered('2');
    const history: HistoryRow[] = [{ version: '1', name: 'm', checksum: 'x', state: 'failed', unfinished: failed }];
    const error = refused(() => planUp(folder, history));
    expect(error.message).toMatch(/^migration 1 \(1_m\.sql\) failed and is not applied, and its file is gone: /);
    expect(error.hint).toContain('migrator resolve 1 --as rolled-back');
    // Counted as applied while it is gone on with, it still is no applied migration without a file.
    const [row] = history;
    expect(row && pending(folder, [{ ...row, state: 'applied' }])).toEqual(['2']);
  });

  test('an unfinished migration of a newer image is refused too', () => {
    const folder = numbered('1');
    const history: HistoryRow[] = [...applied(folder, 1), { version: '2', name: 'n', checksum: 'x', state: 'failed' }];
    expect(refusal(() => planUp(folder, history))[0]).toBe('MIGRATION_UNFINISHED');
  });

  test('--to ends at a version, however it is written', () => {
    const folder = numbered('1', '2', '3');
    expect(pending(folder, [], { to: '0002' })).toEqual(['1', '2']);
    expect(pending(folder, applied(folder, 1, 2, 3), { to: '1' })).toEqual([]);
    expect(refusal(() => planUp(folder, [], { to: '4' }))).toEqual([
      'MIGRATION_TARGET_UNKNOWN',
      'no migration has the version 4; the newest are 1, 2, 3',
    ]);
    expect(refusal(() => planUp(folder, [], { to: 'x' }))[0]).toBe('MIGRATION_VERSION_INVALID');
  });
});

test('the end of a run does not say again what each migration said when it was applied', () => {
  expect(upDone(['1_a.sql', '2_b.sql'], 1, '2').lines).toEqual(['2 applied: at version 2, 1 pending']);
  expect(upDone([], 0, '2').lines).toEqual(['nothing to do: at version 2']);
});

describe('repeatable migrations', () => {
  const folder = readFolder(['V1__a.sql', 'V2__b.sql', 'R__w.sql', 'R__v.sql']);
  const repeatable = folder.repeatables.map((migration) => rowOf(migration));

  test('run after versioned ones, when they are new or changed', () => {
    expect(pending(folder, [])).toEqual(['1', '2', 'R__v', 'R__w']);
    expect(pending(folder, [...applied(folder, 1, 2), ...repeatable])).toEqual([]);
    const changed = repeatable.map((row) => ({ ...row, checksum: row.name === 'v' ? 'old' : row.checksum }));
    expect(pending(folder, [...applied(folder, 1, 2), ...changed])).toEqual(['R__v']);
  });

  test('wait while --to holds the schema back', () => {
    expect(pending(folder, [], { to: '1' })).toEqual(['1']);
    expect(pending(folder, [], { to: '2' })).toEqual(['1', '2', 'R__v', 'R__w']);
  });

  test('are refused when one did not finish', () => {
    const failed = repeatable.map((row) => ({ ...row, state: 'failed' as const }));
    expect(refusal(() => planUp(folder, failed))[1]).toBe('migration R__v (v) was begun and has not finished');
  });
});

describe('baselines', () => {
  const folder = readFolder(['V1__a.sql', 'V2__b.sql', 'V3__c.sql', 'B2__b.sql']);

  test('the newest baseline file starts an empty history', () => {
    expect(planUp(folder, []).pending.map(({ file }) => file)).toEqual(['B2__b.sql', 'V3__c.sql']);
    expect(planUp(folder, [], { to: '1' }).pending.map(({ file }) => file)).toEqual(['V1__a.sql']);
  });

  test('what it stands for never runs', () => {
    const baseline = folder.baselines.map((migration) => rowOf(migration, { baseline: true }));
    expect(pending(folder, baseline)).toEqual(['3']);
    expect(migrationStatus(folder, baseline).map(({ migration, status }) => [migration?.file, status])).toEqual([
      ['V1__a.sql', 'covered'],
      ['B2__b.sql', 'applied'],
      ['V2__b.sql', 'covered'],
      ['V3__c.sql', 'pending'],
    ]);
  });

  test('a history older than the baseline file goes on file by file', () => {
    expect(pending(folder, applied(folder, 1))).toEqual(['2', '3']);
  });

  test('files that a baseline file replaced are not missing', () => {
    const squashed = readFolder(['B2__b.sql', 'V3__c.sql']);
    expect(pending(squashed, applied(folder, 1, 2))).toEqual(['3']);
  });

  test('a baseline row without a file covers what is older', () => {
    const plain = numbered('1', '2', '3');
    expect(
      pending(plain, [{ version: '2', name: 'baseline', checksum: null, state: 'applied', baseline: true }]),
    ).toEqual(['3']);
    const between = numbered('1', '3');
    expect(
      pending(between, [{ version: '2', name: 'baseline', checksum: null, state: 'applied', baseline: true }]),
    ).toEqual(['3']);
  });
});

describe('down', () => {
  const withDown = (...versions: readonly number[]) =>
    readFolder(
      Object.fromEntries(
        versions.map((version) => [`${version}_m.sql`, `SELECT 1;\n-- migrate:down\nSELECT ${version};`]),
      ),
    );
  const folder = withDown(1, 2, 3, 4);
  const undone = (history: readonly HistoryRow[], to: string) => planDown(folder, history, to).map(({ id }) => id);

  test('undoes what is newer than the version, newest first', () => {
    expect(undone(applied(folder, 1, 2, 3), '1')).toEqual(['3', '2']);
    expect(undone(applied(folder, 1, 2, 3), '003')).toEqual([]);
    expect(undone(applied(folder, 1, 2, 3), '0')).toEqual(['3', '2', '1']);
  });

  test('goes only to an applied version', () => {
    expect(refusal(() => undone(applied(folder, 1, 2), '4'))).toEqual([
      'MIGRATION_TARGET_UNKNOWN',
      'no applied migration has the version 4; the newest are 1, 2',
    ]);
  });

  test('a way down that is missing is asked for only when it is needed', () => {
    const mixed = readFolder({
      '1_a.sql': 'SELECT 1',
      '2_b.sql': 'SELECT 2;\n-- migrate:down\nSELECT 3',
      '3_c.ts': 'export async function up() {}',
    });
    const history = applied(mixed, 1, 2, 3);
    expect(planDown(mixed, history, '1').map(({ file }) => file)).toEqual(['3_c.ts', '2_b.sql']);
    expect(refusal(() => planDown(mixed, history, '0'))).toEqual([
      'MIGRATION_DOWN_MISSING',
      '1_a.sql cannot be undone: there is no down part',
    ]);
  });

  test.each([
    ['nothing', '-- migrate:down\n'],
    ['the template of a new file', '-- migrate:down\n-- Otherwise this line alone: `-- nothing to undo`\n'],
    ['words that go on', '-- migrate:down\n-- nothing to undo yet\n'],
    ['a comment', '-- migrate:down\n/* -- nothing to undo */;\n'],
    ['the marker on the way up', '-- nothing to undo\n-- migrate:down\n'],
  ])('a way down of %s is no way down', (_, text) => {
    const empty = readFolder({ '1_a.sql': `-- migrate:up\nSELECT 1;\n${text}` });
    const error = refused(() => planDown(empty, applied(empty, 1), '0'));
    expect([error.code, error.message]).toEqual([
      'MIGRATION_DOWN_MISSING',
      '1_a.sql cannot be undone: the down part holds no statement',
    ]);
    expect(error.hint).toMatch(
      /way down of 1_a\.sql, or the line `-- nothing to undo` .*`migrator resolve 1 --as applied`/,
    );
  });

  test.each([
    ['tableset', { '1_a.sql': 'SELECT 1;\n-- migrate:down\n  --  Nothing to undo\r\n' }],
    ['goose', { '1_a.sql': '-- +goose Up\nSELECT 1;\n-- +goose Down\n-- nothing to undo' }],
    ['golang-migrate', { '1_a.up.sql': 'SELECT 1', '1_a.down.sql': '-- nothing to undo\n' }],
    ['flyway', { 'V1__a.sql': 'SELECT 1', 'U1__a.sql': '-- nothing to undo\n' }],
  ])('a way down of %s may say that there is nothing to undo', (_, files) => {
    const folder = readFolder(files);
    expect(planDown(folder, applied(folder, 1), '0').map(({ id }) => id)).toEqual(['1']);
  });

  test('an empty file for the way down is named, without accepting an edit that its checksum does not cover', () => {
    const pair = readFolder({ '1_a.up.sql': 'SELECT 1', '1_a.down.sql': '\n' });
    const error = refused(() => planDown(pair, applied(pair, 1), '0'));
    expect(error.code).toBe('MIGRATION_DOWN_MISSING');
    expect(error.hint).not.toContain('resolve');
  });

  test('an unknown or edited file stops it', () => {
    expect(refusal(() => undone(applied(folder, 1, 2, 3, 4, 5), '1'))).toEqual([
      'MIGRATION_MISSING',
      'applied, but without a file: 5 (gone)',
    ]);
    const [first] = folder.migrations;
    const edited = first === undefined ? [] : [rowOf(first, { checksum: 'old' })];
    expect(refusal(() => undone(edited, '0'))[0]).toBe('MIGRATION_EDITED');
  });
});

describe('knex folders in the order of names', () => {
  const files = ['2024-08-24-000-a.js', '2024-08-24-0000-b.js', '2024-10-1315-c.js', '2024-10-31-0000-d.js'];
  const folder = readFolder(files);

  test('rows are found by name, and order is that of names', () => {
    const rows = folder.migrations.slice(0, 3).map((migration) => rowOf(migration, { version: '1' }));
    expect(planUp(folder, rows).pending.map(({ file }) => file)).toEqual(['2024-10-31-0000-d.js']);
    const [first, , third] = rows;
    const gap = first !== undefined && third !== undefined ? [first, third] : [];
    expect(refusal(() => planUp(folder, gap))[0]).toBe('MIGRATION_OUT_OF_ORDER');
  });
});

test('running what is pending, in any number of steps, leaves nothing pending and keeps the order', () => {
  const versions = fc.uniqueArray(fc.integer({ min: 1, max: 60 }), { minLength: 1, maxLength: 20 });
  fc.assert(
    fc.property(versions, fc.array(fc.nat(20)), (present, steps) => {
      const folder = numbered(...present);
      const order: string[] = [];
      const history: HistoryRow[] = [];
      for (const step of [...steps, present.length]) {
        const { pending: next } = planUp(folder, history);
        for (const migration of next.slice(0, step)) {
          order.push(migration.id);
          history.push(rowOf(migration));
        }
      }
      expect(order).toEqual([...present].sort((left, right) => left - right).map(String));
      expect(planUp(folder, history).pending).toEqual([]);
    }),
  );
});
