import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { planDown } from '../src/core/plan.ts';
import { newMigration } from '../src/new-migration.ts';
import { readFolder, refused } from './folders.ts';
import { migrationsFolder } from './run-migrator.ts';

const now = new Date('2026-01-02T03:04:05Z');

/** What `new` makes in a folder of these files, by name. */
function made(files: Readonly<Record<string, string>>, name: string): Record<string, string> {
  const directory = migrationsFolder(files);
  const { summary } = newMigration({ directory, read: {}, name, now });
  const names = Array.isArray(summary['files']) ? summary['files'].map(String) : [];
  return Object.fromEntries(names.map((file) => [file, readFileSync(join(directory, file), 'utf8')]));
}

describe('a new migration', () => {
  test('is a script where its name ends so, numbered on with the SQL files', () => {
    expect(Object.entries(made({ '0001_a.sql': 'SELECT 1;' }, 'Fill in slugs.ts'))).toEqual([
      [
        '0002_fill_in_slugs.ts',
        expect.stringMatching(/^import type .*\n\nexport async function up\(knex: Knex\): Promise<void> \{\}\n/),
      ],
    ]);
    expect(Object.keys(made({}, 'first.js'))).toEqual(['0001_first.js']);
    expect(Object.keys(made({ '7_a.ts': 'export async function up() {}' }, 'next'))).toEqual(['8_next.ts']);
  });

  test.each([
    [{ '1_a.up.sql': '' }, 'b.ts', 'golang-migrate, which has no .ts files'],
    [{ '20260101000000_a.js': 'exports.up = () => {};' }, 'b.sql', 'knex, which has no .sql files'],
  ])('is refused where the tool of the folder would not read it', (files, name, message) => {
    const error = refused(() => made(files, name));
    expect([error.code, error.message]).toEqual(['SETTING_INVALID', expect.stringContaining(message)]);
  });

  test.each([
    ['tableset', {}],
    ['goose', { '1_a.sql': '-- +goose Up\nSELECT 1;' }],
    ['golang-migrate', { '1_a.up.sql': 'SELECT 1;' }],
  ])('of %s has no way down until one is written', (_, files) => {
    const folder = readFolder({ ...files, ...made(files, 'b') });
    const history = folder.migrations.map(({ version = null, name, checksum }) => ({
      version,
      name,
      checksum,
      state: 'applied' as const,
    }));
    expect(refused(() => planDown(folder, history, '0')).code).toBe('MIGRATION_DOWN_MISSING');
  });

  test('that is a script exports no way down until one is written', () => {
    const [text] = Object.values(made({}, 'a.ts'));
    expect(text).not.toMatch(/^export .*down/m);
  });
});
