import { crc32 } from 'node:zlib';
import knex from 'knex';
import { expect, test } from 'vitest';
import { describeEachServer, type TestSchema } from '../../test/servers.ts';
import { migrationsFolder, runMigrator } from './run-migrator.ts';

/** Adopts, then runs up, which must apply the last file alone. */
async function adoptThenUp(
  schema: TestSchema,
  folder: string,
  tool: string,
  applied: readonly string[],
): Promise<void> {
  const adopted = await runMigrator(schema.environment, folder, ['adopt', tool]);
  expect(adopted).toMatchObject({ code: 0, summary: { outcome: 'done' } });
  expect(await runMigrator(schema.environment, folder)).toMatchObject({ code: 0, summary: { applied } });
  expect(await runMigrator(schema.environment, folder)).toMatchObject({
    code: 0,
    summary: { applied: [], pending: 0 },
  });
  expect(await schema.query('SELECT n FROM t ORDER BY n')).toEqual([{ n: 1 }, { n: 2 }, { n: 3 }]);
  expect(await runMigrator(schema.environment, folder, ['adopt', tool])).toMatchObject({
    code: 3,
    error: { code: 'MIGRATION_HISTORY_EXISTS' },
  });
}

/** What the other tool did to the schema. */
async function appliedTwo(schema: TestSchema): Promise<void> {
  await schema.script('CREATE TABLE t (n INT); INSERT INTO t VALUES (1); INSERT INTO t VALUES (2)');
}

const create = 'CREATE TABLE t (n INT);\nINSERT INTO t VALUES (1);\n';
const insert = (n: number) => `INSERT INTO t VALUES (${n});\n`;

