import { describe, expect, test } from 'vitest';
import { decodeMigration, migrationChecksum } from '../src/core/formats/migration.ts';
import { type ReadOptions, readMigrationFolder } from '../src/core/formats/read-folder.ts';
import { readFolder, refusal, refused } from './folders.ts';

const summary = (files: Readonly<Record<string, string>> | readonly string[], options?: ReadOptions) => {
  const { format, migrations } = readFolder(files, options);
  return [format, ...migrations.map(({ version, name }) => `${version} ${name}`)];
};
const only = (files: Readonly<Record<string, string>>, options?: ReadOptions) => {
  const [migration] = readFolder(files, options).migrations;
  if (migration === undefined) throw new Error('no migration');
  const { up, down, transaction } = migration;
  const texts = (statements: readonly { line: number; text: string }[] | undefined) =>
    statements?.map(({ line, text }) => `${line} ${text}`);
  return { up: texts(up()), down: texts(down?.()), transaction };
};

describe('the format of a folder is told from its files', () => {
  test.each([
    ['tableset', ['0010_b.sql', '0002_a.sql', '9_x.ts'], ['tableset', '2 a', '9 x', '10 b']],
    ['a bare number', ['1.sql'], ['tableset', '1 ']],
    ['dots', ['1.2.10_b.sql', '1.2.9_a.sql'], ['tableset', '1.2.9 a', '1.2.10 b']],
    ['golang-migrate', ['000002_b.up.sql', '1_a.up.sql', '1_a.down.sql'], ['golang-migrate', '1 a', '2 b']],
    ['golang-migrate without names', ['1.up.sql', '2.up.sql'], ['golang-migrate', '1 ', '2 ']],
    [
      'versions of 20 digits',
      ['20191100000001000001_b.up.sql', '20191100000001000000_a.up.sql'],
      ['golang-migrate', '20191100000001000000 a', '20191100000001000001 b'],
    ],
    ['flyway', ['V1.10__c.sql', 'V1_2__a.sql', 'V1.9__b_c.sql', 'R__v.sql'], ['flyway', '1.2 a', '1.9 b_c', '1.10 c']],
    ['flyway in subfolders', ['mysql/V1__a.sql', 'common/V2__b.sql'], ['flyway', '1 a', '2 b']],
    [
      'knex',
      ['20180618015850_initial.js', '20200101000000_next.ts'],
      ['knex', '20180618015850 20180618015850_initial', '20200101000000 20200101000000_next'],
    ],
  ])('%s', (_, files, expected) => {
    expect(summary(files)).toEqual(expected);
  });

  test('dbmate and goose are told by their markers', () => {
    expect(summary({ '1_a.sql': '-- migrate:up\nSELECT 1;' })).toEqual(['dbmate', '1 a']);
    expect(summary({ '1_a.sql': '-- +goose Up\nSELECT 1;' })).toEqual(['goose', '1 a']);
    expect(summary({ '1_a.sql': '-- migrate:up\nSELECT 1;', '2_b.sql': 'SELECT 1' })).toEqual([
      'tableset',
      '1 a',
      '2 b',
    ]);
  });

  test.each([
    ['pairs beside single files', ['1_a.up.sql', '2_b.sql'], '1_a.up.sql, 2_b.sql'],
    ['Flyway beside numbers', ['V1__a.sql', '2_b.sql'], '2_b.sql, V1__a.sql'],
    ['pairs beside scripts', ['1_a.up.sql', '2_b.ts'], '1_a.up.sql, 2_b.ts'],
  ])('%s are refused, naming one of each', (_, files, names) => {
    expect(refusal(() => readFolder(files))).toEqual(['MIGRATION_FORMAT_MIXED', `the folder mixes formats: ${names}`]);
  });

  test('goose beside files without its markers is refused', () => {
    const files = { '1_a.sql': '-- +goose Up\nSELECT 1;', '2_b.sql': 'SELECT 1' };
    expect(refusal(() => readFolder(files))[0]).toBe('MIGRATION_FORMAT_MIXED');
    expect(refusal(() => readFolder(files, { format: 'goose' }))).toEqual([
      'MIGRATION_SECTION_INVALID',
      '2_b.sql:1: there is no -- +goose Up',
    ]);
  });

  test('a chosen format refuses files of another', () => {
    expect(refusal(() => readFolder(['1_a.up.sql'], { format: 'tableset' }))[0]).toBe('MIGRATION_FORMAT_MIXED');
    expect(refusal(() => readFolder(['V1__a.sql'], { format: 'golang-migrate' }))[0]).toBe('MIGRATION_FORMAT_MIXED');
  });
});

