import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { expect, test } from 'vitest';
import { describeEachServer } from '../../test/servers.ts';
import { openShop } from './archive-shop.ts';

describeEachServer('what is wrong with a store', (server) => {
  test('is named by its own settings, and not by those of the primary', async () => {
    const shop = await openShop(server, { old: 5 });
    const { schema, archive, folder } = shop;
    const { DB_HOST: host, DB_PORT: port } = schema.environment;
    const entry = { table: 'orders', dateColumn: 'created_at', archiveAfterDays: 30, store: 'cold' };
    const refused = async (mysql: object, code: string) => {
      folder.configure({ stores: { cold: { mysql } }, archive: [entry] });
      const { summary } = await folder.refuse(2, code);
      expect(summary.error?.hint).not.toMatch(/DB_/);
      return `${summary.error?.message} ${summary.error?.hint}`;
    };
    folder.write('password', 'wrong');
    const login = { host, port: Number(port), user: schema.user, passwordFile: 'password', name: archive.name };
    expect(await refused(login, 'DATABASE_ACCESS_DENIED')).toMatch(/^store cold: .*stores\.cold\.mysql\.passwordFile/);
    const gone = await refused({ ...login, passwordFile: 'none' }, 'CONFIG_UNREADABLE');
    expect(gone).toContain('stores.cold.mysql.passwordFile names');
    // Whoever has no rights there is not told whether it is there.
    expect(await refused({ name: 'tableset_no_such' }, 'DATABASE_GRANT_MISSING')).toContain('stores.cold.mysql.name');
    await server.query(`GRANT ALL PRIVILEGES ON tableset_no_such.* TO ${schema.user}@'%'`);
    expect(await refused({ name: 'tableset_no_such' }, 'DATABASE_UNKNOWN')).toMatch(
      /schema tableset_no_such .*stores\.cold\.mysql\.name/,
    );
    expect(await schema.query('SELECT id FROM orders')).toHaveLength(25);
  });

  test('validate says that it compared no names, and what does', async () => {
    const shop = await openShop(server, { old: 1, fresh: 0, entry: { dateColumn: 'no_such_column' } });
    const program = join(import.meta.dirname, '../src/main.ts');
    const words = [program, 'validate', '--config', join(shop.folder.path, 'config.yaml')];
    const { stdout } = await promisify(execFile)(process.execPath, words, { timeout: 60_000 });
    expect(stdout).toMatch(/names .* were not compared with the database; .*loader archive --dry-run/);
    expect(stdout).not.toContain('loader load');
    await shop.folder.refuse(2, 'SETTING_INVALID', 'archive', ['--dry-run']);
  });
});
