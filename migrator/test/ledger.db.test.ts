import { expect, onTestFinished, test } from 'vitest';
import { firstLedger } from '../../test/first-ledger.ts';
import { describeEachServer, type TestSchema } from '../../test/servers.ts';
import { addFiles, migrationsFolder, runMigrator } from './run-migrator.ts';

/** A schema with one migration applied, and a ledger as an earlier version made it. */
async function applied(schema: TestSchema): Promise<string> {
  const folder = migrationsFolder({ '1_a.sql': 'CREATE TABLE a (id INT);' });
  await schema.script(firstLedger);
  expect(await runMigrator(schema.environment, folder)).toMatchObject({ code: 0 });
  await schema.script(
    `DROP TABLE tableset_batches, tableset_holds, tableset_shards; ALTER TABLE tableset_tables DROP COLUMN archived_below;
     ALTER TABLE tableset_runs COMMENT = 'Tableset ledger, format 1'`,
  );
  return folder;
}

const ledger = async (schema: TestSchema) =>
  (await schema.query("SHOW TABLES LIKE 'tableset\\_%'")).map((row) => String(Object.values(row)[0]));

describeEachServer('migrator up on a ledger of an earlier version', (server) => {
  test('upgrades it although no migration is pending, and then has nothing to do', async () => {
    const schema = await server.createSchema();
    const folder = await applied(schema);
    expect(await runMigrator(schema.environment, folder)).toMatchObject({
      code: 0,
      summary: { applied: [], pending: 0 },
    });
    expect(await ledger(schema)).toEqual(expect.arrayContaining(['tableset_batches', 'tableset_shards']));
    expect(await runMigrator(schema.environment, folder)).toMatchObject({ code: 0 });
    // Nothing was applied, so nothing was recorded.
    expect(await schema.query('SELECT kind FROM tableset_runs')).toEqual([{ kind: 'migrate' }]);
  });

  test('upgrades it before what is pending is applied', async () => {
    const schema = await server.createSchema();
    const folder = await applied(schema);
    addFiles(folder, { '2_b.sql': 'CREATE TABLE b (id INT);' });
    expect(await runMigrator(schema.environment, folder)).toMatchObject({ code: 0, summary: { applied: ['2_b.sql'] } });
    expect(await ledger(schema)).toContain('tableset_batches');
  });

  test('by many pods at a time: all of them end with 0', async () => {
    const schema = await server.createSchema();
    const folder = await applied(schema);
    const runs = await Promise.all(Array.from({ length: 5 }, () => runMigrator(schema.environment, folder)));
    expect(runs.map(({ code }) => code)).toEqual([0, 0, 0, 0, 0]);
    expect(await runMigrator(schema.environment, folder)).toMatchObject({ code: 0 });
    expect(await ledger(schema)).toContain('tableset_batches');
  });

  test('holds up no start while another run has the lock', async () => {
    const schema = await server.createSchema();
    const folder = await applied(schema);
    const other = await schema.connect();
    onTestFinished(() => other.destroy());
    await other.query("SELECT GET_LOCK(CONCAT('tableset:', LEFT(SHA2(?, 256), 40)), 0)", [schema.name]);
    expect(await runMigrator(schema.environment, folder)).toMatchObject({ code: 0, summary: { outcome: 'done' } });
    expect(await ledger(schema)).not.toContain('tableset_batches');
    await other.end();
    expect(await runMigrator(schema.environment, folder)).toMatchObject({ code: 0 });
    expect(await ledger(schema)).toContain('tableset_batches');
  });

  test('without the rights for it says so and lets the pod start', async () => {
    const schema = await server.createSchema();
    const folder = await applied(schema);
    const user = `l${schema.name.slice(4)}`;
    await server.query(`CREATE USER ${user}@'%' IDENTIFIED BY 'secret of ${user}'`);
    onTestFinished(async () => void (await server.query(`DROP USER IF EXISTS ${user}@'%'`)));
    await server.query(`GRANT SELECT, INSERT, UPDATE, DELETE ON ${schema.name}.* TO ${user}@'%'`);
    const environment = { ...schema.environment, DB_USER: user, DB_PASSWORD: `secret of ${user}` };
    const run = await runMigrator(environment, folder);
    expect(run).toMatchObject({ code: 0, summary: { outcome: 'done', pending: 0 } });
    expect(run.stderr).toContain('the ledger lacks what this version adds to it');
    expect(run.stderr).toContain('tableset_batches');
  });
});
