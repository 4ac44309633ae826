import { connect } from '@tableset/common/database/connect.ts';
import type { Connection } from '@tableset/common/database/connection.ts';
import { readTableDefinition } from '@tableset/common/database/read-table.ts';
import { expect, onTestFinished, test } from 'vitest';
import { describeEachServer, type TestSchema, type TestServer } from '../../test/servers.ts';
import { type PlannedSet, planArchive } from '../src/archive/plan-archive.ts';
import type { ArchiveChild, ArchiveTask } from '../src/config/archive-config.ts';
import { addArchiveColumns, archiveDrift, createArchiveTable } from '../src/core/archive/archive-table.ts';
import { archivedTableOf } from '../src/core/archive/table-set.ts';
import { recordingOutput, settingsOf, taskOf } from './archive-two-server-kit.ts';

const now = '2026-07-01 00:00:00.000000';
const plain = 'CREATE TABLE t (id INT PRIMARY KEY, d DATETIME NOT NULL)';

const child = (table: string, more: Partial<ArchiveChild> = {}): ArchiveChild => ({
  table,
  on: null,
  when: null,
  resolutionSeconds: null,
  dateColumn: null,
  leftOut: 'keep',
  archiveTable: null,
  ...more,
});
const task = (more: Partial<ArchiveTask> = {}) => taskOf('t', { dateColumn: 'd', archiveAfterDays: 30, ...more });

async function plan(
  schema: Pick<TestSchema, 'environment'>,
  ...tasks: readonly ArchiveTask[]
): Promise<readonly PlannedSet[]> {
  await using connection = await connect(settingsOf(schema));
  return await planArchive(connection, tasks, { nowUtc: now, output: recordingOutput() });
}

async function made(server: TestServer, ddl: string): Promise<TestSchema> {
  const schema = await server.createSchema();
  await schema.script(ddl);
  return schema;
}

