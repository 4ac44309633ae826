import type { ColumnDefinition, TableDefinition } from '@tableset/common/database/table-definition.ts';
import type { ArchiveChild, ArchiveTask } from '../../config/archive-config.ts';

/** One table of a set, as both sides of a batch see it. */
export interface ArchivedTable {
  readonly definition: TableDefinition;
  /** All stored columns in the table's order: generated and invisible ones included. */
  readonly columns: readonly ColumnDefinition[];
  /** Columns of the primary key, in its order. */
  readonly key: readonly string[];
  /** Its name in the store. */
  readonly archiveName: string;
  /** SHA-256 in hex of what a change of the table would change: names, types, character sets and order of its columns, and its key. */
  readonly fingerprint: string;
  /** Null for the root. */
  readonly child: ChildLink | null;
}

/** How a child's rows belong to its parent's. */
export interface ChildLink {
  readonly settings: ArchiveChild;
  /** The parent's place in `ArchiveSet.tables`. */
  readonly parent: number;
  /** Child columns and the parent columns that they refer to, pair by pair. */
  readonly columns: readonly string[];
  readonly parentColumns: readonly string[];
}

/** A table and what goes along with it, archived batch by batch. */
export interface ArchiveSet {
  readonly task: ArchiveTask;
  /** The root first, parents before their children. */
  readonly tables: readonly [ArchivedTable, ...ArchivedTable[]];
}
