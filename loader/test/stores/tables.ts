/** Definitions of tables for tests of stores, without a server. */
import { createHash } from 'node:crypto';
import type { ColumnDefinition } from '@tableset/common/database/table-definition.ts';
import type { ArchivedTable } from '../../src/core/archive/archive-set.ts';
import { batchDigest, type CanonicalRow, isBinaryColumn, rowHash } from '../../src/core/archive/canonical.ts';
import { type Manifest, type ManifestTable, manifestFormat } from '../../src/core/archive/manifest.ts';
import type { StoredFile } from '../../src/stores/store.ts';

/** A column by its COLUMN_TYPE; nullable unless told otherwise. */
export function columnOf(name: string, columnType: string, more: Partial<ColumnDefinition> = {}): ColumnDefinition {
  const dataType = /^\w+/.exec(columnType)?.[0] ?? '';
  return {
    name,
    position: 1,
    dataType,
    columnType,
    unsigned: columnType.includes('unsigned'),
    zerofill: columnType.includes('zerofill'),
    nullable: true,
    hasDefault: true,
    characterMaximumLength: null,
    characterOctetLength: null,
    numericPrecision: null,
    numericScale: null,
    datetimePrecision: null,
    characterSet: null,
    collation: null,
    members: [],
    generated: false,
    autoIncrement: false,
    invisible: false,
    json: dataType === 'json',
    srid: null,
    ...more,
  };
}

/** A table of these columns, whose key is the first of them unless told otherwise. */
export function tableOf(
  name: string,
  columns: readonly ColumnDefinition[],
  key = [columns[0]?.name ?? ''],
): ArchivedTable {
  return {
    definition: {
      schema: 'shop',
      name,
      engine: 'InnoDB',
      createTime: null,
      createStatement: '',
      collation: null,
      systemVersioned: false,
      partitioned: false,
      columns,
      indexes: [],
      foreignKeys: [],
      referencedBy: [],
      triggers: [],
    },
    columns: columns.map((column) => (key.includes(column.name) ? { ...column, nullable: false } : column)),
    key,
    archiveName: name,
    fingerprint: createHash('sha256').update(name).digest('hex'),
    child: null,
  };
}

/** Cells of texts; bytes and null stand for themselves. */
export function rowOf(...cells: readonly (string | Buffer | null)[]): CanonicalRow {
  return cells.map((cell) => (typeof cell === 'string' ? Buffer.from(cell) : cell));
}

export async function* inBatches(rows: readonly CanonicalRow[], size = 100): AsyncGenerator<readonly CanonicalRow[]> {
  for (let at = 0; at < rows.length; at += size) yield rows.slice(at, at + size);
}

export function hashesOfRows(table: ArchivedTable, rows: readonly CanonicalRow[]): readonly string[] {
  const binary = table.columns.map(isBinaryColumn);
  return rows.map((row) => rowHash(row, binary));
}

/** What a manifest says of a table that holds these rows. */
export function manifestTableOf(
  table: ArchivedTable,
  rows: readonly CanonicalRow[],
  file: StoredFile | null,
): ManifestTable {
  return {
    table: table.definition.name,
    archiveName: table.archiveName,
    fingerprint: table.fingerprint,
    columns: table.columns.map(({ name, columnType, characterSet, collation, nullable, generated }) => ({
      name,
      type: columnType,
      characterSet,
      collation,
      nullable,
      generated,
    })),
    key: table.key,
    rows: rows.length,
    keys: null,
    dates: null,
    sha256: batchDigest(hashesOfRows(table, rows)),
    dropped: 0,
    statistics: {},
    file,
  };
}

export function manifestOf(batch: string, tables: readonly ManifestTable[]): Manifest {
  return {
    format: manifestFormat,
    batch,
    program: 'test',
    source: '127.0.0.1:3306/shop',
    run: '1',
    cutoff: '2025-01-01 00:00:00.000000',
    createdAt: '2025-06-01 00:00:00.000000',
    tables,
  };
}

export async function collect<T>(batches: AsyncIterable<readonly T[]>): Promise<T[]> {
  const all: T[] = [];
  for await (const batch of batches) all.push(...batch);
  return all;
}
