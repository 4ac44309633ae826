import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, mkdtemp, readdir, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import type { StoreSettings } from '../../src/config/archive-config.ts';
import { type ManifestTable, manifestFormat } from '../../src/core/archive/manifest.ts';
import { pathPart } from '../../src/stores/file-batches.ts';
import { openFilesystemStore } from '../../src/stores/filesystem-store.ts';
import { archive, newBatch, type Sample } from './contract.ts';
import { collect, columnOf, inBatches, manifestOf, manifestTableOf, rowOf, tableOf } from './tables.ts';

const table = tableOf('orders', [columnOf('id', 'int'), columnOf('note', 'varchar(9000)')]);
const sample: Sample = { table, rows: Array.from({ length: 100 }, (_, at) => rowOf(String(at), `note ${at}`)) };

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'filesystem-'));
});
afterEach(() => rm(folder, { recursive: true }));

const settings = (path = folder): StoreSettings & { readonly kind: 'filesystem' } => ({
  kind: 'filesystem',
  name: 'cold',
  position: 'test',
  folder: path,
  files: { format: 'parquet', compression: 'zstd' },
});
const open = (path?: string) => openFilesystemStore(settings(path), { signal: AbortSignal.timeout(20_000) });
const filesBelow = async (path = folder) =>
  (await readdir(path, { recursive: true, withFileTypes: true }))
    .filter((entry) => !entry.isDirectory())
    .map((entry) => join(entry.parentPath, entry.name).slice(path.length + 1))
    .toSorted();

test('a batch is a folder with a file for each table and a manifest, and nothing else', async () => {
  await using store = await open();
  const batch = newBatch();
  const manifest = await archive(store, batch, [sample]);
  expect(await filesBelow()).toEqual([`orders/${batch.id}/manifest.json`, `orders/${batch.id}/orders.parquet`]);
  const text = await readFile(join(folder, 'orders', batch.id, 'manifest.json'), 'utf8');
  expect(text).toBe(`${JSON.stringify(manifest, null, 2)}\n`);
  await store.remove(batch, []);
  expect(await readdir(join(folder, 'orders'))).toEqual([]);
});

test('nothing has its final name before the seal, and the manifest is the last to get its own', async () => {
  await using store = await open();
  const batch = newBatch();
  const file = await store.write(batch, table, inBatches(sample.rows));
  expect(await filesBelow()).toEqual([`orders/${batch.id}/.orders.parquet.unsealed`]);
  const described = manifestTableOf(table, sample.rows, file);
  const missing = { ...described, archiveName: 'items', file: { name: 'items.parquet', bytes: 1, sha256: 'x' } };
  await expect(store.seal(batch, manifestOf(batch.id, [described, missing]))).rejects.toMatchObject({
    code: 'ARCHIVE_VERIFY_FAILED',
  });
  expect(await store.manifest(batch)).toBeNull();
});

test('fault 22: a file that is there with other content is left as it is', async () => {
  await using store = await open();
  const batch = newBatch();
  const path = join(folder, 'orders', batch.id);
  await mkdir(path, { recursive: true });
  await writeFile(join(path, 'orders.parquet'), 'of someone else');
  const file = await store.write(batch, table, inBatches(sample.rows));
  const manifest = manifestOf(batch.id, [manifestTableOf(table, sample.rows, file)]);
  await expect(store.seal(batch, manifest)).rejects.toMatchObject({ code: 'ARCHIVE_VERIFY_FAILED', exit: 3 });
  expect(await readFile(join(path, 'orders.parquet'), 'utf8')).toBe('of someone else');
  // The manifest has its name only after all others have theirs.
  expect(await store.manifest(batch)).toBeNull();
});

test('fault 3: a seal that was stopped half-way is finished by the next', async () => {
  await using store = await open();
  const batch = newBatch();
  const manifest = await archive(store, batch, [sample]);
  await rm(join(folder, 'orders', batch.id, 'manifest.json'));
  await writeFile(join(folder, 'orders', batch.id, '.manifest.json.unsealed'), '{"format"');
  expect(await store.manifest(batch)).toBeNull();
  await store.seal(batch, manifest);
  expect(await store.manifest(batch)).toEqual(manifest);
});