describe('files that are no migrations', () => {
  test('are passed over and listed', () => {
    const names = [
      'README.md',
      '.hidden.sql',
      '..data/0001_a.sql',
      'seeds/0001_a.sql',
      'index.js',
      'embed.go',
      'types.d.ts',
      '0002_b.test.ts',
      'other/0001_a.sql',
    ];
    const files = Object.fromEntries(
      [...names, '0001_a.sql'].map((name) => [name, name === 'index.js' ? 'export const a = 1;' : 'SELECT 1']),
    );
    const folder = readFolder(files);
    expect(folder.migrations.map(({ file }) => file)).toEqual(['0001_a.sql']);
    expect(folder.passedOver.map(({ name }) => name).sort()).toEqual(names.sort());
  });

  test.each([
    'schema.sql',
    'a_0001.sql',
    '2024-01-01_a.sql',
    'v1__a.sql',
    '20211121-094727.sql',
    'V0001.Initial.up.sql',
    '0003_c.sql.gz',
    'create.ts',
  ])('%s is refused with the remedy rather than left out', (name) => {
    expect(refusal(() => readFolder(['0001_a.sql', name]))).toEqual([
      'MIGRATION_NAME_UNREADABLE',
      `the name of ${name} gives no version`,
    ]);
  });

  test.each([
    ['00002_b.go', 'SELECT 1', 'a migration in another language'],
    ['V2__b.java', 'SELECT 1', 'a migration in another language'],
    ['afterMigrate.sql', 'SELECT 1', 'a Flyway callback'],
    ['0002_b.sql', '-- +migrate Up\nSELECT 1;\n-- +migrate Down\nSELECT 2;', '"-- +migrate Up"'],
    ['0002_b.sql', 'SELECT 1;\n--//@UNDO\nSELECT 2;', '"--//@UNDO"'],
  ])('%s, which needs another tool, is refused', (name, text, what) => {
    const [code, message] = refusal(() => readFolder({ '0001_a.sql': 'SELECT 1', [name]: text }));
    expect([code, message]).toEqual(['MIGRATION_UNSUPPORTED', expect.stringContaining(what)]);
    expect(message).toContain(name);
  });

  test('an empty folder is refused', () => {
    expect(refusal(() => readFolder(['README.md']))[0]).toBe('MIGRATION_NONE_FOUND');
  });
});

describe('duplicate versions are refused with both names', () => {
  test.each([
    [['0001_a.sql', '1_b.sql'], '0001_a.sql and 1_b.sql both have the version 1'],
    [['1_a.up.sql', '01_b.up.sql'], '01_b.up.sql and 1_a.up.sql both have the version 1'],
    [['1_a.up.sql', '1_a.down.sql', '1_b.down.sql'], '1_a.down.sql and 1_b.down.sql both have the version 1'],
    [['V1__a.sql', 'V1.0__b.sql'], 'V1.0__b.sql and V1__a.sql both have the version 1'],
    [['1_a.js', '1_a.ts'], '1_a.js and 1_a.ts both have the version 1'],
    [['a/R__v.sql', 'b/R__v.sql', 'V1__a.sql'], 'a/R__v.sql and b/R__v.sql both have the version R__v'],
  ])('%j', (files, message) => {
    expect(refusal(() => readFolder(files))).toEqual(['MIGRATION_DUPLICATE', message]);
  });
});

