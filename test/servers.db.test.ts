import { expect, test } from 'vitest';
import { describeEachServer, TestServer } from './servers.ts';

describeEachServer('a test server', (server) => {
  test('is of the flavour that the suite is named after', () => {
    expect(/mariadb/i.test(server.version) ? 'mariadb' : 'mysql').toBe(server.flavour);
  });

  test('gives each schema an account that is confined to it', async () => {
    const [mine, other] = [await server.createSchema(), await server.createSchema()];
    await mine.script('CREATE TABLE t (id BIGINT PRIMARY KEY); INSERT INTO t VALUES (9223372036854775807)');
    expect(await mine.query('SELECT id FROM t')).toEqual([{ id: '9223372036854775807' }]);
    await using connection = await mine.connect();
    await connection.query('CREATE TRIGGER b BEFORE INSERT ON t FOR EACH ROW SET NEW.id = NEW.id');
    await expect(connection.query(`CREATE TABLE ${other.name}.t (id INT)`)).rejects.toMatchObject({
      errno: expect.toSatisfy((errno) => [1044, 1142].includes(errno)),
    });
  });

  test('fails a suite that leaves a connection or a staging table behind, and drops its schema all the same', async () => {
    const suite = new TestServer(server.flavour, true, undefined);
    await suite.open();
    const schema = await suite.createSchema();
    await schema.script('CREATE TABLE tableset_stage_1 (id INT)');
    await using connection = await schema.connect();
    await connection.query('SELECT GET_LOCK(?, 0)', [schema.name]);
    await expect(suite.close()).rejects.toThrow(/open connection .*\n.*staging table tableset_stage_1/);
    expect(await server.query('SHOW DATABASES LIKE ?', [schema.name])).toEqual([]);
  });

  test('allows LOCAL INFILE', async () => {
    expect(await server.query('SELECT @@GLOBAL.local_infile AS allowed')).toEqual([{ allowed: 1 }]);
  });
});

describeEachServer(
  'a test server without LOCAL INFILE',
  (server) => {
    test('refuses LOCAL INFILE', async () => {
      expect(await server.query('SELECT @@GLOBAL.local_infile AS allowed')).toEqual([{ allowed: 0 }]);
    });
  },
  { localInfile: false },
);