test('fault 20: a disk that is full leaves nothing under its final name', async () => {
  // A limit on the size of files is as near to a full disk as a test gets without rights; Node ignores the signal that comes with it.
  const script = `
    import { openFilesystemStore } from ${JSON.stringify(join(import.meta.dirname, '../../src/stores/filesystem-store.ts'))};
    import { columnOf, tableOf } from ${JSON.stringify(join(import.meta.dirname, 'tables.ts'))};
    const table = tableOf('orders', [columnOf('id', 'int'), columnOf('body', 'blob')]);
    async function* rows() {
      for (let at = 0; at < 300; at++) yield [[Buffer.from(String(at)), crypto.getRandomValues(Buffer.alloc(10_000))]];
    }
    const store = await openFilesystemStore(${JSON.stringify(settings())}, { signal: AbortSignal.timeout(9000) });
    await store.write({ id: '12', rootTable: 'orders' }, table, rows()).then(
      () => console.log('written'),
      (error) => console.log(JSON.stringify({ code: error.code, exit: error.exit, hint: error.hint, details: error.details })),
    );`;
  const child = spawn(
    'bash',
    ['-c', 'ulimit -f 1024; exec "$0" "$@"', process.execPath, '--input-type=module-typescript', '-e', script],
    {
      cwd: join(import.meta.dirname, '../..'),
      stdio: ['ignore', 'pipe', 'inherit'],
    },
  );
  let said = '';
  child.stdout.on('data', (part) => {
    said += part;
  });
  await once(child, 'close');
  expect(JSON.parse(said)).toEqual({
    code: 'STORE_UNAVAILABLE',
    exit: 1,
    hint: 'Make room in the folder, then run it again.',
    details: { store: 'cold', code: 'EFBIG' },
  });
  expect(await filesBelow()).toEqual([]);
});