describe('dialect parts', () => {
  const files = {
    '1_a.up.sql': 'SELECT 0',
    '1_a.mysql.up.sql': 'SELECT 1',
    '1_a.mariadb.up.sql': 'SELECT 2',
    '1_a.postgres.up.sql': 'SELECT 3',
    '2_b.sqlite3.up.sql': 'SELECT 4',
    '3_c.mysql.autocommit.up.sql': 'SELECT 5',
  };

  test('the nearest file is read, other databases are left out', () => {
    const folder = readFolder(files);
    expect(folder.migrations.map(({ file, transaction }) => [file, transaction.up])).toEqual([
      ['1_a.mysql.up.sql', true],
      ['3_c.mysql.autocommit.up.sql', false],
    ]);
    expect(folder.passedOver.map(({ name }) => name)).toEqual(['1_a.postgres.up.sql', '2_b.sqlite3.up.sql']);
    expect(readFolder(files, { server: 'mariadb' }).migrations[0]?.file).toBe('1_a.mariadb.up.sql');
  });

  test('a file of another name is no variant', () => {
    expect(refusal(() => readFolder(['1_a.up.sql', '1_b.mysql.up.sql']))[0]).toBe('MIGRATION_DUPLICATE');
  });
});

describe('sections', () => {
  test('the two directions of a pair', () => {
    expect(only({ '1_a.up.sql': 'SELECT 1;\nSELECT 2', '1_a.down.sql': '\nSELECT 3' })).toMatchObject({
      up: ['1 SELECT 1', '2 SELECT 2'],
      down: ['2 SELECT 3'],
    });
    expect(only({ '1_a.up.sql': '' })).toMatchObject({ up: [], down: undefined });
    expect(refusal(() => readFolder(['1_a.up.sql', '2_b.down.sql']))[0]).toBe('MIGRATION_SECTION_INVALID');
  });

  test.each([
    [
      'both',
      '-- c\n-- migrate:up transaction:false\nSELECT 1;\n-- migrate:down\r\nSELECT 2;\n',
      ['3 SELECT 1'],
      ['5 SELECT 2'],
      false,
    ],
    ['the way up alone', '--migrate:up\nSELECT 1;', ['2 SELECT 1'], undefined, true],
    [
      'the way down alone',
      'SELECT 1;\n-- migrate:down transaction:true\nSELECT 2;',
      ['1 SELECT 1'],
      ['3 SELECT 2'],
      true,
    ],
    ['none', '\ufeffSELECT 1;', ['1 SELECT 1'], undefined, true],
    ['an empty way down', '-- migrate:up\nSELECT 1;\n-- migrate:down', ['2 SELECT 1'], [], true],
  ])('-- migrate: with %s', (_, text, up, down, transaction) => {
    const found = only({ '1_a.sql': text });
    expect([found.up, found.down, found.transaction.up]).toEqual([up, down, transaction]);
  });

  test.each([
    ['twice up', '-- migrate:up\n-- migrate:up', '1_a.sql:2: a section is marked twice'],
    ['three', '-- migrate:up\n-- migrate:down\n-- migrate:up', '1_a.sql:3: a section is marked twice'],
    ['down first', '-- migrate:down\n-- migrate:up', '1_a.sql:2: the way down stands before the way up'],
    [
      'misspelt',
      '-- migrate:up\n-- migrate: down',
      '1_a.sql:2: -- migrate: down is written otherwise: -- migrate:up or -- migrate:down',
    ],
    [
      'in capitals',
      '-- MIGRATE:UP\nSELECT 1',
      '1_a.sql:1: -- MIGRATE:UP is written otherwise: -- migrate:up or -- migrate:down',
    ],
    ['an unknown option', '-- migrate:up transactions:false', '1_a.sql:1: the option transactions:false is not known'],
    ['statements before', '\n-- x\nSELECT 1;\n-- migrate:up', '1_a.sql:3: a statement stands before -- migrate:up'],
  ])('-- migrate: %s is refused', (_, text, message) => {
    expect(refusal(() => readFolder({ '1_a.sql': text }))).toEqual(['MIGRATION_SECTION_INVALID', message]);
  });

  const goose = `-- comment
-- +goose NO TRANSACTION
-- +goose Up
SELECT 1; SELECT 2;
-- +goose StatementBegin
CREATE PROCEDURE p()
BEGIN SELECT ';'; SELECT 3; END;
-- +goose StatementEnd
SELECT 4;
-- +goose StatementBegin
SELECT 5; SELECT 6;
-- +goose StatementEnd
-- +goose Down
DROP PROCEDURE p;
`;

  test('goose, with statements that it does not split', () => {
    expect(only({ '00001_a.sql': goose })).toEqual({
      up: [
        '4 SELECT 1',
        '4 SELECT 2',
        "6 CREATE PROCEDURE p()\nBEGIN SELECT ';'; SELECT 3; END",
        '9 SELECT 4',
        '11 SELECT 5',
        '11 SELECT 6',
      ],
      down: ['14 DROP PROCEDURE p'],
      transaction: { up: false, down: false },
    });
  });

  test('the statements of a file are numbered through', () => {
    const [migration] = readFolder({ '1_a.sql': goose.replaceAll('\n', '\r\n') }).migrations;
    expect(migration?.up().map(({ index }) => index)).toEqual([0, 1, 2, 3, 4, 5]);
  });

  test.each([
    [
      'no way up',
      '-- +goose Down\nSELECT 1;',
      'MIGRATION_SECTION_INVALID',
      '1_a.sql:1: -- +goose Down stands in the wrong place',
    ],
    [
      'a statement before',
      'SELECT 1;\n-- +goose Up',
      'MIGRATION_SECTION_INVALID',
      '1_a.sql:1: a statement stands before -- +goose Up',
    ],
    [
      'an open statement',
      '-- +goose Up\n-- +goose StatementBegin\nSELECT 1',
      'MIGRATION_SECTION_INVALID',
      '1_a.sql:2: -- +goose StatementBegin has no StatementEnd',
    ],
    [
      'an end without begin',
      '-- +goose Up\n-- +goose StatementEnd',
      'MIGRATION_SECTION_INVALID',
      '1_a.sql:2: -- +goose StatementEnd stands in the wrong place',
    ],
    [
      'an unknown command',
      '-- +goose Up\n-- +goose Sideways',
      'MIGRATION_SECTION_INVALID',
      '1_a.sql:2: -- +goose SIDEWAYS is not known',
    ],
    [
      'environment variables',
      '-- +goose ENVSUB ON\n-- +goose Up',
      'MIGRATION_UNSUPPORTED',
      "1_a.sql:1: goose's ENVSUB is not carried out",
    ],
  ])('goose with %s is refused', (_, text, code, message) => {
    expect(refusal(() => readFolder({ '1_a.sql': text }))).toEqual([code, message]);
  });
});

