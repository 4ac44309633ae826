import type { PublishMode } from '../core/table-rules.ts';

/** What a summary says of one table; read = inserted + updated + unchanged + rejected + held. */
export interface TableCounts {
  readonly table: string;
  readonly read: number;
  readonly inserted: number;
  readonly updated: number;
  readonly deleted: number;
  readonly unchanged: number;
  readonly rejected: number;
  /** Rows of the source that were archived or purged from the table, and stay out. */
  readonly held: number;
  /** How the rows got in, or null if nothing had to. */
  readonly publish: PublishMode | null;
  /** There only where `--if-changed` found the table as it was, so that nothing was read. */
  readonly untouched?: true;
}

/** Counts of a table for which nothing was read and nothing done. */
export function noCounts(table: string): TableCounts {
  return { table, read: 0, inserted: 0, updated: 0, deleted: 0, unchanged: 0, rejected: 0, held: 0, publish: null };
}
