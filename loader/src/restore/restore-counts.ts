/** What a restore did with one table: matched = restored + unchanged + conflicts + skipped. */
export interface RestoreCounts {
  readonly table: string;
  /** Archived rows that were asked for, every version of a key. */
  matched: number;
  /** Rows written, those put in the place of others included. */
  restored: number;
  overwritten: number;
  /** Rows that were there already, byte for byte. */
  unchanged: number;
  conflicts: number;
  readonly skipped: Record<string, number>;
}

/** Counts by table in the order in which tables are first met. */
export class RestoreTally {
  readonly #tables = new Map<string, RestoreCounts>();

  of(table: string): RestoreCounts {
    const known = this.#tables.get(table);
    if (known) return known;
    const made = { table, matched: 0, restored: 0, overwritten: 0, unchanged: 0, conflicts: 0, skipped: {} };
    this.#tables.set(table, made);
    return made;
  }

  skip(table: string, reason: string, rows: number): void {
    if (rows === 0) return;
    const { skipped } = this.of(table);
    skipped[reason] = (skipped[reason] ?? 0) + rows;
  }

  /** Starts again, for the second pass. */
  forget(): void {
    this.#tables.clear();
  }

  get tables(): readonly RestoreCounts[] {
    return Array.from(this.#tables.values());
  }
}