describe('flyway', () => {
  test('undo, repeatable and baseline files are told apart', () => {
    const folder = readFolder({
      'V2__b.sql': 'SELECT 2',
      'U2__b.sql': 'SELECT 3',
      'R__w.sql': 'SELECT 5',
      'R__v.sql': 'SELECT 4',
      'B2__b.sql': 'SELECT 6',
      'V1__a.sql': 'SELECT 1',
    });
    expect(folder.migrations.map(({ file, down }) => [file, down?.()[0]?.text])).toEqual([
      ['V1__a.sql', undefined],
      ['V2__b.sql', 'SELECT 3'],
    ]);
    expect(folder.repeatables.map(({ id, version, kind }) => [id, version, kind])).toEqual([
      ['R__v', undefined, 'repeatable'],
      ['R__w', undefined, 'repeatable'],
    ]);
    expect(folder.baselines.map(({ file, kind }) => [file, kind])).toEqual([['B2__b.sql', 'baseline']]);
  });

  const placeholder = '$'.concat('{Name}');
  const files = { 'V1__a.sql': `-- x\nINSERT INTO t VALUES ('${placeholder}');` };

  test('a placeholder without a value is refused by name when the migration is to run', () => {
    const folder = readFolder(files);
    expect(refusal(() => folder.migrations[0]?.up())).toEqual([
      'MIGRATION_PLACEHOLDER',
      `V1__a.sql:2: ${placeholder} has no value`,
    ]);
    expect(refused(() => folder.migrations[0]?.up()).hint).toContain('--placeholder Name=VALUE');
  });

  test('placeholders take given values, or stay where that is chosen', () => {
    expect(only(files, { placeholders: { name: 'x' } }).up).toEqual(["2 INSERT INTO t VALUES ('x')"]);
    expect(only(files, { placeholders: 'off' }).up).toEqual([`2 INSERT INTO t VALUES ('${placeholder}')`]);
  });

  test('a value changes the checksum of a repeatable migration alone', () => {
    const checksums = (value: string) => {
      const { migrations, repeatables } = readFolder(
        { ...files, 'R__v.sql': `SELECT ${placeholder}` },
        { placeholders: { name: value } },
      );
      return [migrations[0]?.checksum, repeatables[0]?.checksum];
    };
    expect(checksums('1')[0]).toBe(checksums('2')[0]);
    expect(checksums('1')[1]).not.toBe(checksums('2')[1]);
  });
});

