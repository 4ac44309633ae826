import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { describeEachServer, type TestServer } from '../../test/servers.ts';
import { addFiles, migrationsFolder, runMigrator, startMigrator } from './run-migrator.ts';

const impatient = { MIGRATIONS_LOCK_TIMEOUT_SECONDS: '1', MIGRATIONS_LOCK_RETRIES: '1' };

/** An account with exactly what docs/operations.md lists for the migrator, and nothing of the optional grants. */
async function documentedAccount(server: TestServer, schema: string): Promise<Readonly<Record<string, string>>> {
  const user = `m${schema.slice(4)}`;
  const document = await readFile(join(import.meta.dirname, '../../docs/operations.md'), 'utf8');
  const section = document.slice(document.indexOf('## Grants: migrator'));
  const grant = /```sql\n(GRANT [^;]+);\n```/.exec(section)?.[1] ?? '';
  await server.query(`CREATE USER ${user}@'%' IDENTIFIED BY 'only the documented grants'`);
  await server.query(grant.replace('`shop`', `\`${schema}\``).replace("'migrator'@'%'", `${user}@'%'`));
  return { DB_USER: user, DB_PASSWORD: 'only the documented grants' };
}

describeEachServer('a statement that waits for a lock', (server) => {
  test('fails after bounded retries, names the session that holds it, and has had no effect', async () => {
    const schema = await server.createSchema();
    const folder = migrationsFolder({ '1_t.sql': 'CREATE TABLE t (id INT PRIMARY KEY);' });
    await runMigrator(schema.environment, folder);
    addFiles(folder, { '2_alter.sql': 'ALTER TABLE t ADD COLUMN n INT;' });
    await using holder = await schema.connect();
    await holder.query('START TRANSACTION');
    await holder.query('SELECT * FROM t');
    const root = { ...schema.environment, DB_USER: 'root', DB_PASSWORD: String(server.address.password) };
    const blocked = await runMigrator({ ...root, ...impatient }, folder);
    expect(blocked).toMatchObject({
      code: 1,
      error: { code: 'MIGRATION_BLOCKED', file: '2_alter.sql', statement: 1, errno: 1205 },
    });
    expect(blocked.error['message']).toContain(`connection ${holder.threadId}`);
    expect(blocked.stderr).toContain('statement waits for a lock');
    if (server.flavour === 'mysql') {
      expect(blocked.error['message']).toContain('holds SHARED_READ on t');
      expect(blocked.error['hint']).toContain(`KILL ${holder.threadId}`);
    } else expect(blocked.error['message']).toContain('may hold it');
    expect(await schema.query("SHOW COLUMNS FROM t LIKE 'n'")).toEqual([]);
    await holder.query('COMMIT');
    expect(await runMigrator(schema.environment, folder)).toMatchObject({
      code: 0,
      summary: { applied: ['2_alter.sql'] },
    });
  });

  test('names candidates and the grants that would show more, where the account sees little', async () => {
    const schema = await server.createSchema();
    const account = { ...schema.environment, ...(await documentedAccount(server, schema.name)) };
    const folder = migrationsFolder({ '1_t.sql': 'CREATE TABLE t (id INT PRIMARY KEY);' });
    await runMigrator(account, folder);
    addFiles(folder, { '2_alter.sql': 'ALTER TABLE t ADD COLUMN n INT;' });
    await using holder = await schema.connect();
    await holder.query('START TRANSACTION');
    await holder.query('SELECT * FROM t');
    const blocked = await runMigrator({ ...account, ...impatient }, folder);
    expect(blocked).toMatchObject({ code: 1, error: { code: 'MIGRATION_BLOCKED' } });
    expect(blocked.error['hint']).toMatch(/grant .*(PROCESS ON|ON performance_schema)/i);
    await holder.query('COMMIT');
    await server.query(`DROP USER ${account.DB_USER}`);
  });

  test('gets it on a later try when the holder lets go', async () => {
    const schema = await server.createSchema();
    const folder = migrationsFolder({ '1_t.sql': 'CREATE TABLE t (id INT PRIMARY KEY); INSERT INTO t VALUES (1);' });
    await runMigrator(schema.environment, folder);
    addFiles(folder, {
      '2_rows.sql': 'START TRANSACTION;\nINSERT INTO t VALUES (2);\nUPDATE t SET id = 3 WHERE id = 1;\nCOMMIT;',
    });
    await using holder = await schema.connect();
    await holder.query('START TRANSACTION');
    await holder.query('SELECT * FROM t FOR UPDATE');
    const waiting = startMigrator({ ...schema.environment, MIGRATIONS_LOCK_TIMEOUT_SECONDS: '1' }, folder);
    await waiting.said('statement waits for a lock');
    await holder.query('COMMIT');
    expect(await waiting.ended).toMatchObject({ code: 0 });
    expect(await schema.query('SELECT id FROM t ORDER BY id')).toEqual([{ id: 2 }, { id: 3 }]);
  });
});

