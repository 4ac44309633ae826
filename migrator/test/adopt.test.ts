import { describe, expect, test } from 'vitest';
import { adoptHistory, type FlywayRow, type ForeignHistory, flywayChecksum } from '../src/core/adopt.ts';
import type { MigrationFolder } from '../src/core/formats/migration.ts';
import { readFolder, refusal } from './folders.ts';

const adopted = (folder: MigrationFolder, history: ForeignHistory) =>
  adoptHistory(folder, history).applied.map(({ file }) => file);

describe('golang-migrate', () => {
  const folder = readFolder(['000001_a.up.sql', '000002_b.up.sql', '000003_c.up.sql']);

  test('one row stands for every version up to its own', () => {
    expect(adopted(folder, { tool: 'golang-migrate', rows: [{ version: '2', dirty: 0 }] })).toEqual([
      '000001_a.up.sql',
      '000002_b.up.sql',
    ]);
    expect(adopted(folder, { tool: 'golang-migrate', rows: [] })).toEqual([]);
    expect(adopted(folder, { tool: 'golang-migrate', rows: [{ version: 3n, dirty: false }] })).toHaveLength(3);
  });

  test('a dirty version is refused', () => {
    expect(refusal(() => adopted(folder, { tool: 'golang-migrate', rows: [{ version: 2, dirty: 1 }] }))).toEqual([
      'MIGRATION_ADOPT_DIRTY',
      'golang-migrate marked version 2 (000002_b.up.sql) as dirty',
    ]);
  });

  test('a version without a file is refused', () => {
    expect(refusal(() => adopted(folder, { tool: 'golang-migrate', rows: [{ version: 4, dirty: 0 }] }))).toEqual([
      'MIGRATION_ADOPT_NO_FILE',
      'the recorded migration 4 has no file in the folder; the newest file is 000003_c.up.sql, so that this image may be older than the database',
    ]);
  });
});

describe('dbmate', () => {
  const folder = readFolder({
    '20240101000000_a.sql': '-- migrate:up',
    '20240102000000_b.sql': '-- migrate:up',
    '20240103000000_c.sql': '-- migrate:up',
  });

  test('each row stands for itself, and gaps stay gaps', () => {
    const rows = [{ version: '20240103000000' }, { version: '20240101000000' }];
    expect(adopted(folder, { tool: 'dbmate', rows })).toEqual(['20240101000000_a.sql', '20240103000000_c.sql']);
  });

  test('a version without a file is refused', () => {
    expect(refusal(() => adopted(folder, { tool: 'dbmate', rows: [{ version: '20230101000000' }] }))).toEqual([
      'MIGRATION_ADOPT_NO_FILE',
      'the recorded migration 20230101000000 has no file in the folder',
    ]);
  });
});

describe('knex', () => {
  const folder = readFolder(['20240101000000_a.ts', '20240102000000_b.ts']);

  test('rows name files, also by the ending that they had when they were compiled', () => {
    const rows = [{ name: '20240102000000_b.js' }, { name: '20240101000000_a.ts' }];
    expect(adopted(folder, { tool: 'knex', rows })).toEqual(['20240101000000_a.ts', '20240102000000_b.ts']);
  });

  test('a name without a file is refused', () => {
    expect(refusal(() => adopted(folder, { tool: 'knex', rows: [{ name: '20240103000000_c.js' }] }))).toEqual([
      'MIGRATION_ADOPT_NO_FILE',
      'the recorded migration 20240103000000_c.js has no file in the folder',
    ]);
  });
});

describe('goose', () => {
  const folder = readFolder({ '00001_a.sql': '-- +goose Up', '00002_b.sql': '-- +goose Up' });

  test('the last row of a version counts, and the first row of the table does not', () => {
    const rows = [
      { version_id: 0, is_applied: 1 },
      { version_id: 1, is_applied: 1 },
      { version_id: 2, is_applied: 1 },
      { version_id: 2, is_applied: 0 },
    ];
    expect(adopted(folder, { tool: 'goose', rows })).toEqual(['00001_a.sql']);
    expect(adopted(folder, { tool: 'goose', rows: [...rows, { version_id: 2, is_applied: true }] })).toEqual([
      '00001_a.sql',
      '00002_b.sql',
    ]);
    expect(refusal(() => adopted(folder, { tool: 'goose', rows: [{ version_id: 7, is_applied: 1 }] }))[0]).toBe(
      'MIGRATION_ADOPT_NO_FILE',
    );
  });
});

