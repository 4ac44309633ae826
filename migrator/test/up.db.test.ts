import { expect, onTestFinished, test } from 'vitest';
import { describeEachServer, type TestSchema } from '../../test/servers.ts';
import { rounds } from '../../test/thoroughness.ts';
import { addFiles, migrationsFolder, runMigrator, startMigrator } from './run-migrator.ts';

/** A migration's statement that takes until it is let go. */
async function gate(schema: TestSchema) {
  const keeper = await schema.connect();
  onTestFinished(() => keeper.destroy());
  await keeper.query('SELECT GET_LOCK(?, 0)', [schema.name]);
  const waiting = `SELECT info FROM information_schema.processlist WHERE db = '${schema.name}' AND info LIKE 'DO GET_LOCK%'`;
  return {
    statement: `DO GET_LOCK('${schema.name}', 60)`,
    reached: () => expect.poll(() => schema.query(waiting), { timeout: 10_000 }).toHaveLength(1),
    open: () => keeper.end(),
  };
}

describeEachServer('migrator up', (server) => {
  test('applies each file once, in the order of the versions, and then has nothing to do', async () => {
    const schema = await server.createSchema();
    const folder = migrationsFolder({
      '2_second.sql': "INSERT INTO t VALUES (2, 'b');",
      '10_third.sql': "UPDATE t SET name = 'c' WHERE id = 2;",
      '001_first.sql': 'CREATE TABLE t (id INT PRIMARY KEY, name VARCHAR(10));',
    });
    const first = await runMigrator(schema.environment, folder);
    expect(first.summary).toMatchObject({
      outcome: 'done',
      applied: ['001_first.sql', '2_second.sql', '10_third.sql'],
      pending: 0,
      version: '10',
    });
    expect(first.code).toBe(0);
    const second = await runMigrator(schema.environment, folder);
    expect(second.summary).toMatchObject({ outcome: 'done', applied: [], pending: 0, version: '10' });
    expect(second.code).toBe(0);
    expect(await schema.query('SELECT * FROM t')).toEqual([{ id: 2, name: 'c' }]);
    expect(await schema.query('SELECT kind, outcome FROM tableset_runs')).toEqual([
      { kind: 'migrate', outcome: 'done' },
    ]);
  });

  test('fault 50: runs many processes at once on an empty schema: each migration once, and all of them exit 0', async () => {
    const schema = await server.createSchema();
    const folder = migrationsFolder({
      '1_table.sql': 'CREATE TABLE t (id INT AUTO_INCREMENT PRIMARY KEY); INSERT INTO t VALUES (NULL);',
      '2_row.sql': 'INSERT INTO t VALUES (NULL);',
      '3_row.sql': 'INSERT INTO t VALUES (NULL);',
    });
    const environment = { ...schema.environment, ON_BUSY: 'wait' };
    const runs = await Promise.all(Array.from({ length: rounds(16, 50) }, () => runMigrator(environment, folder)));
    expect(runs.filter(({ code }) => code !== 0)).toEqual([]);
    expect(runs.flatMap(({ summary }) => summary['applied'])).toHaveLength(3);
    expect(await schema.query('SELECT COUNT(*) AS n FROM t')).toEqual([{ n: 3 }]);
  }, 180_000);

  test('keeps LAST_INSERT_ID across statements, although each is recorded in between', async () => {
    const schema = await server.createSchema();
    const folder = migrationsFolder({
      '1_ids.sql': `
        CREATE TABLE parents (id INT AUTO_INCREMENT PRIMARY KEY, name VARCHAR(10));
        CREATE TABLE children (id INT AUTO_INCREMENT PRIMARY KEY, parent INT, note VARCHAR(10));
        INSERT INTO parents VALUES (100, 'skip');
        INSERT INTO parents (name) VALUES ('first');
        INSERT INTO children (parent, note) VALUES (LAST_INSERT_ID(), 'of first');
        INSERT INTO parents (name) VALUES ('second');
        SET @parent = LAST_INSERT_ID();
        INSERT INTO children (parent) VALUES (@parent);`,
    });
    expect(await runMigrator(schema.environment, folder)).toMatchObject({ code: 0 });
    expect(await schema.query('SELECT parent FROM children ORDER BY id')).toEqual([{ parent: 101 }, { parent: 102 }]);
  });

  test('keeps ROW_COUNT of the statement before, although it is recorded', async () => {
    const schema = await server.createSchema();
    const folder = migrationsFolder({
      '1_count.sql': `
        CREATE TABLE t (id INT PRIMARY KEY, n INT);
        CREATE TABLE counts (n INT);
        INSERT INTO t VALUES (1, 0), (2, 0), (3, 0);
        UPDATE t SET n = 1 WHERE id < 3;
        SET @rows = ROW_COUNT();
        INSERT INTO counts VALUES (@rows);
        DELETE FROM t;
        INSERT INTO counts SELECT ROW_COUNT();
        INSERT INTO counts SELECT ROW_COUNT() * 10;
        CREATE TABLE last_one (id INT);`,
    });
    expect(await runMigrator(schema.environment, folder)).toMatchObject({ code: 0 });
    expect(await schema.query('SELECT n FROM counts')).toEqual([{ n: 2 }, { n: 3 }, { n: 10 }]);
  });

  test('lets other pods start while a file locks tables for longer than they wait for locks', async () => {
    const schema = await server.createSchema();
    const folder = migrationsFolder({ '1_t.sql': 'CREATE TABLE t (id INT);' });
    await runMigrator(schema.environment, folder);
    const { statement, reached, open } = await gate(schema);
    addFiles(folder, { '2_lock.sql': `LOCK TABLES t WRITE; ${statement}; UNLOCK TABLES;` });
    const holder = startMigrator(schema.environment, folder);
    await reached();
    // Longer than the second that the other waits.
    setTimeout(() => void open(), 4000);
    const environment = { ...schema.environment, ON_BUSY: 'wait', MIGRATIONS_LOCK_TIMEOUT_SECONDS: '1' };
    const other = await runMigrator(environment, folder);
    expect(other, other.stderr).toMatchObject({ code: 0, summary: { applied: [], pending: 0 } });
    expect((await holder.ended).code).toBe(0);
  });

  test('runs files that lock tables, and keeps the journal meanwhile', async () => {
    const schema = await server.createSchema();
    const folder = migrationsFolder({
      '1_locks.sql': `
        CREATE TABLE a (id INT AUTO_INCREMENT PRIMARY KEY);
        CREATE TABLE b (a INT);
        LOCK TABLES a WRITE, b AS other WRITE, b WRITE;
        INSERT INTO a VALUES (NULL);
        INSERT INTO b VALUES (LAST_INSERT_ID());
        ALTER TABLE a ADD COLUMN c INT;
        LOCK TABLES \`b\` READ;
        SELECT * FROM b;
        UNLOCK TABLES;
        INSERT INTO a VALUES (NULL, 5);`,
    });
    expect(await runMigrator(schema.environment, folder)).toMatchObject({ code: 0 });
    expect(await schema.query('SELECT a FROM b')).toEqual([{ a: 1 }]);
    expect(await schema.query('SELECT DISTINCT state FROM tableset_migration_statements')).toEqual([{ state: 'done' }]);
  });

  test("runs the file's own transactions, autocommit settings, triggers, procedures and events", async () => {
    const schema = await server.createSchema();
    const folder = migrationsFolder({
      '1_programs.sql': `
        CREATE TABLE t (id INT AUTO_INCREMENT PRIMARY KEY, name VARCHAR(20));
        SET @OLD_AUTOCOMMIT = @@autocommit, autocommit = 0;
        INSERT INTO t (name) VALUES ('manual');
        COMMIT;
        INSERT INTO t (name) VALUES ('undone');
        ROLLBACK;
        SET autocommit = @OLD_AUTOCOMMIT;
        START TRANSACTION;
        INSERT INTO t (name) VALUES ('kept');
        SAVEPOINT s;
        INSERT INTO t (name) VALUES ('dropped');
        ROLLBACK TO SAVEPOINT s;
        COMMIT;
        BEGIN;
        INSERT INTO t (name) VALUES ('by implicit commit');
        CREATE TABLE u (id INT);
        DELIMITER //
        CREATE TRIGGER shout BEFORE INSERT ON t FOR EACH ROW BEGIN
          SET NEW.name = UPPER(NEW.name);
        END//
        CREATE PROCEDURE fill(IN n INT) BEGIN
          DECLARE i INT DEFAULT 0;
          WHILE i < n DO INSERT INTO t (name) VALUES ('called'); SET i = i + 1; END WHILE;
        END//
        DELIMITER ;
        CALL fill(2);
        CREATE VIEW names AS SELECT name FROM t;`,
    });
    expect(await runMigrator(schema.environment, folder)).toMatchObject({ code: 0 });
    const names = (await schema.query('SELECT name FROM names ORDER BY name')).map(({ name }) => name);
    expect(names).toEqual(['by implicit commit', 'CALLED', 'CALLED', 'kept', 'manual']);
  });

  test('takes versions of 20 digits and file names with the dialect in them', async () => {
    const schema = await server.createSchema();
    const folder = migrationsFolder({
      '18446744073709551615_last.mysql.up.sql': 'INSERT INTO t VALUES (2);',
      '9223372036854775808_before.mysql.up.sql': 'CREATE TABLE t (id INT); INSERT INTO t VALUES (1);',
      '9223372036854775808_before.postgres.up.sql': 'CREATE TABLE t (id SERIAL);',
      '18446744073709551615_last.mysql.down.sql': 'DELETE FROM t WHERE id = 2;',
    });
    const run = await runMigrator(schema.environment, folder);
    expect(run.summary).toMatchObject({
      applied: ['9223372036854775808_before.mysql.up.sql', '18446744073709551615_last.mysql.up.sql'],
      version: '18446744073709551615',
    });
    const down = await runMigrator(schema.environment, folder, ['down', '--to', '9223372036854775808']);
    expect(down.summary).toMatchObject({ outcome: 'done', version: '9223372036854775808' });
    expect(await schema.query('SELECT id FROM t')).toEqual([{ id: 1 }]);
  });

  test('refuses an edited file before anything runs, naming both checksums, until the edit is accepted', async () => {
    const schema = await server.createSchema();
    const folder = migrationsFolder({ '1_a.sql': 'CREATE TABLE a (id INT);' });
    await runMigrator(schema.environment, folder);
    const [{ checksum } = {}] = await schema.query('SELECT checksum FROM tableset_migrations');
    addFiles(folder, { '1_a.sql': 'CREATE TABLE a (id BIGINT);', '2_b.sql': 'CREATE TABLE b (id INT);' });
    const refused = await runMigrator(schema.environment, folder);
    expect(refused).toMatchObject({ code: 3, error: { code: 'MIGRATION_EDITED' } });
    expect(refused.error['message']).toContain(String(checksum));
    expect(refused.error['message']).toMatch(/1_a\.sql .*now [0-9a-f]{64}/);
    expect(await schema.query("SHOW TABLES LIKE 'b'")).toEqual([]);
    expect(await runMigrator(schema.environment, folder, ['resolve', '1', '--as', 'applied'])).toMatchObject({
      code: 0,
    });
    expect((await runMigrator(schema.environment, folder)).summary).toMatchObject({ applied: ['2_b.sql'] });
  });

  test('takes line endings for no edit', async () => {
    const schema = await server.createSchema();
    const folder = migrationsFolder({ '1_a.sql': 'CREATE TABLE a (\n id INT\n);\n' });
    await runMigrator(schema.environment, folder);
    addFiles(folder, { '1_a.sql': '\ufeffCREATE TABLE a (\r\n id INT\r\n);\r\n' });
    expect(await runMigrator(schema.environment, folder)).toMatchObject({ code: 0, summary: { applied: [] } });
  });

  test('starts with a warning when the database is ahead, and fails where that is asked for', async () => {
    const schema = await server.createSchema();
    const newer = migrationsFolder({ '1_a.sql': 'SELECT 1;', '2_b.sql': 'SELECT 2;' });
    await runMigrator(schema.environment, newer);
    const older = migrationsFolder({ '1_a.sql': 'SELECT 1;' });
    const warned = await runMigrator(schema.environment, older);
    expect(warned).toMatchObject({ code: 0, summary: { outcome: 'done', version: '2' } });
    expect(warned.stderr).toContain('the database is ahead');
    const failed = await runMigrator({ ...schema.environment, MIGRATIONS_AHEAD: 'fail' }, older);
    expect(failed).toMatchObject({ code: 3, error: { code: 'MIGRATION_AHEAD' } });
  });

  test('refuses a migration older than an applied one unless it is allowed', async () => {
    const schema = await server.createSchema();
    const folder = migrationsFolder({ '1_a.sql': 'SELECT 1;', '3_c.sql': 'SELECT 3;' });
    await runMigrator(schema.environment, folder);
    addFiles(folder, { '2_b.sql': 'CREATE TABLE late (id INT);' });
    expect(await runMigrator(schema.environment, folder)).toMatchObject({
      code: 3,
      error: { code: 'MIGRATION_OUT_OF_ORDER' },
    });
    expect(await runMigrator(schema.environment, folder, ['up', '--out-of-order'])).toMatchObject({
      code: 0,
      summary: { applied: ['2_b.sql'], version: '3' },
    });
  });

  test('stops at --to, and at --dry-run writes nothing, not even its own tables', async () => {
    const schema = await server.createSchema();
    const folder = migrationsFolder({ '1_a.sql': 'CREATE TABLE a (id INT);', '2_b.sql': 'CREATE TABLE b (id INT);' });
    const dry = await runMigrator(schema.environment, folder, ['up', '--dry-run']);
    expect(dry.summary).toMatchObject({ outcome: 'dry-run', wouldApply: ['1_a.sql', '2_b.sql'], pending: 2 });
    expect(await schema.query('SHOW TABLES')).toEqual([]);
    const first = await runMigrator(schema.environment, folder, ['up', '--to', '1']);
    expect(first.summary).toMatchObject({ applied: ['1_a.sql'], pending: 1, version: '1' });
  });

  test('names file, line, statement and server error of a failure, keeps what was done, and goes on once it is mended', async () => {
    const schema = await server.createSchema();
    const folder = migrationsFolder({
      '1_a.sql': 'CREATE TABLE a (id INT PRIMARY KEY);\n\nINSERT INTO a VALUES (1);\nINSERT INTO nothing VALUES (1);\n',
    });
    const failed = await runMigrator(schema.environment, folder);
    expect(failed).toMatchObject({
      code: 3,
      error: { code: 'MIGRATION_STATEMENT_FAILED', file: '1_a.sql', statement: 3, line: 4, errno: 1146 },
      summary: { outcome: 'failed', applied: [], pending: 1, version: null },
    });
    expect(failed.error['message']).toContain('1_a.sql:4: statement 3 failed: 1146');
    const status = await runMigrator(schema.environment, folder, ['status']);
    expect(status.summary['migrations']).toMatchObject([{ status: 'failed', statement: 3, line: 4 }]);
    addFiles(folder, {
      '1_a.sql': 'CREATE TABLE a (id INT PRIMARY KEY);\n\nINSERT INTO a VALUES (1);\nINSERT INTO a VALUES (2);\n',
    });
    expect(await runMigrator(schema.environment, folder)).toMatchObject({ code: 0, summary: { applied: ['1_a.sql'] } });
    expect(await schema.query('SELECT id FROM a')).toEqual([{ id: 1 }, { id: 2 }]);
  });

  test('refuses to go on when a statement that had run was edited meanwhile', async () => {
    const schema = await server.createSchema();
    const folder = migrationsFolder({ '1_a.sql': 'CREATE TABLE a (id INT);\nINSERT INTO nothing VALUES (1);' });
    await runMigrator(schema.environment, folder);
    addFiles(folder, { '1_a.sql': 'CREATE TABLE a (id BIGINT);\nINSERT INTO a VALUES (1);' });
    const refused = await runMigrator(schema.environment, folder);
    expect(refused).toMatchObject({ code: 3, error: { code: 'MIGRATION_UNFINISHED', statement: 1 } });
    await schema.query('DROP TABLE a');
    await runMigrator(schema.environment, folder, ['resolve', '1', '--as', 'rolled-back']);
    expect(await runMigrator(schema.environment, folder)).toMatchObject({ code: 0 });
  });

  test('refuses a history of a newer format', async () => {
    const schema = await server.createSchema();
    const folder = migrationsFolder({ '1_a.sql': 'SELECT 1;' });
    await runMigrator(schema.environment, folder);
    await schema.query("ALTER TABLE tableset_migrations COMMENT = 'Tableset migrations, format 2'");
    expect(await runMigrator(schema.environment, folder)).toMatchObject({ code: 3, error: { code: 'LEDGER_FORMAT' } });
  });

  test('gives each file a session as the first one had it', async () => {
    const schema = await server.createSchema();
    const folder = migrationsFolder({
      '1_a.sql':
        'CREATE TABLE a (id INT PRIMARY KEY); CREATE TABLE b (a INT, FOREIGN KEY (a) REFERENCES a (id)); SET foreign_key_checks = 0; USE information_schema;',
      '2_b.sql': 'INSERT INTO b VALUES (7);',
    });
    const run = await runMigrator(schema.environment, folder);
    expect(run).toMatchObject({ code: 3, error: { code: 'MIGRATION_STATEMENT_FAILED', file: '2_b.sql', errno: 1452 } });
  });

  test('is skipped, fails or waits while another run holds the lock, as asked', async () => {
    const schema = await server.createSchema();
    const { statement, reached, open } = await gate(schema);
    const slow = migrationsFolder({ '1_slow.sql': `${statement};` });
    const holder = startMigrator(schema.environment, slow);
    await reached();
    const start = (mode: string) => runMigrator({ ...schema.environment, ON_BUSY: mode }, slow);
    const waits = start('wait');
    const [skipped, failed] = await Promise.all([start('skip'), start('fail')]);
    await open();
    const waited = await waits;
    expect(skipped).toMatchObject({ code: 0, summary: { outcome: 'skipped', pending: 1 } });
    expect(failed).toMatchObject({ code: 75, error: { code: 'LOCK_BUSY' } });
    expect(failed?.error['message']).toMatch(/migrate run \d+ on /);
    expect(waited).toMatchObject({ code: 0, summary: { outcome: 'done', applied: [] } });
    expect((await holder.ended).code).toBe(0);
  });
});
