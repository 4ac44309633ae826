import { expect, test } from 'vitest';
import type { ArchivedTable } from '../../src/core/archive/archive-set.ts';
import { batchDigest, type CanonicalRow, isBinaryColumn, rowHash } from '../../src/core/archive/canonical.ts';
import type { Manifest, ManifestTable } from '../../src/core/archive/manifest.ts';
import type { ArchiveStore, BatchName } from '../../src/stores/store.ts';
import { collect, columnOf, hashesOfRows, inBatches, manifestOf, manifestTableOf, rowOf, tableOf } from './tables.ts';

/** A place of its own for one test, where any number of stores can be opened. */
export interface Place {
  open(signal?: AbortSignal): Promise<ArchiveStore>;
  /** Changes one row of a sealed batch behind the store's back. */
  tamper(batch: BatchName, table: ManifestTable): Promise<void>;
}

/** Tables with rows that a server gave, with every type that it has. */
export interface Sample {
  readonly table: ArchivedTable;
  readonly rows: readonly CanonicalRow[];
}

let lastId = 7_431_000_000_000_000_000n;
export function newBatch(rootTable = 'orders'): BatchName {
  lastId += 1n;
  return { id: String(lastId), rootTable };
}

/** Writes a batch and seals it. */
export async function archive(store: ArchiveStore, batch: BatchName, samples: readonly Sample[]): Promise<Manifest> {
  await store.prepare(
    samples.map(({ table }) => table),
    'refuse',
  );
  const manifest = await write(store, batch, samples);
  await store.seal(batch, manifest);
  return manifest;
}

async function write(store: ArchiveStore, batch: BatchName, samples: readonly Sample[]): Promise<Manifest> {
  const tables: ManifestTable[] = [];
  for (const { table, rows } of samples)
    tables.push(manifestTableOf(table, rows, await store.write(batch, table, inBatches(rows))));
  return manifestOf(batch.id, tables);
}

const orders = tableOf('orders', [
  columnOf('id', 'bigint unsigned', { unsigned: true }),
  columnOf('note', 'varchar(100)', { characterSet: 'utf8mb4', collation: 'utf8mb4_bin', characterMaximumLength: 100 }),
]);
const someOrders: Sample = {
  table: orders,
  rows: Array.from({ length: 250 }, (_, at) => rowOf(String(at), at % 3 === 0 ? null : `Grüße ${at}`)),
};

/** By the text of the row, since no store promises an order. */
const sorted = (rows: readonly CanonicalRow[]) =>
  rows.map((row) => row.map((cell) => cell?.toString('hex') ?? null).join('|')).toSorted();

async function listed(store: ArchiveStore, rootTable = 'orders'): Promise<readonly string[]> {
  const ids: string[] = [];
  for await (const id of store.batches(rootTable)) ids.push(id);
  return ids;
}

async function expectHolds(store: ArchiveStore, batch: BatchName, manifest: Manifest, samples: readonly Sample[]) {
  expect(await store.manifest(batch)).toEqual(manifest);
  for (const [place, { table, rows }] of samples.entries()) {
    const described = manifest.tables[place] as ManifestTable; // one for each sample
    const back = await collect(store.rows(batch, described));
    expect(sorted(back)).toEqual(sorted(rows));
    const hashes = await collect(store.hashes(batch, described));
    expect(hashes.map(({ hash }) => hash).toSorted()).toEqual(hashesOfRows(table, rows).toSorted());
    const binary = table.columns.map(isBinaryColumn);
    const byHash = new Map(rows.map((row) => [rowHash(row, binary), row]));
    for (const { key, hash } of hashes) {
      const row = byHash.get(hash);
      const wanted = table.key.map((name) => {
        const at = table.columns.findIndex((column) => column.name === name);
        const cell = row?.[at];
        return binary[at] ? cell?.toString('hex').toUpperCase() : cell?.toString();
      });
      expect(key).toEqual(wanted);
    }
  }
}

