import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { describeEachServer } from '../../../test/servers.ts';
import { LoaderFolder } from '../run-loader.ts';
import { runIn, ServiceFolder, until } from './run-service.ts';

/** The grants of one block of a document, which is written for schema `shop`, account `loader` and table `products`. */
function documented(file: string, heading: string): readonly string[] {
  const text = readFileSync(join(import.meta.dirname, '../../../docs', file), 'utf8');
  const [, block] = /```sql\n(.*?)```/s.exec(text.slice(text.indexOf(heading))) ?? [];
  if (block === undefined) throw new Error(`docs/${file} has no SQL under ${heading}`);
  const statements = block.split(';').map((statement) => statement.trim());
  return statements.filter((statement) => statement.startsWith('GRANT'));
}

describeEachServer('an account with exactly the documented grants', (server) => {
  test('makes the tables of the service, runs what is triggered, and retries it', async () => {
    const schema = await server.createSchema();
    await schema.script(
      'CREATE TABLE products (id INT PRIMARY KEY, name VARCHAR(20)); CREATE TABLE other (id INT PRIMARY KEY)',
    );
    // As after the first migration: the ledger is there.
    await new LoaderFolder(schema, [{ table: 'other', source: 'o.csv' }], { 'o.csv': 'id\n1\n' }).load();
    const user = `s${schema.name.slice(4)}`;
    await server.query(`CREATE USER ${user}@'%' IDENTIFIED BY 'secret of ${user}'`);
    onTestFinished(async () => void (await server.query(`DROP USER IF EXISTS ${user}@'%'`)));
    const grants = [
      ...documented('operations.md', '### Differences'),
      ...documented('service.md', '## Rights in the database'),
    ];
    for (const grant of grants)
      await server.query(grant.replaceAll('shop.', `${schema.name}.`).replaceAll("'loader'@'%'", `${user}@'%'`));
    const environment = { ...schema.environment, DB_USER: user, DB_PASSWORD: `secret of ${user}` };
    const folder = new ServiceFolder({ environment }, { load: [{ table: 'products', source: 'p.csv' }] });
    folder.write('p.csv', 'id,name\nx,a\n');
    const service = await folder.ready({ CRON_SCHEDULE: '0 0 1 1 *' });
    const id = await service.trigger({ task: 'load' });
    await runIn(schema, id, 'failed');
    folder.write('p.csv', 'id,name\n1,a\n');
    expect(await folder.run(['retry', id])).toMatchObject({ exit: 0 });
    await runIn(schema, String(Number(id) + 1), 'done');
    expect((await service.status()).runs).not.toBeNull();
    expect(await schema.query('SELECT task FROM tableset_service_schedules')).toEqual([{ task: 'load' }]);
  });

  test('that may not make the tables is told so, and asked to come again', async () => {
    const schema = await server.createSchema();
    await schema.script('CREATE TABLE products (id INT PRIMARY KEY)');
    await server.query(`REVOKE ALL PRIVILEGES ON ${schema.name}.* FROM ${schema.user}@'%'`);
    await server.query(`GRANT SELECT, INSERT, UPDATE, DELETE ON ${schema.name}.* TO ${schema.user}@'%'`);
    const folder = new ServiceFolder(schema, { load: [{ table: 'products', source: 'p.csv' }] });
    const service = await folder.start();
    await until('it is told', () => service.log.includes('the tables of the service cannot be made yet'));
    expect(service.log).toContain('DATABASE_GRANT_MISSING');
    expect(await service.get('/ready')).toMatchObject({
      status: 503,
      body: { reasons: ['its tables are not made yet'] },
    });
    expect(await service.post('/trigger', { task: 'load' })).toMatchObject({
      status: 503,
      body: { code: 'SERVICE_NOT_READY' },
    });
    service.kill('SIGTERM');
    expect(await service.ended).toBe(0);
  });
});