test('fault 9: a writer that was killed leaves a batch that does not count and can be taken away', async () => {
  const script = `
    import { openFilesystemStore } from ${JSON.stringify(join(import.meta.dirname, '../../src/stores/filesystem-store.ts'))};
    import { columnOf, tableOf } from ${JSON.stringify(join(import.meta.dirname, 'tables.ts'))};
    const table = tableOf('orders', [columnOf('id', 'int'), columnOf('body', 'blob')]);
    async function* rows() {
      for (let at = 0; at < 2000; at++) yield [[Buffer.from(String(at)), crypto.getRandomValues(Buffer.alloc(20_000))]];
      console.log('writing');
      await new Promise((resolve) => setTimeout(resolve, 60_000));
    }
    const store = await openFilesystemStore(${JSON.stringify(settings())}, { signal: AbortSignal.timeout(60_000) });
    await store.write({ id: '12', rootTable: 'orders' }, table, rows());`;
  const child = spawn(process.execPath, ['--input-type=module-typescript', '-e', script], {
    cwd: join(import.meta.dirname, '../..'),
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  await once(child.stdout, 'data');
  child.kill('SIGKILL');
  await once(child, 'close');
  await using store = await open();
  const batch = { id: '12', rootTable: 'orders' };
  expect(await filesBelow()).toEqual(['orders/12/.orders.parquet.unsealed']);
  expect(await store.manifest(batch)).toBeNull();
  const ids: string[] = [];
  for await (const id of store.batches('orders')) ids.push(id);
  expect(ids).toEqual(['12']);
  await store.remove(batch, []);
  expect(await filesBelow()).toEqual([]);
});

test('links inside a store lead nowhere', async () => {
  const outside = await mkdtemp(join(tmpdir(), 'outside-'));
  try {
    await writeFile(join(outside, 'manifest.json'), '{"format":1,"batch":"12","tables":[]}');
    await mkdir(join(folder, 'orders'));
    await symlink(outside, join(folder, 'orders', '12'));
    await using store = await open();
    const batch = { id: '12', rootTable: 'orders' };
    for (const attempt of [
      () => store.manifest(batch),
      () => store.remove(batch, []),
      () => store.write(batch, table, inBatches(sample.rows)),
      () => store.seal(batch, manifestOf('12', [])),
    ])
      await expect(attempt()).rejects.toMatchObject({ code: 'STORE_UNAVAILABLE' });
    expect(await filesBelow(outside)).toEqual(['manifest.json']);
    await rm(join(folder, 'orders'), { recursive: true });
    await mkdir(join(outside, '12'));
    await symlink(outside, join(folder, 'orders'));
    await expect(store.remove(batch, [])).rejects.toMatchObject({ code: 'STORE_UNAVAILABLE' });
    await rm(join(folder, 'orders'));
    // A link in the place of a file is not followed either.
    const next = newBatch();
    await archive(store, next, [sample]);
    await rm(join(folder, 'orders', next.id, 'manifest.json'));
    await symlink(join(outside, 'manifest.json'), join(folder, 'orders', next.id, 'manifest.json'));
    await expect(store.manifest(next)).rejects.toMatchObject({ code: 'STORE_UNAVAILABLE' });
  } finally {
    await rm(outside, { recursive: true });
  }
});

test('fault 53: a manifest cannot lead out of its folder, and must be of its batch and of a known format', async () => {
  await using store = await open();
  const batch = newBatch();
  const manifest = await archive(store, batch, [sample]);
  const described = manifest.tables[0] as ManifestTable; // the one written
  for (const name of ['../orders.parquet', '/etc/passwd.parquet', '..', 'a/b.parquet', 'manifest.json', '.x.parquet']) {
    const led = { ...described, file: { name, bytes: 1, sha256: 'x' } };
    await expect(collect(store.rows(batch, led))).rejects.toMatchObject({ code: 'ARCHIVE_VERIFY_FAILED' });
  }
  for (const text of ['', '{', 'null', '{"format":1,"batch":"1","tables":[]}', `{"format":2,"batch":"${batch.id}"}`]) {
    await writeFile(join(folder, 'orders', batch.id, 'manifest.json'), text);
    await expect(store.manifest(batch)).rejects.toMatchObject({ code: 'ARCHIVE_VERIFY_FAILED', exit: 3 });
  }
  const newer = JSON.stringify({ ...manifest, format: manifestFormat + 1 });
  await writeFile(join(folder, 'orders', batch.id, 'manifest.json'), newer);
  await expect(store.manifest(batch)).rejects.toMatchObject({
    code: 'ARCHIVE_VERIFY_FAILED',
    hint: 'Use the image version that wrote it, or newer.',
  });
  await expect(store.manifest({ id: '../1', rootTable: 'orders' })).rejects.toThrow(RangeError);
});

test('fault 21: one byte that no reader would miss is a difference', async () => {
  await using store = await open();
  const batch = newBatch();
  const manifest = await archive(store, batch, [sample]);
  const path = join(folder, 'orders', batch.id, 'orders.parquet');
  const bytes = await readFile(path);
  bytes[bytes.indexOf('tableset version')] = 0x54;
  await writeFile(path, bytes);
  const described = manifest.tables[0] as ManifestTable; // the one written
  await expect(collect(store.rows(batch, described))).rejects.toMatchObject({ code: 'ARCHIVE_VERIFY_FAILED', exit: 3 });
});

test('a folder that is not there is not made', async () => {
  await expect(open(join(folder, 'none'))).rejects.toMatchObject({ code: 'STORE_UNAVAILABLE', exit: 1 });
  await writeFile(join(folder, 'file'), '');
  await expect(open(join(folder, 'file'))).rejects.toMatchObject({ code: 'STORE_UNAVAILABLE' });
});

test('every name has a path of its own that is safe and says what it was', () => {
  const names = [
    'orders',
    'Orders',
    'a.b',
    'a/b',
    '..',
    '.',
    'a%2Eb',
    '%b',
    '%bYQA',
    'ü',
    'u\u0308',
    'a b',
    'con',
    '\\',
    'a\nb',
    '\u202e',
    '語'.repeat(64),
    '\u202e'.repeat(64),
    `${'\u202e'.repeat(63)}a`,
    '~',
    '-x',
    '`"\'',
  ];
  const parts = names.map(pathPart);
  expect(new Set(parts).size).toBe(names.length);
  for (const [at, part] of parts.entries()) {
    expect(part).toMatch(/^[^./\\\p{Cc}\p{Cf} ]+$/u);
    expect(Buffer.byteLength(`.${part}.jsonl.zst.unsealed`)).toBeLessThanOrEqual(255);
    const back = part.startsWith('%b')
      ? Buffer.from(part.slice(2), 'base64url').toString('utf16le')
      : decodeURIComponent(part);
    expect(back).toBe(names[at]);
  }
});