/** What every store must do. @param samples tables that the server of this suite filled */
export function storeContract(place: () => Promise<Place>, samples: () => Promise<readonly Sample[]>): void {
  test('faults 39 to 42: gives back, to whoever opens it next, every value of every type as it was', async () => {
    const at = await place();
    const typed = await samples();
    expect(typed.reduce((sum, { table }) => sum + table.columns.length, 0)).toBeGreaterThan(50);
    const batch = newBatch(typed[0]?.table.definition.name);
    let manifest: Manifest;
    {
      await using store = await at.open();
      manifest = await archive(store, batch, typed);
      await expectHolds(store, batch, manifest, typed);
    }
    await using other = await at.open();
    await expectHolds(other, batch, manifest, typed);
    expect(await listed(other, batch.rootTable)).toEqual([batch.id]);
  });

  test('fault 2: a batch counts only once it is sealed, and what an abandoned one left can be taken away', async () => {
    const at = await place();
    const batch = newBatch();
    {
      await using store = await at.open();
      await store.prepare([orders], 'refuse');
      await write(store, batch, [someOrders]);
      await using reader = await at.open();
      expect(await reader.manifest(batch)).toBeNull();
    }
    await using store = await at.open();
    expect(await store.manifest(batch)).toBeNull();
    await store.remove(batch, [{ table: 'orders', archiveName: 'orders' }]);
    expect(await listed(store)).toEqual([]);
    // The same again under another id, since ids are never used twice.
    const next = newBatch();
    const manifest = await archive(store, next, [someOrders]);
    await expectHolds(store, next, manifest, [someOrders]);
    expect(await listed(store)).toEqual([next.id]);
  });

  test('fault 17: rows that fail on their way end the write with what they failed of, and nothing is sealed', async () => {
    const at = await place();
    await using store = await at.open();
    await store.prepare([orders], 'refuse');
    const fault = new Error('the primary went away');
    async function* rows() {
      yield someOrders.rows.slice(0, 10);
      throw fault;
    }
    const batch = newBatch();
    await expect(store.write(batch, orders, rows())).rejects.toThrow(fault.message);
    expect(await store.manifest(batch)).toBeNull();
    await store.remove(batch, [{ table: 'orders', archiveName: 'orders' }]);
    const next = newBatch();
    await expectHolds(store, next, await archive(store, next, [someOrders]), [someOrders]);
  });

  test('sealing twice and removing twice is as once', async () => {
    const at = await place();
    await using store = await at.open();
    const batch = newBatch();
    const manifest = await archive(store, batch, [someOrders]);
    await store.seal(batch, manifest);
    await expectHolds(store, batch, manifest, [someOrders]);
    await using other = await at.open();
    await other.seal(batch, manifest);
    await store.remove(batch, manifest.tables);
    expect(await other.manifest(batch)).toBeNull();
    expect(await listed(other)).toEqual([]);
    await other.remove(batch, manifest.tables);
    await store.remove(newBatch(), [{ table: 'orders', archiveName: 'orders' }]);
  });

  test('a sealed batch is never sealed with another manifest', async () => {
    const at = await place();
    await using store = await at.open();
    const batch = newBatch();
    const manifest = await archive(store, batch, [someOrders]);
    const refused = await store.seal(batch, { ...manifest, run: '2' }).catch((error: unknown) => error);
    expect(refused).toMatchObject({ code: 'ARCHIVE_VERIFY_FAILED', exit: 3 });
    await expectHolds(store, batch, manifest, [someOrders]);
  });

  test('fault 33: a key that was archived before is archived again, and both versions stay', async () => {
    const at = await place();
    await using store = await at.open();
    const [first, second] = [newBatch(), newBatch()];
    const later = { table: orders, rows: [rowOf('1', 'again'), rowOf('2', null)] };
    const manifests = [await archive(store, first, [someOrders]), await archive(store, second, [later])] as const;
    expect(await listed(store)).toEqual([first.id, second.id]);
    await store.prepare([orders], 'refuse');
    await expectHolds(store, first, manifests[0], [someOrders]);
    await expectHolds(store, second, manifests[1], [later]);
    await store.remove(first, manifests[0].tables);
    await expectHolds(store, second, manifests[1], [later]);
    expect(await listed(store)).toEqual([second.id]);
  });

  test('fault 21: what was changed behind its back is not what the manifest says', async () => {
    const at = await place();
    await using store = await at.open();
    const batch = newBatch();
    const manifest = await archive(store, batch, [someOrders]);
    const table = manifest.tables[0] as ManifestTable; // the one that was written
    await at.tamper(batch, table);
    const digest = await collect(store.hashes(batch, table)).then(
      (hashes) => batchDigest(hashes.map(({ hash }) => hash)),
      (error: unknown) => error,
    );
    if (typeof digest === 'string') expect(digest).not.toBe(table.sha256);
    else expect(digest).toMatchObject({ code: 'ARCHIVE_VERIFY_FAILED', exit: 3 });
  });

  test('a table without rows in a batch, and columns that came later', async () => {
    const at = await place();
    await using store = await at.open();
    const empty = { table: tableOf('items', orders.columns), rows: [] };
    const [first, second] = [newBatch(), newBatch()];
    const before = await archive(store, first, [someOrders, empty]);
    const wider = { ...tableOf('orders', [...orders.columns, columnOf('points', 'int')]) };
    await store.prepare([wider], 'add-columns');
    const more = { table: wider, rows: [rowOf('1', 'x', '-5'), rowOf('2', null, null)] };
    const after = await archive(store, second, [more]);
    await expectHolds(store, first, before, [someOrders, empty]);
    await expectHolds(store, second, after, [more]);
  });

  test('tables of any name', async () => {
    const at = await place();
    await using store = await at.open();
    for (const name of ['a/../b `x` ü', 'con.manifest.json', '語'.repeat(30)]) {
      const table = { ...orders, definition: { ...orders.definition, name }, archiveName: name };
      const [batch, sample] = [newBatch(name), { table, rows: [rowOf('1', name)] }];
      await expectHolds(store, batch, await archive(store, batch, [sample]), [sample]);
      expect(await listed(store, name)).toEqual([batch.id]);
    }
  });

  test('fault 8: a run that was stopped gets no further', async () => {
    const at = await place();
    const controller = new AbortController();
    await using store = await at.open(controller.signal);
    await store.prepare([orders], 'refuse');
    const reason = new Error('stopped');
    async function* rows() {
      yield someOrders.rows.slice(0, 10);
      controller.abort(reason);
      yield someOrders.rows.slice(10);
    }
    const batch = newBatch();
    const error = await (async () => {
      await store.seal(
        batch,
        manifestOf(batch.id, [manifestTableOf(orders, someOrders.rows, await store.write(batch, orders, rows()))]),
      );
    })().catch((caught: unknown) => caught);
    expect(error).toBeDefined();
    await using other = await at.open();
    expect(await other.manifest(batch)).toBeNull();
  });
}
