import { expect, test } from 'vitest';
import type { LedgerBatch } from '../src/archive/batch-ledger.ts';
import { batchDigest, type CanonicalRow, rowHash } from '../src/core/archive/canonical.ts';
import type { ManifestColumn, ManifestTable } from '../src/core/archive/manifest.ts';
import { chooseRows, type RowChoice } from '../src/restore/choose-rows.ts';
import { ProofKeeper } from '../src/restore/proof-keeper.ts';
import { SeenKeys } from '../src/restore/seen-keys.ts';
import type { ArchiveStore } from '../src/stores/store.ts';

const column = (name: string): ManifestColumn => ({
  name,
  type: 'int',
  characterSet: null,
  collation: null,
  nullable: false,
  generated: false,
});
const row = (...cells: readonly string[]): CanonicalRow => cells.map((cell) => Buffer.from(cell));
const hashOf = (cells: CanonicalRow) => rowHash(cells, [false, false]);
const all: RowChoice = { matches: null, links: null, equal: async () => [] };

function batchOf(rows: readonly CanonicalRow[]): LedgerBatch {
  const table: ManifestTable = {
    table: 'orders',
    archiveName: 'orders',
    fingerprint: '',
    columns: [column('id'), column('total')],
    key: ['id'],
    rows: rows.length,
    keys: null,
    dates: null,
    sha256: batchDigest(rows.map(hashOf)),
    dropped: 0,
    statistics: {},
    file: null,
  };
  const manifest = {
    format: 1,
    batch: '1',
    program: '',
    source: '',
    run: '1',
    cutoff: '',
    createdAt: '',
    tables: [table],
  };
  return {
    id: '1',
    token: '1',
    runId: '1',
    table: 'orders',
    store: 'cold',
    state: 'deleted',
    cutoff: '',
    firstKey: null,
    lastKey: null,
    oldest: null,
    newest: null,
    rowCount: rows.length,
    totalRows: rows.length,
    manifest,
    createdAt: '',
    verifiedAt: null,
  };
}

/** A store that says one thing when it is proved and another when it is read. */
function storeOf(proved: readonly CanonicalRow[], read: readonly CanonicalRow[]): ArchiveStore {
  return {
    kind: 'sqlite',
    name: 'cold',
    describe: () => 'test',
    prepare: async () => [],
    write: async () => null,
    seal: async () => {},
    async *hashes() {
      yield proved.map((cells) => ({ key: [cells[0]?.toString() ?? ''], hash: hashOf(cells) }));
    },
    async *rows() {
      yield read;
    },
    manifest: async () => null,
    async *batches() {},
    remove: async () => {},
    async [Symbol.asyncDispose]() {},
  };
}

async function chosen(store: ArchiveStore, batch: LedgerBatch): Promise<readonly string[]> {
  const keys: string[] = [];
  for await (const piece of chooseRows(store, batch, all, new ProofKeeper(), new SeenKeys()))
    keys.push(...piece.rows.map(({ key }) => key));
  return keys;
}

test('fault 21: a row that was not among those that were proved a moment ago is never handed on', async () => {
  const rows = [row('1', '10'), row('2', '20')];
  expect(await chosen(storeOf(rows, rows), batchOf(rows))).toEqual(['["1"]', '["2"]']);
  await expect(chosen(storeOf(rows, [row('1', '10'), row('2', '21')]), batchOf(rows))).rejects.toMatchObject({
    code: 'ARCHIVE_VERIFY_FAILED',
    message: 'batch 1 in cold, orders: the row ["2"] is none of those that were proved a moment ago',
  });
});

test('fault 21: a batch with a row too few, too many or other than the manifest says is not read at all', async () => {
  const rows = [row('1', '10'), row('2', '20')];
  for (const found of [rows.slice(1), [...rows, row('3', '30')], [row('1', '10'), row('2', '21')]]) {
    await expect(chosen(storeOf(found, found), batchOf(rows))).rejects.toMatchObject({ code: 'ARCHIVE_VERIFY_FAILED' });
  }
});
