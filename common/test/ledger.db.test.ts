import { expect, onTestFinished, test } from 'vitest';
import { firstLedger } from '../../test/first-ledger.ts';
import { describeEachServer, type TestSchema, type TestServer } from '../../test/servers.ts';
import { connect } from '../src/database/connect.ts';
import { explainDatabaseError } from '../src/database/connection.ts';
import { ensureLedger, finishRun, isLedgerOutdated, startRun } from '../src/database/ledger.ts';
import { ledgerComment } from '../src/database/ledger-format.ts';
import { ledgerTables, ledgerView } from '../src/database/ledger-schema.ts';
import { acquireLock } from '../src/database/lock.ts';
import type { DatabaseSettings } from '../src/settings/database.ts';

function settingsOf(schema: TestSchema, account: { user: string; password: string } = schema): DatabaseSettings {
  const { environment, name } = schema;
  const address = { host: environment['DB_HOST'] ?? '', port: Number(environment['DB_PORT']), name };
  const { user, password } = account;
  return { ...address, user, password, tls: 'disable', tlsCaFile: undefined, waitSeconds: 0, singleWriter: false };
}

/** Every object of the ledger as the server shows it. */
async function definitions(schema: TestSchema): Promise<Readonly<Record<string, string>>> {
  const found: Record<string, string> = {};
  for (const { name } of [...ledgerTables, ledgerView]) {
    const [row] = await schema.query(`SHOW CREATE TABLE ${name}`);
    found[name] = String(row?.['Create Table'] ?? row?.['Create View'])
      .replaceAll(schema.name, 'schema')
      .replace(/ DEFINER=\S+/, '')
      .replace(/ AUTO_INCREMENT=\d+/, '');
  }
  return found;
}

/** What a ledger looks like that was made at once. */
async function freshDefinitions(server: TestServer): Promise<Readonly<Record<string, string>>> {
  const schema = await server.createSchema();
  await using connection = await connect(settingsOf(schema));
  await ensureLedger(connection);
  return await definitions(schema);
}

async function commentOf(schema: TestSchema): Promise<unknown> {
  const [row] = await schema.query(
    "SELECT table_comment AS comment FROM information_schema.tables WHERE table_schema = DATABASE() AND table_name = 'tableset_runs'",
  );
  return row?.['comment'];
}

/** An account with these privileges on each table of the ledger that is there. */
async function accountWith(server: TestServer, schema: TestSchema, privileges: string) {
  const user = `l${schema.name.slice(4)}`;
  const password = `secret of ${user}`;
  await server.query(`CREATE USER ${user}@'%' IDENTIFIED BY '${password}'`);
  onTestFinished(async () => void (await server.query(`DROP USER IF EXISTS ${user}@'%'`)));
  await server.query(`GRANT ${privileges} ON ${schema.name}.* TO ${user}@'%'`);
  return { user, password };
}

const dml = 'SELECT, INSERT, UPDATE, DELETE';

