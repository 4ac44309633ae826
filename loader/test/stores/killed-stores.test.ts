import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { setTimeout as delay } from 'node:timers/promises';
import { afterEach, beforeEach, expect, test } from 'vitest';
import type { StoreSettings } from '../../src/config/archive-config.ts';
import { batchDigest } from '../../src/core/archive/canonical.ts';
import { openFilesystemStore } from '../../src/stores/filesystem-store.ts';
import { openSqliteStore } from '../../src/stores/sqlite-store.ts';
import type { ArchiveStore } from '../../src/stores/store.ts';
import { collect } from './tables.ts';

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'killed-'));
});
afterEach(() => rm(folder, { recursive: true }));

const common = { name: 'cold', position: 'test' };
const filesystem = () =>
  ({ ...common, kind: 'filesystem', folder, files: { format: 'parquet', compression: 'zstd' } }) as const;
const sqlite = () => ({ ...common, kind: 'sqlite', path: join(folder, 'archive.db') }) as const;

/** A program that archives batch after batch of two tables, and says which one it has sealed. */
function program(settings: StoreSettings, killAtSync: number): string {
  const from = (path: string) => JSON.stringify(join(import.meta.dirname, path));
  return `
    import { open } from 'node:fs/promises';
    import { openStore } from ${from('../../src/stores/open-store.ts')};
    import { columnOf, manifestOf, manifestTableOf, tableOf } from ${from('tables.ts')};
    const handle = await open('.');
    const shared = Object.getPrototypeOf(handle);
    await handle.close();
    const { sync } = shared;
    const tables = ['orders', 'items'].map((name) => tableOf(name, [columnOf('id', 'int'), columnOf('body', 'blob')]));
    const store = await openStore(${JSON.stringify(settings)}, { signal: AbortSignal.timeout(30_000), warn() {} });
    await store.prepare(tables, 'refuse');
    let syncs = 0;
    shared.sync = function () {
      if (++syncs === ${killAtSync}) process.kill(process.pid, 'SIGKILL');
      return sync.call(this);
    };
    for (let id = 1; id < 5000; id++) {
      const batch = { id: String(id), rootTable: 'orders' };
      const rows = Array.from({ length: 400 }, (_, at) => [Buffer.from(String(at)), crypto.getRandomValues(Buffer.alloc(1000))]);
      async function* batches() { yield rows.slice(0, 200); yield rows.slice(200); }
      const described = [];
      for (const table of tables) described.push(manifestTableOf(table, rows, await store.write(batch, table, batches())));
      await store.seal(batch, manifestOf(batch.id, described));
      console.log(id);
    }`;
}

/**
 * Runs it until it kills itself at a call of fsync, or is killed at any time after its first batch.
 * @returns the last batch that it said it had sealed
 */
async function killInTheMidst(settings: StoreSettings, killAtSync: number | null): Promise<number> {
  const script = program(settings, killAtSync ?? 0);
  const child = spawn(process.execPath, ['--input-type=module-typescript', '-e', script], {
    cwd: join(import.meta.dirname, '../..'),
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const closed = once(child, 'close');
  let said = '';
  child.stdout.on('data', (part) => {
    said += part;
  });
  if (killAtSync === null) {
    await once(child.stdout, 'data');
    await delay(Math.random() * 150);
    child.kill('SIGKILL');
  }
  expect(await closed).toEqual([null, 'SIGKILL']);
  return Number(said.trim().split('\n').at(-1));
}

/** Whether a batch is there as a whole; fails if it counts and is there in part. */
async function isWhole(store: ArchiveStore, id: number): Promise<boolean> {
  const batch = { id: String(id), rootTable: 'orders' };
  const manifest = await store.manifest(batch);
  for (const table of manifest?.tables ?? []) {
    const hashes = await collect(store.hashes(batch, table));
    expect([hashes.length, batchDigest(hashes.map(({ hash }) => hash))]).toEqual([table.rows, table.sha256]);
  }
  return manifest?.tables.length === 2;
}

/** What was sealed is whole; all of it, and what a killed batch left, is then taken away. */
async function expectWhole(store: ArchiveStore, sealed: number): Promise<void> {
  for (let id = 1; id <= sealed; id++) expect([id, await isWhole(store, id)]).toEqual([id, true]);
  // The one after it may have been sealed without being told of, or be there in part.
  await isWhole(store, sealed + 1);
  const ids: string[] = [];
  for await (const id of store.batches('orders')) ids.push(id);
  expect(ids.length - sealed).toBeLessThanOrEqual(1);
  const tables = ['orders', 'items'].map((name) => ({ table: name, archiveName: name }));
  for (const id of ids) await store.remove({ id, rootTable: 'orders' }, tables);
}

// The first batch has six, for two folders' names, two files, the manifest and their names; later ones have five.
test.each([1, 2, 3, 4, 5, 6, 7, 9, 10, 11])(
  'fault 9: a folder whose writer was killed at fsync number %i has what it said it had sealed, and nothing else that counts',
  async (killAtSync) => {
    const sealed = await killInTheMidst(filesystem(), killAtSync);
    expect(sealed).toBe(killAtSync <= 6 ? 0 : 1);
    await using store = await openFilesystemStore(filesystem(), { signal: AbortSignal.timeout(30_000) });
    await expectWhole(store, sealed);
    expect(await readdir(join(folder, 'orders'))).toEqual([]);
  },
);

test.each([1, 2, 3])(
  'fault 9: a file of SQLite whose writer was killed at any time has what it said it had sealed, and nothing else that counts (%i)',
  async () => {
    const sealed = await killInTheMidst(sqlite(), null);
    await using store = openSqliteStore(sqlite(), { signal: AbortSignal.timeout(30_000) });
    await expectWhole(store, sealed);
    using database = new DatabaseSync(join(folder, 'archive.db'));
    expect(database.prepare('SELECT (SELECT count(*) FROM orders) + (SELECT count(*) FROM items) AS n').get()).toEqual({
      n: 0,
    });
    expect(database.prepare('PRAGMA integrity_check').get()).toEqual({ integrity_check: 'ok' });
  },
);
