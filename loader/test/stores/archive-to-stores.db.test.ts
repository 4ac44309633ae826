import { mkdir, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { describeEachServer, type TestSchema } from '../../../test/servers.ts';
import { fillShop, shopText } from '../archive-two-server-kit.ts';
import { ArchiveFolder } from '../run-archive.ts';
import { type S3Server, s3IsMissing, startS3Server } from './s3-server.ts';

const entry = {
  table: 'orders',
  dateColumn: 'created_at',
  archiveAfterDays: 30,
  deleteAfterDays: 60,
  store: 'cold',
  children: ['items'],
};

describeEachServer('the verbs over stores of files and SQLite', (server) => {
  async function roundTrip(store: (folder: string) => unknown, batchRows = 30, killed = false): Promise<void> {
    const schema = await server.createSchema();
    await fillShop(schema, { old: 100, fresh: 20 });
    await schema.script(
      'DROP TABLE notes; UPDATE orders SET created_at = UTC_TIMESTAMP() - INTERVAL 1 DAY WHERE id > 100',
    );
    const before = await shopTwo();
    const folder = new ArchiveFolder(schema, {});
    await mkdir(join(folder.path, 'cold'));
    const sections = { stores: { cold: store(folder.path) }, archive: [entry], limits: { batchRows } };
    folder.configure(sections);
    if (killed) {
      await killInTheMidst(schema, folder);
      await folder.archive();
    } else {
      const counts = await folder.archive();
      expect(counts.map(({ table, deleted }) => [table, deleted])).toEqual([
        ['orders', 100],
        ['items', 150],
      ]);
    }
    expect(await schema.query('SELECT COUNT(*) AS n FROM orders')).toEqual([{ n: 20 }]);
    expect((await folder.archive()).every(({ matched }) => matched === 0)).toBe(true);
    const verified = await folder.run('verify');
    expect([verified.exit, verified.stderr]).toEqual([0, expect.anything()]);
    const restored = await folder.run('restore', ['--table', 'orders', '--from', '2000-01-01', '--to', '2030-01-01']);
    expect([restored.exit, restored.summary.error]).toEqual([0, undefined]);
    expect(await shopTwo()).toEqual(before);
    await schema.script('DELETE FROM tableset_holds');
    const purged = await folder.run('purge');
    expect([purged.exit, purged.summary.error]).toEqual([0, undefined]);

    // Nothing but what the ledger knows of is left in the store.
    const left = await schema.query("SELECT state FROM tableset_batches WHERE state NOT IN ('purged', 'removed')");
    expect(left).toEqual([]);

    async function shopTwo() {
      await schema.script('CREATE TABLE IF NOT EXISTS notes (id INT, item_id INT, body INT)');
      const text = await shopText(schema);
      await schema.script('DROP TABLE notes');
      return text;
    }
  }

  /** Kills an archive run at any time after its first batch is done and before its last. */
  async function killInTheMidst(schema: TestSchema, folder: ArchiveFolder): Promise<void> {
    const { child, ended } = folder.start('archive');
    let running = true;
    const exit = ended.then((run) => {
      running = false;
      return run.exit;
    });
    for (let done = 0; done === 0 && running; ) {
      await delay(5);
      const sql = "SELECT COUNT(*) AS n FROM tableset_batches WHERE state = 'deleted'";
      const [row] = await schema.query(sql).catch(() => []);
      done = Number(row?.['n'] ?? 0);
    }
    await delay(Math.random() * 60);
    child.kill('SIGKILL');
    // A fast machine may have been done before that.
    expect([null, 0]).toContain(await exit);
  }

  test.each([
    ['parquet', 'zstd'],
    ['jsonl', 'gzip'],
  ])('rows go to a folder as %s and come back as they were', async (format, compression) => {
    let cold = '';
    await roundTrip((folder) => {
      cold = join(folder, 'cold');
      return { filesystem: { path: cold, format, compression } };
    });
    expect(await readdir(join(cold, 'orders'))).toEqual([]);
  });

  test('rows go to SQLite and come back as they were', async () => {
    await roundTrip((folder) => ({ sqlite: { path: join(folder, 'cold', 'archive.db') } }));
  });

  test('fault 9: an archive to a folder that was killed is finished by the next run, and comes back as it was', async () => {
    await roundTrip((folder) => ({ filesystem: { path: join(folder, 'cold') } }), 6, true);
  });

  test('fault 9: an archive to SQLite that was killed is finished by the next run, and comes back as it was', async () => {
    await roundTrip((folder) => ({ sqlite: { path: join(folder, 'cold', 'archive.db') } }), 6, true);
  });

  describe.skipIf(s3IsMissing)('in S3', () => {
    let s3: S3Server;
    beforeAll(async () => {
      s3 = await startS3Server();
    });
    afterAll(async () => await s3?.[Symbol.asyncDispose]());

    test('rows go to a bucket and come back as they were', async () => {
      const bucket = await s3.createBucket();
      await roundTrip(() => ({ s3: { bucket, prefix: 'shop', ...s3.settings() } }));
    });

    test('fault 9: an archive to a bucket that was killed is finished by the next run, and comes back as it was', async () => {
      const bucket = await s3.createBucket();
      await roundTrip(() => ({ s3: { bucket, prefix: 'shop', ...s3.settings() } }), 6, true);
    });
  });
});