describe('knex', () => {
  test('names with dashes run in the order of their names, as knex runs them', () => {
    const files = [
      '2024-10-31-0000-c.js',
      '2024-10-1315-b.js',
      '2024-08-24-0000-a2.js',
      '2024-08-24-000-a1.js',
      '2026-01-05-0000-x.js',
      '2026-01-05-0000-y.js',
    ];
    const folder = readFolder(files);
    expect(folder.order).toBe('name');
    expect(folder.migrations.map(({ file }) => file)).toEqual([...files].sort());
    expect(new Set(folder.migrations.map(({ version }) => version)).size).toBe(files.length);
  });

  test('a shared version keeps its label when a file is added before it', () => {
    const versionOf = (names: readonly string[]) =>
      readFolder(names).migrations.find(({ name }) => name === '2026-01-05-0000-y')?.version;
    expect(versionOf(['2026-01-05-0000-x.js', '2026-01-05-0000-y.js'])).toBe(
      versionOf(['2026-01-05-0000-a.js', '2026-01-05-0000-x.js', '2026-01-05-0000-y.js']),
    );
  });

  test('letters number the migrations of a day', () => {
    expect(summary(['20201028B-b.ts', '20201028A-a.ts'])).toEqual([
      'knex',
      '20201028.1 20201028A-a',
      '20201028.2 20201028B-b',
    ]);
  });

  test('an order that two tools see differently is refused until one is chosen', () => {
    const files = ['10_b.js', '2_a.js'];
    expect(refusal(() => readFolder(files))).toEqual([
      'MIGRATION_FORMAT_MIXED',
      'knex runs 10_b.js before 2_a.js, tableset the other way round',
    ]);
    expect(summary(files, { format: 'knex' })).toEqual(['knex', '10 10_b', '2 2_a']);
    expect(summary(files, { format: 'tableset' })).toEqual(['tableset', '2 a', '10 b']);
  });
});

describe('content', () => {
  test('the checksum ignores line endings and the byte-order mark, and nothing else', () => {
    const sum = migrationChecksum('a\nb\n');
    expect(sum).toBe('911169ddaaf146aff539f58c26c489af3b892dff0fe283c1c264c65ae5aa59a2');
    expect(migrationChecksum('\ufeffa\r\nb\r\n')).toBe(sum);
    expect(migrationChecksum('a\rb\r')).toBe(sum);
    expect(migrationChecksum('a\nb')).not.toBe(sum);
    expect(migrationChecksum('a \nb\n')).not.toBe(sum);
  });

  test('only UTF-8 is decoded, and the first wrong byte is named', () => {
    const decode = (...bytes: number[]) => refusal(() => decodeMigration(Uint8Array.from(bytes), 'f.sql'));
    expect(decodeMigration(new TextEncoder().encode('é😀'), 'f.sql')).toBe('é😀');
    expect(decode(0x61, 0xc3, 0xa9, 0xe9, 0x62)).toEqual(['MIGRATION_ENCODING', 'f.sql is not UTF-8 at byte 3']);
    expect(decode(0x61, 0xc3)).toEqual(['MIGRATION_ENCODING', 'f.sql is not UTF-8 at byte 1']);
    expect(decode(0xff, 0xfe, 0x61, 0)).toEqual(['MIGRATION_ENCODING', 'f.sql is UTF-16']);
  });

  test('a file is read once and split only when it is asked for', () => {
    let reads = 0;
    const text = () => {
      reads += 1;
      return "SELECT 'x";
    };
    const folder = readMigrationFolder([{ name: '1_a.sql', text }]);
    expect(refusal(() => folder.migrations[0]?.up())[0]).toBe('MIGRATION_SQL_UNTERMINATED');
    expect(reads).toBe(1);
  });
});
