import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { describeEachServer, type TestSchema, type TestServer } from '../../test/servers.ts';
import { LoaderFolder } from './run-loader.ts';

/** The statements of one block of the documentation, which is written for schema `shop`, account `loader` and table `products`. */
function documented(heading: string): readonly string[] {
  const text = readFileSync(join(import.meta.dirname, '../../docs/operations.md'), 'utf8');
  const section = text.slice(text.indexOf('## Grants: loader'));
  const block = section.slice(section.indexOf(heading)).match(/```sql\n(.*?)```/s)?.[1];
  if (block === undefined) throw new Error(`docs/operations.md has no SQL under ${heading}`);
  return block
    .split(';')
    .map((statement) => statement.trim())
    .filter((statement) => statement.startsWith('GRANT'));
}

/** An account with these grants alone, and the folder that loads with it. */
async function account(
  server: TestServer,
  schema: TestSchema,
  grants: readonly string[],
): Promise<Pick<TestSchema, 'environment'>> {
  const user = `l${schema.name.slice(4)}`;
  await server.query(`DROP USER IF EXISTS ${user}@'%'`);
  await server.query(`CREATE USER ${user}@'%' IDENTIFIED BY 'secret of ${user}'`);
  onTestFinished(async () => void (await server.query(`DROP USER IF EXISTS ${user}@'%'`)));
  for (const grant of grants)
    await server.query(grant.replaceAll('shop.', `${schema.name}.`).replaceAll("'loader'@'%'", `${user}@'%'`));
  return { environment: { ...schema.environment, DB_USER: user, DB_PASSWORD: `secret of ${user}` } };
}

const products = 'CREATE TABLE products (id INT PRIMARY KEY, name VARCHAR(20), UNIQUE KEY name (name))';
const entry = { table: 'products', source: 'p.csv' };
const files = { 'p.csv': 'id,name\n1,a\n2,b\n' };

/** As after the first `migrator up`: the ledger is there. */
async function prepare(server: TestServer): Promise<TestSchema> {
  const schema = await server.createSchema();
  await schema.script(`${products}; CREATE TABLE other (id INT PRIMARY KEY)`);
  await new LoaderFolder(schema, [{ table: 'other', source: 'o.csv' }], { 'o.csv': 'id\n1\n' }).load();
  return schema;
}

