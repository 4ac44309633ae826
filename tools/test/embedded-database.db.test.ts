import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { access, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import mysql from 'mysql2/promise';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Database, startDatabase } from '../embedded-database/index.ts';

/** What runs on every developer's machine: a server program, or one out of packages. */
const local = { ways: ['path', 'packages'], flavour: 'mariadb' } as const;

describe('a database that is found or made', () => {
  test('lets in the account with its password alone, and leaves nothing behind', async () => {
    const database = await startDatabase({ ...local, binlog: true, args: ['--lower-case-table-names=1'] });
    const folder = await dataFolder(database);
    const { host, port, user, password } = database;
    await using connection = await mysql.createConnection({ host, port, user, password });
    const [rows] = await connection.query<mysql.RowDataPacket[]>(
      'SELECT @@log_bin AS log_bin, @@lower_case_table_names AS folded, @@bind_address AS address',
    );
    expect(rows).toEqual([{ log_bin: 1, folded: 1, address: '127.0.0.1' }]);
    for (const account of ['root', '', 'nobody']) {
      await expect(mysql.createConnection({ host, port, user: account }), account).rejects.toMatchObject({
        errno: 1045,
      });
    }
    connection.destroy();
    await database.stop();
    await expect(access(folder)).rejects.toMatchObject({ code: 'ENOENT' });
    await expect(mysql.createConnection({ host, port, user, password })).rejects.toMatchObject({
      code: 'ECONNREFUSED',
    });
  });

  test('goes when the program that started it is killed', async () => {
    const script = `
      import { startDatabase } from ${JSON.stringify(join(import.meta.dirname, '..', 'embedded-database', 'index.ts'))};
      const database = await startDatabase(${JSON.stringify(local)});
      console.log(JSON.stringify(database));
      setInterval(() => {}, 1000);`;
    const child = spawn(process.execPath, ['--input-type=module', '--eval', script], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    const [chunk]: unknown[] = await once(child.stdout, 'data');
    // What the script above prints.
    const database = JSON.parse(String(chunk)) as Database;
    const folder = await dataFolder(database);
    child.kill('SIGKILL');
    await expect
      .poll(() => stat(folder).catch((error: unknown) => error), { timeout: 10_000 })
      .toMatchObject({ code: 'ENOENT' });
    await expect(mysql.createConnection({ ...address(database) })).rejects.toMatchObject({ code: 'ECONNREFUSED' });
  });

  test('does not keep the program that started it alive', async () => {
    const script = `
      import { startDatabase } from ${JSON.stringify(join(import.meta.dirname, '..', 'embedded-database', 'index.ts'))};
      await startDatabase(${JSON.stringify(local)});`;
    const child = spawn(process.execPath, ['--input-type=module', '--eval', script], { stdio: 'inherit' });
    expect(await Promise.race([once(child, 'exit'), delay(30_000, 'still there')])).toEqual([0, null]);
  });

  test('says of each way why it did not work', async () => {
    await expect(startDatabase({ ways: ['packages'], flavour: 'mysql' })).rejects.toThrow(
      'packages: the packages are those of MariaDB',
    );
    await expect(startDatabase({ ...local, args: ['--no-such-option'] })).rejects.toThrow('unknown option');
  });

  describe('that DB_HOST names', () => {
    const before = process.env['DB_HOST'];
    beforeAll(async () => {
      process.env['DB_HOST'] = '127.0.0.1';
      process.env['DB_PORT'] = '1';
    });
    afterAll(async () => {
      if (before === undefined) delete process.env['DB_HOST'];
      else process.env['DB_HOST'] = before;
      delete process.env['DB_PORT'];
    });

    test('is never replaced by another', async () => {
      await expect(startDatabase()).rejects.toThrow('the server 127.0.0.1:1 that DB_HOST names');
    });
  });
});

function address({ host, port, user, password }: Database): mysql.ConnectionOptions {
  return { host, port, user, password };
}

async function dataFolder(database: Database): Promise<string> {
  const connection = await mysql.createConnection({ ...address(database) });
  const [rows] = await connection.query<mysql.RowDataPacket[]>('SELECT @@datadir AS folder');
  await connection.end();
  return join(String(rows[0]?.['folder']), '..');
}