describe('flyway', () => {
  const folder = readFolder({
    'V1__a.sql': 'SELECT 1;\nSELECT 2;\n',
    'V1.1__b.sql': 'SELECT 3',
    'R__v_w.sql': 'SELECT 4',
  });
  const row = (change: Partial<FlywayRow>): FlywayRow => ({
    installed_rank: 1,
    version: '1',
    description: 'a',
    type: 'SQL',
    script: 'V1__a.sql',
    checksum: flywayChecksum('SELECT 1;\nSELECT 2;\n'),
    success: 1,
    ...change,
  });
  const repeatable = row({
    installed_rank: 3,
    version: null,
    description: 'v w',
    script: 'R__v_w.sql',
    checksum: flywayChecksum('SELECT 4'),
  });
  const flyway = (...rows: readonly FlywayRow[]) => adopted(folder, { tool: 'flyway', rows });

  test('the checksum is the CRC32 of the lines without their ends, as a signed integer', () => {
    // Known from CRC32's check value: 0xCBF43926 for the digits 1 to 9.
    expect(flywayChecksum('123456789')).toBe(0xcbf43926 | 0);
    expect(flywayChecksum('\ufeff123\r\n456\n789\r')).toBe(0xcbf43926 | 0);
    expect(flywayChecksum('')).toBe(0);
    expect(flywayChecksum('é')).not.toBe(flywayChecksum('e'));
  });

  test('versions and repeatable migrations are taken over', () => {
    expect(flyway(repeatable, row({}), row({ installed_rank: 2, version: '1.1', checksum: null }))).toEqual([
      'V1__a.sql',
      'V1.1__b.sql',
      'R__v_w.sql',
    ]);
  });

  test('a file that was edited is refused, a repeatable one is due again', () => {
    const [code, message] = refusal(() => flyway(row({ checksum: 5 })));
    expect([code, message]).toEqual([
      'MIGRATION_ADOPT_CHECKSUM',
      expect.stringMatching(/^V1__a\.sql has Flyway's checksum -?\d+, but was applied with 5$/),
    ]);
    expect(flyway(row({}), { ...repeatable, checksum: 5 })).toEqual(['V1__a.sql']);
  });

  test('a failed migration and one without a file are refused', () => {
    expect(refusal(() => flyway(row({ success: 0 })))).toEqual([
      'MIGRATION_ADOPT_DIRTY',
      'Flyway recorded V1__a.sql as failed',
    ]);
    expect(refusal(() => flyway(row({ version: '9', type: 'JDBC', script: 'V9__x' })))).toEqual([
      'MIGRATION_ADOPT_NO_FILE',
      'the recorded migration V9__x has no file in the folder',
    ]);
  });

  test('what was undone or deleted from the history is not taken over', () => {
    expect(flyway(row({}), row({ installed_rank: 2, type: 'UNDO_SQL', script: 'U1__a.sql', checksum: null }))).toEqual(
      [],
    );
    expect(flyway(row({}), row({ installed_rank: 2, type: 'DELETE', checksum: null }))).toEqual([]);
  });

  test("Flyway's own rows are no migrations, and its baseline stands for all before it", () => {
    const schema = row({ installed_rank: 0, version: null, type: 'SCHEMA', script: '`shop`', checksum: null });
    const baseline = row({ type: 'BASELINE', script: '<< Flyway Baseline >>', checksum: null });
    expect(adoptHistory(folder, { tool: 'flyway', rows: [schema, baseline] })).toEqual({ applied: [], baseline: '1' });
  });
});
