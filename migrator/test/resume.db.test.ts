import { expect, test } from 'vitest';
import { describeEachServer, type TestSchema } from '../../test/servers.ts';
import { addFiles, type MigratorRun, migrationsFolder, runMigrator, startMigrator } from './run-migrator.ts';

/** Starts the migration and kills the program as soon as the server runs a statement that looks like `pattern`. */
async function killDuring(schema: TestSchema, folder: string, pattern: string): Promise<void> {
  const started = startMigrator(schema.environment, folder);
  await expect.poll(() => statementsLike(schema, pattern), { timeout: 20_000, interval: 20 }).not.toEqual([]);
  started.child.kill('SIGKILL');
  await started.ended;
}

async function statementsLike(schema: TestSchema, pattern: string) {
  return await schema.query(
    'SELECT id FROM information_schema.processlist WHERE db = ? AND info LIKE ? AND id <> CONNECTION_ID()',
    [schema.name, pattern],
  );
}

function refusedWith(run: MigratorRun, text: RegExp): void {
  expect(run).toMatchObject({ code: 3, error: { code: 'MIGRATION_UNFINISHED' } });
  expect(run.error['message']).toMatch(text);
  for (const way of ['--as applied', '--as rolled-back', '--as retry']) expect(run.error['hint']).toContain(way);
}

