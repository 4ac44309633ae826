import { textTable } from '@tableset/common/output/table.ts';
import type { BatchResult } from './engine.ts';

/** What a summary says of one table: matched = archived + everything skipped. */
export interface ArchiveCounts {
  readonly table: string;
  /** Rows that were to be archived, or would have been but for the reasons under `skipped`. */
  readonly matched: number;
  readonly archived: number;
  readonly verified: number;
  readonly deleted: number;
  /** By reason: held, changed, gone, dropped … */
  readonly skipped: Readonly<Record<string, number>>;
}

/** Adds up the results of batches, table by table in the order in which they come up. */
export class CountsByTable {
  readonly #tables = new Map<
    string,
    { archived: number; verified: number; deleted: number; skipped: Map<string, number> }
  >();

  /** Makes sure that the tables are in the summary, also if nothing happens to them. */
  mention(tables: readonly string[]): void {
    for (const table of tables) this.#of(table);
  }

  add(results: readonly BatchResult[]): void {
    for (const { tables } of results) {
      for (const each of tables) {
        const sums = this.#of(each.table);
        sums.archived += each.archived;
        sums.verified += each.verified;
        sums.deleted += each.deleted;
        for (const [reason, rows] of Object.entries(each.skipped)) this.skip(each.table, reason, rows);
      }
    }
  }

  skip(table: string, reason: string, rows: number): void {
    if (rows === 0) return;
    const { skipped } = this.#of(table);
    skipped.set(reason, (skipped.get(reason) ?? 0) + rows);
  }

  all(): readonly ArchiveCounts[] {
    return Array.from(this.#tables, ([table, { archived, verified, deleted, skipped }]) => {
      const reasons = Object.fromEntries(skipped);
      const matched = [...skipped.values()].reduce((sum, rows) => sum + rows, archived);
      return { table, matched, archived, verified, deleted, skipped: reasons };
    });
  }

  #of(table: string) {
    const known = this.#tables.get(table);
    if (known) return known;
    const fresh = { archived: 0, verified: 0, deleted: 0, skipped: new Map<string, number>() };
    this.#tables.set(table, fresh);
    return fresh;
  }
}

/** The summary as people read it. */
export function countTable(tables: readonly ArchiveCounts[]): readonly string[] {
  const header = ['table', 'matched', 'archived', 'verified', 'deleted', 'skipped'];
  const rows = tables.map(({ table, matched, archived, verified, deleted, skipped }) => [
    table,
    matched,
    archived,
    verified,
    deleted,
    Object.entries(skipped)
      .map(([reason, count]) => `${count} ${reason}`)
      .join(', '),
  ]);
  return textTable([header, ...rows]);
}
