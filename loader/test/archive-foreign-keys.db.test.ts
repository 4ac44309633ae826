import { expect, onTestFinished, test } from 'vitest';
import { describeEachServer, type TestSchema, type TestServer } from '../../test/servers.ts';
import { expectConserved, openShop, rowsOf, type Shop, type ShopOptions, waitForStatement } from './archive-shop.ts';

const copying = /^INSERT INTO .*`orders`.* FOR UPDATE$/s;

interface Refunds {
  readonly schema: TestSchema;
  readonly before: readonly string[];
  /** Makes refunds go with their order. */
  tie(): Promise<void>;
}

/** A shop, and refunds of its orders in a schema that the archiver's account has no right on. */
async function openRefunds(server: TestServer, options: ShopOptions): Promise<Shop & { readonly refunds: Refunds }> {
  const shop = await openShop(server, { fresh: 0, ...options });
  const schema = await server.createSchema();
  await schema.script(
    `CREATE TABLE refunds (id INT PRIMARY KEY, order_id BIGINT UNSIGNED NOT NULL, KEY (order_id)) ENGINE=InnoDB;
     INSERT INTO refunds SELECT id, id FROM ${shop.schema.name}.orders`,
  );
  // Else the schema of its orders could not be dropped.
  onTestFinished(() => schema.script('DROP TABLE refunds'));
  const tie = async () => {
    const session = await server.connect({ database: schema.name });
    try {
      await session.query('SET SESSION foreign_key_checks = 0, lock_wait_timeout = 20');
      await session.query(
        `ALTER TABLE refunds ADD FOREIGN KEY (order_id) REFERENCES ${shop.schema.name}.orders (id) ON DELETE CASCADE`,
      );
    } finally {
      await session.end();
    }
  };
  return { ...shop, refunds: { schema, before: await rowsOf(schema, 'refunds'), tie } };
}

describeEachServer('archiving rows that another schema refers to', (server) => {
  test('is refused, though the account has no right on that schema', async () => {
    const shop = await openRefunds(server, { old: 10 });
    await shop.refunds.tie();
    const before = await rowsOf(shop.schema, 'orders');
    const { summary } = await shop.folder.refuse(3, 'ARCHIVE_TABLE_UNSUITABLE');
    expect(summary.error?.message).toContain(`${shop.refunds.schema.name}.refunds`);
    expect(await rowsOf(shop.schema, 'orders')).toEqual(before);
    expect(await rowsOf(shop.refunds.schema, 'refunds')).toEqual(shop.refunds.before);
  });

  test('ends with the first batch after the foreign key was made', async () => {
    const limits = { batchRows: 10, parallelBatches: 1 };
    const shop = await openRefunds(server, { old: 60, limits });
    const before = { orders: await rowsOf(shop.schema, 'orders') };
    const holder = await shop.schema.connect();
    onTestFinished(() => holder.destroy());
    await holder.beginTransaction();
    await holder.query('SELECT * FROM orders WHERE id = 15 FOR UPDATE');
    const { ended } = shop.folder.start();
    await waitForStatement(server, shop.schema, copying);
    // MariaDB does it now, MySQL once the second batch is committed.
    const tied = shop.refunds.tie();
    await (server.flavour === 'mariadb' ? tied : waitForState(server, shop.refunds.schema, /metadata lock/));
    await holder.rollback();
    await tied;
    expect(await ended).toMatchObject({ exit: 1, summary: { error: { code: 'ARCHIVE_TABLE_CHANGED' } } });
    expect((await rowsOf(shop.schema, 'orders')).length).toBeGreaterThanOrEqual(40);
    expect(await rowsOf(shop.refunds.schema, 'refunds')).toEqual(shop.refunds.before);
    await expectConserved(shop, before);
  });

  test('takes back a batch if the foreign key was made while it deleted', async () => {
    const shop = await openRefunds(server, {
      old: 20,
      entry: { allowDeleteTriggers: true },
      limits: { parallelBatches: 1 },
    });
    const before = { orders: await rowsOf(shop.schema, 'orders') };
    const gate = `gate of ${shop.schema.name}`;
    await shop.schema.query(
      `CREATE TRIGGER waits BEFORE DELETE ON orders FOR EACH ROW BEGIN DO GET_LOCK('${gate}', 20); DO RELEASE_LOCK('${gate}'); END`,
    );
    const keeper = await server.connect();
    onTestFinished(() => keeper.destroy());
    await keeper.query('SELECT GET_LOCK(?, 0)', [gate]);
    const { ended } = shop.folder.start();
    await waitForState(server, shop.schema, /user lock/i);
    const tied = shop.refunds.tie();
    await (server.flavour === 'mariadb' ? tied : waitForState(server, shop.refunds.schema, /metadata lock/));
    await keeper.query('DO RELEASE_LOCK(?)', [gate]);
    await tied;
    const run = await ended;
    if (server.flavour === 'mariadb') {
      expect(run).toMatchObject({ exit: 1, summary: { error: { code: 'ARCHIVE_TABLE_CHANGED' } } });
      expect(await rowsOf(shop.schema, 'orders')).toEqual(before.orders);
    } else expect(run).toMatchObject({ exit: 0, summary: { tables: [{ archived: 20 }] } });
    expect(await rowsOf(shop.refunds.schema, 'refunds')).toEqual(shop.refunds.before);
    await expectConserved(shop, before);
  });
});

/** Waits until a session in this schema waits for what its state names. */
async function waitForState(server: TestServer, schema: TestSchema, state: RegExp): Promise<void> {
  const waits = async () => {
    const sessions = await server.query('SHOW FULL PROCESSLIST');
    return sessions.some((row) => row['db'] === schema.name && state.test(String(row['State'])));
  };
  await expect.poll(waits, { timeout: 10_000 }).toBe(true);
}
