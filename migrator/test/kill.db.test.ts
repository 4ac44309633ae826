import { expect, test } from 'vitest';
import { describeEachServer, type TestSchema } from '../../test/servers.ts';
import { rounds as roundsOf } from '../../test/thoroughness.ts';
import { CountingProxy } from './counting-proxy.ts';
import { migrationsFolder, runMigrator, startMigrator } from './run-migrator.ts';

/** More rounds on demand: `KILL_ROUNDS=100 npx vitest run migrator/test/kill.db.test.ts`. */
const rounds = Number(process.env['KILL_ROUNDS'] ?? roundsOf(4, 10));
const seed = Number(process.env['KILL_SEED'] ?? Math.floor(Math.random() * 1e9));

/** Thirty statements of all the kinds that a kill treats differently. */
const file = `
CREATE TABLE customers (id INT AUTO_INCREMENT PRIMARY KEY, name VARCHAR(50) NOT NULL);
INSERT INTO customers (id, name) VALUES (1, 'Ann'), (2, 'Bob'), (3, 'Cid');
CREATE TABLE orders (id INT PRIMARY KEY, customer INT NOT NULL, total DECIMAL(10,2) NOT NULL DEFAULT 0,
  CONSTRAINT orders_customer FOREIGN KEY (customer) REFERENCES customers (id));
INSERT INTO orders VALUES (1, 1, 10.50), (2, 1, 3), (3, 2, 7);
ALTER TABLE orders ADD COLUMN placed_at DATETIME(6) NOT NULL DEFAULT '2024-01-01 00:00:00';
CREATE INDEX orders_placed ON orders (placed_at);
UPDATE orders SET total = total + 1;
START TRANSACTION;
INSERT INTO customers (id, name) VALUES (4, 'Dee');
INSERT INTO orders (id, customer, total) VALUES (4, 4, 99);
UPDATE orders SET total = total * 2 WHERE id = 4;
COMMIT;
CREATE TABLE items (order_id INT NOT NULL, line INT NOT NULL, sku VARCHAR(20), PRIMARY KEY (order_id, line));
ALTER TABLE items ADD CONSTRAINT items_order FOREIGN KEY (order_id) REFERENCES orders (id) ON DELETE CASCADE;
INSERT INTO items VALUES (1, 1, 'a'), (1, 2, 'b'), (4, 1, 'c');
CREATE VIEW totals AS SELECT customer, SUM(total) AS total FROM orders GROUP BY customer;
ALTER TABLE customers MODIFY name VARCHAR(100) NOT NULL, ADD UNIQUE KEY customers_name (name);
CREATE TRIGGER items_upper BEFORE INSERT ON items FOR EACH ROW SET NEW.sku = UPPER(NEW.sku);
INSERT INTO items VALUES (4, 2, 'd');
CREATE PROCEDURE order_count() READS SQL DATA SELECT COUNT(*) FROM orders;
SET foreign_key_checks = 0;
INSERT INTO items VALUES (77, 1, 'orphan');
SET foreign_key_checks = 1;
CREATE TABLE scrap (id INT PRIMARY KEY);
INSERT INTO scrap VALUES (1), (2);
RENAME TABLE scrap TO kept;
ALTER TABLE kept ADD COLUMN note TEXT, ALGORITHM=COPY;
UPDATE kept SET note = CONCAT('n', id);
DROP INDEX orders_placed ON orders;
DELETE FROM kept WHERE id = 2;
`;

