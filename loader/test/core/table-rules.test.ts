import { describe, expect, test } from 'vitest';
import {
  checkDeletes,
  checkTable,
  furtherUniqueColumns,
  loadKey,
  publishMode,
  swapObstacle,
} from '../../src/core/table-rules.ts';
import { entry, reference, table, unique } from './definitions.ts';

const plain = table('t', { id: 'int NOT NULL', code: 'varchar(9) NOT NULL', note: 'varchar(9)' });
const code = (value: string) => expect.objectContaining({ code: value });

describe('the key of a table', () => {
  const both = { ...plain, indexes: [unique('PRIMARY', 'id'), unique('pair', 'code', 'id'), unique('noted', 'note')] };

  test('is the primary key, or the columns of the setting in their order', () => {
    expect(loadKey(entry('t'), both)).toEqual(['id']);
    expect(loadKey(entry('t', { key: ['ID', 'Code'] }), both)).toEqual(['id', 'code']);
  });

  test.each([
    [['code'], both],
    [['nothing'], both],
    [['note'], both],
    [null, { ...plain, indexes: [] }],
    [['id'], { ...plain, indexes: [{ ...unique('u', 'id'), parts: [{ column: 'id', prefix: 4 }] }] }],
    [['id'], { ...plain, indexes: [{ ...unique('u', 'id'), unique: false }] }],
    [null, table('t', { id: 'double NOT NULL' })],
  ])('%j is refused where no unique key without NULLs covers exactly it', (key, definition) => {
    expect(() => loadKey(entry('t', { key }), definition)).toThrow(code('LOAD_KEY_UNSUITABLE'));
  });

  test('leaves the columns of further unique keys that are not in it', () => {
    expect(furtherUniqueColumns(both, ['id'])).toEqual(['code', 'note']);
    expect(furtherUniqueColumns(both, ['id', 'code'])).toEqual(['note']);
    expect(furtherUniqueColumns(plain, ['id'])).toEqual([]);
  });
});

describe('a table that cannot be loaded safely', () => {
  const mirror = entry('t', { mode: 'mirror' });

  test.each([
    ['MyISAM', entry('t'), { ...plain, engine: 'MyISAM' }],
    ['system-versioned', entry('t'), { ...plain, systemVersioned: true }],
    ['CASCADE', mirror, { ...plain, referencedBy: [reference('child', 't_id', 't', 'CASCADE')] }],
    ['SET NULL', mirror, { ...plain, referencedBy: [reference('child', 't_id', 't', 'SET NULL')] }],
  ])('is refused: %s', (why, task, definition) => {
    expect(() => checkTable(task, definition, true)).toThrow(code('LOAD_TABLE_UNSUITABLE'));
    expect(() => checkTable(task, definition, true)).toThrow(why);
  });

  test('is any that is to be mirrored by an account that does not see the whole schema', () => {
    expect(() => checkTable(mirror, plain, false)).toThrow('sees only some tables');
    expect(() => checkTable(entry('t'), plain, false)).not.toThrow();
  });

  test('is not one whose children are in the way of a deletion by themselves', () => {
    const referencedBy = ['RESTRICT', 'NO ACTION'].map((rule) => reference('child', 't_id', 't', rule));
    expect(() => checkTable(mirror, { ...plain, referencedBy }, true)).not.toThrow();
  });
});

describe('the way of publishing', () => {
  const state = { empty: true, dryRun: false, archived: false, linked: false, missing: [] };
  const linked = { ...plain, foreignKeys: [reference('t', 'note', 'parent')] };
  const tree = { ...plain, foreignKeys: [reference('t', 'note', 't')] };

  test.each([
    ['swap', plain, state],
    ['delta', plain, { ...state, empty: false }],
    ['delta', plain, { ...state, archived: true }],
    ['delta', plain, { ...state, dryRun: true }],
    ['direct', plain, { ...state, linked: true }],
    ['direct', plain, { ...state, missing: ['DROP'] }],
    ['direct', linked, state],
    ['delta', tree, state],
  ] as const)('is %s by itself', (mode, definition, now) => {
    expect(publishMode(entry('t'), definition, now)).toBe(mode);
  });

  test.each([
    ['swap', plain, { ...state, empty: false }, 'not empty'],
    ['swap', linked, state, 'foreign keys'],
    ['swap', plain, { ...state, missing: ['DROP', 'ALTER'] }, 'lacks DROP, ALTER'],
    ['direct', plain, { ...state, empty: false }, 'not empty'],
  ] as const)('%s is refused where it is not safe', (publish, definition, now, why) => {
    expect(() => publishMode(entry('t', { publish }), definition, now)).toThrow(code('LOAD_PUBLISH_REFUSED'));
    expect(() => publishMode(entry('t', { publish }), definition, now)).toThrow(why);
  });

  test('that the setting asks for is taken where it is safe', () => {
    for (const publish of ['delta', 'swap', 'direct'] as const)
      expect(publishMode(entry('t', { publish }), plain, state)).toBe(publish);
  });

  test('is never swap where RENAME would leave something behind', () => {
    const said = (statement: string) => swapObstacle({ ...plain, createStatement: statement });
    expect(swapObstacle(plain)).toBeNull();
    expect(swapObstacle({ ...plain, referencedBy: [reference('c', 'x', 't')] })).toContain('foreign keys');
    expect(swapObstacle({ ...plain, triggers: [{ name: 'x', timing: 'BEFORE', event: 'INSERT' }] })).toContain(
      'triggers',
    );
    expect(swapObstacle({ ...plain, partitioned: true })).toContain('partitioned');
    expect(said('CREATE TABLE `t` (\n  `id` int,\n  CONSTRAINT `c` CHECK ((`id` > 0))\n)')).toContain('CHECK');
    // The check by which MariaDB tells a JSON column is copied with it.
    expect(said('CREATE TABLE `t` (\n  `j` longtext CHECK (json_valid(`j`))\n)')).toBeNull();
    expect(said("CREATE TABLE `t` (`id` int) DATA DIRECTORY='/x'")).toContain('place');
  });
});

describe('the guards on deletions', () => {
  const task = (rows: number | null, percent: number | null) => entry('t', { maxDeletes: { rows, percent } });

  test.each([
    [5, null, 5, 100],
    [null, 5, 5, 100],
    [null, null, 100, 100],
    [0, 0, 0, 0],
    [null, 20, 0, 0],
  ])('rows %j and percent %j let %j of %j go', (rows, percent, deletes, before) => {
    expect(() => checkDeletes(task(rows, percent), deletes, before)).not.toThrow();
  });

  test.each([
    [4, null, 5, 100],
    [null, 4.9, 5, 100],
    [100, 4, 5, 100],
    [4, 100, 5, 100],
    [0, null, 1, 100],
  ])('rows %j and percent %j keep %j of %j', (rows, percent, deletes, before) => {
    expect(() => checkDeletes(task(rows, percent), deletes, before)).toThrow(code('LOAD_TOO_MANY_DELETES'));
  });
});
