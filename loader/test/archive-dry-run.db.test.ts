import { expect, onTestFinished, test } from 'vitest';
import { describeEachServer, type TestServer } from '../../test/servers.ts';
import { batches, insertOrders, openShop, rowsOf, type Shop } from './archive-shop.ts';
import { ArchiveFolder, sameServer } from './run-archive.ts';

interface Planned {
  readonly cutoff: string | null;
  readonly comparison: { readonly lessThan: string } | null;
  readonly warnings: readonly string[];
  readonly refusals: readonly string[];
}

async function plan(shop: Pick<Shop, 'folder'>) {
  const run = await shop.folder.run('archive', ['--dry-run']);
  // What the verb prints.
  return { run, tables: run.summary['plan'] as readonly Planned[] };
}

/** A folder whose account has these grants on the shop, and what it may do on its archive. */
async function limited(server: TestServer, { schema, archive }: Shop, grants: readonly string[]) {
  const user = `d${schema.name.slice(4)}`;
  await server.query(`DROP USER IF EXISTS ${user}@'%'`);
  await server.query(`CREATE USER ${user}@'%' IDENTIFIED BY 'secret'`);
  onTestFinished(async () => void (await server.query(`DROP USER IF EXISTS ${user}@'%'`)));
  for (const grant of grants) await server.query(`GRANT ${grant} TO ${user}@'%'`);
  const environment = { ...schema.environment, DB_USER: user, DB_PASSWORD: 'secret' };
  const folder = new ArchiveFolder(
    { environment },
    sameServer(archive, [{ table: 'orders', children: ['order_items'] }]),
  );
  return { user, folder };
}

