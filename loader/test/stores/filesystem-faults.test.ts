import {
  chmod,
  chown,
  type FileHandle,
  mkdtemp,
  open,
  readdir,
  readFile,
  rm,
  stat,
  truncate,
  writeFile,
} from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, onTestFinished, test } from 'vitest';
import type { StoreSettings } from '../../src/config/archive-config.ts';
import type { Manifest, ManifestTable } from '../../src/core/archive/manifest.ts';
import { renameNew } from '../../src/stores/filesystem-names.ts';
import { openFilesystemStore } from '../../src/stores/filesystem-store.ts';
import type { ArchiveStore, BatchName } from '../../src/stores/store.ts';
import { archive, newBatch, type Sample } from './contract.ts';
import { collect, columnOf, inBatches, manifestOf, manifestTableOf, rowOf, tableOf } from './tables.ts';

const table = tableOf('orders', [columnOf('id', 'int'), columnOf('note', 'varchar(100)')]);
const sample: Sample = { table, rows: Array.from({ length: 100 }, (_, at) => rowOf(String(at), `note ${at}`)) };
const nobody = 65534;

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'filesystem-'));
});
afterEach(() => rm(folder, { recursive: true }));

const settings = (): StoreSettings & { readonly kind: 'filesystem' } => ({
  kind: 'filesystem',
  name: 'cold',
  position: 'test',
  folder,
  files: { format: 'parquet', compression: 'zstd' },
});
const openStore = () => openFilesystemStore(settings(), { signal: AbortSignal.timeout(20_000) });

/** Calls `before` ahead of each fsync of this process until the test ends; what it throws is what the fsync fails with. */
async function watchSync(before: (handle: FileHandle) => Promise<void>): Promise<void> {
  // No file system fails on demand; every open file shares this method.
  await using any = await open(folder);
  const shared: Pick<FileHandle, 'sync'> = Object.getPrototypeOf(any);
  const { sync } = shared;
  shared.sync = async function (this: FileHandle) {
    await before(this);
    await sync.call(this);
  };
  onTestFinished(() => {
    shared.sync = sync;
  });
}

async function write(store: ArchiveStore, batch: BatchName): Promise<Manifest> {
  const file = await store.write(batch, table, inBatches(sample.rows));
  return manifestOf(batch.id, [manifestTableOf(table, sample.rows, file)]);
}

async function writeAndSeal(store: ArchiveStore, batch: BatchName): Promise<Manifest> {
  const manifest = await write(store, batch);
  await store.seal(batch, manifest);
  return manifest;
}

const rowsOf = (store: ArchiveStore, batch: BatchName, manifest: Manifest) =>
  collect(store.rows(batch, manifest.tables[0] as ManifestTable)); // the one written

test('all of a batch is durable before any of it has its name, and a sealed batch has durable names', async () => {
  await using store = await openStore();
  const batch = newBatch();
  const path = join(folder, 'orders', batch.id);
  const synced: { readonly inode: number; readonly names: readonly string[] }[] = [];
  await watchSync(async (handle) => {
    const names = await readdir(path).catch(() => []);
    synced.push({ inode: (await handle.stat()).ino, names: names.filter((name) => !name.startsWith('.')).toSorted() });
  });
  await writeAndSeal(store, batch);
  const inodes = new Map<number, string>();
  for (const name of ['.', 'orders', `orders/${batch.id}`]) inodes.set((await stat(join(folder, name))).ino, name);
  for (const name of await readdir(path)) inodes.set((await stat(join(path, name))).ino, name);
  const order = synced.map(({ inode, names }) => [inodes.get(inode), names]);
  // All of these before anything has its name, in whatever order.
  const first = ['.', 'manifest.json', 'orders', 'orders.parquet'].map((name) => [name, []]);
  expect(order.slice(0, -1).toSorted()).toEqual(first);
  expect(order.at(-1)).toEqual([`orders/${batch.id}`, ['manifest.json', 'orders.parquet']]);
});

test.each([1, 2, 3, 4, 5])(
  'fault 20: fsync number %i fails, so does the batch, and all of it is done again',
  async (failing) => {
    await using store = await openStore();
    const batch = newBatch();
    let synced: number[] = [];
    let failed: number | null = null;
    await watchSync(async (handle) => {
      synced.push((await handle.stat()).ino);
      if (failed !== null || synced.length < failing) return;
      failed = synced.at(-1) ?? null;
      throw Object.assign(new Error('EIO: i/o error, fsync'), { code: 'EIO', syscall: 'fsync' });
    });
    const failure = { code: 'STORE_UNAVAILABLE', exit: 1, details: { store: 'cold', code: 'EIO' } };
    await expect(writeAndSeal(store, batch)).rejects.toMatchObject(failure);
    // The last one makes the names durable, which are there by then and yet were not promised.
    if (failing < 5) expect(await store.manifest(batch)).toBeNull();
    const inodes = await Promise.all([folder, join(folder, 'orders')].map(async (path) => (await stat(path)).ino));
    await store.remove(batch, []);
    synced = [];
    const next = newBatch();
    const manifest = await writeAndSeal(store, next);
    expect(await rowsOf(store, next, manifest)).toEqual(sample.rows);
    // A folder's name that could not be made durable before is made so now, although it is there.
    if (failed !== null && inodes.includes(failed)) expect(synced).toContain(failed);
  },
);

