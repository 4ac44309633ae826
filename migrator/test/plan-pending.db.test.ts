import { expect, test } from 'vitest';
import { describeEachServer } from '../../test/servers.ts';
import { addFiles, migrationsFolder, runMigrator } from './run-migrator.ts';

describeEachServer('migrator plan', (server) => {
  test('says how each ALTER would be done, and what would leave the copy, and changes nothing', async () => {
    const schema = await server.createSchema();
    await server.query(`GRANT ALL PRIVILEGES ON \`tableset\\_scratch\\_%\`.* TO ${schema.user}@'%'`);
    const folder = migrationsFolder({
      '1_base.sql': `CREATE TABLE p (id INT PRIMARY KEY, n INT);
        CREATE TABLE c (p INT, CONSTRAINT c_p FOREIGN KEY (p) REFERENCES p (id));
        CREATE VIEW z_view AS SELECT id FROM p;
        CREATE VIEW a_view AS SELECT id FROM z_view;`,
    });
    await runMigrator(schema.environment, folder);
    await schema.query('INSERT INTO p VALUES (1, 1), (2, 2)');
    addFiles(folder, {
      '2_next.sql': `ALTER TABLE p ADD COLUMN more INT;
ALTER TABLE p ADD INDEX (n);
ALTER TABLE p MODIFY n BIGINT;
INSERT INTO c SELECT id FROM a_view;
CREATE DATABASE elsewhere;
UPDATE ${schema.name}.p SET n = 0;
CALL nothing();
CREATE TRIGGER t BEFORE INSERT ON p FOR EACH ROW SET NEW.n = 1;`,
      '3_script.js': 'exports.up = async () => { throw new Error("not to be run"); };',
    });
    const plan = await runMigrator(schema.environment, folder, ['plan']);
    expect(plan).toMatchObject({ code: 0, summary: { outcome: 'done', pending: 2, notes: [] } });
    expect(plan.summary['statements']).toMatchObject([
      { file: '2_next.sql', line: 1, does: 'ALTER TABLE', target: 'p', outcome: 'ran', algorithm: 'INSTANT' },
      { line: 2, outcome: 'ran', algorithm: 'INPLACE' },
      { line: 3, outcome: 'ran', algorithm: 'as written', copiesRows: expect.any(Number) },
      { line: 4, does: 'INSERT', outcome: 'ran' },
      { line: 5, outcome: 'not-planned' },
      { line: 6, outcome: 'not-planned', reason: expect.stringContaining(`${schema.name}.p`) },
      { line: 7, does: 'CALL', outcome: 'not-planned' },
      { line: 8, does: 'CREATE TRIGGER', outcome: 'ran' },
      { file: '3_script.js', does: 'script', outcome: 'not-planned' },
    ]);
    expect(await schema.query('SELECT * FROM p')).toEqual([
      { id: 1, n: 1 },
      { id: 2, n: 2 },
    ]);
    expect(await server.query("SHOW DATABASES LIKE 'tableset%'")).toEqual([]);
  });

  test('refuses what fails on the copy, and reaches nothing behind it', async () => {
    const schema = await server.createSchema();
    await server.query(`GRANT ALL PRIVILEGES ON \`tableset\\_scratch\\_%\`.* TO ${schema.user}@'%'`);
    const folder = migrationsFolder({
      '1_a.sql': 'CREATE TABLE a (id INT PRIMARY KEY);\nALTER TABLE a ADD COLUMN id INT;\nCREATE TABLE b (id INT);',
    });
    const plan = await runMigrator(schema.environment, folder, ['plan']);
    expect(plan).toMatchObject({ code: 3, summary: { outcome: 'refused' } });
    expect(plan.summary['statements']).toMatchObject([
      { outcome: 'ran' },
      { outcome: 'failed', errno: 1060, line: 2 },
      { outcome: 'not-reached' },
    ]);
    expect(await schema.query('SHOW TABLES')).toEqual([]);
  });

  test('lists the statements and says what is missing where no copy may be made', async () => {
    const schema = await server.createSchema();
    const folder = migrationsFolder({ '1_a.sql': 'CREATE TABLE a (id INT PRIMARY KEY);' });
    const plan = await runMigrator(schema.environment, folder, ['plan']);
    expect(plan).toMatchObject({ code: 0, summary: { statements: [{ does: 'CREATE TABLE', outcome: 'not-tried' }] } });
    expect(String(plan.summary['notes'])).toContain('tableset_scratch_');
  });
});