describeEachServer('an account with exactly the documented grants', (server) => {
  test('fills an empty table directly, says why it is not swapped, and writes differences, mirrors and rejects', async () => {
    const schema = await prepare(server);
    const limited = await account(server, schema, documented('### Differences'));
    const folder = new LoaderFolder(limited, [entry], files);
    const first = await folder.run();
    expect(first).toMatchObject({ exit: 0, summary: { tables: [{ publish: 'direct', inserted: 2 }] } });
    expect(first.stderr).toContain('not swapped in, for lack of privileges on the schema');
    folder.configure([{ ...entry, mode: 'mirror', maxDeletes: { percent: 100 } }]);
    folder.write({ 'p.csv': 'id,name\n1,b\n3,c\n' });
    expect(await folder.load()).toMatchObject([{ publish: 'delta', inserted: 1, updated: 1, deleted: 1 }]);
    expect(await folder.load(['--if-changed'])).toMatchObject([{ read: 0 }]);
    folder.write({ 'p.csv': 'id,name\nx,b\n' });
    await folder.refuse(3, 'LOAD_REJECTED');
    expect(await schema.query('SELECT column_name FROM tableset_rejects')).toEqual([{ column_name: 'id' }]);
    expect(await schema.query('SELECT outcome FROM tableset_runs ORDER BY id DESC LIMIT 1')).toEqual([
      { outcome: 'failed' },
    ]);
    await expect(folder.run(['--dry-run'])).resolves.toMatchObject({ exit: 3 });
  });

  test('swaps, with those for it', async () => {
    const schema = await prepare(server);
    const heading = server.flavour === 'mysql' ? '### Swapping on MySQL' : '### Swapping on MariaDB';
    const limited = await account(server, schema, [...documented('### Differences'), ...documented(heading)]);
    const folder = new LoaderFolder(limited, [{ ...entry, publish: 'swap' }], files);
    expect(await folder.load()).toMatchObject([{ publish: 'swap', inserted: 2 }]);
  });

  test('swaps with the privileges of a role that is in force', async () => {
    const schema = await prepare(server);
    const heading = server.flavour === 'mysql' ? '### Swapping on MySQL' : '### Swapping on MariaDB';
    const limited = await account(server, schema, documented('### Differences'));
    const user = limited.environment['DB_USER'] ?? '';
    const role = `r${user}`;
    await server.query(`CREATE ROLE ${role}`);
    onTestFinished(async () => void (await server.query(`DROP ROLE ${role}`)));
    for (const grant of documented(heading))
      await server.query(grant.replaceAll('shop.', `${schema.name}.`).replace(/TO .*/, `TO ${role}`));
    await server.query(`GRANT ${role} TO ${user}@'%'`);
    const folder = new LoaderFolder(limited, [entry], files);
    await server.query(
      server.flavour === 'mysql'
        ? `SET DEFAULT ROLE ${role} TO ${user}@'%'`
        : `SET DEFAULT ROLE ${role} FOR ${user}@'%'`,
    );
    expect(await folder.load()).toMatchObject([{ publish: 'swap' }]);
  });

  test('is told which one is missing', async () => {
    const schema = await prepare(server);
    await schema.query("INSERT INTO products VALUES (1, 'x'), (9, 'y')");
    const all = documented('### Differences');
    const without = (privilege: string) =>
      all.map((grant) => grant.replace(new RegExp(`, ${privilege}|${privilege}, `), ''));
    const mirror = { ...entry, mode: 'mirror', maxDeletes: { percent: 100 } };
    for (const privilege of ['INSERT', 'UPDATE', 'DELETE']) {
      const grants = without(privilege).filter((grant) => !grant.includes('tableset_'));
      const ledger = all.filter((grant) => grant.includes('tableset_'));
      const folder = new LoaderFolder(await account(server, schema, [...grants, ...ledger]), [mirror], files);
      const { summary } = await folder.refuse(2, 'DATABASE_GRANT_MISSING');
      expect(summary.error?.message).toMatch(new RegExp(`${privilege} command denied.*products`));
    }
    const untemporary = new LoaderFolder(
      await account(server, schema, without('CREATE TEMPORARY TABLES')),
      [mirror],
      files,
    );
    const { summary } = await untemporary.refuse(2, 'DATABASE_GRANT_MISSING');
    expect(summary.error?.message).toContain('CREATE TEMPORARY TABLE');
    const swap = new LoaderFolder(await account(server, schema, all), [{ ...entry, publish: 'swap' }], files);
    await schema.query('TRUNCATE TABLE products');
    const refused = await swap.refuse(3, 'LOAD_PUBLISH_REFUSED');
    expect(refused.summary.error?.message).toMatch(/the account lacks .*CREATE, DROP, ALTER/);
    expect(await schema.query('SELECT * FROM products')).toEqual([]);
  });

  test('without the ledger and without the right to make it is told so', async () => {
    const schema = await server.createSchema();
    await schema.script(products);
    const grants = documented('### Differences').filter((grant) => !grant.includes('tableset_'));
    const folder = new LoaderFolder(await account(server, schema, grants), [entry], files);
    const { summary } = await folder.refuse(2, 'DATABASE_GRANT_MISSING');
    expect(summary.error?.message).toContain('tableset_tables');
    const making = "GRANT SELECT, INSERT, UPDATE, CREATE, CREATE VIEW, DROP ON shop.* TO 'loader'@'%'";
    const maker = new LoaderFolder(await account(server, schema, [...grants, making]), [entry], files);
    expect(await maker.load()).toMatchObject([{ inserted: 2 }]);
  });

  test('that sees only some tables mirrors none, since a cascade could go unseen', async () => {
    const schema = await prepare(server);
    await schema.script(
      "CREATE TABLE hidden (id INT PRIMARY KEY, product_id INT, FOREIGN KEY (product_id) REFERENCES products (id) ON DELETE CASCADE); INSERT INTO products VALUES (1, 'a'), (7, 'g'); INSERT INTO hidden VALUES (1, 7)",
    );
    const narrow = documented('### Differences').map((grant) =>
      grant
        .replace('SELECT, CREATE TEMPORARY TABLES', 'CREATE TEMPORARY TABLES')
        .replace('GRANT INSERT', 'GRANT SELECT, INSERT'),
    );
    const limited = await account(server, schema, narrow);
    const folder = new LoaderFolder(limited, [{ ...entry, mode: 'mirror', maxDeletes: { percent: 100 } }], files);
    const { summary } = await folder.refuse(3, 'LOAD_TABLE_UNSUITABLE');
    expect(summary.error?.message).toContain('sees only some tables');
    expect(await schema.query('SELECT * FROM hidden')).toHaveLength(1);
    folder.configure([entry]);
    expect(await folder.load()).toMatchObject([{ publish: 'delta', inserted: 1, unchanged: 1 }]);
  });

  test('that may only read the child still mirrors no table whose rows another one deletes along, and does where it restricts', async () => {
    const schema = await prepare(server);
    await schema.script(
      "CREATE TABLE child (id INT PRIMARY KEY, product_id INT, CONSTRAINT along FOREIGN KEY (product_id) REFERENCES products (id) ON DELETE CASCADE); INSERT INTO products VALUES (1, 'a'), (7, 'g'); INSERT INTO child VALUES (1, 7)",
    );
    const limited = await account(server, schema, documented('### Differences'));
    const mirror = { ...entry, mode: 'mirror', maxDeletes: { percent: 100 } };
    const folder = new LoaderFolder(limited, [mirror], files);
    const { summary } = await folder.refuse(3, 'LOAD_TABLE_UNSUITABLE');
    expect(summary.error?.message).toMatch(/along of child says ON DELETE CASCADE/);
    expect(await schema.query('SELECT id FROM child')).toEqual([{ id: 1 }]);
    await schema.script(
      'ALTER TABLE child DROP FOREIGN KEY along; ALTER TABLE child ADD FOREIGN KEY (product_id) REFERENCES products (id); UPDATE child SET product_id = 1',
    );
    expect(await folder.load()).toMatchObject([{ publish: 'delta', inserted: 1, deleted: 1 }]);
  });
});
