import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { describeEachServer, type TestSchema } from '../../test/servers.ts';
import { bytesOf, ids, purge, restore } from './archive-restore-kit.ts';
import { archiveServer } from './archive-two-server-kit.ts';
import { ArchiveFolder, archiveSchema, sameServer } from './run-archive.ts';

const kinds = ['server', 'two-servers', 'files'] as const;
type Kind = (typeof kinds)[number];

describeEachServer('dates that never were', (server) => {
  const other = archiveServer(server);

  async function open(kind: Kind, columns: string) {
    const schema = await server.createSchema();
    const archive = await archiveSchema(server, schema);
    await schema.script(
      `CREATE TABLE orders (${columns});
      CREATE TABLE order_items (id INT PRIMARY KEY, order_id INT NOT NULL, day DATE NULL)`,
    );
    const children = [{ table: 'order_items', on: { order_id: 'id' } }];
    const sections = sameServer(archive, [{ table: 'orders', deleteAfterDays: 60, children }], { batchRows: 2 });
    const folder = new ArchiveFolder(schema, sections);
    if (kind === 'files') {
      mkdirSync(join(folder.path, 'cold'));
      folder.configure({ ...sections, stores: { cold: { filesystem: { path: 'cold', format: 'jsonl' } } } });
    }
    if (kind === 'two-servers') {
      const far = await other.createSchema();
      const { DB_HOST: host, DB_PORT: port } = far.environment;
      folder.write('password', far.password);
      const login = { host, port: Number(port), user: far.user, passwordFile: 'password', name: far.name };
      folder.configure({ ...sections, stores: { cold: { mysql: { ...login, acceptNotDurable: true } } } });
    }
    await withInvalidDates(schema);
    return { schema, folder };
  }

  /** The test's own session, which puts them in. */
  async function withInvalidDates(schema: TestSchema): Promise<void> {
    await schema.query("SET SESSION sql_mode = 'ALLOW_INVALID_DATES,STRICT_TRANS_TABLES'");
  }

  test.each(kinds)('do not keep a table from being archived to %s, restored and purged', async (kind) => {
    const { schema, folder } = await open(
      kind,
      'id INT PRIMARY KEY, created_at DATETIME NOT NULL, day DATE NULL, KEY created_at (created_at)',
    );
    await schema.query(
      "INSERT INTO orders VALUES (1, '2019-01-02', NULL), (2, '2019-02-30 10:00:00', '2019-04-31'), (3, '2019-02-31', '2019-02-31'), (4, '2019-03-01', NULL), (5, UTC_TIMESTAMP(), '2019-02-31')",
    );
    await schema.query("INSERT INTO order_items VALUES (1, 2, '2019-02-31'), (2, 3, NULL), (3, 5, '2019-02-31')");
    const before = [await bytesOf(schema, 'orders'), await bytesOf(schema, 'order_items')];
    await folder.archive();
    expect([await ids(schema, 'orders'), await ids(schema, 'order_items')]).toEqual([[5], [3]]);
    expect(await folder.run('verify')).toMatchObject({ exit: 0 });
    expect(await restore({ folder }, '--from', '2000-01-01')).toMatchObject([{ restored: 4 }, { restored: 2 }]);
    expect([await bytesOf(schema, 'orders'), await bytesOf(schema, 'order_items')]).toEqual(before);
    await schema.query('DELETE FROM tableset_holds');
    await folder.archive();
    expect(await purge({ folder })).toMatchObject([{}, {}]);
  });

  test.each(kinds)('may stand in a key that goes to %s', async (kind) => {
    const { schema, folder } = await open(
      kind,
      'id INT NOT NULL, created_at DATE NOT NULL, PRIMARY KEY (created_at, id), UNIQUE KEY id (id)',
    );
    await schema.query(
      "INSERT INTO orders (created_at, id) VALUES ('2019-02-28', 1), ('2019-02-31', 2), ('2019-02-31', 3), ('2019-03-01', 4), ('2019-03-02', 5)",
    );
    const before = await bytesOf(schema, 'orders');
    await folder.archive();
    expect(await ids(schema, 'orders')).toEqual([]);
    expect(await restore({ folder }, '--from', '2000-01-01')).toMatchObject([{ restored: 5 }]);
    expect(await bytesOf(schema, 'orders')).toEqual(before);
  });
});
