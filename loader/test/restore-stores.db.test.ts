import { mkdirSync, readdirSync, readFileSync, renameSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { describeEachServer, type TestSchema } from '../../test/servers.ts';
import { bytesOf, ids, purge, restore } from './archive-restore-kit.ts';
import { batches, insertOrders, openShop, rowsOf } from './archive-shop.ts';
import { archiveServer } from './archive-two-server-kit.ts';
import type { ArchiveFolder } from './run-archive.ts';
import { type S3Server, s3IsMissing, startS3Server } from './stores/s3-server.ts';

const kinds = ['mysql', 'parquet', 'jsonl', 'sqlite', 's3'] as const;
type Kind = (typeof kinds)[number];

describeEachServer('an archive in', (server) => {
  const other = archiveServer(server);
  let s3: S3Server;

  beforeAll(async () => {
    if (!s3IsMissing) s3 = await startS3Server();
  });
  afterAll(async () => await s3?.[Symbol.asyncDispose]());

  /** Points the folder's configuration at a store of the kind. */
  async function useStore(
    kind: Kind,
    folder: ArchiveFolder,
    more: Readonly<Record<string, unknown>> = {},
  ): Promise<void> {
    const entry = { table: 'orders', dateColumn: 'created_at', archiveAfterDays: 30, store: 'cold', ...more };
    const limits = { batchRows: 20, targetBatchSeconds: 60 };
    mkdirSync(join(folder.path, 'cold'));
    folder.configure({ stores: { cold: await storeOf(kind, folder) }, archive: [entry], limits });
  }

  async function storeOf(kind: Kind, folder: ArchiveFolder): Promise<unknown> {
    switch (kind) {
      case 'mysql': {
        const archive = await other.createSchema();
        const { DB_HOST: host, DB_PORT: port } = archive.environment;
        folder.write('password', archive.password);
        const login = { host, port: Number(port), user: archive.user, passwordFile: 'password', name: archive.name };
        return { mysql: { ...login, acceptNotDurable: true } };
      }
      case 'parquet':
        return { filesystem: { path: 'cold' } };
      case 'jsonl':
        return { filesystem: { path: 'cold', format: 'jsonl', compression: 'gzip' } };
      case 'sqlite':
        return { sqlite: { path: 'cold.sqlite' } };
      case 's3':
        return { s3: { bucket: await s3.createBucket(), prefix: 'archive', ...s3.settings() } };
      default:
        return kind satisfies never;
    }
  }

  for (const kind of kinds) {
    const run = kind === 's3' && s3IsMissing ? test.skip : test;

    run(
      `${kind} gives back what was put into it, says where it is, is verified, drilled and purged`,
      async () => {
        const shop = await openShop(server, { old: 0, fresh: 2, items: 1 });
        const { schema, folder } = shop;
        await useStore(kind, folder, { children: ['order_items'], deleteAfterDays: 365 });
        await insertOrders(schema, 11, 50, 'UTC_TIMESTAMP(6) - INTERVAL 400 DAY + INTERVAL i MINUTE');
        await insertOrders(schema, 51, 70, 'UTC_TIMESTAMP(6) - INTERVAL 200 DAY + INTERVAL i MINUTE');
        await schema.query("INSERT INTO order_items (order_id, product) SELECT id, 'thing' FROM orders WHERE id > 10");
        const before = [await rowsOf(schema, 'orders'), await rowsOf(schema, 'order_items')];
        expect(await folder.archive()).toMatchObject([{ archived: 60, deleted: 60 }, { archived: 60 }]);
        expect(await ids(schema, 'orders', 'id > 10')).toEqual([]);
        const verified = await folder.run('verify');
        expect(verified).toMatchObject({ exit: 0, summary: { tables: [{ rows: 120, differing: 0 }], leftovers: [] } });
        expect((await folder.run('verify', ['--drill'])).summary).toMatchObject({
          outcome: 'done',
          tables: [{ differing: 0 }],
        });
        expect((await folder.run('status', ['--key', 'id=42'])).summary['batches']).toMatchObject([
          { found: 1, state: 'deleted' },
        ]);
        const between = new Date(Date.now() - 300 * 86_400_000).toISOString().slice(0, 10);
        const [younger] = ((await folder.run('status', ['--from', between])).summary['batches'] ?? []) as {
          batch: string;
        }[]; // as the verb's summary has it
        expect(younger).toMatchObject({ state: 'deleted', rows: 20, found: null });
        expect((await folder.run('status', ['--to', between])).summary['batches']).toHaveLength(2);
        expect(await restore(shop, '--batch', younger?.batch ?? '', '--into', 'looked_at')).toMatchObject([
          { restored: 20 },
        ]);
        expect(await ids(schema, 'looked_at')).toEqual(Array.from({ length: 20 }, (_, index) => 51 + index));
        expect(await restore(shop, '--where', 'id=42')).toMatchObject([{ restored: 1 }, { restored: 1 }]);
        expect(await restore(shop, '--from', '2000-01-01')).toMatchObject([
          { restored: 59, unchanged: 1 },
          { restored: 59 },
        ]);
        expect([await rowsOf(schema, 'orders'), await rowsOf(schema, 'order_items')]).toEqual(before);
        expect(await purge(shop)).toMatchObject([{ purged: 0, skipped: { held: 40 } }, {}]);
        await schema.query('DELETE FROM tableset_holds');
        // Killed somewhere on its way, it is finished by the next.
        const { child, ended } = folder.start('purge');
        await delay(200 + Math.random() * 600);
        child.kill('SIGKILL');
        await ended;
        await purge(shop, '--on-busy', 'wait', '--lock-wait-seconds', '20');
        expect((await folder.run('verify')).summary).toMatchObject({
          tables: [{ rows: 40, differing: 0 }],
          leftovers: [],
        });
        expect((await batches(schema)).map(({ state }) => state).filter((state) => state === 'purged')).toHaveLength(2);
        await folder.refuse(3, 'RESTORE_NOT_FOUND', 'restore', ['--table', 'orders', '--where', 'id=42']);
      },
      120_000,
    );

    run(`faults 39 to 42: ${kind} gives every value back byte for byte`, async () => {
      const shop = await openShop(server, { old: 0, fresh: 0 });
      const { schema, folder } = shop;
      await useStore(kind, folder);
      await makeTypes(schema, server.flavour, kind === 'mysql');
      if (kind === 'parquet' || kind === 's3') {
        // Its dates have no zero: nothing is copied then.
        const { summary } = await folder.refuse(3, 'ARCHIVE_VALUE_REFUSED');
        expect(summary.error?.message).toContain('key [4]');
        await schema.query('UPDATE orders SET da = NULL, dt = NULL WHERE id = 4');
      }
      const before = await bytesOf(schema, 'orders');
      expect(await folder.archive()).toMatchObject([{ archived: before.length }]);
      expect(await restore(shop, '--from', '0001-01-01')).toMatchObject([{ restored: before.length }]);
      expect(await bytesOf(schema, 'orders')).toEqual(before);
    });
  }

  test('fault 20: a store that is not there ends restore, verify and purge with exit 1, and changes nothing', async () => {
    const shop = await openShop(server, { old: 30, fresh: 1 });
    const { schema, folder } = shop;
    await useStore('jsonl', folder, { deleteAfterDays: 40 });
    await folder.archive();
    const ledger = await batches(schema);
    renameSync(join(folder.path, 'cold'), join(folder.path, 'gone'));
    await folder.refuse(1, 'STORE_UNAVAILABLE', 'restore', ['--table', 'orders', '--from', '2000-01-01']);
    await folder.refuse(1, 'STORE_UNAVAILABLE', 'verify');
    await folder.refuse(1, 'STORE_UNAVAILABLE', 'purge');
    expect(await ids(schema, 'orders')).toEqual([31]);
    expect(await batches(schema)).toEqual(ledger);
    renameSync(join(folder.path, 'gone'), join(folder.path, 'cold'));
    expect(await restore(shop, '--from', '2000-01-01')).toMatchObject([{ restored: 30 }]);
  });

  test('fault 10: a purge that was killed between its two steps is finished by the next run, whatever is left of the files', async () => {
    const shop = await openShop(server, { old: 40, fresh: 1 });
    const { schema, folder } = shop;
    await useStore('jsonl', folder, { deleteAfterDays: 40 });
    await folder.archive();
    const [first, second] = (await batches(schema)).map(({ id }) => String(id));
    await schema.query("UPDATE tableset_batches SET state = 'purging'");
    rmSync(join(folder.path, 'cold', 'orders', String(first)), { recursive: true });
    rmSync(join(folder.path, 'cold', 'orders', String(second), 'manifest.json'));
    expect(await purge(shop)).toMatchObject([{ matched: 40, purged: 40 }]);
    expect((await batches(schema)).map(({ state }) => state)).toEqual(['purged', 'purged']);
    expect((await folder.run('verify')).summary).toMatchObject({ outcome: 'done', leftovers: [] });
  });

  for (const kind of ['parquet', 'jsonl'] as const) {
    test(`fault 21: a ${kind} file that was cut or changed by a byte is found, and nothing is restored from it`, async () => {
      const shop = await openShop(server, { old: 30, fresh: 1 });
      const { schema, folder } = shop;
      await useStore(kind, folder);
      await folder.archive();
      const file = fileOf(folder, kind);
      const content = readFileSync(file);
      for (const spoil of [
        () => truncateSync(file, content.length - 1),
        () => writeFileSync(file, Buffer.concat([content, Buffer.from('\n')])),
        () =>
          writeFileSync(
            file,
            content.map((byte, at) => (at === Math.floor(content.length / 2) ? byte ^ 1 : byte)),
          ),
      ]) {
        spoil();
        const { summary } = await folder.refuse(3, 'ARCHIVE_VERIFY_FAILED', 'verify');
        expect(summary.error?.message).toMatch(/^batch \d+ in cold/);
        await folder.refuse(3, 'ARCHIVE_VERIFY_FAILED', 'restore', ['--table', 'orders', '--from', '2000-01-01']);
        expect(await ids(schema, 'orders')).toEqual([31]);
        writeFileSync(file, content);
      }
      expect(await restore(shop, '--from', '2000-01-01')).toMatchObject([{ restored: 30 }]);
    });
  }
});

function fileOf(folder: ArchiveFolder, kind: 'parquet' | 'jsonl'): string {
  const root = join(folder.path, 'cold');
  const found = readdirSync(root, { recursive: true, encoding: 'utf8' }).find((name) => name.includes(`.${kind}`));
  if (found === undefined) throw new Error(`no file in ${root}`);
  return join(root, found);
}

async function makeTypes(schema: TestSchema, flavour: string, otherServer: boolean): Promise<void> {
  await schema.script(`DROP TABLE orders; CREATE TABLE orders (id BIGINT UNSIGNED NOT NULL PRIMARY KEY, created_at DATETIME(6) NOT NULL, dec65 DECIMAL(65,30), f FLOAT, d DOUBLE, bits BIT(64),
      c CHAR(5), v VARCHAR(40), t TEXT, bin BINARY(4), vb VARBINARY(20), bl BLOB, e ENUM('a','2','it''s','x,y'), s SET('a','b','c d'), da DATE, dt DATETIME(6), ts TIMESTAMP(6) NULL,
      ti TIME(6), y YEAR, j JSON, g GEOMETRY, p POINT, latin VARCHAR(20) CHARACTER SET latin1, gen INT AS (id % 7) STORED);
    INSERT INTO orders (id, created_at, dec65, f, d, bits, c, v, t, bin, vb, bl, e, s, da, dt, ts, ti, y, j, g, p) VALUES
      (0, '2001-01-01', 0.000000000000000000000000000001, 16777216, 0.1, 18446744073709551615, ' ab', 'grüße 😀', '', x'00ff0a00', x'0000', x'', 'it''s', 'a,c d', '0001-01-01', '9999-12-31 23:59:59.999999', '1970-01-01 00:00:01', '-838:59:59', 1901, '{"b": [1, 2.5], "a": "é"}', ST_GeomFromText('POINT(-1.5 1e-300)'), ST_GeomFromText('POINT(1 2)')),
      (18446744073709551615, '2001-01-01 00:00:00.000001', -99999999999999999999999999999999999.999999999999999999999999999999, 3.4028234e38, 1.5e-7, 0, '', 'a\\n\\t\\\\\\0\\Z''"', REPEAT('x', 60000), x'deadbeef', x'5c27', REPEAT(x'00ff', 1000), '2', '', '2024-02-29', '1000-01-01 00:00:00', '2038-01-19 03:14:07.999999', '838:59:59', 2155, '[]', NULL, NULL),
      (9007199254740993, '2001-01-02', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL);
    SET SESSION sql_mode = 'ALLOW_INVALID_DATES,NO_AUTO_VALUE_ON_ZERO';
    INSERT INTO orders (id, created_at, da, dt, ti, y) VALUES (4, '2001-01-03', '0000-00-00', '0000-00-00 00:00:00', '-00:00:00.000001', 0)`);
  // MariaDB has no zero with a sign.
  if (flavour === 'mysql' && !otherServer) await schema.query('UPDATE orders SET d = -0e0 WHERE id = 4');
}