describeEachServer('a migration that is killed at a random point', (server) => {
  test(
    `is gone on with, or refused by name, in ${rounds} rounds`,
    async () => {
      const folder = migrationsFolder({ '1_thirty.sql': file });
      const { DB_HOST = '', DB_PORT = '' } = (await server.createSchema()).environment;
      await using proxy = new CountingProxy(DB_HOST, Number(DB_PORT));
      const throughProxy = { DB_HOST: '127.0.0.1', DB_PORT: String(await proxy.listen()) };
      const reference = await server.createSchema();
      expect(await runMigrator({ ...reference.environment, ...throughProxy }, folder)).toMatchObject({ code: 0 });
      const commands = proxy.sent;
      const wanted = await contentOf(reference);
      const statements = await progressOf(reference);
      expect(statements).toBe(30);
      const random = randomFrom(seed);
      const outcomes = { untouched: 0, converged: 0, refused: 0, finished: 0 };
      const refusals: string[] = [];
      for (let round = 0; round < rounds; round += 1) {
        const schema = await server.createSchema();
        let kills = '';
        // Every third run that goes on is killed too.
        for (let again = true; again; again = random() < 0.33) {
          const killAt = 1 + Math.floor(random() * commands);
          // Half of the commands at which it is killed still reach the server, and run on without their client.
          const reaches = random() < 0.5;
          proxy.sent = 0;
          const killed = startMigrator({ ...schema.environment, ...throughProxy, ON_BUSY: 'wait' }, folder);
          proxy.onCommand = (number) => {
            if (number === killAt) killed.child.kill('SIGKILL');
            return number < killAt || (number === killAt && reaches);
          };
          await killed.ended;
          proxy.onCommand = () => true;
          kills += ` ${killAt}${reaches ? ' (sent)' : ''}`;
        }
        const before = await progressOf(schema);
        const next = await runMigrator({ ...schema.environment, ON_BUSY: 'wait' }, folder);
        const where = `seed ${seed}, round ${round}, killed at command${kills} of ${commands} with ${before} statements done`;
        if (next.code === 0) {
          expect(await contentOf(schema), where).toEqual(wanted);
          outcomes[before === null ? 'untouched' : before === statements ? 'finished' : 'converged'] += 1;
        } else {
          expect(next, where).toMatchObject({ code: 3, error: { code: 'MIGRATION_UNFINISHED' } });
          expect(next.error['message'], where).toMatch(/1_thirty\.sql:\d+: statement \d+/);
          refusals.push(`${where}: ${next.error['message']}`);
          outcomes.refused += 1;
        }
        await schema.drop();
      }
      console.log(`${server.flavour}, seed ${seed}:`, outcomes, ...refusals);
    },
    60_000 + rounds * 25_000,
  );
});

/** How many statements the journal has as done; null before it exists. */
async function progressOf(schema: TestSchema): Promise<number | null> {
  const tables = await schema.query("SHOW TABLES LIKE 'tableset_migration_statements'");
  if (tables.length === 0) return null;
  const [row] = await schema.query("SELECT COUNT(*) AS n FROM tableset_migration_statements WHERE state = 'done'");
  return Number(row?.['n']);
}

/** Definitions and rows of everything in the schema that is not ours. */
async function contentOf(schema: TestSchema): Promise<Readonly<Record<string, unknown>>> {
  const content: Record<string, unknown> = {};
  const tables = await schema.query(
    "SELECT table_name AS name FROM information_schema.tables WHERE table_schema = ? AND table_name NOT LIKE 'tableset%' ORDER BY 1",
    [schema.name],
  );
  for (const { name } of tables) {
    const [definition] = await schema.query(`SHOW CREATE TABLE ${String(name)}`);
    const text = JSON.stringify(definition)
      .replaceAll(schema.name, 'schema')
      .replace(/ AUTO_INCREMENT=\d+/, '');
    content[String(name)] = [
      text,
      await schema
        .query(`SELECT * FROM ${String(name)} ORDER BY 1, 2`)
        .catch(() => schema.query(`SELECT * FROM ${String(name)} ORDER BY 1`)),
    ];
  }
  const programs = await schema.query(
    'SELECT routine_name AS name FROM information_schema.routines WHERE routine_schema = ? UNION SELECT trigger_name FROM information_schema.triggers WHERE trigger_schema = ? ORDER BY 1',
    [schema.name, schema.name],
  );
  return { ...content, programs };
}

/** Mulberry32: the same sequence for the same seed. */
function randomFrom(start: number): () => number {
  let state = start >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}
