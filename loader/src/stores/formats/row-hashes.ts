import { type CanonicalRow, rowHash } from '../../core/archive/canonical.ts';
import { keyCell } from '../../core/archive/key-columns.ts';
import type { ManifestTable } from '../../core/archive/manifest.ts';
import type { StoredHash } from '../store.ts';
import { cellKind } from './cell-kind.ts';

/** The hashes of rows that were read back, with their keys. */
export async function* hashesOf(
  rows: AsyncIterable<readonly CanonicalRow[]>,
  table: ManifestTable,
): AsyncGenerator<readonly StoredHash[], void> {
  const binary = table.columns.map((column) => cellKind(column.type).kind === 'bytes');
  const places = table.key.map((name) => table.columns.findIndex((column) => column.name === name));
  for await (const batch of rows) {
    yield batch.map((row) => ({
      key: places.map((place) => {
        const cell = row[place] ?? null;
        return keyCell(binary[place] || cell === null ? cell : cell.toString());
      }),
      hash: rowHash(row, binary),
    }));
  }
}