describeEachServer('an ALTER TABLE', (server) => {
  test('is done the cheapest way that the server knows, and refused over the budget before it copies', async () => {
    const schema = await server.createSchema();
    const folder = migrationsFolder({
      '1_t.sql': "CREATE TABLE t (id INT AUTO_INCREMENT PRIMARY KEY, n INT NOT NULL, s VARCHAR(20) DEFAULT 'x');",
    });
    await runMigrator(schema.environment, folder);
    await schema.query('INSERT INTO t (n) VALUES (1), (2), (3), (4)');
    for (let doubling = 0; doubling < 9; doubling += 1) await schema.query('INSERT INTO t (n) SELECT n FROM t');
    await schema.query('ANALYZE TABLE t');
    addFiles(folder, {
      '2_cheap.sql': 'ALTER TABLE t ADD COLUMN added INT -- a comment\n;\nALTER TABLE t ADD INDEX (n);',
      '3_dear.sql': 'ALTER TABLE t MODIFY n BIGINT NOT NULL;',
    });
    const refused = await runMigrator({ ...schema.environment, MIGRATIONS_DDL_BUDGET_ROWS: '500' }, folder);
    expect(refused).toMatchObject({
      code: 3,
      error: { code: 'MIGRATION_OVER_BUDGET', file: '3_dear.sql', table: 't', budgetRows: 500 },
      summary: { applied: ['2_cheap.sql'] },
    });
    expect(refused.error['rows']).toBeGreaterThan(1000);
    expect(refused.stderr).toContain('"algorithm":"INSTANT"');
    expect(refused.stderr).toContain('"algorithm":"INPLACE"');
    const allowed = await runMigrator({ ...schema.environment, MIGRATIONS_DDL_BUDGET_ROWS: '5000' }, folder);
    expect(allowed).toMatchObject({ code: 0, summary: { applied: ['3_dear.sql'] } });
    expect(await schema.query("SHOW COLUMNS FROM t LIKE 'n'")).toMatchObject([
      { Type: expect.stringContaining('bigint') },
    ]);
  });

  test('runs as it is written where it takes no algorithm, and where it names one itself', async () => {
    const schema = await server.createSchema();
    const folder = migrationsFolder({
      '1_t.sql': `CREATE TABLE t (id INT PRIMARY KEY, algorithm INT);
        ALTER TABLE t PARTITION BY HASH (id) PARTITIONS 2;
        ALTER TABLE t REMOVE PARTITIONING;
        ALTER TABLE t ORDER BY id;
        ALTER TABLE t ADD COLUMN \`lock\` INT, ALGORITHM=COPY;
        ALTER TABLE t RENAME TO u;
        ALTER TABLE u RENAME COLUMN algorithm TO way, COMMENT='ALGORITHM=COPY';`,
    });
    expect(await runMigrator(schema.environment, folder)).toMatchObject({ code: 0 });
    expect(await schema.query('SHOW COLUMNS FROM u')).toMatchObject([
      { Field: 'id' },
      { Field: 'way' },
      { Field: 'lock' },
    ]);
  });
});

describeEachServer('the account that docs/operations.md describes', (server) => {
  test('is enough for everything that migrations do within their schema', async () => {
    const schema = await server.createSchema();
    const account = { ...schema.environment, ...(await documentedAccount(server, schema.name)) };
    const folder = migrationsFolder({
      '1_all.sql': `CREATE TABLE p (id INT PRIMARY KEY, text VARCHAR(20), FULLTEXT (text));
        CREATE TABLE c (p INT, FOREIGN KEY (p) REFERENCES p (id));
        CREATE TEMPORARY TABLE scratch (id INT);
        LOCK TABLES p WRITE; INSERT INTO p VALUES (1, 'a'); UNLOCK TABLES;
        CREATE VIEW v AS SELECT id FROM p;
        CREATE TRIGGER t BEFORE INSERT ON p FOR EACH ROW SET NEW.text = UPPER(NEW.text);
        CREATE PROCEDURE q() INSERT INTO p VALUES (2, 'b');
        CREATE FUNCTION f() RETURNS INT DETERMINISTIC RETURN 3;
        CALL q();
        INSERT INTO p VALUES (f(), 'c');
        CREATE EVENT e ON SCHEDULE EVERY 1 YEAR DO DELETE FROM c;
        DROP EVENT e; DROP FUNCTION f; TRUNCATE c; RENAME TABLE c TO d; DROP TABLE d;`,
      '2_down.sql': 'CREATE TABLE x (id INT);\n-- migrate:down\nDROP TABLE x;',
    });
    expect(await runMigrator(account, folder)).toMatchObject({ code: 0 });
    expect(await runMigrator(account, folder, ['down', '--to', '1'])).toMatchObject({ code: 0 });
    expect(await runMigrator(account, folder, ['status'])).toMatchObject({
      code: 0,
      summary: { version: '1', pending: 1 },
    });
    expect(await schema.query('SELECT * FROM p ORDER BY id')).toEqual([
      { id: 1, text: 'a' },
      { id: 2, text: 'B' },
      { id: 3, text: 'C' },
    ]);
    await server.query(`DROP USER ${account.DB_USER}`);
  });

  test('is named when it lacks a grant', async () => {
    const schema = await server.createSchema();
    await server.query(`CREATE USER r${schema.name} IDENTIFIED BY 'reads alone'`);
    await server.query(`GRANT SELECT ON ${schema.name}.* TO r${schema.name}`);
    const folder = migrationsFolder({ '1_a.sql': 'SELECT 1;' });
    const reader = { ...schema.environment, DB_USER: `r${schema.name}`, DB_PASSWORD: 'reads alone' };
    const refused = await runMigrator(reader, folder);
    expect(refused).toMatchObject({ code: 2, error: { code: 'DATABASE_GRANT_MISSING' } });
    expect(refused.error['message']).toMatch(/CREATE/);
    await server.query(`DROP USER r${schema.name}`);
  });
});
