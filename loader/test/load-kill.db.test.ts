import { setTimeout as delay } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { describeEachServer, type TestSchema } from '../../test/servers.ts';
import { csv, LoaderFolder } from './run-loader.ts';

/** KILL_ROUNDS=10 for more than a quick look. */
const rounds = Number(process.env['KILL_ROUNDS'] ?? 3);
const rowCount = 12_000;

function rows(version: number): string {
  return csv(
    ['id', 'name', 'price'],
    Array.from({ length: rowCount }, (_, index) => [
      index + 1,
      `name ${index}`,
      `${(index + (index % 3 === 0 ? version : 0)) % 1000}.00`,
    ]),
  );
}

async function checksum(schema: TestSchema, table: string): Promise<unknown> {
  const [row] = await schema.query(
    `SELECT COUNT(*) AS count, CAST(BIT_XOR(CRC32(CONCAT_WS('|', id, name, price))) AS CHAR) AS sum FROM ${table}`,
  );
  return row;
}

describeEachServer('a load that is killed at any time', (server) => {
  for (const publish of ['swap', 'direct', 'delta'] as const) {
    test(`leaves nothing half done by ${publish}, and the next one ends as if it had never been`, async () => {
      const schema = await server.createSchema();
      await schema.script(`CREATE TABLE t (id INT PRIMARY KEY, name VARCHAR(20) NOT NULL, price DECIMAL(8,2), KEY name (name), KEY price (price));
        CREATE TABLE twin LIKE t; INSERT INTO t VALUES (1, 'before', 0)`);
      const twin = new LoaderFolder(schema, [
        { table: 'twin', source: 't.csv', mode: 'mirror', maxDeletes: { percent: 100 } },
      ]);
      const mirror = { mode: 'mirror', maxDeletes: { percent: 100 } };
      const folder = new LoaderFolder(schema, [
        { table: 't', source: 't.csv', ...mirror, publish: publish === 'delta' ? 'delta' : 'auto' },
      ]);
      let slowest = 600;
      for (let round = 0; round < rounds; round++) {
        for (const each of [folder, twin]) each.write({ 't.csv': rows(round) });
        if (publish !== 'delta') await schema.query('TRUNCATE TABLE t');
        if (publish === 'direct') {
          await schema.script(
            'DROP TRIGGER IF EXISTS keeps; CREATE TRIGGER keeps BEFORE INSERT ON t FOR EACH ROW SET NEW.name = NEW.name',
          );
        }
        const before = await checksum(schema, 't');
        const { child, ended } = folder.start();
        // The start of the process is not what is tested.
        await delay(150 + Math.random() * (slowest - 150));
        child.kill('SIGKILL');
        const killed = await ended;
        await twin.load(['--on-busy', 'wait', '--lock-wait-seconds', '20']);
        const after = await checksum(schema, 'twin');
        // It was killed, or it was faster.
        expect(killed.exit === null || killed.exit === 0).toBe(true);
        if (killed.exit === 0) slowest *= 0.8;
        expect([before, after]).toContainEqual(await checksum(schema, 't'));
        const rerun = await folder.run(['--on-busy', 'wait', '--lock-wait-seconds', '20']);
        expect(rerun).toMatchObject({ exit: 0 });
        expect(await checksum(schema, 't')).toEqual(after);
        expect(await schema.query("SHOW TABLES LIKE 'tableset\\_stage%'")).toEqual([]);
      }
    }, 120_000);
  }
});
