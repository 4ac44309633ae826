import { expect, test } from 'vitest';
import { describeEachServer } from '../../test/servers.ts';
import { addFiles, migrationsFolder, runMigrator } from './run-migrator.ts';

describeEachServer('a migration that failed', (server) => {
  test('is told of in the same words by up, validate and status, and named in order when its file is gone', async () => {
    const schema = await server.createSchema();
    const folder = migrationsFolder({ '1_a.sql': 'CREATE TABLE a (id INT);\nINSERT INTO nothing VALUES (1);' });
    const failed = await runMigrator(schema.environment, folder);
    expect(failed).toMatchObject({ code: 3, error: { code: 'MIGRATION_STATEMENT_FAILED' } });
    expect(failed.error['hint']).toMatch(/^Mend the statement and run `migrator up` again, which goes on there/);
    const validated = await runMigrator(schema.environment, folder, ['validate']);
    expect(validated).toMatchObject({
      code: 3,
      error: { code: 'MIGRATION_STATEMENT_FAILED', hint: failed.error['hint'] },
    });
    const status = await runMigrator(schema.environment, folder, ['status']);
    expect(status).toMatchObject({
      code: 0,
      summary: { migrations: [{ status: 'failed', remedy: failed.error['hint'] }] },
    });

    const without = migrationsFolder({ '2_b.sql': 'SELECT 1;' });
    for (const verb of ['up', 'validate']) {
      const gone = await runMigrator(schema.environment, without, [verb]);
      expect(gone).toMatchObject({ code: 3, error: { code: 'MIGRATION_UNFINISHED' } });
      expect(gone.error['message']).toContain('(1_a.sql) failed and is not applied, and its file is gone');
      expect(gone.error['hint']).toContain('migrator resolve 1 --as rolled-back');
    }
    await runMigrator(schema.environment, without, ['resolve', '1', '--as', 'rolled-back']);
    expect(await runMigrator(schema.environment, without)).toMatchObject({
      code: 0,
      summary: { applied: ['2_b.sql'] },
    });
  });

  test('as a script says at once what the next up needs: nothing where it was rolled back', async () => {
    const schema = await server.createSchema();
    const script = (statement: string) =>
      `export const up = async (knex) => { await knex('t').insert({ n: 1 }); ${statement} };`;
    const folder = migrationsFolder({
      '1_t.sql': 'CREATE TABLE t (n INT);',
      '2_rows.js': script("throw new Error('no luck');"),
    });
    const failed = await runMigrator(schema.environment, folder);
    expect(failed.error['hint']).toMatch(/^Nothing of 2_rows\.js stayed: .* run `migrator up` again/);
    expect((await runMigrator(schema.environment, folder, ['validate'])).error).toMatchObject({
      code: 'MIGRATION_SCRIPT_FAILED',
      hint: failed.error['hint'],
    });
    addFiles(folder, { '2_rows.js': script('') });
    expect(await runMigrator(schema.environment, folder)).toMatchObject({ code: 0 });
    expect(await schema.query('SELECT n FROM t')).toEqual([{ n: 1 }]);
  });

  test('as a script names the ways to resolve it at once where a definition committed, and keeps what it said', async () => {
    const schema = await server.createSchema();
    const folder = migrationsFolder({
      '1_t.js':
        "exports.up = async (knex) => { await knex.schema.createTable('t', (t) => { t.integer('n'); }); throw new Error('no luck'); };",
    });
    const failed = await runMigrator(schema.environment, folder);
    expect(failed).toMatchObject({ code: 3, error: { code: 'MIGRATION_SCRIPT_FAILED' } });
    expect(failed.error['hint']).toMatch(/resolve 1 --as applied.*resolve 1 --as rolled-back.*resolve 1 --as retry/);
    expect(await runMigrator(schema.environment, folder)).toMatchObject({
      code: 3,
      error: { code: 'MIGRATION_UNFINISHED' },
    });
    const validated = await runMigrator(schema.environment, folder, ['validate']);
    expect(validated.error).toMatchObject({ code: 'MIGRATION_UNFINISHED', hint: failed.error['hint'] });
    expect(validated.error['message']).toContain('no luck');
    await schema.query('DROP TABLE t');
    await runMigrator(schema.environment, folder, ['resolve', '1', '--as', 'rolled-back']);
    addFiles(folder, { '1_t.js': 'exports.up = async () => {};' });
    expect(await runMigrator(schema.environment, folder)).toMatchObject({ code: 0 });
  });
});

describeEachServer('migrator down', (server) => {
  test('shows what it would undo, and refuses before anything is undone where a way down is empty', async () => {
    const schema = await server.createSchema();
    const folder = migrationsFolder({
      '1_a.sql': '-- migrate:up\nCREATE TABLE a (id INT);\n-- migrate:down\n',
      '2_b.sql': 'CREATE TABLE b (id INT);\n-- migrate:down\nDROP TABLE b;',
      '3_c.sql': 'ANALYZE TABLE b;\n-- migrate:down\n-- nothing to undo\n',
    });
    await runMigrator(schema.environment, folder);
    const refused = await runMigrator(schema.environment, folder, ['down', '--to', '0']);
    expect(refused).toMatchObject({ code: 3, error: { code: 'MIGRATION_DOWN_MISSING', files: ['1_a.sql'] } });
    const runs = await schema.query('SELECT COUNT(*) AS n FROM tableset_runs');
    expect(await runMigrator(schema.environment, folder, ['down', '--to', '1', '--dry-run'])).toMatchObject({
      code: 0,
      summary: { outcome: 'dry-run', reverted: [], wouldRevert: ['3_c.sql', '2_b.sql'], version: '3' },
    });
    expect(await schema.query('SELECT COUNT(*) AS n FROM tableset_runs')).toEqual(runs);
    expect(await runMigrator(schema.environment, folder, ['down', '--to', '1'])).toMatchObject({
      code: 0,
      summary: { reverted: ['3_c.sql', '2_b.sql'], version: '1' },
    });
    expect(await schema.query("SHOW TABLES LIKE 'b'")).toEqual([]);
  });

  test('goes on when the way down that failed was mended in the file', async () => {
    const schema = await server.createSchema();
    const text = 'CREATE TABLE a (id INT);\nCREATE TABLE b (id INT);\n-- migrate:down\nDROP TABLE b;\n';
    const folder = migrationsFolder({ '1_a.sql': `${text}DROP TABLE nothing;\n` });
    await runMigrator(schema.environment, folder);
    const failed = await runMigrator(schema.environment, folder, ['down', '--to', '0']);
    expect(failed.error).toMatchObject({ code: 'MIGRATION_STATEMENT_FAILED', statement: 2 });
    expect(failed.error['hint']).toContain('`migrator down` with the same --to');
    addFiles(folder, { '1_a.sql': `${text}DROP TABLE a;\n` });
    expect(await runMigrator(schema.environment, folder, ['down', '--to', '0'])).toMatchObject({
      code: 0,
      summary: { reverted: ['1_a.sql'], version: null },
    });
  });
});