/** Tables that are refused, each with the words that say why. */
const refused: readonly [name: string, ddl: string, more: Partial<ArchiveTask>, words: RegExp][] = [
  [
    'fault 44: a table without a primary key',
    'CREATE TABLE t (id INT NOT NULL, d DATETIME, UNIQUE (id))',
    {},
    /no primary key/,
  ],
  [
    'fault 44: a nullable unique key only',
    'CREATE TABLE t (id INT NULL, d DATETIME, UNIQUE u (id))',
    {},
    /no primary key \(its unique key u allows NULL/,
  ],
  [
    'fault 40: a DOUBLE in the primary key',
    'CREATE TABLE t (id DOUBLE PRIMARY KEY, d DATETIME)',
    {},
    /does not compare exactly/,
  ],
  [
    'a primary key over the beginning of a text',
    'CREATE TABLE t (id TEXT, d DATETIME, PRIMARY KEY (id(10)))',
    {},
    /only the beginning/,
  ],
  ['fault 48: MyISAM', 'CREATE TABLE t (id INT PRIMARY KEY, d DATETIME) ENGINE=MyISAM', {}, /MyISAM/i],
  ['a view', `${plain.replace(' t ', ' base ')}; CREATE VIEW t AS SELECT * FROM base`, {}, /no base table/],
  [
    'a column with the name of the archive’s own',
    'CREATE TABLE t (id INT PRIMARY KEY, d DATETIME, tableset_batch INT)',
    {},
    /tableset_batch/,
  ],
  [
    'fault 46: a child that cascades',
    `${plain}; CREATE TABLE c (id INT PRIMARY KEY, t INT, FOREIGN KEY (t) REFERENCES t (id) ON DELETE CASCADE)`,
    {},
    /referred to by c .*ON DELETE CASCADE/,
  ],
  [
    'fault 46: a child that is set to NULL',
    `${plain}; CREATE TABLE c (id INT PRIMARY KEY, t INT, FOREIGN KEY (t) REFERENCES t (id) ON DELETE SET NULL)`,
    {},
    /referred to by c .*ON DELETE SET NULL/,
  ],
  [
    'fault 46: a child that restricts and is not archived along',
    `${plain}; CREATE TABLE c (id INT PRIMARY KEY, t INT, FOREIGN KEY (t) REFERENCES t (id))`,
    {},
    /referred to by c /,
  ],
  [
    'fault 46: a grandchild that cascades',
    `${plain}; CREATE TABLE c (id INT PRIMARY KEY, t INT, FOREIGN KEY (t) REFERENCES t (id) ON DELETE CASCADE); CREATE TABLE g (id INT PRIMARY KEY, c INT, FOREIGN KEY (c) REFERENCES c (id) ON DELETE CASCADE)`,
    { children: [child('c')] },
    /^c is referred to by g /,
  ],
  [
    'fault 46: a child that cascades by another column than it goes along by',
    `${plain}; CREATE TABLE c (id INT PRIMARY KEY, t INT NOT NULL, other INT NULL, FOREIGN KEY (t) REFERENCES t (id), FOREIGN KEY (other) REFERENCES t (id) ON DELETE CASCADE)`,
    { children: [child('c', { on: { t: 'id' } })] },
    /goes along by other columns/,
  ],
  [
    'a table that refers to itself',
    'CREATE TABLE t (id INT PRIMARY KEY, d DATETIME, up INT, CONSTRAINT fk_up FOREIGN KEY (up) REFERENCES t (id))',
    {},
    /refers to itself by the foreign key fk_up/,
  ],
  [
    'a circle of tables',
    `${plain}; CREATE TABLE c (id INT PRIMARY KEY, t INT NOT NULL, FOREIGN KEY (t) REFERENCES t (id)); ALTER TABLE t ADD c INT, ADD FOREIGN KEY (c) REFERENCES c (id)`,
    { children: [child('c')] },
    /circle/,
  ],
  [
    'a child that refers in two ways',
    `${plain}; CREATE TABLE c (id INT PRIMARY KEY, a INT, b INT, FOREIGN KEY (a) REFERENCES t (id), FOREIGN KEY (b) REFERENCES t (id))`,
    { children: [child('c')] },
    /several ways/,
  ],
  [
    'a child that refers to nothing',
    `${plain}; CREATE TABLE c (id INT PRIMARY KEY)`,
    { children: [child('c')] },
    /no foreign key/,
  ],
  [
    'a child that would have two parents',
    `${plain}; ALTER TABLE t ADD g INT; CREATE TABLE c (id INT PRIMARY KEY, g INT)`,
    { children: [child('c', { on: { g: 'g' } })] },
    /not unique/,
  ],
  [
    'fault 47: a delete trigger',
    `${plain}; CREATE TRIGGER gone AFTER DELETE ON t FOR EACH ROW SET @x = 1`,
    {},
    /trigger gone/,
  ],
  [
    'fault 47: a delete trigger of a child',
    `${plain}; CREATE TABLE c (id INT PRIMARY KEY, t INT, FOREIGN KEY (t) REFERENCES t (id)); CREATE TRIGGER gone BEFORE DELETE ON c FOR EACH ROW SET @x = 1`,
    { children: [child('c')] },
    /^c has the trigger gone/,
  ],
];

describeEachServer('planning to archive', (server) => {
  for (const [name, ddl, more, words] of refused) {
    test(`${name} is refused`, async () => {
      const schema = await made(server, ddl);
      await expect(plan(schema, task(more))).rejects.toMatchObject({
        code: 'ARCHIVE_TABLE_UNSUITABLE',
        message: expect.stringMatching(words),
      });
    });
  }

  test('fault 47: a delete trigger is no obstacle once it is accepted, and an update trigger is none', async () => {
    const schema = await made(
      server,
      `${plain}; CREATE TRIGGER gone AFTER DELETE ON t FOR EACH ROW SET @x = 1; CREATE TRIGGER up AFTER UPDATE ON t FOR EACH ROW SET @x = 1`,
    );
    expect(await plan(schema, task({ allowDeleteTriggers: true }))).toHaveLength(1);
    await schema.script('DROP TRIGGER gone');
    expect(await plan(schema, task())).toHaveLength(1);
  });

  test('fault 48: a partitioned table is fine, and a system-versioned one refused', async () => {
    const schema = await made(
      server,
      `CREATE TABLE t (id INT PRIMARY KEY, d DATETIME) PARTITION BY HASH (id) PARTITIONS 3`,
    );
    expect(await plan(schema, task())).toHaveLength(1);
    if (server.flavour === 'mysql') return;
    await schema.script('DROP TABLE t; CREATE TABLE t (id INT PRIMARY KEY, d DATETIME) WITH SYSTEM VERSIONING');
    await expect(plan(schema, task())).rejects.toMatchObject({ message: expect.stringMatching(/system-versioned/) });
  });

  test('a table of the ledger is refused, and one that is not there is waited for rather than refused', async () => {
    const schema = await made(server, 'CREATE TABLE tableset_x (id INT PRIMARY KEY, d DATETIME)');
    await expect(plan(schema, taskOf('tableset_x', { dateColumn: 'd' }))).rejects.toMatchObject({
      code: 'ARCHIVE_TABLE_UNSUITABLE',
    });
    await expect(plan(schema, task())).rejects.toMatchObject({ code: 'LOAD_TABLE_MISSING', exit: 1 });
  });

  test('settings that do not fit the table are errors of the settings', async () => {
    const schema = await made(
      server,
      'CREATE TABLE t (id INT PRIMARY KEY, d DATETIME, ts TIMESTAMP NULL, s INT, name VARCHAR(9))',
    );
    for (const more of [
      { dateColumn: 'nothing' },
      { dateColumn: 's' },
      { dateColumn: 'name' },
      { dateType: 'epoch-seconds' },
      { dateColumn: 'ts', dateZone: 'Europe/Berlin' },
      { dateColumn: 's', dateType: 'epoch-seconds', dateZone: 'Europe/Berlin' },
    ] as const) {
      await expect(plan(schema, task(more))).rejects.toMatchObject({ code: 'SETTING_INVALID', exit: 2 });
    }
    expect(await plan(schema, task({ dateColumn: 's', dateType: 'epoch-seconds' }))).toHaveLength(1);
  });

  test('an account that cannot see every foreign key or trigger is refused, and the documented grants are enough', async () => {
    const schema = await made(
      server,
      `${plain}; CREATE TABLE c (id INT PRIMARY KEY, t INT, FOREIGN KEY (t) REFERENCES t (id) ON DELETE CASCADE)`,
    );
    const user = `${schema.name}x`;
    await server.query(`CREATE USER ${user}@'%' IDENTIFIED BY 'x'`);
    try {
      await server.query(`GRANT SELECT, DELETE ON ${schema.name}.t TO ${user}@'%'`);
      const limited = { environment: { ...schema.environment, DB_USER: user, DB_PASSWORD: 'x' } };
      await expect(plan(limited, task())).rejects.toMatchObject({
        message: expect.stringMatching(/sees only some tables/),
      });
      await server.query(`GRANT SELECT ON ${schema.name}.* TO ${user}@'%'`);
      // MariaDB still hides the foreign key of c, which nothing but SELECT is granted on.
      const still =
        server.flavour === 'mariadb' ? /sees only some tables/ : /does not see foreign keys of other schemas/;
      await expect(plan(limited, task())).rejects.toMatchObject({ message: expect.stringMatching(still) });
      await server.query(`GRANT TRIGGER ON ${schema.name}.t TO ${user}@'%'`);
      // Every right on the schema shows nothing of the others.
      if (server.flavour === 'mysql')
        await expect(plan(limited, task())).rejects.toMatchObject({
          message: expect.stringMatching(/of other schemas/),
        });
      await server.query(`GRANT PROCESS ON *.* TO ${user}@'%'`);
      const cascade = { message: expect.stringMatching(/referred to by c/) };
      if (server.flavour === 'mysql') await expect(plan(limited, task())).rejects.toMatchObject(cascade);
      await server.query(`GRANT TRIGGER ON ${schema.name}.* TO ${user}@'%'`);
      await expect(plan(limited, task())).rejects.toMatchObject(cascade);
      await schema.script('DROP TABLE c');
      expect(await plan(limited, task())).toHaveLength(1);
    } finally {
      await server.query(`DROP USER ${user}@'%'`);
    }
  });

  test('a foreign key from a schema that the account has no right on is refused, whatever the names', async () => {
    const schema = await made(server, plain);
    const other = await server.createSchema();
    const key = (name: string) =>
      `ALTER TABLE ${other.name}.\`re#funds ü\` ADD COLUMN c INT, ADD FOREIGN KEY (c) REFERENCES ${schema.name}.\`${name}\` (id) ON DELETE CASCADE`;
    await other.script('CREATE TABLE `re#funds ü` (id INT PRIMARY KEY)');
    // Else the schema that it refers to could not be dropped.
    onTestFinished(() => other.script('DROP TABLE `re#funds ü`'));
    await schema.script('CREATE TABLE `Größe-2$` LIKE t; CREATE TABLE `größe-2$` LIKE t');
    await server.query(key('Größe-2$'));
    const odd = (table: string) => plan(schema, { ...task(), table });
    expect(await odd('größe-2$')).toHaveLength(1);
    const error = { code: 'ARCHIVE_TABLE_UNSUITABLE', exit: 3 };
    const message = expect.stringContaining(`is referred to by ${other.name}.re#funds ü, whose foreign key`);
    await expect(odd('Größe-2$')).rejects.toMatchObject({ ...error, message });
    await server.query(`REVOKE PROCESS ON *.* FROM ${schema.user}@'%'`);
    const unseen = { ...error, message: expect.stringMatching(/does not see foreign keys of other schemas/) };
    await expect(odd('Größe-2$')).rejects.toMatchObject({ ...unseen, hint: expect.stringMatching(/GRANT PROCESS ON/) });
    await expect(plan(schema, task({ allowDeleteTriggers: true }))).rejects.toMatchObject(unseen);
  });

  test('children go under what they refer to, however deep, parents first', async () => {
    const schema = await made(
      server,
      `${plain};
       CREATE TABLE item (id INT PRIMARY KEY, t_id INT NOT NULL, FOREIGN KEY (t_id) REFERENCES t (id) ON DELETE CASCADE);
       CREATE TABLE part (id INT PRIMARY KEY, item_id INT NOT NULL, t_id INT NOT NULL, FOREIGN KEY (item_id) REFERENCES item (id) ON DELETE CASCADE, FOREIGN KEY (t_id) REFERENCES t (id));
       CREATE TABLE note (id INT PRIMARY KEY, About INT, KEY (About))`,
    );
    const children = [child('note', { on: { about: 'ID' }, archiveTable: 'old_notes' }), child('part'), child('item')];
    const [planned] = await plan(schema, task({ children, archiveTable: 'old' }));
    const tables = planned?.set.tables.map(({ definition, archiveName, child: link }) => [
      definition.name,
      archiveName,
      link?.parent,
      link?.columns,
      link?.parentColumns,
    ]);
    expect(tables).toEqual([
      ['t', 'old', undefined, undefined, undefined],
      ['note', 'old_notes', 0, ['About'], ['id']],
      ['item', 'item', 0, ['t_id'], ['id']],
      ['part', 'part', 2, ['item_id'], ['id']],
    ]);
    await expect(
      plan(schema, task({ children: [child('item', { archiveTable: 'T' }), child('part')] })),
    ).rejects.toMatchObject({ message: expect.stringMatching(/share its archive table/) });
    await expect(
      plan(
        schema,
        task({ children: [child('item'), child('part')] }),
        taskOf('note', { dateColumn: 'about', dateType: 'epoch-seconds', archiveTable: 'item' }),
      ),
    ).rejects.toMatchObject({ message: expect.stringMatching(/share the archive table/) });
  });

  test('goes along the date where its index serves, the rows are few or expire, else along the key', async () => {
    const schema = await made(server, 'CREATE TABLE t (id INT PRIMARY KEY, d DATETIME NOT NULL, x INT)');
    await schema.query('INSERT INTO t VALUES ?', [
      Array.from({ length: 2000 }, (_, n) => [n, n < 100 ? '2020-01-01' : '2026-06-30', n]),
    ]);
    const choice = async (more: Partial<ArchiveTask> = {}) => {
      await schema.query('ANALYZE TABLE t');
      const [planned] = await plan(schema, task(more));
      return [planned?.byDate, planned?.dateIndex, planned?.selection().indexHint];
    };
    expect(await choice({ deleteAfterDays: 400 })).toEqual([false, null, ' FORCE INDEX (`PRIMARY`)']);
    await schema.script('ALTER TABLE t ADD KEY other (d, x)');
    expect(await choice()).toEqual([false, null, ' FORCE INDEX (`PRIMARY`)']);
    await schema.script('ALTER TABLE t ADD KEY at (d)');
    expect(await choice()).toEqual([true, 'at', ' FORCE INDEX (`at`)']);
    await schema.script("UPDATE t SET d = '2020-01-01' WHERE id < 1900");
    expect(await choice()).toEqual([false, 'at', ' FORCE INDEX (`PRIMARY`)']);
    expect(await choice({ deleteAfterDays: 400 })).toEqual([true, 'at', ' FORCE INDEX (`at`)']);
    await schema.script(`ALTER TABLE t ALTER INDEX at ${server.flavour === 'mysql' ? 'INVISIBLE' : 'IGNORED'}`);
    expect(await choice({ deleteAfterDays: 400 })).toEqual([false, null, ' FORCE INDEX (`PRIMARY`)']);
  });

  test('fault 35: the fingerprint changes with types, names, order and character sets, not with indexes', async () => {
    const schema = await made(server, 'CREATE TABLE t (id INT PRIMARY KEY, d DATETIME NOT NULL, name VARCHAR(9))');
    const print = async () => (await plan(schema, task()))[0]?.set.tables[0].fingerprint ?? '';
    const seen = [await print()];
    expect(seen[0]).toMatch(/^[0-9a-f]{64}$/);
    await schema.script('ALTER TABLE t ADD KEY (name)');
    expect(await print()).toBe(seen[0]);
    for (const change of [
      'MODIFY name VARCHAR(10)',
      'MODIFY name VARCHAR(10) CHARACTER SET latin1',
      'MODIFY name VARCHAR(10) CHARACTER SET latin1 AFTER id',
      'CHANGE name title VARCHAR(10) CHARACTER SET latin1',
      'DROP PRIMARY KEY, ADD PRIMARY KEY (d, id)',
    ]) {
      await schema.script(`ALTER TABLE t ${change}`);
      const next = await print();
      expect(seen).not.toContain(next);
      seen.push(next);
    }
  });

  test('faults 34 to 43: an archive is made that takes every type, and fits its table', async () => {
    const spatial = server.flavour === 'mysql' ? 'POINT SRID 4326 NOT NULL' : 'POINT NOT NULL';
    const own = server.flavour === 'mysql' ? 'v INT INVISIBLE' : 'v INT INVISIBLE, u UUID, i INET6';
    const schema = await made(
      server,
      `CREATE TABLE t (\`a\`\`b\` BIGINT UNSIGNED NOT NULL AUTO_INCREMENT, c VARCHAR(10) CHARACTER SET latin1 COLLATE latin1_german1_ci NOT NULL DEFAULT 'x' COMMENT 'it''s',
        dec_ DECIMAL(65,30), f FLOAT(7,4), db DOUBLE, z INT(5) UNSIGNED ZEROFILL, e ENUM('it''s','b\\\\n','ä') CHARACTER SET latin1 NOT NULL, s SET('x','y'), j JSON, bi BIT(12), b BINARY(3), bl BLOB, d DATETIME(6) NOT NULL,
        ts TIMESTAMP(3) NOT NULL DEFAULT CURRENT_TIMESTAMP(3) ON UPDATE CURRENT_TIMESTAMP(3), y YEAR, g INT AS (LENGTH(c)) VIRTUAL, gs INT AS (LENGTH(c)) STORED NOT NULL, p ${spatial}, ${own}, CHECK (db > 0),
        PRIMARY KEY (\`a\`\`b\`, c), UNIQUE (dec_))`.replace(' STORED NOT NULL', ' STORED'),
    );
    await using connection = await connect(settingsOf(schema));
    const source = await archived(connection, 't', 'old');
    const collations = await collationsOf(connection);
    await connection.run(createArchiveTable(source, schema.name, connection.server, collations));
    const archive = await definitionOf(connection, 'old');
    expect(archiveDrift(source, archive)).toEqual({ missing: [], refusals: [] });
    expect(archive.columns.map(({ name }) => name)).toEqual([
      ...source.columns.map(({ name }) => name),
      'tableset_batch',
    ]);
    expect(archive.columns.filter(({ generated, autoIncrement }) => generated || autoIncrement)).toEqual([]);
    expect(archive.indexes.map(({ name, parts }) => [name, parts.map(({ column }) => column)])).toEqual([
      ['PRIMARY', ['a`b', 'c', 'tableset_batch']],
      ['tableset_batch', ['tableset_batch']],
    ]);
    expect(archive.columns.find(({ name }) => name === 'e')?.members).toEqual(
      source.columns.find(({ name }) => name === 'e')?.members,
    );
    expect(archive.columns.find(({ name }) => name === 'c')?.collation).toBe('latin1_german1_ci');
    // A server that does not know the collation tells all texts apart.
    const known = new Set([...collations].filter((name) => name !== 'latin1_german1_ci'));
    expect(createArchiveTable(source, schema.name, connection.server, known)).toMatch(
      /`c` varchar\(10\) CHARACTER SET latin1 COLLATE latin1(_nopad)?_bin NOT NULL/,
    );
  });

  /** What a change of the archive or of the table leads to: null for nothing. */
  const drifts: readonly [change: string, on: 'old' | 't', words: RegExp | null][] = [
    ['MODIFY n BIGINT UNSIGNED NULL', 'old', null],
    ['MODIFY n INT NULL', 'old', /column n is int.* unsigned .*MODIFY `n` int/],
    ['MODIFY n BIGINT UNSIGNED NULL', 't', /column n is bigint/],
    ['MODIFY name VARCHAR(19) NULL', 'old', /column name is varchar\(20\).*varchar\(19\)/],
    ['MODIFY name TEXT NULL', 'old', null],
    ['MODIFY name CHAR(20) NULL', 'old', /column name/],
    ['MODIFY name VARCHAR(20) CHARACTER SET utf8mb3 NULL', 'old', /column name is/],
    ['MODIFY name VARCHAR(80) CHARACTER SET utf8mb3 NULL', 'old', /is in utf8mb4 and in the archive in utf8mb3/],
    ['MODIFY name VARCHAR(80) CHARACTER SET latin1 NULL', 'old', /in latin1, which lacks characters/],
    ['MODIFY name VARCHAR(20) COLLATE utf8mb4_general_ci NULL', 'old', null],
    ['MODIFY k VARCHAR(20) COLLATE utf8mb4_general_ci NOT NULL', 'old', /different keys for equal/],
    ['MODIFY price DECIMAL(12,3) NULL', 'old', /column price/],
    ['MODIFY price DECIMAL(12,2) NULL', 'old', null],
    ['MODIFY d DATETIME(6) NOT NULL', 'old', /column d/],
    ["MODIFY e ENUM('b','a') NULL", 'old', /column e is enum.*MODIFY `e` enum\('a','b'\)/],
    ["MODIFY e ENUM('a','b','c') NULL", 'old', null],
    ["MODIFY e ENUM('a','b','c') NULL", 't', /column e/],
    ['MODIFY bin VARBINARY(4) NULL', 'old', null],
    ['MODIFY bin BINARY(5) NULL', 'old', /column bin/],
    ['MODIFY n INT UNSIGNED NOT NULL', 'old', /column n takes no NULL/],
    ['DROP COLUMN price, ADD price DECIMAL(10,2) AS (1)', 'old', /generated in the archive/],
    ['ADD extra INT NOT NULL', 'old', /column extra is no longer in t.*MODIFY `extra` int.* NULL/],
    ['ADD extra INT NULL', 'old', null],
    ['DROP PRIMARY KEY, ADD PRIMARY KEY (k)', 'old', /primary key/],
    ['ADD UNIQUE u (n)', 'old', /unique key u/],
    ['ENGINE=MyISAM', 'old', /no transactions/],
  ];
  for (const [change, on, words] of drifts) {
    test(`faults 34, 36, 37, 43: ${change} on the ${on === 'old' ? 'archive' : 'table'} is ${words ? 'refused with what to do' : 'fine'}`, async () => {
      const schema = await made(
        server,
        "CREATE TABLE t (k VARCHAR(20) COLLATE utf8mb4_bin PRIMARY KEY, n INT UNSIGNED NULL, name VARCHAR(20) NULL, price DECIMAL(10,2) NULL, d DATETIME NOT NULL, e ENUM('a','b') NULL, bin BINARY(4) NULL)",
      );
      await using connection = await connect(settingsOf(schema));
      await connection.run(
        createArchiveTable(
          await archived(connection, 't', 'old'),
          schema.name,
          connection.server,
          await collationsOf(connection),
        ),
      );
      await schema.script(`SET SESSION sql_mode = ''; ALTER TABLE ${on} ${change}`);
      const { missing, refusals } = archiveDrift(
        await archived(connection, 't', 'old'),
        await definitionOf(connection, 'old'),
      );
      expect(missing).toEqual([]);
      if (words === null) expect(refusals).toEqual([]);
      else expect(refusals).toEqual([expect.stringMatching(words)]);
    });
  }

  test('fault 37: an archive whose collation ignores blanks at the end is refused for keys that differ by them', async () => {
    const padless = server.flavour === 'mysql' ? 'utf8mb4_0900_ai_ci' : 'utf8mb4_general_nopad_ci';
    const schema = await made(
      server,
      `CREATE TABLE t (k VARCHAR(20) COLLATE ${padless} PRIMARY KEY, d DATETIME NOT NULL);
       CREATE TABLE old (k VARCHAR(20) COLLATE utf8mb4_bin, d DATETIME NOT NULL, tableset_batch BIGINT UNSIGNED NOT NULL, PRIMARY KEY (k, tableset_batch))`,
    );
    await using connection = await connect(settingsOf(schema));
    const drift = async () =>
      archiveDrift(await archived(connection, 't', 'old'), await definitionOf(connection, 'old'));
    expect((await drift()).refusals).toEqual([expect.stringMatching(/different keys for equal/)]);
    const bin = server.flavour === 'mysql' ? 'utf8mb4_0900_bin' : 'utf8mb4_nopad_bin';
    await schema.script(`ALTER TABLE old MODIFY k VARCHAR(20) COLLATE ${bin}`);
    expect(await drift()).toEqual({ missing: [], refusals: [] });
  });

  test('a type that the archive’s server lacks is refused by column, or kept as text where that is the same', async () => {
    const schema = await made(
      server,
      `CREATE TABLE t (id INT PRIMARY KEY, d DATETIME NOT NULL, j JSON${server.flavour === 'mariadb' ? ', u UUID' : ''})`,
    );
    await using connection = await connect(settingsOf(schema));
    const source = await archived(connection, 't', 'old');
    const other = { ...connection.server, flavour: server.flavour === 'mysql' ? 'mariadb' : 'mysql' } as const;
    const make = () => createArchiveTable(source, 's', other, new Set(['utf8mb4_bin']));
    if (server.flavour === 'mysql')
      expect(make()).toMatch(/`j` longtext CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NULL/);
    else
      expect(make).toThrow(
        expect.objectContaining({
          code: 'ARCHIVE_STORE_UNSUITABLE',
          message: expect.stringMatching(/column u is uuid/),
        }),
      );
  });

  test('fault 34: a column that the archive lacks can be added to it, and one that the table has dropped stays', async () => {
    const schema = await made(server, 'CREATE TABLE t (id INT PRIMARY KEY, d DATETIME NOT NULL, gone INT NULL)');
    await using connection = await connect(settingsOf(schema));
    const collations = await collationsOf(connection);
    await connection.run(
      createArchiveTable(await archived(connection, 't', 'old'), schema.name, connection.server, collations),
    );
    await schema.script(
      "ALTER TABLE t DROP COLUMN gone, ADD note VARCHAR(5) COLLATE utf8mb4_bin NOT NULL DEFAULT 'x', ADD n INT NOT NULL",
    );
    const source = await archived(connection, 't', 'old');
    const { missing, refusals } = archiveDrift(source, await definitionOf(connection, 'old'));
    expect([missing.map(({ name }) => name), refusals]).toEqual([['note', 'n'], []]);
    await connection.run(
      addArchiveColumns(await definitionOf(connection, 'old'), missing, connection.server, collations),
    );
    expect(archiveDrift(source, await definitionOf(connection, 'old'))).toEqual({ missing: [], refusals: [] });
  });
});

async function definitionOf(connection: Connection, name: string) {
  const definition = await readTableDefinition(connection, connection.settings.name, name);
  if (!definition) throw new Error(`no table ${name}`);
  return definition;
}

async function archived(connection: Connection, name: string, archiveName: string) {
  return archivedTableOf(await definitionOf(connection, name), archiveName, null);
}

async function collationsOf(connection: Connection): Promise<ReadonlySet<string>> {
  const rows = await connection.rows('SELECT COLLATION_NAME AS name FROM information_schema.COLLATIONS');
  return new Set(rows.map((row) => String(row['name'])));
}