describeEachServer('the ledger', (server) => {
  test('of an earlier version gets what it lacks, keeps its rows, and is then what a new one is', async () => {
    const schema = await server.createSchema();
    await schema.script(firstLedger);
    await schema.script(
      "INSERT INTO tableset_tables (table_name, row_count) VALUES ('products', 7); INSERT INTO tableset_rejects (run_id, table_name, file, line, reason) VALUES (1, 'products', 'p.csv', 3, 'bad')",
    );
    await using connection = await connect(settingsOf(schema));
    const run = await startRun(connection, { kind: 'load', trigger: 'cli', version: '0.1.0' });
    await finishRun(connection, run, { outcome: 'done', counts: [] });
    expect(await isLedgerOutdated(connection)).toBe(true);
    expect(await ensureLedger(connection)).toEqual([]);
    expect(await isLedgerOutdated(connection)).toBe(false);
    expect(await definitions(schema)).toEqual(await freshDefinitions(server));
    expect(await schema.query('SELECT table_name, row_count, archived_below FROM tableset_tables')).toEqual([
      { table_name: 'products', row_count: 7, archived_below: null },
    ]);
    expect(await schema.query('SELECT reason FROM tableset_rejects')).toEqual([{ reason: 'bad' }]);
    expect(await schema.query('SELECT outcome FROM tableset_runs')).toEqual([{ outcome: 'done' }]);
    expect(await ensureLedger(connection)).toEqual([]);
    expect(await definitions(schema)).toEqual(await freshDefinitions(server));
  });

  test('whose upgrade was killed halfway is completed by the next', async () => {
    const fresh = await freshDefinitions(server);
    const schema = await server.createSchema();
    await using connection = await connect(settingsOf(schema));
    await ensureLedger(connection);
    await schema.script(
      `DROP TABLE tableset_shards; DROP VIEW tableset_freshness; ALTER TABLE tableset_batches DROP KEY state, DROP COLUMN verified_at;
       ALTER TABLE tableset_tables DROP COLUMN archived_below; ALTER TABLE tableset_runs COMMENT = 'Tableset ledger, format 1'`,
    );
    await ensureLedger(connection);
    const { tableset_batches: batches, ...rest } = await definitions(schema);
    const { tableset_batches: _, ...others } = fresh;
    expect(rest).toEqual(others);
    expect(batches).toContain('`verified_at`');
    expect(batches).toContain('KEY `state`');
  });

  test('that was made halfway is completed', async () => {
    const schema = await server.createSchema();
    const [first = '', second = ''] = firstLedger.split(';');
    await schema.script(`${first};${second}`);
    await using connection = await connect(settingsOf(schema));
    await ensureLedger(connection);
    expect(await definitions(schema)).toEqual(await freshDefinitions(server));
  });

  for (const locked of [true, false]) {
    test(`is upgraded once by many at a time, ${locked ? 'each under the lock' : 'even without the lock'}`, async () => {
      const schema = await server.createSchema();
      await schema.script(firstLedger);
      const one = async () => {
        await using connection = await connect(settingsOf(schema));
        await using _lock = locked
          ? await acquireLock(connection, { onBusy: 'wait', lockWaitSeconds: 30 })
          : { [Symbol.asyncDispose]: async () => {} };
        return await ensureLedger(connection);
      };
      const all = await Promise.all(Array.from({ length: 12 }, one));
      expect(all.every((lacking) => lacking.length === 0)).toBe(true);
      expect(await definitions(schema)).toEqual(await freshDefinitions(server));
    });
  }

  test('needs no right to change tables where there is nothing to change', async () => {
    const schema = await server.createSchema();
    await using owner = await connect(settingsOf(schema));
    await ensureLedger(owner);
    await using limited = await connect(settingsOf(schema, await accountWith(server, schema, dml)));
    expect(await ensureLedger(limited)).toEqual([]);
    // Somebody made all of it by hand.
    await schema.query("ALTER TABLE tableset_runs COMMENT = 'Tableset ledger, format 1'");
    expect(await ensureLedger(limited)).toEqual([]);
  });

  test('of an earlier version and an account that may not upgrade it: the remedy is named, or what it can do without', async () => {
    const schema = await server.createSchema();
    await schema.script(firstLedger);
    await using limited = await connect(settingsOf(schema, await accountWith(server, schema, dml)));
    await expect(ensureLedger(limited)).rejects.toMatchObject({
      code: 'LEDGER_INCOMPLETE',
      exit: 1,
      message: expect.stringMatching(/lacks .*tableset_batches.* may not add it/),
      hint: expect.stringMatching(/migrator up .*GRANT .*ALTER/),
    });
    expect(await ensureLedger(limited, 1)).toEqual(
      expect.arrayContaining(['tableset_tables (archived_below)', 'tableset_batches', 'tableset_shards']),
    );
    expect(await commentOf(schema)).toBe('Tableset ledger, format 1');
  });

  test('that is not there, and an account that may not make it: the server names the table and the right', async () => {
    const schema = await server.createSchema();
    await using limited = await connect(settingsOf(schema, await accountWith(server, schema, dml)));
    const refused: unknown = await ensureLedger(limited, 1).catch((error: unknown) => error);
    expect(explainDatabaseError(refused)).toMatchObject({
      code: 'DATABASE_GRANT_MISSING',
      exit: 2,
      message: expect.stringMatching(/CREATE .*tableset_/),
    });
  });

  test('is made with the rights that are documented for it', async () => {
    const schema = await server.createSchema();
    const privileges = 'SELECT, INSERT, UPDATE, CREATE, CREATE VIEW, DROP';
    await using limited = await connect(settingsOf(schema, await accountWith(server, schema, privileges)));
    expect(await ensureLedger(limited)).toEqual([]);
    expect(await definitions(schema)).toEqual(await freshDefinitions(server));
  });

  test('of a newer revision is left as it is and works on; one of a newer format is refused', async () => {
    const schema = await server.createSchema();
    await using connection = await connect(settingsOf(schema));
    await ensureLedger(connection);
    await schema.script(
      "ALTER TABLE tableset_batches ADD COLUMN later INT NULL; ALTER TABLE tableset_runs COMMENT = 'Tableset ledger, format 1.99'",
    );
    expect(await ensureLedger(connection)).toEqual([]);
    expect(await commentOf(schema)).toBe('Tableset ledger, format 1.99');
    const run = await startRun(connection, { kind: 'archive', trigger: 'cli', version: '0.1.0' });
    await finishRun(connection, run, { outcome: 'done', counts: [] });
    await schema.query("ALTER TABLE tableset_runs COMMENT = 'Tableset ledger, format 2.1'");
    await expect(ensureLedger(connection)).rejects.toMatchObject({ code: 'LEDGER_FORMAT', exit: 3 });
  });

  test('says in its comment what it is', async () => {
    const schema = await server.createSchema();
    await using connection = await connect(settingsOf(schema));
    await ensureLedger(connection);
    expect(await commentOf(schema)).toBe(ledgerComment);
  });
});