describeEachServer('migrator adopt', (server) => {
  test('takes over from knex, which really ran', async () => {
    const schema = await server.createSchema();
    const script = (body: string) =>
      `exports.up = (knex) => ${body};\nexports.down = (knex) => knex.raw('SELECT 1');\n`;
    const files = {
      '20200101000000_table.js': script(
        "knex.schema.createTable('t', (t) => { t.integer('n'); }).then(() => knex('t').insert({ n: 1 }))",
      ),
      '20200102000000_two.js': script("knex('t').insert({ n: 2 })"),
    };
    const { DB_HOST, DB_PORT, DB_USER, DB_PASSWORD, DB_NAME } = schema.environment;
    const before = migrationsFolder(files);
    const other = knex({
      client: 'mysql2',
      connection: {
        host: String(DB_HOST),
        port: Number(DB_PORT),
        user: String(DB_USER),
        password: String(DB_PASSWORD),
        database: String(DB_NAME),
      },
    });
    await other.migrate.latest({ directory: before });
    await other.destroy();
    const folder = migrationsFolder({ ...files, '20200103000000_three.js': script("knex('t').insert({ n: 3 })") });
    await adoptThenUp(schema, folder, 'knex', ['20200103000000_three.js']);
  });

  test('takes over from Flyway, checking its checksums', async () => {
    const schema = await server.createSchema();
    await appliedTwo(schema);
    const checksum = (text: string) => crc32(text.replaceAll('\n', '')) | 0;
    await schema.script(`CREATE TABLE flyway_schema_history (
        installed_rank INT NOT NULL, version VARCHAR(50), description VARCHAR(200) NOT NULL, type VARCHAR(20) NOT NULL,
        script VARCHAR(1000) NOT NULL, checksum INT, installed_by VARCHAR(100) NOT NULL,
        installed_on TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP, execution_time INT NOT NULL, success BOOL NOT NULL,
        CONSTRAINT flyway_schema_history_pk PRIMARY KEY (installed_rank), INDEX flyway_schema_history_s_idx (success)) ENGINE=InnoDB;
      INSERT INTO flyway_schema_history (installed_rank, version, description, type, script, checksum, installed_by, execution_time, success) VALUES
        (1, '1', 'table', 'SQL', 'V1__table.sql', ${checksum(create)}, 'root', 5, 1),
        (2, '1.10', 'two', 'SQL', 'V1.10__two.sql', ${checksum(insert(2))}, 'root', 5, 1)`);
    const files = { 'V1__table.sql': create, 'V1.10__two.sql': insert(2), 'V1.11__three.sql': insert(3) };
    const edited = migrationsFolder({ ...files, 'V1__table.sql': 'CREATE TABLE t (n BIGINT);\n' });
    expect(await runMigrator(schema.environment, edited, ['adopt', 'flyway'])).toMatchObject({
      code: 3,
      error: { code: 'MIGRATION_ADOPT_CHECKSUM' },
    });
    await adoptThenUp(schema, migrationsFolder(files), 'flyway', ['V1.11__three.sql']);
  });

  test('takes over from golang-migrate, and refuses its dirty mark', async () => {
    const schema = await server.createSchema();
    await appliedTwo(schema);
    await schema.script(
      'CREATE TABLE schema_migrations (version BIGINT NOT NULL PRIMARY KEY, dirty BOOLEAN NOT NULL); INSERT INTO schema_migrations VALUES (2, TRUE)',
    );
    const folder = migrationsFolder({
      '1_table.up.sql': create,
      '1_table.down.sql': 'DROP TABLE t;',
      '2_two.up.sql': insert(2),
      '3_three.up.sql': insert(3),
    });
    expect(await runMigrator(schema.environment, folder, ['adopt', 'golang-migrate'])).toMatchObject({
      code: 3,
      error: { code: 'MIGRATION_ADOPT_DIRTY' },
    });
    await schema.query('UPDATE schema_migrations SET dirty = FALSE');
    await adoptThenUp(schema, folder, 'golang-migrate', ['3_three.up.sql']);
  });

  test('takes over from dbmate', async () => {
    const schema = await server.createSchema();
    await appliedTwo(schema);
    await schema.script(
      "CREATE TABLE schema_migrations (version VARCHAR(255) PRIMARY KEY) CHARACTER SET latin1 COLLATE latin1_bin; INSERT INTO schema_migrations VALUES ('20200101000000'), ('20200102000000')",
    );
    const marked = (text: string) => `-- migrate:up\n${text}\n-- migrate:down\n`;
    const folder = migrationsFolder({
      '20200101000000_table.sql': marked(create),
      '20200102000000_two.sql': marked(insert(2)),
      '20200103000000_three.sql': marked(insert(3)),
    });
    await adoptThenUp(schema, folder, 'dbmate', ['20200103000000_three.sql']);
  });

  test('takes over from goose, where the last row of a version counts', async () => {
    const schema = await server.createSchema();
    await appliedTwo(schema);
    await schema.script(`CREATE TABLE goose_db_version (id SERIAL NOT NULL, version_id BIGINT NOT NULL, is_applied BOOLEAN NOT NULL, tstamp TIMESTAMP NULL DEFAULT NOW(), PRIMARY KEY (id));
      INSERT INTO goose_db_version (version_id, is_applied) VALUES (0, 1), (1, 1), (2, 1), (3, 1), (3, 0)`);
    const marked = (text: string) => `-- +goose Up\n${text}\n-- +goose Down\nSELECT 1;\n`;
    const folder = migrationsFolder({
      '00001_table.sql': marked(create),
      '00002_two.sql': marked(insert(2)),
      '00003_three.sql': marked(insert(3)),
    });
    await adoptThenUp(schema, folder, 'goose', ['00003_three.sql']);
  });

  test('says so when the tool has no table, and names what has no file', async () => {
    const schema = await server.createSchema();
    const folder = migrationsFolder({ '1_a.sql': 'SELECT 1;' });
    expect(await runMigrator(schema.environment, folder, ['adopt', 'goose'])).toMatchObject({
      code: 3,
      error: { code: 'MIGRATION_ADOPT_NO_TABLE' },
    });
    await schema.script("CREATE TABLE mine (version VARCHAR(255)); INSERT INTO mine VALUES ('7')");
    const missing = await runMigrator(schema.environment, folder, ['adopt', 'dbmate', '--table', 'mine']);
    expect(missing).toMatchObject({ code: 3, error: { code: 'MIGRATION_ADOPT_NO_FILE' } });
    expect(missing.error['message']).toContain('7');
  });
});

describeEachServer('migrator baseline', (server) => {
  test('counts everything up to the version as applied', async () => {
    const schema = await server.createSchema();
    await appliedTwo(schema);
    const folder = migrationsFolder({ '1_table.sql': create, '2_two.sql': insert(2), '3_three.sql': insert(3) });
    expect(await runMigrator(schema.environment, folder, ['baseline', '2'])).toMatchObject({ code: 0 });
    expect(await runMigrator(schema.environment, folder)).toMatchObject({
      code: 0,
      summary: { applied: ['3_three.sql'], version: '3' },
    });
    const status = await runMigrator(schema.environment, folder, ['status']);
    expect(status.summary['migrations']).toMatchObject([
      { version: '1', status: 'covered' },
      { version: '2', status: 'applied' },
      { version: '3', status: 'applied' },
    ]);
  });
});