describeEachServer('a migration that was cut off', (server) => {
  test('waits for the orphaned ALTER of a killed client, which still holds the lock, and takes it for done', async () => {
    const schema = await server.createSchema();
    const folder = migrationsFolder({
      '1_big.sql': 'CREATE TABLE big (id INT AUTO_INCREMENT PRIMARY KEY, text CHAR(200) NOT NULL);',
    });
    await runMigrator(schema.environment, folder);
    await schema.query("INSERT INTO big (text) VALUES ('x'), ('y'), ('z'), ('w')");
    for (let doubling = 0; doubling < 15; doubling += 1)
      await schema.query('INSERT INTO big (text) SELECT text FROM big');
    addFiles(folder, {
      '2_slow.sql':
        'ALTER TABLE big ADD COLUMN more INT NOT NULL DEFAULT 1, ALGORITHM=COPY;\nCREATE TABLE after_it (id INT);',
    });
    await killDuring(schema, folder, 'ALTER TABLE big%');
    const orphans = await statementsLike(schema, 'ALTER TABLE big%');
    const next = await runMigrator({ ...schema.environment, ON_BUSY: 'wait' }, folder);
    expect(orphans).toHaveLength(1);
    expect(next).toMatchObject({ code: 0, summary: { applied: ['2_slow.sql'] } });
    expect(next.stderr).toContain('a statement that was cut off had taken effect');
    expect(await schema.query("SHOW COLUMNS FROM big LIKE 'more'")).toHaveLength(1);
    expect(await schema.query("SHOW TABLES LIKE 'after_it'")).toHaveLength(1);
  });

  test('stops at a call that was cut off, and goes on as it is resolved', async () => {
    const schema = await server.createSchema();
    const folder = migrationsFolder({
      '1_call.sql':
        'CREATE TABLE t (id INT);\nCREATE PROCEDURE p() BEGIN INSERT INTO t VALUES (1); COMMIT; DO SLEEP(30); END;\nCALL p();\nINSERT INTO t VALUES (2);',
    });
    // Not the statement that makes the procedure, which has the same text in it.
    await killDuring(schema, folder, 'DO SLEEP(30)%');
    for (const { id } of await statementsLike(schema, 'DO SLEEP(30)%')) await server.query(`KILL ${String(id)}`);
    const environment = { ...schema.environment, ON_BUSY: 'wait' };
    refusedWith(await runMigrator(environment, folder), /1_call\.sql:3: statement 3 was cut off/);
    const resolved = await runMigrator(environment, folder, ['resolve', '1', '--as', 'retry', '--statement', '4']);
    expect(resolved).toMatchObject({ code: 0 });
    expect(await runMigrator(environment, folder)).toMatchObject({ code: 0 });
    expect(await schema.query('SELECT id FROM t ORDER BY id')).toEqual([{ id: 1 }, { id: 2 }]);
  });

  test('stops at a TRUNCATE whose end nobody saw', async () => {
    const schema = await server.createSchema();
    const folder = migrationsFolder({
      '1_t.sql': 'CREATE TABLE t (id INT);\nTRUNCATE TABLE t;\nSELECT 1 FROM nothing;',
    });
    await runMigrator(schema.environment, folder);
    await schema.query("UPDATE tableset_migration_statements SET state = 'started' WHERE statement = 2");
    refusedWith(await runMigrator(schema.environment, folder), /1_t\.sql:2: statement 2 was cut off/);
  });

  test.for([
    ['a user variable', 'SET @ids = (SELECT MAX(id) FROM t);', 'INSERT INTO t SELECT @ids + 1 FROM missing;', /@ids/],
    [
      'a temporary table',
      'CREATE TEMPORARY TABLE scratch AS SELECT * FROM t;',
      'INSERT INTO missing SELECT * FROM scratch;',
      /scratch/,
    ],
    ['LOCK TABLES', 'LOCK TABLES t WRITE;', 'INSERT INTO t SELECT * FROM missing;', /locks/],
    ['a prepared statement', "PREPARE s FROM 'INSERT INTO t VALUES (?)';", 'EXECUTE s;', /prepared/],
    [
      'the last insert id',
      'INSERT INTO t VALUES (NULL); SELECT 1;',
      'INSERT INTO missing VALUES (LAST_INSERT_ID());',
      /result/,
    ],
  ] as const)(
    'stops when the rest of the file needs %s of the session that is gone',
    async ([, makes, needs, named]) => {
      const schema = await server.createSchema();
      const folder = migrationsFolder({
        '1_s.sql': `CREATE TABLE t (id INT AUTO_INCREMENT PRIMARY KEY);\n${makes}\n${needs}`,
      });
      expect(await runMigrator(schema.environment, folder)).toMatchObject({ code: 3 });
      const again = await runMigrator(schema.environment, folder);
      refusedWith(again, named);
      expect(again.error['message']).toMatch(/1_s\.sql:3: statement \d needs .* 1_s\.sql:2: statement \d/);
    },
  );

  test('replays plain SETs and USE when it goes on', async () => {
    const schema = await server.createSchema();
    const folder = migrationsFolder({
      '1_s.sql':
        'CREATE TABLE a (id INT PRIMARY KEY);\nCREATE TABLE b (a INT, FOREIGN KEY (a) REFERENCES a (id));\nSET foreign_key_checks = 0;\nINSERT INTO b VALUES (7, 8);',
    });
    expect(await runMigrator(schema.environment, folder)).toMatchObject({ code: 3, error: { statement: 4 } });
    addFiles(folder, {
      '1_s.sql':
        'CREATE TABLE a (id INT PRIMARY KEY);\nCREATE TABLE b (a INT, FOREIGN KEY (a) REFERENCES a (id));\nSET foreign_key_checks = 0;\nINSERT INTO b VALUES (7);',
    });
    expect(await runMigrator(schema.environment, folder)).toMatchObject({ code: 0 });
    expect(await schema.query('SELECT a FROM b')).toEqual([{ a: 7 }]);
  });

  test('never repeats or loses the rows of a statement that SIGTERM stopped', async () => {
    const schema = await server.createSchema();
    const folder = migrationsFolder({
      '1_s.sql':
        'CREATE TABLE t (id INT AUTO_INCREMENT PRIMARY KEY, n INT);\nINSERT INTO t (n) SELECT SLEEP(20);\nINSERT INTO t (n) VALUES (5);',
    });
    const started = startMigrator(schema.environment, folder);
    await expect
      .poll(() => statementsLike(schema, 'INSERT INTO t (n) SELECT SLEEP(20)%'), { timeout: 20_000 })
      .not.toEqual([]);
    const since = performance.now();
    started.child.kill('SIGTERM');
    const stopped = await started.ended;
    expect(stopped).toMatchObject({ code: 143, summary: { outcome: 'stopped' }, error: { code: 'STOPPED' } });
    expect(performance.now() - since).toBeLessThan(5_000);
    expect(await schema.query('SELECT n FROM t')).toEqual([]);
    addFiles(folder, {
      '1_s.sql':
        'CREATE TABLE t (id INT AUTO_INCREMENT PRIMARY KEY, n INT);\nINSERT INTO t (n) SELECT SLEEP(0);\nINSERT INTO t (n) VALUES (5);',
    });
    expect(await runMigrator(schema.environment, folder)).toMatchObject({ code: 0 });
    expect(await schema.query('SELECT n FROM t ORDER BY id')).toEqual([{ n: 0 }, { n: 5 }]);
    expect(await schema.query('SELECT outcome FROM tableset_runs ORDER BY id')).toEqual([
      { outcome: 'stopped' },
      { outcome: 'done' },
    ]);
  });

  test('counts as applied, or as never begun, when that is what was found out', async () => {
    const schema = await server.createSchema();
    const folder = migrationsFolder({
      '1_a.sql': 'CREATE TABLE a (id INT);\nINSERT INTO missing VALUES (1);',
      '2_b.sql': 'CREATE TABLE b (id INT);',
    });
    await runMigrator(schema.environment, folder);
    await runMigrator(schema.environment, folder, ['resolve', '1', '--as', 'rolled-back']);
    expect(await runMigrator(schema.environment, folder)).toMatchObject({
      code: 3,
      error: { statement: 1, errno: 1050 },
    });
    await runMigrator(schema.environment, folder, ['resolve', '0001', '--as', 'applied']);
    expect(await runMigrator(schema.environment, folder)).toMatchObject({ code: 0, summary: { applied: ['2_b.sql'] } });
    expect(await runMigrator(schema.environment, folder, ['resolve', '2', '--as', 'retry'])).toMatchObject({
      code: 2,
      error: { code: 'MIGRATION_TARGET_UNKNOWN' },
    });
  });
});
