import { expect, onTestFinished, test } from 'vitest';
import { firstLedger } from '../../test/first-ledger.ts';
import { describeEachServer } from '../../test/servers.ts';
import { openShop } from './archive-shop.ts';
import { ArchiveFolder } from './run-archive.ts';
import { LoaderFolder } from './run-loader.ts';

describeEachServer('on a ledger of an earlier version', (server) => {
  test('archive adds what it needs and archives', async () => {
    const shop = await openShop(server, { old: 5 });
    await shop.schema.script(firstLedger);
    expect(await shop.folder.archive()).toMatchObject([{ archived: 5 }]);
  });

  test('archive with an account that may not upgrade it ends with exit 1 and names the remedy; load works on', async () => {
    const shop = await openShop(server, { old: 5 });
    await shop.schema.script(firstLedger);
    const user = `l${shop.schema.name.slice(4)}`;
    await server.query(`CREATE USER ${user}@'%' IDENTIFIED BY 'secret of ${user}'`);
    onTestFinished(async () => void (await server.query(`DROP USER IF EXISTS ${user}@'%'`)));
    await server.query(
      `GRANT SELECT, INSERT, UPDATE, DELETE, CREATE TEMPORARY TABLES ON ${shop.schema.name}.* TO ${user}@'%'`,
    );
    const environment = { ...shop.schema.environment, DB_USER: user, DB_PASSWORD: `secret of ${user}` };
    const folder = new ArchiveFolder({ environment }, JSON.parse(await shop.folder.read('config.yaml')));
    const run = await folder.refuse(1, 'LEDGER_INCOMPLETE');
    expect(run.summary.error?.message).toContain('tableset_batches');
    expect(run.summary.error?.hint).toContain('migrator up');
    expect(run.summary.error?.hint).toMatch(/GRANT [A-Z, ]*\bCREATE\b[A-Z, ]*\bALTER\b[A-Z, ]* ON `/);
    await shop.schema.query('CREATE TABLE products (id INT PRIMARY KEY)');
    const loads = new LoaderFolder({ environment }, [{ table: 'products', source: 'p.csv' }], {
      'p.csv': 'id\n1\n2\n',
    });
    expect(await loads.load()).toMatchObject([{ inserted: 2 }]);
    expect(await loads.load(['--if-changed'])).toMatchObject([{ read: 0 }]);
    loads.write({ 'p.csv': 'id\n1\n3\n' });
    expect(await loads.load()).toMatchObject([{ inserted: 1 }]);
  });
});