test('fault 20: a batch is sealed by a second try after the first one failed at its end', async () => {
  await using store = await openStore();
  const batch = newBatch();
  const manifest = await write(store, batch);
  const { ino } = await stat(join(folder, 'orders', batch.id));
  let left = 1;
  await watchSync(async (handle) => {
    if ((await handle.stat()).ino === ino && left-- === 1)
      throw Object.assign(new Error('EIO: i/o error, fsync'), { code: 'EIO', syscall: 'fsync' });
  });
  await expect(store.seal(batch, manifest)).rejects.toMatchObject({ code: 'STORE_UNAVAILABLE' });
  await store.seal(batch, manifest);
  expect(await store.manifest(batch)).toEqual(manifest);
  expect(await rowsOf(store, batch, manifest)).toEqual(sample.rows);
});

test('fault 20: rows whose fsync has failed once are never sealed by a second try', async () => {
  await using store = await openStore();
  const batch = newBatch();
  let failed = false;
  await watchSync(async (handle) => {
    if (failed || !(await handle.stat()).isFile()) return;
    failed = true;
    throw Object.assign(new Error('EIO: i/o error, fsync'), { code: 'EIO', syscall: 'fsync' });
  });
  const manifest = await write(store, batch);
  await expect(store.seal(batch, manifest)).rejects.toMatchObject({ code: 'STORE_UNAVAILABLE' });
  await expect(store.seal(batch, manifest)).rejects.toMatchObject({ code: 'ARCHIVE_VERIFY_FAILED' });
  expect(await store.manifest(batch)).toBeNull();
});

test('fault 22: a name that is taken is never taken over', async () => {
  const [from, to] = [join(folder, 'from'), join(folder, 'to')];
  await writeFile(from, 'new');
  await writeFile(to, 'of someone else');
  await expect(renameNew(from, to)).rejects.toMatchObject({ code: 'EEXIST' });
  expect(await readFile(to, 'utf8')).toBe('of someone else');
  await rm(to);
  await renameNew(from, to);
  expect(await readdir(folder)).toEqual(['to']);
});

/** Root may do everything, so that it becomes somebody else for a while. */
async function asNobody<T>(work: () => Promise<T>): Promise<T> {
  if (process.geteuid?.() !== 0) return await work();
  process.seteuid?.(nobody);
  try {
    return await work();
  } finally {
    process.seteuid?.(0);
  }
}

test('fault 20: a name that cannot be given leaves the batch unsealed, and it is sealed when it can', async () => {
  await using store = await openStore();
  const batch = newBatch();
  if (process.geteuid?.() === 0) await chown(folder, nobody, nobody);
  const path = join(folder, 'orders', batch.id);
  const manifest = await asNobody(async () => {
    const written = await write(store, batch);
    await chmod(path, 0o500);
    await expect(store.seal(batch, written)).rejects.toMatchObject({
      code: 'STORE_UNAVAILABLE',
      exit: 1,
      details: { store: 'cold', code: 'EACCES' },
    });
    await chmod(path, 0o700);
    return written;
  });
  expect(await store.manifest(batch)).toBeNull();
  expect(await readdir(path)).toEqual(['.orders.parquet.unsealed']);
  await store.seal(batch, manifest);
  expect(await rowsOf(store, batch, manifest)).toEqual(sample.rows);
});

test('a folder that may not be written to is refused before anything is copied', async () => {
  await using store = await openStore();
  await chmod(folder, 0o555);
  await asNobody(async () => {
    await expect(store.prepare([table], 'refuse')).rejects.toMatchObject({
      code: 'STORE_UNAVAILABLE',
      exit: 1,
      message: expect.stringContaining('the folder cannot be written to (EACCES)'),
    });
  });
  await chmod(folder, 0o700);
});

test('fault 21: a file that is shorter, longer, empty or gone is not the one of the manifest', async () => {
  await using store = await openStore();
  const batch = newBatch();
  const manifest = await archive(store, batch, [sample]);
  const path = join(folder, 'orders', batch.id, 'orders.parquet');
  const { size } = await stat(path);
  for (const spoil of [
    () => writeFile(path, '\n', { flag: 'a' }),
    () => truncate(path, size - 1),
    () => truncate(path, 0),
    () => rm(path),
  ]) {
    await spoil();
    await expect(rowsOf(store, batch, manifest)).rejects.toMatchObject({ code: 'ARCHIVE_VERIFY_FAILED', exit: 3 });
  }
});