describeEachServer('a dry run', (server) => {
  test('says what the date column is compared with, in its own zone and in UTC', async () => {
    const shop = await openShop(server, { old: 5, fresh: 50, entry: { dateZone: 'Asia/Tokyo', archiveAfterDays: 30 } });
    const { tables } = await plan(shop);
    const [root] = tables;
    const moment = (text: string) => Date.parse(`${text.replace(' ', 'T').slice(0, 23)}Z`);
    expect(root?.comparison).toEqual({ column: 'created_at', zone: 'Asia/Tokyo', lessThan: expect.any(String) });
    expect(moment(root?.comparison?.lessThan ?? '') - moment(root?.cutoff ?? '')).toBe(9 * 3_600_000);
    expect(root?.warnings).toEqual([]);
  });

  test('warns where nearly all of a table would go, and of dates that stand for none', async () => {
    const shop = await openShop(server, { old: 45, fresh: 5 });
    const [first] = (await plan(shop)).tables;
    expect(first?.warnings).toEqual([expect.stringMatching(/^45 of 50 rows of orders \(90 %\) .*archiveAfterDays 30/)]);
    await insertOrders(shop.schema, 101, 101, 'UTC_TIMESTAMP(6)');
    expect((await plan(shop)).tables[0]?.warnings).toEqual([]);
    await insertOrders(shop.schema, 201, 201, "'1970-01-01 00:00:00'");
    expect((await plan(shop)).tables[0]?.warnings.join()).toMatch(/oldest created_at of orders is 1970-01-01/);
  });

  test("fault 43: says how many rows hold an ENUM's error value, and of no other empty text", async () => {
    const shop = await openShop(server, { old: 5, fresh: 50 });
    await shop.schema.query("ALTER TABLE orders ADD status ENUM('paid', '') NULL, ADD kind ENUM('a') NULL");
    const lax = await shop.schema.connect();
    await lax.query("SET sql_mode = ''");
    await lax.query("UPDATE orders SET status = 'none such' WHERE id <= 2");
    await lax.query("UPDATE orders SET status = '' WHERE id = 3");
    await lax.end();
    expect((await plan(shop)).tables[0]?.warnings).toEqual([
      '2 rows of orders hold no member of the ENUM status, but the empty error value; they are archived as they are',
    ]);
    expect(await shop.folder.archive()).toMatchObject([{ archived: 5 }]);
  });

  test('names what the account may not do by the statements that grant it; a run is refused for it before anything is copied', async () => {
    const shop = await openShop(server, { old: 5, fresh: 50, items: 1 });
    // The ledger is made by whoever may.
    expect((await shop.folder.run('verify')).exit).toBe(0);
    const { name } = shop.schema;
    const seen = ['PROCESS ON *.*', `SELECT, TRIGGER ON ${name}.*`, `INSERT, UPDATE ON ${name}.tableset_runs`];
    const { user, folder } = await limited(server, shop, [...seen, `DELETE ON ${name}.orders`]);
    const { run, tables } = await plan({ folder });
    expect(run).toMatchObject({ exit: 2, summary: { outcome: 'refused', tables: [{ wouldArchive: 5 }, {}] } });
    expect(tables).toHaveLength(2);
    const to = `TO '${user}'@'%'`;
    const missing = [
      `GRANT DELETE ON \`${name}\`.\`order_items\` ${to}`,
      `GRANT INSERT, UPDATE, DELETE ON \`${name}\`.\`tableset_batches\` ${to}`,
      `GRANT INSERT, UPDATE ON \`${name}\`.\`tableset_tables\` ${to}`,
      `GRANT SELECT, INSERT, CREATE ON \`${shop.archive.name}\`.* ${to}`,
    ];
    expect(run.summary['missingGrants']).toEqual(missing);
    const refused = await folder.refuse(2, 'DATABASE_GRANT_MISSING');
    expect(refused.summary.error).toMatchObject({ missing });
    for (const statement of missing) expect(refused.summary.error?.hint).toContain(statement);
    expect(await batches(shop.schema)).toEqual([]);
    expect(await shop.archive.query('SHOW TABLES')).toEqual([]);
    for (const statement of missing) await server.query(statement);
    expect((await plan({ folder })).run).toMatchObject({ exit: 0, summary: { outcome: 'done' } });
    expect((await folder.archive())[0]?.archived).toBe(5);
    expect(await rowsOf(shop.schema, 'orders')).toHaveLength(50);
  });

  test('does not miss rights that come by a role, by a pattern or for some columns', async () => {
    const shop = await openShop(server, { old: 5, fresh: 50, items: 1 });
    expect((await shop.folder.run('verify')).exit).toBe(0);
    const { name } = shop.schema;
    const role = `r${name.slice(4)}`;
    await server.query(`CREATE ROLE ${role}`);
    onTestFinished(async () => void (await server.query(`DROP ROLE ${role}`)));
    await server.query(`GRANT DELETE ON ${name}.* TO ${role}`);
    const columns = (await server.query(`SHOW COLUMNS FROM ${name}.tableset_tables`)).map((row) =>
      String(row['Field']),
    );
    const { user, folder } = await limited(server, shop, [
      'PROCESS ON *.*',
      `SELECT, TRIGGER ON ${name}.*`,
      `INSERT, UPDATE ON ${name}.tableset_runs`,
      `INSERT, UPDATE ON ${name}.tableset_batches`,
      `INSERT (${columns.join(', ')}), UPDATE (${columns.join(', ')}) ON ${name}.tableset_tables`,
      `SELECT, INSERT, DELETE, CREATE ON \`${shop.archive.name.slice(0, -1)}_\`.*`,
    ]);
    await server.query(`GRANT ${role} TO ${user}@'%'`);
    // Until it is in force nobody may delete.
    await folder.refuse(2, 'DATABASE_GRANT_MISSING');
    await server.query(
      server.flavour === 'mysql' ? `SET DEFAULT ROLE ALL TO ${user}@'%'` : `SET DEFAULT ROLE ${role} FOR ${user}@'%'`,
    );
    expect((await plan({ folder })).run).toMatchObject({ exit: 0, summary: { outcome: 'done' } });
    expect((await folder.archive())[0]?.archived).toBe(5);
  });
});
