import { expect, test } from 'vitest';
import { describeEachServer } from '../../test/servers.ts';
import { addFiles, migrationsFolder, runMigrator, startMigrator } from './run-migrator.ts';

describeEachServer('script migrations', (server) => {
  test('run as other projects wrote them: TypeScript with enums, type imports, CommonJS, default exports', async () => {
    const schema = await server.createSchema();
    const folder = migrationsFolder({
      '20200101000000_types.ts': `
        import { Knex, SchemaBuilder } from 'knex';
        import { Row } from '../not/there';
        import { widen } from './helpers/widen';
        enum Colour { Red = 'red', Blue = 'blue' }
        namespace Sizes { export const name = 30; }
        export async function up(knex: Knex): Promise<void> {
          await knex.schema.createTable('things', (table) => {
            table.increments('id');
            table.string('name', widen(Sizes.name)).notNullable();
            table.enum('colour', Object.values(Colour));
            table.timestamp('made_at').defaultTo(knex.fn.now());
          });
          const [id]: number[] = await knex('things').insert({ name: 'first', colour: Colour.Red });
          const rows: Row[] = await knex('things').where({ id }).select();
          const { made_at, ...rest } = rows[0] as any;
          if (!(made_at instanceof Date)) throw new Error('dates arrive as Dates');
          await knex('things').insert({ name: JSON.stringify([id, rest, knex.client.config.client]).slice(0, 60) });
        }
        export async function down(knex: Knex): Promise<SchemaBuilder> { return knex.schema.dropTable('things'); }`,
      'helpers/widen.ts': 'export const widen = (length: number): number => length * 2;',
      '20200102000000_common.js': `
        const { knex: build } = require('knex');
        exports.up = function (knex) { return knex('things').insert({ name: 'common ' + typeof build }); };
        exports.down = function (knex) { return knex('things').where('name', 'like', 'common%').del(); };
        exports.config = { transaction: false };`,
      '20200103000000_es.mjs': `
        import knexModule from 'knex';
        export const up = async (knex) => {
          console.log('printed by a script');
          const found = await knex('things').where({ name: 'common function' }).update({ name: 'common function' });
          await knex('things').insert({ name: 'es ' + typeof knexModule + ' ' + found });
        };`,
    });
    const run = await runMigrator(schema.environment, folder);
    expect(run, run.stderr).toMatchObject({ code: 0, summary: { outcome: 'done', pending: 0 } });
    expect(run.stderr).toContain('printed by a script');
    expect((await schema.query('SELECT name FROM things ORDER BY id')).map(({ name }) => name)).toEqual([
      'first',
      '[1,{"id":1,"name":"first","colour":"red"},"mysql2"]',
      'common function',
      'es function 1',
    ]);
    expect(await runMigrator(schema.environment, folder, ['down', '--to', '20200102000000'])).toMatchObject({
      code: 3,
      error: { code: 'MIGRATION_DOWN_MISSING' },
    });
  });

  test('are undone by their down', async () => {
    const schema = await server.createSchema();
    const folder = migrationsFolder({
      '1_a.sql': 'CREATE TABLE a (id INT);\n-- migrate:down\nDROP TABLE a;',
      '2_b.ts': `import type { Knex } from 'knex';
        export const up = (knex: Knex) => knex.schema.createTable('b', (t) => { t.increments(); });
        export const down = (knex: Knex) => knex.schema.dropTable('b');`,
    });
    expect(await runMigrator(schema.environment, folder)).toMatchObject({ code: 0, summary: { version: '2' } });
    expect(await runMigrator(schema.environment, folder, ['down', '--to', '0'])).toMatchObject({
      code: 0,
      summary: { reverted: ['2_b.ts', '1_a.sql'], version: null },
    });
    expect(
      (await schema.query('SHOW TABLES'))
        .flatMap((row) => Object.values(row))
        .filter((name) => !/^tableset/.test(String(name))),
    ).toEqual([]);
    expect(await runMigrator(schema.environment, folder)).toMatchObject({ code: 0 });
  });

  test('that only change rows are undone whole by a kill, and run again', async () => {
    const schema = await server.createSchema();
    const folder = migrationsFolder({ '1_t.sql': 'CREATE TABLE t (n INT);' });
    await runMigrator(schema.environment, folder);
    addFiles(folder, {
      '2_rows.js':
        "exports.up = async (knex) => { await knex('t').insert({ n: 1 }); await knex.raw('DO SLEEP(30)'); };",
    });
    const killed = startMigrator(schema.environment, folder);
    await expect
      .poll(() => schema.query("SELECT id FROM information_schema.processlist WHERE info = 'DO SLEEP(30)'"), {
        timeout: 15_000,
      })
      .not.toEqual([]);
    killed.child.kill('SIGKILL');
    await killed.ended;
    for (const { id } of await schema.query(
      "SELECT id FROM information_schema.processlist WHERE info = 'DO SLEEP(30)'",
    ))
      await server.query(`KILL ${String(id)}`);
    addFiles(folder, { '2_rows.js': "exports.up = async (knex) => { await knex('t').insert({ n: 1 }); };" });
    expect(await runMigrator({ ...schema.environment, ON_BUSY: 'wait' }, folder)).toMatchObject({ code: 0 });
    expect(await schema.query('SELECT n FROM t')).toEqual([{ n: 1 }]);
  });

  test('that commit implicitly stop after a kill, because nobody can tell how far they came', async () => {
    const schema = await server.createSchema();
    const folder = migrationsFolder({
      '1_ddl.js':
        "exports.up = async (knex) => { await knex.schema.createTable('t', (t) => { t.integer('n'); }); await knex.raw('DO SLEEP(30)'); };",
    });
    const killed = startMigrator(schema.environment, folder);
    await expect
      .poll(() => schema.query("SELECT id FROM information_schema.processlist WHERE info = 'DO SLEEP(30)'"), {
        timeout: 15_000,
      })
      .not.toEqual([]);
    killed.child.kill('SIGKILL');
    await killed.ended;
    for (const { id } of await schema.query(
      "SELECT id FROM information_schema.processlist WHERE info = 'DO SLEEP(30)'",
    ))
      await server.query(`KILL ${String(id)}`);
    const refused = await runMigrator({ ...schema.environment, ON_BUSY: 'wait' }, folder);
    expect(refused).toMatchObject({ code: 3, error: { code: 'MIGRATION_UNFINISHED' } });
    await runMigrator(schema.environment, folder, ['resolve', '1', '--as', 'applied']);
    expect(await runMigrator(schema.environment, folder)).toMatchObject({
      code: 0,
      summary: { applied: [], version: '1' },
    });
  });

  test('that cannot be loaded, export nothing or throw are named, before anything else runs', async () => {
    const schema = await server.createSchema();
    const broken = migrationsFolder({
      '1_a.sql': 'CREATE TABLE a (id INT);',
      '2_b.js': "import x from './nothing.js';\nexport const up = () => x;",
    });
    const unloaded = await runMigrator(schema.environment, broken);
    expect(unloaded).toMatchObject({ code: 3, error: { code: 'MIGRATION_SCRIPT_FAILED' }, summary: { applied: [] } });
    expect(unloaded.error['message']).toContain('2_b.js');
    expect(await schema.query("SHOW TABLES LIKE 'a'")).toEqual([]);
    const throws = migrationsFolder({ '1_a.js': "exports.up = async () => { throw new Error('no luck'); };" });
    const thrown = await runMigrator(schema.environment, throws);
    expect(thrown).toMatchObject({ code: 3, error: { code: 'MIGRATION_SCRIPT_FAILED', file: '1_a.js' } });
    expect(thrown.error['message']).toContain('no luck');
  });
});
