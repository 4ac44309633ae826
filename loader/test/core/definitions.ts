import type {
  ColumnDefinition,
  ForeignKeyDefinition,
  IndexDefinition,
  TableDefinition,
} from '@tableset/common/database/table-definition.ts';
import type { LoadTable } from '../../src/config/load-config.ts';
import { column } from './encode-text.ts';

/** A unique index over whole columns. */
export function unique(name: string, ...columns: readonly string[]): IndexDefinition {
  return { name, unique: true, type: 'BTREE', parts: columns.map((part) => ({ column: part, prefix: null })) };
}

/** A table as the server would describe it: columns by declaration, the first one the primary key unless indexes are given. */
export function table(
  name: string,
  columns: Readonly<Record<string, string>>,
  more: Partial<TableDefinition> = {},
): TableDefinition {
  const defined: ColumnDefinition[] = Object.entries(columns).map(([each, type]) =>
    column(each, type.replace(/ NOT NULL$/, ''), { nullable: !type.endsWith(' NOT NULL') }),
  );
  const lines = Object.entries(columns).map(([each, type]) => `  \`${each.replaceAll('`', '``')}\` ${type}`);
  return {
    schema: 's',
    name,
    engine: 'InnoDB',
    createTime: null,
    createStatement: `CREATE TABLE \`${name}\` (\n${lines.join(',\n')}\n) ENGINE=InnoDB`,
    collation: 'utf8mb4_bin',
    systemVersioned: false,
    partitioned: false,
    columns: defined,
    indexes: [unique('PRIMARY', Object.keys(columns)[0] ?? '')],
    foreignKeys: [],
    referencedBy: [],
    triggers: [],
    ...more,
  };
}

/** A foreign key from one column of a table to the column `id` of another. */
export function reference(from: string, column: string, to: string, onDelete = 'RESTRICT'): ForeignKeyDefinition {
  return {
    name: `${from}_${column}`,
    schema: 's',
    table: from,
    columns: [column],
    referencedSchema: 's',
    referencedTable: to,
    referencedColumns: ['id'],
    onDelete,
    onUpdate: 'RESTRICT',
  };
}

/** An entry of `load:` with everything at its default. */
export function entry(name: string, more: Partial<LoadTable> = {}): LoadTable {
  return {
    table: name,
    source: { kind: 'file', path: `/${name}.csv`, isPattern: false, proof: { sha256: null, sizeBytes: null } },
    format: 'csv',
    compression: 'auto',
    dialect: {},
    key: null,
    mapping: {},
    mode: 'upsert',
    maxRejects: 0,
    maxDeletes: { rows: null, percent: 20 },
    allowEmpty: false,
    publish: 'auto',
    maxPublishRows: 5_000_000,
    localInfile: 'auto',
    maxRecordBytes: 1 << 24,
    maxDecompressedBytes: 1 << 30,
    maxDecompressionRatio: 1000,
    position: 'config.yaml:1:1',
    ...more,
  };
}
